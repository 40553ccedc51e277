"""A keyed pseudo-random permutation of 0 .. n-1 with random access.

Nothing is stored: each value is computed from the key, so that any position of any epoch is available at once.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

_ROUNDS = 8
_MAX = 1 << 62


def key_of(*parts: str | int) -> bytes:
    """A 32-byte key derived from `parts`. Different parts give different keys, even if they join to the same text."""
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        encoded = str(part).encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.digest()


def uniform_below(n: int, key: bytes) -> int:
    """A pseudo-random number in 0 .. n-1 that depends only on `key`."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=16, person=b"uniform").digest(), "little") % n


def permute(indices: np.ndarray, n: int, key: bytes) -> np.ndarray:
    """The values of `indices` under the permutation of 0 .. n-1 that `key` selects: int64, same shape.

    Method: an unbalanced Feistel network over the smallest power of two that is at least n (Luby and Rackoff 1988), with
    cycle walking for results outside the range (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"): fewer
    than two walks on average.
    """
    if not 0 < n <= _MAX:
        raise ValueError(f"n must be 1 .. 2**62, not {n}")
    images = np.array(indices, dtype=np.uint64).reshape(-1)
    if images.size and int(images.max()) >= n:
        raise ValueError(f"an index is outside 0 .. {n - 1}")
    bits, keys = (n - 1).bit_length(), _round_keys(key)
    pending = np.arange(images.size)
    while pending.size:
        walked = _feistel(images[pending], bits, keys)
        images[pending] = walked
        pending = pending[walked >= n]
    return images.astype(np.int64).reshape(np.shape(indices))


@lru_cache(maxsize=64)
def _round_keys(key: bytes) -> tuple[np.uint64, ...]:
    stream = hashlib.shake_128(key).digest(8 * _ROUNDS)
    return tuple(np.uint64(word) for word in np.frombuffer(stream, dtype="<u8"))


def _feistel(values: np.ndarray, bits: int, keys: tuple[np.uint64, ...]) -> np.ndarray:
    """Permute numbers in 0 .. 2**bits - 1. Each round changes half of the bits by a function of the other half."""
    low_bits = bits // 2
    low_mask, high_mask = np.uint64((1 << low_bits) - 1), np.uint64((1 << (bits - low_bits)) - 1)
    low, high = values & low_mask, values >> np.uint64(low_bits)
    for number, key in enumerate(keys):
        if number % 2:
            low ^= _mix(high, key) & low_mask
        else:
            high ^= _mix(low, key) & high_mask
    return (high << np.uint64(low_bits)) | low


def _mix(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """A 64-bit hash of each value. Source: the finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    mixed = values + key
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
