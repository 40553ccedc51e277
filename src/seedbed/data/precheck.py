"""Check `data.source` before a run is created, in a fraction of a second, and refuse what would certainly fail.

Imports neither numpy nor torch (pyarrow only for parquet files). The job (process of the run) checks the rest.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

from seedbed.config.environment import env
from seedbed.config.schema import DataConfig
from seedbed.config.source import Address, is_prepared, is_rows, parse_address, parse_source, unknown_source
from seedbed.curation.folder import EVAL, TRAIN, describe
from seedbed.data import own_files
from seedbed.data.byte_streams import COMPRESSED_SUFFIXES, INSTALL_HINT, UnreadableError
from seedbed.data.hub_revisions import revision_file
from seedbed.data.readers import read_file
from seedbed.data.records import ReadOptions
from seedbed.data.row_folder import has_conversations, refuse_changed, without_template
from seedbed.data.sources.dataset_folder import INSIDE_HINT, is_saved_dataset, refuse_folder
from seedbed.data.sources.readable_files import TextFile, TextFiles, TooManyFilesError, files_at
from seedbed.data.sources.wikitext_files import local_files
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home
from seedbed.text import quoted
from seedbed.tokenizer.model_files import read_config, template_sources

_WHOLE_BYTES = 16 << 20
"""Files up to this many bytes (a sixteenth of it if compressed) are read whole, larger files in part."""
_HEAD_BYTES = 1 << 20
_MAX_FILES = 50
"""After this many unreadable files of a folder, the check gives up without an error."""
_MAX_ENTRIES = 20_000
_MAX_BAD_RECORDS = 100
"""If so many records at the start of a large file have no text, it counts as a file without text."""
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_TRUE = ("1", "on", "yes", "true")


def refuse_unusable(data: DataConfig, context: int, store: Path | None = None, base: Path | None = None) -> None:
    """Raise UsageError if `data.source` is invalid, SeedbedError if the source cannot be read.

    `context`: tokens per training sequence. `store`: the folder of all runs, refused inside the data (None: unchecked).
    `base`: the folder of the model that is trained on, if there is one.
    """
    source = data.source.strip()
    if is_prepared(source, Path()):
        if own_files.folder_kind(expand_home(source)) != own_files.DATASET:
            raise unknown_source(source)
        return
    if is_rows(source, Path()):
        _check_rows(expand_home(source), base)
        return
    word, rest = parse_source(source, data.validation_path)
    if word == "text":
        _check_text(data, rest, context)
    elif word.startswith("wikitext"):
        _check_wikitext(word, data)
    elif word == "hf":
        _check_hub_dataset(parse_address(rest), store)


# Datasets of rows


def _check_rows(folder: Path, base: Path | None) -> None:
    """Raise an error for a damaged dataset, one without rows, and one that does not suit the base."""
    description = describe(folder)
    refuse_changed(folder, description)
    for name, part in ((TRAIN, "training"), (EVAL, "evaluation")):
        if description.is_split and not description.files[name].rows:
            raise SeedbedError(
                f"{quoted(folder)} has no rows for {part}.",
                "Make it from more data, with a larger or smaller --eval-frac.",
            )
    if (
        base is not None
        and base.is_dir()
        and has_conversations(folder, description)
        and not template_sources(base, read_config(base))
    ):
        raise without_template(folder, "", is_base=True)


# text:PATH


def _check_text(data: DataConfig, rest: str, context: int) -> None:
    _check_files(files_at("--data text:PATH", rest, data), data, context)
    if data.validation_path:
        _check_files(files_at("data.validation_path", data.validation_path, data), data, 0)


def _check_files(files: TextFiles, data: DataConfig, context: int) -> None:
    """Raise SeedbedError if no file is readable or the text is too short for one sequence of `context` tokens."""
    files.max_skipped = _MAX_ENTRIES
    reading = ReadOptions(data.field, data.encoding)
    errors: list[UnreadableError] = []
    count, readable, max_tokens = 0, False, 0
    try:
        for file in files.walk():
            count += 1
            if not readable:
                try:
                    _check_file(file, reading)
                    readable = True
                except UnreadableError as error:
                    if files.is_single:
                        raise
                    errors.append(error)
            max_tokens += _max_tokens(file, context)
            if (readable and max_tokens > context) or len(errors) == _MAX_FILES:
                return
    except TooManyFilesError:
        return
    if not count:
        raise files.nothing_readable_error()
    if not readable:
        counted = ", ".join(f"{number} {reason}" for reason, number in Counter(map(_reason, errors)).most_common())
        problem = f"{quoted(files.root)} contains no usable text ({counted}). {errors[0].message}"
        raise SeedbedError(problem, errors[0].hint)
    raise SeedbedError(
        f"The text in {quoted(files.root)} is too short: it has at most {max_tokens:,} tokens, and one window needs "
        f"{context + 1:,}.",
        "Use more text, or set a smaller model.context.",
    )


def _max_tokens(file: TextFile, context: int) -> int:
    """The most tokens that a file can give: one per byte, and one end of text. A compressed file counts as long enough."""
    if file.kind == "parquet" or file.path.suffix.lower() in COMPRESSED_SUFFIXES:
        return context + 1
    try:
        return file.path.stat().st_size + 1
    except OSError:
        return 0


def _reason(error: UnreadableError) -> str:
    return error.reason or "no text field"


def _check_file(file: TextFile, reading: ReadOptions) -> None:
    """Raise UnreadableError if a file contains no text that can be read. Only the beginning of a large file is read."""
    try:
        size = file.path.stat().st_size
    except OSError as error:
        raise UnreadableError(
            "unreadable", f"Cannot read {quoted(file.path)}: {error.strerror}.", "Check its permissions."
        ) from error
    limit = _WHOLE_BYTES // 16 if file.path.suffix.lower() in COMPRESSED_SUFFIXES else _WHOLE_BYTES
    max_bytes = _HEAD_BYTES if size > limit or file.kind == "parquet" else None
    drops: Counter[str] = Counter()
    try:
        next(read_file(file.path, file.kind, reading._replace(max_bytes=max_bytes), drops), None)
    except UnreadableError as error:
        unsure = error.reason == "empty" or (not error.reason and drops.total() < _MAX_BAD_RECORDS)
        if max_bytes is None or file.kind == "parquet" or not unsure:
            raise


# Named corpora and the Hub


def _check_wikitext(word: str, data: DataConfig) -> None:
    if not data.path:
        _refuse_missing(f"The corpus {word}", "datasets", "huggingface_hub")
        _refuse_offline("Salesforce/wikitext", word, cached="Salesforce___wikitext")
        return
    for files in local_files(expand_home(data.path), word).values():
        kind = "parquet" if files[0].suffix == ".parquet" else "text"
        _check_file(TextFile(files[0], kind), ReadOptions("text"))


def _check_hub_dataset(address: Address, store: Path | None) -> None:
    _refuse_missing(f"The corpus hf:{address.name}", "datasets", "huggingface_hub")
    if address.folder is None:
        _refuse_offline(address.name, f"hf:{address.name}")
        return
    refuse_folder(address.folder)
    if store is not None and store.absolute().is_relative_to(address.folder) and not is_saved_dataset(address.folder):
        raise UsageError(
            f"The runs folder {quoted(store)} is inside the data folder {quoted(address.folder)}: the files of runs would "
            "be read as data.",
            INSIDE_HINT,
        )
    if not any(address.folder.iterdir()):
        raise SeedbedError(
            f"The folder {quoted(address.folder)} is empty.", "A dataset needs parquet, jsonl, csv or txt files."
        )


def _refuse_missing(purpose: str, *packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise SeedbedError(f"{purpose} needs the package {package}, which is not installed.", INSTALL_HINT)


def _refuse_offline(name: str, source: str, cached: str = "") -> None:
    """Raise SeedbedError if offline mode (HF_HUB_OFFLINE) is on and the Hub dataset `name` was never downloaded here."""
    switch = next((each for each in _OFFLINE if (env(each) or "").strip().lower() in _TRUE), None)
    if switch is None:
        return
    endpoint = (env("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if revision_file(name, endpoint).is_file():
        return
    home = Path(env("HF_HOME") or Path(env("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    if cached and (expand_home(str(env("HF_DATASETS_CACHE") or home / "datasets")) / cached).is_dir():
        return
    raise SeedbedError(
        f"{source} cannot be downloaded because {switch} is set, and it was never downloaded to this machine.",
        f"Unset {switch}. `seedbed train` without --data needs no network.",
    )
