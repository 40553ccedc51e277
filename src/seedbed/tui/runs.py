"""Panel 1: the runs in a table, and the curves of the one under the cursor, or of those that are marked."""

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
from seedbed.runs.status import word
from seedbed.runs.watch import Listed
from seedbed.tui.curve import Curve
from seedbed.tui.editors import is_editor
from seedbed.tui.safe_text import safe_string, status_style
from seedbed.tui.state import MOST_MARKED, epochs_text, steps_text
from seedbed.tui.table import Column, RunTable, cell
from seedbed.tui.table_panel import TablePanel

CURVE_DELAY_S = 0.06
"""A cursor that runs over many runs loads the curves of the one on which it rests."""


def _gpu(each: Listed) -> str:
    fraction = (each.hardware or {}).get("gpu_fraction")
    return f"{fraction:.0%}" if isinstance(fraction, int | float) else "n/a" if each.lives else "-"


COLUMNS: dict[Column, Callable[[Listed], str]] = {
    Column("NAME", 0): lambda each: str(each.status["name"]),
    Column("STATUS", 9): lambda each: word(each.status),
    Column("STEP", 11, right=True): lambda each: _steps(each),
    Column("LOSS", 7, right=True): lambda each: text.loss(each.status["loss"])[:7],
    Column("VAL", 7, right=True): lambda each: text.loss(each.status["val_loss"])[:7],
    Column("LEFT", 7, right=True): lambda each: _left(each),
    Column("EPOCH", 9, right=True): lambda each: epochs_text(each.status),
    Column("DEVICE", 7): lambda each: str(each.status["device"] or each.status["device_asked"] or "-"),
    Column("GPU", 4, right=True): _gpu,
    Column("ELAPSED", 8, right=True): lambda each: text.duration(each.status["elapsed_s"]),
    Column("TAGS", 14): lambda each: " ".join(each.status["tags"]),
    Column("ID", 36): lambda each: each.run.id,
}
"""What stands in each column, in the order in which they are dropped, from the last, where the panel is narrow."""


def _steps(each: Listed) -> str:
    said = steps_text(each.status)
    if len(said) > 11 and each.status["steps"]:
        return f"{text.count(each.status['step'])}/{text.count(each.status['steps'])}"
    return said


def _left(each: Listed) -> str:
    remaining = each.status["remaining_s"]
    return text.duration(remaining) if remaining is not None else "-"


