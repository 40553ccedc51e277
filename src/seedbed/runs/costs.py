"""What a run spends time on beside its steps, and how much of that is still to come."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed import events
from seedbed.events import Event

_FORWARD_SHARE = 1 / 3
"""A validation only computes forward: a third of the work that training does on a token."""


class Costs(msgspec.Struct, omit_defaults=True):
    """What validations, samples and checkpoints took in a session."""

    scored_tokens: int = 0
    scoring_s: float = 0.0
    samples: int = 0
    sampling_s: float = 0.0
    saves: int = 0
    stalled_s: float = 0.0
    write_s: float = 0.0
    """How long the last checkpoint took to write; training waits for that at its end alone."""

    def add(self, event: Event) -> None:
        """Take in what an event says of time."""
        if isinstance(event, events.Eval) and event.elapsed_s is not None:
            self.scored_tokens += event.tokens
            self.scoring_s += event.elapsed_s
        elif isinstance(event, events.Phase) and event.name == "sample" and event.done and event.elapsed_s is not None:
            self.samples += 1
            self.sampling_s += event.elapsed_s
        elif isinstance(event, events.Checkpoint):
            self.saves += 1
            self.stalled_s += event.stall_s
            self.write_s = event.write_s

    def ahead_s(
        self,
        said: dict[str, Any],
        step: int,
        step_s: float,
        phases: list[str],
        progress: dict[str, Any] | None,
        *,
        validated: bool = False,
    ) -> float:
        """Seconds of validating, sampling and saving that follow `step`, what is left of the one at hand included.

        `said` is what the run's events told of it, `progress` how far the phase at hand is, `validated` whether `step` was
        validated. What has not been measured yet is estimated from the time of a step, or left out where that tells
        nothing.
        """
        end = int(said["steps"])
        token_s = self._token_s(said, step_s)
        seconds = 0.0
        if token_s is not None:
            periodic, everything = said.get("eval_tokens") or 0, said.get("validation_tokens") or 0
            seconds += token_s * periodic * _between(step, end, said.get("eval_every"))
            last = everything + (periodic if periodic < everything else 0)
            begun = phases[-1:] == ["evaluate"]
            seconds += token_s * last if step < end or not (validated or begun) else 0.0
            if begun:
                seconds += token_s * _left(progress, everything, last if step >= end else periodic)
        if self.samples:
            later = _between(step, end, said.get("sample_every")) + (step < end)
            seconds += later * self.sampling_s / self.samples
        if self.saves:
            later = _between(step, end, said.get("checkpoint_every")) + (step < end)
            seconds += later * self.stalled_s / self.saves + self.write_s
        return seconds

    def _token_s(self, said: dict[str, Any], step_s: float) -> float | None:
        """Seconds to score one token of validation text."""
        if self.scored_tokens:
            return self.scoring_s / self.scored_tokens
        per_step = said.get("tokens_per_step")
        return step_s * _FORWARD_SHARE / per_step if per_step else None


def _left(progress: dict[str, Any] | None, everything: int, whole: int) -> int:
    """Tokens that the validation at hand has yet to score. The last one of a run may score a part first, then everything."""
    if progress is None or not progress["total"]:
        return whole
    total = int(progress["total"])
    return max(total - int(progress["done"]), 0) + (everything if total < everything <= whole else 0)


def _between(step: int, end: int, every: int | None) -> int:
    """How many multiples of `every` lie after `step` and before `end`; none where it is 0."""
    return max((end - 1) // every - step // every, 0) if every else 0
