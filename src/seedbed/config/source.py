"""Parse `data.source` into its parts, and suggest a correction for an invalid value. Opens no source."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from seedbed import text
from seedbed.config.spelling import did_you_mean, nearest
from seedbed.errors import UsageError
from seedbed.files import expand_home

FORMS = {
    "stories": "stories",
    "text": "text:PATH",
    "wikitext-2": "wikitext-2",
    "wikitext-103": "wikitext-103",
    "hf": "hf:NAME[:CONFIG][@COLUMN]",
}
"""The word that `data.source` begins with -> how the whole source is written."""

_MOST_ENTRIES = 1000
"""The most entries of a folder that are looked at for a path that may have been meant."""


class Address(NamedTuple):
    """The parts of a source `hf:NAME[:CONFIG][@COLUMN]`. `folder`: the folder of a local dataset, None for the Hub."""

    name: str
    config: str | None
    column: str | None
    folder: Path | None


def parse_source(source: str, validation_path: str = "") -> tuple[str, str]:
    """Split `data.source` into the word before its colon and what follows: "text:novels" gives ("text", "novels").

    Raises UsageError for an unknown word, for a part that is missing or not allowed, and for a validation path that the
    source would ignore.
    """
    source = source.strip()
    word, colon, rest = source.partition(":")
    form = FORMS.get(word)
    if form is None:
        raise unknown_source(source)
    if ":" in form and not rest.strip():
        raise UsageError(f"--data {text.quoted(source)} has nothing after the colon.", f"Write {form}.")
    if colon and ":" not in form:
        advice = f"Write --data {word}."
        if word.startswith("wikitext"):
            advice = f"To use a local copy, add --set data.path=FOLDER to --data {word}."
        raise UsageError(f"{word} allows nothing after its name, but {text.quoted(source)} was given.", advice)
    if validation_path and word != "text":
        raise UsageError(
            f"data.validation_path works with text:PATH only, not with {text.quoted(source)}.",
            "Remove data.validation_path: this source has its own validation text.",
        )
    return word, rest.strip()


def parse_address(rest: str, base: Path | None = None) -> Address:
    """Parse `rest`, NAME[:CONFIG][@COLUMN]. NAME is local if it is a folder (relative to `base`) or starts with . / or ~.

    The name of a folder may contain : and @, so NAME is the longest part that is a folder. Raises UsageError for a part
    that is missing.
    """
    base = base or Path()
    local = rest.startswith((".", "/", "~"))
    for name, config, column in _divisions(rest):
        if is_folder(base / _expanded(name)):
            return Address(name, config, column, (base / _expanded(name)).absolute())
    name, at, column = rest.partition("@")
    if local and "/" in column:
        name, at, column = rest.rpartition("@") if "/" not in rest.rpartition("@")[2] else (rest, "", "")
    name, colon, config = name.partition(":")
    if not name or (colon and not config) or (at and not column):
        raise UsageError(
            f"{text.quoted('hf:' + rest)} is incomplete.",
            "Write hf:NAME[:CONFIG][@COLUMN], such as hf:roneneldan/TinyStories@text.",
        )
    folder = (base / _expanded(name)).absolute() if local else None
    return Address(name, config or None, column or None, folder)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a ~user without a home folder
        return Path(path)


def _divisions(rest: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield every way to divide `rest` into (NAME, CONFIG, COLUMN), None if absent, the longest NAME first."""
    yield rest, None, None
    ends = [index for index, char in enumerate(rest) if char in ":@"]
    for end in reversed(ends):
        name, mark, more = rest[:end], rest[end], rest[end + 1 :]
        if mark == "@" and name and more:
            yield name, None, more
        elif mark == ":" and name:
            config, at, column = more.partition("@")
            if config and bool(at) == bool(column):
                yield name, config, column or None


