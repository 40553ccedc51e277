"""The full-screen view of the show: figures, the heat map of the GPUs, the loss curve, and the last rows of the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from seedbed.chart.axes import AXIS, Line
from seedbed.chart.braille import braille
from seedbed.events import Event, Hardware
from seedbed.presentation.show.heat_map import Grid, grid, heat_map
from seedbed.presentation.show.lines import rows_of
from seedbed.presentation.show.rows import Glyphs, Row, ansi, fitted, parts, row
from seedbed.simulate.show import items
from seedbed.simulate.show.gpus import GpuLoads, GpuValues
from seedbed.simulate.show.items import Beat, Item
from seedbed.simulate.show.playlist import Take
from seedbed.simulate.telemetry import INTAKE_C
from seedbed.text import painted

_LOG_ROWS = 100
_MOST_SHOWN = 4096
"""GPUs that the map shows; of more, it shows a sample."""
_HOTTEST_C = 90.0
_LEAST_CURVE, _LEAST_LOG, _MOST_CURVE = 4, 3, 16


class Metric(NamedTuple):
    """What the heat map can show: its key, its name, a GPU's heat from 0 to 1, and the mean as text."""

    key: str
    name: str
    heat: Callable[[GpuLoads, GpuValues], float]
    mean: Callable[[GpuLoads, GpuValues], str]


METRICS = (
    # The fourth power shows differences between busy GPUs.
    Metric("u", "utilisation", lambda loads, gpu: gpu.fraction**4, lambda loads, gpu: f"{gpu.fraction:.1%}"),
    Metric(
        "m",
        "memory",
        lambda loads, gpu: gpu.used_bytes / loads.total_bytes if loads.total_bytes else 0.0,
        lambda loads, gpu: f"{gpu.used_bytes / 2**30:.1f} of {loads.total_bytes / 2**30:.1f} GiB",
    ),
    Metric(
        "t",
        "temperature",
        lambda loads, gpu: (gpu.celsius - INTAKE_C) / (_HOTTEST_C - INTAKE_C),
        lambda loads, gpu: f"{gpu.celsius:.1f} C",
    ),
    Metric("p", "power", lambda loads, gpu: gpu.watts / loads.limit_w, lambda loads, gpu: f"{gpu.watts:.0f} W"),
)


