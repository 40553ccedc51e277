"""Builds the View of a run (its state) from its events: its status, step, losses, checkpoints, progress and so on.

runs/superseded.py decides which steps are current; the View drops the superseded ones.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from seedbed import events
from seedbed.events import MOST_METRICS, Record
from seedbed.runs.clock import worked_s
from seedbed.runs.cluster import Cluster
from seedbed.runs.saved import Saved, after_going_back, after_saving
from seedbed.runs.speed import Speed
from seedbed.runs.statuses import ENDED, IDLE
from seedbed.runs.superseded import begins_at, goes_back_to, last_current_step, with_beginning
from seedbed.runs.validations import Validation, Validations, comparable

_KEPT_MESSAGES = 20
_KEPT_PLUGINS = 10
FAILURE = "failure"
"""The code of the message of an unplanned interruption of a simulated run."""


class View(msgspec.Struct, omit_defaults=True):
    """The state of a run, built from the events in its log one at a time. Its size does not grow with the run."""

    offset: int = 0
    n: int = -1
    status: str = "queued"
    code: str | None = None
    """The reason for the status, for programs; `waits_for` is the id of the run that a queued run waits for (see
    events.Run)."""
    waits_for: str | None = None
    reason: str | None = None
    hint: str | None = None
    session: int = 0
    run: dict[str, Any] = {}
    """The last value of each field of the `run` events: pid, device, precision, steps, ..."""
    start_step: int = 0
    step: int = 0
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    tokens: int = 0
    metrics: dict[str, float | None] = {}
    """The last value of each open metric (a metric that Seedbed does not know by name), those of validations as
    val_NAME; None if not finite."""
    speed: Speed = msgspec.field(default_factory=Speed)
    """The speed of this session."""
    validations: Validations = msgspec.field(default_factory=Validations)
    checkpoints: list[Saved] = []
    left: list[Saved] = []
    """The superseded checkpoints: of steps that a resume from an earlier step replaced."""
    begun: list[tuple[int, int]] = []
    """(session, step at which it began) of the sessions that decide which steps are current; both ascend."""
    phases: list[str] = []
    """The names of the phases that have begun and not ended, the innermost last."""
    progress: dict[str, Any] | None = None
    """The last data event of the current phase: its stage, done, total and unit."""
    work_began: tuple[float, int] | None = None
    """`elapsed_s` and the amount done at this session's first event with the progress of a whole task (Data.whole)."""
    sample: dict[str, Any] | None = None
    opening: str = ""
    """The typical beginning of a text in the run's dataset, usable as a prompt."""
    answers: bool = False
    """Whether most rows of the run's dataset are conversations, so that a prompt is a message of a chat."""
    messages: list[dict[str, Any]] = []
    """The last messages of this session; of a simulated run, of all sessions."""
    forgotten_warnings: int = 0
    """Warnings of the same sessions that are no longer among `messages`."""
    plugins: list[dict[str, Any]] = []
    """The last plugin events of this session: name, text, ok."""
    hardware: dict[str, Any] | None = None
    cluster: Cluster = msgspec.field(default_factory=Cluster)
    simulated: bool = False
    """Whether the times of this session's events are simulated: seconds on the run's own clock."""
    started: float | None = None
    updated: float | None = None
    """The time of the last event in unix seconds; for a simulated run, in seconds on its own clock."""
    elapsed_s: float = 0.0

    def add(self, record: Record) -> None:
        """Update the state with one log record. Records of an unknown kind only advance the time."""
        self.n = max(self.n, record.n)
        event = record.event
        if isinstance(event, events.Run):
            self._clock(event)
        self.elapsed_s += worked_s(self.updated, record.t, self.status in IDLE, self.simulated)
        self.updated = record.t
        if self.started is None:
            self.started = record.t
        if event is not None:
            self.speed.costs.add(event)
        if isinstance(event, events.Step):
            self._step(event)
        elif isinstance(event, events.Run):
            self._run(event)
        elif isinstance(event, events.Eval):
            self.validations.add(event)
            self._take_metrics(event.metrics, "val_")
        elif isinstance(event, events.Checkpoint):
            validation = self.validations.at(event.step)
            self.checkpoints, self.left = after_saving(event, self.checkpoints, self.left, validation)
        elif isinstance(event, events.Phase):
            self._phase(event)
        elif isinstance(event, events.Data):
            self.progress = {"stage": event.stage, "done": event.done, "total": event.total, "unit": event.unit}
            self.opening = event.opening or self.opening
            self.answers = self.answers if event.answers is None else event.answers
            if event.whole and self.work_began is None:
                self.work_began = (self.elapsed_s, event.done)
        elif isinstance(event, events.Message):
            self._message(event, record.raw)
        elif isinstance(event, events.Sample):
            self.sample = record.raw
        elif isinstance(event, events.Hardware):
            self.hardware = record.raw
        elif isinstance(event, events.Node):
            self.cluster.add_node(event)
        elif isinstance(event, events.Comm):
            self.cluster.add_comm(event)
        elif isinstance(event, events.Plugin):
            plugin = {"name": event.name, "text": event.text, "ok": event.ok}
            self.plugins = [*self.plugins, plugin][-_KEPT_PLUGINS:]

    def _message(self, event: events.Message, raw: dict[str, Any]) -> None:
        messages = [*self.messages, raw]
        self.forgotten_warnings += sum(is_warning(each) for each in messages[:-_KEPT_MESSAGES])
        self.messages = messages[-_KEPT_MESSAGES:]
        self.cluster.interruptions += self.simulated and event.code == FAILURE

    def _clock(self, event: events.Run) -> None:
        """Restart the measurement of working time if `event` begins a session or declares that its times are simulated."""
        if event.session != self.session:
            self._new_session(event.session)
            self.updated = None
        if event.simulated and not self.simulated:
            self.simulated, self.updated = True, None

    def _new_session(self, session: int) -> None:
        self.session = session
        self.simulated = False
        self.speed = Speed()
        self.code = self.waits_for = self.reason = self.hint = self.progress = None
        self.phases = []
        self.work_began = None
        self.plugins = []
        if not self.run.get("simulated"):  # the clock and the cluster of a simulated run go on as if it had not stopped
            self.messages, self.forgotten_warnings = [], 0
            self.cluster.states, self.cluster.reasons = {}, {}

    def _run(self, event: events.Run) -> None:
        self.status = event.status
        self.code, self.waits_for = event.code, event.waits_for
        self.reason, self.hint = event.reason, event.hint
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        for name in ("status", "session", "step", "code", "waits_for", "reason", "hint"):
            del fields[name]
        settled = fields.pop("settled_steps")
        self.run = self.run | {name: value for name, value in fields.items() if value is not None}
        if settled is not None:
            self.run["steps"] = settled
        begins = begins_at(event)
        if begins is not None:
            self.start_step = begins
            self.begun = with_beginning(self.begun, event.session, begins)
            self._void(begins, event.left)
            self.step = begins
        if event.status in ENDED:
            self.phases = []
            self.progress = None

    def _void(self, step: int, folder: str | None = None) -> None:
        """Drop what was logged for steps after `step`. Their checkpoints were moved into the subfolder `folder`, if given."""
        self.checkpoints, self.left = after_going_back(step, folder, self.checkpoints, self.left)
        self.validations.drop_after(step)
        if self.step > step:
            self.loss = self.grad_norm = self.lr = None
            self.metrics = dict.fromkeys(self.metrics)
            self.tokens = step * int(self.run.get("tokens_per_step") or 0)

    def reaches(self, session: int, step: int) -> bool:
        """Whether a step of a session is current: no later session began before that step."""
        return last_current_step(self.begun, session, step) == step

    def _step(self, event: events.Step) -> None:
        back = goes_back_to(event.step, self.step)
        if back is not None:
            self._void(back)
        self.step = event.step
        self.loss, self.lr, self.grad_norm = _finite(event.loss), _finite(event.lr), _finite(event.grad_norm)
        self.speed.add(event, self.tokens)
        self.tokens = event.tokens
        if event.metrics:
            self._take_metrics(event.metrics, "")

    def _take_metrics(self, metrics: dict[str, float] | None, prefix: str) -> None:
        """Store the values of open metrics, by `prefix` + name. Only the first MOST_METRICS names of a run are kept."""
        for name, value in (metrics or {}).items():
            key = prefix + name
            if key in self.metrics or len(self.metrics) < MOST_METRICS:
                self.metrics[key] = _finite(value)

    def _phase(self, event: events.Phase) -> None:
        self.progress = None
        self._take_metrics(event.metrics, "")
        if not event.done:
            self.phases = [*self.phases, event.name]
        elif event.name in self.phases:
            self.phases = self.phases[: len(self.phases) - 1 - self.phases[::-1].index(event.name)]

    def best(self) -> Validation | None:
        """The validation with the lowest loss, among those that are not superseded and those of superseded checkpoints."""
        whole = [saved for saved in self.left if not saved.folder.startswith("damaged")]
        left = [Validation(saved.step, saved.loss, saved.full) for saved in whole if saved.loss is not None]
        found = comparable([*self.validations.best[-1:], *left])
        return min(found, key=lambda each: each.loss, default=None)

    @property
    def steps(self) -> int | None:
        """The last planned step of the current session; None while unknown."""
        value = self.run.get("steps")
        return value if isinstance(value, int) else None

    @property
    def steps_change(self) -> bool:
        """Whether `steps` still follows the speed: a run with a time settles it when the learning rate begins to decay."""
        return bool(self.run.get("time_s")) and self.run.get("decay_from", -1) < 0 and self.status not in ENDED

    @property
    def session_steps(self) -> int:
        """The number of steps that this session has trained."""
        return self.speed.steps

    def seconds_per_step(self) -> float | None:
        """The mean seconds per step of this session's last steps; None before the first (see Speed.seconds_per_step)."""
        return self.speed.seconds_per_step()

    def tokens_per_second(self) -> float | None:
        """The processed tokens per second of this session's last steps; None if unknown (see Speed.tokens_per_second)."""
        return self.speed.tokens_per_second(self.run.get("tokens_per_step"))

    def remaining_s(self) -> float | None:
        """The seconds until the run ends, at this session's speed, never negative; None while unknown.

        For a simulated run they are seconds of its own clock.
        """
        if self.status in ENDED:
            return None
        if self.steps is None:
            return self._remaining_work_s()
        last = self.validations.last
        validated = last is not None and last.step >= self.step
        return self.speed.remaining_s(self.run, self.step, self.phases, self.progress, validated=validated)

    def _remaining_work_s(self) -> float | None:
        """The seconds until a task ends, at the mean speed of this session; None while it is unknown."""
        if self.work_began is None or self.progress is None or not self.progress["total"]:
            return None
        began_s, before = self.work_began
        done, total = self.progress["done"], self.progress["total"]
        if done <= before:
            return None
        return float((self.elapsed_s - began_s) / (done - before) * max(total - done, 0))

    def epoch(self, step: int | None) -> float | None:
        """How many passes over the training text the run has made at `step`, such as 1.5; None if unknown."""
        per_epoch = self.run.get("steps_per_epoch")
        return step / per_epoch if step is not None and per_epoch else None


def is_warning(message: dict[str, Any]) -> bool:
    """Whether a message (the raw fields of its event) is a warning or an error."""
    return message.get("level") in ("warning", "error")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def view_of(records: list[Record]) -> View:
    """Build the View (the state of a run) from a list of log records."""
    view = View()
    for record in records:
        view.add(record)
    return view
