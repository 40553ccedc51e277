"""The curves of a run: points and marks along steps, tokens or time, in bounded memory. Knows not how they are drawn."""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress, pairwise
from typing import NamedTuple, Self

from seedbed.chart import Line
from seedbed.files import read_block
from seedbed.runs.index import (
    BACK,
    LONGEST_GAP_S,
    RESTART,
    ROW_BYTES,
    SAVED,
    SCORE,
    STEPS,
    WHOLE_WORDS,
    WORDS,
    Entry,
    Fold,
    Row,
    entries,
    read_index,
    summarise,
    unpack,
)
from seedbed.runs.store import RunDir

AXES = ("step", "tokens", "time")
"""What can be along x: the step, the trained tokens so far, the seconds at work (gaps between sessions left out)."""
KEYS = ("loss", "lr", "grad_norm", "tokens_per_s")

_BLOCK = 4 << 20
_MOST_DETAIL = 512
"""Rows whose single steps are kept after they were read: some 2 MB."""
_COLUMN = {name: number for number, name in enumerate(Row._fields)}
_BEGIN, _FIRST, _LAST, _NUM, _ODD = (_COLUMN[name] for name in ("begin", "first", "last", "num", "num_odd"))
_SOURCES = {
    "loss": ("num", "total", "low", "high", "loss"),
    "grad_norm": ("num_grads", "grad_total", "grad_low", "grad_high", "grad_high"),
    "lr": ("num", "lr", "lr", "lr", "lr"),
    "tokens_per_s": ("seconds", "seconds", "seconds", "seconds", "seconds"),
}
"""Columns of a key: weight, total, lowest, highest, last."""
_AXIS = {"step": _LAST, "tokens": _COLUMN["tokens"], "time": _COLUMN["clock"]}


class Point(NamedTuple):
    """What became of the steps under one pixel. `mean` is nan, `low` and `high` too, where no value is a number."""

    x: float
    mean: float
    low: float
    high: float
    last: float
    num_odd: int
    """Losses that were no finite numbers (of the key loss; else 0)."""
    x0: float
    """x of the first step."""
    x1: float
    """x of the last step."""


class Mark(NamedTuple):
    """Something that happened once: a validation (with its loss), a checkpoint, the beginning of a later session."""

    step: int
    tokens: int
    time: float
    loss: float
    best: bool

    def at(self, axis: str) -> float:
        """Its place on an axis."""
        return float(self.step if axis == "step" else self.tokens if axis == "tokens" else self.time)


class _Cell(NamedTuple):
    """A step as one value along an axis; the mean of several is their total by their weight."""

    x: float
    weight: float
    total: float
    value: float
    num_odd: int


class _Detail(NamedTuple):
    """A single step. `tokens` and `time` are those after it, `new_tokens` those that it trained on."""

    step: int
    tokens: int
    time: float
    new_tokens: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float

    def cell(self, axis: str, key: str) -> _Cell:
        """The step as a cell."""
        x = float(self.step if axis == "step" else self.tokens if axis == "tokens" else self.time)
        weight, total = 1.0, self.loss if key == "loss" else self.lr if key == "lr" else self.grad_norm
        if key == "tokens_per_s":
            weight, total = self.seconds, float(self.new_tokens)
        if not (math.isfinite(total) and weight > 0):
            return _Cell(x, 0.0, 0.0, math.nan, int(key == "loss"))
        return _Cell(x, weight, total, total / weight, 0)


