"""What `data.source` may say: its forms, their parts, and what was probably meant by anything else. Opens no source."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed import text
from seedbed.errors import UsageError
from seedbed.files import expand_home

FORMS = {
    "stories": "stories",
    "text": "text:PATH",
    "wikitext-2": "wikitext-2",
    "wikitext-103": "wikitext-103",
    "hf": "hf:NAME[:CONFIG][@COLUMN]",
}
"""The word that a source begins with, and how the whole is written."""


class Address(NamedTuple):
    """Which table of which dataset `hf:` names; `folder` is set for a local one."""

    name: str
    config: str | None
    column: str | None
    folder: Path | None


def parse_source(asked: str, validation_path: str = "") -> tuple[str, str]:
    """The word that a source begins with and what follows its colon, such as ("text", "novels").

    Raises UsageError for an unknown word, for a part that is missing or too much, and for a validation path that the
    source would ignore.
    """
    asked = asked.strip()
    word, colon, rest = asked.partition(":")
    form = FORMS.get(word)
    if form is None:
        raise unknown_source(asked)
    if ":" in form and not rest.strip():
        raise UsageError(f"--data {text.quoted(asked)} lacks what follows the colon.", f"Write {form}.")
    if colon and ":" not in form:
        advice = f"Write --data {word}."
        if word.startswith("wikitext"):
            advice = f"A local copy is named by --set data.path=FOLDER beside --data {word}."
        raise UsageError(f"{word} takes nothing after its name, but {text.quoted(asked)} was given.", advice)
    if validation_path and word != "text":
        raise UsageError(
            f"data.validation_path works with text:PATH only, not with {text.quoted(asked)}.",
            "Leave it out: this source makes or brings its own validation split.",
        )
    return word, rest.strip()


def parse_address(rest: str, base: Path | None = None) -> Address:
    """NAME[:CONFIG][@COLUMN] taken apart. A NAME that is a folder (from `base` on), or starts with . / or ~, is local.

    A folder's own name may hold : and @, so the longest part that is a folder counts.
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
    except RuntimeError:  # nobody knows whose home folder is meant
        return Path(path)


def _divisions(rest: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Every way to read NAME, CONFIG and COLUMN, the longest NAME first."""
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
    """Whether there is a folder; not where it cannot be looked at."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_there(path: Path, asked: str) -> bool:
    """Whether there is a file or folder. Raises UsageError, naming what was `asked` for, where it cannot be looked at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"Cannot look at {text.quoted(text.shorten(text.printable(asked), 60))}: {why}.",
            "Check the path in data.source.",
        ) from error
    return True


def is_prepared(asked: str, folder: Path) -> bool:
    """Whether `asked`, from `folder` on, is the path of a prepared dataset. Raises UsageError as `is_there` does."""
    return is_there(folder / asked / "manifest.json", asked)


def unknown_source(asked: str) -> UsageError:
    """Why `asked` is no source, naming what was probably meant."""
    forms = "Sources: " + ", ".join(FORMS.values()) + ", or the path of a prepared dataset."
    path = expand_home(asked)
    if is_there(path, asked):
        kind = "folder, but not a prepared dataset" if path.is_dir() else "file"
        return UsageError(f"{text.quoted(asked)} is a {kind}.", f"To train on its text write text:{asked}. {forms}")
    near = difflib.get_close_matches(asked.partition(":")[0].lower(), FORMS, n=1, cutoff=0.5)
    meant = f"Did you mean {FORMS[near[0]]}? " if near else ""
    if "/" in asked and ":" not in asked:
        meant = f"There is no such path. For a dataset on the Hugging Face Hub write hf:{asked}. "
    return UsageError(f"Unknown data source {text.quoted(asked)}.", meant + forms)
