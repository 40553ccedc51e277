"""Convert a decoder's weights to and from Hugging Face names. `config/families/tensors.py` says where each is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seedbed.config.families.tensors import (
    Piece,
    Role,
    by_tensor,
    check_tensors,
    head_copy,
    not_tied_error,
    pieces,
    segments,
    stored_names,
)
from seedbed.model.decoder import Decoder


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


def logical_parameters(model: Decoder) -> list[LogicalParameter]:
    """Every trainable matrix and vector of the model once, in a fixed order; a tied head counts as the embedding."""
    parameters = dict(model.named_parameters())
    return [
        LogicalParameter(p.theirs + (p.part and f":{p.part}"), parameters[p.ours], p.rows, p.role, p.transposed)
        for p in pieces(model.config, model.vocab_rows)
    ]


def export_state(model: Decoder) -> dict[str, Tensor]:
    """The model's weights by Hugging Face name, contiguous, in the model's dtype. A tied head is omitted.

    Tensors that need no slicing or transposing share memory with the model: copy them before the next step.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return {
        name: _stored(parameters, parts).contiguous()
        for name, parts in by_tensor(model.config, model.vocab_rows).items()
    }


def _stored(parameters: Mapping[str, Tensor], parts: Sequence[Piece]) -> Tensor:
    """The tensor that has these pieces."""
    here = [rows_of(parameters[piece.ours], piece) for piece in parts]
    if parts[0].heads:
        here = [tensor.unflatten(0, (parts[0].heads, -1)) for tensor in here]
        return torch.cat(here, 1).flatten(0, 1)
    whole = torch.cat(here) if len(here) > 1 else here[0]
    return whole.t() if parts[0].transposed else whole


def rows_of(parameter: Tensor, piece: Piece) -> Tensor:
    """The rows of the decoder's parameter `piece.ours` that the piece names, as a view."""
    return parameter if piece.rows is None else parameter[piece.rows]


@torch.no_grad()
def load_state(model: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights with Hugging Face names into `model`, casting to its dtype. Nothing changes unless all of them fit.

    Raises SeedbedError, which lists missing and unexpected tensors and those with a wrong shape.
    """
    config = model.config
    check_tensors(config, model.vocab_rows, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    parameters = dict(model.named_parameters())
    given = {ours: tensors[theirs] for ours, theirs in stored_names(config, tensors).items()}
    tied = head_copy(config)
    if tied is not None and tied[1] in given and not torch.equal(*(given[name] for name in tied)):
        raise not_tied_error(config)
    for name, parts in by_tensor(config, model.vocab_rows).items():
        source = given[name].t() if parts[0].transposed else given[name]
        for piece, ours, theirs, count in segments(parts):
            target = rows_of(parameters[piece.ours], piece)
            target[ours : ours + count].copy_(source[theirs : theirs + count])
