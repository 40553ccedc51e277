"""Qwen3 (arXiv 2505.09388): RMSNorm, QK-norm, rotary positions, grouped-query attention, SwiGLU, no biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Names, require
from seedbed.config.families.rotary import shared_from_hf, shared_to_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **shared_to_hf(config),
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "attention_bias": False,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    require(config, {"hidden_act": ("silu",), "attention_bias": (False,)})
    return {
        **shared_from_hf(config),
        "head_dim": config.get("head_dim", 128),  # transformers' own default, whatever hidden / heads is
        "norm_eps": config.get("rms_norm_eps", 1e-6),
    }


FAMILY = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary", qk_norm=True),
    names=Names(
        prefix="model.",
        embed="embed_tokens",
        block="layers.{}.",
        norm_1="input_layernorm",
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        qk_norm=("self_attn.q_norm", "self_attn.k_norm"),
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
