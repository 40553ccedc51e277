"""GPT-BigCode, the family of StarCoder and SantaCoder (arXiv 2305.06161): GPT-2 with a single key head (multi-query).

Without `multi_query`, the combined matrix of queries, keys and values is stored head by head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Options, require
from seedbed.config.families.gpt2 import NAMES, gpt_from_hf, gpt_to_hf
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **gpt_to_hf(config),
        "activation_function": "gelu_pytorch_tanh" if config.gelu == "tanh" else "gelu",
        "multi_query": config.kv_heads == 1,
        "attention_softmax_in_fp32": True,
        "scale_attention_softmax_in_fp32": True,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    require(config, {"multi_query": (True, False)})
    fields = gpt_from_hf(config, "gelu_pytorch_tanh")
    return {**fields, "kv_heads": 1 if config.get("multi_query", True) else fields["heads"]}


FAMILY = Family(
    model_type="gpt_bigcode",
    architecture="GPTBigCodeForCausalLM",
    features=Features(norm="layer", mlp="gelu", positions="learned", qkv_bias=True, out_bias=True, mlp_bias=True),
    names=NAMES._replace(by_head=True),
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(kv_heads="one or all", head_dim=False, tied=True),
)
