"""Loads the curves of a run, and returns points and marks by steps, tokens or time, in bounded memory."""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import compress
from typing import NamedTuple, Self

from seedbed.append_log import read_block
from seedbed.runs.curves.curve_events import decode_lines
from seedbed.runs.curves.index_file import ROW_BYTES, log_checksum, read_index, unpack
from seedbed.runs.curves.open_metrics import Five, summarised, value_in, values_by_step
from seedbed.runs.curves.points import (
    AXES,
    AXIS,
    COLUMN,
    SOURCES,
    Cell,
    Point,
    cell,
    gather,
    gather_rows,
    open_cell,
)
from seedbed.runs.curves.row_builder import RowBuilder, decode_steps
from seedbed.runs.curves.rows import (
    BACK,
    NOTHING,
    RESTART,
    SAVED,
    STEPS,
    VALIDATION,
    WHOLE_WORDS,
    WORDS,
    Row,
    StepValues,
    summarise,
)
from seedbed.runs.store import RunDir
from seedbed.runs.validations import comparable

_BLOCK = 4 << 20
_MOST_DETAIL = 512
"""The number of rows whose single steps are cached (a row summarises 64 steps): about 2 MB."""
_ROWS_AT_ONCE = 1024
_BEGIN, _FIRST, _LAST, _NUM, _ODD, _TOKENS = (
    COLUMN[name] for name in ("begin", "first", "last", "num", "num_odd", "tokens")
)


class Mark(NamedTuple):
    """A single event on a curve: a validation (with its loss), a checkpoint, or the beginning of a later session."""

    step: int
    tokens: int
    time: float
    loss: float
    best: bool
    full: bool = False
    """For a validation: whether all of the text was evaluated."""

    offset: int = 0
    """The offset in the log at which the mark's line begins."""

    def at(self, axis: str) -> float:
        """The position of the mark on an axis."""
        return float(self.step if axis == "step" else self.tokens if axis == "tokens" else self.time)


