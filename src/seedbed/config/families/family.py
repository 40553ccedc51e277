"""The parts of a model family: its features, its tensors' names, and its config.json in both directions. Needs no torch.

A family is one file in this folder that defines `FAMILY`, and one line in `table.py`. Nothing else asks for it by name:
the decoder, the arithmetic and the rules read its features, and `model/weights.py` reads its names. Families that differ
in little import what they share, such as the names of `qwen3.py` or the keys of `rotary.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError


class Features(NamedTuple):
    """What the decoder builds for a family. The sizes are in ModelConfig; the types list all that the decoder can run."""

    norm: Literal["rms", "layer"]
    """RMSNorm, with a gain; or LayerNorm, with a gain and a bias."""
    mlp: Literal["swiglu", "gelu"]
    """down(silu(gate(x)) * up(x)); or down(gelu(up(x))), with the tanh approximation."""
    positions: Literal["rotary", "learned"]
    """Queries and keys rotated by half-split pairs, with base `rope_theta`; or a table of `context` rows."""
    qk_norm: bool = False
    """RMSNorm over each head's queries and keys, before the rotation."""
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    sliding_window: Literal["none"] = "none"
    """How far back a query sees: always to the first token."""
    grouped_heads: bool = True
    """`kv_heads` may be smaller than `heads`."""
    free_head_dim: bool = True
    """`head_dim` need not be hidden / heads."""
    tied_by_default: bool = False
    """Whether head and embedding are tied where config.json does not say so. Either can be chosen for a new model."""


class Names(NamedTuple):
    """The Hugging Face modules that hold a family's weights; their tensors end in .weight and .bias.

    Several names: the rows of one of our fused matrices are spread over that many modules. One name: it is fused there as
    well, in the same order of rows.
    """

    prefix: str
    """What every name but the head's begins with. Some published files leave it out."""
    embed: str
    block: str
    """What the names of block number {} begin with, after the prefix."""
    norm_1: str
    qkv: tuple[str, ...]
    out: str
    norm_2: str
    up: tuple[str, ...]
    """The matrices that read the residual stream: gate and up for SwiGLU, else one."""
    down: str
    norm: str
    head: str = "lm_head"
    positions: str = ""
    """The table of learned positions."""
    qk_norm: tuple[str, ...] = ()
    """The gains of QK-norm, for queries and for keys."""
    transposed: bool = False
    """Matrices in the blocks are stored as [in, out] (Conv1D)."""
    ignored: tuple[str, ...] = ()
    """Endings of stored tensors that are not weights, such as masks."""


class Family(NamedTuple):
    """All that Seedbed knows about one model family."""

    model_type: str
    """What config.json calls it."""
    architecture: str
    """Its class in transformers."""
    features: Features
    names: Names
    to_hf: Callable[[ModelConfig], dict[str, Any]]
    """The family's own keys of config.json for a shape; `config_json.py` adds those that all families have."""
    from_hf: Callable[[Mapping[str, Any]], dict[str, Any]]
    """The fields of ModelConfig from a parsed config.json, without layout, tying and vocabulary.

    Raises SeedbedError for an option that would change the logits and that the decoder lacks, KeyError for a missing key.
    """


@cache
def family(layout: str) -> Family:
    """The family with this name in the table. Its module is imported when it is first needed."""
    found: Family = import_module(f"seedbed.config.families.{layout}").FAMILY
    return found


def features(layout: str) -> Features:
    """What the decoder builds for the family with this name."""
    return family(layout).features


def require(config: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse options that change the logits; an absent key has the first value listed. Raises SeedbedError."""
    for key, values in wanted.items():
        if config.get(key, values[0]) not in values:
            raise SeedbedError(
                f"config.json has {key} = {config[key]!r}, which Seedbed's decoder does not support.",
                f"It supports {' or '.join(repr(value) for value in values)}.",
            )
