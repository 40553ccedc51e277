"""The settings of text generation: those that the user gives, else those that the model's folder recommends, else defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.checkpoint.marker import GENERATION
from seedbed.files import read_json

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
    """The settings of a generation. `recommended`: those that come from the model's generation_config.json."""

    values: dict[str, float]
    recommended: dict[str, float]


def chosen_settings(given: Mapping[str, float | None], folder: Path) -> Settings:
    """The settings to generate with, for the settings that the user gave (None: not given) and a model's folder.

    Raises SeedbedError if generation_config.json is not valid JSON.
    """
    missing = [name for name in DEFAULTS if given.get(name) is None]
    recommended = {name: value for name, value in _recommended(folder).items() if name in missing}
    typed = {name: value for name, value in given.items() if value is not None}
    return Settings({**DEFAULTS, **recommended, **typed}, recommended)


def _recommended(folder: Path) -> dict[str, float]:
    """The settings in generation_config.json that mean something.

    Those for sampling count only if the file says that tokens are sampled (`do_sample`); the repetition penalty always
    counts, in transformers, too.
    """
    config: Any = read_json(folder / GENERATION)
    if not isinstance(config, dict):
        return {}
    names = _RECOMMENDED if config.get("do_sample") is True else ("repetition_penalty",)
    found: dict[str, float] = {}
    for name in names:
        value, about = config.get(name), _RECOMMENDED[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value != about.neutral and about.low < value <= about.high:
            found[name] = int(value) if name == "top_k" else float(value)
    return found
