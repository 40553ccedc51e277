"""Panel 2: how busy the machine is, by what a running job records; with none running, by a look of its own each second."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget

from seedbed import text
from seedbed.runs.status import word
from seedbed.runs.statuses import WORKING
from seedbed.runs.watch import Listed
from seedbed.tui.panel import Panel
from seedbed.tui.safe_text import fitted_text, safe_text, status_style
from seedbed.tui.wrapped_text import WrappedText

if TYPE_CHECKING:
    from seedbed.hardware.sample import Sampler

_BARS = " ▁▂▃▄▅▆▇█"
_KEPT = 120
_LABEL = 6
_AWAY = "unknown"


class SystemPanel(Panel):
    """CPU, memory, GPU, disk, and what is left of the runs at work. What cannot be told is `n/a` with the reason."""

    NUMBER = 2
    NAME = "System"

    def __init__(self) -> None:
        super().__init__()
        self._sampler: Sampler | None = None
        self._history: dict[str, deque[float]] = {name: deque(maxlen=_KEPT) for name in ("cpu", "ram", "gpu", "vram")}
        self._figures: dict[str, Any] = {}
        self._source = ""
        self._reason = ""
        self._seen: object = None

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll(id="system-scroll"):
            yield WrappedText(id="system-text")

    def home(self) -> Widget:
        """The text, so that it can be scrolled."""
        return self.query_one("#system-scroll")

    def on_resize(self) -> None:
        """Bars as wide as there is room for."""
        self._paint()

    def update(self, changed: set[str]) -> None:
        """Show what the run at work recorded last."""
        source = self.source()
        if source is not None and source.hardware is not None and source.hardware != self._seen:
            self._seen = source.hardware
            self._take(source.hardware, f"recorded by {source.status['name']}")
        self._paint()

    def chosen_changed(self) -> None:
        """The machine as that run's job sees it."""
        self.update(set())

    def source(self) -> Listed | None:
        """The run whose job looks at the machine: the chosen one if it is at work, else the newest at work."""
        at_work = [each for each in self.state.living() if each.status["status"] in WORKING]
        chosen = [each for each in at_work if each.run.id == self.state.chosen]
        return next((each for each in [*chosen, *at_work] if each.hardware is not None), None)

    async def look(self) -> None:
        """Look at the machine ourselves, unless a job does. Called each second."""
        if self.source() is not None:
            return
        if self._sampler is None:
            from seedbed.hardware.sample import Sampler

            self._sampler = Sampler()
        sampled = await asyncio.to_thread(self._sampler.sample)
        figures = {name: getattr(sampled, name) for name in sampled.__struct_fields__}
        figures.pop("rss_bytes")  # ours, and of no interest
        figures.pop("process_cpu_fraction", None)
        self._take(figures, "looked at from here: no job is running")
        self._paint()

    def _take(self, figures: Mapping[str, Any], source: str) -> None:
        self._figures, self._source = dict(figures), source
        for name, share in (
            ("cpu", figures.get("cpu_fraction")),
            ("ram", _share(figures, "ram")),
            ("gpu", figures.get("gpu_fraction")),
            ("vram", _share(figures, "gpu")),
        ):
            if isinstance(share, int | float):
                self._history[name].append(float(share))

    # Showing ---------------------------------------------------------------------------------------------------------

    def _paint(self) -> None:
        if not (self.is_mounted and self.window.is_running):
            return
        lines = [*self._machine(), *self._work()]
        width = max(self.size.width - 2, 20)
        for line in lines:
            if line.no_wrap is not False:
                line.truncate(width, overflow="ellipsis")
        self.query_one("#system-text", WrappedText).set_text(Text("\n").join(lines))
        self.sum_up(self._in_a_line())

    def _machine(self) -> list[Text]:
        said, width = self._figures, max(self.size.width - 2, 20)
        told = said.get
        self._reason = ""
        cores, load = told("cpu_cores"), told("load_1m")
        beside = [text.plural(cores, "core") if cores else "", f"load {load:.2f}" if load is not None else ""]
        lines = [
            self._gauge("CPU", told("cpu_fraction"), "cpu_fraction", "cpu", ", ".join(filter(None, beside)), width)
        ]
        ram = _of(told("ram_used_bytes"), told("ram_total_bytes"))
        lines.append(self._gauge("RAM", _share(said, "ram"), "ram_used_bytes", "ram", ram, width))
        resident = told("rss_bytes")
        if resident is not None:
            busy = told("process_cpu_fraction")
            cores_used = f", {busy:.1f} cores" if busy is not None else ""
            lines.append(_line("job", f"{text.size(resident)} resident{cores_used}"))
        lines.append(self._gauge("GPU", told("gpu_fraction"), "gpu_fraction", "gpu", "", width))
        vram = _of(told("gpu_used_bytes"), told("gpu_total_bytes"))
        lines.append(self._gauge("VRAM", _share(said, "gpu"), "gpu_used_bytes", "vram", vram, width))
        temperature, power = told("gpu_temperature_c"), told("gpu_power_w")
        lines.append(self._plain("temp", None if temperature is None else f"{temperature:.0f} °C", "gpu_temperature_c"))
        lines.append(self._plain("power", None if power is None else f"{power:.0f} W", "gpu_power_w"))
        return lines

    def _work(self) -> list[Text]:
        lines = [_line("disk", self._disk())]
        living = self.state.living()
        if not living:
            lines.append(_line("runs", "No active training."))
        else:
            left = [each.status["remaining_s"] for each in living if each.status["remaining_s"] is not None]
            counts = [f"{sum(each.status['status'] == word for each in living)} {word}" for word in _words(living)]
            told = f", {text.duration(sum(left))} left in all" if left else ""
            lines.append(_line("runs", f"{', '.join(counts)}{told}"))
            for each in living[:8]:
                name = fitted_text(each.status["name"], 24, "bold")
                said = Text.assemble("  ", name, " ", end="")
                now = word(each.status)
                said.append(now, style=status_style(now))
                if each.status["remaining_s"] is not None:
                    said.append(f"  {text.duration(each.status['remaining_s'])} left")
                if each.status["reason"]:
                    said.append_text(safe_text(f"  {each.status['reason']}", "yellow"))
                lines.append(said)
        lines.append(safe_text(self._source, "dim"))
        return lines

    def _gauge(self, label: str, share: float | None, key: str, history: str, beside: str, width: int) -> Text:
        """A line with a bar, a percentage and what it did lately; or n/a and why."""
        if share is None:
            return self._plain(label, None, key)
        share = min(max(share, 0.0), 1.0)
        line = Text(f"{label:<{_LABEL}}", style="dim", end="")
        cells = min(max((width - _LABEL - 8) // 4, 6), 20)
        filled = round(share * cells)
        colour = "green" if share < 0.75 else "yellow" if share < 0.92 else "red"
        line.append("█" * filled, style=colour)
        line.append("░" * (cells - filled), style="dim")
        line.append(f" {share:>4.0%}  ", style="bold")
        line.append(beside)
        room = width - line.cell_len - 2
        if room >= 8:
            recent = list(self._history[history])[-min(room, 40) :]
            line.append("  " + "".join(_BARS[round(min(max(value, 0), 1) * 8)] for value in recent), style="cyan")
        return line

    def _plain(self, label: str, value: str | None, key: str) -> Text:
        if value is not None:
            return _line(label, value)
        missing = self._figures.get("missing") or {}
        reason = missing.get(key) or ("not looked at yet" if not self._figures else _AWAY)
        line = _line(label, "n/a ")
        line.no_wrap = False
        line.append_text(safe_text(f"({reason})" if reason != self._reason else "(for the same reason)", "dim"))
        self._reason = reason
        return line

    def _disk(self) -> str:
        place = self.state.store.root.absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            usage = shutil.disk_usage(place)
        except OSError as error:
            return f"n/a ({error.strerror})"
        return f"{text.size(usage.free)} free of {text.size(usage.total)}"

    def _in_a_line(self) -> str:
        """The machine in a title."""
        cpu, gpu = self._figures.get("cpu_fraction"), self._figures.get("gpu_fraction")
        ram = _of(self._figures.get("ram_used_bytes"), self._figures.get("ram_total_bytes"))
        told = [f"CPU {cpu:.0%}" if cpu is not None else "CPU n/a", f"RAM {ram}" if ram else "RAM n/a"]
        return " · ".join([*told, f"GPU {gpu:.0%}" if gpu is not None else "GPU n/a"])


def _line(label: str, value: str) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "dim"), safe_text(value), end="")


def _words(living: list[Listed]) -> list[str]:
    return list(dict.fromkeys(each.status["status"] for each in living))


def _share(figures: Mapping[str, Any], name: str) -> float | None:
    used, total = figures.get(f"{name}_used_bytes"), figures.get(f"{name}_total_bytes")
    return used / total if isinstance(used, int | float) and total else None


def _of(used: float | None, total: float | None) -> str:
    if used is None or not total:
        return ""
    return f"{text.size(used)} of {text.size(total)}"
