"""What the events of a run add up to. Knows neither files nor processes nor screens.

A session that starts again at step s makes later steps of earlier sessions void: they are folded away here.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from seedbed import events
from seedbed.events import Record
from seedbed.runs.costs import Costs
from seedbed.runs.statuses import ENDED, IDLE

_SPEED_STEPS = 64
_KEPT_EVALS = 128
_KEPT_LEFT = 128
_KEPT_MESSAGES = 20
LONGEST_GAP_S = 60.0
"""Events of a live session are closer together: more is a sleeping machine or a stepped clock, and does not count."""


class Score(msgspec.Struct, frozen=True):
    """A validation: step and mean loss in nats per token. `full` where it scored all of the validation text."""

    step: int
    loss: float
    full: bool = True


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint that was written and not deleted since. `loss` is that of the validation at its step, if there was one."""

    step: int
    path: str
    best: bool = False
    loss: float | None = None
    full: bool = True
    folder: str = ""
    """Where it was set aside, within the folder of checkpoints; "" for one that was not."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return _name(self.path)


class View(msgspec.Struct, omit_defaults=True):
    """A fold of events, record by record. Small enough to be kept in a snapshot, whatever the run's length."""

    offset: int = 0
    n: int = -1
    status: str = "queued"
    code: str | None = None
    """Why the status is what it is, and which run a queued one waits for: see events.Run."""
    waits_for: str | None = None
    reason: str | None = None
    hint: str | None = None
    session: int = 0
    run: dict[str, Any] = {}
    """What the run events said last of each thing: pid, device, precision, steps, ..."""
    start_step: int = 0
    step: int = 0
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    tokens: int = 0
    recent: list[tuple[int, float]] = []
    """(tokens so far, seconds of the step) of this session's last steps; what the speed is taken from."""
    session_steps: int = 0
    costs: Costs = msgspec.field(default_factory=Costs)
    """What this session spent beside its steps."""
    scores: list[Score] = []
    """Validations that can be compared: over a part of the text where any was, else over all of it."""
    best_scores: list[Score] = []
    final_score: Score | None = None
    """The last validation over all of the text, where others scored only a part."""
    checkpoints: list[Saved] = []
    left: list[Saved] = []
    """Checkpoints of steps that a later session made void."""
    begun: list[tuple[int, int]] = []
    """(session, step) of the beginnings that decide which steps are in force; both ascend."""
    phases: list[str] = []
    """Stretches of work that are open, the innermost last."""
    progress: dict[str, Any] | None = None
    """The last data event of the phase at hand: stage, done, total, unit."""
    sample: dict[str, Any] | None = None
    opening: str = ""
    """How texts of the run's dataset begin: a prompt that fits it."""
    messages: list[dict[str, Any]] = []
    hardware: dict[str, Any] | None = None
    started: float | None = None
    updated: float | None = None
    elapsed_s: float = 0.0

    def add(self, record: Record) -> None:
        """Fold one record in. Unknown kinds only move the clock."""
        self.n = max(self.n, record.n)
        event = record.event
        if isinstance(event, events.Run) and event.session != self.session:
            self._new_session(event.session)
        elif self.updated is not None and self.status not in IDLE:
            self.elapsed_s += min(max(record.t - self.updated, 0.0), LONGEST_GAP_S)
        self.updated = record.t
        if self.started is None:
            self.started = record.t
        if event is not None:
            self.costs.add(event)
        if isinstance(event, events.Step):
            self._step(event)
        elif isinstance(event, events.Run):
            self._run(event)
        elif isinstance(event, events.Eval):
            self._eval(event)
        elif isinstance(event, events.Checkpoint):
            self._checkpoint(event)
        elif isinstance(event, events.Phase):
            self._phase(event)
        elif isinstance(event, events.Data):
            self.progress = {"stage": event.stage, "done": event.done, "total": event.total, "unit": event.unit}
            self.opening = event.opening or self.opening
        elif isinstance(event, events.Message):
            self.messages = [*self.messages, record.raw][-_KEPT_MESSAGES:]
        elif isinstance(event, events.Sample):
            self.sample = record.raw
        elif isinstance(event, events.Hardware):
            self.hardware = record.raw

    def _new_session(self, session: int) -> None:
        self.session = session
        self.session_steps = 0
        self.recent = []
        self.costs = Costs()
        self.code = self.waits_for = self.reason = self.hint = self.progress = None
        self.phases = []
        self.messages = []

    def _run(self, event: events.Run) -> None:
        self.status = event.status
        self.code, self.waits_for = event.code, event.waits_for
        self.reason, self.hint = event.reason, event.hint
        said = {name: getattr(event, name) for name in event.__struct_fields__}
        for name in ("status", "session", "step", "code", "waits_for", "reason", "hint"):
            del said[name]
        self.run = self.run | {name: value for name, value in said.items() if value is not None}
        if event.status == "running" and event.steps is not None:
            self._begin(event)
        if event.status in ENDED:
            self.phases = []
            self.progress = None

    def _begin(self, event: events.Run) -> None:
        """A session declared from which step it goes on: forget what lies beyond."""
        step = event.step
        self.start_step = step
        self.begun = [each for each in self.begun if each[1] < step] + [(event.session, step)]
        gone = [saved for saved in self.checkpoints if saved.step > step]
        self.checkpoints = [saved for saved in self.checkpoints if saved.step <= step]
        self.left = [*self.left, *gone][-_KEPT_LEFT:]
        if event.left:
            self.left = [saved if saved.folder else _moved(saved, event.left) for saved in self.left]
        self.scores = [score for score in self.scores if score.step <= step]
        self.best_scores = [score for score in self.best_scores if score.step <= step]
        if self.final_score is not None and self.final_score.step > step:
            self.final_score = None
        if self.step > step:
            self.loss = self.grad_norm = self.lr = None
            self.tokens = step * int(self.run.get("tokens_per_step") or 0)
        self.step = step

    def reaches(self, session: int, step: int) -> bool:
        """Whether a step that a session took is in force: no later session began before it."""
        return all(begun >= step for later, begun in self.begun if later > session)

    def _step(self, event: events.Step) -> None:
        self.step = event.step
        self.loss, self.lr, self.grad_norm = _finite(event.loss), _finite(event.lr), _finite(event.grad_norm)
        self.tokens = event.tokens
        self.session_steps += 1
        self.recent.append((event.tokens, event.step_s if math.isfinite(event.step_s) else 0.0))
        if len(self.recent) > 2 * _SPEED_STEPS:
            del self.recent[:_SPEED_STEPS]

    def _phase(self, event: events.Phase) -> None:
        self.progress = None
        if not event.done:
            self.phases = [*self.phases, event.name]
        elif event.name in self.phases:
            self.phases = self.phases[: len(self.phases) - 1 - self.phases[::-1].index(event.name)]

    def _eval(self, event: events.Eval) -> None:
        if not math.isfinite(event.loss):
            return
        score = Score(event.step, event.loss, event.full)
        if score.full and any(not each.full for each in self.scores):
            self.final_score = score
            return
        if not score.full and any(each.full for each in self.scores):
            self.final_score, self.scores, self.best_scores = self.scores[-1], [], []
        self.scores = [*(each for each in self.scores if each.step != score.step), score][-_KEPT_EVALS:]
        if not self.best_scores or score.loss < self.best_scores[-1].loss:
            self.best_scores = [*self.best_scores, score][-_KEPT_EVALS:]

    def _checkpoint(self, event: events.Checkpoint) -> None:
        gone = {_name(path) for path in event.deleted}
        kept = [saved for saved in self.checkpoints if saved.name not in gone and saved.step != event.step]
        gone.add(_name(event.path))
        self.left = [saved for saved in self.left if saved.folder or saved.name not in gone]
        if event.best:
            kept = [_moved(saved, saved.folder, best=False) for saved in kept]
        score = next((each for each in reversed(self.scores) if each.step == event.step), None)
        loss, full = (score.loss, score.full) if score else (None, True)
        self.checkpoints = [*kept, Saved(event.step, event.path, event.best, loss, full)]

    def best(self) -> Score | None:
        """The lowest validation loss of the run: in force, or of a checkpoint that was left behind."""
        whole = [saved for saved in self.left if not saved.folder.startswith("damaged")]
        left = [Score(saved.step, saved.loss, saved.full) for saved in whole if saved.loss is not None]
        found = [*self.best_scores[-1:], *left]
        alike = [score for score in found if not score.full] or found
        return min(alike, key=lambda score: score.loss, default=None)

    @property
    def steps(self) -> int | None:
        """The horizon in force: the step at which the last session means to end."""
        value = self.run.get("steps")
        return value if isinstance(value, int) else None

    def seconds_per_step(self) -> float | None:
        """Mean time of this session's recent steps, validation and saving left out; None before there are any.

        The first steps of a session carry warm-up and compilation, so they count only while there is nothing else.
        """
        timed = [seconds for _, seconds in self._timed()]
        total = sum(timed)
        return total / len(timed) if timed and total > 0 else None

    def tokens_per_second(self) -> float | None:
        """Trained tokens per second over the same steps."""
        timed = self._timed()
        seconds = sum(each for _, each in timed[1:])
        if len(timed) > 1 and seconds > 0:
            return (timed[-1][0] - timed[0][0]) / seconds
        per_step, each_s = self.run.get("tokens_per_step"), self.seconds_per_step()
        return per_step / each_s if per_step and each_s else None

    def _timed(self) -> list[tuple[int, float]]:
        if self.session_steps == len(self.recent) and self.session_steps > 8:
            return self.recent[3:][-_SPEED_STEPS:]
        return self.recent[-_SPEED_STEPS:]

    def remaining_s(self) -> float | None:
        """Seconds that are left at this session's speed, never negative; None while that is unknown.

        Steps, validations, samples and checkpoints count, each by what it took before.
        """
        if self.status in ENDED or self.steps is None:
            return None
        each_s = self.seconds_per_step()
        if each_s is None:
            return None
        validated = bool(self.scores) and self.scores[-1].step >= self.step
        beside = self.costs.ahead_s(self.run, self.step, each_s, self.phases, self.progress, validated=validated)
        return max(self.steps - self.step, 0) * each_s + beside

    def why_early(self) -> str:
        """Why a run is completed short of its horizon, in a sentence; "" for others."""
        if self.status != "completed" or self.steps is None or self.step >= self.steps:
            return ""
        told = [str(each.get("text")) for each in self.messages if each.get("code") == "early-stop"]
        return told[-1] if told else "Stopped early: the validation loss fell no further."

    def epoch(self, step: int | None) -> float | None:
        """Passes over the training text at a step."""
        per_epoch = self.run.get("steps_per_epoch")
        return step / per_epoch if step is not None and per_epoch else None

    def warnings(self) -> list[str]:
        """What this session warned of: at which step, what, why, what to do, each in a line."""
        lines: dict[str, str] = {}
        for each in self.messages:
            if each.get("level") in ("warning", "error") and not self._refuted(each):
                line = " ".join(str(each[key]) for key in ("text", "why", "hint") if each.get(key))
                lines.setdefault(line, f"At step {each['step']}: {line}" if each.get("step") else line)
        return list(lines.values())

    def _refuted(self, message: dict[str, Any]) -> bool:
        """Whether a message spoke of overfitting, and a validation since then was better than all before."""
        step, best = message.get("step"), self.best_scores[-1:]
        return message.get("code") == "overfitting" and isinstance(step, int) and bool(best) and best[0].step > step

    def summary(self) -> dict[str, Any]:
        """The flat part of a status that events alone can tell."""
        last, best = self.scores[-1:], self.best()
        saved = self.checkpoints[-1:]
        said = self.run.get
        return {
            "code": self.code,
            "waits_for": self.waits_for,
            "reason": self.reason,
            "hint": self.hint,
            "session": self.session,
            "phase": self.phases[-1] if self.phases else None,
            "step": self.step,
            "steps": self.steps,
            "epoch": self.epoch(self.step),
            "epochs": self.epoch(self.steps),
            "loss": self.loss,
            "val_loss": last[0].loss if last else None,
            "best_val_loss": best.loss if best else None,
            "best_step": best.step if best else None,
            "final_val_loss": self.final_score.loss if self.final_score else None,
            "final_val_step": self.final_score.step if self.final_score else None,
            "lr": self.lr,
            "grad_norm": self.grad_norm,
            "tokens": self.tokens,
            "tokens_per_s": self.tokens_per_second(),
            "step_s": self.seconds_per_step(),
            "parameters": said("parameters"),
            "device": said("device"),
            "device_asked": said("device_asked"),
            "device_name": said("device_name"),
            "precision": said("precision"),
            "compile": said("compile"),
            "threads": said("threads"),
            "schedule": said("schedule"),
            "pid": said("pid"),
            "host": said("host"),
            "simulated": bool(said("simulated")),
            "warnings": self.warnings(),
            "started": self.started,
            "updated": self.updated,
            "elapsed_s": self.elapsed_s,
            "checkpoint": saved[0].path if saved else None,
            "checkpoint_step": saved[0].step if saved else None,
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _moved(saved: Saved, folder: str, *, best: bool | None = None) -> Saved:
    return Saved(saved.step, saved.path, saved.best if best is None else best, saved.loss, saved.full, folder)


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def fold(records: list[Record]) -> View:
    """The view of a list of records."""
    view = View()
    for record in records:
        view.add(record)
    return view
