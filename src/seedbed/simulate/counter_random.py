"""Random numbers with random access: each is a pure function of (seed, purpose, index), so no generator has a state.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014),
applied to the key of the stream plus the index times the golden-ratio increment.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Stream:
    """The random numbers of one purpose. Equal (seed, purpose) give equal numbers; others are independent."""

    def __init__(self, seed: int, purpose: str) -> None:
        import hashlib  # a plan needs no random numbers, and should start at once

        digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "little")

    def bits(self, index: int) -> int:
        """64 random bits."""
        z = (self._key + (index + 1) * _GOLDEN) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def uniform(self, index: int) -> float:
        """A number in the open interval (0, 1)."""
        return ((self.bits(index) >> 11) + 0.5) * 2.0**-53

    def normal(self, index: int) -> float:
        """A standard normal number (Box and Muller, 1958); its absolute value is below 6.8."""
        bits = self.bits(index)
        radius = math.sqrt(-2.0 * math.log(((bits >> 32) + 0.5) * 2.0**-32))
        return radius * math.cos(2.0 * math.pi * ((bits & 0xFFFFFFFF) + 0.5) * 2.0**-32)

    def exponential(self, index: int) -> float:
        """An exponential number with mean 1."""
        return -math.log(self.uniform(index))

    def below(self, index: int, end: int) -> int:
        """A whole number from 0 to `end` - 1."""
        return self.bits(index) * end >> 64

    def choose(self, index: int, cumulative: Sequence[float]) -> int:
        """The position of a choice whose weights have the running sums `cumulative`."""
        return min(bisect_right(cumulative, self.uniform(index) * cumulative[-1]), len(cumulative) - 1)


class Autocorrelated:
    """A standard normal AR(1) process x[i] = rho x[i-1] + sqrt(1 - rho^2) e[i], with random access.

    The infinite sum over e is cut where its weights are below 1e-4, so x is a pure function of i.
    """

    def __init__(self, stream: Stream, rho: float) -> None:
        count = 1 if rho <= 0 else max(1, math.ceil(math.log(1e-4) / math.log(rho)))
        raw = [rho**lag for lag in range(count)]
        scale = 1 / math.sqrt(sum(weight * weight for weight in raw))
        self._weights = [weight * scale for weight in raw]
        self._normal = lru_cache(256)(stream.normal)  # neighbours share most of their numbers

    def at(self, index: int) -> float:
        """The value at an index, with mean 0 and variance 1."""
        return sum(weight * self._normal(index - lag) for lag, weight in enumerate(self._weights))
