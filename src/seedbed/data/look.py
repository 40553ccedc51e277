"""A quick look at a source before a run exists: what surely fails is refused in a fraction of a second.

Loads no library that computes; pyarrow alone, and only for parquet files. What it lets pass, the job judges.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

from seedbed.config.environment import env
from seedbed.config.schema import DataConfig
from seedbed.config.source import Address, is_prepared, parse_address, parse_source, unknown_source
from seedbed.data import ours
from seedbed.data.hub_memory import memory_of
from seedbed.data.opening import COMPRESSED_SUFFIXES, INSTALL, UnreadableError
from seedbed.data.readers import read_file
from seedbed.data.records import Reading
from seedbed.data.sources.dataset_folder import INSIDE_HINT, is_saved_dataset, refuse_folder
from seedbed.data.sources.text_files import Files, TextFile, TooManyFilesError, files_at
from seedbed.data.sources.wikitext_files import local_files
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home
from seedbed.text import quoted

_WHOLE_BYTES = 16 << 20
"""Files up to this size (compressed ones: a sixteenth) are read whole, larger ones in part."""
_HEAD_BYTES = 1 << 20
_MOST_FILES = 50
"""As many files of a folder are tried until one can be read."""
_MOST_ENTRIES = 20_000
_MOST_BAD_RECORDS = 100
"""So many records without text at the start of a long file are taken for all of them."""
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_TRUE = ("1", "on", "yes", "true")


def refuse_unusable(data: DataConfig, context: int, store: Path | None = None) -> None:
    """Raise where the source cannot be read: UsageError for what makes no sense as written, else SeedbedError.

    `context` is the length of a training window in tokens; `store` the folder where the run will be.
    """
    asked = data.source.strip()
    if is_prepared(asked, Path()):
        if ours.folder_kind(expand_home(asked)) != ours.DATASET:
            raise unknown_source(asked)
        return
    word, rest = parse_source(asked, data.validation_path)
    if word == "text":
        _look_at_text(data, rest, context)
    elif word.startswith("wikitext"):
        _look_at_wikitext(word, data)
    elif word == "hf":
        _look_at_dataset(parse_address(rest), store)


# Own text


def _look_at_text(data: DataConfig, rest: str, context: int) -> None:
    _look_at_files(files_at("--data text:PATH", rest, data), data, context)
    if data.validation_path:
        _look_at_files(files_at("data.validation_path", data.validation_path, data), data, 0)


def _look_at_files(files: Files, data: DataConfig, context: int) -> None:
    """Raise where there are no files, where none of them can be read, or where all do not fill `context` tokens."""
    files.most_skipped = _MOST_ENTRIES
    reading = Reading(data.field, data.encoding)
    troubles: list[UnreadableError] = []
    count, readable, most_tokens = 0, False, 0
    try:
        for file in files.walk():
            count += 1
            if not readable:
                try:
                    _look_at_file(file, reading)
                    readable = True
                except UnreadableError as error:
                    if files.is_single:
                        raise
                    troubles.append(error)
            most_tokens += _most_tokens(file, context)
            if (readable and most_tokens > context) or len(troubles) == _MOST_FILES:
                return
    except TooManyFilesError:
        return
    if not count:
        raise files.none_readable()
    if not readable:
        counted = ", ".join(f"{number} {reason}" for reason, number in Counter(map(_reason, troubles)).most_common())
        raise SeedbedError(
            f"No text is left in {quoted(files.root)} ({counted}). {troubles[0].message}", troubles[0].hint
        )
    raise SeedbedError(
        f"The text in {quoted(files.root)} has at most {most_tokens:,} tokens; one training window needs {context + 1:,}.",
        "Use more text, or a smaller model.context.",
    )


def _most_tokens(file: TextFile, context: int) -> int:
    """How many tokens the text of a file can have at most: one for each byte, and one for its end."""
    if file.kind == "parquet" or file.path.suffix.lower() in COMPRESSED_SUFFIXES:
        return context + 1
    try:
        return file.path.stat().st_size + 1
    except OSError:
        return 0


def _reason(error: UnreadableError) -> str:
    return error.reason or "no text field"


def _look_at_file(file: TextFile, reading: Reading) -> None:
    """Raise UnreadableError for a file without text, as far as its beginning tells (the whole of a small one)."""
    try:
        size = file.path.stat().st_size
    except OSError as error:
        raise UnreadableError(
            "unreadable", f"Cannot read {quoted(file.path)}: {error.strerror}.", "Check its permissions."
        ) from error
    limit = _WHOLE_BYTES // 16 if file.path.suffix.lower() in COMPRESSED_SUFFIXES else _WHOLE_BYTES
    most = _HEAD_BYTES if size > limit or file.kind == "parquet" else None
    drops: Counter[str] = Counter()
    try:
        next(read_file(file.path, file.kind, reading._replace(most=most), drops), None)
    except UnreadableError as error:
        unsure = error.reason == "empty" or (not error.reason and drops.total() < _MOST_BAD_RECORDS)
        if most is None or file.kind == "parquet" or not unsure:
            raise


# Named corpora and the Hub


def _look_at_wikitext(word: str, data: DataConfig) -> None:
    if not data.path:
        _refuse_missing(f"The corpus {word}", "datasets", "huggingface_hub")
        _refuse_offline("Salesforce/wikitext", word, cached="Salesforce___wikitext")
        return
    for files in local_files(expand_home(data.path), word).values():
        kind = "parquet" if files[0].suffix == ".parquet" else "text"
        _look_at_file(TextFile(files[0], kind), Reading("text"))


def _look_at_dataset(address: Address, store: Path | None) -> None:
    _refuse_missing(f"The corpus hf:{address.name}", "datasets", "huggingface_hub")
    if address.folder is None:
        _refuse_offline(address.name, f"hf:{address.name}")
        return
    refuse_folder(address.folder)
    if store is not None and store.absolute().is_relative_to(address.folder) and not is_saved_dataset(address.folder):
        raise UsageError(
            f"The run would be kept in {quoted(store)}, inside of its data {quoted(address.folder)}.", INSIDE_HINT
        )
    if not any(address.folder.iterdir()):
        raise SeedbedError(
            f"The folder {quoted(address.folder)} is empty.", "It needs parquet, jsonl, csv or txt files."
        )


def _refuse_missing(purpose: str, *packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise SeedbedError(f"{purpose} needs the package {package}, which is not installed.", INSTALL)


def _refuse_offline(name: str, asked: str, cached: str = "") -> None:
    """Raise SeedbedError where the Hub is switched off and nothing of this dataset was ever seen here."""
    switch = next((each for each in _OFFLINE if (env(each) or "").strip().lower() in _TRUE), None)
    if switch is None:
        return
    endpoint = (env("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if memory_of(name, endpoint).is_file():
        return
    home = Path(env("HF_HOME") or Path(env("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    if cached and (expand_home(str(env("HF_DATASETS_CACHE") or home / "datasets")) / cached).is_dir():
        return
    raise SeedbedError(
        f"{asked} was never fetched here, and {switch} forbids asking the Hub.",
        f"Unset {switch}. `seedbed train` without --data needs no network.",
    )
