"""Split documents at separators such as <|endoftext|>.

A separator inside a sentence stays text, so that text about <|endoftext|> is not split.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from seedbed.data.holdout import text_digest
from seedbed.data.readers import PIECE_CHARS, Document, in_pieces
from seedbed.events import Message

AUTO, NONE = "auto", "none"
MARKS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|endofdocument|>",
    "<|end_of_document|>",
    "<|eos|>",
    "<｜end▁of▁sentence｜>",
    "<|startoftext|>",
    "<|begin_of_text|>",
    "<|bos|>",
    "<｜begin▁of▁sentence｜>",
)
"""Marks that separate texts where they are alone on a line or between two texts."""
LINE_MARKS = ("</s>", "<s>", "<eos>", "<EOS>", "<bos>", "<BOS>", "[EOS]", "[BOS]")
"""Marks that separate texts only where they are alone on a line; elsewhere they mean other things, as in HTML."""

_VERSION = "separators 1"
"""Increase the number when a change of the code splits the same text differently: it is part of fingerprints."""
_ANY_MARK = re.compile("|".join(map(re.escape, (*MARKS, *LINE_MARKS))))
_LONG_CHARS = PIECE_CHARS * 3 // 2
_CONTEXT_CHARS = 1024
"""Number of characters before and after a mark that decide whether it is a separator. So many are buffered."""
_AFTER = re.compile(r"[ \t\r]*(?:\n(?:[ \t\r]*\n)*)?")
_OPENING = "`([{“‘«=,:;"
_CLOSING = "`)]}”’»,.;:!?="
_QUOTES = "\"'"
_SPOKEN_ENDS = ".!?…,-—"
"""Characters that can stand before the closing quotation mark of speech, but not before an opening one."""
_SENTENCE_ENDS = ".!?…。！？\"'”’»)]}>"


class _LongText(NamedTuple):
    """A text that is too long to keep in memory: its digest and its length in characters."""

    digest: bytes
    length: int


class _Layout(NamedTuple):
    """What the first pass over a long text found: where separators such as <|endoftext|> split it into documents."""

    divided: bool
    """Whether separators split the document."""
    long: dict[int, _LongText]
    """The long texts; the key is the index in the sequence text, separators, text, and so on."""
    kept: Counter[str]
    """How often each mark, such as <|endoftext|>, occurred inside a sentence and so is no separator."""


class DocumentSeparators:
    """Splits documents at separators. `setting` (`data.separator`): auto, none, or a text to split at wherever it occurs.

    The counters `found`, `kept` and `num_texts` cover what was read since the last call of `begin`.
    """

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._named = setting not in (AUTO, NONE, "")
        self._off = setting in (NONE, "")
        self._pattern = re.compile(re.escape(setting)) if self._named else _ANY_MARK
        self._context = max(_CONTEXT_CHARS, 2 * len(setting))
        self._layouts: dict[bytes, _Layout] = {}
        self.begin()

    def begin(self) -> None:
        """Set the counters to zero, before the documents are read (again)."""
        self.found: Counter[str] = Counter()
        """How often each separator split a document."""
        self.kept: Counter[str] = Counter()
        """How often each mark occurred inside a sentence and remained text."""
        self.num_texts = 0
        """Number of texts into which documents with separators were split."""

    @property
    def identity(self) -> str:
        """A text that changes when documents would be split differently; part of the fingerprint of a source."""
        return f"{_VERSION} {self._setting!r}"

    def texts(self, text: str) -> Iterator[str]:
        """Yield the texts between the separators of a document, `text`. Blank texts are omitted."""
        if self._off or self._pattern.search(text) is None:
            yield text
            return
        parts = self._parts([text])
        texts = ["".join(map(str, part)) for is_break, part in itertools.groupby(parts, _is_break) if not is_break]
        if texts == [text]:
            yield text
            return
        for each in texts:
            if not each.isspace():
                self.num_texts += 1
                yield each

    def split(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Split each document at its separators. Very long documents are read twice.

        Iterate over the `pieces` of a yielded Document once, before requesting the next Document.
        """
        for document in documents:
            if isinstance(document.pieces, list):
                whole = "".join(document.pieces)
                for text in self.texts(whole):
                    digest = document.digest if len(text) == len(whole) else text_digest(text)
                    yield Document(digest, len(text), in_pieces([text]))
            elif self._off:
                yield document
            else:
                yield from self._split_long(document)

    def _split_long(self, document: Document) -> Iterator[Document]:
        """Yield the texts between the separators of a document that is too long to keep in memory."""
        if document.digest not in self._layouts:
            self._layouts[document.digest] = self._survey(document.pieces)
        layout = self._layouts[document.digest]
        if not layout.divided:
            self.kept += layout.kept
            yield document
            return
        for number, (is_break, part) in enumerate(itertools.groupby(self._parts(document.pieces), _is_break)):
            if is_break:
                continue
            if number in layout.long:
                self.num_texts += 1
                yield Document(*layout.long[number], in_pieces(map(str, part)))
                continue
            text = "".join(map(str, part))
            if not text.isspace():
                self.num_texts += 1
                yield Document(text_digest(text), len(text), in_pieces([text]))

    def _survey(self, pieces: Iterable[str]) -> _Layout:
        """Read a long document once and return where its long texts are. Does not change the counters."""
        before = self.found, self.kept
        self.found, self.kept = Counter(), Counter()
        long: dict[int, _LongText] = {}
        for number, (is_break, part) in enumerate(itertools.groupby(self._parts(pieces), _is_break)):
            digest, length, blank = hashlib.sha256(), 0, True
            for text in () if is_break else map(str, part):
                digest.update(text.encode("utf-8", "surrogatepass"))
                length += len(text)
                blank = blank and text.isspace()
            if length > _LONG_CHARS and not blank:
                long[number] = _LongText(digest.digest(), length)
        layout = _Layout(bool(self.found), long, self.kept)
        self.found, self.kept = before
        return layout

    def _parts(self, pieces: Iterable[str]) -> Iterator[str | None]:
        """Yield the text of a document in parts, in order, and None in place of each separator."""
        buffer, position = "", 0
        for piece, last in _with_last(pieces):
            buffer, position = buffer[max(position - self._context, 0) :] + piece, min(position, self._context)
            decided = len(buffer) if last else max(len(buffer) - self._context, position)
            for match in self._pattern.finditer(buffer, position):
                if match.start() >= decided:
                    break
                if match.start() < position:
                    continue  # inside the white space that was dropped after the previous separator
                if not (self._named or _divides(buffer, match.start(), match.end())):
                    self.kept[match[0]] += 1
                    continue
                self.found[match[0]] += 1
                before = buffer[position : match.start()].rstrip()
                if before:
                    yield before
                yield None
                after = _AFTER.match(buffer, match.end())
                position = after.end() if after else match.end()
                decided = max(decided, position)
            if not last:  # white space before a separator is not part of the text
                decided = max(position + len(buffer[position:decided].rstrip()), decided - self._context)
            if decided > position:
                yield buffer[position:decided]
                position = decided

    def messages(self, name: str) -> Iterator[Message]:
        """Yield messages that say how documents were split since `begin`. `name`: the source's name in the messages."""
        if self.found:
            marks = " and ".join(self.found)
            yield Message(
                level="info",
                code="data-separator",
                text=f"{name} contains {self.num_texts:,} texts, separated by {marks}. Each becomes a document.",
                why="The separators are removed. After each document there is an end-of-text token.",
                hint="To keep the separators as text, use --set data.separator=none",
            )
        elif self._named:
            yield Message(
                level="warning",
                code="separator-absent",
                text=f"data.separator = {self._setting!r} does not occur in {name}, so nothing is split.",
                hint=r"""The separator is matched literally. Write a newline as in --set 'data.separator="\n\n"'.""",
            )
        if self.kept:
            marks = " and ".join(f"{mark} {count:,} times" for mark, count in self.kept.items())
            first = next(iter(self.kept))
            yield Message(
                level="info",
                code="separator-in-text",
                text=f"{name} contains {marks} inside a sentence or line. These do not split a document.",
                why="Only a separator on a line of its own, or between two texts, splits a document.",
                hint=f"To split at every occurrence, use --set data.separator='{first}'",
            )


