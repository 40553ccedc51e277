"""Qwen2, Qwen2.5 and their Coders (arXiv 2407.10671): Llama with biases on queries, keys and values alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Options
from seedbed.config.families.llama import NAMES, llama_from_hf, llama_to_hf
from seedbed.config.families.windows import some_layers_from_hf, some_layers_to_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {**llama_to_hf(config), **some_layers_to_hf(config)}


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    fields = llama_from_hf(config, kv_heads=32)  # transformers' own default, whatever the number of heads is
    return {**fields, **some_layers_from_hf(config, fields["layers"])}


FAMILY = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary", qkv_bias=True),
    names=NAMES,
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(window="some layers"),
)
