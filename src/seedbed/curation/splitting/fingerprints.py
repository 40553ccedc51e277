"""Hashes of runs of tokens, by which texts that contain each other are found.

A token is a run of letters, digits and underscores, or any other single character that is not white space; ASCII letters
count as lower case. Characters of three or more UTF-8 bytes (Chinese, Japanese, Thai, emoji) are tokens of their own. The
hash of n tokens is a polynomial of their hashes modulo 2^64 (Karp and Rabin 1987), so all hashes of a batch are made by a
few NumPy operations. Runs of words, without ASCII punctuation, are the same in a text whose markup, quotation marks or line
ends differ. `winnowed` keeps the smallest hash of each window (Schleimer, Wilkerson and Aiken 2003).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

RUN = 13
"""Tokens in a run. Thirteen is the usual length for finding overlap of evaluation and training text (Brown et al. 2020)."""
WORDS = -RUN
"""The length that stands for runs of so many words: tokens without ASCII punctuation, as Brown et al. count them."""
WINDOW = 8
"""Hashes in a window of `winnowed`: a shared text of RUN + WINDOW - 1 = 20 tokens always shares a fingerprint."""

_BYTE_BASE = 0x9E3779B97F4A7C15
_TOKEN_BASE = 0xD6E8FEB86659FD93
_WIDTH = 8
_SPACE, _WORD, _SINGLE, _FOLLOWING = 0, 1, 2, 3


class Tokens(NamedTuple):
    """The tokens of a batch of texts: the hash of each, uint64 (T,), and the number of its text, int64 (T,)."""

    hashes: np.ndarray
    texts: np.ndarray
    words: np.ndarray
    """bool (T,); False for ASCII punctuation."""

    def only_words(self) -> Tokens:
        """The tokens without ASCII punctuation."""
        kept = np.flatnonzero(self.words)
        return Tokens(self.hashes[kept], self.texts[kept], np.broadcast_to(True, len(kept)))


def hash64(text: str) -> int:
    """A stable hash of a text, below 2^64."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def tokens_of(texts: Sequence[str]) -> Tokens:
    """The tokens of texts, in order. Takes about 20 bytes of memory per byte of text, so give a few megabytes at a time."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    # A newline between two texts separates their tokens. Eight bytes are read at once, so there are eight more at the end.
    content = b"\n".join([*encoded, b"\n" * _WIDTH])
    lower, classes, beginnings, masks = _tables()
    starts, lengths = _bounds(np.frombuffer(content.translate(classes), np.uint8), content)
    words = np.ndarray(len(content) - _WIDTH + 1, "<u8", content.translate(lower), strides=(1,))
    hashes = _mixed(words[starts] & masks[np.minimum(lengths, _WIDTH)])
    longer, done = np.flatnonzero(lengths > _WIDTH), _WIDTH
    while len(longer):
        rest = words[starts[longer] + done] & masks[np.minimum(lengths[longer] - done, _WIDTH)]
        hashes[longer] = _mixed(hashes[longer] * np.uint64(_BYTE_BASE) + rest)
        done += _WIDTH
        longer = longer[lengths[longer] > done]
    bounds = np.searchsorted(starts, np.cumsum([0, *(len(each) + 1 for each in encoded)]))
    are_words = np.frombuffer(content.translate(beginnings), np.bool_)[starts]
    return Tokens(hashes, np.repeat(np.arange(len(encoded)), np.diff(bounds)), are_words)


def runs_of(tokens: Tokens, length: int = RUN) -> tuple[np.ndarray, np.ndarray]:
    """The hash of each run of `length` tokens within one text, in order, uint64 (R,), and the number of its text (R,).

    A negative length is that of runs of words.
    """
    tokens, count = (tokens.only_words(), -length) if length < 0 else (tokens, length)
    if len(tokens.hashes) < count:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    hashes = _polynomials(_sums(tokens), count)
    first = tokens.texts[: len(hashes)]
    within = first == tokens.texts[count - 1 :]
    return _mixed(hashes[within] + _salt(length)), first[within]


def _salt(length: int) -> np.uint64:
    """What tells the hashes of runs of different lengths apart, and those of words from those of tokens."""
    return np.uint64(length % (1 << 64))


class Sought:
    """Hashes of runs that are looked for in tokens.

    For each length of runs, two tables of flags, by the first bits of the polynomials and by the next ones, tell which runs
    may be there; only these are looked up by binary search.
    """

    def __init__(self, hashes: np.ndarray, lengths: Mapping[int, np.ndarray]) -> None:
        """`hashes`: distinct and sorted, uint64 (H,); `lengths`: those of each length, as `runs_of` gives them."""
        self._hashes = hashes
        self._flags = {length: _flags_of(_unmixed(own) - _salt(length)) for length, own in sorted(lengths.items())}

    def find(self, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """Which of the hashes the tokens have: their positions in `hashes`, and the numbers of the texts, int64 (F,)."""
        places, texts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        every, all_sums = tokens, _sums(tokens)
        for length, (bits, first, second) in self._flags.items():
            tokens, sums = every, all_sums
            if length < 0:
                tokens = every.only_words()
                sums = _sums(tokens)
            count = abs(length)
            if len(tokens.hashes) < count:
                continue
            found = _polynomials(sums, count)
            likely = np.flatnonzero(first[(found >> np.uint64(64 - bits)).view(np.int64)])
            found = found[likely]
            kept = second[((found << np.uint64(bits)) >> np.uint64(64 - bits)).view(np.int64)]
            likely, found = likely[kept], _mixed(found[kept] + _salt(length))
            place = np.minimum(np.searchsorted(self._hashes, found), len(self._hashes) - 1)
            text = tokens.texts[likely]
            equal = (self._hashes[place] == found) & (text == tokens.texts[likely + count - 1])
            places.append(place[equal])
            texts.append(text[equal])
        return np.concatenate(places), np.concatenate(texts)


def winnowed(runs: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest hash of each window of WINDOW runs of a text, without direct repeats, and the number of its text.

    A text with fewer runs has one window. `runs` and `texts` are what `runs_of` returns.
    """
    if not len(runs):
        return runs, texts
    smallest = runs.copy()
    for shift in (1, 2, 4):
        smallest[:-shift] = np.minimum(smallest[:-shift], smallest[shift:])
    whole = np.zeros(len(runs), bool)
    if len(runs) >= WINDOW:
        whole[: len(runs) - WINDOW + 1] = texts[: len(runs) - WINDOW + 1] == texts[WINDOW - 1 :]
    first = np.flatnonzero(np.r_[True, texts[1:] != texts[:-1]])
    short = first[~whole[first]]
    least = np.minimum.reduceat(runs, first)[~whole[first]]
    found = np.concatenate([smallest[whole], least])
    owner = np.concatenate([texts[whole], texts[short]])
    new = np.r_[True, (found[1:] != found[:-1]) | (owner[1:] != owner[:-1])]
    return found[new], owner[new]


