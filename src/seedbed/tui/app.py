"""The window of five panels, which reads the runs every second. Closing or killing the window harms no run."""

from __future__ import annotations

import asyncio
import gc
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import events, on, work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer

from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir, Store
from seedbed.tui.editors import is_editor, typed_actions
from seedbed.tui.panel import NAMES, Panel
from seedbed.tui.panel_window import PanelWindow
from seedbed.tui.runs import RunsPanel
from seedbed.tui.state import WindowState
from seedbed.tui.terminal import TerminalDriver, leaving_on_signals, replace_unknown_characters

if TYPE_CHECKING:
    from seedbed.tui.dialogs import KeyRow

REFRESH_S = 1.0
FIRST_RUNS = 32
"""The number of runs that are read before the first paint."""
GRID_COLUMNS, GRID_ROWS = 130, 40
"""The smallest size of the terminal, in cells, in which all five panels are open."""
_MAX_SERIES = 12
P = TypeVar("P", bound=Panel)


class Window(PanelWindow):
    """The window in a terminal: an application of five panels."""

    TITLE = "Seedbed"
    CSS_PATH = "window.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next", show=False, tooltip="Next field or panel"),
        Binding("shift+tab", "app.focus_previous", "Previous", show=False, tooltip="Previous field or panel"),
        *(
            Binding(str(number), f"panel({number})", name, show=False, tooltip=f"Go to {name}")
            for number, name in enumerate(NAMES, 1)
        ),
        Binding("l,right_square_bracket", "turn(1)", "Next panel", show=False),
        Binding("h,left_square_bracket", "turn(-1)", "Previous panel", show=False),
        Binding("z", "zoom", "Zoom", show=False, tooltip="Show only this panel, or all panels again"),
        Binding("r,f5", "look", "Refresh", show=False),
        Binding("question_mark", "keys", "Keys", key_display="?", tooltip="Show every key"),
        Binding("f1", "all_keys", "Keys", show=False, tooltip="Show every key; works in a text field too"),
        Binding("escape", "leave", "Leave field"),
        Binding("q", "close", "Quit", tooltip="Close the window; runs continue"),
    ]

    def __init__(self, store: Store) -> None:
        super().__init__(driver_class=TerminalDriver)
        self.state = WindowState(store)
        self._series: OrderedDict[str, Series] = OrderedDict()
        self._open: Panel | None = None
        self._reading = asyncio.Lock()
        self.is_ready = False
        """Whether all panels are loaded. Until then, pressed keys wait."""

    def compose(self) -> ComposeResult:
        """Yield the panel Runs. The other panels are loaded after the first paint."""
        with Container(id="panels"):
            yield RunsPanel()

    def on_mount(self) -> None:
        """Show the newest runs immediately, then load the other panels and the older runs."""
        self.screen_stack[0].add_class("-beginning")
        self._arrange()
        pieces = self.state.watch.refreshing(FIRST_RUNS)
        changed = next(pieces, set())
        self.panel(RunsPanel).home().focus()
        self.call_after_refresh(self._load, pieces, changed)

    @work(group="load")
    async def _load(self, pieces: Iterator[set[str]], changed: set[str]) -> None:
        for name in (
            "fields",
            "details",
            "dialogs",
            "all_options",
        ):  # in a thread, so that imports do not delay the first paint
            await asyncio.to_thread(import_module, f"seedbed.tui.{name}")
        from seedbed.tui.generate import GeneratePanel
        from seedbed.tui.models import ModelsPanel
        from seedbed.tui.system import SystemPanel
        from seedbed.tui.train import TrainPanel

        base = self.screen_stack[0]
        with self.batch_update():
            base.remove_class("-beginning")
            await base.query_one("#panels").mount(SystemPanel(), TrainPanel(), GeneratePanel(), ModelsPanel())
            await base.mount(Footer(show_command_palette=False, compact=True))
            self._arrange()
        self.is_ready = True
        if not gc.isenabled():  # cli/tui.py disables it for the start
            gc.freeze()
            gc.enable()
        self.refresh_bindings()  # for the footer, which was just mounted
        self.show(changed)
        self._read_rest(pieces)
        self.set_interval(REFRESH_S, self._look)
        self.start_keys()

    @work(group="read")
    async def _read_rest(self, pieces: Iterator[set[str]]) -> None:
        """Read the older runs in small batches from `pieces`, and show them in larger batches."""
        async with self._reading:
            found: set[str] = set()
            while (changed := await asyncio.to_thread(next, pieces, None)) is not None:
                found |= changed
                if len(found) >= 256:
                    self.show(found)
                    found = set()
            self.state.loaded = True
            self.show(found)

    # Reading ---------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Read the runs that have changed, and measure the machine if no job does. Called every second."""
        if self._reading.locked():
            return  # the disk is slow, or the older runs are still being read
        watch = self.state.watch
        async with self._reading:
            problem, changed = watch.problem, await asyncio.to_thread(watch.refresh)
        if changed or watch.problem != problem:
            self.show(changed)
        for panel in self.panels():
            if self.is_running:
                await panel.look()

    def show(self, changed: set[str]) -> None:
        """Update every panel with the runs whose ids are in `changed`, and with what is chosen, marked or active."""
        if not (self.is_running and self.screen_stack):
            return  # the window was closed meanwhile
        self.state.forget_deleted()
        for run_id in changed - self.state.watch.runs.keys():
            self._series.pop(run_id, None)
        for panel in self.panels():
            panel.update(changed)
        from seedbed.tui.details import Details

        if isinstance(self.screen, Details):
            self.screen.update(changed)

    def show_all(self) -> None:
        """Update every panel as if every run had changed."""
        self.show(set(self.state.watch.runs))

    def refresh_runs(self) -> None:
        """Read the runs now instead of at the next second, and show them."""
        self.run_worker(self._look(), group="look")

    def series(self, run: RunDir) -> Series:
        """The curves of a run, as one object that all widgets share. The 12 objects that were used last are kept."""
        series = self._series.get(run.id)
        if series is None:
            series = self._series[run.id] = Series(run)
        self._series.move_to_end(run.id)
        while len(self._series) > _MAX_SERIES:
            self._series.popitem(last=False)
        return series

    def push_screen(self, *arguments: Any, **options: Any) -> Any:
        """Open a screen or dialog, and remove messages, which would cover it."""
        self.clear_notifications()
        return super().push_screen(*arguments, **options)

    # Choices ---------------------------------------------------------------------------------------------------------

    def chosen_changed(self) -> None:
        """Update the panels after the cursor of the panel Runs has moved to another run."""
        for panel in self.panels():
            panel.chosen_changed()

    def activate(self, run_id: str | None) -> None:
        """Make this run's model the active one, which generates text and is offered to be trained further."""
        listed = self.state.run(run_id)
        if listed is None or listed.model is None:
            self.show_message("No model is selected.", "warning")
            return
        from seedbed.tui.train import TrainPanel

        self.state.active = run_id
        self.show(set(self.state.watch.runs))
        self.panel(TrainPanel).choose_origin(listed.run.id)
        self.show_message(f"{listed.model.name} is active: press 4 to generate text, or 3 to train it further.")

    def train_further(self, run_id: str) -> None:
        """Open the panel Train with this run as the one to train further."""
        from seedbed.tui.train import TrainPanel

        self.action_panel(TrainPanel.NUMBER)
        self.panel(TrainPanel).choose_origin(run_id)
        self.panel(TrainPanel).query_one("#epochs").focus()

    def show_started(self, run: RunDir, *, chosen: bool) -> None:
        """Show a run that a panel has started; with `chosen`, put the cursor of the panel Runs on it."""
        if chosen:
            self.state.filter = ""
            self.state.watch.forget(run.id)
            self.run_worker(self._show_new(run.id), group="look")
        else:
            self.refresh_runs()

    async def _show_new(self, run_id: str) -> None:
        async with self._reading:
            changed = await asyncio.to_thread(self.state.watch.refresh)
        self.show(changed)
        self.action_panel(RunsPanel.NUMBER)
        self.panel(RunsPanel).table.go_to(run_id)

    def open_details(self, run_id: str | None) -> None:
        """Open the screen with the details of a run."""
        from seedbed.tui.details import Details

        if self.state.run(run_id) is None or run_id is None:
            self.show_message("No run is selected.", "warning")
        else:
            self.push_screen(Details(run_id))

    # Panels ----------------------------------------------------------------------------------------------------------

    def panel(self, kind: type[P]) -> P:
        """The panel that is an instance of the class `kind`."""
        return self.screen_stack[0].query_one(kind)

    def panels(self) -> list[Panel]:
        """The panels that are loaded, in the order of their numbers; none while the window closes."""
        found = [panel for base in self.screen_stack[:1] for panel in base.query(Panel)]
        return sorted(found, key=lambda panel: panel.NUMBER)

    def action_panel(self, number: int) -> None:
        """Open the panel with this number and give it the focus."""
        panel = self.panels()[number - 1]
        self._unfold(panel)
        panel.home().focus()

    def action_turn(self, step: int) -> None:
        """Open the next panel (`step` 1) or the previous one (`step` -1)."""
        number = self._open.NUMBER if self._open is not None else 1
        self.action_panel((number - 1 + step) % 5 + 1)

    def action_zoom(self) -> None:
        """Show only the panel with the focus, or, if that is so already, all panels again."""
        self.screen_stack[0].toggle_class("-zoomed")
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """Show all panels in a grid if there is room, else one open panel between the titles of the others."""
        self._arrange(event.size.width, event.size.height)

    def _arrange(self, width: int | None = None, height: int | None = None) -> None:
        size = self.size
        wide = (width or size.width) >= GRID_COLUMNS and (height or size.height) >= GRID_ROWS
        base = self.screen_stack[0]
        base.set_class(wide, "-grid")
        base.set_class(not wide, "-accordion")
        panels = base.query_one("#panels")
        there = {panel.NAME: panel for panel in self.panels()}
        if "Models" in there:
            # A grid is filled row by row: Models is beside Train and Generate, so it must be between them.
            if wide:
                panels.move_child(there["Models"], before=there["Generate"])
            else:
                panels.move_child(there["Models"], after=there["Generate"])

    @on(events.DescendantFocus)
    def _on_focus(self, event: events.DescendantFocus) -> None:
        for ancestor in event.widget.ancestors_with_self:
            if isinstance(ancestor, Panel):
                self._unfold(ancestor)
                return

    def _unfold(self, panel: Panel) -> None:
        if self._open is panel:
            return
        self._open = panel
        for each in self.panels():
            each.set_class(each is panel, "-open")

    def action_leave(self) -> None:
        """Move the focus out of a text field, so that typed characters are commands again."""
        if self._open is not None:
            self._open.leave_editor()

    def action_look(self) -> None:
        """Read the runs now instead of at the next second."""
        self.refresh_runs()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action of the window is available.

        While a dialog is open, most are not; while a text field has the focus, those on keys that type a character are
        not.
        """
        editing = is_editor(self.focused)
        if action == "leave":
            return editing and len(self.screen_stack) == 1
        if action in ("keys", "all_keys") and len(self.screen_stack) > 1:
            from seedbed.tui.details import Details

            return isinstance(self.screen, Details)
        if len(self.screen_stack) > 1 and action in ("panel", "turn", "zoom", "look", "close"):
            return False
        return not (editing and action in typed_actions(Window))

    # Keys ------------------------------------------------------------------------------------------------------------

    def action_close(self) -> None:
        """Close the window. Runs continue."""
        self.exit()

    def action_all_keys(self) -> None:
        """Show the list of all keys, also from a text field."""
        self.action_keys()

    def action_keys(self) -> None:
        """Show the list of all keys; if a person selects a row, run its command."""
        from seedbed.tui.dialogs import Keys
        from seedbed.tui.key_table import key_rows

        async def do(row: KeyRow | None) -> None:
            if row is not None and row.run is not None:
                await row.run()

        self.push_screen(Keys(key_rows(self, self.panels())), do)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the commands of the command palette (ctrl+p): those of the window and of every panel.

        Textual's own commands are omitted, because they do not know the layout.
        """
        from seedbed.tui.key_table import action_runner

        yield SystemCommand("Keys", "Show every key of every panel and dialog", self.action_keys)
        yield SystemCommand("Theme", "Choose other colours", self.action_change_theme)
        yield SystemCommand("Quit", "Close the window; runs continue", self.action_close)
        for panel in self.panels():
            there = action_runner(self, None, f"panel({panel.NUMBER})")
            yield SystemCommand(f"Go to {panel.NAME}", f"The same as the key {panel.NUMBER}", there)
            for binding in Binding.make_bindings(type(panel).BINDINGS):
                if binding.key != "escape":
                    title = f"{panel.NAME}: {binding.description}"
                    description = binding.tooltip or binding.description
                    yield SystemCommand(title, description, action_runner(self, panel, binding.action))

    def action_help_quit(self) -> None:
        """Close the window on ctrl+c. Runs continue."""
        self.exit()


def run(store: Store) -> int:
    """Show the window until it is closed; returns the exit status."""
    window = Window(store)
    replace_unknown_characters()
    asyncio.run(_show(window))
    return window.return_code or 0


async def _show(window: Window) -> None:
    """Run the window until a key or a signal closes the window."""
    loop = asyncio.get_running_loop()

    def close(number: int) -> None:
        loop.call_soon_threadsafe(partial(window.exit, return_code=128 + number))

    with leaving_on_signals(close):
        await window.run_async()
