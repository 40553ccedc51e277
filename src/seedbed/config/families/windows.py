"""Sliding windows: which layers of a model have one, and the keys of config.json that say so. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from seedbed.config.families.family import require, whole
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError

_SLIDING, _FULL = "sliding_attention", "full_attention"
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


def windows(model: ModelConfig) -> tuple[int, ...]:
    """For each layer, the number of tokens to which each token attends, itself included; 0: all earlier ones.

    Raises ValueError, with the reason, if `window_layers` is no list of layers that the model has.
    """
    chosen = layers_of(model.window_layers, model.layers)
    return tuple(model.window if index in chosen else 0 for index in range(model.layers))


def layers_of(text: str, layers: int) -> frozenset[int]:
    """The layers, of `layers`, that a text such as `all` or `0-2,5` names. Raises ValueError with the reason."""
    if text.strip() == "all":
        return frozenset(range(layers))
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is neither a number nor a range such as 2-5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= layers:
            raise ValueError(f"{part.strip()} is not a range of the layers 0 to {layers - 1}")
        found.update(range(first, last + 1))
    return frozenset(found)


def layers_text(chosen: Iterable[int], layers: int) -> str:
    """The text that `layers_of` reads back to these layers."""
    numbers = sorted(set(chosen))
    if numbers == list(range(layers)):
        return "all"
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)


# ------------------------------------------------------------------------------------------------ config.json


def every_layer_from_hf(config: Mapping[str, Any], default: int | None) -> dict[str, Any]:
    """The field `window` of a family whose layers all have the window `sliding_window`. `default`: if the key is absent.

    Raises SeedbedError for layers of different kinds, which the class of that family in transformers would ignore.
    """
    value = config.get("sliding_window", default)
    window = 0 if value is None else whole(config, "sliding_window", default)
    refuse_other_layers(config, _SLIDING if window else _FULL)
    return {"window": window}


def refuse_window(config: Mapping[str, Any]) -> None:
    """Raise SeedbedError if a config.json of a family without sliding windows states one."""
    require(config, {"sliding_window": (None, 0)})
    refuse_other_layers(config, _FULL)


def refuse_other_layers(config: Mapping[str, Any], kind: str) -> None:
    """Raise SeedbedError if `layer_types` in config.json has another kind of layer than `kind`."""
    other = [each for each in config.get("layer_types") or () if each != kind]
    if other:
        raise SeedbedError(
            f"config.json has {other[0]!r} in layer_types, which Seedbed's decoder does not support for "
            f"model type {config.get('model_type')!r}.",
            f"It supports layers of one kind, {kind!r}.",
        )


def some_layers_to_hf(model: ModelConfig) -> dict[str, Any]:
    """The keys of config.json for a window in some layers, as Qwen has them."""
    if not model.window:
        return {"use_sliding_window": False, "sliding_window": None, "max_window_layers": model.layers}
    each = windows(model)
    return {
        "use_sliding_window": True,
        "sliding_window": model.window,
        # Older readers know only the first layer with a window, after which all have it.
        "max_window_layers": next((index for index, window in enumerate(each) if window), model.layers),
        "layer_types": [_SLIDING if window else _FULL for window in each],
    }


def some_layers_from_hf(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The fields `window` and `window_layers` for Qwen's keys: `use_sliding_window` gates `sliding_window`.

    The layers are those of `layer_types`, else all from `max_window_layers` (28) on. Raises SeedbedError for contradictions.
    """
    require(config, {"use_sliding_window": (False, True, None)})
    kinds = config.get("layer_types")
    value = config.get("sliding_window", 4096) if config.get("use_sliding_window") else None
    if kinds is not None and (len(kinds) != layers or set(kinds) - {_SLIDING, _FULL}):
        raise SeedbedError(
            f"config.json has layer_types for {len(kinds)} layers of the kinds {', '.join(sorted(map(str, set(kinds))))}, "
            "which Seedbed's decoder does not support.",
            f"It supports {_FULL} and {_SLIDING}, one for each of the {layers} layers.",
        )
    if value is None:
        if kinds is not None and _SLIDING in kinds:
            raise SeedbedError(
                "config.json has layers with sliding attention in layer_types, but no window "
                "(use_sliding_window is false, or sliding_window is null).",
                "Use the config.json that was saved with these weights.",
            )
        return {}
    window = whole(config, "sliding_window", 4096)
    if kinds is not None:
        chosen = [index for index, kind in enumerate(kinds) if kind == _SLIDING]
    else:
        first = 0 if config.get("max_window_layers") == 0 else whole(config, "max_window_layers", 28)
        chosen = list(range(min(first, layers), layers))
    return {"window": window, "window_layers": layers_text(chosen, layers)} if chosen else {}
