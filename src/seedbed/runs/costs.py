"""The time that validations, samples and checkpoints take, measured so far and estimated for the rest of a run."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed import events
from seedbed.events import Event
from seedbed.simulate.constants import FORWARD_SHARE


class Costs(msgspec.Struct, omit_defaults=True):
    """How many validations, samples and checkpoints a session has made, and how much time they took."""

    scored_tokens: int = 0
    scoring_s: float = 0.0
    samples: int = 0
    sampling_s: float = 0.0
    saves: int = 0
    stalled_s: float = 0.0
    write_s: float = 0.0
    """Seconds that the last checkpoint took to write. Training waits for a write only at the end of the run."""

    def add(self, event: Event) -> None:
        """Add the time of a validation, a sample or a checkpoint that an event reports; other events change nothing."""
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
        run: dict[str, Any],
        step: int,
        step_s: float,
        phases: list[str],
        progress: dict[str, Any] | None,
        *,
        validated: bool = False,
    ) -> float:
        """Estimate the seconds that validations, samples and checkpoints after `step` and the current validation will take.

        `run`: the fields of the run events (View.run). `progress`: the progress of the current phase (View.progress).
        `validated`: whether `step` was validated. If nothing was validated yet, the time is estimated from `step_s`.
        Samples and checkpoints are omitted until the first was measured.
        """
        end = int(run["steps"])
        token_s = self._token_s(run, step_s)
        seconds = 0.0
        if token_s is not None:
            periodic, everything = run.get("eval_tokens") or 0, run.get("validation_tokens") or 0
            seconds += token_s * periodic * _between(step, end, run.get("eval_every"))
            last = everything + (periodic if periodic < everything else 0)
            begun = phases[-1:] == ["evaluate"]
            seconds += token_s * last if step < end or not (validated or begun) else 0.0
            if begun:
                seconds += token_s * _tokens_left(progress, everything, last if step >= end else periodic)
        if self.samples:
            later = _between(step, end, run.get("sample_every")) + (step < end)
            seconds += later * self.sampling_s / self.samples
        if self.saves:
            later = _between(step, end, run.get("checkpoint_every")) + (step < end)
            seconds += later * self.stalled_s / self.saves + self.write_s
        return seconds

    def _token_s(self, run: dict[str, Any], step_s: float) -> float | None:
        """Estimate the seconds to evaluate one token of validation text; None if unknown."""
        if self.scored_tokens:
            return self.scoring_s / self.scored_tokens
        per_step = run.get("tokens_per_step")
        return step_s * FORWARD_SHARE / per_step if per_step else None


def _tokens_left(progress: dict[str, Any] | None, everything: int, whole: int) -> int:
    """The number of tokens that the current validation still has to evaluate, given the `progress` of its data event.

    `everything`: all tokens of the validation text, which the last validation of a run evaluates after a part of them.
    `whole`: the number to return if there is no progress yet.
    """
    if progress is None or not progress["total"]:
        return whole
    total = int(progress["total"])
    return max(total - int(progress["done"]), 0) + (everything if total < everything <= whole else 0)


def _between(step: int, end: int, every: int | None) -> int:
    """How many multiples of `every` lie after `step` and before `end`; 0 if `every` is 0 or None."""
    return max((end - 1) // every - step // every, 0) if every else 0
