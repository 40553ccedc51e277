"""Panel 1: a table of the runs, and the curves of the run under the cursor, or of the marked runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import DataTable, Input

from seedbed import text
from seedbed.presentation.curves import Drawn
from seedbed.presentation.done import steps_text
from seedbed.presentation.run_facts import activity, epochs_text, gpu_text, listed_name
from seedbed.presentation.run_list import counts
from seedbed.runs.control import shown_status
from seedbed.runs.watch import ListedRun
from seedbed.tui.curve import Curve
from seedbed.tui.editors import is_editor
from seedbed.tui.safe_text import safe_string, status_style
from seedbed.tui.state import MAX_MARKED
from seedbed.tui.table import Column, RunTable, cell
from seedbed.tui.table_panel import TablePanel

CURVE_DELAY_S = 0.06
"""Seconds that the cursor must be on a run before the curve of the run is read."""


_STEP_CELLS = 11
COLUMNS: dict[Column, Callable[[ListedRun], str]] = {
    Column("NAME", 0): lambda each: listed_name(each.status),
    Column("STATUS", 9): lambda each: shown_status(each.status),
    Column("STEP", _STEP_CELLS, right=True): lambda each: steps_text(each.status, _STEP_CELLS),
    Column("LOSS", 7, right=True): lambda each: text.loss(each.status["loss"])[:7],
    Column("VAL", 7, right=True): lambda each: text.loss(each.status["val_loss"])[:7],
    Column("LEFT", 7, right=True): lambda each: text.duration(each.status["remaining_s"]),
    Column("EPOCH", 9, right=True): lambda each: epochs_text(each.status),
    Column("DEVICE", 7): lambda each: str(each.status["device"] or each.status["device_asked"] or "-"),
    Column("GPU", 4, right=True): gpu_text,
    Column("ELAPSED", 8, right=True): lambda each: text.duration(each.status["elapsed_s"]),
    Column("TAGS", 14): lambda each: " ".join(each.status["tags"]),
    Column("ID", 36): lambda each: each.run.id,
}
"""Column -> the text of a cell. In a narrow panel the last columns are omitted."""


class RunsPanel(TablePanel):
    """The panel Runs: a table of all runs, their curves, and actions on the run under the cursor."""

    NUMBER = 1
    NAME = "Runs"
    COLUMNS = tuple(COLUMNS)
    LEAST = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", key_display="␣", tooltip="Plot the curves of marked runs together"),
        Binding("p", "pause", "Pause", tooltip="Save and pause, or resume"),
        Binding("s", "stop", "Stop", tooltip="Save and stop, after a confirmation"),
        Binding("R", "resume", "Resume", key_display="R", tooltip="Resume this run"),
        Binding("w", "save", "Save now", show=False, tooltip="Save a checkpoint now"),
        Binding("e", "rename", "Rename"),
        Binding("t", "tags", "Tags", show=False, tooltip="Change the run's tags"),
        Binding("n", "note", "Note", show=False, tooltip="Write a note about the run"),
        Binding(
            "A",
            "archive",
            "Archive",
            show=False,
            key_display="A",
            tooltip="Archive the run, or move it back into the list",
        ),
        Binding("D", "delete", "Delete", key_display="D", tooltip="Delete the run and its checkpoints"),
        Binding("x", "axis", "x axis", show=False, tooltip="Plot the curve over steps, tokens or time"),
        Binding("M", "metric", "Metric", show=False, key_display="M", tooltip="Plot the next metric"),
        Binding("y", "log", "Log scale", show=False, tooltip="Logarithmic or linear scale"),
        Binding("m", "smooth", "Smooth", show=False, tooltip="Exponential moving average: off, 0.6, 0.9, 0.98"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False, key_display="+"),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False, key_display="-"),
        Binding("less_than_sign,comma", "pan(-0.5)", "Earlier", show=False, key_display="<"),
        Binding("greater_than_sign,full_stop", "pan(0.5)", "Later", show=False, key_display=">"),
        Binding("0", "show_all", "Whole curve", show=False),
        Binding("v", "archived", "Archived", show=False, tooltip="Show or hide archived runs"),
        Binding("escape", "unfilter", "Show all", tooltip="Clear the filter"),
        Binding(
            "slash", "filter", "Filter", key_display="/", tooltip="Show runs whose name, id, status, tags or note match"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._curve_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Yield the table, the text field of the filter (hidden until it is used), and the curves."""
        yield RunTable(id="runs-table")
        yield Input(placeholder="filter: words in name, id, status, tags or note", id="filter", compact=True)
        yield Curve(id="curve")

    def on_mount(self) -> None:
        """Hide the text field of the filter."""
        super().on_mount()
        self.query_one("#filter").display = False
        self._draw_nothing()

    @property
    def curve(self) -> Curve:
        """The widget that shows the curves."""
        return self.query_one(Curve)

    # Showing ---------------------------------------------------------------------------------------------------------

    def update(self, changed: set[str]) -> None:
        """Show the runs with the ids `changed`. The cursor stays on its run even if the row of that run moves."""
        if not self.columns:
            return
        if changed:
            self.fit_columns()
        runs = self.state.runs()
        by_id = {each.run.id: each for each in runs}
        self.table.show_rows(list(by_id), lambda run_id: self._row(by_id[run_id]), changed, self.state.chosen)
        self._select(self.table.current)
        self._summarise(runs)
        if changed.intersection(self._drawn_ids()):
            self._grow()
        if not runs:
            self._draw_nothing()

    def _row(self, each: ListedRun) -> list[Text]:
        cells = [Text("●" if each.run.id in self.state.marked else " ", style="bold yellow")]
        shade = "dim italic " if each.status["archived"] else ""
        for column, write in zip(self.columns, COLUMNS.values(), strict=False):
            value, style = write(each), shade
            if column.heading == "NAME":
                style += "bold magenta" if each.status["simulated"] else "bold"
            elif column.heading == "STATUS":
                style += status_style(value)
            cells.append(cell(value, column, style.strip()))
        return cells

    def _summarise(self, runs: list[ListedRun]) -> None:
        parts = counts(runs)
        hidden = [each for each in self.state.live() if each not in runs]
        if hidden:
            parts.insert(0, f"{len(hidden)} active but hidden")
        elif not any(each.lives for each in runs):
            parts.insert(0, "no active runs")
        if self.state.show_archived:
            parts.append("archived shown")
        if self.state.filter:
            parts.insert(0, f"filter: {self.state.filter}")
        if self.state.marked:
            parts.append(f"{len(self.state.marked)} marked")
        if not self.state.loaded:
            parts.append("reading …")
        self.set_summary(self.state.watch.problem or " · ".join(parts))

    def _draw_nothing(self) -> None:
        if self.state.filter:
            self.curve.show([], "No run matches the filter: esc clears it.")
        elif self.state.loaded:
            self.curve.show([], "No runs yet: press 3 to start one.")
        else:
            self.curve.show([], "Reading the runs …")

    # Curves ----------------------------------------------------------------------------------------------------------

    def _select(self, run_id: str | None) -> None:
        if run_id == self.state.chosen and (self.curve.shown or run_id is None):
            return
        self.state.chosen = run_id
        self._load_later()
        self.window.chosen_changed()

    def _load_later(self) -> None:
        if self._curve_timer is not None:
            self._curve_timer.stop()
        self._curve_timer = self.set_timer(CURVE_DELAY_S, self._load)

    def _note(self) -> str:
        """The phase of the selected run, such as `preparing the data …`, or why it is not running.

        Returns "" if the run trains, or if marked runs are plotted.
        """
        listed = self.state.run(self.state.chosen) if not self.state.marked else None
        return safe_string(activity(listed)) if listed is not None else ""

    def _drawn_ids(self) -> list[str]:
        """The ids of the runs whose curves are shown: the marked runs, else the run under the cursor."""
        return self.state.marked or ([self.state.chosen] if self.state.chosen is not None else [])

    @work(exclusive=True, group="curve")
    async def _load(self) -> None:
        """Read the curves to show piece by piece, and show how much has been read."""
        curve = self.curve  # found now, because the window may close before the curves are read
        drawn: list[Drawn] = []
        own: list[str] = []
        for run_id in self._drawn_ids():
            listed = self.state.run(run_id)
            if listed is None:
                continue
            series = self.window.series(listed.run)
            drawn.append(Drawn(listed.status["name"], series))
            own += [name for name in listed.status["metrics"] if name not in own]
            curve.own = own
            await curve.load(series, drawn)
        if drawn:
            curve.show(drawn, self._note())
        else:
            self._draw_nothing()

    @work(exclusive=True, group="grow")
    async def _grow(self) -> None:
        """Read and show the new steps of the runs whose curves are shown."""
        curve = self.curve  # found now, because the window may close before the curves are read
        for each in curve.shown:
            await asyncio.to_thread(each.series.refresh)
            await curve.load(each.series, curve.shown)
        curve.grown()
        curve.remark(self._note())

    # Keys and pointer ------------------------------------------------------------------------------------------------

    @on(DataTable.RowHighlighted)
    def _on_highlight(self) -> None:
        self._select(self.table.current)

    @on(DataTable.RowSelected)
    def _on_select(self) -> None:
        self.action_details()

    @on(Input.Changed, "#filter")
    def _on_filter(self, event: Input.Changed) -> None:
        self.state.filter = event.value.strip()
        self.refresh_bindings()
        self.update(set())

    @on(Input.Submitted, "#filter")
    def _on_filter_done(self) -> None:
        self.query_one("#filter").display = bool(self.state.filter)
        self.table.focus()

    def leave_editor(self) -> None:
        """Clear the filter and hide its text field."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.table.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action of this panel is available. Clearing the filter is available only if there is a filter."""
        if action == "unfilter":
            return bool(self.state.filter) and not is_editor(self.screen.focused)
        return super().check_action(action, parameters)

    def action_unfilter(self) -> None:
        """Clear the filter, so that every run is shown."""
        self.leave_editor()

    def action_filter(self) -> None:
        """Show the text field of the filter and move the focus to it."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_details(self) -> None:
        """Open the details of the run under the cursor."""
        self.window.open_details(self.table.current)

    def action_mark(self) -> None:
        """Mark or unmark the run under the cursor; the curves of marked runs are shown together."""
        run_id = self.table.current
        if run_id is None:
            return
        if not self.state.mark(run_id):
            self.window.show_message(f"At most {MAX_MARKED} runs can be marked: unmark one with space.", "warning")
        self.update({run_id})
        self._load_later()

    def action_axis(self) -> None:
        """Show the curves along the next x axis: steps, tokens or time."""
        self.curve.next_axis()

    def action_metric(self) -> None:
        """Show the next metric in the plot."""
        self.curve.next_metric()
        self._load()

    def action_log(self) -> None:
        """Change the y axis of the plot from linear to logarithmic or back."""
        self.curve.toggle_log()

    def action_smooth(self) -> None:
        """Show the curves with the next smoothing factor."""
        self.curve.next_smoothing()

    def action_zoom(self, factor: float) -> None:
        """Show a smaller range of x in the plot (`factor` below 1) or a larger one."""
        self.curve.zoom(factor)

    def action_pan(self, share: float) -> None:
        """Move the visible range of x of the plot by a share of its width."""
        self.curve.pan(share)

    def action_show_all(self) -> None:
        """Show the whole curves again, after a zoom."""
        self.curve.show_all()

    def action_pause(self) -> None:
        """Pause the run under the cursor, or resume it if it is paused."""
        self.window.pause(self.table.current)

    def action_stop(self) -> None:
        """Stop the run under the cursor."""
        self.window.stop_run(self.table.current)

    def action_resume(self) -> None:
        """Resume the run under the cursor."""
        self.window.resume(self.table.current)

    def action_save(self) -> None:
        """Save a checkpoint of the run under the cursor now."""
        self.window.save_now(self.table.current)