class RunsPanel(TablePanel):
    """All runs; what one does with a run under the cursor."""

    NUMBER = 1
    NAME = "Runs"
    COLUMNS = tuple(COLUMNS)
    LEAST = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", key_display="␣", tooltip="Lay the curves of marked runs over each other"),
        Binding("p", "pause", "Pause", tooltip="Save and pause, or go on"),
        Binding("s", "stop", "Stop", tooltip="Save and stop, after a confirmation"),
        Binding("R", "resume", "Resume", key_display="R", tooltip="Go on with this run"),
        Binding("w", "save", "Save now", show=False, tooltip="Write a checkpoint now"),
        Binding("e", "rename", "Rename"),
        Binding("t", "tags", "Tags", show=False, tooltip="Give it tags, or take some away"),
        Binding("n", "note", "Note", show=False, tooltip="Write a note on it"),
        Binding("A", "archive", "Archive", show=False, key_display="A", tooltip="Put out of sight, or back"),
        Binding("D", "delete", "Delete", key_display="D", tooltip="Delete the run and its checkpoints"),
        Binding("x", "axis", "x axis", show=False, tooltip="Curve along steps, tokens or time"),
        Binding("M", "metric", "Metric", show=False, key_display="M", tooltip="Curve of the next metric"),
        Binding("y", "log", "Log scale", show=False, tooltip="Logarithmic or linear losses"),
        Binding("m", "smooth", "Smooth", show=False, tooltip="Exponential mean: off, 0.6, 0.9, 0.98"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False, key_display="+"),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False, key_display="-"),
        Binding("less_than_sign,comma", "pan(-0.5)", "Earlier", show=False, key_display="<"),
        Binding("greater_than_sign,full_stop", "pan(0.5)", "Later", show=False, key_display=">"),
        Binding("0", "show_all", "Whole curve", show=False),
        Binding("v", "archived", "Archived", show=False, tooltip="Show archived runs too, or hide them"),
        Binding("escape", "unfilter", "Show all", tooltip="Clear the filter"),
        Binding(
            "slash", "filter", "Filter", key_display="/", tooltip="Show runs whose name, id, status, tags or note match"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._resting: Timer | None = None

    def compose(self) -> ComposeResult:
        """The table, the filter (while it is used), the curve."""
        yield RunTable(id="runs-table")
        yield Input(placeholder="filter: words of name, id, status, tags or note", id="filter", compact=True)
        yield Curve(id="curve")

    def on_mount(self) -> None:
        """The filter is not seen until it is asked for."""
        super().on_mount()
        self.query_one("#filter").display = False
        self._draw_nothing()

    @property
    def curve(self) -> Curve:
        """The curves."""
        return self.query_one(Curve)

    # Showing ---------------------------------------------------------------------------------------------------------

    def update(self, changed: set[str]) -> None:
        """Show what became of these runs; the cursor stays on its run, wherever that moves."""
        if not self.columns:
            return
        if changed:
            self.fit_columns()
        runs = self.state.runs()
        by_id = {each.run.id: each for each in runs}
        self.table.show(list(by_id), lambda run_id: self._row(by_id[run_id]), changed, self.state.chosen)
        self._choose(self.table.current)
        self._count(runs)
        if changed.intersection(self._wanted()):
            self._grow()
        if not runs:
            self._draw_nothing()

    def _row(self, each: Listed) -> list[Text]:
        cells = [Text("●" if each.run.id in self.state.marked else " ", style="bold yellow")]
        shade = "dim italic " if each.status["archived"] else ""
        for column, write in zip(self.columns, COLUMNS.values(), strict=False):
            value, style = write(each), shade
            if column.heading == "NAME":
                style += "bold"
                if each.status["simulated"]:
                    value, style = f"SIMULATED {value}", shade + "bold magenta"
            elif column.heading == "STATUS":
                style += status_style(value)
            cells.append(cell(value, column, style.strip()))
        return cells

    def _count(self, runs: list[Listed]) -> None:
        counts: dict[str, int] = {}
        for each in runs:
            counts[each.status["status"]] = counts.get(each.status["status"], 0) + 1
        told = [f"{number} {status}" for status, number in counts.items()]
        hidden = [each for each in self.state.living() if each not in runs]
        if hidden:
            told.insert(0, f"{len(hidden)} at work out of sight")
        elif not any(each.lives for each in runs):
            told.insert(0, "no active runs")
        if self.state.show_archived:
            told.append("archived ones too")
        if self.state.filter:
            told.insert(0, f"filter: {self.state.filter}")
        if self.state.marked:
            told.append(f"{len(self.state.marked)} marked")
        if not self.state.loaded:
            told.append("reading …")
        self.sum_up(self.state.watch.problem or " · ".join(told))

    def _draw_nothing(self) -> None:
        if self.state.filter:
            self.curve.show([], "No run matches the filter: esc clears it.")
        elif self.state.loaded:
            self.curve.show([], "No runs here yet: press 3 to start one.")
        else:
            self.curve.show([], "Reading the runs …")

    # Curves ----------------------------------------------------------------------------------------------------------

    def _choose(self, run_id: str | None) -> None:
        if run_id == self.state.chosen and (self.curve.shown or run_id is None):
            return
        self.state.chosen = run_id
        self._rest()
        self.window.chosen_changed()

    def _rest(self) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(CURVE_DELAY_S, self._load)

    def _note(self) -> str:
        """What the run is doing beside stepping, or why it does nothing."""
        listed = self.state.run(self.state.chosen) if not self.state.marked else None
        if listed is None:
            return ""
        found = listed.status
        if found["status"] in ("paused", "queued", "failed", "lost", "stopped") and found["reason"]:
            return safe_string(found["reason"])
        doing = found["phase"] if listed.lives else None
        return f"{text.stage(doing)} …" if doing not in (None, "train") else ""

    def _wanted(self) -> list[str]:
        """The runs whose curves are shown: those marked, else the one under the cursor."""
        return self.state.marked or ([self.state.chosen] if self.state.chosen is not None else [])

    @work(exclusive=True, group="curve")
    async def _load(self) -> None:
        """Read the curves to show, piece by piece, and tell how far that is."""
        curve = self.curve  # the panel may be gone before they are read
        drawn: list[Drawn] = []
        own: list[str] = []
        for run_id in self._wanted():
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
        """Fold in what the shown runs have logged since."""
        curve = self.curve  # the panel may be gone before they are read
        for each in curve.shown:
            await asyncio.to_thread(each.series.refresh)
            await curve.load(each.series, curve.shown)
        curve.grown()
        curve.remark(self._note())

    # Keys and pointer ------------------------------------------------------------------------------------------------

    @on(DataTable.RowHighlighted)
    def _on_highlight(self) -> None:
        self._choose(self.table.current)

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
        """Clear and close the filter."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.table.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The filter can be cleared where there is one."""
        if action == "unfilter":
            return bool(self.state.filter) and not is_editor(self.screen.focused)
        return super().check_action(action, parameters)

    def action_unfilter(self) -> None:
        """Show every run again."""
        self.leave_editor()

    def action_filter(self) -> None:
        """Open the filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_details(self) -> None:
        """The run under the cursor, in full."""
        self.window.open_details(self.table.current)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away."""
        run_id = self.table.current
        if run_id is None:
            return
        if not self.state.mark(run_id):
            self.window.tell(f"{MOST_MARKED} runs are marked already: unmark one with space.", "warning")
        self.update({run_id})
        self._rest()

    def action_axis(self) -> None:
        """Along steps, tokens or time."""
        self.curve.next_axis()

    def action_metric(self) -> None:
        """The next metric; what the runs log of their own is read first."""
        self.curve.next_metric()
        self._load()

    def action_log(self) -> None:
        """Logarithmic or linear."""
        self.curve.toggle_log()

    def action_smooth(self) -> None:
        """The next smoothing."""
        self.curve.next_smoothing()

    def action_zoom(self, factor: float) -> None:
        """Show less or more of x."""
        self.curve.zoom(factor)

    def action_pan(self, share: float) -> None:
        """Move along x."""
        self.curve.pan(share)

    def action_show_all(self) -> None:
        """The whole curve."""
        self.curve.show_all()

    def action_pause(self) -> None:
        """Pause, or go on."""
        self.window.pause(self.table.current)

    def action_stop(self) -> None:
        """Save and stop."""
        self.window.stop_run(self.table.current)

    def action_resume(self) -> None:
        """Go on with the run."""
        self.window.resume(self.table.current)

    def action_save(self) -> None:
        """Write a checkpoint now."""
        self.window.save_now(self.table.current)
