"""The source text:PATH: a local file or folder, with held-out documents or a separate validation set."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal

from seedbed.config.schema import DataConfig
from seedbed.data import holdout, own_files
from seedbed.data.byte_streams import NoTextError
from seedbed.data.holdout import (
    HEAD_DOCUMENTS,
    DocumentSize,
    HoldoutPlan,
    OversizeCounter,
    cut_message,
    cut_pieces,
    plan_holdout,
)
from seedbed.data.messages import FILES_SKIPPED
from seedbed.data.readers import PIECE_CHARS, READ, Document
from seedbed.data.sources.readable_files import TextFiles, count_list, files_at, name_list
from seedbed.events import Emit, Message
from seedbed.text import quoted

_FORMAT = "text 2"
"""Increase the number when a change of the code reads other documents from the same files: it is part of fingerprints."""
_EXPECTED_REASONS = frozenset(("hidden", own_files.REASON))
"""Reasons for skipping files that are normal, so that no warning is needed."""


class TextSource:
    """The text of a local file or folder, with held-out documents or separate files (data.validation_path) for validation."""

    def __init__(self, name: str, data: DataConfig, files: TextFiles, validation: TextFiles | None, emit: Emit) -> None:
        self.name = name
        self._data = data
        self._files = files
        self._validation = validation
        self._emit = emit
        self._has_reported = False
        self._emitted: set[Message] = set()

    @property
    def drops(self) -> Counter[str]:
        """Number of files and records that the last reading of the documents skipped, by reason."""
        return self._files.drops + (self._validation.drops if self._validation else Counter())

    @property
    def size_bytes(self) -> int:
        """Total size of the files on disk, those for validation included."""
        return self._files.size_bytes() + (self._validation.size_bytes() if self._validation else 0)

    @property
    def validation_bytes(self) -> int | None:
        """Total size of the separate files for validation on disk; None if there are none."""
        return None if self._validation is None else self._validation.size_bytes()

    def fingerprint(self) -> str:
        """Digest of the bytes of all files and of the settings that decide which documents are for validation."""
        identity = [_FORMAT, holdout.VERSION, str(PIECE_CHARS), str(self._data.max_documents), self._files.digest()]
        identity.append(self._validation.digest() if self._validation else repr(self._data.validation))
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()

    def documents(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """Yield the documents of a split. A long document is divided into pieces of about a megabyte."""
        if self._validation is not None:
            chosen = self._files if split == "train" else self._validation
            texts: Iterator[str] = (piece for document in self._limited(chosen) for piece in document.pieces)
        else:
            texts = self._side(split)
        empty = True
        for text in texts:
            empty = False
            yield text
        if split == "train":
            self._report_skipped()
            self._report_separators()
        if empty:
            raise self._no_text_error(split)

    def whole_documents(self) -> Iterator[str]:
        """Yield all documents of the path, uncut, before any are held out. Those of a separate validation set follow.

        A very long document is divided into pieces of about a megabyte. Raises NoTextError if there are none.
        """
        empty = True
        for part in self._parts:
            for document in self._limited(part):
                empty = False
                yield from document.pieces
        self._report_skipped()
        self._report_separators()
        if empty:
            raise self._no_text_error("train")

    def _limited(self, files: TextFiles) -> Iterator[Document]:
        return itertools.islice(files.documents(), self._data.max_documents or None)

    @cached_property
    def _plan(self) -> HoldoutPlan:
        items = (DocumentSize(document.digest, document.length) for document in self._limited(self._files))
        head = list(itertools.islice(items, HEAD_DOCUMENTS))
        plan = plan_holdout(head, next(items, None) is not None, self._data.validation)
        if plan.cut is not None:
            self._emit(cut_message(quoted(self.name), plan.cut, self._data.validation))
        return plan

    def _side(self, split: Literal["train", "validation"]) -> Iterator[str]:
        plan = self._plan
        oversize = OversizeCounter(plan)
        for document in self._limited(self._files):
            side = plan.side(document.digest, document.length)
            oversize.count(document.digest, document.length)
            if plan.cut is not None and side == "cut":
                yield from cut_pieces(document.pieces, plan.cut, split)
            elif side == split:
                yield from document.pieces
        if split == "train":
            self._emit_once(oversize.messages(quoted(self.name)))

    @property
    def _parts(self) -> list[TextFiles]:
        return [self._files] + ([self._validation] if self._validation else [])

    def skipped_messages(self) -> list[Message]:
        """Messages that say which files of the folder are skipped as it is now."""
        counts = sum((part.skipped_counts() for part in self._parts), Counter[str]())
        named = [part.named(part.skipped) for part in self._parts]
        return [self._skipped_message(FILES_SKIPPED, counts, named)] if counts else []

    def _skipped_message(self, code: str, counts: Counter[str], named: Iterable[str]) -> Message:
        return Message(
            level="info" if counts.keys() <= _EXPECTED_REASONS else "warning",
            code=code,
            text=f"Skipped in {quoted(self.name)}: {count_list(counts)}.",
            why=" ".join(filter(None, named)),
            hint=_hint(counts, self._data),
        )

    def _report_skipped(self) -> None:
        """Emit messages, each once, that say which files were skipped and why, and which texts contain markup."""
        if self._has_reported:
            return
        self._has_reported = True
        for message in self.skipped_messages():
            self._emit(message)
        counts = self.drops - sum((part.skipped_counts() for part in self._parts), Counter[str]())
        if counts:
            named = (part.named(part.left_out) for part in self._parts)
            self._emit(self._skipped_message("data-skipped", counts, named))
        for part in self._parts:
            for what, names in part.markup.items():
                contains = "contains" if len(names) == 1 else "contain"
                self._emit(
                    Message(
                        level="warning",
                        code="data-markup",
                        text=f"{name_list(names)} of {quoted(self.name)} {contains} {what}.",
                        why="The model is trained on the whole text, including field names, tags and brackets.",
                        hint=_MARKUP_HINTS.get(what, "To train only on the words, extract the text first."),
                    )
                )

    def _report_separators(self) -> None:
        """Emit messages, each once, that say how separators split files into documents."""
        self._emit_once(self._files.separators.messages(quoted(self.name)))

    def _emit_once(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message not in self._emitted:
                self._emitted.add(message)
                self._emit(message)

    def _no_text_error(self, split: str) -> NoTextError:
        if self._validation is None and (split == "validation" or self._files.num_documents):
            return NoTextError(
                f"{quoted(self.name)} is too short to hold out any validation text.",
                "Add text, or give a validation file: --set data.validation_path=FILE.",
            )
        files = self._validation if split == "validation" and self._validation else self._files
        first = next(iter(files.warnings), "")
        return NoTextError(
            f"{quoted(files.root)} contains no usable text ({count_list(files.drops) or 'no files'}). {first}".strip(),
            _hint(files.drops, self._data),
        )


_MARKUP_HINTS = {
    "JSON lines": "To train on a field of the records, rename the file to .jsonl and set data.field.",
    "a JSON array": "To train on a field of the records, write one per line to a .jsonl file and set data.field.",
}


def _hint(drops: Counter[str], data: DataConfig) -> str:
    """The hint on how to read the skipped files. `drops`: number of skipped files and records by reason."""
    hints = [READ]
    if "not UTF-8" in drops:
        hints.append("For files that are not UTF-8, set their encoding: --set data.encoding=cp1252 (or another).")
    elif any(reason.startswith("neither UTF-8") for reason in drops):
        hints.append("Set data.encoding to the encoding of files that are not UTF-8.")
    if "no text field" in drops:
        hints.append(f"Records need a field {quoted(data.field)}. To use another field, use --set data.field=NAME.")
    return " ".join(hints)


def open_text(rest: str, data: DataConfig, emit: Emit) -> TextSource:
    """Open the source text:PATH. `rest` is the path. Raises SeedbedError if nothing readable is there."""
    validation = files_at("data.validation_path", data.validation_path, data) if data.validation_path else None
    files = files_at("--data text:PATH", rest, data)
    for each in (files, validation):
        if each is not None and not len(each):
            raise each.nothing_readable_error()
    return TextSource(f"text:{rest}", data, files, validation, emit)
