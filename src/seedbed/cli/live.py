"""A display of a run that is redrawn on a terminal: progress, figures and a small curve, drawn with rich."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seedbed import events, text
from seedbed.chart.braille import braille
from seedbed.cli.console import colour
from seedbed.cli.summary import style_of
from seedbed.events import Record
from seedbed.presentation import curves, wording
from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir
from seedbed.runs.superseded import begins_at
from seedbed.runs.view import View

REDRAW_S = 0.2
CURVE_S = 1.0
_CURVE_ROWS = 8


class LiveDisplay:
    """Redraws progress, figures and a curve of a run in place; lines for events are printed above them."""

    def __init__(self, run: RunDir, stream: TextIO) -> None:
        self._console = Console(file=stream, no_color=not colour(stream), highlight=False, markup=False, emoji=False)
        self._console.print(Text.assemble((run.name(), "bold"), ("  " + run.id, "dim")))
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._next_redraw = self._next_curve = 0.0
        self._curve: list[Text] = []

    def record(self, record: Record, view: View) -> None:
        """Print the lines of an event, if it has any, above the display."""
        event = record.event
        if isinstance(event, events.Run) and begins_at(event) is not None:
            for line in wording.setting(event):
                self._console.print(Text(line, style="dim"))
        elif isinstance(event, events.Run) and (change := wording.pause_or_resume(event)):
            self._console.print(Text(change, style="yellow"))
        elif isinstance(event, events.Eval):
            self._console.print(Text(wording.score(event)))
        elif isinstance(event, events.Message):
            self._console.print(Text(wording.message(event), style="yellow" if event.level != "info" else ""))
        elif isinstance(event, events.Node | events.Plugin) and (shown := wording.line(event)):
            self._console.print(Text(shown[0], style=shown[1]))

    def tick(self, view: View, series: Series) -> None:
        """Redraw the display at most five times a second, and the curve in it once a second."""
        now = time.monotonic()
        if now < self._next_redraw:
            return
        self._next_redraw = now + REDRAW_S
        if now >= self._next_curve:
            self._next_curve = now + CURVE_S
            self._curve = self._draw(series)
        self._live.update(self._display(view), refresh=True)

    def show_message(self, line: str) -> None:
        """Print a message above the display."""
        self._console.print(Text(line, style="bold yellow"))

    def close(self) -> None:
        """Remove the display from the terminal."""
        self._live.stop()

    def _display(self, view: View) -> RenderableType:
        parts: list[RenderableType] = [*self._curve] if view.session_steps else []
        phase = view.phases[-1] if view.phases else ""
        progress = view.progress
        if progress is not None and phase != "train":
            seconds = view.remaining_s() if view.work_began is not None else None
            left = f"{text.duration(seconds)} left" if seconds is not None else ""
            parts.append(self._bar(progress["done"], progress["total"], text.printable(str(progress["stage"])), left))
        elif view.steps:
            remaining = view.remaining_s() if view.session_steps else None
            left = (
                f"{text.duration(remaining)} left{wording.simulated(view.simulated)}" if remaining is not None else ""
            )
            parts.append(self._bar(view.step, view.steps, wording.step_of_steps(view), left))
        if view.session_steps:
            parts.append(Text("  ".join(self._figures(view)), no_wrap=True, overflow="ellipsis"))
        elif progress is None:
            parts.append(Text(f"{text.stage(phase) if phase else 'starting'} ...", style="dim"))
        return Group(*parts)

    def _bar(self, done: float, total: float | None, label: str, left: str) -> RenderableType:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        share = f"{min(done / total, 1):.0%} {left}".strip() if total else text.count(done)
        bar = ProgressBar(
            total=total or None, completed=min(done, total or done), pulse=not total, complete_style="green"
        )
        grid.add_row(Text(label, style="bold"), bar, Text(share))
        return grid

    def _figures(self, view: View) -> list[str]:
        figures = wording.progress(view).split("  ")[1:]
        if view.remaining_s() is not None:
            figures = figures[:-1]  # the bar shows the remaining time
        phase = view.phases[-1] if view.phases else ""
        return figures + ([text.stage(phase)] if phase not in ("", "train") else [])

    def _draw(self, series: Series) -> list[Text]:
        if self._console.encoding.lower().replace("-", "") != "utf8" or self._console.height < 20:
            return []
        columns = min(self._console.width, 90)
        series.refresh()
        drawn = braille(curves.lines([curves.Drawn("", series)], px=2 * columns), columns, _CURVE_ROWS, whole_x=True)
        return [
            Text.assemble(
                *((span.text, style_of(span.series)) for span in row),
                no_wrap=True,
            )
            for row in drawn
        ]
