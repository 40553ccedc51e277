"""Decode token ids to text one by one, without splitting characters."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import Protocol

REPLACEMENT = "\ufffd"


class IncrementalDecoder(Protocol):
    """Decodes one token id at a time. The returned pieces, joined, are the text of all ids (a Protocol)."""

    def push(self, id_: int) -> str:
        """Decode the next id and return the new text; "" while a character is incomplete, and for a special token."""
        ...

    def flush(self) -> str:
        """Return the text held back so far, with an incomplete character as U+FFFD, and start again."""
        ...


class ByteDecoder:
    """The decoder for vocabularies in which each id stands for bytes: byte-level (as in GPT-2) or char."""

    def __init__(self, bytes_of: Callable[[int], bytes | None]) -> None:
        """`bytes_of` gives the bytes that an id stands for. Ids without bytes (such as special tokens) give no text."""
        self._bytes_of = bytes_of
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id_: int) -> str:
        """See IncrementalDecoder."""
        return self._utf8.decode(self._bytes_of(id_) or b"")

    def flush(self) -> str:
        """See IncrementalDecoder."""
        rest = self._utf8.decode(b"", True)
        self._utf8.reset()
        return rest


class LibraryDecoder:
    """The decoder for all tokenizers that ByteDecoder cannot decode.

    For each id, it decodes the last ids again and returns the text that is new. It keeps the ids since the last complete
    text, because the text of an id can depend on the ids next to it (a space before a word, the bytes of a character).
    Returned text never changes; text that may still change is returned later, at the latest by `flush`.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0  # number of ids whose text was returned
        self._prefix = ""  # the text of those ids

    def push(self, id_: int) -> str:
        """See IncrementalDecoder."""
        self._ids.append(id_)
        text = self._decode(self._ids)
        if text.endswith(REPLACEMENT) or not text.startswith(self._prefix):
            return ""
        fresh = text[len(self._prefix) :]
        if fresh:
            self._ids = self._ids[self._shown :]
            self._shown = len(self._ids)
            self._prefix = self._decode(self._ids)
        return fresh

    def flush(self) -> str:
        """See IncrementalDecoder."""
        text = self._decode(self._ids)
        fresh = text[len(self._prefix) :] if text.startswith(self._prefix) else ""
        self._ids, self._shown, self._prefix = [], 0, ""
        return fresh
