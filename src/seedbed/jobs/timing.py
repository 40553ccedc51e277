"""The time budget of a training job (`train.time`): its clock, what the work around the steps costs, and its plan.

The time that counts is that of the work that led to the current step: from the command that started the run (for a
resumed run: what the checkpoint had used, and the time since the job started), without pauses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from seedbed.config.check import repetition
from seedbed.config.chosen import Chosen
from seedbed.config.durations import seconds_of, short
from seedbed.config.time_budget import (
    END_S,
    MOST_COMPARED_SHARE,
    MOST_FINAL_SHARE,
    SAMPLE_S,
    TIMED_COMPILE_FROM_S,
    final_tokens,
    save_s,
    validates_all,
)
from seedbed.disk_space import write_rate
from seedbed.errors import SeedbedError
from seedbed.events import Checkpoint, Eval, Event, Message, Phase, Run
from seedbed.jobs.parts import Parts, TrainingConfig
from seedbed.jobs.restore import Start
from seedbed.runs.session import Session
from seedbed.simulate.constants import FORWARD_SHARE
from seedbed.text import plural
from seedbed.train.deadline import Costs, Deadline, DeadlineHook, StepBeginHook
from seedbed.train.horizon import Segment
from seedbed.train.loop import Hook

_FEWEST_WARMUP_STEPS, _MOST_WARMUP_SHARE = 20, 0.2
"""Warm-ups have at least so many steps, as long as they are at most this share of all; schedule.warmup may be more."""
_LONGEST_START_S = 60.0
_SLOW_SAVE = 0.02
"""The disk is measured if the last save may take more than this share of the time."""
_SUSTAINED = 1.5
"""A large file is written more slowly than the small one of the measurement, by this factor (assumed)."""
_ANNOUNCE_S = 5.0
_FAR = 1.25
"""If the expected number of steps changes by this factor, the run says so."""


class WorkClock:
    """The seconds of its time budget that a run has used up: `used_before_s` and the session's time without pauses."""

    def __init__(self, session: Session, used_before_s: float) -> None:
        self._session, self._used_before_s = session, used_before_s

    def __call__(self) -> float:
        return self._used_before_s + time.monotonic() - self._session.began_s - self._session.paused_s


def clock_of(session: Session, start: Start | None = None) -> WorkClock:
    """The clock of a session that begins at `start` (None: before any step).

    In a run's first session it starts when the run was created, unless the run waited for its turn. A resumed session
    adds its time to what the checkpoint had used.
    """
    used_s = float(start.trainer.get("time_used_s") or 0.0) if start is not None else 0.0
    if session.number == 1 and not session.turn:
        created = session.run.meta().get("created")
        if isinstance(created, int | float):
            before_session = time.time() - created - (time.monotonic() - session.began_s)
            used_s = min(max(before_session, 0.0), _LONGEST_START_S)
    return WorkClock(session, used_s)


class MeasuredCosts(Costs):
    """Costs that follow the validations, samples and checkpoints of a session, as an observer of its events."""

    def __init__(
        self, compared_tokens: int, all_tokens: int, token_s: float, save_s: float, most_final_s: float = math.inf
    ) -> None:
        """`most_final_s`: validating all tokens at the end is left out if it would take longer than this."""
        super().__init__(eval_s=0.0, final_s=0.0, save_s=save_s + END_S)
        self._most_final_s = most_final_s
        self.validates_all = True
        self._compared, self._all = compared_tokens, all_tokens
        self._sample_s = SAMPLE_S
        self._set_token_s(token_s)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Eval) and event.elapsed_s is not None and event.tokens:
            self._set_token_s(event.elapsed_s / event.tokens)
        elif isinstance(event, Phase) and event.name == "sample" and event.done and event.elapsed_s is not None:
            self._sample_s = event.elapsed_s
            self._set_token_s(self._token_s)
        elif isinstance(event, Checkpoint):
            self.save_s = event.write_s + END_S

    def _set_token_s(self, token_s: float) -> None:
        self._token_s = token_s
        self.eval_s = token_s * self._compared
        asked = (self._compared, self._all, token_s, self._most_final_s)
        self.validates_all = validates_all(*asked)
        self.final_s = token_s * final_tokens(*asked) + self._sample_s