def is_folder(path: Path) -> bool:
    """Whether a folder is at `path`. False if this cannot be checked, for example without permission."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_there(path: Path, source: str) -> bool:
    """Whether anything is at `path`. Raises UsageError, which names `source` (data.source), if this cannot be checked."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"Cannot check the path {text.quoted(text.shorten(text.printable(source), 60))}: {why}.",
            "Correct the path in data.source.",
        ) from error
    return True


def is_prepared(source: str, folder: Path) -> bool:
    """Whether `source`, relative to `folder`, is the path of a prepared dataset.

    Raises UsageError if this cannot be checked.
    """
    return is_there(folder / source / "manifest.json", source)


def is_rows(source: str, folder: Path) -> bool:
    """Whether `source`, relative to `folder`, is the path of a dataset of rows (`seedbed prepare`, `seedbed data merge`).

    Raises UsageError if this cannot be checked.
    """
    return is_there(folder / source / "dataset.json", source)


def is_dataset(source: str, folder: Path) -> bool:
    """Whether `source`, relative to `folder`, is the path of a dataset of either kind: see `is_prepared` and `is_rows`."""
    return is_prepared(source, folder) or is_rows(source, folder)


def unknown_source(source: str) -> UsageError:
    """The error for a `data.source` that is not a known kind of source, with what was probably meant."""
    forms = "Sources: " + ", ".join(FORMS.values()) + ", or the folder of a dataset."
    path = expand_home(source)
    if is_there(path, source):
        kind = "folder, but not a dataset" if path.is_dir() else "file"
        own = datasets_in(path) or of_own_rows(path)
        hint = f"To train on its text, write text:{source}. {own}{' ' if own else ''}{forms}"
        return UsageError(f"{text.quoted(source)} is a {kind}.", hint)
    near = difflib.get_close_matches(source.partition(":")[0].lower(), FORMS, n=1, cutoff=0.5)
    meant = f"Did you mean {FORMS[near[0]]}? " if near else ""
    if "/" in source and ":" not in source:
        meant = f"The path does not exist. {_nearest_to(source, path)}"
    return UsageError(f"Unknown data source {text.quoted(source)}.", meant + forms)


def datasets_in(folder: Path) -> str:
    """The datasets that are folders in `folder`, as a sentence; nothing if there are none."""
    found = sorted(each.parent for each in folder.glob("*/dataset.json")) if folder.is_dir() else []
    return f"Datasets in it: {text.listed([str(each) for each in found], 3)}." if found else ""


def of_own_rows(folder: Path) -> str:
    """How a dataset is made of the conversations in a folder of JSON lines, as a sentence; nothing for other folders."""
    if not folder.is_dir() or not any(folder.glob("*.jsonl")):
        return ""
    return f"To make one of conversations in its files: `seedbed prepare logs {shlex.quote(str(folder))} --out DIR`."


def _nearest_to(source: str, path: Path) -> str:
    """What a path that does not exist may have meant: a dataset with a similar path or beside it, or a name on the Hub."""
    part, above = path, path.parent
    while not above.is_dir() and above != above.parent:
        part, above = above, above.parent
    rest = path.relative_to(part)  # `part` is the first folder that is missing
    datasets = [name for name in _folders(above) if is_dataset(str(Path(name) / rest), above)]
    near = [text.printable(str(above / name / rest)) for name in nearest(part.name, datasets)]
    if near:
        return did_you_mean(near)
    if part == path and datasets:
        return f"Datasets in {text.quoted(above)}: {text.listed(datasets, 5)}. "
    if part != path and source.count("/") == 1 and not source.startswith(("/", ".", "~")):
        return f"For a dataset on the Hugging Face Hub, write hf:{source}. "
    return f"There is no {'dataset' if part == path else text.quoted(part.name)} in {text.quoted(above)}. "


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, without hidden ones; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(each.name for each in islice(entries, _MOST_ENTRIES) if each.is_dir() and each.name[0] != ".")
    except OSError:
        return []
