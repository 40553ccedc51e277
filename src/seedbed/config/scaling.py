"""Predicts the validation loss of a model from its size and its training tokens, and picks the size with the lowest loss.

The law is L(N, D) = floor + a / N^alpha + b / D^beta (Hoffmann et al. 2022, arXiv 2203.15556) with N the parameters in
matrix products and D the training tokens. Its constants are fitted on own runs by benchmarks/fit_dial.py, and are in
facts/dial.json. Repeated text counts less (Muennighoff et al. 2023, arXiv 2305.16264).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.config.arithmetic import flops_per_step
from seedbed.config.ladder import RUNGS, computing_parameters, shaped
from seedbed.config.schema import ModelConfig

_FACTS = Path(__file__).parent / "facts" / "dial.json"
_TOLERANCE = 0.003
"""The smallest model is chosen whose predicted loss is within this share of the lowest: the optimum is flat."""
_PARAMETERS_PER_TOKEN = 4.0
"""A model has at most so many parameters per different token of training text; a larger one learns the text by heart."""
_SLOPE_BELOW, _SLOPE_ABOVE = -0.4, -1.1
"""The slopes of log speed over log work beyond the sizes that were measured. They
are cautious: small models spend much of a step on work that does not shrink with them."""


class Law(NamedTuple):
    """The constants of the law, for losses in nats per token of a tokenizer with `bytes_per_token`."""

    floor: float
    a: float
    alpha: float
    b: float
    beta: float
    bytes_per_token: float

    def loss(self, parameters: float, tokens: float) -> float:
        """The predicted validation loss in nats per token after `tokens` training tokens, each seen once."""
        size, text = math.pow(parameters, -self.alpha), math.pow(max(tokens, 1.0), -self.beta)
        return self.floor + self.a * size + self.b * text


class Candidate(NamedTuple):
    """A size, and what it would reach in the time. `rung` is an index into RUNGS; `loss` is in nats per token."""

    rung: int
    parameters: int
    tokens_per_s: float
    tokens: float
    loss: float


@cache
def facts() -> dict[str, Any]:
    """The fitted constants, with their date, machine and errors."""
    found: dict[str, Any] = json.loads(_FACTS.read_text(encoding="utf-8"))
    return found


def law_for(source: str) -> Law:
    """The law for a data source: that of the built-in stories, else that of real English text."""
    return Law(**facts()["laws"]["stories" if source.strip() == "stories" else "text"])


def decay_share(time_s: float) -> float:
    """The share of the steps in which the learning rate decays, for a run of `time_s` seconds."""
    shares = facts()["decay_share"]
    return float(shares["short"] if time_s <= shares["short_up_to_s"] else shares["long"])


def reuse_passes() -> float:
    """The number of repeated passes over a text from which more of them teach hardly anything, for a model from scratch."""
    return float(facts()["reuse_passes"])


def is_predictable(passes: float) -> bool:
    """Whether the law holds for a run that reads its text `passes` times: after too many, the loss on other text rises again."""
    return passes <= reuse_passes()


def effective_tokens(tokens: float, unique: float) -> float:
    """How many tokens of new text teach as much as `tokens` tokens, of which only `unique` differ."""
    repeats = max(tokens / max(unique, 1.0) - 1.0, 0.0)
    worth = reuse_passes()
    return min(tokens, unique) + unique * worth * -math.expm1(-repeats / worth)


def work_per_token(model: ModelConfig, rung: int, vocab_size: int) -> float:
    """Floating-point operations of training per token with the size `rung`."""
    return flops_per_step(shaped(model, RUNGS[rung]), vocab_size, 1) / model.context


def speed_of(work: float, measured: Sequence[tuple[float, float]]) -> float:
    """Tokens per second at a work per token, interpolated in logarithms between the measured (work, tokens per second).

    `measured` has at least one pair.
    """
    points = sorted((math.log(each), math.log(speed)) for each, speed in measured)
    x = math.log(work)
    if x < points[0][0]:
        return math.exp(points[0][1] + _SLOPE_BELOW * (x - points[0][0]))
    if x > points[-1][0]:
        return math.exp(points[-1][1] + _SLOPE_ABOVE * (x - points[-1][0]))
    if len(points) == 1:
        return math.exp(points[0][1])
    index = min(max(sum(point[0] <= x for point in points), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[index - 1], points[index]
    return math.exp(y0 + (y1 - y0) / (x1 - x0) * (x - x0))


def candidates(
    model: ModelConfig,
    speeds: Mapping[int, float],
    *,
    law: Law,
    vocab_size: int,
    useful_s: float,
    unique_tokens: float,
    bytes_per_token: float | None = None,
    rungs: int = len(RUNGS),
) -> list[Candidate]:
    """What each of the first `rungs` sizes would reach in `useful_s` seconds of training, smallest first.

    `speeds`: measured tokens per second by rung. Sizes that are too large for the text are left out, but never all.
    """
    measured = [(work_per_token(model, rung, vocab_size), speed) for rung, speed in speeds.items()]
    found: list[Candidate] = []
    for rung in range(rungs):
        parameters = computing_parameters(shaped(model, RUNGS[rung]), vocab_size)
        if found and parameters > _PARAMETERS_PER_TOKEN * unique_tokens:
            break
        speed = speed_of(work_per_token(model, rung, vocab_size), measured)
        tokens = speed * max(useful_s, 0.0)
        loss = law.loss(parameters, effective_tokens(tokens, unique_tokens))
        scale = bytes_per_token / law.bytes_per_token if bytes_per_token else 1.0
        # The law has no limit for few tokens; a model that knows nothing is at ln(vocabulary).
        found.append(Candidate(rung, parameters, speed, tokens, min(loss * scale, math.log(vocab_size))))
    return found


def best(found: Sequence[Candidate]) -> Candidate:
    """The smallest candidate whose predicted loss is near the lowest."""
    lowest = min(each.loss for each in found)
    return next(each for each in found if each.loss <= lowest * (1 + _TOLERANCE))
