"""The family that test_new_family.py adds: Qwen2 (arXiv 2407.10671), with a mix of features that no family in the source has.

RMSNorm without QK-norm, rotary positions, grouped heads, SwiGLU, and biases on queries, keys and values alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Names, require
from seedbed.config.families.rotary import shared_from_hf, shared_to_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **shared_to_hf(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    require(config, {"hidden_act": ("silu",)})
    shared = shared_from_hf(config)
    return {
        **shared,
        "head_dim": shared["hidden"] // shared["heads"],
        "norm_eps": config.get("rms_norm_eps", 1e-6),
    }


FAMILY = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary", qkv_bias=True, free_head_dim=False),
    names=Names(
        prefix="model.",
        embed="embed_tokens",
        block="layers.{}.",
        norm_1="input_layernorm",
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        out="self_attn.o_proj",
        norm_2="post_attention_layernorm",
        up=("mlp.gate_proj", "mlp.up_proj"),
        down="mlp.down_proj",
        norm="norm",
        ignored=("rotary_emb.inv_freq",),
    ),
    to_hf=_to_hf,
    from_hf=_from_hf,
)
