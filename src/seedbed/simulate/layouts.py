"""Layouts: defaults, checks, and the search for the best one."""

from __future__ import annotations


def default_interleave(layers: int, pp: int, stack: str) -> int:
    """Virtual stages for each pipeline stage if nothing is said: up to 4 with the fused stack, else 1."""
    if pp == 1 or stack != "fused":
        return 1
    return max(1, min(4, layers // pp))
