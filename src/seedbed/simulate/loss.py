"""The loss of a simulated run: a scaling law over the tokens, the learning rate's effect, noise and rare spikes.

Every value is a pure function of (seed, step), so a step that is trained again after a failure has the same loss, and a
long run can be thinned without computing the steps in between. Losses are in nats per token.

What is published: the law. What is assumed: every constant of the noise, of the spikes and of the annealing gap; they
are chosen to look like published loss curves of large runs, and no prediction depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from seedbed.simulate.counter_random import Autocorrelated, Stream

ScheduleKind = Literal["cosine", "linear", "constant", "wsd"]


class Law(NamedTuple):
    """The loss of a model of N parameters after D tokens: E + A / N^alpha + B / D^beta (Hoffmann et al., 2022)."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def floor(self, parameters: float) -> float:
        """The loss after infinitely many tokens."""
        return self.e + self.a / math.pow(parameters, self.alpha)

    def loss(self, parameters: float, tokens: float) -> float:
        """The loss after `tokens` tokens, at the end of the learning rate's decay."""
        return self.floor(parameters) + self.b / math.pow(tokens, self.beta)

    def tokens_at(self, parameters: float, loss: float) -> float:
        """The number of tokens after which the law gives `loss`, which must be above `floor(parameters)`."""
        return math.pow(self.b / (loss - self.floor(parameters)), 1 / self.beta)


BESIROGLU = Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
"""The refit of Chinchilla's data by Besiroglu et al. (arXiv 2404.10102, 2024): the default."""

ANNEALING_GAP = 0.045
"""Nats by which the loss at the peak learning rate exceeds the law, which holds for a decayed one. Assumed; published
curves of wsd schedules fall by 0.03 to 0.06 in their decay."""
FIRST_STEPS = 40
"""Steps in which the distance to the law falls to 1/e at the beginning: a run with few warm-up steps is limited by its
steps, not its tokens. Assumed."""
NOISE = 0.35
"""Standard deviation of a step's loss times the square root of its sequences. Assumed."""
LONGEST_LEAD = 3
"""Most steps by which the gradient norm rises before a spike of the loss. Assumed."""
RHO = 0.35
"""Autocorrelation of half of the variance of the noise (neighbouring batches); the other half is white. Assumed."""
VALIDATION_NOISE, VALIDATION_RHO = 0.003, 0.8
"""Standard deviation (nats) of a validation around the curve, and its autocorrelation between validations. Assumed."""
LARGEST_VALIDATION_GAP = 0.02
"""The validation loss of a run exceeds its training loss by a share between 0 and this, drawn once. Assumed."""
SPIKES_PER_STEP = 1 / 20_000
"""Loss spikes per step. Assumed."""
DIVERGING_SHARE = 0.05
"""Share of the spikes from which a run does not recover by itself. Assumed."""
_BLOCK = 1024
"""Steps of a block; a block has at most one spike, and no spike reaches beyond the block after its own."""


class Schedule(NamedTuple):
    """The learning rate: linear warm-up to `peak`, then a decay of shape `kind` to `floor` * `peak` at the last step."""

    steps: int
    peak: float = 3e-4
    kind: ScheduleKind = "cosine"
    warmup_steps: int = 0
    decay: float = 0.2
    """Share of the steps in the final decay of `wsd`."""
    floor: float = 0.1

    def multiplier(self, step: int) -> float:
        """The share of the peak learning rate at which step `step` (1 .. steps) is trained."""
        i, warm = step - 1, self.warmup_steps
        if i < warm:
            return (i + 1) / (warm + 1)
        fall = max(self.steps - warm, 0)
        if self.kind == "wsd":
            fall = min(round(self.decay * self.steps), fall)
        if self.kind == "constant" or fall == 0:
            return 1.0
        t = min(max(i - (self.steps - fall), 0) / fall, 1.0)
        shape = 0.5 * (1 + math.cos(math.pi * t)) if self.kind == "cosine" else 1 - t
        return self.floor + (1 - self.floor) * shape

    def lr(self, step: int) -> float:
        """The learning rate of a step."""
        return self.peak * self.multiplier(step)


class Spike(msgspec.Struct, frozen=True):
    """A sudden rise of the loss. The gradient norm rises first, at `step` - `lead`."""

    step: int
    height: float
    lead: int
    recovery_steps: float
    diverges: bool

    def loss(self, step: int) -> float:
        """Nats that the spike adds to the loss of a step: full after two steps, then an exponential decay."""
        after = step - self.step
        if after < 0:
            return 0.0
        return self.height * min((after + 1) / 2, 1.0) * math.exp(-max(after - 1, 0) / self.recovery_steps)

    def grad_factor(self, step: int) -> float:
        """The factor on the gradient norm of a step."""
        after = step - self.step + self.lead
        return (
            1.0 if after < 0 else 1.0 + 12.0 * self.height * math.exp(-after / (0.4 * self.recovery_steps + self.lead))
        )


class Values(NamedTuple):
    """What a step logs: loss in nats per token, learning rate, gradient norm."""

    loss: float
    lr: float
    grad_norm: float