class Dashboard:
    """What the full-screen view shows. Tell it of each beat; then ask for frames."""

    def __init__(self, seed: int, glyphs: Glyphs, *, colour: bool) -> None:
        self.metric = METRICS[0]
        self._seed, self._glyphs, self._colour = seed, glyphs, colour
        self._log: deque[Item | Event] = deque(maxlen=_LOG_ROWS)
        self._run: items.RunBegins | None = None
        self._loads: GpuLoads | None = None
        self._last: items.Training | None = None
        self._progress: items.Bar | None = None
        self._doing = "starting"
        self.points: list[tuple[int, float]] = []
        """Step and loss of the curve."""
        self._curve: tuple[tuple[int, int, int], list[str]] = ((-1, -1, -1), [])
        self._map: tuple[tuple[int, int, int], Grid] | None = None

    def press(self, key: str) -> bool:
        """Take a key that was pressed; returns whether it selects something to show."""
        for metric in METRICS:
            if metric.key == key.lower():
                self.metric = metric
                return True
        return False

    def hear(self, beat: Beat, take: Take) -> None:
        """Take over an item of a run of the show."""
        item = beat.item
        match item:
            case items.RunBegins():
                self._loads = GpuLoads(take.scenario, take.plan.setup.layout.pp)
                self._run, self._last, self._progress, self.points = item, None, None, []
                self._doing, self._map = "starting", None
            case Hardware() if self._loads is not None:
                self._loads.hear(beat.at_s, item)
            case items.Training():
                self.points = [each for each in self.points if each[0] < item.step]
                self.points.append((item.step, item.loss))
                self._last, self._progress, self._doing = item, None, "training"
            case items.Bar():
                self._progress, self._doing = item, {"validation": "validating", "export": "exporting"}[item.what]
            case items.SaveBegins():
                self._doing = "saving"
            case items.Hanging():
                self._doing = "collective hangs"
            case items.Restarting():
                self._doing = "restarting"
            case items.ExportBegins():
                self._doing = "exporting"
            case items.RunEnds():
                self._doing = "complete"
        if not isinstance(item, items.GpuTable | Hardware | items.RunBegins | items.LearningRate | items.RunEnds):
            self._log.append(item)

    def frame(self, at_s: float, width: int, height: int) -> list[str]:
        """The rows of the screen at a time of the show, at most `height` of at most `width` columns, with ANSI codes."""
        rows = [self._title(width), *self._figures(width)][: max(height, 1)]
        left = height - len(rows) - 1
        if left > 0:
            rows += self._below(at_s, width, left)
        if height > len(rows) and height > 1:
            rows += [""] * (height - len(rows) - 1) + [self._keys(width)]
        return rows

    def _below(self, at_s: float, width: int, left: int) -> list[str]:
        """The map, the curve and the log in `left` rows."""
        rows: list[str] = []
        if self._loads is not None and left >= 3 + _LEAST_LOG:
            rows += self._gpus(at_s, width, left - 1 - _LEAST_LOG)
        left -= len(rows)
        curve = min(max(left // 2, _LEAST_CURVE), _MOST_CURVE)
        if len(self.points) > 1 and left >= _LEAST_CURVE + _LEAST_LOG:
            rows += self._losses(width, curve)
            left -= curve
        return rows + self._last_rows(width, left)

    def _title(self, width: int) -> str:
        words = [" SIMULATED", f"seed {self._seed}"]
        if self._run is not None:
            run = self._run
            model, gpus = f"run {run.number}: {run.model}", f"{run.num_gpus:,} x {run.gpu}"
            whole = len("  ".join([*words, model])) + len(gpus) + 2 <= width
            words.append(f"{model}, {gpus}" if whole else model)
        return painted(parts(width, *words).text.ljust(width), "reverse")

    def _figures(self, width: int) -> list[str]:
        last = self._last
        if last is None:
            return [self._row(row((f"[{self._doing}]", "yellow")), width), "", self._bar(width)]
        mfu = f"MFU {last.mfu:.1%}" if last.mfu is not None else ""
        first = parts(
            width,
            (f"loss {last.loss:.4f}", "bold cyan"),
            f"ppl {last.perplexity:,.2f}",
            f"step {last.step:,}/{last.steps:,}",
            f"lr {last.lr:.2e}",
            f"grad_norm {last.grad_norm:.3f}",
        )
        second = parts(
            width,
            (f"[{self._doing}]", "green" if self._doing == "training" else "yellow"),
            f"{last.tokens_per_s:,.0f} tok/s",
            f"{last.samples_per_s:,.1f} samples/s",
            *([mfu] if mfu else []),
            f"step {last.step_s:.2f} s",
        )
        return [self._row(first, width), self._row(second, width), self._bar(width)]

    def _bar(self, width: int) -> str:
        item = self._progress or self._last
        if item is None:
            return ""
        found = [each for each in rows_of(item, width, self._glyphs) if each.is_bar]
        return self._row(found[-1], width) if found else ""

    def _gpus(self, at_s: float, width: int, most_rows: int) -> list[str]:
        loads, metric = self._loads, self.metric
        assert loads is not None, "the map is drawn only if there are GPUs"
        shown = self._shown(loads.gpus)
        count = len(shown)
        key = (width, most_rows, count)
        if self._map is None or self._map[0] != key:
            self._map = (key, grid(count, loads.per_node, width, most_rows))
        values = loads.many(shown, at_s)
        mean = GpuValues(
            sum(each.fraction for each in values) / count,
            sum(each.used_bytes for each in values) // count,
            sum(each.celsius for each in values) / count,
            sum(each.watts for each in values) / count,
        )
        merged = self._map[1].merged * loads.gpus / count
        per_cell = f", {merged:.3g} in a cell" if merged > 1 else ""
        words = metric.mean(loads, mean)
        names = (f"{metric.name}: mean {words}", f"{metric.name} {words}", words)
        title = parts(
            width,
            (next((each for each in names if len(each) <= width), words), "bold"),
            f"{loads.gpus:,} GPUs{per_cell}",
            f"total {mean.watts * loads.gpus / 1e3:,.0f} kW",
        )
        heats = [metric.heat(loads, each) for each in values]
        return [self._row(title, width), *heat_map(heats, self._map[1], self._glyphs, colour=self._colour)]

    @staticmethod
    def _shown(gpus: int) -> tuple[int, ...] | range:
        """The numbers of the GPUs that the map shows: of a large cluster, one of several, at all places in their nodes."""
        step = -(-gpus // _MOST_SHOWN)
        if step == 1:
            return range(gpus)
        return tuple(min(first + first // step % step, gpus - 1) for first in range(0, gpus, step))

    def _losses(self, width: int, height: int) -> list[str]:
        key = (width, height, len(self.points))
        if self._curve[0] != key:
            line = Line("loss", [each[0] for each in self.points], [each[1] for each in self.points])
            # Braille needs Unicode.
            drawn = braille([line], width, height, whole_x=True) if self._glyphs.half else []
            rows = [
                fitted(row(*((span.text, "dim" if span.series == AXIS else "cyan") for span in each)), width)
                for each in drawn
            ]
            self._curve = (key, [ansi(each, colour=self._colour) for each in rows][:height])
        found = self._curve[1]
        return found + [""] * (height - len(found))

    def _last_rows(self, width: int, most: int) -> list[str]:
        found: list[Row] = []
        for item in reversed(self._log):
            rows = [each for each in rows_of(item, width, self._glyphs) if not each.is_bar and each.text.strip()]
            found[:0] = rows
            if len(found) >= most:
                break
        return [ansi(each, colour=self._colour) for each in found[-most:]] if most > 0 else []

    def _keys(self, width: int) -> str:
        keys = "  ".join(f"{each.key} {each.name}" for each in METRICS)
        return self._row(parts(width, ("SIMULATED", "bold"), ("q quit", "dim"), (keys, "dim")), width)

    def _row(self, given: Row, width: int) -> str:
        return ansi(fitted(given, width), colour=self._colour)
