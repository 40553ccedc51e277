"""One run in full: its curve, its log, its config, how that differs from another's, what the model wrote, and all in words."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.cells import cell_len
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Select, Static, TabbedContent, TabPane

from seedbed import text
from seedbed.errors import SeedbedError
from seedbed.presentation.config_text import differences, frozen_text
from seedbed.presentation.curves import Drawn
from seedbed.presentation.log import Line, RunLog, when
from seedbed.presentation.wording import simulated
from seedbed.runs.samples import read_samples
from seedbed.runs.status import word
from seedbed.tui.about import about
from seedbed.tui.curve import Curve
from seedbed.tui.dialogs import close
from seedbed.tui.safe_text import ERROR_STYLE, fitted_text, safe_string, safe_text, status_style
from seedbed.tui.state import epochs_text, steps_text
from seedbed.tui.wrapped_text import FollowingScroll, WrappedText

if TYPE_CHECKING:
    from seedbed.tui.panel_window import PanelWindow

_LOG_LINES = 400
_KEY_WIDTH = 28
_LOW = 30
"""Rows below which there is no room for many words about a run."""
_MARGIN = 4
"""Cells of the screen that its tables do not get: their padding and their scroll bar."""
_TABS = ("curve", "log", "config", "diff", "samples", "about")


class Details(Screen[None]):
    """The run's facts above, tabs below. It goes on with the run while it is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Back", key_display="esc"),
        *(Binding(str(number), f"tab('{name}')", name.capitalize()) for number, name in enumerate(_TABS, 1)),
        Binding("t", "tags", "Tags", show=False, tooltip="Give it tags, or take some away"),
        Binding("n", "note", "Note", show=False, tooltip="Write a note on it"),
        Binding("x", "axis", "Axis", tooltip="Curve along steps, tokens or time"),
        Binding("M", "metric", "Metric", show=False, key_display="M", tooltip="Curve of the next metric"),
        Binding("y", "log", "Scale", tooltip="Logarithmic or linear losses"),
        Binding("m", "smooth", "Smooth", show=False, tooltip="Exponential mean: off, 0.6, 0.9, 0.98"),
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
        self._lines: deque[Line] = deque(maxlen=2 * _LOG_LINES)
        self._value_width = 0
        self._whole = False
        """Whether all of it has been composed: what became of the run may be told before that."""

    @property
    def window(self) -> PanelWindow:
        """The application."""
        return cast("PanelWindow", self.app)

    def compose(self) -> ComposeResult:
        """Facts, tabs, footer."""
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
        """Show everything once."""
        listed = self.window.state.run(self.run_id)
        if listed is None:
            close(self, None)
            return
        self._whole = True
        self.query_one("#config-text", Static).update(safe_text(frozen_text(listed.run.config), newlines=True))
        self.query_one(TabbedContent).query_one("Tabs").focus()
        self._load_curve()
        self.update({self.run_id})

    def on_resize(self, event: events.Resize) -> None:
        """Two values fit beside each key."""
        self._value_width = max((event.size.width - _KEY_WIDTH - _MARGIN) // 2, 12)
        table = self.query_one("#diff-table", DataTable)
        table.clear(columns=True)
        for heading, width in (("KEY", _KEY_WIDTH), ("THIS RUN", self._value_width), ("THE OTHER", self._value_width)):
            table.add_column(Text(heading, style="bold"), width=width)
        self._differ()
        self._show_facts()

    def _show_facts(self) -> None:
        listed = self.window.state.run(self.run_id)
        if listed is not None:
            brief, width = self.size.height < _LOW, max(self.size.width - 2, 20)
            self.query_one("#facts", Static).update(facts(listed.status, brief=brief, width=width))
            self.query_one("#about-text", WrappedText).set_text(about(listed.status))

    def update(self, changed: set[str]) -> None:
        """Go on with the run; a run that is gone closes the screen."""
        if not self._whole:
            return
        listed = self.window.state.run(self.run_id)
        if listed is None:
            self.window.tell("The run is gone.", "warning")
            close(self, None)
            return
        if self.run_id in changed:
            self._show_facts()
            self._go_on()
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
    async def _go_on(self) -> None:
        """Fold in what was logged, printed and written since."""
        listed = self.window.state.run(self.run_id)
        if listed is None:
            return
        run, curve = listed.run, self.query_one("#big-curve", Curve)
        log, shown = self.query_one("#log-text", Static), self.query_one("#samples-text", Static)
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
            log.update(logged(self._lines))
        stands = (listed.status["step"], listed.status["status"])  # the last sample comes after the last step
        if stands != self._samples:
            try:
                shown.update(written(await asyncio.to_thread(read_samples, run)))
            except SeedbedError as error:
                shown.update(safe_text(error, ERROR_STYLE))
            self._samples = stands

    def _list_others(self) -> None:
        others = [("another run", "")]
        board = self.window.state
        marked = [run_id for run_id in board.marked if run_id != self.run_id]
        runs = [each for each in board.runs() if each.run.id != self.run_id]
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
    def _differ(self) -> None:
        """The keys whose values differ, and both values."""
        table = self.query_one("#diff-table", DataTable)
        table.clear()
        board = self.window.state
        this, other = board.run(self.run_id), board.run(str(self.query_one("#other", Select).value))
        if this is None or other is None:
            return
        try:
            rows = differences(this.run.config, other.run.config)
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
        """Back to the panels."""
        close(self, None)

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one(TabbedContent).active = name

    def action_tags(self) -> None:
        """Change its tags."""
        self.window.tag(self.run_id)

    def action_note(self) -> None:
        """Write a note on it."""
        self.window.note(self.run_id)

    def action_axis(self) -> None:
        """Along steps, tokens or time."""
        self.query_one("#big-curve", Curve).next_axis()

    def action_metric(self) -> None:
        """The next metric."""
        self.query_one("#big-curve", Curve).next_metric()
        self._load_curve()

    def action_log(self) -> None:
        """Logarithmic or linear."""
        self.query_one("#big-curve", Curve).toggle_log()

    def action_smooth(self) -> None:
        """The next smoothing."""
        self.query_one("#big-curve", Curve).next_smoothing()

    def action_zoom(self, factor: float) -> None:
        """Show less or more of x."""
        self.query_one("#big-curve", Curve).zoom(factor)

    def action_pan(self, share: float) -> None:
        """Move along x."""
        self.query_one("#big-curve", Curve).pan(share)

    def action_show_all(self) -> None:
        """The whole curve."""
        self.query_one("#big-curve", Curve).show_all()


def facts(found: dict[str, Any], *, brief: bool = False, width: int = 150) -> Text:
    """A run's status in a few lines of that many cells; `brief`, in as few as can be. What is cut stands in About."""
    said = Text(end="")
    said.append_text(fitted_text(found["name"], 64, "bold"))
    now = word(found)
    said.append(f"  {now}", style=f"bold {status_style(now)}".strip())
    if found["simulated"]:
        said.append("  SIMULATED", style="bold magenta")
    said.append_text(fitted_text(f"  {found['id']}", 100, "dim"))
    losses = (
        f"loss {text.loss(found['loss'])}  val {text.loss(found['val_loss'])}  best {text.loss(found['best_val_loss'])}"
    )
    said.append(f"\nstep {steps_text(found)}  epoch {epochs_text(found)}  {losses}")
    speed = f"{text.count(found['tokens_per_s'])} tokens/s  " if found["tokens_per_s"] else ""
    left, sim = "", simulated(found["simulated"])
    if found["remaining_s"] is not None:
        left = f"  left {text.duration(found['remaining_s'])}{sim}"
    if found["eta"] is not None:
        left += f" (ends about {time.strftime('%d %b %H:%M:%S', time.localtime(found['eta']))})"
    pid = f"  pid {found['pid']}" if found["heartbeat_age_s"] is not None else ""
    said.append(f"\n{speed}elapsed {text.duration(found['elapsed_s'])}{sim}{left}{pid}")
    asked = f" (asked for {found['device_asked']})" if found["device_asked"] else ""
    if found["device"]:
        device = f"on {found['device']}{asked}  {found['device_name'] or ''}  {found['precision'] or ''}"
    else:
        device = f"has not begun{asked}"
    said.append("\n")
    said.append_text(fitted_text(device, 150, "dim"))
    words = [*found["warnings"], f"{found['reason']} {found['hint'] or ''}".strip() if found["reason"] else ""]
    words = [each for each in words if each]
    shown, lines = words[-2 if brief else -3 :], 1 if brief else 2
    if found["note"]:
        said.append("\n")
        said.append_text(fitted_text(f"note: {found['note']}", width, "italic"))
    for each in shown:
        said.append("\n")
        said.append_text(_in_lines(each, lines, width))
    if len(shown) < len(words) or any(cell_len(safe_string(each)) > lines * width for each in shown):
        said.append("\n")
        said.append_text(fitted_text(f"6 shows {_all_of(words)} whole", width, "dim"))
    return said


def logged(lines: Iterable[Line]) -> Text:
    """What happened and what was printed, each line with its time where that is known."""
    said = Text(end="")
    for line in lines:
        said.append(when(line), style="dim")
        said.append_text(safe_text(line.text, line.style))
        said.append("\n")
    said.right_crop(1)
    return said if said.plain else Text("Nothing has happened yet.", style="dim")


def _in_lines(words: str, lines: int, width: int) -> Text:
    """Words that take a number of lines at the most."""
    wrapped = textwrap.wrap(safe_string(words), width, max_lines=lines, placeholder=" …") or [""]
    return safe_text("\n".join(wrapped), "yellow", newlines=True)


def _all_of(words: list[str]) -> str:
    return "it" if len(words) == 1 else f"all {len(words)}"


def written(samples: list[Any]) -> Text:
    """Samples by step, the newest first."""
    said = Text(end="")
    for sample in reversed(samples[-200:]):
        said.append(f"step {sample.step:,}\n", style="bold cyan")
        said.append_text(safe_text(sample.prompt, "bold", newlines=True))
        said.append_text(safe_text(sample.text, newlines=True))
        said.append("\n\n")
    return said if samples else Text("The model has written no sample yet.", style="dim")
