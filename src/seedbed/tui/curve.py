"""A widget that draws losses or another metric of runs as Braille curves along steps, tokens or time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from textwrap import wrap

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from seedbed import text
from seedbed.chart.axes import AXIS, FAINT, Marks, bounds
from seedbed.chart.braille import Picture, Span, plot
from seedbed.presentation.curves import METRICS, Drawn, axis_label, extent, lines, run_tag, short_label
from seedbed.runs.curves.points import AXES
from seedbed.runs.curves.series import Series
from seedbed.tui.safe_text import fitted_text

SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)
COLOURS = ("#6ea8ff", "#ffb454", "#56d364", "#f778ba", "#bc8cff", "#5fd7d7")
"""The colours of several runs in one plot. A single run has the first one for training, the second for validation."""
DIM_COLOURS = ("#35507c", "#7a5a30", "#2f6b3a", "#76406a", "#5c4a80", "#346868")
SAVED_GLYPH, BEST_GLYPH, SCORE_GLYPH, RESTART_GLYPH = "▴", "▲", "◇", "↻"
MEANINGS = {SCORE_GLYPH: "validated", SAVED_GLYPH: "saved", BEST_GLYPH: "best", RESTART_GLYPH: "resumed"}
_LEAST_FOR_MARKS = 6
"""The height of the plot in rows below which no marks are shown (of validations, checkpoints and resumes)."""
_FRAME = "#8b949e"


class Curve(Widget):
    """A plot of the training and validation loss of a run, or of one metric of one or several runs.

    A column shows the range from the lowest to the highest value of its steps, so a spike of one step stays visible.
    """

    DEFAULT_CSS = "Curve { height: 1fr; min-height: 4; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self.shown: list[Drawn] = []
        self.axis = AXES[0]
        self.metric = "loss"
        """The metric to draw: a name of presentation.curves.METRICS, or an open metric (see there)."""
        self.own: list[str] = []
        """The open metrics of the runs that are shown."""
        self.is_log = False
        self.smoothing = 0.0
        self.window: tuple[float, float] | None = None
        """The range of x that is shown; None shows the whole curve."""
        self._note = ""
        self._key: tuple[object, ...] | None = None
        self._strips: list[Strip] = []
        self._picture: Picture | None = None
        self._pointed: int | None = None
        self._drawn: list[tuple[int, ...]] = []

    def show(self, shown: Sequence[Drawn], note: str = "") -> None:
        """Draw the curves of these runs.

        `note` is shown beside the legend, or in place of the curves if there are none.
        """
        if [each.series for each in shown] != [each.series for each in self.shown]:
            self.window = None
        self.shown, self._note = list(shown), note
        self.changed()

    async def load(self, series: Series, drawn: list[Drawn]) -> None:
        """Read the curves of a run from its log, and its open metric if that is drawn; show how much has been read.

        The log is read in a thread.
        """
        pieces = [series.loading()]
        if self.metric in self.own:
            pieces.append(series.load_metric(self.metric))
        for each in pieces:
            while (progress := await asyncio.to_thread(next, each, None)) is not None:
                read, total = progress
                if read < total:
                    self.show(drawn, f"reading {read / total:.0%}")

    def next_metric(self) -> str:
        """Draw the next metric and return its name: first those that every run has, then the open metrics of the runs.

        An open metric is one that Seedbed does not know by name; its points are read by `load`.
        """
        names = [*METRICS, *self.own]
        self.metric = names[(names.index(self.metric) + 1) % len(names)] if self.metric in names else names[0]
        self.changed()
        return self.metric

    def remark(self, note: str) -> None:
        """Change the note beside the legend, or in place of the curves if there are none."""
        if note != self._note:
            self._note = note
            self.changed()

    def changed(self) -> None:
        """Draw again, because the curves have grown or an option has changed."""
        self._key = None
        self.refresh()

    def grown(self) -> None:
        """Draw again if the curves have more points than when they were drawn."""
        if self._lengths() != self._drawn:
            self.changed()

    def _lengths(self) -> list[tuple[int, ...]]:
        curves = [each.series for each in self.shown]
        return [(len(each), len(each.validations), len(each.checkpoints), len(each.restarts)) for each in curves]

    def next_axis(self) -> str:
        """Draw along the next x axis (steps, tokens, time, then steps again) and return its name."""
        self.axis = AXES[(AXES.index(self.axis) + 1) % len(AXES)]
        self.window = None
        self.changed()
        return self.axis

    def toggle_log(self) -> bool:
        """Change the y axis from linear to logarithmic or back; returns whether it is logarithmic."""
        self.is_log = not self.is_log
        self.changed()
        return self.is_log

    def next_smoothing(self) -> float:
        """Draw with the next smoothing factor of the exponential moving average (0 is off) and return the factor."""
        place = SMOOTHINGS.index(self.smoothing) if self.smoothing in SMOOTHINGS else -1
        self.smoothing = SMOOTHINGS[(place + 1) % len(SMOOTHINGS)]
        self.changed()
        return self.smoothing

    def zoom(self, factor: float) -> None:
        """Zoom around the pointer, or around the middle.

        A `factor` below 1 shows a smaller range of x, one above 1 a larger.
        """
        whole = self._extent()
        if whole is None:
            return
        left, right = self.window or whole
        middle = (left + right) / 2
        if self._picture is not None and self._pointed is not None:
            middle = self._picture.x_at(self._pointed) or middle
        left, right = middle - (middle - left) * factor, middle + (right - middle) * factor
        least = max((whole[1] - whole[0]) * 1e-6, 4.0 if self.axis == "step" else 1e-6)
        if right - left < least:
            return
        self._set_window(left, right, whole)

    def pan(self, share: float) -> None:
        """Move the visible range of x by a share of its width; a negative share moves it to earlier steps."""
        whole = self._extent()
        if whole is None or self.window is None:
            return
        left, right = self.window
        shift = min(max((right - left) * share, whole[0] - left), whole[1] - right)
        self._set_window(left + shift, right + shift, whole)

    def show_all(self) -> None:
        """Show the whole curve again, after a zoom."""
        self.window = None
        self.changed()

    def _set_window(self, left: float, right: float, whole: tuple[float, float]) -> None:
        if self.axis != "time":  # steps and tokens are whole numbers
            left, right = math.floor(left + 0.5), math.floor(right + 0.5)
        left, right = max(left, whole[0]), min(right, whole[1])
        self.window = None if (left, right) == whole else (left, right)
        self.changed()

    def _extent(self) -> tuple[float, float] | None:
        return extent(self.shown, self.axis)

    # Drawing ---------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Row `y` of the widget. The picture is drawn again only if something has changed."""
        key = (self.size, self.axis, self.metric, self.is_log, self.smoothing, self.window)
        if key != self._key:
            self._key = key
            self._strips = self._draw()
        width = self.size.width
        if y >= len(self._strips):
            return Strip.blank(width, self.rich_style)
        return self._strips[y].adjust_cell_length(width, self.rich_style)

    def _draw(self) -> list[Strip]:
        width, height = self.size.width, self.size.height
        self._drawn = self._lengths()
        if width < 10 or height < 3:
            return []
        drawn = lines(
            self.shown, axis=self.axis, metric=self.metric, smoothing=self.smoothing, window=self.window, px=2 * width
        )
        marks = self._marks()
        self._picture = None
        if drawn:
            rows = height - 1
            if rows < _LEAST_FOR_MARKS:
                marks = []
            left, right = self.window or self._extent() or (None, None)
            box = bounds(drawn, log=self.is_log, x0=left, x1=right)
            x_text = text.duration if self.axis == "time" else None
            self._picture = plot(
                drawn, width, rows, box=box, log=self.is_log, marks=marks, x_text=x_text, whole_x=self.axis != "time"
            )
        if self._picture is None:
            words = self._note or (
                f"No {'losses' if self.metric == 'loss' else short_label(self.metric, self.shown)} yet."
                if self.shown
                else "No run is selected."
            )
            said = [fitted_text(line, width).plain for line in wrap(words, width - 2)[:height]]
            blank = [Strip.blank(width, self.rich_style)] * ((height - len(said)) // 2)
            return [*blank, *(self._row([(" " * ((width - cell_len(line)) // 2) + line, _FRAME)]) for line in said)]
        painted = [self._paint(row) for row in self._picture.rows]
        return [self._legend(width, marks), *painted]

    def _marks(self) -> list[Marks]:
        if len(self.shown) != 1:
            return []
        series, axis = self.shown[0].series, self.axis
        saved = series.checkpoints
        return [
            Marks(SCORE_GLYPH, [mark.at(axis) for mark in series.validations], 1),
            Marks(SAVED_GLYPH, [mark.at(axis) for mark in saved if not mark.best], 2),
            Marks(BEST_GLYPH, [mark.at(axis) for mark in saved if mark.best], 2),
            Marks(RESTART_GLYPH, [mark.at(axis) for mark in series.restarts], 3),
        ]

    def _legend(self, width: int, marks: Sequence[Marks]) -> Strip:
        """The row above the curves: what colours and marks mean, or the values under the pointer; then the options."""
        pieces: list[tuple[str, str]] = []
        pointed = self._pointed_values()
        if pointed is not None:
            pieces.append((pointed, "bold"))
        elif len(self.shown) == 1:
            pieces.append(
                (f"⣿ {'train' if self.metric == 'loss' else short_label(self.metric, self.shown)} ", COLOURS[0])
            )
            if self.metric == "loss" and self.shown[0].series.validations:
                pieces.append(("⠒ validation ", COLOURS[1]))
        else:
            room = max(6, (width - 24) // max(len(self.shown), 1) - 4)
            for number, each in enumerate(self.shown):
                pieces.append(
                    (f"⣿{run_tag(number)} {fitted_text(each.name, room).plain} ", COLOURS[number % len(COLOURS)])
                )
        options = [f"x: {axis_label(self.shown, self.axis)}", "log" if self.is_log else ""]
        options.append(f"EMA {self.smoothing:g}" if self.smoothing else "")
        if self.metric != "loss" and len(self.shown) > 1:
            options.insert(0, f"y: {short_label(self.metric, self.shown)}")
        if self.window is not None:
            options.append("zoomed")
        if self._note:
            options.insert(0, self._note)
        right = " · ".join(option for option in options if option)
        right = fitted_text(right, max(width - sum(cell_len(piece) for piece, _ in pieces) - 1, 0)).plain
        gap = width - sum(cell_len(piece) for piece, _ in pieces) - cell_len(right)
        if pointed is None:
            for mark in marks:
                meaning = f"{mark.glyph} {MEANINGS[mark.glyph]} "
                if mark.x and gap > cell_len(meaning) + 2:
                    pieces.append((meaning, COLOURS[mark.series]))
                    gap -= cell_len(meaning)
        if gap > 0:
            pieces.append((" " * gap + right, _FRAME))
        return self._row(pieces)

    def _row(self, pieces: Sequence[tuple[str, str]]) -> Strip:
        base = self.rich_style
        return Strip([Segment(words, base + Style.parse(style)) for words, style in pieces])

    def _pointed_values(self) -> str | None:
        if self._pointed is None or self._picture is None or not self.shown or self.metric == "val_loss":
            return None
        x = self._picture.x_at(self._pointed)
        if x is None:
            return None
        box = self._picture.box
        reach = (box.x1 - box.x0) / max(self._picture.columns, 1)
        said = []
        for each in self.shown[:3]:
            near = each.series.window(x - reach / 2, x + reach / 2, px=1, axis=self.axis, key=self.metric)
            inside = [point for point in near if point.x1 >= x - reach / 2 and point.x0 <= x + reach / 2]
            if inside and math.isfinite(inside[0].mean):
                point = inside[0]
                spread = f" ({point.low:.4g} to {point.high:.4g})" if point.high > point.low else ""
                said.append(f"{point.mean:.4f}{spread}" if self.metric == "loss" else f"{point.mean:.4g}{spread}")
        at = text.duration(x) if self.axis == "time" else text.count(x) if self.axis == "tokens" else f"{x:,.0f}"
        return f"{self.axis} {at}: {', '.join(said)}" if said else None

    def _paint(self, row: list[Span]) -> Strip:
        base = self.rich_style
        return Strip([Segment(span.text, base + _style(span.series)) for span in row])

    # The pointer -----------------------------------------------------------------------------------------------------

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Show the values of the curves under the pointer."""
        if event.x != self._pointed:
            self._pointed = event.x
            self.changed()

    def on_leave(self) -> None:
        """Remove the values under the pointer, because the pointer has left the curve."""
        self._pointed = None
        self.changed()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in around the pointer."""
        event.stop()
        self.zoom(0.7)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out around the pointer."""
        event.stop()
        self.zoom(1 / 0.7)


def _style(series: int) -> Style:
    if series == AXIS:
        return Style(color=_FRAME)
    colours = DIM_COLOURS if series >= FAINT else COLOURS
    return Style(color=colours[series % FAINT % len(colours)])