class Series:
    """A run's curves as far as they have been read. Steps that a later session voids are dropped.

    May be read from one thread while another refreshes it. A run that is deleted becomes an empty series.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.progress = (0, 0)
        """Bytes of the log that are folded in, and all of them when that was last looked at."""
        self._lock = threading.RLock()
        self._clear()

    @classmethod
    def load(cls, run: RunDir, step_callback: Callable[[int, int], object] | None = None) -> Self:
        """Everything that a run has logged; `step_callback(read, total)` hears of bytes as they are read.

        Raises SeedbedError for a log that may not be read.
        """
        series = cls(run)
        for read, total in series.loading():
            if step_callback is not None:
                step_callback(read, total)
        return series

    def loading(self) -> Iterator[tuple[int, int]]:
        """Read the index and what the log holds beyond it, a few megabytes at a time; yields `progress` after each."""
        with self._lock:
            if not self._fold.place:
                self._take_index()
        yield self._look()
        while self._read():
            yield self._look()

    def refresh(self) -> bool:
        """Fold in what the log has grown by; whether anything is new. Cheap where little is."""
        read, total = self._look()
        if total < read or (total and self._size_at_index > total):
            with self._lock:  # deleted, or another log in its place
                self._clear()
        before = self._fold.place
        for _ in self.loading():
            pass
        return self._fold.place != before or total < read

    def __len__(self) -> int:
        """Steps in force."""
        with self._lock:
            return int(sum(self._columns[_NUM])) + int(sum(self._columns[_ODD])) + len(self._fold.open)

    @property
    def scores(self) -> list[Mark]:
        """Validations by step."""
        return [mark for kind, mark in self._marks if kind == SCORE]

    @property
    def checkpoints(self) -> list[Mark]:
        """Checkpoints by step, those that were deleted since included."""
        return [mark for kind, mark in self._marks if kind == SAVED]

    @property
    def restarts(self) -> list[Mark]:
        """Where sessions after the first began."""
        return [mark for kind, mark in self._marks if kind == RESTART]

    def extent(self, axis: str = "step") -> tuple[float, float] | None:
        """The x of the first and the last step; None before there is one."""
        with self._opened() as columns:
            if not columns[_FIRST]:
                return None
            low = float(columns[_FIRST][0]) if axis == "step" else self._details_of(columns, 0)[0].cell(axis, "loss").x
            return low, float(columns[_AXIS[axis]][-1])

    def window(
        self, x0: float | None = None, x1: float | None = None, px: int = 400, axis: str = "step", key: str = "loss"
    ) -> list[Point]:
        """The steps from x0 to x1 (all by default) as at most about `px` points, and one to each side where there is.

        Each point has the lowest and highest value of its steps, so that a spike of one step stays at every zoom. Where
        there are fewer than 64 steps to a point the log is read again where they lie. Raises ValueError for an unknown
        axis or key.
        """
        if axis not in AXES or key not in KEYS:
            raise ValueError(f"{axis!r} is none of {AXES}, or {key!r} none of {KEYS}")
        whole = self.extent(axis)
        if whole is None or px < 1:
            return []
        x0, x1 = whole[0] if x0 is None else x0, whole[1] if x1 is None else x1
        if not x0 <= x1:
            return []
        with self._opened() as columns:
            ends = columns[_AXIS[axis]]
            low = max(bisect_left(ends, x0) - 1, 0)
            high = min(bisect_right(ends, x1) + 2, len(ends))
            if high - low > px:
                return list(_gather_rows(columns, low, high, (x0, (x1 - x0) / px), axis, key))
            cells = [step.cell(axis, key) for row in range(low, high) for step in self._details_of(columns, row)]
        low = max(bisect_left(cells, x0, key=lambda cell: cell.x) - 1, 0)
        high = min(bisect_right(cells, x1, key=lambda cell: cell.x) + 1, len(cells))
        return list(_gather(cells[low:high], x0, (x1 - x0) / px))

    def lines(self, px: int = 400, axis: str = "step", smoothing: float = 0.0) -> list[Line]:
        """The losses as lines to draw: training with its spread, then validation; those without points are left out.

        `smoothing` is the weight of the past in an exponential mean over the training curve's points, from 0 to below 1.
        """
        lines = []
        points = self.window(px=px, axis=axis)
        if any(math.isfinite(point.mean) for point in points):
            means = ema([point.mean for point in points], smoothing)
            spread = () if smoothing else ([point.low for point in points], [point.high for point in points])
            lines.append(Line("training loss", [point.x for point in points], means, *spread))
        if scores := self.scores:
            lines.append(
                Line("validation loss", [score.at(axis) for score in scores], [score.loss for score in scores])
            )
        return lines

    # Reading ---------------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._columns: list[array[float]] = [array("q" if word < WHOLE_WORDS else "d") for word in range(WORDS)]
        self._marks: list[tuple[int, Mark]] = []
        self._details: dict[int, list[_Detail]] = {}
        self._fold = Fold(self._take)
        self._size_at_index = 0
        self._session = 0

    def _look(self) -> tuple[int, int]:
        try:
            total = self.run.events.stat().st_size
        except OSError:
            total = 0
        self.progress = (self._fold.place, total)
        return self.progress

    def _read(self) -> bool:
        """Fold in a block of the log; False where there is nothing more."""
        with self._lock:
            place = self._fold.place
            block, after = read_block(self.run.events, place, _BLOCK)
            if after - len(block) != place:
                self._clear()
                return bool(block)
            self._fold.add(block)
        return bool(block)

    def _take_index(self) -> None:
        """Take over the rows of the index. Its steps are copied column by column; only marks are looked at one by one."""
        data = read_index(self.run)
        if not data:
            return
        view = memoryview(data)
        words = [view.cast("q" if word < WHOLE_WORDS else "d")[word::WORDS].tolist() for word in range(WORDS)]
        kinds = words[0]
        cuts = [number for number, kind in enumerate(kinds) if kind in (RESTART, BACK)]
        start = 0
        for cut in [*cuts, len(kinds)]:
            chosen = [kind == STEPS for kind in kinds[start:cut]]
            for column, values in zip(self._columns, words, strict=True):
                column.extend(compress(values[start:cut], chosen))
            for number in range(start, cut):
                if kinds[number] != STEPS:
                    self._take(unpack(view, number * ROW_BYTES))
            if cut < len(kinds):
                self._take(unpack(view, cut * ROW_BYTES))
            start = cut + 1
        last = unpack(view, len(data) - ROW_BYTES)
        self._fold = Fold(self._take, last)
        self._size_at_index = last.end

    def _take(self, row: Row) -> None:
        if row.kind == STEPS:
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
            return
        if row.kind in (RESTART, BACK):
            self._void(row.first)
            later = row.kind == RESTART and row.session != self._session and self._session
            self._session = row.session
            if not later:
                return
        self._marks.append((row.kind, Mark(row.first, row.tokens, row.clock, row.loss, bool(row.num))))

    def _void(self, step: int) -> None:
        """Forget what lies beyond a step; the row in which it lies is made again from the log."""
        self._marks = [(kind, mark) for kind, mark in self._marks if mark.step <= step]
        keep = bisect_right(self._columns[_FIRST], step)
        torn = self._row(keep - 1) if keep and self._columns[_LAST][keep - 1] > step else None
        for begin in self._columns[_BEGIN][max(keep - 1, 0) :]:
            self._details.pop(int(begin), None)
        for column in self._columns:
            del column[keep - 1 if torn else keep :]
        if torn is None:
            return
        kept = [entry for entry in self._entries(torn) if (entry.step or 0) <= step]
        if kept:
            past = _at_work([*(entry.t for entry in kept), torn.t])
            remade = summarise(kept, torn.begin, torn.end, kept[-1].tokens or torn.tokens, torn.clock - past)
            for column, value in zip(self._columns, remade, strict=True):
                column.append(value)

    def _row(self, number: int) -> Row:
        return Row(*(column[number] for column in self._columns))  # type: ignore[arg-type]

    # Rows as cells ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[list[array[float]]]:
        """The columns with the steps that are in no row yet as a last row, for as long as the lock is held."""
        with self._lock:
            row = self._fold.row()
            if row is None:
                yield self._columns
                return
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
            try:
                yield self._columns
            finally:
                for column in self._columns:
                    del column[-1]

    def _details_of(self, columns: Sequence[array[float]], number: int) -> list[_Detail]:
        """The single steps of a row: those still open, those kept, or read again from the log."""
        row = Row(*(column[number] for column in columns))  # type: ignore[arg-type]
        is_open = row.end == self._fold.place and bool(self._fold.open) and row.last == self._fold.open[-1].step
        kept = None if is_open else self._details.get(row.begin)
        if kept is not None:
            return kept
        found = self._fold.open if is_open else self._entries(row)
        tokens = int(columns[_AXIS["tokens"]][number - 1]) if number else 0
        clock = row.clock - _at_work([*(entry.t for entry in found), row.t])
        made: list[_Detail] = []
        last_t = found[0].t if found else 0.0
        for entry in found:
            clock, last_t = clock + _at_work([last_t, entry.t]), entry.t
            after = tokens if entry.tokens is None else entry.tokens
            values = (entry.loss, entry.lr, entry.grad_norm, entry.step_s)
            numbers = (math.nan if value is None else value for value in values)
            made.append(_Detail(entry.step or 0, after, clock, max(after - tokens, 0), *numbers))
            tokens = after
        if not made:  # the log is gone: the row itself must do
            seconds = row.seconds
            made = [_Detail(row.last, row.tokens, row.clock, row.tokens - tokens, row.loss, row.lr, math.nan, seconds)]
        if not is_open:
            if len(self._details) >= _MOST_DETAIL:
                self._details.pop(next(iter(self._details)))
            self._details[row.begin] = made
        return made

    def _entries(self, row: Row) -> list[Entry]:
        """The steps of a row, read again; none where the log is gone."""
        try:
            with self.run.events.open("rb") as handle:
                handle.seek(row.begin)
                block = handle.read(row.end - row.begin)
        except OSError:
            return []
        found, _ = entries(block[: block.rfind(b"\n") + 1])
        return [
            entry
            for entry in found
            if entry is not None
            and entry.kind == "step"
            and entry.step is not None
            and row.first <= entry.step <= row.last
        ]


def _at_work(times: Sequence[float]) -> float:
    """Seconds from the first to the last moment, gaps left out."""
    return sum(min(max(later - earlier, 0.0), LONGEST_GAP_S) for earlier, later in pairwise(times))


def _gather_rows(
    columns: Sequence[array[float]], low: int, high: int, grid: tuple[float, float], axis: str, key: str
) -> Iterator[Point]:
    """Rows `low` to `high` as points, those that end in one stretch of the grid (start, width) together.

    Works on slices, since a run of a million steps has 16,000 rows.
    """
    ends, tokens = columns[_AXIS[axis]], columns[_AXIS["tokens"]]
    weights, totals, lows, highs, lasts = (columns[_COLUMN[name]] for name in _SOURCES[key])
    start = low
    while start < high:
        number = (ends[start] - grid[0]) // grid[1] + 1
        stop = max(bisect_left(ends, grid[0] + number * grid[1], start, high), start + 1)
        x_start = float(columns[_FIRST][start]) if axis == "step" else float(ends[start - 1]) if start else 0.0
        some = slice(start, stop)
        if key == "lr":
            values = [value for value in lasts[some] if math.isfinite(value)]
            weight, total, least, most = float(len(values)), sum(values), min(values, default=0), max(values, default=0)
        elif key == "tokens_per_s":
            seconds, counts = weights[some], [*([tokens[start - 1]] if start else [0]), *tokens[some]]
            rates = [(b - a) / s for (a, b), s in zip(pairwise(counts), seconds, strict=True) if s > 0]
            weight, total = sum(seconds), float(counts[-1] - counts[0])
            least, most = min(rates, default=0), max(rates, default=0)
        else:
            weight, total, least, most = sum(weights[some]), sum(totals[some]), min(lows[some]), max(highs[some])
        mean = total / weight if weight else math.nan
        yield Point(
            x=(x_start + ends[stop - 1]) / 2,
            mean=mean,
            low=least if weight else math.nan,
            high=most if weight else math.nan,
            last=lasts[stop - 1] if key in ("loss", "lr") else mean,
            num_odd=int(sum(columns[_ODD][some])) if key == "loss" else 0,
            x0=x_start,
            x1=float(ends[stop - 1]),
        )
        start = stop


def _gather(cells: Sequence[_Cell], x0: float, width: float) -> Iterator[Point]:
    """Single steps as points, those of one stretch of `width` from `x0` on together."""
    start = 0
    for place in range(1, len(cells) + 1):
        if place < len(cells) and (
            (cells[place].x - x0) // width == (cells[start].x - x0) // width
            if width > 0
            else cells[place].x == cells[start].x
        ):
            continue
        some = cells[start:place]
        start = place
        values = [cell.value for cell in some if cell.weight]
        weight = sum(cell.weight for cell in some)
        yield Point(
            x=(some[0].x + some[-1].x) / 2,
            mean=sum(cell.total for cell in some) / weight if weight else math.nan,
            low=min(values, default=math.nan),
            high=max(values, default=math.nan),
            last=some[-1].value,
            num_odd=sum(cell.num_odd for cell in some),
            x0=some[0].x,
            x1=some[-1].x,
        )


def ema(values: Sequence[float], smoothing: float) -> list[float]:
    """An exponential mean, `smoothing` the weight of the past, its start corrected as Adam's is (arXiv:1412.6980).

    Values that are no numbers stay, and count for nothing.
    """
    if not 0 < smoothing < 1:
        return list(values)
    total = weight = 0.0
    means = []
    for value in values:
        if math.isfinite(value):
            total = smoothing * total + (1 - smoothing) * value
            weight = smoothing * weight + (1 - smoothing)
        means.append(total / weight if math.isfinite(value) else math.nan)
    return means
