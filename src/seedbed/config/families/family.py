"""A model family: its features, the names of its tensors, and how its config.json is written and read. Imports no torch.

A family is one file in this folder that defines `FAMILY`, and one line in `table.py`. No other code refers to a family by
name: the decoder, the arithmetic and the rules read its features, and `model/weights.py` reads its names. Similar families
import what they share, such as the names of `qwen3.py` or the keys of `rotary.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError


class Features(NamedTuple):
    """What the decoder builds for a family. Sizes are in ModelConfig. The types list all choices that the decoder supports."""

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
    """How far back a query attends: always to the first token."""
    grouped_heads: bool = True
    """`kv_heads` may be smaller than `heads`."""
    free_head_dim: bool = True
    """`head_dim` need not be hidden / heads."""
    tied_by_default: bool = False
    """Whether head and embedding are tied if config.json does not say it. A new model can be tied or not."""


class Names(NamedTuple):
    """The Hugging Face modules that contain a family's weights. The names of their tensors end in .weight and .bias.

    Several names for one of our fused matrices: its rows are divided among that many modules. One name: the matrix is fused
    there as well, with the same order of rows.
    """

    prefix: str
    """The prefix of every name except the head's. Some published files omit it."""
    embed: str
    block: str
    """The prefix of the names of block number {}, after `prefix`."""
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
    """The `model_type` in config.json."""
    architecture: str
    """Its class in transformers."""
    features: Features
    names: Names
    to_hf: Callable[[ModelConfig], dict[str, Any]]
    """The family's own keys of config.json for a shape. `config_json.py` adds the keys that all families have."""
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
    """Raise SeedbedError for options that would change the logits. An absent key has the first value listed."""
    for key, values in wanted.items():
        if config.get(key, values[0]) not in values:
            raise SeedbedError(
                f"config.json has {key} = {config[key]!r}, which Seedbed's decoder does not support.",
                f"It supports {' or '.join(repr(value) for value in values)}.",
            )
