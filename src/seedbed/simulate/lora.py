"""Sizes of LoRA adapters (arXiv 2106.09685): trained parameters, and the inputs that their backward pass needs."""

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


INPUTS: dict[str, frozenset[str]] = {
    "hidden": frozenset({"query", "key", "value"}),
    "attention": frozenset({"projection"}),
    "ffn": frozenset({"mlp"}),
}
"""Inputs of a layer's matrices -> the targets that read them. Those of `ffn` are the hidden state and the inner values."""


def lora_input_width(shape: Shape, targets: Iterable[str] | None = None) -> int:
    """Values for each token that adapters on the targets keep for their backward pass in a layer; None: on all matrices.

    An input that several matrices share counts once. With experts: those of the experts that a token uses.
    """
    chosen = set(SIDES if targets is None else targets)
    dense = shape.layers - shape.moe_layers
    experts = shape.moe_layers * (shape.top_k + shape.shared_experts)
    ffn = (dense * (shape.hidden + shape.ffn) + experts * (shape.hidden + shape.moe_ffn)) // shape.layers
    widths = {"hidden": shape.hidden, "attention": shape.query_width, "ffn": ffn}
    return sum(widths[name] for name, readers in INPUTS.items() if readers & chosen)