class LossCurve:
    """The loss of every step and validation of one run. `parameters`: those that work on a token (the active ones)."""

    def __init__(
        self,
        *,
        seed: int,
        parameters: float,
        vocab: int,
        tokens_per_step: int,
        sequences_per_step: int,
        schedule: Schedule,
        law: Law = BESIROGLU,
        spikes_per_step: float = SPIKES_PER_STEP,
    ) -> None:
        self.law, self.schedule = law, schedule
        self.highest = math.log(vocab)
        """The loss of a model that knows nothing: ln(vocabulary)."""
        self._parameters, self._tokens_per_step = parameters, tokens_per_step
        self._start_tokens = (
            law.tokens_at(parameters, self.highest) if law.floor(parameters) < self.highest else math.inf
        )
        self._sigma = NOISE / math.sqrt(2 * sequences_per_step)
        self._near = Autocorrelated(Stream(seed, "loss of near steps"), RHO)
        self._white = Stream(seed, "loss of a step")
        self._slow = Autocorrelated(Stream(seed, "validation"), VALIDATION_RHO)
        self._grad = Stream(seed, "gradient norm")
        self._spike = Stream(seed, "spike")
        self._spike_chance = min(_BLOCK * spikes_per_step, 1.0)
        self._gap = LARGEST_VALIDATION_GAP * Stream(seed, "validation gap").uniform(0)
        self.spike_of_block = lru_cache(16)(self._spike_of_block)
        """The spike whose first step lies in a block of 1,024 steps; None if it has none."""
        self._grad_level = 0.12 + 0.3 * Stream(seed, "gradient level").uniform(0)

    def at_law(self) -> float:
        """The loss by the law after all tokens of the run, at most ln(vocabulary)."""
        return min(self.law.loss(self._parameters, self.schedule.steps * self._tokens_per_step), self.highest)

    def mean(self, step: int) -> float:
        """The curve without noise and spikes after `step` steps.

        Tokens of the warm-up count by the share of the peak learning rate at which they are trained (the area under the
        learning rate, arXiv 2408.11029), and the curve starts at ln(vocabulary).
        """
        warm = self.schedule.warmup_steps
        counted = step * step / (2 * warm) if step < warm else step - warm / 2
        by_law = self.law.loss(self._parameters, self._start_tokens + counted * self._tokens_per_step)
        by_law += ANNEALING_GAP * self.schedule.multiplier(max(step, 1)) * min(step / max(warm, 1), 1.0)
        by_law = min(by_law, self.highest)
        return by_law + (self.highest - by_law) * math.exp(-step / FIRST_STEPS)

    def at(self, step: int, skipped: Container[int] = ()) -> Values:
        """The values that step `step` (1 .. steps) logs. `skipped`: first steps of spikes whose data are left out."""
        noise = self._near.at(step) + self._white.normal(step)
        loss = self.mean(step - 1) + self._sigma * noise
        factor = 1.0
        for spike in self._spikes_near(step):
            if spike.step not in skipped:
                loss += spike.loss(step)
                factor = max(factor, spike.grad_factor(step))
        grad_norm = self._grad_mean(step) * math.exp(0.15 * self._grad.normal(step)) * factor
        return Values(min(max(loss, 0.0), self.highest), self.schedule.lr(step), grad_norm)

    def validation(self, step: int, number: int) -> float:
        """The loss of validation `number` of the run, after step `step`: smoother than the training loss, and apart."""
        smooth = self.mean(step) * (1 + self._gap) + VALIDATION_NOISE * self._slow.at(number)
        return min(smooth, self.highest)

    def _grad_mean(self, step: int) -> float:
        warm = max(self.schedule.warmup_steps, 50)
        return self._grad_level * (1 + 12 * math.exp(-4 * step / warm))

    def _spike_of_block(self, block: int) -> Spike | None:
        # The warm-up has no spikes, nor have the last steps, so the last loss shows what the run has reached.
        draw = self._spike
        first = block * _BLOCK + 1
        if draw.uniform(8 * block) >= self._spike_chance:
            return None
        step = first + draw.below(8 * block + 1, _BLOCK)
        if step <= max(2 * self.schedule.warmup_steps, 100) or step > self.schedule.steps - 2 * _BLOCK:
            return None
        height = min(max(0.4 * math.exp(0.7 * draw.normal(8 * block + 2)), 0.1), 1.5)
        return Spike(
            step,
            height,
            1 + draw.below(8 * block + 3, LONGEST_LEAD),
            20 * 10 ** draw.uniform(8 * block + 4),
            draw.uniform(8 * block + 5) < DIVERGING_SHARE,
        )

    def spikes(self) -> Iterator[Spike]:
        """All spikes of the run in the order of their steps."""
        for block in range(self.schedule.steps // _BLOCK + 1):
            spike = self.spike_of_block(block)
            if spike is not None:
                yield spike

    def _spikes_near(self, step: int) -> Iterator[Spike]:
        """The spikes that may affect a step: of its own block, the block before, and the next, which leads by a few steps."""
        block = (step - 1) // _BLOCK
        for near in range(max(block - 1, 0), block + 2):
            spike = self.spike_of_block(near)
            if spike is not None:
                yield spike
