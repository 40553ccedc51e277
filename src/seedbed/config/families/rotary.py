"""The keys of config.json that Llama introduced and that most families with rotary positions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError


def shared_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The keys of config.json for a shape's sizes and rotary base, shared by families with rotary positions."""
    return {
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.context,
        "attention_dropout": 0.0,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        # The spelling of transformers 5, in addition to the older one.
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
    }


def shared_from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ModelConfig for sizes and rotary base, from a parsed config.json.

    Raises KeyError for a missing key, SeedbedError for scaled positions.
    """
    heads = config["num_attention_heads"]
    return {
        "layers": config["num_hidden_layers"],
        "hidden": config["hidden_size"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads", heads),
        "ffn": config["intermediate_size"],
        "context": config["max_position_embeddings"],
        "rope_theta": _base(config),
    }


def _base(config: Mapping[str, Any]) -> float:
    """The base of the rotary frequencies (rope_theta) in a parsed config.json.

    Raises SeedbedError for scaled frequencies (such as Llama 3's or YaRN), which the decoder does not yet support.
    """
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or {}
    for key, table in (("rope_parameters", rope), ("rope_scaling", scaling)):
        kind = table.get("rope_type", table.get("type", "default"))
        if kind != "default":
            raise SeedbedError(
                f"config.json has {key} of type {kind!r}, which Seedbed's decoder does not support.",
                "It supports 'default'.",
            )
    return float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
