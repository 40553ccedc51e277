"""Mistral (arXiv 2310.06825): Llama with a sliding window in every layer, or in none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Options
from seedbed.config.families.llama import NAMES, llama_from_hf, llama_to_hf
from seedbed.config.families.windows import every_layer_from_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {**llama_to_hf(config), "sliding_window": config.window or None}


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    # transformers' own defaults: 8 key heads, and a window of 4,096 if the key is absent.
    return {**llama_from_hf(config, kv_heads=8), **every_layer_from_hf(config, 4096)}


FAMILY = Family(
    model_type="mistral",
    architecture="MistralForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary"),
    names=NAMES,
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(window="every layer"),
)
