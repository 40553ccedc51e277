"""The log of a run as lines: one for each notable event, and what its job and the libraries printed."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed import events, text
from seedbed.append_log import read_block, read_lines
from seedbed.events import Record, decode
from seedbed.files import explained
from seedbed.presentation import wording
from seedbed.runs.printed import last_stamp, without_stamp
from seedbed.runs.speed import SPEED_STEPS
from seedbed.runs.status import read_state, read_view
from seedbed.runs.store import RunDir
from seedbed.runs.superseded import begins_at
from seedbed.runs.view import View

SHORTEST_S, LONGEST_S = 5.0, 60.0
"""The bounds of the time between two lines of progress, which is a twelfth of the time since the job was started or
resumed. For a simulated run, which may cover months in a second, there is no upper bound."""
_BLOCK = 64 << 10
_EVENTS_BLOCK = 4 << 20
_STEP = re.compile(rb'\{"v":\d+,"n":\d+,"t":(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?),"kind":"step"')
_FIRST_LOOK = 256 << 10
"""Bytes at the end of the event log that are read first if only the last lines are needed."""


class LogLine(NamedTuple):
    """A line of the log of a run. For an event, `t` is its time (unix seconds) and `text` is printable.

    For output of the job, `raw` has the unchanged bytes without the time, including the newline if there is one, and
    `t` is None if the time is unknown.
    """

    t: float | None
    text: str
    style: str = ""
    raw: bytes = b""
    simulated: bool = False
    """Whether `t` is in seconds of a simulated run's own clock, not in unix seconds."""


def when(line: LogLine) -> str:
    """The time to show before a line, such as `05 Mar 14:30:12  `; "" if unknown."""
    if line.t is None:
        return ""
    if line.simulated:
        return f"simulated {text.duration(line.t)}  "
    return time.strftime("%d %b %H:%M:%S  ", time.localtime(line.t))


