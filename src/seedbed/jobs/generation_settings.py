"""The settings of text generation: those that the user gives, else those that the model's folder recommends, else defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.tokenizer.model_files import generation_object, token_ids

DEFAULTS: Mapping[str, float] = {
    "temperature": 0.8,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""What is used if neither the user nor the folder says anything."""


class _Recommendation(NamedTuple):
    """What a folder may recommend: the value that means nothing, and the values that are possible (low < value <= high)."""

    neutral: float
    low: float
    high: float


_RECOMMENDED: Mapping[str, _Recommendation] = {
    "temperature": _Recommendation(1.0, 0.0, 100.0),
    "top_k": _Recommendation(0, 0, 1 << 31),
    "top_p": _Recommendation(1.0, 0.0, 1.0),
    "min_p": _Recommendation(0.0, 0.0, 1.0),
    "repetition_penalty": _Recommendation(1.0, 0.0, 100.0),
}


class Settings(NamedTuple):
    """The settings of a generation. `recommended`: those that come from the model's generation_config.json.

    `ignored`: the keys of that file with impossible values, and these values.
    """

    values: dict[str, float]
    recommended: dict[str, float]
    ignored: dict[str, Any]


def chosen_settings(given: Mapping[str, float | None], folder: Path) -> Settings:
    """The settings to generate with, for the settings that the user gave (None: not given) and a model's folder.

    Raises SeedbedError if generation_config.json is not a JSON object.
    """
    missing = [name for name in DEFAULTS if given.get(name) is None]
    found, ignored = _recommended(folder)
    recommended = {name: value for name, value in found.items() if name in missing}
    typed = {name: value for name, value in given.items() if value is not None}
    return Settings({**DEFAULTS, **recommended, **typed}, recommended, ignored)


def _recommended(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """The settings in generation_config.json that mean something, and the keys with impossible values.

    Those for sampling count only if the file says that tokens are sampled (`do_sample`); the repetition penalty always
    counts, in transformers, too.
    """
    config = generation_object(folder)
    names = _RECOMMENDED if config.get("do_sample") is True else ("repetition_penalty",)
    found: dict[str, float] = {}
    ends = config.get("eos_token_id")
    several = [each for each in (ends if isinstance(ends, list) else [ends]) if each is not None]
    no_ids = [each for each in several if not token_ids([each])]
    ignored: dict[str, Any] = {"eos_token_id": no_ids if isinstance(ends, list) else ends} if no_ids else {}
    for name in names:
        value, about = config.get(name), _RECOMMENDED[name]
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            ignored[name] = value
        elif value != about.neutral:
            meant = int(value) if name == "top_k" and math.isfinite(value) else float(value)
            if about.low < meant <= about.high:
                found[name] = meant
            else:
                ignored[name] = value
    return found, ignored