def _divides(text: str, start: int, end: int) -> bool:
    """Whether the mark `text[start:end]`, such as <|endoftext|>, separates two texts (is not inside a sentence)."""
    if text[start - 1 : start] == "\n" == text[end : end + 1]:
        return True
    line_start = text.rfind("\n", max(start - _CONTEXT_CHARS, 0), start) + 1
    line_end = text.find("\n", end, end + _CONTEXT_CHARS)
    before = text[line_start or max(start - _CONTEXT_CHARS, 0) : start]
    after = text[end : line_end if line_end >= 0 else end + _CONTEXT_CHARS]
    left, right = before.rstrip(), after.lstrip()
    if not left and not right:
        return True
    if text[start:end] in LINE_MARKS:
        return False
    if left and right:
        quoted = left[-1] in _QUOTES and right[0] == left[-1] and len(left) == len(before) and len(right) == len(after)
        if quoted and left[-2:-1] not in tuple(_SPOKEN_ENDS):
            return False
        if left[-1].isalnum() and right[0].islower():
            return False
    return (not left or _ends_text(left, before)) and (not right or _begins_text(right, after))


def _ends_text(left: str, before: str) -> bool:
    """Whether `before`, the text before a mark on the same line, can be the end of a text (not of half a sentence).

    `left` is `before` without trailing spaces.
    """
    if len(left) < len(before):
        return left[-1] in _SENTENCE_ENDS
    return left[-1] not in _OPENING


def _begins_text(right: str, after: str) -> bool:
    """Whether `after`, the text after a mark on the same line, can be the start of a text (not of half a sentence).

    `right` is `after` without leading spaces.
    """
    if right[0] in _CLOSING:
        return False
    return len(right) == len(after) or not right[0].islower()


def _is_break(part: str | None) -> bool:
    return part is None


def _with_last(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield each piece and whether it is the last piece. Without pieces, yield one empty piece."""
    rest = iter(pieces)
    piece = next(rest, "")
    for following in rest:
        yield piece, False
        piece = following
    yield piece, True
