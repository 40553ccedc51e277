"""The keys of config.json that Llama introduced and that most families with rotary positions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config.families.family import as_written, require, whole
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError

_SCALED = {"linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor")}
"""The kinds of scaled frequencies that the decoder supports, and the numbers that each needs."""

_ORIGINAL = "original_max_position_embeddings"


def shared_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The keys of config.json for a shape's sizes and rotary frequencies, shared by families with rotary positions."""
    scaling = _scaling(config)
    return {
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.longest_context,
        "attention_dropout": 0.0,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        # The spelling of transformers 5, in addition to the older one.
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default", **(scaling or {})},
    }


def _scaling(config: ModelConfig) -> dict[str, Any] | None:
    if config.rope_scaling == "none":
        return None
    scaling: dict[str, Any] = {"rope_type": config.rope_scaling, "factor": config.rope_factor}
    if config.rope_scaling == "llama3":
        scaling |= {
            "low_freq_factor": config.rope_low_factor,
            "high_freq_factor": config.rope_high_factor,
            _ORIGINAL: config.rope_original_context or config.longest_context,
        }
    return scaling


def shared_from_hf(config: Mapping[str, Any], *, kv_heads: int | None = None) -> dict[str, Any]:
    """The fields of ModelConfig for sizes and rotary frequencies, from a parsed config.json.

    `kv_heads`: the family's number of key/value heads if the key is absent (None: as many as heads); null always means as
    many as heads. Raises KeyError for a missing key, SeedbedError for frequencies that the decoder lacks.
    """
    heads, hidden = whole(config, "num_attention_heads"), whole(config, "hidden_size")
    absent = kv_heads if kv_heads is not None and "num_key_value_heads" not in config else heads
    return {
        "layers": whole(config, "num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": whole(config, "num_key_value_heads", absent),
        "head_dim": whole(config, "head_dim", max(hidden // heads, 1)),
        "ffn": whole(config, "intermediate_size"),
        "context": whole(config, "max_position_embeddings"),
        **_frequencies(config),
    }


def _frequencies(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that begin with `rope_`, as transformers 5 reads them.

    A table `rope_scaling` that is not empty replaces `rope_parameters`. The base (rope_theta) in the table replaces that
    outside. Raises SeedbedError for frequencies that the decoder lacks (such as YaRN's), and for numbers that are missing.
    """
    require(config, {"partial_rotary_factor": (None, 1.0)})
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    table = config.get(key) or {}
    if not isinstance(table, Mapping):
        raise SeedbedError(
            f"config.json has {key} = {as_written(table)}, but it must be an object with the rotary frequencies.",
            "Use the config.json that was saved with these weights.",
        )
    if any(isinstance(value, Mapping) for value in table.values()):
        raise SeedbedError(
            f"config.json has {key} that differ between layers, which Seedbed's decoder does not support.",
            "It supports the same rotary frequencies in all layers.",
        )
    kind = table.get("rope_type", table.get("type", "default"))
    if kind != "default" and not (isinstance(kind, str) and kind in _SCALED):
        raise SeedbedError(
            f"config.json has {key} of type {kind!r}, which Seedbed's decoder does not support.",
            f"It supports 'default', {' and '.join(map(repr, _SCALED))}.",
        )
    if table.get("partial_rotary_factor", 1.0) != 1.0:
        raise SeedbedError(
            f"config.json has partial_rotary_factor = {table['partial_rotary_factor']!r} in {key}, which Seedbed's decoder "
            "does not support.",
            "It supports rotary positions in all dimensions of a head (1.0).",
        )
    fields: dict[str, Any] = {"rope_theta": _number(table if "rope_theta" in table else config, "rope_theta", 10000.0)}
    if kind == "default":
        return fields
    missing = [name for name in _SCALED[kind] if name not in table]
    if missing:
        raise SeedbedError(
            f"config.json has {key} of type {kind!r} without {' and '.join(missing)}.",
            "Use the config.json that was saved with these weights.",
        )
    fields |= {"rope_scaling": kind, "rope_factor": _number(table, "factor", 1.0)}
    if kind == "llama3":
        original = config.get(_ORIGINAL) or table.get(_ORIGINAL)
        fields |= {
            "rope_low_factor": _number(table, "low_freq_factor", 1.0),
            "rope_high_factor": _number(table, "high_freq_factor", 4.0),
            "rope_original_context": whole({_ORIGINAL: original}, _ORIGINAL, whole(config, "max_position_embeddings")),
        }
    return fields


def _number(table: Mapping[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise SeedbedError(
            f"config.json has {key} = {as_written(value)}, but it must be a number above 0.",
            "Use the config.json that was saved with these weights.",
        )
    return float(value)
