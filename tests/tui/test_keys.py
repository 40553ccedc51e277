"""Keys: each place shows those that work there, every field can be reached and left, and nothing needs the mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.binding import Binding
from textual.events import Key, Paste
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Input

from seedbed.tui.all_options import AllOptions
from seedbed.tui.app import Window
from seedbed.tui.curve import Curve
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, Keys, Note, Rename
from seedbed.tui.editors import is_editor
from seedbed.tui.fields import NumberField, Prompt
from seedbed.tui.generate import GeneratePanel
from seedbed.tui.key_table import key_rows
from seedbed.tui.panel import Panel
from seedbed.tui.runs import RunsPanel

PLACES: dict[str, tuple[str, ...]] = {
    "runs": ("1",),
    "filter": ("1", "slash"),
    "system": ("2",),
    "origin": ("3",),
    "list of models": ("3", "enter"),
    "name": ("3", "tab"),
    "epochs": ("3", "tab", "tab", "tab", "tab"),
    "start": ("3", "tab", "escape"),
    "queue": ("3", "tab", "escape", "tab", "tab"),
    "prompt": ("4",),
    "tokens": ("4", "tab"),
    "output": ("4", "escape"),
    "models": ("5",),
    "zoomed": ("1", "z"),
    "delete": ("1", "D"),
    "rename": ("1", "e"),
    "rename in Models": ("5", "e"),
    "tags": ("1", "t"),
    "note": ("1", "n"),
    "note in Models": ("5", "n"),
    "keys": ("1", "question_mark"),
    "all options": ("3", "ctrl+o"),
    "an option's field": ("3", "ctrl+o", "enter"),
    "details": ("1", "enter"),
    "log": ("1", "enter", "2"),
    "diff": ("1", "enter", "4", "tab"),
}
"""Every focus and mode, with the keys that lead there from the first panel."""
FIELDS = (
    "filter",
    "name",
    "epochs",
    "prompt",
    "tokens",
    "rename",
    "rename in Models",
    "tags",
    "note",
    "note in Models",
    "an option's field",
)
TYPED = (
    "q",
    "z",
    "1",
    "5",
    "j",
    "k",
    "h",
    "l",
    "r",
    "question_mark",
    "space",
    "p",
    "s",
    "D",
    "e",
    "slash",
    "a",
    "x",
    "m",
)


def hints(user: Any) -> list[str]:
    """The hints that the footer has to show, according to the bindings."""
    found: dict[str, str] = {}
    for _, binding, enabled, _ in user.screen.active_bindings.values():
        if binding.show and enabled:
            found.setdefault(binding.action, f"{user.window.get_key_display(binding)} {binding.description}")
    return list(found.values())


def footer(user: Any) -> str:
    return str(user.part(Footer)).strip()


async def visit(user: Any, place: str) -> None:
    """Go to a place by keys, from any other place."""
    while len(user.window.screen_stack) > 1 or is_editor(user.window.focused):
        await user.keys("escape")
    if user.window.screen_stack[0].has_class("-zoomed"):
        await user.keys("z")
    for key in PLACES[place]:
        await user.keys(key)
    await user.until(lambda: footer(user), "the footer")


async def test_footer_and_key_table_show_exactly_the_keys_that_work(open_window: Any, store: Any) -> None:
    """In every focus and mode, at 80 columns: each key that works there is uncut in the footer or in the table of keys.

    Each of them has a description and an action, and in a text field no letter is a command.
    """
    footers, listed = {}, set()
    async with open_window(store, (80, 24)) as user:
        rows = key_rows(user.window, user.window.panels())
        for place in PLACES:
            await visit(user, place)
            await user.until(lambda: footer(user) == " ".join(hints(user)), f"the keys of {place}")
            footers[place] = footer(user)
            bindings = user.screen.active_bindings
            for key, (owner, binding, _, tooltip) in bindings.items():
                assert binding.description.strip() or tooltip, (place, key)
                namespace, name, _ = user.window._parse_action(binding.action, owner)
                assert hasattr(namespace, f"action_{name}") or hasattr(namespace, f"_action_{name}"), (place, key)
                where = table_section(owner)
                if where and binding.key in declared_keys(owner):
                    shown = user.window.get_key_display(binding)
                    assert any(row.where == where and shown in row.keys.split() for row in rows), (
                        place,
                        key,
                    )
                    listed.add((where, shown))
            assert is_editor(user.window.focused) == (place in FIELDS), place
            if place in FIELDS:
                assert not [key for key in TYPED if key in bindings], place
    # The table has no section without effect: each was found in some place.
    assert {where for where, _ in listed} == {row.where for row in rows}
    # The footer differs from place to place.
    assert len(set(footers.values())) >= 12
    assert "s Stop" in footers["runs"]
    assert "Stop" not in footers["models"]
    assert "a Use" in footers["models"]
    assert footers["prompt"].startswith("⏎ Generate ^j New line")
    assert "q Quit" in footers["runs"]
    for field in FIELDS:
        assert "Quit" not in footers[field]
        assert "esc " in footers[field]
    assert footers["delete"] == "y Yes n/esc No"


def table_section(owner: Any) -> str:
    """The section of the key table for the keys of a widget; "" for Textual's own, or the only key of a dialog."""
    if isinstance(owner, Panel):
        return owner.NAME
    kinds = {
        Window: "Everywhere",
        DataTable: "Tables",
        Prompt: "Prompt",
        NumberField: "Numbers",
        Details: "Details of a run",
        AllOptions: "All options",
        Confirm: "Confirmations",
        Note: "Note",
    }
    return next((where for kind, where in kinds.items() if isinstance(owner, kind)), "")


