"""The rows that stand for an event log's steps, 64 at a time, and their disposable file. Knows not how they are drawn."""

from __future__ import annotations

import math
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from seedbed.errors import SeedbedError
from seedbed.files import read_block
from seedbed.runs.statuses import IDLE
from seedbed.runs.store import RunDir
from seedbed.runs.view import LONGEST_GAP_S

STEPS_A_ROW = 64
STEPS, SCORE, SAVED, RESTART, BACK = range(1, 6)
"""Kinds of rows: steps, a validation, a checkpoint, a session that goes on from a step, and steps that went back."""

_LARGEST = 1 << 53
_BLOCK, _RETRY_S = 4 << 20, 60.0


class Step(msgspec.Struct, frozen=True, gc=False):
    """A step that was logged. `tokens` and `time` (seconds at work) are those of the run after it; nan is no number."""

    step: int
    tokens: int
    time: float
    new_tokens: int
    """Tokens that it trained on; -1 where the step before it is not in force or not there."""
    loss: float
    lr: float
    grad_norm: float
    seconds: float


class Row(NamedTuple):
    """What became of some lines of a log. Of a mark (anything but STEPS) `first` and `last` are its step.

    Five numbers stand for each kind of value: the weight and the sum of those that are finite, the lowest and the highest
    (inf and -inf where there is none, so that they never win), and the last (nan where there is none).
    """

    kind: int
    begin: int
    """Byte of the log at which the first line begins."""
    end: int
    """Byte after the last line; of BACK `begin`, since the step that went back is still to come."""
    first: int
    last: int
    session: int
    num: int
    """Steps; of a mark: 1 if it is the best one, and 2 more if it is a validation over all of the text."""
    num_odd: int
    """Steps whose loss is no finite number."""
    before: int
    """Trained tokens of the run before the first step; -1 where they are not known."""
    tokens0: int
    """Trained tokens after the first step."""
    tokens: int
    """Trained tokens after the last step; of a mark -1 where they are not known."""
    clock0: float
    """Seconds that the run had been at work by the first step, gaps between sessions left out."""
    clock: float
    """The same by the last step."""
    t: float
    """Unix seconds of the last line."""
    num_losses: float
    loss_sum: float
    loss_low: float
    loss_high: float
    loss: float
    """Of the mark, or of the last step that has one."""
    num_lrs: float
    lr_sum: float
    lr_low: float
    lr_high: float
    lr: float
    num_grads: float
    grad_sum: float
    grad_low: float
    grad_high: float
    grad: float
    timed_s: float
    """Seconds of the steps whose new tokens are known, which weigh the tokens per second."""
    timed_tokens: float
    rate_low: float
    rate_high: float
    rate: float


WHOLE_WORDS = Row._fields.index("clock0")
"""The first of the eight-byte words of a row are whole numbers, the others floating point."""
WORDS = len(Row._fields)
_ROW = struct.Struct(f"={WHOLE_WORDS}q{WORDS - WHOLE_WORDS}d")
_CHECK = struct.Struct("=Q")
ROW_BYTES = _ROW.size + _CHECK.size
"""In the file each row is followed by the checksum of the header and all rows so far."""
_HEAD = struct.Struct("=8sHHI")
_MAGIC = b"SBcurve\n" if sys.byteorder == "little" else b"SBCURVE\n"
_HEAD_BYTES, _VERSION = 64, 3
_NAN = math.nan
_NOTHING = (0.0, 0.0, math.inf, -math.inf, _NAN)


