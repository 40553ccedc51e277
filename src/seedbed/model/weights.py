"""Convert a decoder's weights to and from Hugging Face names.

The decoder fuses some matrices into one parameter (such as q, k and v into qkv), which Hugging Face may store as several
tensors. A `Piece` says which rows of which parameter belong to which tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seedbed.config.families.family import family
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.model.decoder import Decoder

Role = Literal["matrix", "embedding", "head", "vector"]


class LogicalParameter(NamedTuple):
    """One matrix or vector of the model, such as q, even if a parameter (such as qkv) combines it with others.

    `name` is unique: the Hugging Face tensor's name, plus ":q", ":k" or ":v" if that tensor is fused, too.
    `rows` selects it in dimension 0 of `parameter` (None: all rows). `transposed`: Hugging Face stores [in, out] (Conv1D).
    """

    name: str
    parameter: nn.Parameter
    rows: slice | None
    role: Role
    transposed: bool


class Piece(NamedTuple):
    """Rows of a decoder parameter (its name is `ours`), and the Hugging Face tensor (`theirs`) that stores these rows.

    `rows` None means all rows. Pieces with the same `theirs` are concatenated in that tensor, in order.
    """

    ours: str
    theirs: str
    role: Role
    rows: slice | None = None
    part: str = ""  # q, k or v if the Hugging Face tensor is fused, too
    transposed: bool = False


# ------------------------------------------------------------------------------------------------ from and to a Decoder


def logical_parameters(model: Decoder) -> list[LogicalParameter]:
    """Every trainable matrix and vector of the model once, in a fixed order; a tied head counts as the embedding."""
    parameters = dict(model.named_parameters())
    return [
        LogicalParameter(p.theirs + (p.part and f":{p.part}"), parameters[p.ours], p.rows, p.role, p.transposed)
        for p in pieces(model.config)
    ]


def export_state(model: Decoder) -> dict[str, Tensor]:
    """The model's weights by Hugging Face name, contiguous, in the model's dtype. A tied head is omitted.

    Tensors that need no slicing or transposing share memory with the model: copy them before the next step.
    """
    parameters = dict(model.named_parameters())
    parts: dict[str, list[Tensor]] = {}
    along: dict[str, int] = {}
    for piece in pieces(model.config):
        tensor = parameters[piece.ours].detach()
        tensor = tensor if piece.rows is None else tensor[piece.rows]
        parts.setdefault(piece.theirs, []).append(tensor.t() if piece.transposed else tensor)
        along[piece.theirs] = -1 if piece.transposed else 0
    whole = {name: torch.cat(found, along[name]) if len(found) > 1 else found[0] for name, found in parts.items()}
    return {name: tensor.contiguous() for name, tensor in whole.items()}


@torch.no_grad()
def load_state(model: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights with Hugging Face names into `model`, casting to its dtype. Nothing changes unless all of them fit.

    Raises SeedbedError, which lists missing and unexpected tensors and those with a wrong shape.
    """
    parameters = dict(model.named_parameters())
    given = _under_our_names(model, tensors)
    expected = export_shapes(model)
    wrong = [f"missing {name}" for name in expected if name not in given]
    wrong += [f"unexpected {name}" for name in given if name not in expected]
    wrong += [
        f"{name} has shape {list(given[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in given and tuple(given[name].shape) != shape
    ]
    if wrong:
        shown = "; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise SeedbedError(
            f"These weights do not fit a {model.config.layout} model of this shape: {shown}.",
            "Use the config.json that was saved with these weights.",
        )
    next_row: dict[str, int] = {}
    for piece in pieces(model.config):
        target = parameters[piece.ours] if piece.rows is None else parameters[piece.ours][piece.rows]
        source = given[piece.theirs].t() if piece.transposed else given[piece.theirs]
        begin = next_row.get(piece.theirs, 0)
        next_row[piece.theirs] = begin + target.shape[0]
        target.copy_(source[begin : begin + target.shape[0]])


