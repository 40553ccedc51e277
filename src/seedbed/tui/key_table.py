"""The table of keys: every command of every place, as the bindings themselves tell it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, KeyRow, Note
from seedbed.tui.fields import NumberField, Prompt
from seedbed.tui.panel import Panel
from seedbed.tui.panel_window import PanelWindow
from seedbed.tui.safe_text import safe_string
from seedbed.tui.settings import Settings
from seedbed.tui.table import RunTable


def runner(window: PanelWindow, place: Panel | None, action: str) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        while len(window.screen_stack) > 1:  # whatever is in front of the panels goes
            await window.pop_screen()
        if place is not None:
            window.action_panel(place.NUMBER)
        await window.run_action(action, place or window)

    return run


def key_rows(window: PanelWindow, panels: Sequence[Panel]) -> list[KeyRow]:
    """Every command, for the table of keys. Keys of one command stand together."""
    found: dict[tuple[str, str], tuple[list[str], str, Panel | None]] = {}
    places: list[tuple[str, Panel | None, Iterable[BindingType]]] = [("Everywhere", None, type(window).BINDINGS)]
    places += [(panel.NAME, panel, type(panel).BINDINGS) for panel in panels]
    places += [("Tables", None, [*RunTable.BINDINGS, *DataTable.BINDINGS])]
    places += [("Prompt", None, Prompt.BINDINGS), ("Numbers", None, NumberField.BINDINGS)]
    places += [("Details of a run", None, Details.BINDINGS)]
    places += [("All options", None, Settings.BINDINGS), ("Questions", None, Confirm.BINDINGS)]
    places += [("Note", None, Note.BINDINGS)]
    for where, panel, bindings in places:
        for binding in Binding.make_bindings(bindings):
            told = binding.tooltip or binding.description
            keys, _, _ = found.setdefault((where, binding.action), ([], told, panel))
            shown = safe_string(window.get_key_display(binding))
            if shown not in keys:
                keys.append(shown)
    rows = []
    for (where, action), (keys, told, panel) in found.items():
        callable_here = panel is not None or (where == "Everywhere" and action not in ("leave", "keys", "all_keys"))
        rows.append(KeyRow(where, " ".join(keys), told, runner(window, panel, action) if callable_here else None))
    return rows
