"""GPT-2 (Radford et al. 2019): LayerNorm, learned positions, GELU, a bias on every projection, a key head per query head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Names, require
from seedbed.config.schema import ModelConfig


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_positions": config.context,
        "n_ctx": config.context,
        "n_embd": config.hidden,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.ffn,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    require(
        config,
        {
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
    )
    hidden, heads = config["n_embd"], config["n_head"]
    return {
        "layers": config["n_layer"],
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // heads,
        "ffn": config.get("n_inner") or 4 * hidden,
        "context": config["n_positions"],
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
    }


FAMILY = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    features=Features(
        norm="layer",
        mlp="gelu",
        positions="learned",
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        grouped_heads=False,
        free_head_dim=False,
        tied_by_default=True,
    ),
    names=Names(
        prefix="transformer.",
        embed="wte",
        positions="wpe",
        block="h.{}.",
        norm_1="ln_1",
        qkv=("attn.c_attn",),
        out="attn.c_proj",
        norm_2="ln_2",
        up=("mlp.c_fc",),
        down="mlp.c_proj",
        norm="ln_f",
        transposed=True,
        ignored=(".attn.bias", ".attn.masked_bias"),
    ),
    to_hf=_to_hf,
    from_hf=_from_hf,
)
