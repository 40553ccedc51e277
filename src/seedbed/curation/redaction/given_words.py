"""Finds given words, such as the names of the authors of a repository, in texts: many words in one pass over the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from seedbed.curation.redaction.rules import known_words
from seedbed.curation.redaction.scanner import Grams

_LEAST_NAME = 3
LABELS = ("NAME", "USER", "HOST")
"""In this order: a word of an earlier label has precedence."""


class GivenWords:
    """Words with their labels. They are found as whole words only, of several at one place the longest."""

    def __init__(self, words: Sequence[tuple[str, str]]) -> None:
        """`words`: (word, label). A single word must be no common login name; a name needs two words."""
        anchors: dict[bytes, list[tuple[str, str]]] = {}
        for word, label in words:
            word = word.strip()
            if _is_distinct(word, label) and (word, label) not in anchors.setdefault(_folded(word), []):
                anchors[_folded(word)].append((word, label))
        self._grams = [Grams(size, anchors) for size in (3, 4)] if anchors else []

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where the words are, as (start, end, label), label by label; those of one label do not overlap."""
        data = _folded(text) if self._grams else b""
        found = [
            (LABELS.index(label), at, -len(word))
            for grams in self._grams
            for (word, label), at in grams.candidates(data)
            if text.startswith(word, at) and _is_apart(text, at, at + len(word))
        ]
        end, last = 0, -1
        for number, at, negative in sorted(found):
            if number != last or at >= end:
                last, end = number, at - negative
                yield at, end, LABELS[number]


@lru_cache(maxsize=64)
def given_words(words: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> GivenWords:
    """The finder of some words with labels and of names, made once."""
    return GivenWords([*words, *((name, "NAME") for name in names)])


def _folded(text: str) -> bytes:
    """One byte for each character, in lower case."""
    return text.encode("ascii", "replace").lower()


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether no letter, digit or underscore stands before or after, and no `<` before."""
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    return not (before.isalnum() or before in ("_", "<") or after.isalnum() or after == "_")


def _is_distinct(word: str, label: str) -> bool:
    if label == "NAME":
        return " " in word and len(word) > 2 * _LEAST_NAME
    return len(word) >= _LEAST_NAME and word.lower() not in known_words("impersonal_users")
