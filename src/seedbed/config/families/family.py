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
    """What the decoder builds for a model family. Sizes are in ModelConfig. The types list all choices that it supports."""

    norm: Literal["rms", "layer"]
    """rms: RMSNorm, with a gain. layer: LayerNorm, with a gain and a bias."""
    mlp: Literal["swiglu", "gelu"]
    """swiglu: down(silu(gate(x)) * up(x)). gelu: down(gelu(up(x))), with the tanh approximation."""
    positions: Literal["rotary", "learned"]
    """rotary: queries and keys are rotated in half-split pairs, base `rope_theta`. learned: a table with `context` rows."""
    qk_norm: bool = False
    """Whether each head's queries and keys pass through an RMSNorm before the rotation."""
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    sliding_window: Literal["none"] = "none"
    """How far back a query attends. none: to the first token; the decoder supports nothing else."""
    grouped_heads: bool = True
    """Whether `kv_heads` may be smaller than `heads`."""
    free_head_dim: bool = True
    """Whether `head_dim` may differ from hidden / heads."""
    tied_by_default: bool = False
    """Whether head and embedding are tied if a config.json does not say. A new model of any family can be tied or not."""


class Names(NamedTuple):
    """The Hugging Face names of a family's modules, such as `lm_head`; with .weight or .bias, they name a tensor.

    `qkv` and `up` are matrices that the decoder may combine from several. Several names: one module for each part. One
    name: Hugging Face combines them, too, with the same order of rows.
    """

    prefix: str
    """The prefix of every name except the head's. Some published files omit it."""
    embed: str
    block: str
    """The prefix of the names in a transformer block, after `prefix`; {} stands for the number of the block."""
    norm_1: str
    qkv: tuple[str, ...]
    out: str
    norm_2: str
    up: tuple[str, ...]
    """The first matrices of the feed-forward layer: gate and up for SwiGLU, else only up."""
    down: str
    norm: str
    head: str = "lm_head"
    positions: str = ""
    """The table of learned positions; "" without."""
    qk_norm: tuple[str, ...] = ()
    """The gains of QK-norm, for queries and for keys; empty without QK-norm."""
    transposed: bool = False
    """Whether matrices in the blocks are stored as [in, out] (transformers' Conv1D), not [out, in]."""
    ignored: tuple[str, ...] = ()
    """Endings of stored tensors that are not weights, such as masks."""


class Family(NamedTuple):
    """All that Seedbed knows about one model family (such as qwen3), which `model.layout` selects."""

    model_type: str
    """The `model_type` in config.json."""
    architecture: str
    """The name of the model's class in transformers."""
    features: Features
    names: Names
    to_hf: Callable[[ModelConfig], dict[str, Any]]
    """From a shape to the family's own keys of config.json. `config_json.py` adds the keys that all families have."""
    from_hf: Callable[[Mapping[str, Any]], dict[str, Any]]
    """From a parsed config.json to fields of ModelConfig, without layout, tie_embeddings and vocabulary.

    Raises SeedbedError for an option that would change the logits and that the decoder lacks, KeyError for a missing key.
    """


@cache
def family(layout: str) -> Family:
    """The model family called `layout` (`model.layout`), such as qwen3. Its module is imported at the first call."""
    found: Family = import_module(f"seedbed.config.families.{layout}").FAMILY
    return found


def features(layout: str) -> Features:
    """What the decoder builds for the model family called `layout`."""
    return family(layout).features


def require(config: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise SeedbedError if a key of config.json has none of its `wanted` values: the logits would be wrong.

    A key that is absent counts as the first of its values.
    """
    for key, values in wanted.items():
        if config.get(key, values[0]) not in values:
            raise SeedbedError(
                f"config.json has {key} = {config[key]!r}, which Seedbed's decoder does not support.",
                f"It supports {' or '.join(repr(value) for value in values)}.",
            )
