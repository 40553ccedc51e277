"""How far a prediction may be off: the interval that holds 80 % of published runs from sources that the fit had not seen."""

from __future__ import annotations

import math

from seedbed.simulate.constants import Spread
from seedbed.simulate.rates import BEFORE_AMPERE
from seedbed.simulate.setup import Setup

CLASSES = {
    "unseen": "GPUs of a generation without published runs",
    "usual": "dense models of at least 0.6 B parameters on GPUs since 2020",
    "experts": "mixtures of experts",
    "old": "GPUs before 2020",
    "small": "models below 0.6 B parameters",
    "eager splits": "tensor or pipeline parallelism with PyTorch",
    "guessed": "three or more settings that had to be assumed",
}
"""Class of a setup -> what is in it. The first that fits in the order of `class_of` counts."""
_SMALL = 6e8
_MANY_ASSUMED = 3
UNSEEN = 2.0
"""Width of the interval of a class without published rows, in widths of the usual class (assumed)."""


SEEN = frozenset({"volta", "ampere", "ada", "hopper", "blackwell"})
"""Generations of GPUs with published runs in the fit."""


def class_of(setup: Setup, assumed: int = 0) -> str:
    """The class whose errors this setup shares; `assumed`: the settings that a row of published runs does not say."""
    if setup.gpu.generation not in SEEN | BEFORE_AMPERE:
        return "unseen"
    if setup.shape.experts:
        return "experts"
    if setup.gpu.generation in BEFORE_AMPERE:
        return "old"
    if setup.shape.parameters < _SMALL:
        return "small"
    if setup.layout.tp * setup.layout.pp > 1 and setup.recipe.stack == "torch":
        return "eager splits"
    return "guessed" if assumed >= _MANY_ASSUMED else "usual"


def factor_of(setup: Setup, spreads: dict[str, Spread], assumed: int = 0) -> float:
    """The factor by which throughput may be above or below the prediction, with a probability of 80 %."""
    name = class_of(setup, assumed)
    if name in spreads:
        return spreads[name].factor
    return math.exp(UNSEEN * math.log(spreads["usual"].factor))
