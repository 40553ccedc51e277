"""How large the pieces are in which the slow operations work: read by the kernels and by the estimate of their memory."""

from __future__ import annotations

QUERY_BLOCK = 128
"""Queries that share one matmul of attention: below 128 the calls cost more than the masked half of a block."""
BLOCKED_CONTEXT = 512
"""Longest window whose attention works on such blocks, in bf16 on a CPU (model/kernels.py).

The probabilities are kept for the backward pass: B * H * T * T / 2 numbers, too many for longer windows.
"""
_SLICE_LOGITS = 1 << 21
"""Logits held at once by the head's loss (model/cross_entropy.py), in numbers (fp32: 8 MiB)."""
_SLICE_ROWS = 512
"""Fewer rows than this would not keep a matmul busy."""


def slice_rows(vocab_rows: int) -> int:
    """How many tokens' logits the head's loss holds at once."""
    return max(_SLICE_ROWS, _SLICE_LOGITS // vocab_rows)
