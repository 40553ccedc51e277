"""Ids to text as they come, never half a character. Refuses to know where the ids come from."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

REPLACEMENT = "\ufffd"


class TextStream(Protocol):
    """Text that grows by one id at a time; the pieces join to the decoding of the whole."""

    def push(self, id_: int) -> str:
        """What is now certain to come next; empty while a character is incomplete or for a special token."""
        ...

    def flush(self) -> str:
        """What is left: an incomplete character shows as U+FFFD. The stream is then as new."""
        ...


class ByteStream:
    """For vocabularies whose ids are bytes, each on its own: GPT-2's byte letters, or characters."""

    def __init__(self, token_bytes: Mapping[int, bytes]) -> None:
        """`token_bytes`: the bytes of each id; one that is not in it (special, or beyond the vocabulary) is silent."""
        self._token_bytes = token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id_: int) -> str:
        """See TextStream."""
        return self._utf8.decode(self._token_bytes.get(id_, b""))

    def flush(self) -> str:
        """See TextStream."""
        rest = self._utf8.decode(b"", True)
        self._utf8.reset()
        return rest


class LibraryStream:
    """For any other decoder: the text is decoded again from a little before the end, and what was added is new.

    Ids are kept from the last place where the text stood whole, so that a decoder which looks at its neighbours (a
    space before a word, bytes that form a character) sees the ones that matter. Text that is out is never changed; a
    decoder that would change it is shown late, at worst at `flush`.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0  # ids whose text is out
        self._prefix = ""  # their text

    def push(self, id_: int) -> str:
        """See TextStream."""
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
        """See TextStream."""
        text = self._decode(self._ids)
        fresh = text[len(self._prefix) :] if text.startswith(self._prefix) else ""
        self._ids, self._shown, self._prefix = [], 0, ""
        return fresh