class Length:
    """How long a run trains: its last segment (steps under one learning-rate schedule) ends at a step that is known."""

    def __init__(self, config: TrainingConfig, segments: list[Segment], compared_tokens: int | None = None) -> None:
        """`compared_tokens`: the tokens of each validation of an earlier session, which this one keeps; None: none was begun."""
        self._config, self._segments, self._compared_tokens = config, segments, compared_tokens

    def steps_worth_compiling(self, done: int) -> int:
        """The number of steps after `done` steps, from which torch.compile may be worth its time."""
        return self._segments[-1].end - done

    def begin(self, parts: Parts, step: int, time_step: Callable[[], float | None]) -> None:
        """Make the plan, now that training begins at `step`. `time_step` times a step (in seconds), if that is needed.

        A training on from a model whose validations were limited for a time keeps the limit.
        """
        self._keep_validations(parts)

    def _keep_validations(self, parts: Parts) -> bool:
        """Validate as many tokens as the earlier sessions of a training on from a model; returns whether there was one."""
        if not parts.is_trained or not self._compared_tokens:
            return False
        parts.validation.limit(self._compared_tokens)
        return True

    def used_s(self) -> float | None:
        """The seconds of the time budget that the run has used up; None without one."""
        return None

    def fields(self) -> dict[str, Any]:
        """The fields of a `run` event about the time budget."""
        return {"time_s": 0.0} if self._config.train.time else {}  # steps were added to a timed run

    def first_hooks(self) -> list[Hook]:
        """The hooks that come first after each step, but for the one that stops."""
        return []

    def last_hooks(self) -> list[Hook]:
        """The hooks after all others."""
        return []

    def validates_all(self) -> bool:
        """Whether there is time to validate on all tokens at the end."""
        return True


def length_of(
    session: Session, config: TrainingConfig, segments: list[Segment], start: Start, chosen: Chosen | None = None
) -> Length:
    """How long a run with these segments trains, from `start` on. `chosen`: what the log has said of the run, if anything."""
    compared = start.history.view.run.get("eval_tokens")
    if segments[-1].is_timed:
        return Timing(session, config, segments, clock_of(session, start), chosen, compared)
    return Length(config, segments, compared)


