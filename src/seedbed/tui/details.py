"""The screen of one run: its curve, log, config, differences from another run, samples, and all facts."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Select, Static, TabbedContent, TabPane

from seedbed.errors import SeedbedError
from seedbed.presentation.config_text import differences, file_text
from seedbed.presentation.curves import Drawn
from seedbed.presentation.log import LogLine, RunLog
from seedbed.runs.samples import read_samples
from seedbed.tui.curve import Curve
from seedbed.tui.dialogs import close
from seedbed.tui.run_text import about_text, header_text, log_text, samples_text
from seedbed.tui.safe_text import ERROR_STYLE, fitted_text, safe_text
from seedbed.tui.wrapped_text import FollowingScroll, WrappedText

if TYPE_CHECKING:
    from seedbed.tui.panel_window import PanelWindow

_LOG_LINES = 400
_KEY_WIDTH = 28
_LOW = 30
"""The header is short if the screen has fewer rows than this."""
_MARGIN = 4
"""Terminal cells of the width that padding and the scroll bar of a table take."""
_TABS = ("curve", "log", "config", "diff", "samples", "about")


class Details(Screen[None]):
    """The screen with the details of a run: a header, and tabs below it. They are updated while the screen is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Back", key_display="esc"),
        *(Binding(str(number), f"tab('{name}')", name.capitalize()) for number, name in enumerate(_TABS, 1)),
        Binding("t", "tags", "Tags", show=False, tooltip="Change the run's tags"),
        Binding("n", "note", "Note", show=False, tooltip="Write a note about the run"),
        Binding("x", "axis", "Axis", tooltip="Plot the curve over steps, tokens or time"),
        Binding("M", "metric", "Metric", show=False, key_display="M", tooltip="Plot the next metric"),
        Binding("y", "log", "Scale", tooltip="Logarithmic or linear scale"),
        Binding("m", "smooth", "Smooth", show=False, tooltip="Exponential moving average: off, 0.6, 0.9, 0.98"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False, key_display="+"),
        Binding("minus", "zoom(2.0)", "Zoom out", key_display="-", show=False),
        Binding("less_than_sign,comma,left", "pan(-0.5)", "Earlier", show=False, key_display="<"),
        Binding("greater_than_sign,full_stop,right", "pan(0.5)", "Later", show=False, key_display=">"),
        Binding("0", "show_all", "Whole curve", show=False),
    ]

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self._others: list[tuple[str, str]] = []
        self._samples: tuple[int, str] | None = None
        self._log: RunLog | None = None
        self._lines: deque[LogLine] = deque(maxlen=2 * _LOG_LINES)
        self._value_width = 0
        self._is_ready = False
        """Whether the screen has been composed: updates may arrive earlier."""

    @property
    def window(self) -> PanelWindow:
        """The window that the screen belongs to."""
        return cast("PanelWindow", self.app)

    def compose(self) -> ComposeResult:
        """Yield the header, the tabs and the footer."""
        yield Static("", id="facts")
        with TabbedContent(id="tabs"):
            with TabPane("Curve", id="curve"):
                yield Curve(id="big-curve")
            with TabPane("Log", id="log"), FollowingScroll(id="log-scroll"):
                yield Static("", id="log-text")
            with TabPane("Config", id="config"), VerticalScroll():
                yield Static("", id="config-text")
            with TabPane("Diff", id="diff"):
                yield Select([("another run", "")], value="", allow_blank=False, id="other", compact=True)
                yield DataTable(id="diff-table", cursor_type="row", cell_padding=0)
            with TabPane("Samples", id="samples"), VerticalScroll():
                yield Static("", id="samples-text")
            with TabPane("About", id="about"), VerticalScroll():
                yield WrappedText(id="about-text")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Show the run, and start to read its curve."""
        listed = self.window.state.run(self.run_id)
        if listed is None:
            close(self, None)
            return
        self._is_ready = True
        self.query_one("#config-text", Static).update(safe_text(file_text(listed.run.config), newlines=True))
        self.query_one(TabbedContent).query_one("Tabs").focus()
        self._load_curve()
        self.update({self.run_id})

    def on_resize(self, event: events.Resize) -> None:
        """Fit the header and the table of config differences to the new width."""
        self._value_width = max((event.size.width - _KEY_WIDTH - _MARGIN) // 2, 12)
        table = self.query_one("#diff-table", DataTable)
        table.clear(columns=True)
        for heading, width in (("KEY", _KEY_WIDTH), ("THIS RUN", self._value_width), ("THE OTHER", self._value_width)):
            table.add_column(Text(heading, style="bold"), width=width)
        self._show_differences()
        self._show_facts()

    def _show_facts(self) -> None:
        listed = self.window.state.run(self.run_id)
        if listed is not None:
            brief, width = self.size.height < _LOW, max(self.size.width - 2, 20)
            self.query_one("#facts", Static).update(header_text(listed.status, brief=brief, width=width))
            self.query_one("#about-text", WrappedText).set_text(about_text(listed.status))

    def update(self, changed: set[str]) -> None:
        """Show what has changed if the run is among the ids `changed`; close the screen if the run has been deleted."""
        if not self._is_ready:
            return
        listed = self.window.state.run(self.run_id)
        if listed is None:
            self.window.show_message("The run has been deleted.", "warning")
            close(self, None)
            return
        if self.run_id in changed:
            self._show_facts()
            self._follow()
        self._list_others()

    @work(exclusive=True, group="details-curve")
    async def _load_curve(self) -> None:
        listed = self.window.state.run(self.run_id)
        if listed is None:
            return
        series, curve = self.window.series(listed.run), self.query_one("#big-curve", Curve)
        drawn = [Drawn(listed.status["name"], series)]
        curve.own = [*listed.status["metrics"]]
        await curve.load(series, drawn)
        curve.show(drawn)

    @work(exclusive=True, group="details")
    async def _follow(self) -> None:
        """Read and show new steps, log lines and samples of the run."""
        listed = self.window.state.run(self.run_id)
        if listed is None:
            return
        run, curve = listed.run, self.query_one("#big-curve", Curve)
        log, samples = self.query_one("#log-text", Static), self.query_one("#samples-text", Static)
        for each in curve.shown:
            await asyncio.to_thread(each.series.refresh)
            await curve.load(each.series, curve.shown)
        curve.grown()
        self._log = self._log or RunLog(run, _LOG_LINES)
        try:
            new = await asyncio.to_thread(self._log.new, ended=not listed.lives)
        except SeedbedError as error:
            log.update(safe_text(error, ERROR_STYLE))
        else:
            self._lines += new
            log.update(log_text(self._lines))
        version = (listed.status["step"], listed.status["status"])  # the last sample comes after the last step
        if version != self._samples:
            try:
                found = await asyncio.to_thread(read_samples, run)
                samples.update(samples_text(found, simulated=listed.status["simulated"]))
            except SeedbedError as error:
                samples.update(safe_text(error, ERROR_STYLE))
            self._samples = version

    def _list_others(self) -> None:
        """Update the list of runs whose configs this run can be compared with, marked runs first."""
        others = [("another run", "")]
        state = self.window.state
        marked = [run_id for run_id in state.marked if run_id != self.run_id]
        runs = [each for each in state.runs() if each.run.id != self.run_id]
        for each in sorted(runs, key=lambda each: each.run.id not in marked)[:300]:
            others += [(fitted_text(f"{each.status['name']} · {each.run.id}", 70).plain, each.run.id)]
        if others == self._others:
            return
        first, self._others = not self._others, others
        select = self.query_one("#other", Select)
        kept = str(select.value)
        select.set_options([(Text(label), value) for label, value in others])
        known = {value for _, value in others}
        select.value = marked[0] if first and marked else kept if kept in known else ""

    @on(Select.Changed, "#other")
    def _show_differences(self) -> None:
        """Show the config keys whose values differ between this run and the chosen other run, with both values."""
        table = self.query_one("#diff-table", DataTable)
        table.clear()
        state = self.window.state
        this, other = state.run(self.run_id), state.run(str(self.query_one("#other", Select).value))
        if this is None or other is None:
            return
        try:
            rows = differences(this.run, other.run)
        except SeedbedError as error:
            table.add_row(
                safe_text("cannot compare", ERROR_STYLE),
                safe_text(error, ERROR_STYLE, newlines=True),
                safe_text(""),
                height=None,
            )
            return
        for path, one, two in rows:
            room = self._value_width - 1
            table.add_row(
                fitted_text(path, _KEY_WIDTH - 1, "bold"), fitted_text(one or "-", room), fitted_text(two or "-", room)
            )
        if not rows:
            table.add_row(safe_text("no difference", "dim"), safe_text(""), safe_text(""))

    def action_close(self) -> None:
        """Go back to the panels."""
        close(self, None)

    def action_tab(self, name: str) -> None:
        """Show the tab with this name."""
        self.query_one(TabbedContent).active = name

    def action_tags(self) -> None:
        """Change the tags of the run."""
        self.window.tag(self.run_id)

    def action_note(self) -> None:
        """Write a note about the run."""
        self.window.note(self.run_id)

    def action_axis(self) -> None:
        """Show the curves along the next x axis: steps, tokens or time."""
        self.query_one("#big-curve", Curve).next_axis()

    def action_metric(self) -> None:
        """Show the next metric in the plot."""
        self.query_one("#big-curve", Curve).next_metric()
        self._load_curve()

    def action_log(self) -> None:
        """Change the y axis of the plot from linear to logarithmic or back."""
        self.query_one("#big-curve", Curve).toggle_log()

    def action_smooth(self) -> None:
        """Show the curves with the next smoothing factor."""
        self.query_one("#big-curve", Curve).next_smoothing()

    def action_zoom(self, factor: float) -> None:
        """Show a smaller range of x in the plot (`factor` below 1) or a larger one."""
        self.query_one("#big-curve", Curve).zoom(factor)

    def action_pan(self, share: float) -> None:
        """Move the visible range of x of the plot by a share of its width."""
        self.query_one("#big-curve", Curve).pan(share)

    def action_show_all(self) -> None:
        """Show the whole curves again, after a zoom."""
        self.query_one("#big-curve", Curve).show_all()
