"""The rows that stand for an event log's steps, 64 at a time, and their disposable file. Knows not how they are drawn."""

from __future__ import annotations

import math
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from seedbed.errors import SeedbedError
from seedbed.files import read_block
from seedbed.runs.store import RunDir

STEPS_A_ROW = 64
LONGEST_GAP_S = 60.0
"""As in the view: more between two events is a sleeping machine or a stepped clock, and does not count."""

STEPS, SCORE, SAVED, RESTART, BACK = range(1, 6)
"""Kinds of rows: steps, a validation, a checkpoint, a session that goes on from a step, and steps that went back."""
_COMMITS = frozenset({STEPS, RESTART, BACK})

_LARGEST = 1 << 53
_BLOCK = 4 << 20
_RETRY_S = 60.0


class Row(NamedTuple):
    """What became of some lines of a log. Of a mark (anything but STEPS) `first` and `last` are its step.

    `low` and `high` of nothing are inf and -inf, so that they never win; a `loss` or `lr` that is no number is nan.
    """

    kind: int
    begin: int
    """Byte of the log at which the first line begins."""
    end: int
    """Byte after the last line."""
    first: int
    last: int
    session: int
    num: int
    """Steps with a finite loss; of a mark: whether it is the best one."""
    num_odd: int
    """Steps whose loss is no finite number."""
    tokens: int
    """Trained tokens of the run after the last step."""
    num_grads: int
    t: float
    """Unix seconds of the last line."""
    clock: float
    """Seconds that the run had been at work by then, gaps between sessions left out."""
    total: float
    """Sum of the finite losses."""
    low: float
    high: float
    loss: float
    """Of the last step that has one, or of the mark."""
    lr: float
    seconds: float
    """Sum of the steps' durations."""
    grad_total: float
    grad_low: float
    grad_high: float


_ROW = struct.Struct("=10q11d")
WORDS = len(Row._fields)
"""Eight-byte words of a row."""
WHOLE_WORDS = 10
"""The first of them are whole numbers, the others floating point."""
ROW_BYTES = _ROW.size
_HEAD = struct.Struct("=8sHHI")
HEAD_BYTES = 64
_MAGIC = b"SBcurve\n" if sys.byteorder == "little" else b"SBCURVE\n"
_VERSION = 1


class Entry(msgspec.Struct, gc=False):
    """The parts of any event's line that curves need."""

    kind: str = ""
    t: float = 0.0
    step: int | None = None
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    step_s: float | None = None
    status: str | None = None
    session: int | None = None
    steps: int | None = None
    best: bool = False


class _Any(msgspec.Struct, gc=False):
    """What a line that is no Entry may still tell: that time went on."""

    kind: str
    t: float = 0.0


_ENTRY = msgspec.json.Decoder(Entry)
_ANY = msgspec.json.Decoder(_Any)