class Timing(Length):
    """The plan of a timed run: keeps its last segment up to date, and announces changes in the log."""

    def __init__(
        self,
        session: Session,
        config: TrainingConfig,
        segments: list[Segment],
        clock: Callable[[], float],
        chosen: Chosen | None = None,
        compared_tokens: int | None = None,
    ):
        super().__init__(config, segments, compared_tokens)
        self._chosen = chosen
        assert config.train.time is not None
        self._session, self._clock = session, clock
        self.total_s = seconds_of(config.train.time)
        self.deadline: Deadline | None = None
        self._costs: MeasuredCosts | None = None
        self._last: Segment | None = None
        self._told_at_s = 0.0
        self._expected_end: int | None = None
        """The end as it was planned when training began, until the log says that it is another one."""

    def steps_worth_compiling(self, done: int) -> int:
        """A number of steps with which torch.compile is used if the time that is left is worth it."""
        return self._segments[-1].end if self.total_s - self._clock() > TIMED_COMPILE_FROM_S else 1

    def begin(self, parts: Parts, step: int, time_step: Callable[[], float | None]) -> None:
        """Plan the steps for the time that is left, by the speed with which the size was chosen, else by a timed step.

        Warns if hardly any steps fit into the time, or if so many that the run reads its text too often.
        """
        # Forward and backward alone: timing the update of the optimizer would change the weights.
        passes_s = time_step()
        chosen = self._chosen if not parts.trainer.describe().get("compile") else None
        step_s = (chosen and chosen.step_s) or passes_s
        train, validation = self._config.train, parts.validation
        token_s = (passes_s or 0.0) * FORWARD_SHARE / (train.batch_size * parts.tokens_per_window)
        if not self._keep_validations(parts) and parts.is_trained:
            self._limit_validations(parts, token_s)
        costs = MeasuredCosts(
            validation.tokens(validation.compared_tokens),
            validation.tokens(0),
            token_s,
            self._save_s(sum(parts.trainer.sizes_bytes())),
            MOST_FINAL_SHARE * self.total_s,
        )
        self._costs = costs
        self._session.observers.append(costs)
        last = self._segments[-1]
        schedule = self._config.schedule
        self.deadline = Deadline(
            self.total_s,
            self._clock(),
            decay_share=schedule.decay if schedule.kind == "wsd" else 0.0,
            step_s=step_s,
            costs=costs,
            eval_every=train.eval_every,
            decay_from=last.decay_from,
            end=last.end if last.decay_from is not None else None,
            clock=self._clock,
        )
        if last.decay_from is None:
            end = chosen.steps if chosen else step + max(self.deadline.steps_left() or 0, 1)
            is_new = step == 0 and not last.warmup_steps
            warmup = warmup_within(schedule.warmup, end) if is_new else last.warmup_steps or 0
            self._segments[-1] = last._replace(end=end, warmup_steps=warmup)
            self._expected_end = self._chosen.steps if self._chosen else end
            if is_new:
                self._warn(parts, end, warmup)
        self._last = self._segments[-1]

    def _save_s(self, checkpoint_bytes: int) -> float:
        """Seconds of the last save. Measures the disk if they matter: most disks are much faster than is assumed."""
        assumed_s = save_s(checkpoint_bytes)
        if assumed_s < _SLOW_SAVE * self.total_s:
            return assumed_s
        rate = write_rate(self._session.run.path)
        return assumed_s if rate is None else save_s(checkpoint_bytes, rate / _SUSTAINED)

    def _limit_validations(self, parts: Parts, token_s: float) -> None:
        """Let each validation of a new run take a part of the time at most; `token_s`: its seconds per token."""
        validation = parts.validation
        wanted = validation.tokens(validation.compared_tokens)
        most = MOST_COMPARED_SHARE * self.total_s / max(token_s, 1e-9)
        validation.limit(max(int(most), parts.tokens_per_window))
        if (limited := validation.tokens(validation.compared_tokens)) < wanted:
            self._session.emit(_limited_message(wanted, limited))

    def _warn(self, parts: Parts, end: int, warmup: int) -> None:
        """Warn if the run has hardly any steps, or repeats its text too often."""
        if end < 2 * max(_FEWEST_WARMUP_STEPS, warmup):
            batch_size = self._config.train.batch_size
            self._session.emit(_few_steps_message(self.total_s, end, warmup, batch_size, parts.tokens_per_window))
        said = self._chosen if self._chosen and self._chosen.steps == end else None
        passes = said.passes if said else end / max(parts.batches.steps_per_epoch, 1e-9)
        repeated = repetition(passes, is_trained=parts.is_trained, is_timed=True)
        if repeated:
            self._session.emit(Message(**repeated._asdict()))

    def first_hooks(self) -> list[Hook]:
        """The hook that settles the plan after each step."""
        assert self.deadline is not None
        return [DeadlineHook(self.deadline, self._settled)]

    def last_hooks(self) -> list[Hook]:
        """The hook after which the next step begins."""
        assert self.deadline is not None
        return [StepBeginHook(self.deadline)]

    def validates_all(self) -> bool:
        """Whether there is time to validate on all tokens at the end; if not, this is logged."""
        if self._costs is None or self._costs.validates_all:
            return True
        self._session.emit(
            Message(
                level="info",
                code="part-validated",
                text="The last validation covers a part of the text: the whole would take too much of the time.",
                hint="Set a smaller data.validation for all of it, or a longer time.",
                step=self._session.step,
            )
        )
        return False

    def used_s(self) -> float:
        """The seconds of the time budget that the run has used up."""
        return self._clock()

    def fields(self) -> dict[str, Any]:
        """The fields of a `run` event about the time budget."""
        last = self._segments[-1]
        decay_from = -1 if last.decay_from is None else last.decay_from
        return {"time_s": self.total_s, "warmup_steps": last.warmup_steps, "decay_from": decay_from}

    def _settled(self, end: int, decay_from: int | None) -> None:
        deadline, session = self.deadline, self._session
        assert deadline is not None
        self._segments[-1] = now = self._segments[-1]._replace(end=end, decay_from=decay_from)
        before, self._last = self._last, now
        begins = before is not None and decay_from is not None and before.decay_from is None
        is_cut = before is not None and before.decay_from is not None and end < before.end
        if not (begins or is_cut or deadline.used_s - self._told_at_s >= _ANNOUNCE_S):
            return
        self._told_at_s = deadline.used_s
        event = Run(status="running", session=session.number, step=session.step, settled_steps=end, **self.fields())
        session.emit(event)
        if is_cut:
            session.emit(_cut_message(self.total_s, end))
        elif begins:
            if decay_from is not None and decay_from < end:
                session.emit(_decay_message(decay_from, end))
        elif (expected := self._expected_end) is not None and not 1 / _FAR < end / expected < _FAR:
            session.emit(_moved_message(session.step, expected, end))
            self._expected_end = None