def export_shapes(model: Decoder) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors by Hugging Face name; also works for a model on the meta device."""
    parameters = dict(model.named_parameters())
    shapes: dict[str, tuple[int, ...]] = {}
    for piece in pieces(model.config):
        shape = list(parameters[piece.ours].shape)
        if piece.rows is not None:
            shape[0] = piece.rows.stop - piece.rows.start
        if piece.transposed:
            shape.reverse()
        if piece.theirs in shapes:
            along = -1 if piece.transposed else 0
            shape[along] += shapes[piece.theirs][along]
        shapes[piece.theirs] = tuple(shape)
    return shapes


def _under_our_names(model: Decoder, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names that Seedbed writes: with the family's prefix, without masks and copies of a tied head."""
    names = family(model.config.layout).names
    embedding, head = f"{names.prefix}{names.embed}.weight", f"{names.head}.weight"
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(names.ignored)}
    if not any(name.startswith(names.prefix) for name in kept):
        kept = {name if name == head else names.prefix + name: tensor for name, tensor in kept.items()}
    if model.head is None and embedding in kept and head in kept:
        twice = kept.pop(head)
        if twice.shape != kept[embedding].shape or not torch.equal(twice, kept[embedding]):
            raise SeedbedError(
                f"config.json says that head and embedding are tied, but {head} in the weights differs from the embedding.",
                'Set "tie_word_embeddings" to false in config.json.',
            )
    return kept


# ------------------------------------------------------------------------------------------------ pieces


def pieces(config: ModelConfig) -> Iterator[Piece]:
    """Yield the pieces (rows of a parameter and where they are stored) of a whole decoder, in forward order."""
    its = family(config.layout)
    features, names = its.features, its.names
    yield Piece("embed.weight", f"{names.prefix}{names.embed}.weight", "embedding")
    if features.positions == "learned":
        yield Piece("positions.weight", f"{names.prefix}{names.positions}.weight", "embedding")
    for index in range(config.layers):
        yield from _block(config, f"blocks.{index}.", names.prefix + names.block.format(index))
    yield from _norm("norm", names.prefix + names.norm, features.norm)
    if not config.tie_embeddings:
        yield Piece("head.weight", f"{names.head}.weight", "head")


def _block(config: ModelConfig, ours: str, theirs: str) -> Iterator[Piece]:
    """Yield the pieces of one transformer block. `ours` and `theirs`: the prefixes of its names here and there."""
    its = family(config.layout)
    features, names = its.features, its.names
    query, key, head = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.head_dim

    def linear(module: str, named: Sequence[str], bias: bool, **sizes: int) -> Iterator[Piece]:
        return _linear(ours + module, [theirs + name for name in named], _rows(**sizes), bias, names.transposed)

    yield from _norm(f"{ours}norm_1", theirs + names.norm_1, features.norm)
    yield from linear("attention.qkv", names.qkv, features.qkv_bias, q=query, k=key, v=key)
    if features.qk_norm:
        for name, rows in zip(names.qk_norm, _rows(q=head, k=head).values(), strict=True):
            yield Piece(f"{ours}attention.qk_gain", f"{theirs}{name}.weight", "vector", rows)
    yield from linear("attention.out", (names.out,), features.out_bias)
    yield from _norm(f"{ours}norm_2", theirs + names.norm_2, features.norm)
    if features.mlp == "swiglu":
        yield from linear("mlp.gate_up", names.up, features.mlp_bias, gate=config.ffn, up=config.ffn)
    else:
        yield from linear("mlp.up", names.up, features.mlp_bias)
    yield from linear("mlp.down", (names.down,), features.mlp_bias)


def _rows(**sizes: int) -> dict[str, slice]:
    """The rows of each part of a fused matrix from the parts' sizes: q=4, k=2 gives slices 0 to 4 and 4 to 6."""
    found, begin = {}, 0
    for part, size in sizes.items():
        found[part] = slice(begin, begin + size)
        begin += size
    return found


def _norm(ours: str, theirs: str, norm: Literal["rms", "layer"]) -> Iterator[Piece]:
    yield Piece(f"{ours}.weight", f"{theirs}.weight", "vector")
    if norm == "layer":
        yield Piece(f"{ours}.bias", f"{theirs}.bias", "vector")


def _linear(
    ours: str, theirs: Sequence[str], rows: Mapping[str, slice], bias: bool, transposed: bool
) -> Iterator[Piece]:
    """Yield the pieces of a linear layer: its weights, then its bias.

    `rows` names the parts that our tensor `ours` combines (such as q, k, v); it is empty if `ours` is a single matrix.
    """
    parts: list[tuple[str, slice | None, str]] = [(theirs[0], None, "")]
    if len(theirs) > 1:
        parts = [(name, each, "") for name, each in zip(theirs, rows.values(), strict=True)]
    elif rows:
        parts = [(theirs[0], each, part) for part, each in rows.items()]
    for name, each, part in parts:
        yield Piece(f"{ours}.weight", f"{name}.weight", "matrix", each, part, transposed)
    if not bias:
        return
    if len(theirs) == 1:  # also fused there, so one vector is enough
        yield Piece(f"{ours}.bias", f"{theirs[0]}.bias", "vector")
    else:
        for name, each, _ in parts:
            yield Piece(f"{ours}.bias", f"{name}.bias", "vector", each)