def declared_keys(owner: Any) -> set[str]:
    """The keys that Seedbed's own classes, or a DataTable, bind."""
    kinds = [kind for kind in type(owner).__mro__ if kind.__module__.startswith("seedbed.") or kind is DataTable]
    return {binding.key for kind in kinds for binding in Binding.make_bindings(kind.__dict__.get("BINDINGS", []))}


async def test_every_row_of_the_key_table_can_be_shown(open_window: Any, store: Any) -> None:
    """The cursor brings each row onto the screen, with its key and its description."""
    async with open_window(store, (80, 24)) as user:
        await user.keys("question_mark")
        table = user.screen.query_one(DataTable)
        rows = key_rows(user.window, user.window.panels())
        await user.until(lambda: table.row_count == len(rows))
        for number, row in enumerate(rows):
            table.move_cursor(row=number, animate=False)
            await user.until(
                lambda row=row: any(
                    f" {row.keys} " in seen and row.description.split()[0] in seen for seen in user.rows
                ),
                f"{row.keys}: {row.description}",
            )


async def test_the_key_table_names_the_panels(open_window: Any, empty_store: Any) -> None:
    async with open_window(empty_store, (80, 24)) as user:
        shown = [
            (row.keys, row.description) for row in key_rows(user.window, user.window.panels()) if row.keys in "12345"
        ]
        names = ("Runs", "System", "Train", "Generate", "Models")
        assert [*shown][:5] == [(str(number), f"Go to {name}") for number, name in enumerate(names, 1)]


async def test_the_footer_changes_while_a_model_generates(open_window: Any, store: Any) -> None:
    """The keys change although the focus stays: esc cancels as long as there is something to cancel."""
    async with open_window(store, (80, 24)) as user:
        await user.choose("birch", 5)  # whose text does not end: it is barely trained, and takes the likeliest token
        await user.keys("a", "4")
        for name, value in (("max-tokens", "100000"), ("temperature", "0"), ("samples", "16")):
            user.window.panel(GeneratePanel).query_one(f"#{name}", NumberField).value = value
        await user.type("Once")
        await user.until(lambda: footer(user) == " ".join(hints(user)))
        assert "esc Leave field" in footer(user)
        await user.keys("enter")
        await user.until(lambda: user.window.panel(GeneratePanel).busy)
        await user.until(lambda: "esc Cancel" in footer(user), "the key that cancels")
        assert "Leave field" not in footer(user)
        await user.repeat("escape", 1)
        await user.until(lambda: not user.window.panel(GeneratePanel).busy)
        await user.until(lambda: "esc Leave field" in footer(user), "the key that leaves")