def _bounds(kinds: np.ndarray, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Where tokens start, and how many bytes they have; int64. `kinds`: the class of each byte."""
    word = kinds == _WORD
    starts = kinds == _SINGLE
    if not content.isascii():
        # The second byte of a two-byte character is part of a word; those of longer characters are not.
        data = np.frombuffer(content, np.uint8)
        following = kinds == _FOLLOWING
        following[1:] &= (data[:-1] >= 0xC0) & (data[:-1] < 0xE0)
        word |= following
    starts[0] |= word[0]
    starts[1:] |= word[1:] & ~word[:-1]
    # A token ends before the next one starts, or before white space; the last byte is white space.
    inside = kinds != _SPACE
    ends = inside[:-1] & (starts[1:] | ~inside[1:])
    first = np.flatnonzero(starts)
    return first, np.flatnonzero(ends) + 1 - first


@cache
def _tables() -> tuple[bytes, bytes, bytes, np.ndarray]:
    """Bytes in lower case, their classes, whether a token that begins so is a word, and masks of the first 0 to 8 bytes.

    The masks are for little-endian numbers.
    """
    classes = bytearray([_SINGLE] * 256)
    for byte in (*range(0x21), 0x7F):
        classes[byte] = _SPACE
    for byte in (*b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *range(0xC0, 0xE0)):
        classes[byte] = _WORD
    for byte in range(0x80, 0xC0):
        classes[byte] = _FOLLOWING
    masks = np.array([(1 << 8 * length) - 1 for length in range(_WIDTH + 1)], np.uint64)
    beginnings = bytes(byte >= 0x80 or kind == _WORD for byte, kind in enumerate(classes))
    return bytes(range(256)).lower(), bytes(classes), beginnings, masks


def _sums(tokens: Tokens) -> np.ndarray:
    """The sums of the first 0, 1, 2... tokens' hashes, each times a power of the base; uint64 (T + 1,)."""
    count = len(tokens.hashes)
    sums = np.zeros(count + 1, np.uint64)
    np.cumsum(tokens.hashes * _powers(_TOKEN_BASE, count)[0][:count], out=sums[1:])
    return sums


def _polynomials(sums: np.ndarray, length: int) -> np.ndarray:
    """The polynomial of each run of `length` tokens, also of those that begin in one text and end in another."""
    hashes: np.ndarray = sums[length:] - sums[:-length]
    hashes *= _powers(_TOKEN_BASE, len(sums) - 1)[1][: len(hashes)]
    return hashes


def _flags_of(polynomials: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """How many bits are looked at, and for all values of the first so many bits and of the next, whether one has them."""
    bits = min(max((len(polynomials) * 16).bit_length(), 10), 24)  # 16 MB at most, so that they stay in a cache
    first, second = np.zeros(1 << bits, bool), np.zeros(1 << bits, bool)
    first[polynomials >> np.uint64(64 - bits)] = True
    second[(polynomials << np.uint64(bits)) >> np.uint64(64 - bits)] = True
    return bits, first, second


_GROWN: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _powers(base: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The powers of an odd number and of its inverse modulo 2^64, at least `count` of each; kept for the next call."""
    known = _GROWN.get(base)
    if known is None or len(known[0]) < count:
        size = 1 << max(count - 1, 1).bit_length()
        known = _GROWN[base] = (_powers_of(base, size), _powers_of(pow(base, -1, 1 << 64), size))
    return known


def _powers_of(base: int, size: int) -> np.ndarray:
    made = np.ones(size, np.uint64)
    made[1:] = base
    powers: np.ndarray = np.cumprod(made, dtype=np.uint64)
    return powers


_FACTORS = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread all bits over all bits, in place (the finaliser of MurmurHash3), since low bits of the sums are weak."""
    for factor in _FACTORS:
        hashes ^= hashes >> np.uint64(33)
        hashes *= np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
    return hashes


def _unmixed(hashes: np.ndarray) -> np.ndarray:
    """What `_mixed` made these of, in a new array."""
    made: np.ndarray = hashes ^ (hashes >> np.uint64(33))
    for factor in reversed(_FACTORS):
        made *= np.uint64(pow(factor, -1, 1 << 64))
        made ^= made >> np.uint64(33)
    return made
