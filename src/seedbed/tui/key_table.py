"""The rows of the list of keys, made from the key bindings of the window, its panels and its dialogs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from seedbed.tui.all_options import AllOptions
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, KeyRow, Note
from seedbed.tui.fields import NumberField, Prompt
from seedbed.tui.panel import Panel
from seedbed.tui.panel_window import PanelWindow
from seedbed.tui.safe_text import safe_string
from seedbed.tui.table import RunTable


def action_runner(window: PanelWindow, panel: Panel | None, action: str) -> Callable[[], Awaitable[None]]:
    """Make a function that closes all dialogs, opens the panel (if given) and runs the action."""

    async def run() -> None:
        while len(window.screen_stack) > 1:
            await window.pop_screen()
        if panel is not None:
            window.action_panel(panel.NUMBER)
        await window.run_action(action, panel or window)

    return run


def key_rows(window: PanelWindow, panels: Sequence[Panel]) -> list[KeyRow]:
    """The rows of the list of keys: one for each command, with all keys of the command."""
    found: dict[tuple[str, str], tuple[list[str], str, Panel | None]] = {}
    groups: list[tuple[str, Panel | None, Iterable[BindingType]]] = [("Everywhere", None, type(window).BINDINGS)]
    groups += [(panel.NAME, panel, type(panel).BINDINGS) for panel in panels]
    groups += [("Tables", None, [*RunTable.BINDINGS, *DataTable.BINDINGS])]
    groups += [("Prompt", None, Prompt.BINDINGS), ("Numbers", None, NumberField.BINDINGS)]
    groups += [("Details of a run", None, Details.BINDINGS)]
    groups += [("All options", None, AllOptions.BINDINGS), ("Confirmations", None, Confirm.BINDINGS)]
    groups += [("Note", None, Note.BINDINGS)]
    for where, panel, bindings in groups:
        for binding in Binding.make_bindings(bindings):
            description = binding.tooltip or binding.description
            keys, _, _ = found.setdefault((where, binding.action), ([], description, panel))
            shown = safe_string(window.get_key_display(binding))
            if shown not in keys:
                keys.append(shown)
    rows = []
    for (where, action), (keys, description, panel) in found.items():
        can_click = panel is not None or (where == "Everywhere" and action not in ("leave", "keys", "all_keys"))
        run = action_runner(window, panel, action) if can_click else None
        rows.append(KeyRow(where, " ".join(keys), description, run))
    return rows
