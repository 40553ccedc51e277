"""Hashes of runs of tokens, by which texts that contain each other are found.

A token is a run of letters, digits and underscores, or any other single character that is not white space; ASCII letters
count as lower case. Characters of three or more UTF-8 bytes (Chinese, Japanese, Thai, emoji) are tokens of their own. The
hash of n tokens is a polynomial modulo 2^64 (Karp and Rabin 1987), so all hashes of a batch are made by a few NumPy
operations. `winnowed` keeps the smallest hash of each window, as Schleimer, Wilkerson and Aiken describe (Winnowing, 2003).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

RUN = 13
"""Tokens in a run. Thirteen is the usual length for finding overlap of evaluation and training text (Brown et al. 2020)."""
WINDOW = 8
"""Hashes in a window of `winnowed`: a shared text of RUN + WINDOW - 1 = 20 tokens always shares a fingerprint."""

_BYTE_BASE = 0x9E3779B97F4A7C15
_TOKEN_BASE = 0xD6E8FEB86659FD93
_SPACE, _WORD, _SINGLE, _FOLLOWING = 0, 1, 2, 3


class Tokens(NamedTuple):
    """The tokens of a batch of texts: the hash of each, uint64 (T,), and the number of its text, int64 (T,)."""

    hashes: np.ndarray
    texts: np.ndarray


def hash64(text: str) -> int:
    """A stable hash of a text, below 2^64."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def tokens_of(texts: Sequence[str]) -> Tokens:
    """The tokens of texts, in order. Takes about 30 bytes of memory per byte of text, so give a few megabytes at a time."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    # A newline between two texts separates their tokens.
    data = np.frombuffer(b"\n".join([*encoded, b""]), dtype=np.uint8)
    classes, values = _tables()
    starts = np.flatnonzero(_token_starts(data, classes))
    if not len(starts):
        return Tokens(np.empty(0, np.uint64), np.empty(0, np.int64))
    powers, inverses = _powers(_BYTE_BASE, len(data))
    weighted = values[data]
    weighted *= powers[: len(data)]
    hashes = _mixed(np.add.reduceat(weighted, starts) * inverses[starts])
    ends = np.cumsum([len(each) + 1 for each in encoded])
    return Tokens(hashes, np.searchsorted(ends, starts, side="right"))


def runs_of(tokens: Tokens, length: int = RUN) -> tuple[np.ndarray, np.ndarray]:
    """The hash of each run of `length` tokens within one text, in order, uint64 (R,), and the number of its text (R,)."""
    count = len(tokens.hashes)
    if count < length:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    powers, inverses = _powers(_TOKEN_BASE, count)
    sums = np.zeros(count + 1, np.uint64)
    np.cumsum(tokens.hashes * powers[:count], out=sums[1:])
    hashes = (sums[length:] - sums[:-length]) * inverses[: count - length + 1]
    within = tokens.texts[: count - length + 1] == tokens.texts[length - 1 :]
    return _mixed(hashes[within] + np.uint64(length)), tokens.texts[: count - length + 1][within]


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


def _token_starts(data: np.ndarray, classes: np.ndarray) -> np.ndarray:
    kinds = classes[data]
    word = kinds == _WORD
    starts: np.ndarray = kinds == _SINGLE
    if (kinds == _FOLLOWING).any():
        # The second byte of a two-byte character is part of a word; those of longer characters are not.
        after_short = np.r_[False, (data[:-1] >= 0xC0) & (data[:-1] < 0xE0)]
        word |= (kinds == _FOLLOWING) & after_short
    starts |= word & ~np.r_[False, word[:-1]]
    return starts


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each byte: its class, and its value in hashes, which is 0 for white space."""
    classes = np.full(256, _SINGLE, np.uint8)
    classes[[*range(0x21), 0x7F]] = _SPACE
    classes[[*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B), 0x5F, *range(0xC0, 0xE0)]] = _WORD
    classes[0x80:0xC0] = _FOLLOWING
    values = np.array([hash64(f"byte {byte}") for byte in range(256)], np.uint64)
    values[0x41:0x5B] = values[0x61:0x7B]
    values[classes == _SPACE] = 0
    return classes, values


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


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread all bits over all bits, in place (the finaliser of MurmurHash3), since low bits of the sums are weak."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes ^= hashes >> np.uint64(33)
        hashes *= np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
    return hashes