class Entry(msgspec.Struct, gc=False):
    """The parts of any event's line that curves need."""

    kind: str
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
    full: bool = True


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

    `take` is called with each row. A fold goes on after a row that `can_go_on` as if it had made it.
    """

    def __init__(self, take: Callable[[Row], None], after: Row | None = None) -> None:
        self._take = take
        self.open: list[Step] = []
        """Steps that are not in a row yet."""
        self.place = after.end if after else 0
        """Byte of the log up to which lines were folded."""
        self._most = STEPS_A_ROW
        self._session = after.session if after else 0
        self._step = after.last if after else -1
        self._tokens = after.tokens if after else 0
        self._clock = after.clock if after else 0.0
        self._t: float | None = after.t if after else None
        self._idle = False
        # Of the open steps: where they begin and end, the tokens before them, and when the last was logged.
        self._begin = self._end = self.place
        self._before = -1
        self._last_t = 0.0

    def add(self, block: bytes) -> None:
        """Fold in whole lines that follow those before."""
        for entry, length in zip(*entries(block), strict=True):
            begin = self.place
            self.place += length
            if entry is None:
                continue
            kind = entry.kind
            if kind == "run" and entry.session is not None and entry.session != self._session:
                self._close()  # so that a row is of one session
                self._t = entry.t  # the time between sessions is nobody's
            elif self._t is not None and entry.t > self._t and not self._idle:
                self._clock += min(entry.t - self._t, LONGEST_GAP_S)
            self._t = entry.t
            self._idle = entry.status in IDLE if kind in ("run", "step") else self._idle
            if kind == "step":
                self._add_step(entry, begin)
            elif kind == "run":
                self._run(entry, begin)
            elif kind in ("eval", "checkpoint"):
                self._mark(entry, begin)

    def go_back_to(self, row: Row) -> None:
        """Stand before the first line of a row of STEPS, ready to read its steps, which then stay open."""
        self._most = sys.maxsize
        self._session, self._step, self._tokens, self._clock = row.session, row.first - 1, row.before, row.clock0

    def row(self) -> Row | None:
        """The open steps as a row; None where there are none."""
        if not self.open:
            return None
        return summarise(self.open, (self._begin, self._end), self._session, self._before, self._last_t)

    def _add_step(self, entry: Entry, begin: int) -> None:
        step, tokens = entry.step, entry.tokens
        if step is None or not 0 <= step < _LARGEST:
            return
        if step <= self._step:
            self._restart(BACK, step - 1, begin)
        before, new = self._tokens if step == self._step + 1 else -1, -1
        if tokens is not None and 0 <= tokens < _LARGEST:
            self._tokens = tokens
            if 0 <= before <= tokens:
                new = tokens - before
        if not self.open:
            self._begin, self._before = begin, before
        values = entry.loss, entry.lr, entry.grad_norm, entry.step_s
        numbers = [_NAN if value is None else value for value in values] if None in values else values
        self.open.append(Step(step, max(self._tokens, 0), self._clock, new, *numbers))
        self._step, self._end, self._last_t = step, self.place, entry.t
        if len(self.open) >= self._most:
            self._close()

    def _close(self) -> None:
        row = self.row()
        if row is not None:
            self.open = []
            self._take(row)

    def _run(self, entry: Entry, begin: int) -> None:
        if entry.status == "running" and entry.steps is not None:
            self._restart(RESTART, min(max(entry.step or 0, 0), _LARGEST), begin, entry.session)
        elif entry.session is not None and 0 <= entry.session < _LARGEST:
            self._session = entry.session

    def _restart(self, kind: int, step: int, begin: int, session: int | None = None) -> None:
        """Steps beyond this one are void; those of `kind` RESTART are a session's own beginning."""
        self._close()
        if session is not None and 0 <= session < _LARGEST:
            self._session = session
        if step != self._step:
            self._tokens = 0 if step <= 0 else -1
        self._step = step
        self._take(self._marked(kind, begin, self.place if kind == RESTART else begin, step))

    def _mark(self, entry: Entry, begin: int) -> None:
        if entry.step is None or not 0 <= entry.step < _LARGEST:
            return
        loss = math.nan if entry.loss is None else entry.loss
        kind = SAVED if entry.kind == "checkpoint" else SCORE
        if kind == SAVED or math.isfinite(loss):
            self._take(self._marked(kind, begin, self.place, entry.step, loss, entry.best + 2 * entry.full))

    def _marked(self, kind: int, begin: int, end: int, step: int, loss: float = math.nan, num: int = 0) -> Row:
        place, tokens = (begin, end, step, step, self._session), (self._tokens,) * 3
        now = (self._clock, self._clock, self._t or 0.0)
        return Row(kind, *place, num, 0, *tokens, *now, *_NOTHING[:-1], loss, *_NOTHING * 3)


def summarise(steps: Sequence[Step], place: tuple[int, int], session: int, before: int, t: float) -> Row:
    """The row of some steps (at least one) that lie from byte to byte; `before` and `t` as in Row."""
    first, last = steps[0], steps[-1]
    timed = [step for step in steps if step.new_tokens >= 0 and 0 < step.seconds < math.inf]
    rates = [step.new_tokens / step.seconds for step in timed]
    rate = (min(rates), max(rates), rates[-1]) if rates else _NOTHING[2:]
    losses = _gathered([step.loss for step in steps])
    return Row(
        STEPS,
        *place,
        first.step,
        last.step,
        session,
        len(steps),
        len(steps) - int(losses[0]),
        before,
        first.tokens,
        last.tokens,
        first.time,
        last.time,
        t,
        *losses,
        *_gathered([step.lr for step in steps]),
        *_gathered([step.grad_norm for step in steps]),
        sum([step.seconds for step in timed]),
        float(sum([step.new_tokens for step in timed])),
        *rate,
    )


