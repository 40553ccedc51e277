"""The family that test_new_family.py adds: Phi-3 (arXiv 2404.14219), with names that no family in the source has.

Llama with a sliding window in every layer, whose files combine queries, keys and values in one matrix, and gate and up in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Options, require
from seedbed.config.families.llama import NAMES
from seedbed.config.families.rotary import shared_from_hf, shared_to_hf
from seedbed.config.families.windows import every_layer_from_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **shared_to_hf(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "sliding_window": config.window or None,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    require(config, {"hidden_act": ("silu",)})
    return {
        **shared_from_hf(config),
        "norm_eps": config.get("rms_norm_eps", 1e-5),
        **every_layer_from_hf(config, None),
    }


FAMILY = Family(
    model_type="phi3",
    architecture="Phi3ForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary"),
    names=NAMES._replace(qkv=("self_attn.qkv_proj",), up=("mlp.gate_up_proj",)),
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(head_dim=False, window="every layer"),
)
