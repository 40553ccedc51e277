"""Make config.json and generation_config.json for a model's shape, and read a shape from config.json. Opens no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from seedbed.config.families.family import family, require
from seedbed.config.families.table import FAMILIES
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError


class SpecialIds(Protocol):
    """The attributes of a tokenizer that config.json needs: the ids of end-of-text and of padding (a Protocol)."""

    @property
    def eot_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...


def hf_config(config: ModelConfig, vocab_rows: int, ids: SpecialIds, dtype: str = "float32") -> dict[str, Any]:
    """The content of a model's config.json, with the keys of both transformers 4 and transformers 5."""
    its = family(config.layout)
    return {
        "architectures": [its.architecture],
        "model_type": its.model_type,
        "vocab_size": vocab_rows,
        **its.to_hf(config),
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": ids.eot_id,
        "eos_token_id": ids.eot_id,
        "pad_token_id": ids.pad_id,
        "initializer_range": 0.02,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,  # the name in transformers before version 5
    }


def generation_config(ids: SpecialIds) -> dict[str, Any]:
    """The content of generation_config.json: special ids, and sampling from the model's own distribution."""
    return {
        "bos_token_id": ids.eot_id,
        "eos_token_id": ids.eot_id,
        "pad_token_id": ids.pad_id,
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
    }


def config_from_hf(config: Mapping[str, Any]) -> tuple[ModelConfig, int]:
    """The model's shape and number of vocabulary rows, read from a parsed config.json.

    Raises SeedbedError for another architecture, for an option that would change the logits and that the decoder lacks,
    and for a key that is missing.
    """
    types = {family(layout).model_type: layout for layout in reversed(FAMILIES)}
    layout = types.get(str(config.get("model_type")))
    if layout is None:
        raise SeedbedError(
            f"Seedbed's decoder does not support model type {config.get('model_type')!r}.",
            f"It supports: {', '.join(reversed(types))}.",
        )
    its = family(layout)
    require(config, {"use_sliding_window": (its.features.sliding_window != "none",)})
    try:
        shape = ModelConfig(
            layout=layout,
            tie_embeddings=config.get("tie_word_embeddings", its.features.tied_by_default),
            vocab_multiple=1,
            **its.from_hf(config),
        )
        return shape, config["vocab_size"]
    except KeyError as error:
        raise SeedbedError(
            f"config.json has no {error}.", "Restore the config.json that was saved with the weights."
        ) from error
