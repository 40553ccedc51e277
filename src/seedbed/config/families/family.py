"""A model family: its features, the names of its tensors, and how its config.json is written and read. Imports no torch.

A family is one file in this folder that defines `FAMILY`, and one line in `table.py`. No other code refers to a family by
name: the decoder, the arithmetic and the rules read the features of a model, and `tensors.py` reads the family's names. Similar
families import what they share, such as the names of `llama.py` or the keys of `rotary.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.text import shorten


class Features(NamedTuple):
    """What the decoder builds for a model. Sizes are in ModelConfig. The types list all choices that it supports."""

    norm: Literal["rms", "layer"]
    """rms: RMSNorm, with a gain. layer: LayerNorm, with a gain and a bias."""
    mlp: Literal["swiglu", "gelu"]
    """swiglu: down(silu(gate(x)) * up(x)). gelu: down(gelu(up(x)))."""
    positions: Literal["rotary", "learned"]
    """rotary: queries and keys are rotated in half-split pairs. learned: a table with a row for each position."""
    qk_norm: bool = False
    """Whether each head's queries and keys pass through an RMSNorm before the rotation."""
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    exact_gelu: bool = False
    """Whether GELU is computed exactly, with erf, and not with its approximation by tanh."""


class Options(NamedTuple):
    """What may differ between the models of a family; all else is as its `Features` say."""

    kv_heads: Literal["any", "all", "one or all"] = "any"
    """all: one key/value head per query head. one or all: or a single one (multi-query attention)."""
    head_dim: bool = True
    """Whether `head_dim` may differ from hidden / heads."""
    whole_hidden: bool = False
    """Whether transformers demands that `heads` divides `hidden`, even if head_dim differs."""
    attention_bias: bool = False
    """Whether the biases of all projections in attention can be chosen."""
    mlp_bias: bool = False
    one_bias: bool = False
    """Whether the biases of attention and feed-forward can only be chosen together."""
    window: Literal["none", "every layer", "some layers"] = "none"
    """Which layers may have a sliding window."""
    tied: bool = False
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
    by_head: bool = False
    """Whether a combined qkv with a key head per query head is stored head by head: the rows of q, k and v of each in turn."""
    ignored: tuple[str, ...] = ()
    """Endings of stored tensors that are not weights, such as masks."""


class Family(NamedTuple):
    """All that Seedbed knows about one model family (such as qwen3), which `model.layout` selects."""

    model_type: str
    """The `model_type` in config.json."""
    architecture: str
    """The name of the model's class in transformers."""
    features: Features
    """The features of a model whose config.json states nothing else."""
    names: Names
    to_hf: Callable[[ModelConfig], dict[str, Any]]
    """From a shape to the family's own keys of config.json. `config_json.py` adds the keys that all families have."""
    from_hf: Callable[[Mapping[str, Any]], dict[str, Any]]
    """From a parsed config.json to fields of ModelConfig, without layout, tie_embeddings and vocabulary.

    Raises SeedbedError for an option that would change the logits and that the decoder lacks, KeyError for a missing key.
    """
    options: Options = Options()


@cache
def family(layout: str) -> Family:
    """The model family called `layout` (`model.layout`), such as qwen3. Its module is imported at the first call."""
    found: Family = import_module(f"seedbed.config.families.{layout}").FAMILY
    return found


def features(model: ModelConfig) -> Features:
    """What the decoder builds for a model: the features of its family, with those that the model states itself."""
    found = family(model.layout).features
    if model.attention_bias is not None:
        found = found._replace(qkv_bias=model.attention_bias, out_bias=model.attention_bias)
    if model.mlp_bias is not None:
        found = found._replace(mlp_bias=model.mlp_bias)
    return found._replace(exact_gelu=True) if model.gelu == "exact" else found


# ------------------------------------------------------------------------------------------------ reading config.json


def require(config: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise SeedbedError if a key of config.json has none of its `wanted` values: the logits would be wrong.

    A key that is absent counts as the first of its values.
    """
    for key, values in wanted.items():
        if config.get(key, values[0]) not in values:
            raise SeedbedError(
                f"config.json has {key} = {as_written(config[key])}, which Seedbed's decoder does not support.",
                f"It supports {' or '.join(as_written(value) for value in values)}.",
            )


def whole(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A size in config.json. Absent or null counts as `default`; without one, an absent key raises KeyError.

    Raises SeedbedError for anything but a whole number above 0.
    """
    value = config[key] if default is None else config.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SeedbedError(
            f"config.json has {key} = {as_written(value)}, but it must be a whole number above 0.",
            "Use the config.json that was saved with these weights.",
        )
    return value


def as_written(value: Any) -> str:
    """A value of config.json as the file has it, such as null."""
    return shorten(json.dumps(value, ensure_ascii=False, default=str), 100)


def unless(value: Any, default: Any) -> Any:
    """None if a value is the default of its family, else the value: how ModelConfig states an optional feature."""
    return None if value == default else value


_GELU = {
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "gelu_fast": "tanh",
    "gelu": "exact",
    "gelu_python": "exact",
}
"""Activations in config.json -> `model.gelu`."""


def gelu_from_hf(config: Mapping[str, Any], key: str, default: str) -> Literal["tanh", "exact"]:
    """The field `gelu` for the activation that `key` of config.json names. Raises SeedbedError for another activation."""
    require(config, {key: (default, *(name for name in _GELU if name != default))})
    return _GELU[config.get(key, default)]  # type: ignore[return-value]
