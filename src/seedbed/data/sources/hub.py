"""The source hf:NAME[:CONFIG][@COLUMN]: stream a text dataset from the Hugging Face Hub or a local folder."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from seedbed.config.directories import cache_dir
from seedbed.config.schema import DataConfig
from seedbed.config.source import Address, parse_address
from seedbed.data import holdout
from seedbed.data.document_separators import DocumentSeparators
from seedbed.data.holdout import (
    HEAD_DOCUMENTS,
    DocumentSize,
    OversizeCounter,
    cut_message,
    cut_pieces,
    plan_holdout,
    text_digest,
)
from seedbed.data.hub_access import Pinned, datasets_library, explained, pinned_revision
from seedbed.data.readers import in_pieces
from seedbed.data.sources.dataset_folder import folder_digest, is_saved_dataset, refuse_folder
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message
from seedbed.files import explained as explained_disk
from seedbed.files import make_dir
from seedbed.text import listed, quoted
from seedbed.tokenizer.newlines import normalised

VALIDATION_NAMES = ("validation", "valid", "val", "dev", "eval")
"""Names of splits that are used for validation, in order of preference. A test split is never used."""

_FORMAT = "hub 2"
_HEAD_CHARS = 1 << 25


class HubSource:
    """A dataset on the Hub or in a local folder, streamed row by row.

    Without a validation split, documents of the train split are held out for validation.
    """

    def __init__(self, address: Address, data: DataConfig, pinned: Pinned | None, emit: Emit) -> None:
        self.name = f"hf:{address.name}" + (f":{address.config}" if address.config else "")
        self._address = address
        self._column = address.column or data.field
        self._data = data
        self._pinned = pinned
        self._revision = pinned.revision if pinned else None
        self._emit = emit
        self._drops: dict[str, Counter[str]] = {}
        self._validation_file: IO[bytes] | None = None
        self._reported_drops = False
        self._emitted: set[Message] = set()
        self._separators = DocumentSeparators(data.separator)

    @property
    def drops(self) -> Counter[str]:
        """Number of rows omitted so far because they have no text, by reason."""
        return sum(self._drops.values(), Counter())

    def fingerprint(self) -> str:
        """Digest of the dataset's commit (or local files) and of the settings that select and split its rows."""
        address = self._address
        content = folder_digest(address.folder) if address.folder else f"{address.name} {self._revision}"
        settings = [
            address.config,
            self._column,
            self._data.max_documents,
            self._data.validation,
            self._separators.identity,
        ]
        return hashlib.sha256("\n".join([_FORMAT, holdout.VERSION, content, *map(repr, settings)]).encode()).hexdigest()

    def documents(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """Yield the documents of a split, streamed. A very long document is divided into pieces of about a megabyte."""
        own = next((name for name in VALIDATION_NAMES if name in self._splits), None)
        if own is not None:
            rows = self._texts("train" if split == "train" else own)
            texts: Iterator[str] = (piece for text in rows for piece in in_pieces([text]))
        elif split == "validation" and self._validation_file is not None:
            texts = _read_back(self._validation_file)
        else:
            texts = self._side(split)
        empty = True
        for text in texts:
            empty = False
            yield text
        if split == "train" and self.drops and not self._reported_drops:
            self._reported_drops = True
            counted = ", ".join(f"{count} {reason}" for reason, count in self.drops.most_common())
            self._emit(
                Message(
                    level="warning",
                    code="data-skipped",
                    text=f"Rows of {quoted(self.name)} were skipped: {counted}.",
                    why=f"These rows have no text in the column {quoted(self._column)}.",
                    hint="To read another column, use hf:NAME@COLUMN (or data.field).",
                )
            )
        if split == "train":
            self._emit_once(self._separators.messages(quoted(self.name)))
        if empty:
            reasons = listed([f"{count} {reason}" for reason, count in self.drops.most_common()])
            raise SeedbedError(
                f"{self.name} has no text for {split} in column {self._column!r}"
                + (f" ({reasons})." if reasons else "."),
                "Choose another column (hf:NAME@COLUMN), or increase data.max_documents to read more rows.",
            )

    def _emit_once(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message not in self._emitted:
                self._emitted.add(message)
                self._emit(message)

    def _side(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """Yield the training or the validation documents of a dataset without a validation split.

        While the training documents are read, the validation documents are written to a temporary file.
        """
        rows = self._texts("train")
        head = _head_of(rows)
        following = next(rows, None)
        items = [DocumentSize(text_digest(text), len(text)) for text in head]
        plan = plan_holdout(items, following is not None, self._data.validation)
        if plan.cut is not None:
            self._emit_once([cut_message(quoted(self.name), plan.cut, self._data.validation)])
        oversize = OversizeCounter(plan)
        validation_file = _temporary_file() if split == "train" else None
        for text in itertools.chain(head, [] if following is None else [following], rows):
            digest = text_digest(text)
            side = plan.side(digest, len(text))
            oversize.count(digest, len(text))
            if plan.cut is not None and side == "cut":
                yield from cut_pieces(in_pieces([text]), plan.cut, split)
                kept: Iterable[str] = cut_pieces(in_pieces([text]), plan.cut, "validation")
            elif side == split:
                yield from in_pieces([text])
                continue
            else:
                kept = [text]
            if validation_file is not None:
                with explained_disk(cache_dir()):
                    validation_file.writelines(msgspec.json.encode(piece) + b"\n" for piece in kept)
        self._validation_file = validation_file or self._validation_file
        if split == "train":
            self._emit_once(oversize.messages(quoted(self.name)))

    def _texts(self, split: str) -> Iterator[str]:
        """Yield the texts in the text column of a split, at most `data.max_documents`."""
        drops = self._drops[split] = Counter()
        self._separators.begin()
        table = self._splits[split].select_columns([self._column])
        taken = 0
        with explained(self._address.name):
            for row in table:
                text = row[self._column]
                text = normalised(text) if isinstance(text, str) else None
                if text is None:
                    drops["no text field"] += 1
                elif not text or text.isspace():
                    drops["empty"] += 1
                else:
                    for each in self._separators.texts(text):
                        yield each
                        taken += 1
                        if taken == self._data.max_documents:
                            return

    @cached_property
    def _splits(self) -> dict[str, Any]:
        """The dataset's splits by name, as streams of rows. Raises SeedbedError without a train split or the text column."""
        address = self._address
        if self._pinned is not None and self._pinned.unreachable is not None:
            raise self._pinned.unreachable
        datasets = datasets_library(f"The corpus {self.name}")
        place = str(address.folder) if address.folder else address.name
        with explained(address.name):
            if address.folder is not None and is_saved_dataset(address.folder):
                return self._saved(datasets, address.folder)
            configs = datasets.get_dataset_config_names(place, revision=self._revision)
            if address.config is not None and address.config not in configs:
                raise SeedbedError(
                    f"{address.name} has no configuration {address.config!r}.",
                    f"Its configurations are {listed(configs)}.",
                )
            if address.config is None and len(configs) > 1 and "default" not in configs:
                raise SeedbedError(
                    f"{address.name} has several configurations.",
                    f"Choose one of: {listed(configs)}. Write it as hf:{address.name}:CONFIG.",
                )
            splits = dict(datasets.load_dataset(place, address.config, streaming=True, revision=self._revision))
            if "train" not in splits:
                raise SeedbedError(f"{self.name} has no train split.", f"Its splits are {listed(list(splits))}.")
            self._check_column(splits["train"])
        return splits

    def _saved(self, datasets: Any, folder: Path) -> dict[str, Any]:
        """The splits, by name, of a local dataset that `save_to_disk` of the `datasets` library wrote."""
        if self._address.config is not None:
            raise SeedbedError(
                f"{quoted(folder)} is a saved dataset, which has no configurations.",
                f"Remove the configuration: write hf:{folder}.",
            )
        saved = datasets.load_from_disk(str(folder))
        splits = dict(saved) if isinstance(saved, dict) else {"train": saved}
        if "train" not in splits:
            raise SeedbedError(
                f"{self.name} has no train split.",
                f"Its splits are {listed(list(splits))}. To use one of them, write hf:{folder}/SPLIT.",
            )
        self._check_column(splits["train"])
        return splits

    def _check_column(self, table: Any) -> None:
        """Raise SeedbedError, which lists the text columns, if `table` lacks the text column or its values are not texts."""
        types = {name: getattr(feature, "dtype", "") for name, feature in (table.features or {}).items()}
        if not types:
            types = {name: "string" if isinstance(value, str) else "" for name, value in next(iter(table), {}).items()}
        text_columns = [name for name, kind in types.items() if kind in ("string", "large_string")]
        if self._column in text_columns:
            return
        if self._column in types:
            problem = f"Column {self._column!r} of {self.name} is not text."
        else:
            problem = f"{self.name} has no column {self._column!r}."
        have = (
            f"Columns with text: {listed(text_columns)}."
            if text_columns
            else f"Columns: {listed(list(types))}; none is text."
        )
        raise SeedbedError(f"{problem} {have}", "Choose a text column: hf:NAME@COLUMN (or --set data.field=COLUMN).")


def _head_of(rows: Iterator[str]) -> list[str]:
    """The first texts of `rows`: enough to plan which are held out, few enough to keep in memory."""
    head: list[str] = []
    chars = 0
    for text in itertools.islice(rows, HEAD_DOCUMENTS):
        head.append(text)
        chars += len(text)
        if chars > _HEAD_CHARS:
            break
    return head


def _temporary_file() -> IO[bytes]:
    """An anonymous temporary file in the cache folder, because /tmp may be in memory."""
    with explained_disk(cache_dir()):
        return tempfile.TemporaryFile(dir=make_dir(cache_dir()))


def _read_back(scratch: IO[bytes]) -> Iterator[str]:
    scratch.seek(0)
    for line in scratch:
        yield from in_pieces([msgspec.json.decode(line, type=str)])


def open_hub(rest: str, data: DataConfig, emit: Emit) -> HubSource:
    """Open the source hf:NAME[:CONFIG][@COLUMN]; `rest` is the part after `hf:`.

    Raises SeedbedError if the dataset cannot be reached, UsageError if the address is incomplete.
    """
    address = parse_address(rest)
    if address.folder is not None:
        refuse_folder(address.folder)
        datasets_library(f"The corpus hf:{address.name}")
        return HubSource(address, data, None, emit)
    return HubSource(address, data, pinned_revision(address.name, emit), emit)
