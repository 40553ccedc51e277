"""A writer of event logs, valid and damaged ones, and a simple reader of them as the ground truth."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from seedbed import events
from seedbed.events import Event, encode
from seedbed.runs.store import RunDir, Store

LONGEST_GAP_S = 60.0
NOT_EVENTS = (
    b"",
    b"   ",
    b"hello",
    b"[1]",
    b"null",
    b'"step"',
    b"\xff\xfe\x00",
    b'{"kind":3}',
    b'{"no":"kind"}',
    b'{"kind":"step","t":"noon","step":7}',
)
"""Lines that are not events."""


class LogWriter:
    """Writes the event log of a run, with its own clock."""

    def __init__(self, run: RunDir, seed: int = 0) -> None:
        self.run = run
        self.random = random.Random(seed)
        self.n = 0
        self.t = 1.7e9 + seed
        tokens = 0
        self.tokens = [0]
        for _ in range(5000):
            tokens += self.random.randint(100, 900)
            self.tokens.append(tokens)

    def append(self, data: bytes) -> None:
        with self.run.events.open("ab") as file:
            file.write(data)

    def line(self, event: Event, after: float = 0.1) -> bytes:
        self.t += after
        self.n += 1
        return encode(event, self.n - 1, self.t)

    def log(self, event: Event, after: float = 0.1) -> None:
        self.append(self.line(event, after))

    def begin(self, session: int, step: int, steps: int = 10_000, after: float = 0.1) -> None:
        self.log(events.Run(status="running", session=session, pid=7), after)
        self.log(events.Phase(name="prepare"), 0.7)
        self.log(events.Run(status="running", session=session, step=step, steps=steps), 0.4)

    def step_event(self, step: int, loss: float | None = None, step_s: float = 0.1) -> events.Step:
        value = self.random.uniform(1, 9) if loss is None else loss
        grad = self.random.uniform(0, 5)
        return events.Step(
            step=step, loss=value, lr=1e-3 * step, grad_norm=grad, tokens=self.tokens[step], step_s=step_s
        )

    def steps(self, first: int, last: int, after: float = 0.1) -> None:
        """Log many steps in one write."""
        self.append(b"".join(self.line(self.step_event(step), after) for step in range(first, last + 1)))

    def eval(self, step: int, loss: float = 3.0, after: float = 0.1, *, best: bool = False) -> None:
        self.log(events.Eval(step=step, loss=loss, perplexity=2.0, tokens=10, best=best), after)

    def checkpoint(self, step: int, *, best: bool = False) -> None:
        self.log(events.Checkpoint(step=step, path=f"checkpoints/step-{step:08d}", best=best))

    def random_log(self, num_lines: int) -> bytes:
        """A random log with sessions, restarts, steps that go back, and damaged lines. It is returned, not written."""
        rng, log = self.random, bytearray()
        session, step = 0, 0
        restarts = max(2, num_lines // 120)
        while log.count(b"\n") < num_lines:
            session += rng.choice((1, 1, 1, 2))
            log += self.line(events.Run(status="running", session=session, pid=7), rng.uniform(0, 5000))
            if rng.random() < 0.9:
                start = rng.choice((step, step, 0, rng.randint(0, step), rng.randint(0, step), step + 3))
                log += self.line(events.Phase(name="prepare"), rng.uniform(0, 90))
                log += self.line(events.Run(status="running", session=session, step=start, steps=9000), 0.5)
                step = start
            for _ in range(rng.randint(0, 2 * num_lines // restarts)):
                step = self._add_random_event(log, step, session)
        return bytes(log)

    def _add_random_event(self, log: bytearray, step: int, session: int) -> int:
        rng = self.random
        after = rng.choice((0.01, 0.1, 0.1, 0.1, 1.0, 30.0, 59.0, 61.0, 500.0, -3.0)) * rng.random()
        draw = rng.random()
        if draw < 0.85:
            step = max(0, step + rng.choice((1,) * 60 + (2, 5, 0, -1, -20)))
            if step >= len(self.tokens):
                return step - 1
            loss = rng.choice((None,) * 20 + (math.nan, math.inf, -math.inf, 1e9))
            log += self.line(self.step_event(step, loss, rng.choice((0.1, 0.3, 0.0, math.nan, 7.0))), after)
        elif draw < 0.88:
            loss = rng.choice((2.0, 3.0, math.nan))
            scored = events.Eval(step=step, loss=loss, perplexity=2.0, tokens=5, best=rng.random() < 0.5)
            log += self.line(scored, after)
        elif draw < 0.90:
            log += self.line(events.Checkpoint(step=step, path=f"step-{step:08d}", best=rng.random() < 0.3), after)
        elif draw < 0.92:
            log += self.line(events.Hardware(rss_bytes=5), after)
        elif draw < 0.94:
            torn = self.line(self.step_event(min(step + 1, 4000)), after)
            log += torn[: rng.randrange(1, len(torn) - 1)] + b"\n"
        elif draw < 0.97:
            log += rng.choice(NOT_EVENTS) + b"\n"
        elif draw < 0.98:
            log += b'{"v":9,"n":1,"t":%f,"kind":"teleport","step":"mars"}\n' % (self.t + after)
            log += b'{"v":9,"n":1,"t":%f,"kind":"step","step":%s}\n' % (
                self.t + after,
                rng.choice((b'"seven"', b"7.5", b"-3", b"9" * 30)),
            )
        else:
            log += self.line(events.Run(status=rng.choice(("paused", "running")), session=session), after)
        return step


class TrueStep(NamedTuple):
    """A step in force. `new_tokens` is None if the step before it is not in force."""

    step: int
    tokens: int
    time: float
    new_tokens: int | None
    loss: float | None
    lr: float | None
    grad_norm: float | None
    seconds: float | None

    def x(self, axis: str) -> float:
        return float({"step": self.step, "tokens": self.tokens, "time": self.time}[axis])

    def weight_and_total(self, key: str) -> tuple[float, float] | None:
        """None if the step has no finite value."""
        if key == "tokens_per_s":
            if self.new_tokens is None or not self.seconds:
                return None
            return self.seconds, float(self.new_tokens)
        value = {"loss": self.loss, "lr": self.lr, "grad_norm": self.grad_norm}[key]
        return None if value is None else (1.0, value)


class TrueMark(NamedTuple):
    """A validation, a checkpoint or a restart in force."""

    step: int
    tokens: int
    time: float
    loss: float | None
    best: bool


class Truth:
    """The ground truth: the content of a log, read line by line with the JSON module of the standard library."""

    def __init__(self, log: bytes) -> None:
        self.steps: list[TrueStep] = []
        self.validations: list[TrueMark] = []
        self.checkpoints: list[TrueMark] = []
        self.restarts: list[TrueMark] = []
        self._session = 0
        self._begun: int | None = None
        self._last: tuple[int, int | None] = (-1, None)
        self._clock = 0.0
        self._idle = False
        self._t: float | None = None
        for line in log.split(b"\n")[:-1]:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if (
                isinstance(event, dict)
                and isinstance(event.get("kind"), str)
                and isinstance(event.get("t", 0.0), float)
            ):
                self._add(event)

    def _add(self, event: dict[str, Any]) -> None:
        kind, t = event["kind"], event.get("t", 0.0)
        another_session = kind == "run" and event["session"] != self._session
        if self._t is not None and not another_session and not self._idle:
            self._clock += min(max(t - self._t, 0.0), LONGEST_GAP_S)
        self._t = t
        if kind in ("run", "step"):
            self._idle = event.get("status") in ("queued", "paused")
        if kind == "run":
            self._session = event["session"]
            if event["status"] == "running" and "steps" in event:
                self._void(event.get("step", 0))
                if self._begun not in (None, self._session):
                    self.restarts.append(self._mark(event.get("step", 0), None, best=False))
                self._begun = self._session
        elif kind == "step" and isinstance(event["step"], int) and 0 <= event["step"] < 1 << 53:
            if event["step"] <= self._last[0]:
                self._void(event["step"] - 1)
            before = self._last[1] if self._last[0] == event["step"] - 1 else None
            tokens = event["tokens"]
            new = None if before is None else tokens - before
            values = (event[name] for name in ("loss", "lr", "grad_norm", "step_s"))
            self.steps.append(TrueStep(event["step"], tokens, self._clock, new, *values))
            self._last = event["step"], tokens
        elif kind == "eval" and event["loss"] is not None:
            self.validations.append(self._mark(event["step"], event["loss"], best=event.get("best", False)))
        elif kind == "checkpoint":
            self.checkpoints.append(self._mark(event["step"], None, best=event.get("best", False)))

    def _mark(self, step: int, loss: float | None, *, best: bool) -> TrueMark:
        return TrueMark(step, self.steps[-1].tokens if self.steps else 0, self._clock, loss, best)

    def _void(self, step: int) -> None:
        self.steps = [each for each in self.steps if each.step <= step]
        self.validations, self.checkpoints, self.restarts = (
            [mark for mark in marks if mark.step <= step]
            for marks in (self.validations, self.checkpoints, self.restarts)
        )
        if step <= 0:
            self._last = step, 0
        elif step != self._last[0]:
            self._last = step, None


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path).create("train", "alpha", "", {})


@pytest.fixture
def log_writer(run: RunDir) -> LogWriter:
    return LogWriter(run)


@pytest.fixture
def make_log_writer() -> type[LogWriter]:
    """Makes a log writer for another run or another seed."""
    return LogWriter


@pytest.fixture
def truth_of() -> type[Truth]:
    """Reads the ground truth from the bytes of a log."""
    return Truth