async def test_enter_on_a_row_of_the_key_table_runs_its_command(open_window: Any, store: Any) -> None:
    """Enter on a row runs its command, if that is available."""
    async with open_window(store, (80, 24)) as user:
        await user.keys("question_mark")
        rows = key_rows(user.window, user.window.panels())
        table = user.screen.query_one(DataTable)
        await user.until(lambda: table.row_count == len(rows), "the rows")
        table.move_cursor(row=next(n for n, row in enumerate(rows) if row.keys == "5"), animate=False)
        await user.keys("enter")
        await user.until(lambda: user.focus() == "models-table", "the panel Models")
        await user.keys("f1")
        table = user.screen.query_one(DataTable)
        await user.until(lambda: table.row_count == len(rows), "the rows")
        table.move_cursor(row=next(n for n, row in enumerate(rows) if (row.where, row.keys) == ("Runs", "e")))
        await user.keys("enter")
        await user.until(lambda: isinstance(user.screen, Rename), "the rename dialog")


def reachable(user: Any) -> set[Widget]:
    """All widgets of the screen that can have the focus."""
    return set(user.screen.focus_chain)


def is_visible(user: Any, widget: Widget) -> bool:
    """Whether a widget is on the screen with at least a row and eight columns, or all of it if it is smaller."""
    shown = user.screen.find_widget(widget).visible_region
    return shown.height >= min(widget.size.height, 1) and shown.width >= min(widget.size.width, 8) > 0


async def focus_cycle(user: Any, key: str) -> list[Widget]:
    """The widgets that get the focus when a key is repeated, until the first one has it again."""
    first = user.window.focused
    visited = [first]
    for _ in range(80):
        await user.repeat(key, 1)
        focused = user.window.focused
        assert focused is not None, f"nothing has the focus after {visited[-1]}"
        if focused is first:
            return visited
        assert focused not in visited, f"{key} cycles without reaching {first}: {focused}"
        await user.until(lambda focused=focused: is_visible(user, focused), f"{focused} on the screen")
        visited.append(focused)
    raise AssertionError(f"{key} does not return to {first}: {visited}")


@pytest.mark.parametrize("size", [(80, 24), pytest.param((130, 40), marks=pytest.mark.slow)])
async def test_tab_reaches_every_widget_and_returns(open_window: Any, store: Any, size: tuple[int, int]) -> None:
    """Tab and shift+tab leave out no widget, and the focused one is always visible, also in the smallest terminal."""
    async with open_window(store, size) as user:
        forward = await focus_cycle(user, "tab")
        assert set(forward) == reachable(user)
        assert len(forward) >= 24
        panels = {panel.NAME for panel in user.window.panels() if any(panel in w.ancestors for w in forward)}
        assert panels == {"Runs", "System", "Train", "Generate", "Models"}
        backward = await focus_cycle(user, "shift+tab")
        assert backward[1:] == forward[:0:-1]


async def test_tab_cycles_through_dialogs_and_screens_and_esc_closes_them(open_window: Any, store: Any) -> None:
    """After esc the focus is where it was."""
    async with open_window(store, (80, 24)) as user:
        for place, kind in (
            ("delete", Confirm),
            ("rename", Rename),
            ("all options", AllOptions),
            ("an option's field", AllOptions),
            ("keys", Keys),
            ("details", Details),
            ("diff", Details),
        ):
            await visit(user, place)
            assert isinstance(user.screen, kind)
            assert set(await focus_cycle(user, "tab")) == reachable(user)
            for _ in range(2):
                if isinstance(user.screen, kind):
                    await user.keys("escape")
            await user.until(lambda kind=kind: not isinstance(user.screen, kind), "the panels")
            assert user.focus() == ("origin" if kind is AllOptions else "runs-table")


async def test_only_the_focused_panel_has_a_coloured_frame(open_window: Any, store: Any) -> None:
    """The frame of the panel with the focus has another colour than all others."""
    async with open_window(store, (130, 40)) as user:
        frames = []
        for number in "12345":
            await user.go(int(number))
            await user.pilot.pause()
            colours = [str(panel.styles.border_top[1]) for panel in user.window.panels()]
            frames.append(colours.index(next(each for each in colours if colours.count(each) == 1)))
        assert frames == [0, 1, 2, 3, 4]


