"""Qwen3 (arXiv 2505.09388): Llama with an RMSNorm on each head's queries and keys (QK-norm)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Options, unless, whole
from seedbed.config.families.llama import NAMES, llama_from_hf, llama_to_hf
from seedbed.config.families.windows import some_layers_from_hf, some_layers_to_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **llama_to_hf(config),
        "attention_bias": bool(config.attention_bias),
        **some_layers_to_hf(config),
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    fields = llama_from_hf(config, kv_heads=32)  # transformers' own defaults, whatever hidden and heads are
    return {
        **fields,
        "head_dim": whole(config, "head_dim") if "head_dim" in config else 128,
        "attention_bias": unless(config.get("attention_bias", False), False),
        **some_layers_from_hf(config, fields["layers"]),
    }


FAMILY = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    features=Features(norm="rms", mlp="swiglu", positions="rotary", qk_norm=True),
    names=NAMES._replace(qk_norm=("self_attn.q_norm", "self_attn.k_norm")),
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(attention_bias=True, window="some layers"),
)
