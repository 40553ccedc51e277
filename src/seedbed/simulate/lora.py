"""The number of trained parameters of LoRA adapters (arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from seedbed.simulate.shape import Shape


def _ffn_sides(shape: Shape) -> int:
    """Sides of the matrices of an average feed-forward layer, added up; with experts, of all of them."""
    dense = shape.layers - shape.moe_layers
    experts = shape.moe_layers * (shape.experts + shape.shared_experts)
    sides = dense * (shape.hidden + shape.ffn) + experts * (shape.hidden + shape.moe_ffn)
    return shape.ffn_matrices * sides // shape.layers


SIDES: dict[str, Callable[[Shape], int]] = {
    "query": lambda shape: shape.hidden + shape.query_width,
    "key": lambda shape: shape.hidden + shape.kv_width,
    "value": lambda shape: shape.hidden + shape.kv_width,
    "projection": lambda shape: shape.query_width + shape.hidden,
    "mlp": _ffn_sides,
}
"""Matrices of a layer -> the lengths of their sides, added up. Times the rank, this is the size of their adapters."""


def lora_parameters(shape: Shape, rank: int, targets: Iterable[str] | None = None) -> int:
    """Trained parameters of adapters of this rank on the targets; None: on all matrices of the layers.

    The target `head` is the output layer. Unknown targets are ignored.
    """
    chosen = set(SIDES if targets is None else targets)
    layers = sum(sides(shape) for name, sides in SIDES.items() if name in chosen)
    return rank * (layers * shape.layers + (shape.hidden + shape.vocab if "head" in chosen else 0))