async def test_keys_move_the_cursor_the_focus_and_the_panels(open_window: Any, store: Any) -> None:
    """Digits, h, l and brackets change the panel, letters and arrows move the cursor; esc leaves a field first."""
    async with open_window(store, (80, 24)) as user:
        where: Callable[[], str] = lambda: user.panel.NAME  # noqa: E731
        for key, name in (("l", "System"), ("right_square_bracket", "Train"), ("h", "System"), ("5", "Models")):
            await user.keys(key)
            assert where() == name, key
        await user.keys("l")
        assert where() == "Runs"
        await user.keys("left_square_bracket")
        assert where() == "Models"
        await user.keys("4", "1")
        assert (where(), user.focus()) == ("Generate", "prompt")
        await user.keys("escape", "1")
        assert where() == "Runs"
        table = user.window.panel(RunsPanel).table
        for key, row in (("j", 1), ("down", 2), ("k", 1), ("up", 0), ("G", 4), ("g", 0)):
            await user.keys(key)
            assert table.cursor_row == row, key
        await user.keys("z")
        await user.until(lambda: "2 System" not in user.text, "the panel alone")
        await user.keys("z")
        await user.see("2 System", "5 Models")


async def test_keys_change_what_a_curve_shows(open_window: Any, store: Any) -> None:
    """Axis, scale, smoothing, zoom and moving work from the list of runs."""
    async with open_window(store, (130, 40)) as user:
        curve = user.window.panel(RunsPanel).query_one(Curve)
        await user.see("x: step", "⠒ validation")
        await user.keys("x")
        await user.see("x: tokens")
        await user.keys("x", "x", "y", "m")
        await user.see("x: step · log · EMA 0.6")
        await user.keys("+", "+")
        await user.see("zoomed")
        left, right = curve.window
        assert right - left < 55 / 3
        assert (left, right) == (int(left), int(right))  # there is no half step
        await user.keys(">")
        assert curve.window[0] > left
        await user.keys("<", "<")
        assert curve.window[0] < left
        await user.keys("-", "-", "-")
        await user.see_not("zoomed")
        await user.keys("+", "0")
        await user.see_not("zoomed")


async def test_keys_sent_at_once_reach_the_same_fields_as_single_keys(open_window: Any, empty_store: Any) -> None:
    """A slow connection, an unmarked paste or a macro sends many keys at once, some of which move the focus."""
    async with open_window(empty_store, (80, 24)) as user:
        for key in ("3", "tab", *"oak", "tab", "tab", *"text:a", "tab", "7", "tab", "tab", *"16"):
            user.send(key)
        user.send(Paste("4"))
        for key in ("escape", "4", *"Once", "tab", "end", "0"):
            user.send(key)
        await user.settle()
        fields = {
            name: user.screen.query_one(f"#{name}", Input).value for name in ("run-name", "data", "epochs", "batch")
        }
        assert fields == {"run-name": "oak", "data": "text:a", "epochs": "7", "batch": "164"}
        assert user.screen.query_one(Prompt).text == "Once"
        assert user.screen.query_one("#max-tokens", NumberField).value == "1000"


async def test_runs_are_shown_before_the_other_panels_exist_and_keys_wait_for_them(
    open_window: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_load: list[tuple[list[str], str]] = []
    real_load = Window._load

    def record(window: Window, *given: Any) -> Any:
        strips = window.screen._compositor.render_strips()
        at_load.append(([panel.NAME for panel in window.panels()], "\n".join(strip.text for strip in strips)))
        for key, character in (("3", "3"), ("tab", None), ("x", "x")):
            event = Key(key, character)
            event.set_sender(window)
            window._driver.send_message(event)
        return real_load(window, *given)

    monkeypatch.setattr(Window, "_load", record)
    async with open_window(store, (80, 24)) as user:
        [(panels, shown)] = at_load
        assert panels == ["Runs"]
        assert "oak" in shown
        await user.until(lambda: user.screen.query_one("#run-name", Input).value == "x", "what was typed")
    monkeypatch.setattr(Window, "_load", real_load)
    async with open_window(store, (80, 24)) as user:
        await user.until(lambda: "? Keys" in user.rows[-1], "the footer")


async def test_keys_sent_at_once_reach_the_dialog_that_they_open(open_window: Any, store: Any) -> None:
    async with open_window(store, (80, 24)) as user:
        for key in ("slash", *"oak", "enter", "D", "y"):
            user.send(key)
        await user.until(lambda: not any(run.name() == "oak" for run in store.all()), "the deletion of the run")