def _gathered(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    """Weight, sum, lowest, highest and last of those that are finite, each of the weight 1."""
    known = values if math.isfinite(sum(values)) else [value for value in values if math.isfinite(value)]
    return (float(len(known)), sum(known), min(known), max(known), known[-1]) if known else _NOTHING


def steps_again(row: Row, block: bytes) -> list[Step]:
    """The steps of a row, exactly as they were, out of the lines from its `begin` on."""
    fold = Fold(lambda _: None)
    fold.go_back_to(row)
    fold.add(block)
    return [step for step in fold.open if step.step <= row.last]


# The file ------------------------------------------------------------------------------------------------------------


def index_path(run: RunDir) -> Path:
    """Where a run's index lies; it may always be thrown away."""
    return run.path / ".series"


def log_mark(log: Path) -> int:
    """A number that tells one log from another: the checksum of its first line; 0 while there is none."""
    try:
        with log.open("rb") as handle:
            line = handle.readline(_BLOCK)
    except OSError:
        return 0
    return zlib.crc32(line) or 1 if line.endswith(b"\n") else 0


def read_index(run: RunDir) -> bytes:
    """The rows of a run's index as they lie in the file, up to the last from which a fold can go on.

    Empty where there is no index, or where it is of another version, or not of the log that is there now. What is torn or
    damaged ends it: each row's checksum stands for all before it.
    """
    try:
        data = index_path(run).read_bytes()
    except OSError:
        return b""
    mark = log_mark(run.events)
    if not mark or data[:_HEAD_BYTES] != _head(mark):
        return b""
    end = _whole(data)
    while end > _HEAD_BYTES:
        row = unpack(data, end - ROW_BYTES)
        if can_go_on(row):
            return data[_HEAD_BYTES:end] if _fits(run.events, row) else b""
        end -= ROW_BYTES
    return b""


def unpack(rows: bytes | memoryview, offset: int) -> Row:
    """The row at a byte of the rows' file form."""
    return Row(*_ROW.unpack_from(rows, offset))


def can_go_on(row: Row) -> bool:
    """Whether all that a fold knew when it made the row can be told from it."""
    return row.kind in (RESTART, BACK) or (row.kind == STEPS and row.num == STEPS_A_ROW)


def _head(mark: int) -> bytes:
    return _HEAD.pack(_MAGIC, _VERSION, ROW_BYTES, mark).ljust(_HEAD_BYTES, b"\0")


def _whole(data: bytes) -> int:
    """The byte after the last row that is as it was written."""
    place, check, view = _HEAD_BYTES, zlib.crc32(data[:_HEAD_BYTES]), memoryview(data)
    while place + ROW_BYTES <= len(data):
        check = zlib.crc32(view[place : place + _ROW.size], check)
        if check != _CHECK.unpack_from(data, place + _ROW.size)[0]:
            break
        place += ROW_BYTES
    return place


def _fits(log: Path, row: Row) -> bool:
    """Whether the row speaks of the log that is there: its lines begin and end where it says, and are those."""
    try:
        with log.open("rb") as handle:
            handle.seek(row.begin)
            block = handle.readline(_BLOCK) if row.kind == BACK else handle.read(row.end - row.begin)
    except (OSError, ValueError):
        return False
    found, _ = entries(block)
    if not block.endswith(b"\n") or not found or found[0] is None or found[-1] is None or found[-1].t != row.t:
        return False
    if row.kind == RESTART:
        return found[-1].kind == "run"
    return (found[0].step, found[-1].step) == ((row.first, row.last) if row.kind == STEPS else (row.last + 1,) * 2)


class IndexWriter:
    """Keeps a run's index up with its log. For the owner of the run's lock alone, from one thread.

    It never raises for what the disk or the log does: after a failure it leaves things be for a minute, then tries anew.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._fold: Fold | None = None
        self._rows: list[Row] = []
        self._fd = -1
        self._size = 0
        self._check = 0
        self._not_before = 0.0
        self.problem: str | None = None
        """Why the index is not being written, or None."""

    def advance(self, limit: int = 2 * _BLOCK) -> bool:
        """Fold in what the log has grown by, at most about `limit` bytes; whether nothing is left to do.

        Some 2 us a logged step; meant to be called at each heartbeat and once at the end.
        """
        if time.monotonic() < self._not_before:
            return True
        try:
            if self._fold is not None and not self._is_there():
                self.close()
            fold = self._fold or self._open()
            if fold is None:
                return True
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

    def _open(self) -> Fold | None:
        """Go on after the last whole row, or begin anew where there is none that fits the log; None without a log."""
        rows = read_index(self._run)
        mark = log_mark(self._run.events)
        if not mark:
            return None
        self._fd = os.open(index_path(self._run), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if rows:
            self._size = _HEAD_BYTES + len(rows)
            (self._check,) = _CHECK.unpack_from(rows, len(rows) - _CHECK.size)
            os.ftruncate(self._fd, self._size)
        else:
            self._size = 0
            os.ftruncate(self._fd, 0)
            self._append(_head(mark))
            self._check = zlib.crc32(_head(mark))
        self.problem = None
        self._fold = Fold(self._rows.append, unpack(rows, len(rows) - ROW_BYTES) if rows else None)
        return self._fold

    def _is_there(self) -> bool:
        """Whether the file is still the one that was opened, and as long; it may be thrown away at any time."""
        with suppress(OSError):
            there, ours = index_path(self._run).stat(), os.fstat(self._fd)
            return os.path.samestat(there, ours) and ours.st_size == self._size
        return False

    def _write(self) -> None:
        parts = bytearray()
        for row in self._rows:
            body = _ROW.pack(*row)
            self._check = zlib.crc32(body, self._check)
            parts += body + _CHECK.pack(self._check)
        self._rows.clear()
        self._append(parts)

    def _append(self, data: bytes | bytearray) -> None:
        if os.pwrite(self._fd, data, self._size) != len(data):
            os.ftruncate(self._fd, self._size)
            raise OSError("the disk is full")
        self._size += len(data)
