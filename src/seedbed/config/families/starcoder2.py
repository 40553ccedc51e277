"""StarCoder2 (arXiv 2402.19173): LayerNorm, rotary positions, grouped-query attention, GELU without a gate, biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Options, gelu_from_hf, unless
from seedbed.config.families.family import features as features_of
from seedbed.config.families.llama import NAMES
from seedbed.config.families.rotary import shared_from_hf, shared_to_hf
from seedbed.config.families.windows import every_layer_from_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **shared_to_hf(config),
        "head_dim": config.head_dim,
        "hidden_act": "gelu_pytorch_tanh" if config.gelu == "tanh" else "gelu",
        "norm_epsilon": config.norm_eps,
        "use_bias": features_of(config).mlp_bias,
        "sliding_window": config.window or None,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    biased = unless(config.get("use_bias", True), True)
    return {
        **shared_from_hf(config, kv_heads=2),
        "gelu": gelu_from_hf(config, "hidden_act", "gelu_pytorch_tanh"),
        "norm_eps": config.get("norm_epsilon", 1e-5),
        "attention_bias": biased,
        "mlp_bias": biased,
        **every_layer_from_hf(config, None),
    }


FAMILY = Family(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    features=Features(norm="layer", mlp="gelu", positions="rotary", qkv_bias=True, out_bias=True, mlp_bias=True),
    names=NAMES._replace(up=("mlp.c_fc",), down="mlp.c_proj"),
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(attention_bias=True, mlp_bias=True, one_bias=True, window="every layer", tied=True),
)
