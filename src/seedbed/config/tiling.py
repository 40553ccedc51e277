"""The sizes of the blocks in which slow operations are computed, for the kernels and for the estimate of their memory."""

from __future__ import annotations

from collections.abc import Iterator

QUERY_BLOCK = 128
"""Queries per block of attention. With fewer than 128, more calls cost more time than computing masked scores."""
BLOCKED_CONTEXT = 4096
"""The most tokens per sequence for attention in blocks of queries, in bf16 on a CPU (model/kernels.py).

Measured with AVX512-BF16 for 512 to 4096 tokens: 1.7 to 2.7 times as fast as PyTorch's, forward and backward. The probabilities
are B * H * T * T / 2 numbers in each layer, which are kept for the backward pass if they are few.
"""
_MOST_PROBABILITIES = 128 << 20
"""The most bytes of probabilities, of all layers, that are kept: for small models, whose memory does not matter, it is the
faster way. A step of SmolLM2 (354 MB of them) takes as long with them computed again."""
WINDOW_BLOCK = 512
"""Queries per block of attention with a sliding window: a block computes only the scores of keys in the window of any of them."""
_SLICE_LOGITS = 1 << 21
"""Number of logits that the head's loss (model/cross_entropy.py) has in memory at the same time (fp32: 8 MiB)."""
_SLICE_ROWS = 512
"""The fewest tokens in a slice of the head's loss: matmuls with fewer rows are inefficient."""

_BLOCK_LOGITS = 1 << 19
"""Number of logits whose softmax a CPU computes at the same time (fp32: 2 MiB, which stay in its cache)."""


def slice_rows(vocab_rows: int) -> int:
    """The number of tokens whose logits the head's loss computes at a time, for a vocabulary of `vocab_rows`."""
    return max(_SLICE_ROWS, _SLICE_LOGITS // vocab_rows)


def softmax_rows(vocab_rows: int) -> int:
    """The number of tokens whose softmax a CPU computes at a time, for a vocabulary of `vocab_rows`."""
    return max(1, _BLOCK_LOGITS // vocab_rows)


def probabilities(heads: int, sequences: int, context: int) -> int:
    """Bytes of the attention probabilities of a layer, in blocks of queries and 16 bits: a block has all keys up to its end."""
    return sequences * heads * context * (context + QUERY_BLOCK) // 2 * 2


def keeps_probabilities(layers: int, heads: int, sequences: int, context: int) -> bool:
    """Whether attention in blocks keeps its probabilities for the backward pass, or computes them again."""
    return layers * probabilities(heads, sequences, context) <= _MOST_PROBABILITIES


def window_blocks(queries: int, keys: int, window: int) -> Iterator[tuple[int, int, int, int]]:
    """Blocks of attention with a sliding window: first and last query (exclusive), first and last key (exclusive) of each.

    The last query is at the position of the last key, and a query sees `window` keys up to its own position.
    """
    offset = keys - queries
    for begin in range(0, queries, WINDOW_BLOCK):
        end = min(begin + WINDOW_BLOCK, queries)
        yield begin, end, max(0, begin + offset - window + 1), end + offset
