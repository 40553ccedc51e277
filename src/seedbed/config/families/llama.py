"""Llama 2 and 3 (arXiv 2302.13971, 2407.21783), SmolLM2: RMSNorm, rotary positions, grouped-query attention, SwiGLU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Names, Options, require, unless
from seedbed.config.families.rotary import shared_from_hf, shared_to_hf
from seedbed.config.families.windows import refuse_window
from seedbed.config.schema import ModelConfig

NAMES = Names(
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
)


def llama_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The keys of config.json that Llama and its descendants share."""
    return {
        **shared_to_hf(config),
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
    }


def llama_from_hf(config: Mapping[str, Any], *, kv_heads: int | None = None) -> dict[str, Any]:
    """The fields of ModelConfig that Llama and its descendants read from these keys. `kv_heads`: see `shared_from_hf`."""
    require(config, {"hidden_act": ("silu", "swish")})
    return {**shared_from_hf(config, kv_heads=kv_heads), "norm_eps": config.get("rms_norm_eps", 1e-6)}


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **llama_to_hf(config),
        "attention_bias": bool(config.attention_bias),
        "mlp_bias": bool(config.mlp_bias),
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    refuse_window(config)
    return {
        **llama_from_hf(config),
        "attention_bias": unless(config.get("attention_bias", False), False),
        "mlp_bias": unless(config.get("mlp_bias", False), False),
    }


FAMILY = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary"),
    names=NAMES,
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(whole_hidden=True, attention_bias=True, mlp_bias=True),
)
