"""Make config.json and generation_config.json for a model's shape, and read a shape from config.json. Opens no file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from seedbed.checkpoint.marker import RESTORE
from seedbed.config.families.family import family, whole
from seedbed.config.families.table import FAMILIES
from seedbed.config.schema import ModelConfig
from seedbed.config.shape import shape_problems
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import read_json
from seedbed.text import listed, quoted

_MOST_LAYERS = 10_000
_ROPE = ("rope_theta", "rope_scaling", "rope_parameters")
_DTYPE = ("dtype", "torch_dtype")
"""The names of the dtype: the second is that of transformers before version 5."""
_DROPOUTS = ("attention_dropout", "residual_dropout", "embedding_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop")


class SpecialIds(Protocol):
    """The attributes of a tokenizer that config.json and generation_config.json need (a Protocol): its special ids."""

    @property
    def eot_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def stop_ids(self) -> frozenset[int]: ...


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
        **dict.fromkeys(_DTYPE, dtype),
    }


def updated_config(
    base: Mapping[str, Any], model: ModelConfig, dtype: str = "float32", vocab_rows: int | None = None
) -> dict[str, Any]:
    """The config.json `base` of a model that was trained on, for its new weights: only what has changed is replaced.

    `model` is the shape now, `dtype` that of the new weights, `vocab_rows` their rows (None: as in `base`). All other keys stay,
    known or not, such as the special ids and the dropout. If `base` names no dtype, neither does the result:
    transformers then takes the dtype of the weights. Raises SeedbedError as `config_from_hf` does.
    """
    before, rows = config_from_hf(base)
    its = family(model.layout)
    old, new = its.to_hf(before), its.to_hf(model)
    changed = {key for key in new if key not in old or old[key] != new[key]}
    changed |= set(_ROPE) & set(new) if changed & set(_ROPE) else set()  # they replace each other: all of them or none
    updated = {**base, **{key: new[key] for key in new if key in changed}}
    for key in old.keys() - new.keys():
        updated.pop(key, None)
    if model.tie_embeddings != before.tie_embeddings:
        updated["tie_word_embeddings"] = model.tie_embeddings
    if vocab_rows is not None and vocab_rows != rows:
        updated["vocab_size"] = vocab_rows
    return {**updated, **dict.fromkeys([name for name in _DTYPE if name in base], dtype)}


def generation_config(ids: SpecialIds) -> dict[str, Any]:
    """The content of generation_config.json: special ids, and sampling from the model's own distribution."""
    ends = sorted(ids.stop_ids)
    return {
        "bos_token_id": ids.eot_id,
        "eos_token_id": ends if len(ends) > 1 else ids.eot_id,
        "pad_token_id": ids.pad_id,
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
    }


def read_config_json(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder. Raises SeedbedError if it is missing, cannot be read, or is no JSON object."""
    parsed = read_json(folder / "config.json", RESTORE)
    if parsed is None:
        raise _no_config(folder)
    if not isinstance(parsed, dict):
        raise SeedbedError(f"{quoted(folder / 'config.json')} is not a JSON object.", RESTORE)
    return parsed


def _no_config(folder: Path) -> SeedbedError:
    """The error for a folder without config.json: what it contains instead, if that is known."""
    if (folder / "adapter_config.json").is_file():
        return SeedbedError(
            f"{quoted(folder)} contains an adapter, not a whole model.", "Give the folder of the model."
        )
    if (folder / "dataset.json").is_file():
        return UsageError(
            f"{quoted(folder)} is a dataset, not a model folder.",
            "`seedbed train --data FOLDER` trains on it, `seedbed evaluate MODEL --data FOLDER` measures a model on it.",
        )
    gguf = sorted(path.name for path in folder.glob("*.gguf"))
    if gguf:
        return SeedbedError(
            f"{quoted(folder)} contains no config.json, only {listed(gguf, 3)}.",
            "Seedbed reads weights in safetensors format, as transformers saves them, not GGUF.",
        )
    return SeedbedError(
        f"{quoted(folder)} contains no config.json, so it is not a model folder.",
        "A model folder contains config.json, tokenizer.json and model.safetensors.",
    )


def is_supported(model_type: str) -> bool:
    """Whether a family of the decoder has this model_type in its config.json."""
    return model_type in {family(layout).model_type for layout in FAMILIES}


def config_from_hf(config: Mapping[str, Any]) -> tuple[ModelConfig, int]:
    """The model's shape and number of vocabulary rows, read from a parsed config.json.

    Raises SeedbedError for another architecture, for an option that would change the logits and that the decoder lacks,
    and for a key that is missing or makes no sense.
    """
    types = {family(layout).model_type: layout for layout in reversed(FAMILIES)}
    if config.get("model_type") is None:
        raise SeedbedError("config.json has no model_type.", f"Seedbed supports: {', '.join(reversed(types))}.")
    layout = types.get(str(config.get("model_type")))
    if layout is None:
        raise SeedbedError(
            f"Seedbed's decoder does not support model type {config.get('model_type')!r}.",
            f"It supports: {', '.join(reversed(types))}.",
        )
    its = family(layout)
    _refuse_quantized(config)
    try:
        values = {
            "layout": layout,
            "tie_embeddings": config.get("tie_word_embeddings", its.options.tied),
            "vocab_multiple": 1,
            **its.from_hf(config),
        }
        rows = whole(config, "vocab_size")
        model = msgspec.convert(values, ModelConfig)
    except KeyError as error:
        raise SeedbedError(
            f"config.json has no {error}.", "Restore the config.json that was saved with the weights."
        ) from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:  # msgspec.ValidationError is a ValueError
        raise SeedbedError(
            f"config.json has a value that makes no sense: {error}.",
            "Restore the config.json that was saved with the weights.",
        ) from error
    if model.layers > _MOST_LAYERS:
        raise SeedbedError(
            f"config.json says that the model has {model.layers:,} layers, more than Seedbed reads ({_MOST_LAYERS:,}).",
            "Restore the config.json that was saved with the weights.",
        )
    for problem, _, paths in shape_problems(model):
        sizes = ", ".join(
            f"{path.removeprefix('model.')} {getattr(model, path.removeprefix('model.'))}" for path in paths
        )
        raise SeedbedError(
            f"config.json describes a model that Seedbed's decoder cannot build. {problem}: {sizes}.",
            "Restore the config.json that was saved with the weights.",
        )
    return model, rows


def _refuse_quantized(config: Mapping[str, Any]) -> None:
    """Raise SeedbedError if the weights are quantized."""
    for key in ("quantization_config", "quantization"):  # the second is MLX's
        found = config.get(key)
        if found:
            method = found.get("quant_method") if isinstance(found, Mapping) else None
            raise SeedbedError(
                f"The weights are quantized (config.json has {key}{f' of the method {method!r}' if method else ''}), which "
                "Seedbed's decoder does not support.",
                "Use a copy with weights in float32, bfloat16 or float16.",
            )


def dropouts(config: Mapping[str, Any]) -> dict[str, float]:
    """The dropout rates above 0 in a parsed config.json, by key. Seedbed trains without dropout and keeps these keys."""
    return {
        key: float(config[key])
        for key in _DROPOUTS
        if isinstance(config.get(key), int | float) and not isinstance(config[key], bool) and 0 < config[key] <= 1
    }
