"""The size that was chosen for a time budget, and why: as data, and in sentences that every front end and the log share."""

from __future__ import annotations

import msgspec

from seedbed import text
from seedbed.config.durations import short
from seedbed.config.scaling import is_predictable


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One size that was considered. `tokens` and `loss` (nats per token): what it would reach in the time."""

    layers: int
    hidden: int
    parameters: int
    tokens_per_s: float
    measured: bool
    """Whether the speed was measured; otherwise it is interpolated between sizes that were."""
    tokens: float
    loss: float


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen size, and the sizes that were considered, smallest first. `parameters` counts all weights."""

    time_s: float
    left_s: float
    """The seconds from the choice to the end of the run."""
    layers: int
    hidden: int
    parameters: int
    vocab_size: int
    batch_size: int
    context: int
    threads: int
    """The number of CPU threads that was the fastest; 0: not compared."""
    tokens: float
    unique_tokens: int
    """The number of tokens of the training text, each counted once."""
    loss: float
    bits_per_byte: float
    options: tuple[Option, ...] = ()

    @property
    def steps(self) -> int:
        """The expected number of training steps."""
        return max(round(self.tokens / (self.batch_size * self.context)), 1)

    @property
    def step_s(self) -> float | None:
        """The seconds of a step at the speed of the chosen size, without compilation; None if it is not among the options."""
        speed = next((each.tokens_per_s for each in self.options if _is_chosen(each, self)), None)
        return self.batch_size * self.context / speed if speed else None

    @property
    def passes(self) -> float:
        """How many times the run reads the training text."""
        return self.tokens / max(self.unique_tokens, 1)


def sentence(chosen: Chosen) -> str:
    """The chosen size and what to expect of it, in one sentence."""
    return (
        f"Chosen for {short(chosen.time_s)}: {chosen.layers} layers x {chosen.hidden} ({text.count(chosen.parameters)} "
        f"parameters), about {text.count(chosen.tokens)} tokens in {text.plural(chosen.steps, 'step')}"
        f"{_passes(chosen)}. {_expected(chosen)} It ends in about {text.duration(max(chosen.left_s, 0.0))}."
    )


def _expected(chosen: Chosen) -> str:
    """The expected loss, or why there is none, as a sentence."""
    if not is_predictable(chosen.passes):
        return "The validation loss cannot be predicted, because the text is repeated too often."
    return f"Expected validation loss about {chosen.loss:.2f} ({chosen.bits_per_byte:.2f} bits per byte)."


def reason(chosen: Chosen) -> str:
    """Why this size was chosen: the measured speeds, and what the next smaller and larger size would reach."""
    measured = [each for each in chosen.options if each.measured]
    speeds = ", ".join(
        f"{text.count(each.tokens_per_s)} tokens/s with {text.count(each.parameters)} parameters" for each in measured
    )
    parts = [f"Speed measured on this machine: {speeds}."]
    place = next((i for i, each in enumerate(chosen.options) if _is_chosen(each, chosen)), None)
    if place is not None:
        near = [
            f"{chosen.options[i].loss:.2f} with the next {word} size ({text.count(chosen.options[i].parameters)} parameters)"
            for i, word in ((place - 1, "smaller"), (place + 1, "larger"))
            if 0 <= i < len(chosen.options)
        ]
        if near and is_predictable(chosen.passes):
            parts.append(f"The expected loss is {' and '.join(near)}.")
        if place == len(chosen.options) - 1 and chosen.passes > 1:
            parts.append("A larger model would overfit, because the text is small.")
    return " ".join(parts)


def _is_chosen(option: Option, chosen: Chosen) -> bool:
    return (option.layers, option.hidden) == (chosen.layers, chosen.hidden)


def _passes(chosen: Chosen) -> str:
    passes = chosen.passes
    shown = f"{passes:,.0f}" if passes >= 100 else f"{passes:.1f}"
    return f" ({shown} passes over the text)" if passes >= 1.5 else ""