class Pace:
    """Decides which of many similar events get a line in the log: fewer the longer the job has been running."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._last: float | None = None
        self._next = 0.0

    def begin(self, t: float) -> None:
        """Start anew, as for a resumed job: count its time from `t` on, and give the next event a line."""
        self._began, self._last = t, None

    def show_next(self) -> None:
        """Give the next event a line, however soon it happens."""
        self._last = None

    def is_due(self, t: float) -> bool:
        """Whether an event at time `t` would get a line; always True if the clock was set back."""
        return self._last is None or not self._last <= t < self._next

    def due(self, t: float, *, simulated: bool) -> bool:
        """Whether an event at time `t` gets a line. If so, note this, so that the next events get none for a while."""
        if not self.is_due(t):
            return False
        self._began = t if self._began is None else self._began
        wait = max((t - self._began) / 12, SHORTEST_S)
        self._last, self._next = t, t + (wait if simulated else min(wait, LONGEST_S))
        return True


class Narrator:
    """Turns the events of a run into lines of text; training steps get one at most every few seconds."""

    def __init__(self) -> None:
        self._progress, self._comm, self._routine = Pace(), Pace(), Pace()
        self._told_of_saves = False
        """Whether a line says that most saves of a simulated run get none."""

    def tell(self, record: Record, view: View) -> list[tuple[str, str]]:
        """The lines of an event, each with its style. `view`, the state of the run, must already include the event."""
        event, t = record.event, record.t
        if isinstance(event, events.Run) and (event.pid is not None or event.simulated):
            self._progress.begin(t)
            self._comm.begin(t)
            self._routine.begin(t)
        if isinstance(event, events.Step):
            return [(wording.progress(view), "")] if self._progress.due(t, simulated=view.simulated) else []
        if view.simulated and isinstance(event, events.Comm):
            return []  # their times hardly change, and the status has the means
        if isinstance(event, events.Comm):
            return [(wording.comm(event), "dim")] if self._comm.due(t, simulated=view.simulated) else []
        if view.simulated and isinstance(event, events.Node) and event.state == "joined" and not event.reason:
            return []  # a message says that all nodes have joined
        routine = isinstance(event, events.Checkpoint | events.Eval | events.Node)
        if view.simulated and routine and not self._routine.due(t, simulated=True):
            return []  # months in a second have thousands of them
        if isinstance(event, events.Run) and begins_at(event) is not None:
            self._progress.show_next()
            return [(line, "") for line in wording.setting(event)]
        if isinstance(event, events.Phase):
            begins = not event.done and event.name in ("prepare", "init", "measure", "compile")
            return [(f"{text.stage(event.name)} ...", "")] if begins else []
        if isinstance(event, events.Data):
            whole = event.total is not None and event.done >= event.total
            shows = whole or self._progress.due(t, simulated=view.simulated)
            left = f", {text.duration(view.remaining_s())} left" if event.whole and view.remaining_s() else ""
            return [("  " + wording.data(event) + left, "")] if shows else []
        shown = wording.line(event) if event is not None else None
        if view.simulated and isinstance(event, events.Checkpoint) and not self._told_of_saves:
            self._told_of_saves = True
            return [(f"{wording.saved(event)}; most of the saves are not shown", "dim")]
        return [shown] if shown is not None else []

    def is_due(self, t: float) -> bool:
        """Whether a training step at time `t` would get a line."""
        return self._progress.is_due(t)


class RunLog:
    """Reads the log of a run as it grows: first the last lines, then new ones.

    `most` limits the first lines: at most that many of the events, and as many of the output (None: all).
    """

    def __init__(self, run: RunDir, most: int | None = None) -> None:
        self.run = run
        self._most = most
        self._narrator, self._view = Narrator(), View()
        self._offset: int | None = None
        """The byte of the event log up to which lines were returned."""
        self._skipped: deque[bytes] = deque(maxlen=SPEED_STEPS)
        """The last training steps that got no line; the speed in the next line is computed from them."""
        self._printed: int | None = None
        """The byte of the job's output up to which lines were returned."""
        self._printed_t: float | None = None
        """When the job printed the last output line that was returned."""

    def new(self, *, ended: bool = False) -> list[LogLine]:
        """The new lines since the last call: those of events, then output.

        An output line without a newline is kept for the next call, unless the run has `ended`. Raises SeedbedError if
        the log cannot be read.
        """
        return [*self._happened(), *self._printed_lines(ended)]

    # Events ----------------------------------------------------------------------------------------------------------

    def _happened(self) -> list[LogLine]:
        return self._last_lines() if self._offset is None else list(self._tell())

    def _last_lines(self) -> list[LogLine]:
        """Read the last lines of the event log: more and more of its end, until there are enough lines."""
        size = _size(self.run.events)
        span = _FIRST_LOOK
        known: View | None = None
        while True:
            start = 0 if self._most is None else max(size - span, 0)
            self._offset = start
            self._skipped.clear()
            self._narrator, self._view = Narrator(), View()
            if start:  # what earlier events set: the planned steps, the device
                known = known or read_view(self.run, read_state(self.run))
                self._view.run, self._view.session, self._view.status = known.run, known.session, "running"
                self._view.simulated = known.simulated
            lines = list(self._tell())
            if not start or (self._most is not None and len(lines) >= self._most):
                return lines[-self._most :] if self._most else [] if self._most == 0 else lines
            span *= 8

    def _tell(self) -> Iterator[LogLine]:
        """Yield the lines of the events after `_offset`. Most steps of a long run are skipped without being decoded."""
        while True:
            raws, self._offset = read_lines(self.run.events, self._offset or 0, _EVENTS_BLOCK)
            if not raws:
                return
            for raw in raws:
                t = _step_time(raw)
                if t is not None and not self._narrator.is_due(t):
                    self._skipped.append(raw)
                    continue
                for skipped in self._skipped:
                    if (before := decode(skipped)) is not None:
                        self._view.add(before)
                self._skipped.clear()
                if (record := decode(raw)) is not None:
                    self._view.add(record)
                    yield from self._lines_of(record)

    def _lines_of(self, record: Record) -> Iterator[LogLine]:
        for words, style in self._narrator.tell(record, self._view):
            yield LogLine(record.t, words, style, simulated=self._view.simulated)
        ends = wording.end(record.event) if isinstance(record.event, events.Run) else ""
        if ends:
            style = "red" if self._view.status == "failed" else ""
            yield LogLine(record.t, ends, style, simulated=self._view.simulated)

    # Output ----------------------------------------------------------------------------------------------------------

    def _printed_lines(self, ended: bool) -> Iterator[LogLine]:
        log = self.run.log
        if self._printed is None:
            self._printed = tail_start(log, self._most)
            self._printed_t = _time_before(log, self._printed)
        elif _size(log) < self._printed:
            self._printed, self._printed_t = 0, None  # the file was replaced
        while True:
            block, self._printed = read_block(log, self._printed, _BLOCK)
            if not block:
                break
            for raw in block.split(b"\n")[:-1]:  # a carriage return does not end a line
                yield self._as_line(raw + b"\n")
        # A long line without a newline is a progress bar, so it is returned without waiting for its end.
        waits = not ended and _size(log) - self._printed < _BLOCK
        rest = b"" if waits else _rest(log, self._printed)
        if rest:
            self._printed += len(rest)
            yield self._as_line(rest)

    def _as_line(self, stamped: bytes) -> LogLine:
        """Make a line of raw output. If carriage returns overwrote parts of it, its text is the last part."""
        t, raw = without_stamp(stamped)
        self._printed_t = t if t is not None else self._printed_t
        last = raw.rstrip(b"\r\n").rpartition(b"\r")[2]
        return LogLine(self._printed_t, text.printable(last.decode("utf-8", "replace")), raw=raw)


def _step_time(raw: bytes) -> float | None:
    """The time of a `step` event, read from its undecoded line; None for other events."""
    found = _STEP.match(raw)
    return float(found[1]) if found is not None else None


def has_any(run: RunDir) -> bool:
    """Whether the run has any events or output."""
    return _size(run.events) > 0 or run.log.exists()


def tail_start(log: Path, lines: int | None) -> int:
    """The byte of a file at which its last `lines` lines begin (None: 0); a last line without a newline counts."""
    if lines is None or not log.exists():
        return 0
    with explained(log), log.open("rb") as handle:
        place = end = handle.seek(0, 2)
        if lines == 0:
            return end
        missing = lines
        while place > 0:
            begin = max(place - _BLOCK, 0)
            handle.seek(begin)
            block = handle.read(place - begin)
            at = len(block) - 1 if place == end and block.endswith(b"\n") else len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                missing -= 1
                if missing == 0:
                    return begin + at + 1
            place = begin
    return 0


def _time_before(log: Path, place: int) -> float | None:
    """The time of the output line before the byte `place`; None if the preceding block has no line with a time."""
    if not place:
        return None
    with explained(log), log.open("rb") as handle:
        handle.seek(max(place - _BLOCK, 0))
        return last_stamp(handle.read(min(place, _BLOCK)))


def _rest(log: Path, place: int) -> bytes:
    try:
        with log.open("rb") as handle:
            handle.seek(place)
            return handle.read()
    except OSError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
