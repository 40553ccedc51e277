"""The sizes of the blocks in which slow operations are computed, for the kernels and for the estimate of their memory."""

from __future__ import annotations

QUERY_BLOCK = 128
"""Queries per matmul of attention. Below 128, the additional calls cost more than the masked half of a block."""
BLOCKED_CONTEXT = 512
"""The longest window whose attention is computed in such blocks, in bf16 on a CPU (model/kernels.py).

The probabilities are kept for the backward pass: B * H * T * T / 2 numbers, too many for longer windows.
"""
_SLICE_LOGITS = 1 << 21
"""Number of logits that the head's loss (model/cross_entropy.py) has in memory at the same time (fp32: 8 MiB)."""
_SLICE_ROWS = 512
"""The least rows in a slice: matmuls with fewer rows are inefficient."""


def slice_rows(vocab_rows: int) -> int:
    """The number of tokens in one slice of the head's loss."""
    return max(_SLICE_ROWS, _SLICE_LOGITS // vocab_rows)