class Series:
    """The curves of a run, as far as they have been read, without superseded steps.

    One thread may read it while another refreshes it. If the run is deleted, it becomes empty.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.progress = (0, 0)
        """How many bytes of the log were read, and the size of the log at the last check."""
        self._lock = threading.RLock()
        self._clear()

    @classmethod
    def load(cls, run: RunDir, step_callback: Callable[[int, int], object] | None = None) -> Self:
        """Load everything that a run has logged; `step_callback(read, total)` is called with the bytes read so far.

        Raises SeedbedError if the log cannot be read.
        """
        series = cls(run)
        for read, total in series.loading():
            if step_callback is not None:
                step_callback(read, total)
        return series

    def loading(self) -> Iterator[tuple[int, int]]:
        """Read the index and the rest of the log, a few megabytes at a time; yields (bytes read, total bytes) after each."""
        with self._lock:
            if not self._builder.offset:
                self._take_index()
        yield self._look()
        while self._read():
            yield self._look()

    def refresh(self) -> bool:
        """Read the lines appended to the log since the last call; returns whether there were any."""
        before, after = self._look()
        another = before > 0 and (after < before or log_checksum(self.run.events) != self._mark)
        if another:  # deleted or replaced
            with self._lock:
                self._clear()
        for _ in self.loading():
            pass
        return another or self._builder.offset != before

    def __len__(self) -> int:
        """The number of steps that are not superseded."""
        with self._lock:
            return int(sum(self._columns[_NUM])) + len(self._builder.open)

    @property
    def validations(self) -> list[Mark]:
        """The validations that can be compared, by step: over a part of the text if there are any, else over all of it."""
        return comparable([mark for kind, mark in self._marks if kind == VALIDATION])

    @property
    def is_simulated(self) -> bool:
        """Whether the times of the newest steps are simulated: seconds on the run's own clock."""
        with self._opened() as columns:
            return bool(columns[_FIRST]) and bool(columns[COLUMN["simulated"]][-1])

    @property
    def checkpoints(self) -> list[Mark]:
        """The marks of all checkpoints in ascending order of steps, including deleted checkpoints."""
        return [mark for kind, mark in self._marks if kind == SAVED]

    @property
    def restarts(self) -> list[Mark]:
        """The marks of the beginnings of all sessions but the first."""
        return [mark for kind, mark in self._marks if kind == RESTART]

    def extent(self, axis: str = "step") -> tuple[float, float] | None:
        """The positions of the first and the last step on an axis; None if there are no steps yet."""
        first, last = AXIS[axis]
        with self._opened() as columns:
            return (float(columns[first][0]), float(columns[last][-1])) if columns[_FIRST] else None

    def window(
        self, x0: float | None = None, x1: float | None = None, px: int = 400, axis: str = "step", key: str = "loss"
    ) -> list[Point]:
        """The steps from x0 to x1 (default: all) as at most about `px` points, and the next point on each side, if any.

        Each point has the lowest and highest value of its steps, so a spike of one step is visible at every zoom. With
        fewer than 64 steps per point, the single steps are read from the log. `key` is one of KEYS, or an open metric
        (one that Seedbed does not know by name) as far as `load_metric` has read it. Raises ValueError for an unknown
        axis.
        """
        if axis not in AXES:
            raise ValueError(f"{axis!r} is none of {AXES}")
        whole = self.extent(axis)
        if whole is None or px < 1:
            return []
        x0 = whole[0] if x0 is None or x0 == -math.inf else x0
        x1 = whole[1] if x1 is None or x1 == math.inf else x1
        if not x0 <= x1:
            return []
        with self._opened() as columns:
            starts, ends = (columns[column] for column in AXIS[axis])
            low, high = bisect_left(ends, x0), bisect_right(ends, x1)
            if high - low > px:
                some = slice(max(low - 1, 0), high + 1)
                odd = columns[_ODD][some] if key == "loss" else None
                grid = (x0, (x1 - x0) / px)
                return list(gather_rows(starts[some], ends[some], self._values(columns, some, key), odd, grid))
            rows = range(max(low - 1, 0), min(high + 1, len(ends)))
            cells = [each for row in rows for each in self._cells(columns, row, axis, key)]
        low = max(bisect_left(cells, x0, key=lambda each: each.x) - 1, 0)
        high = min(bisect_right(cells, x1, key=lambda each: each.x) + 1, len(cells))
        return list(gather(cells[low:high], x0, (x1 - x0) / px))

    # Open metrics ----------------------------------------------------------------------------------------------------

    def load_metric(self, name: str) -> Iterator[tuple[int, int]]:
        """Read an open metric from the log, some rows (of 64 steps each) at a time; yields (rows read, total) after each.

        Rows that were read before are skipped; a million steps take about 1.5 s.
        """
        done = 0
        while True:
            with self._lock:
                known = self._metrics.setdefault(name, {})
                rows = zip(self._columns[_BEGIN], self._columns[_LAST], strict=True)
                missing = [number for number, row in enumerate(rows) if row not in known]
                if not missing or not self._read_metric(name, known, missing[:_ROWS_AT_ONCE]):
                    return
            done += len(missing[:_ROWS_AT_ONCE])
            yield done, done + len(missing[_ROWS_AT_ONCE:])

    def validation_metric(self, name: str) -> list[tuple[Mark, float]]:
        """The validations that have an open metric of this name and can be compared, each with the metric's value."""
        marks = self.validations
        with self._lock:
            known = self._validation_metrics.setdefault(name, {})
            missing = [mark.offset for mark in marks if mark.offset not in known]
            with suppress(OSError), self.run.events.open("rb") as log:
                for offset in missing:
                    log.seek(offset)
                    for event in decode_lines(log.readline(_BLOCK))[0]:
                        known[offset] = (
                            value_in(event, name) if event is not None and event.kind == "eval" else math.nan
                        )
        found = [(mark, known.get(mark.offset, math.nan)) for mark in marks]
        return [(mark, value) for mark, value in found if math.isfinite(value)]

    def _read_metric(self, name: str, known: dict[tuple[float, float], Five], rows: Sequence[int]) -> bool:
        """Summarise an open metric for the rows with these numbers, into `known`; False if the log cannot be read."""
        try:
            with self.run.events.open("rb") as log:
                for number in rows:
                    row = self._row(number)
                    known[row.begin, row.last] = summarised([*values_by_step(log, row, name).values()])
        except OSError:
            return False
        return True

    def _values(self, columns: Sequence[array[float]], rows: slice, key: str) -> Sequence[Sequence[float]]:
        """Weight, sum, lowest, highest and last of a value (one of KEYS, or an open metric) in some rows: five columns."""
        if key in SOURCES:
            return [column[rows] for column in columns[SOURCES[key]]]
        known = self._metrics.get(key, {})
        found = [known.get(row, NOTHING) for row in zip(columns[_BEGIN][rows], columns[_LAST][rows], strict=True)]
        last = len(columns[_BEGIN]) - 1
        if self._builder.open and rows.stop > last:  # the steps that are not in a row yet
            found[-1] = summarised([*self._metric_by_step(columns, last, key).values()])
        return [*zip(*found, strict=True)]

    def _cells(self, columns: Sequence[array[float]], row: int, axis: str, key: str) -> list[Cell]:
        """The values of a row's single steps as cells, for one of KEYS or an open metric."""
        steps = self._steps_of(columns, row)
        if key in SOURCES:
            return [cell(step, axis, key) for step in steps]
        values = self._metric_by_step(columns, row, key)
        return [open_cell(step, axis, values.get(step.step, math.nan)) for step in steps]

    def _metric_by_step(self, columns: Sequence[array[float]], number: int, name: str) -> dict[int, float]:
        """Step -> value of the open metric `name`, for the single steps of the row with the number `number`; cached or read."""
        key = (name, columns[_BEGIN][number], columns[_LAST][number])
        values = self._metric_details.get(key)
        if values is None:
            try:
                with self.run.events.open("rb") as log:
                    values = values_by_step(log, Row(*(column[number] for column in columns)), name)  # type: ignore[arg-type]
            except OSError:
                return {}
            if len(self._metric_details) >= _MOST_DETAIL:
                self._metric_details.pop(next(iter(self._metric_details)))
            self._metric_details[key] = values
        return values

    # Reading ---------------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._columns: list[array[float]] = [array("q" if word < WHOLE_WORDS else "d") for word in range(WORDS)]
        self._marks: list[tuple[int, Mark]] = []
        self._details: dict[int, list[StepValues]] = {}
        self._metrics: dict[str, dict[tuple[float, float], Five]] = {}
        """Open metric -> the weight, sum, lowest, highest and last of its values in each row, by the row's first byte
        and last step."""
        self._validation_metrics: dict[str, dict[int, float]] = {}
        """Open metric -> its value at each validation, by the offset in the log at which the validation's line begins."""
        self._metric_details: dict[tuple[str, float, float], dict[int, float]] = {}
        self._builder = RowBuilder(self._take)
        self._session = 0
        self._mark = 0

    def _look(self) -> tuple[int, int]:
        try:
            total = self.run.events.stat().st_size
        except OSError:
            total = 0
        self.progress = (self._builder.offset, total)
        return self.progress

    def _read(self) -> bool:
        """Read a block of the log; returns False if there is nothing more to read."""
        with self._lock:
            self._mark = self._mark or log_checksum(self.run.events)
            offset = self._builder.offset
            block, after = read_block(self.run.events, offset, _BLOCK)
            if after - len(block) != offset:
                self._clear()
                return bool(block)
            self._builder.add(block)
        return bool(block)

    def _take_index(self) -> None:
        """Load the rows of the index: those of steps are copied column by column, only marks are handled one by one."""
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
            # A mark may get its tokens from the steps before it.
            first = start + chosen.index(True) if True in chosen else cut
            self._take_marks(view, kinds, start, first)
            for column, values in zip(self._columns, words, strict=True):
                column.extend(compress(values[start:cut], chosen))
            self._take_marks(view, kinds, first, min(cut + 1, len(kinds)))
            start = cut + 1
        self._builder = RowBuilder(self._take, unpack(view, len(data) - ROW_BYTES))

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
            self._marks.append((row.kind, Mark(row.first, int(tokens), row.clock, row.loss, best, full, row.begin)))

    def _void(self, step: int) -> None:
        """Drop steps and marks after `step`; the row that contains `step` is summarised again from the log."""
        self._marks = [(kind, mark) for kind, mark in self._marks if mark.step <= step]
        keep = bisect_right(self._columns[_FIRST], step)
        cut = self._row(keep - 1) if keep and self._columns[_LAST][keep - 1] > step else None
        for begin in self._columns[_BEGIN][max(keep - 1, 0) :]:
            self._details.pop(int(begin), None)
        for column in self._columns:
            del column[keep - 1 if cut else keep :]
        kept = [each for each in self._read_again(cut) if each.step <= step] if cut else []
        if cut and kept:
            remade = summarise(kept, (cut.begin, cut.end), cut.session, cut.before, cut.t, cut.simulated)
            for column, value in zip(self._columns, remade, strict=True):
                column.append(value)

    def _row(self, number: int) -> Row:
        return Row(*(column[number] for column in self._columns))  # type: ignore[arg-type]

    # Rows as cells ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[list[array[float]]]:
        """Context manager: hold the lock and yield the columns; their last row has the steps that are not in a row yet."""
        with self._lock:
            row = self._builder.row()
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

    def _steps_of(self, columns: Sequence[array[float]], number: int) -> list[StepValues]:
        """The single steps that a row summarises: those that are not in a row yet, or cached ones, or read from the log."""
        if number == len(columns[_BEGIN]) - 1 and self._builder.open:
            return self._builder.open
        row = Row(*(column[number] for column in columns))  # type: ignore[arg-type]
        kept = self._details.get(row.begin)
        if kept is None:
            kept = self._read_again(row)
            if len(self._details) >= _MOST_DETAIL:
                self._details.pop(next(iter(self._details)))
            if kept:
                self._details[row.begin] = kept
        return kept

    def _read_again(self, row: Row) -> list[StepValues]:
        """The single steps that a row summarises, read from the log; empty if the log cannot be read."""
        try:
            with self.run.events.open("rb") as handle:
                handle.seek(row.begin)
                block = handle.read(row.end - row.begin)
        except OSError:
            return []
        return decode_steps(row, block[: block.rfind(b"\n") + 1])
