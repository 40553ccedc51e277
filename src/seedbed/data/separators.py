"""Documents that hold several texts, divided where a separator such as <|endoftext|> stands between them.

A mark that stands inside a sentence stays text: whoever writes about <|endoftext|> loses nothing. Refuses to know files.
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
"""Special tokens that stand before or after a text, alone on a line or between the texts."""
LINE_MARKS = ("</s>", "<s>", "<eos>", "<EOS>", "<bos>", "<BOS>", "[EOS]", "[BOS]")
"""Those that are separators only where they are alone on a line: they mean other things elsewhere, as in HTML."""

_VERSION = "separators 1"
"""Raise it when the same text would be divided in another way than before."""
_ANY_MARK = re.compile("|".join(map(re.escape, (*MARKS, *LINE_MARKS))))
_LONG_CHARS = PIECE_CHARS * 3 // 2
_CONTEXT_CHARS = 1024
"""A mark's surroundings that are looked at; so much of a stream is kept until more of it has come."""
_AFTER = re.compile(r"[ \t\r]*(?:\n(?:[ \t\r]*\n)*)?")
_OPENING = "`([{“‘«=,:;"
_CLOSING = "`)]}”’»,.;:!?="
_QUOTES = "\"'"
_SPOKEN_ENDS = ".!?…,-—"
"""What stands before a quotation mark that ends speech, and not before one that begins a quoted mark."""
_SENTENCE_ENDS = ".!?…。！？\"'”’»)]}>"


class _Long(NamedTuple):
    """A text too long to be held: what is known of it before it is read again."""

    digest: bytes
    length: int


class _Layout(NamedTuple):
    """What a first reading of a document shows."""

    divided: bool
    long: dict[int, _Long]
    """Long texts by their place among texts and separators."""
    kept: Counter[str]


class Separators:
    """What divides documents: `asked` is auto, none, or the separator itself, which then divides wherever it stands.

    The counters are of the texts read since `begin`.
    """

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self._named = asked not in (AUTO, NONE, "")
        self._off = asked in (NONE, "")
        self._pattern = re.compile(re.escape(asked)) if self._named else _ANY_MARK
        self._context = max(_CONTEXT_CHARS, 2 * len(asked))
        self._layouts: dict[bytes, _Layout] = {}
        self.begin()

    def begin(self) -> None:
        """Count from zero."""
        self.found: Counter[str] = Counter()
        """Separators by mark."""
        self.kept: Counter[str] = Counter()
        """Marks inside a sentence, which stay text."""
        self.num_texts = 0
        """Texts that divided documents gave."""

    @property
    def identity(self) -> str:
        """What of this decides which documents a source yields, for its fingerprint."""
        return f"{_VERSION} {self.asked!r}"

    def texts(self, text: str) -> Iterator[str]:
        """The texts in a document that is at hand; blank ones between two separators are left out."""
        if self._off or self._pattern.search(text) is None:
            yield text
            return
        parts = self._parts([text])
        found = ["".join(map(str, part)) for is_break, part in itertools.groupby(parts, _is_break) if not is_break]
        if found == [text]:
            yield text
            return
        for each in found:
            if not each.isspace():
                self.num_texts += 1
                yield each

    def split(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents, each divided where it holds separators. A very long one is read twice.

        The pieces of a document are a list where its text is at hand; otherwise they can be read again and again.
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
        """The texts of a document that is not held in memory."""
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
        """What a document holds; the counters stay as they are."""
        before = self.found, self.kept
        self.found, self.kept = Counter(), Counter()
        long: dict[int, _Long] = {}
        for number, (is_break, part) in enumerate(itertools.groupby(self._parts(pieces), _is_break)):
            digest, length, blank = hashlib.sha256(), 0, True
            for text in () if is_break else map(str, part):
                digest.update(text.encode("utf-8", "surrogatepass"))
                length += len(text)
                blank = blank and text.isspace()
            if length > _LONG_CHARS and not blank:
                long[number] = _Long(digest.digest(), length)
        layout = _Layout(bool(self.found), long, self.kept)
        self.found, self.kept = before
        return layout

    def _parts(self, pieces: Iterable[str]) -> Iterator[str | None]:
        """The text of a stream in order, and None where a separator stands."""
        buffer, position = "", 0
        for piece, last in _with_last(pieces):
            buffer, position = buffer[max(position - self._context, 0) :] + piece, min(position, self._context)
            decided = len(buffer) if last else max(len(buffer) - self._context, position)
            for match in self._pattern.finditer(buffer, position):
                if match.start() >= decided:
                    break
                if match.start() < position:
                    continue  # it lies in what was dropped as the surroundings of the one before
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
            if not last:  # white space before a separator that comes next is not part of the text
                decided = max(position + len(buffer[position:decided].rstrip()), decided - self._context)
            if decided > position:
                yield buffer[position:decided]
                position = decided

    def messages(self, name: str) -> Iterator[Message]:
        """What a person should know of how the texts of `name`, all read since `begin`, were divided."""
        if self.found:
            marks = " and ".join(self.found)
            yield Message(
                level="info",
                code="data-separator",
                text=f"{name} holds {self.num_texts:,} texts, separated by {marks}: each is a document of its own.",
                why="The separators are not part of the text. Between documents the model learns an end of text.",
                hint="To keep them as text: --set data.separator=none",
            )
        elif self._named:
            yield Message(
                level="warning",
                code="separator-absent",
                text=f"data.separator = {self.asked!r} does not occur in {name}, so nothing is divided.",
                hint=r"""It is taken letter by letter; a newline is written as in --set 'data.separator="\n\n"'.""",
            )
        if self.kept:
            marks = " and ".join(f"{mark} {count:,} times" for mark, count in self.kept.items())
            first = next(iter(self.kept))
            yield Message(
                level="info",
                code="separator-in-text",
                text=f"{name} has {marks} inside a sentence or line. There it is ordinary text and divides nothing.",
                why="A separator stands alone on a line, or between the end of one text and the beginning of the next.",
                hint=f"To divide the text wherever it stands: --set data.separator='{first}'",
            )


def _divides(text: str, start: int, end: int) -> bool:
    """Whether the mark at `start` to `end` stands between texts, rather than inside a sentence."""
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
    """Whether what stands before a mark on its line, `left` without the spaces between, may be the end of a text."""
    if len(left) < len(before):
        return left[-1] in _SENTENCE_ENDS
    return left[-1] not in _OPENING


def _begins_text(right: str, after: str) -> bool:
    """Whether what stands after a mark on its line, `right` without the spaces between, may be the start of a text."""
    if right[0] in _CLOSING:
        return False
    return len(right) == len(after) or not right[0].islower()


def _is_break(part: str | None) -> bool:
    return part is None


def _with_last(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each piece and whether it is the last; an empty last one where there are none."""
    rest = iter(pieces)
    piece = next(rest, "")
    for following in rest:
        yield piece, False
        piece = following
    yield piece, True
