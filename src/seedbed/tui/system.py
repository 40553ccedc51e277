"""Panel 2: the load of the machine, as a running job logs it, or measured here every second if no job runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget

from seedbed import text
from seedbed.presentation import machine
from seedbed.presentation.machine import Gauge
from seedbed.presentation.wording import simulated
from seedbed.runs.control import shown_status
from seedbed.tui.panel import Panel
from seedbed.tui.safe_text import fitted_text, safe_text, status_style
from seedbed.tui.wrapped_text import WrappedText

if TYPE_CHECKING:
    from seedbed.hardware.sampler import Sampler

_BARS = " ▁▂▃▄▅▆▇█"
_HISTORY = 120
"""The number of earlier shares (of CPU, memory and so on) that are kept for each gauge."""
_LABEL_CELLS = 6
_MAX_RUNS = 8
_BUSY, _FULL = 0.75, 0.92
"""A bar is yellow from the first of these shares on, and red from the second."""


class SystemPanel(Panel):
    """The panel System: CPU, memory, GPU, disk, and the live runs.

    An unknown value is shown as `n/a` with the reason.
    """

    NUMBER = 2
    NAME = "System"

    def __init__(self) -> None:
        super().__init__()
        self._sampler: Sampler | None = None
        self._history: dict[str, deque[float]] = {
            name: deque(maxlen=_HISTORY) for name in ("cpu", "ram", "gpu", "vram")
        }
        self._figures: dict[str, Any] = {}
        self._source = ""
        self._seen: object = None

    def compose(self) -> ComposeResult:
        """Yield one text in an area that scrolls."""
        with VerticalScroll(id="system-scroll"):
            yield WrappedText(id="system-text")

    def home(self) -> Widget:
        """The area with the text, which gets the focus so that it can be scrolled."""
        return self.query_one("#system-scroll")

    def on_resize(self) -> None:
        """Draw the bars for the new width."""
        self._draw()

    def update(self, changed: set[str]) -> None:
        """Show the latest load that the running job has logged."""
        source = machine.measuring_run(self.state.live(), self.state.chosen)
        if source is not None and source.hardware is not None and source.hardware != self._seen:
            self._seen = source.hardware
            self._set_figures(source.hardware, f"recorded by {source.status['name']}")
        self._draw()

    def chosen_changed(self) -> None:
        """Show the load that the job of the chosen run has logged."""
        self.update(set())

    async def look(self) -> None:
        """Measure and show the load of the machine, unless a job does that. Called every second."""
        if machine.measuring_run(self.state.live(), self.state.chosen) is not None:
            return
        if self._sampler is None:
            from seedbed.hardware.sampler import Sampler

            self._sampler = Sampler()
        sampled = await asyncio.to_thread(self._sampler.sample)
        figures = {name: getattr(sampled, name) for name in sampled.__struct_fields__}
        figures.pop("rss_bytes")  # the memory of the window's own process
        figures.pop("process_cpu_fraction", None)
        self._set_figures(figures, "measured by this window: no job is training")
        self._draw()

    def _set_figures(self, figures: Mapping[str, Any], source: str) -> None:
        self._figures, self._source = dict(figures), source
        for name, share in machine.shares(figures).items():
            self._history[name].append(share)

    # Drawing ---------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        if not (self.is_mounted and self.window.is_running):
            return
        width = max(self.size.width - 2, 20)
        lines = [*self._gauges(width), *self._runs()]
        for line in lines:
            if line.no_wrap is not False:
                line.truncate(width, overflow="ellipsis")
        self.query_one("#system-text", WrappedText).set_text(Text("\n").join(lines))
        self.set_summary(machine.summary(self._figures))

    def _gauges(self, width: int) -> list[Text]:
        lines, last_reason = [], ""
        for gauge in machine.gauges(self._figures):
            if gauge.reason:
                lines.append(_unknown(gauge, is_repeated=gauge.reason == last_reason))
                last_reason = gauge.reason
            elif gauge.share is None:
                lines.append(_line(gauge.label, gauge.detail))
            else:
                lines.append(_bar(gauge, gauge.share, self._history[gauge.history], width))
        return lines

    def _runs(self) -> list[Text]:
        live = self.state.live()
        lines = [
            _line("disk", machine.free_disk(self.state.store.root)),
            _line("runs", machine.live_summary(live)),
        ]
        for each in live[:_MAX_RUNS]:
            status = shown_status(each.status)
            line = Text.assemble("  ", fitted_text(each.status["name"], 24, "bold"), " ", end="")
            line.append(status, style=status_style(status))
            if each.status["remaining_s"] is not None:
                clock = simulated(each.status["simulated"])
                line.append(f"  {text.duration(each.status['remaining_s'])} left{clock}")
            if load := machine.cluster_load(each):
                line.append(f"  {load}")
            if each.status["reason"]:
                line.append_text(safe_text(f"  {each.status['reason']}", "yellow"))
            lines.append(line)
        return [*lines, safe_text(self._source, "dim")]


def _bar(gauge: Gauge, share: float, history: deque[float], width: int) -> Text:
    """A gauge as a line of text: a bar, a percentage, details, and the earlier shares if there is room."""
    share = min(max(share, 0.0), 1.0)
    line = Text(f"{gauge.label:<{_LABEL_CELLS}}", style="dim", end="")
    cells = min(max((width - _LABEL_CELLS - 8) // 4, 6), 20)
    filled = round(share * cells)
    line.append("█" * filled, style="green" if share < _BUSY else "yellow" if share < _FULL else "red")
    line.append("░" * (cells - filled), style="dim")
    line.append(f" {share:>4.0%}  ", style="bold")
    line.append(gauge.detail)
    room = width - line.cell_len - 2
    if room >= 8:
        recent = list(history)[-min(room, 40) :]
        line.append("  " + "".join(_BARS[round(min(max(value, 0), 1) * 8)] for value in recent), style="cyan")
    return line


def _unknown(gauge: Gauge, *, is_repeated: bool) -> Text:
    line = _line(gauge.label, "n/a ")
    line.no_wrap = False
    line.append_text(safe_text("(same reason)" if is_repeated else f"({gauge.reason})", "dim"))
    return line


def _line(label: str, value: str) -> Text:
    return Text.assemble((f"{label:<{_LABEL_CELLS}}", "dim"), safe_text(value), end="")
