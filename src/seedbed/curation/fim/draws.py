"""Random draws that depend on a key only, so that neither the order of files nor the number of processes matters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A sequence of random draws for a key; the same key gives the same sequence on every machine.

    The n-th block of eight draws is the BLAKE2b hash of n with the key.
    """

    def __init__(self, *key: str | int) -> None:
        self._key = hashlib.blake2b(json.dumps(key).encode(), digest_size=32).digest()
        self._block = 0
        self._words: list[int] = []

    def _word(self) -> int:
        if not self._words:
            digest = hashlib.blake2b(self._block.to_bytes(8, "little"), key=self._key, digest_size=64).digest()
            self._words = [int.from_bytes(digest[at : at + 8], "little") for at in range(0, 64, 8)]
            self._block += 1
        return self._words.pop()

    def uniform(self) -> float:
        """A number in [0, 1) with 53 random bits."""
        return (self._word() >> 11) * 2.0**-53

    def below(self, number: int) -> int:
        """A whole number in 0 .. number - 1; `number` must be positive."""
        return self._word() * number >> 64

    def choice(self, values: Sequence[T]) -> T:
        """One of the values, each as likely as the others."""
        return values[self.below(len(values))]
