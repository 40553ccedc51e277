"""GPT-2 (Radford et al. 2019): LayerNorm, learned positions, GELU, a bias on every projection, a key head per query head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import Family, Features, Names, Options, gelu_from_hf, require, whole
from seedbed.config.families.windows import refuse_window
from seedbed.config.schema import ModelConfig

NAMES = Names(
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
    ignored=(".attn.bias", ".attn.masked_bias"),
)


def gpt_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The keys of config.json that GPT-2 and GPT-BigCode share."""
    return {
        "n_positions": config.longest_context,
        "n_embd": config.hidden,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.ffn,
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "scale_attn_weights": True,
        "add_cross_attention": False,
    }


def gpt_from_hf(config: Mapping[str, Any], activation: str) -> dict[str, Any]:
    """The fields of ModelConfig, without kv_heads, that GPT-2 and GPT-BigCode read. `activation`: the family's default."""
    require(config, {"scale_attn_weights": (True,), "add_cross_attention": (False,)})
    refuse_window(config)
    hidden, heads = whole(config, "n_embd"), whole(config, "n_head")
    return {
        "layers": whole(config, "n_layer"),
        "hidden": hidden,
        "heads": heads,
        "head_dim": max(hidden // heads, 1),
        "ffn": whole(config, "n_inner", 4 * hidden),
        "context": whole(config, "n_positions"),
        "gelu": gelu_from_hf(config, "activation_function", activation),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
    }


def _to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        **gpt_to_hf(config),
        "n_ctx": config.longest_context,
        "activation_function": "gelu_new" if config.gelu == "tanh" else "gelu",
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
    }


def _from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    # reorder_and_upcast_attn changes only how exactly attention is computed in 16 bits.
    require(config, {"scale_attn_by_inverse_layer_idx": (False,)})
    fields = gpt_from_hf(config, "gelu_new")
    return {**fields, "kv_heads": fields["heads"]}


FAMILY = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    features=Features(norm="layer", mlp="gelu", positions="learned", qkv_bias=True, out_bias=True, mlp_bias=True),
    names=NAMES._replace(transposed=True),
    to_hf=_to_hf,
    from_hf=_from_hf,
    options=Options(kv_heads="all", head_dim=False, tied=True),
)