def entries(block: bytes) -> tuple[list[Entry | None], list[int]]:
    """The entries on whole lines, None for a torn or foreign one, and the length of each line with its end."""
    lines = block.split(b"\n")
    lines.pop()
    lengths = [len(line) + 1 for line in lines]
    try:
        found: list[Entry | None] = [*_ENTRY.decode_lines(block)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = []
    # Fewer entries than lines: there were blank ones.
    return (found, lengths) if len(found) == len(lines) else ([_entry(line) for line in lines], lengths)


def _entry(line: bytes) -> Entry | None:
    try:
        return _ENTRY.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        other = _ANY.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Entry(kind=f"?{other.kind}", t=other.t)


class Fold:
    """Turns the lines of a log, in their order, into rows. Marks come before the steps that were open when they came.

    `take` is called with each row. A fold goes on after any row of STEPS, RESTART or BACK as if it had made it.
    """

    def __init__(self, take: Callable[[Row], None], after: Row | None = None) -> None:
        self._take = take
        self.open: list[Entry] = []
        """Steps that are not in a row yet."""
        self.place = after.end if after else 0
        """Byte of the log up to which lines were folded."""
        self._begin = self.place
        self._session = after.session if after else 0
        self._step = after.last if after else -1
        self._tokens = after.tokens if after else 0
        self._clock = after.clock if after else 0.0
        self._t: float | None = after.t if after else None

    def add(self, block: bytes) -> None:
        """Fold in whole lines that follow those before."""
        for entry, length in zip(*entries(block), strict=True):
            begin = self.place
            self.place += length
            if entry is None:
                continue
            kind = entry.kind
            if kind == "run" and entry.session is not None and entry.session != self._session:
                self._run(entry, begin)
                continue
            if self._t is not None and entry.t > self._t:
                self._clock += min(entry.t - self._t, LONGEST_GAP_S)
            self._t = entry.t
            if kind == "step":
                self._add_step(entry, begin)
            elif kind == "run":
                self._run(entry, begin)
            elif kind in ("eval", "checkpoint"):
                self._mark(entry, begin)

    def row(self) -> Row | None:
        """The open steps as a row; None where there are none."""
        if not self.open:
            return None
        made = summarise(self.open, self._begin, self.place, self._tokens, self._clock)
        return made._replace(session=self._session)

    def _add_step(self, entry: Entry, begin: int) -> None:
        step = entry.step
        if step is None or not 0 <= step < _LARGEST:
            return
        if step <= self._step:
            self._restart(BACK, step - 1, begin)
        if not self.open:
            self._begin = begin
        self.open.append(entry)
        self._step = step
        if entry.tokens is not None and 0 <= entry.tokens < _LARGEST:
            self._tokens = entry.tokens
        if len(self.open) == STEPS_A_ROW:
            self._close()

    def _close(self) -> None:
        row = self.row()
        if row is not None:
            self.open = []
            self._take(row)

    def _run(self, entry: Entry, begin: int) -> None:
        if entry.session != self._session:
            self._t = entry.t  # the time between sessions is nobody's
        session = entry.session if entry.session is not None and 0 <= entry.session < _LARGEST else self._session
        begins = entry.status == "running" and entry.steps is not None
        if begins:
            self._session = session
            self._restart(RESTART, min(max(entry.step or 0, 0), _LARGEST), begin)
        self._session = session

    def _restart(self, kind: int, step: int, begin: int) -> None:
        """Steps beyond this one are void; those of `kind` RESTART are a session's own beginning."""
        end, self.place = self.place, begin
        self._close()
        self._step = step
        if kind == RESTART:
            self.place = end
        # A fold that goes on after a row of BACK reads the step that went back again.
        self._take(self._marked(kind, begin, step, math.nan, best=False))
        self.place = end

    def _mark(self, entry: Entry, begin: int) -> None:
        if entry.step is None or not 0 <= entry.step < _LARGEST:
            return
        loss = math.nan if entry.loss is None else entry.loss
        if entry.kind == "checkpoint":
            self._take(self._marked(SAVED, begin, entry.step, loss, best=entry.best))
        elif math.isfinite(loss):
            self._take(self._marked(SCORE, begin, entry.step, loss, best=entry.best))

    def _marked(self, kind: int, begin: int, step: int, loss: float, *, best: bool) -> Row:
        place, now = (begin, self.place), (self._t or 0.0, self._clock)
        nothing = (0.0, math.inf, -math.inf)
        counts = (int(best), 0, self._tokens, 0)
        return Row(
            kind, *place, step, step, self._session, *counts, *now, *nothing, loss, math.nan, *nothing[:1], *nothing
        )


def summarise(steps: Sequence[Entry], begin: int, end: int, tokens: int, clock: float) -> Row:
    """The row of some steps (at least one). `tokens` and `clock` are those of the last."""
    losses = finite(entry.loss for entry in steps)
    grads = finite(entry.grad_norm for entry in steps)
    last = steps[-1]
    return Row(
        STEPS,
        begin,
        end,
        steps[0].step or 0,
        last.step or 0,
        session=0,
        num=len(losses),
        num_odd=len(steps) - len(losses),
        tokens=tokens,
        num_grads=len(grads),
        t=last.t,
        clock=clock,
        total=sum(losses),
        low=min(losses, default=math.inf),
        high=max(losses, default=-math.inf),
        loss=losses[-1] if losses else math.nan,
        lr=math.nan if last.lr is None else last.lr,
        seconds=sum(finite(entry.step_s for entry in steps)),
        grad_total=sum(grads),
        grad_low=min(grads, default=math.inf),
        grad_high=max(grads, default=-math.inf),
    )


def finite(values: Iterator[float | None]) -> list[float]:
    """Those that are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


# The file ------------------------------------------------------------------------------------------------------------


def index_path(run: RunDir) -> Path:
    """Where a run's index lies; it may always be thrown away."""
    return run.path / ".series"


def _log_mark(log: Path) -> int:
    """A number that tells one log from another: the checksum of its first line; 0 while there is none."""
    try:
        with log.open("rb") as handle:
            line = handle.readline(_BLOCK)
    except OSError:
        return 0
    return zlib.crc32(line) or 1 if line.endswith(b"\n") else 0


def read_index(run: RunDir) -> bytes:
    """The rows of a run's index as they lie in the file, up to the last from which a fold can go on.

    Empty where there is no index, or where it is torn, of another version, or not of the log that is there now.
    """
    try:
        data = index_path(run).read_bytes()
    except OSError:
        return b""
    mark = _log_mark(run.events)
    if not mark or data[: _HEAD.size] != _HEAD.pack(_MAGIC, _VERSION, ROW_BYTES, mark):
        return b""
    end = HEAD_BYTES + (len(data) - HEAD_BYTES) // ROW_BYTES * ROW_BYTES
    while end > HEAD_BYTES:
        row = unpack(data, end - ROW_BYTES)
        if row.kind in _COMMITS:
            return data[HEAD_BYTES:end] if _fits(run.events, row) else b""
        end -= ROW_BYTES
    return b""


def unpack(rows: bytes | memoryview, offset: int) -> Row:
    """The row at a byte of the rows' file form."""
    return Row(*_ROW.unpack_from(rows, offset))


def _fits(log: Path, row: Row) -> bool:
    """Whether the last row speaks of the log that is there: its lines end where it says, and begin with its step."""
    if not 0 <= row.begin <= row.end or row.end < 1:
        return False
    try:
        with log.open("rb") as handle:
            handle.seek(row.begin)
            line = handle.readline(_BLOCK)
            handle.seek(row.end - 1)
            whole = handle.read(1) == b"\n"
    except OSError:
        return False
    entry = _entry(line.rstrip(b"\n"))
    if not whole or entry is None:
        return False
    return entry.kind == "run" if row.kind == RESTART else row.kind == BACK or entry.step == row.first


class IndexWriter:
    """Keeps a run's index up with its log. For the owner of the run's lock alone, from one thread.

    It never raises for what the disk or the log does: after a failure it leaves things be for a minute, then tries anew.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._fold: Fold | None = None
        self._rows: list[Row] = []
        self._fd = -1
        self._not_before = 0.0
        self.problem: str | None = None
        """Why the index is not being written, or None."""

    def advance(self, limit: int = 2 * _BLOCK) -> bool:
        """Fold in what the log has grown by, at most about `limit` bytes; whether nothing is left to do.

        Some 1.5 us a logged step; meant to be called at each heartbeat and once at the end.
        """
        if time.monotonic() < self._not_before:
            return True
        try:
            fold = self._fold or self._open()
            read = 0
            while read < limit:
                block, place = read_block(self._run.events, fold.place, min(_BLOCK, limit - read))
                if place - len(block) != fold.place:
                    raise SeedbedError("The event log is shorter than it was.", "")
                if not block:
                    return True
                fold.add(block)
                read += len(block)
                self._write()
        except (OSError, OverflowError, struct.error, SeedbedError) as error:
            self.close()
            self.problem = str(error)
            self._not_before = time.monotonic() + _RETRY_S
            return True
        return False

    def close(self) -> None:
        """Let the file go; closing twice is harmless. What was not written yet is for the reader to fold."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._fold, self._rows = -1, None, []

    def _open(self) -> Fold:
        """Go on after the last whole row, or begin anew where there is none that fits the log."""
        rows = read_index(self._run)
        mark = _log_mark(self._run.events)
        if not mark:
            return Fold(self._rows.append)  # nothing is logged yet
        self._fd = os.open(index_path(self._run), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not rows:
            os.ftruncate(self._fd, 0)
            head = _HEAD.pack(_MAGIC, _VERSION, ROW_BYTES, mark).ljust(HEAD_BYTES, b"\0")
            self._append(head)
        else:
            os.ftruncate(self._fd, HEAD_BYTES + len(rows))
        self.problem = None
        self._fold = Fold(self._rows.append, unpack(rows, len(rows) - ROW_BYTES) if rows else None)
        return self._fold

    def _write(self) -> None:
        if self._rows and self._fd >= 0:
            rows, self._rows[:] = b"".join(_ROW.pack(*row) for row in self._rows), []
            self._append(rows)

    def _append(self, data: bytes) -> None:
        end = os.lseek(self._fd, 0, os.SEEK_END)
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, end)
            raise OSError("the disk is full")
