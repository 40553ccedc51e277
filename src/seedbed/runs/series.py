"""The curves of a run: points and marks along steps, tokens or time, in bounded memory. Knows not how they are drawn."""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import NamedTuple, Self

from seedbed.files import read_block
from seedbed.runs.index import (
    BACK,
    RESTART,
    ROW_BYTES,
    SAVED,
    SCORE,
    STEPS,
    WHOLE_WORDS,
    WORDS,
    Fold,
    Row,
    Step,
    log_mark,
    read_index,
    steps_again,
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
_BEGIN, _FIRST, _LAST, _NUM, _ODD, _TOKENS = (
    _COLUMN[name] for name in ("begin", "first", "last", "num", "num_odd", "tokens")
)
_SOURCES = {
    "loss": slice(_COLUMN["num_losses"], _COLUMN["num_losses"] + 5),
    "lr": slice(_COLUMN["num_lrs"], _COLUMN["num_lrs"] + 5),
    "grad_norm": slice(_COLUMN["num_grads"], _COLUMN["num_grads"] + 5),
    "tokens_per_s": slice(_COLUMN["timed_s"], _COLUMN["timed_s"] + 5),
}
"""Columns of a key: weight, sum, lowest, highest, last."""
_AXIS = {
    "step": (_FIRST, _LAST),
    "tokens": (_COLUMN["tokens0"], _TOKENS),
    "time": (_COLUMN["clock0"], _COLUMN["clock"]),
}
"""Columns of an axis: where rows begin and end."""


class Point(NamedTuple):
    """What became of the steps under one pixel. `mean` is nan, `low` and `high` too, where no value is a number."""

    x: float
    mean: float
    low: float
    high: float
    last: float
    """Value of the last step that has one."""
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
    full: bool = False
    """Of a validation: whether it scored all of the text."""

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


def _cell(step: Step, axis: str, key: str) -> _Cell:
    x = float(step.step if axis == "step" else step.tokens if axis == "tokens" else step.time)
    weight, total = 1.0, step.loss if key == "loss" else step.lr if key == "lr" else step.grad_norm
    if key == "tokens_per_s":
        weight, total = step.seconds, float(step.new_tokens)
        if total < 0 or not 0 < weight < math.inf:
            return _Cell(x, 0.0, 0.0, math.nan, 0)
    if not math.isfinite(total):
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
        before, after = self._look()
        another = before > 0 and (after < before or log_mark(self.run.events) != self._mark)
        if another:  # deleted, or another log in its place
            with self._lock:
                self._clear()
        for _ in self.loading():
            pass
        return another or self._fold.place != before

    def __len__(self) -> int:
        """Steps in force."""
        with self._lock:
            return int(sum(self._columns[_NUM])) + len(self._fold.open)

    @property
    def scores(self) -> list[Mark]:
        """Validations by step that can be compared: over a part of the text where any was, else over all of it."""
        every = [mark for kind, mark in self._marks if kind == SCORE]
        return [mark for mark in every if not mark.full] or every

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
        first, last = _AXIS[axis]
        with self._opened() as columns:
            return (float(columns[first][0]), float(columns[last][-1])) if columns[_FIRST] else None

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
        x0 = whole[0] if x0 is None or x0 == -math.inf else x0
        x1 = whole[1] if x1 is None or x1 == math.inf else x1
        if not x0 <= x1:
            return []
        with self._opened() as columns:
            ends = columns[_AXIS[axis][1]]
            low, high = bisect_left(ends, x0), bisect_right(ends, x1)
            if high - low > px:
                some = slice(max(low - 1, 0), high + 1)
                return list(_gather_rows(columns, some, (x0, (x1 - x0) / px), axis, key))
            rows = range(max(low - 1, 0), min(high + 1, len(ends)))
            cells = [_cell(step, axis, key) for row in rows for step in self._steps_of(columns, row)]
        low = max(bisect_left(cells, x0, key=lambda cell: cell.x) - 1, 0)
        high = min(bisect_right(cells, x1, key=lambda cell: cell.x) + 1, len(cells))
        return list(_gather(cells[low:high], x0, (x1 - x0) / px))

    # Reading ---------------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._columns: list[array[float]] = [array("q" if word < WHOLE_WORDS else "d") for word in range(WORDS)]
        self._marks: list[tuple[int, Mark]] = []
        self._details: dict[int, list[Step]] = {}
        self._fold = Fold(self._take)
        self._session = 0
        self._mark = 0

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
            self._mark = self._mark or log_mark(self.run.events)
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
        stride = ROW_BYTES // 8
        words = [view.cast("q" if word < WHOLE_WORDS else "d")[word::stride].tolist() for word in range(WORDS)]
        kinds = words[0]
        cuts = [number for number, kind in enumerate(kinds) if kind in (RESTART, BACK)]
        start = 0
        for cut in [*cuts, len(kinds)]:
            chosen = [kind == STEPS for kind in kinds[start:cut]]
            # A mark may take its tokens from the steps before it.
            first = start + chosen.index(True) if True in chosen else cut
            self._take_marks(view, kinds, start, first)
            for column, values in zip(self._columns, words, strict=True):
                column.extend(compress(values[start:cut], chosen))
            self._take_marks(view, kinds, first, min(cut + 1, len(kinds)))
            start = cut + 1
        self._fold = Fold(self._take, unpack(view, len(data) - ROW_BYTES))

    def _take_marks(self, rows: memoryview, kinds: Sequence[float], start: int, stop: int) -> None:
        for number in range(start, stop):
            if kinds[number] != STEPS:
                self._take(unpack(rows, number * ROW_BYTES))

    def _take(self, row: Row) -> None:
        if row.kind == STEPS:
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
            return
        if row.kind in (RESTART, BACK):
            self._void(row.first)
        if row.kind == RESTART:
            self._session, before = row.session, self._session
        if row.kind != BACK and not (row.kind == RESTART and before in (0, row.session)):
            tokens = row.tokens if row.tokens >= 0 else self._columns[_TOKENS][-1] if self._columns[_TOKENS] else 0
            best, full = bool(row.num & 1), bool(row.num & 2)
            self._marks.append((row.kind, Mark(row.first, int(tokens), row.clock, row.loss, best, full)))

    def _void(self, step: int) -> None:
        """Forget what lies beyond a step; the row in which it lies is made again from the log."""
        self._marks = [(kind, mark) for kind, mark in self._marks if mark.step <= step]
        keep = bisect_right(self._columns[_FIRST], step)
        torn = self._row(keep - 1) if keep and self._columns[_LAST][keep - 1] > step else None
        for begin in self._columns[_BEGIN][max(keep - 1, 0) :]:
            self._details.pop(int(begin), None)
        for column in self._columns:
            del column[keep - 1 if torn else keep :]
        kept = [each for each in self._read_again(torn) if each.step <= step] if torn else []
        if torn and kept:
            remade = summarise(kept, (torn.begin, torn.end), torn.session, torn.before, torn.t)
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

    def _steps_of(self, columns: Sequence[array[float]], number: int) -> list[Step]:
        """The single steps of a row: those still open, those kept, or read again from the log."""
        if number == len(columns[_BEGIN]) - 1 and self._fold.open:
            return self._fold.open
        row = Row(*(column[number] for column in columns))  # type: ignore[arg-type]
        kept = self._details.get(row.begin)
        if kept is None:
            kept = self._read_again(row)
            if len(self._details) >= _MOST_DETAIL:
                self._details.pop(next(iter(self._details)))
            if kept:
                self._details[row.begin] = kept
        return kept

    def _read_again(self, row: Row) -> list[Step]:
        """The steps of a row out of the log; none where that is gone."""
        try:
            with self.run.events.open("rb") as handle:
                handle.seek(row.begin)
                block = handle.read(row.end - row.begin)
        except OSError:
            return []
        return steps_again(row, block[: block.rfind(b"\n") + 1])


def _gather_rows(
    columns: Sequence[array[float]], rows: slice, grid: tuple[float, float], axis: str, key: str
) -> Iterator[Point]:
    """Rows as points, those that end in one stretch of the grid (start, width) together.

    Works on slices, since a run of a million steps has 16,000 rows.
    """
    starts, ends = (columns[column][rows] for column in _AXIS[axis])
    weights, totals, lows, highs, lasts = (column[rows] for column in columns[_SOURCES[key]])
    odd = columns[_ODD][rows] if key == "loss" else None
    start = 0
    while start < len(ends):
        stop = _same_pixel(ends, start, *grid)
        some = slice(start, stop)
        weight = sum(weights[some])
        yield Point(
            x=(starts[start] + ends[stop - 1]) / 2,
            mean=sum(totals[some]) / weight if weight else math.nan,
            low=min(lows[some]) if weight else math.nan,
            high=max(highs[some]) if weight else math.nan,
            last=next((value for value in reversed(lasts[some]) if math.isfinite(value)), math.nan),
            num_odd=int(sum(odd[some])) if odd else 0,
            x0=float(starts[start]),
            x1=float(ends[stop - 1]),
        )
        start = stop


def _gather(cells: Sequence[_Cell], x0: float, width: float) -> Iterator[Point]:
    """Single steps as points, those of one stretch of `width` from `x0` on together."""
    places = [cell.x for cell in cells]
    start = 0
    while start < len(cells):
        some = cells[start : _same_pixel(places, start, x0, width)]
        start += len(some)
        values = [cell.value for cell in some if cell.weight]
        weight = sum(cell.weight for cell in some)
        yield Point(
            x=(some[0].x + some[-1].x) / 2,
            mean=sum(cell.total for cell in some) / weight if weight else math.nan,
            low=min(values, default=math.nan),
            high=max(values, default=math.nan),
            last=values[-1] if values else math.nan,
            num_odd=sum(cell.num_odd for cell in some),
            x0=some[0].x,
            x1=some[-1].x,
        )


def _same_pixel(places: Sequence[float], start: int, x0: float, width: float) -> int:
    """The end of those from `start` on that lie in the same stretch of `width`, counted from x0; never none."""
    if not width > 0:
        return bisect_right(places, places[start], start)
    number = (places[start] - x0) // width + 1
    if x0 + number * width <= places[start]:  # it lies on the edge, but for rounding
        number += 1
    return max(bisect_left(places, x0 + number * width, start), start + 1)


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