def warmup_within(share: float, steps: int) -> int:
    """The warm-up steps of a timed run that is expected to have `steps` steps; `share` is schedule.warmup.

    A short run warms up over more than its share, up to a fifth of its steps.
    """
    if not share:
        return 0
    return max(round(share * steps), min(_FEWEST_WARMUP_STEPS, int(_MOST_WARMUP_SHARE * steps)))


def _few_steps_message(total_s: float, steps: int, warmup: int, batch_size: int, context: int) -> Message:
    smaller = (
        f"a smaller train.batch_size (now {batch_size}) or model.context"
        if batch_size > 1
        else "a smaller model.context"
    )
    rises = f", and the learning rate rises in the first {warmup:,} of them" if warmup else ""
    return Message(
        level="warning",
        code="few-steps",
        text=f"Only about {plural(steps, 'step')} fit{'s' if steps == 1 else ''} into {short(total_s)}{rises}.",
        why="So few steps hardly change the model.",
        hint=f"Give a longer time, or make the steps shorter with {smaller} (now {context:,}).",
    )


def _limited_message(wanted: int, limited: int) -> Message:
    return Message(
        level="info",
        code="validation-limited",
        text=f"Each validation covers {plural(limited, 'token')}, not {wanted:,}: more would take too much of the time.",
        hint="Give a longer time to validate more.",
    )


def _decay_message(decay_from: int, end: int) -> Message:
    return Message(
        level="info",
        code="decay",
        text=f"The decay begins at step {decay_from:,}; the run ends at step {end:,}.",
        why="The time that is left is what the decay of the learning rate needs.",
        step=decay_from,
    )


def _moved_message(step: int | None, expected: int, end: int) -> Message:
    return Message(
        level="info",
        code="horizon",
        text=f"The run will have about {plural(end, 'step')}, not {expected:,}.",
        why=f"Steps, and the work between them such as validations and saves, take {'less' if end > expected else 'more'}"
        " time than was expected before training.",
        step=step,
    )


def _cut_message(total_s: float, step: int) -> Message:
    return Message(
        level="warning",
        code="deadline",
        text=f"The run ends at step {step:,}, before its learning rate has decayed, to stay within {short(total_s)}.",
        why="This machine became much slower while the learning rate fell.",
        hint="`seedbed resume RUN --more-steps N` trains it further.",
        step=step,
    )


def limit_preparation(session: Session, total_s: float, clock: Callable[[], float]) -> Callable[[], None]:
    """A function for long work before training. It handles requests, and raises SeedbedError when the time is nearly over."""

    def check() -> None:
        session.check_requests()
        if clock() > 0.6 * total_s:
            raise SeedbedError(
                f"The time of {short(total_s)} does not suffice: preparing the text has taken {short(clock())} and is not done.",
                "Start it again: what has been prepared is kept, and preparation continues there. Or give a longer time, or less "
                "text with data.max_documents.",
            )

    return check
