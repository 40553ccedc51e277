"""One block of memory for all weights of a model on a CPU, in huge pages where the system offers them.

The system gives memory in pages of 4 KiB and clears each when it is first written, which takes longer than copying a file's
numbers there. Huge pages (2 MiB) need a five-hundredth of these steps, and reading all weights for each token is faster, too,
since the processor looks up fewer addresses. See madvise(2) and the kernel's "Transparent Hugepage Support".
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_ALIGNMENT = 64
"""Numbers to which each tensor's beginning is aligned: at least one line of the processor's cache."""
_PAGE = 4096
_MADV_HUGEPAGE = 14
"""Linux's number, from <asm-generic/mman-common.h>."""


class WeightMemory:
    """Memory for tensors of the given shapes, of which `take` gives one after the other. Undefined at first."""

    def __init__(self, shapes: Sequence[torch.Size], dtype: torch.dtype) -> None:
        self._block = torch.empty(sum(_rounded(prod(shape)) for shape in shapes), dtype=dtype)
        self._begin = 0
        use_huge_pages(self._block)

    def take(self, shape: torch.Size) -> Tensor:
        """A contiguous tensor of the next so many numbers of the block. Not a view: autograd sees its own tensor."""
        taken = torch.empty(0, dtype=self._block.dtype).set_(self._block.untyped_storage(), self._begin, shape)
        self._begin += _rounded(prod(shape))
        return taken


def use_huge_pages(tensor: Tensor) -> bool:
    """Ask the system to use huge pages for a CPU tensor whose memory is not written yet; returns whether it accepts."""
    if not sys.platform.startswith("linux"):
        return False
    begin = -(-tensor.data_ptr() // _PAGE) * _PAGE
    size = tensor.data_ptr() + tensor.nbytes - begin
    if size < _PAGE:
        return False
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes, advise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return int(advise(begin, size // _PAGE * _PAGE, _MADV_HUGEPAGE)) == 0


def _rounded(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT
