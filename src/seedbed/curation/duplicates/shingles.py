"""Splits texts into words and hashes every run of n words, with NumPy and without a Python object per word.

A word is a run of ASCII letters, digits, underscores and characters of two UTF-8 bytes (Latin with accents, Greek, Cyrillic,
Hebrew, Arabic); each character of three or four bytes (Chinese, Japanese, Korean, Thai, emoji) begins a word, because
those scripts have no spaces. Whitespace and ASCII punctuation separate words, and ASCII case is ignored.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_CHUNK_BYTES = 1 << 18
"""Texts are hashed in chunks of this size, so that the arrays of a chunk stay in the processor's cache."""
_BOUNDARY_BYTES = 1 << 12
"""A chunk ends after the last separator in this many bytes at its end; without one, it splits a word."""
_SEPARATOR, _INSIDE, _START = 0, 1, 2


@dataclass(frozen=True)
class Shingles:
    """The hashed word n-grams of several texts, one after the other.

    `hashes`: all of them, in order, repeats included. `offsets`: text i has those from offsets[i] to offsets[i + 1].
    `words`: how many words each text has.
    """

    hashes: Hashes
    offsets: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]


def shingles(texts: Sequence[str], words: int) -> Shingles:
    """Hash every run of `words` words of each text; a text with fewer words has none."""
    return shingles_by_size(texts, [words])[words]


def shingles_by_size(texts: Sequence[str], sizes: Iterable[int]) -> dict[int, Shingles]:
    """Hash every run of words of each text, for several numbers of words: the texts are split into words once."""
    hashes, counts = _words_of(texts)
    return {words: _runs(hashes, counts, words) for words in sizes}


def _runs(hashes: Hashes, counts: npt.NDArray[np.int64], words: int) -> Shingles:
    ends = np.cumsum(counts)
    runs = np.maximum(counts - words + 1, 0)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(runs, out=offsets[1:])
    if not offsets[-1]:
        return Shingles(np.zeros(0, np.uint64), offsets, counts)
    mixed = _mixed_runs(hashes, words)
    # The run that begins at word p of all texts is one of text i if it ends before the words of text i do.
    owner = np.repeat(np.arange(len(counts)), counts)[: len(mixed)]
    inside = np.arange(words, words + len(mixed)) <= ends[owner]
    return Shingles(mixed[inside], offsets, counts)


def word_hashes(text: str) -> Hashes:
    """The hash of each word of a text, in order."""
    return _words_of([text])[0]


def _mixed_runs(hashes: Hashes, words: int) -> Hashes:
    """One hash for each run of n words: a polynomial in their hashes, mixed as in SplitMix64 (Steele et al., 2014)."""
    count = len(hashes) - words + 1
    mixed = hashes[:count].copy()
    for number in range(1, words):
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed += hashes[number : number + count]
    return _finalised(mixed)


def _finalised(values: Hashes) -> Hashes:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)
    return values


def _words_of(texts: Sequence[str]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """The hashes of all words of all texts, and the number of words of each text."""
    counts = np.zeros(len(texts), np.int64)
    found: list[Hashes] = []
    chunk: list[bytes] = []
    owners: list[int] = []
    size = 0
    for number, text in enumerate(texts):
        for piece in _pieces(text.encode("utf-8", "surrogatepass")):
            if size + len(piece) > _CHUNK_BYTES and chunk:
                found.append(_hash_chunk(chunk, owners, counts))
                chunk, owners, size = [], [], 0
            chunk.append(piece)
            owners.append(number)
            size += len(piece) + 1
    if chunk:
        found.append(_hash_chunk(chunk, owners, counts))
    return (np.concatenate(found) if found else np.zeros(0, np.uint64)), counts


def _pieces(data: bytes) -> Iterator[bytes]:
    """Split a long text at separators, at places that depend on the text alone."""
    begin = 0
    while len(data) - begin > _CHUNK_BYTES:
        end = begin + _CHUNK_BYTES
        tail = np.frombuffer(data[end - _BOUNDARY_BYTES : end], np.uint8)
        separators = np.flatnonzero(_tables().classes[tail] == _SEPARATOR)
        if len(separators):
            end += int(separators[-1]) + 1 - _BOUNDARY_BYTES
        yield data[begin:end]
        begin = end
    yield data[begin:]


def _hash_chunk(pieces: list[bytes], owners: list[int], counts: npt.NDArray[np.int64]) -> Hashes:
    """The hashes of the words of several pieces; adds their numbers to the counts of the texts that own them.

    With S(i) the sum of value[byte] * r^i over the bytes before i, a word from i to j has the hash (S(j) - S(i)) * r^-i modulo
    2^64, which does not depend on where the word is.
    """
    tables = _tables()
    buffer = np.frombuffer(b"\n".join(pieces) + b"\n", np.uint8)
    classes = tables.classes[buffer]
    before = np.empty_like(classes)
    before[0], before[1:] = _SEPARATOR, classes[:-1]
    starts = np.flatnonzero((classes == _START) | ((classes == _INSIDE) & (before == _SEPARATOR)))
    sums = np.zeros(len(buffer) + 1, np.uint64)
    weighted = tables.values[buffer]
    weighted *= tables.powers(len(buffer))
    np.cumsum(weighted, out=sums[1:])
    # A word ends at the next separator or at the next start, whichever comes first. Separators weigh 0, so that the sum
    # up to the next start is the sum up to the end of the word.
    ends = np.append(starts[1:], len(buffer))
    hashes = sums[ends] - sums[starts]
    hashes *= tables.inverse_powers(len(buffer))[starts]
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces)) + 1
    places = np.searchsorted(starts, np.append(0, np.cumsum(lengths)))
    np.add.at(counts, owners, np.diff(places))
    return _finalised(hashes)


class _Tables:
    """What a byte is and which value it has, and the powers of the base of the polynomial."""

    base = 0xD1342543DE82EF95

    def __init__(self) -> None:
        self.classes = np.full(256, _SEPARATOR, np.uint8)
        self.values = np.zeros(256, np.uint64)
        letters = [*b"0123456789_", *range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1)]
        for byte in [*letters, *range(0x80, 0x100)]:
            # 0xC2 leads the punctuation of Latin-1, and 0xE0 and above lead characters of three and four bytes.
            self.classes[byte] = _START if byte == 0xC2 or byte >= 0xE0 else _INSIDE
            folded = byte + 32 if ord("A") <= byte <= ord("Z") else byte
            digest = hashlib.blake2b(bytes([folded]), digest_size=8, person=b"word bytes").digest()
            self.values[byte] = np.frombuffer(digest, "<u8")[0]
        self._powers = self._inverse_powers = np.ones(1, np.uint64)

    def powers(self, count: int) -> Hashes:
        self._grow(count)
        return self._powers[:count]

    def inverse_powers(self, count: int) -> Hashes:
        self._grow(count)
        return self._inverse_powers[:count]

    def _grow(self, count: int) -> None:
        if count <= len(self._powers):
            return
        size = max(count, _CHUNK_BYTES + 1024)
        for name, base in (("_powers", self.base), ("_inverse_powers", pow(self.base, -1, 1 << 64))):
            values = np.full(size, base, np.uint64)
            values[0] = 1
            setattr(self, name, np.cumprod(values))


@functools.cache
def _tables() -> _Tables:
    return _Tables()
