"""MinHash signatures of sets of hashes, by rensa or by NumPy alone."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seedbed.curation.duplicates.shingles import Hashes
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import quoted

PERMUTATIONS = 128
BANDS, ROWS = 16, 8
"""Two texts are candidates if all the values of one of 16 bands of 8 are equal: almost always from a similarity of .85 on."""
_SEED = 42

Signature = npt.NDArray[np.uint32]
"""Rows of 128 values. The share of equal values in two rows estimates the Jaccard similarity of the two sets."""


class Signatures(Protocol):
    """Makes signatures. Those of different makers cannot be compared."""

    @property
    def name(self) -> str:
        """The maker and the version of its method, such as `rensa-2`."""
        ...

    def __call__(self, hashes: Hashes, offsets: npt.NDArray[np.int64]) -> Signature:
        """One row for each set; set i has hashes[offsets[i] : offsets[i + 1]], at least one of them, repeats allowed."""
        ...


class NumpySignatures:
    """MinHash by 128 permutations of 64-bit hashes: h -> the upper half of a * h + b modulo 2^64 (Dietzfelbinger, 1996)."""

    name = "numpy-1"
    _BLOCK = 1 << 15
    """About how many hashes are permuted at once, so that they stay in the processor's cache."""

    def __call__(self, hashes: Hashes, offsets: npt.NDArray[np.int64]) -> Signature:
        """See Signatures."""
        made = np.empty((len(offsets) - 1, PERMUTATIONS), np.uint32)
        first = 0
        while first < len(made):
            last = max(int(np.searchsorted(offsets, offsets[first] + self._BLOCK, "right")) - 1, first + 1)
            begin, end = int(offsets[first]), int(offsets[last])
            self._fill(made[first:last], hashes[begin:end], offsets[first:last] - begin)
            first = last
        return made

    @staticmethod
    def _fill(made: Signature, hashes: Hashes, starts: npt.NDArray[np.int64]) -> None:
        permuted = np.empty_like(hashes)
        for number, (factor, shift) in enumerate(permutations()):
            np.multiply(hashes, factor, out=permuted)
            permuted += shift
            made[:, number] = np.minimum.reduceat(permuted, starts) >> np.uint64(32)


class RensaSignatures:
    """The R-MinHash of rensa, which is several times as fast as NumPy.

    It computes in threads of its own, which a process made by `fork` does not have: such a process hangs. Use `spawn`.
    """

    def __init__(self) -> None:
        from rensa import RMinHash  # type: ignore[import-untyped]

        self._rensa = RMinHash
        self.name = f"rensa-{RMinHash.ALGORITHM_VERSION}"

    def __call__(self, hashes: Hashes, offsets: npt.NDArray[np.int64]) -> Signature:
        """See Signatures."""
        matrix = self._rensa.digest_matrix_from_flat_token_hashes(
            np.ascontiguousarray(hashes), offsets.astype(np.uint64), PERMUTATIONS, _SEED
        )
        return np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, PERMUTATIONS)


def signatures(maker: str = "auto") -> Signatures:
    """The maker of signatures: `rensa`, `numpy`, or `auto` for rensa if it is installed.

    Raises SeedbedError if rensa is asked for and is not installed, UsageError for another name.
    """
    if maker not in ("auto", "rensa", "numpy"):
        raise UsageError(f"{quoted(maker)} makes no signatures.", "Choose rensa, numpy or auto.")
    installed = importlib.util.find_spec("rensa") is not None
    if maker == "numpy" or (maker == "auto" and not installed):
        return NumpySignatures()
    if not installed:
        raise SeedbedError("The package rensa is not installed.", "Install it: pip install 'seedbed[prepare]'")
    return RensaSignatures()


@functools.cache
def permutations() -> list[tuple[np.uint64, np.uint64]]:
    """128 pairs of an odd factor and a summand, the same everywhere."""
    made = []
    for number in range(PERMUTATIONS):
        digest = hashlib.blake2b(number.to_bytes(4, "little"), digest_size=16, person=b"permutation").digest()
        factor, shift = np.frombuffer(digest, "<u8")
        made.append((np.uint64(factor | 1), np.uint64(shift)))
    return made
