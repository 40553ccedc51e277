"""Keys: each place tells those that work there, every field can be reached and left, and nothing needs the mouse."""

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
"""Every focus and mode, and the keys that lead there from the beginning."""
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
    """What the bindings say that the footer has to show, in its words."""
    told: dict[str, str] = {}
    for _, binding, enabled, _ in user.screen.active_bindings.values():
        if binding.show and enabled:
            told.setdefault(binding.action, f"{user.window.get_key_display(binding)} {binding.description}")
    return list(told.values())


def footer(user: Any) -> str:
    return str(user.part(Footer)).strip()


async def visit(user: Any, place: str) -> None:
    """Go to a place by keys, from wherever one is."""
    while len(user.window.screen_stack) > 1 or is_editor(user.window.focused):
        await user.keys("escape")
    if user.window.screen_stack[0].has_class("-zoomed"):
        await user.keys("z")
    for key in PLACES[place]:
        await user.keys(key)
    await user.until(lambda: footer(user), "the footer")


async def test_every_place_tells_its_keys_and_no_others(open_window: Any, store: Any) -> None:
    """In every focus and mode, at 80 columns: each key that works there is in the footer, whole, or in the table of keys.

    Every one of them has words and leads somewhere, and where one types no letter is one.
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
                where = table_part(owner)
                if where and binding.key in declared(owner):
                    shown = user.window.get_key_display(binding)
                    assert any(row.where == where and shown in row.keys.split() for row in rows), (
                        place,
                        key,
                    )
                    listed.add((where, shown))
            assert is_editor(user.window.focused) == (place in FIELDS), place
            if place in FIELDS:
                assert not [key for key in TYPED if key in bindings], place
    # The table tells nothing that works nowhere: each part of it was found somewhere.
    assert {where for where, _ in listed} == {row.where for row in rows}
    # What is told differs from place to place.
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


def table_part(owner: Any) -> str:
    """Where in the table of keys the keys of a widget stand; "" for those that are Textual's own, or a dialog's only one."""
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


def declared(owner: Any) -> set[str]:
    """The keys that a class of ours binds itself, or a table's."""
    kinds = [kind for kind in type(owner).__mro__ if kind.__module__.startswith("seedbed.") or kind is DataTable]
    return {binding.key for kind in kinds for binding in Binding.make_bindings(kind.__dict__.get("BINDINGS", []))}


async def test_the_table_of_keys_can_be_read(open_window: Any, store: Any) -> None:
    """Every row of it can be brought onto the screen, with its key and its words."""
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


async def test_the_table_of_keys_names_the_panels(open_window: Any, empty_store: Any) -> None:
    async with open_window(empty_store, (80, 24)) as user:
        told = [
            (row.keys, row.description) for row in key_rows(user.window, user.window.panels()) if row.keys in "12345"
        ]
        names = ("Runs", "System", "Train", "Generate", "Models")
        assert [*told][:5] == [(str(number), f"Go to {name}") for number, name in enumerate(names, 1)]


async def test_the_footer_changes_while_a_model_writes(open_window: Any, store: Any) -> None:
    """A mode is a mode without another focus too: esc cancels while there is something to cancel."""
    async with open_window(store, (80, 24)) as user:
        await user.keys("4")
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


async def test_a_row_of_the_table_of_keys_does_what_it_says(open_window: Any, store: Any) -> None:
    """Enter on a row calls its command, where that can be called from there."""
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
        await user.until(lambda: isinstance(user.screen, Rename), "the question for a name")


def reachable(user: Any) -> set[Widget]:
    """All that can have the focus on this screen."""
    return set(user.screen.focus_chain)


def is_seen(user: Any, widget: Widget) -> bool:
    """Whether a widget is on the screen, at its full height or as high as its container."""
    shown = user.screen.find_widget(widget).visible_region
    return shown.height >= min(widget.size.height, 1) and shown.width >= min(widget.size.width, 8) > 0


async def rounds(user: Any, key: str) -> list[Widget]:
    """What has the focus, key by key, until the first has it again."""
    first = user.window.focused
    passed = [first]
    for _ in range(80):
        await user.repeat(key, 1)
        focused = user.window.focused
        assert focused is not None, f"nothing has the focus after {passed[-1]}"
        if focused is first:
            return passed
        assert focused not in passed, f"{key} goes round without {first}: {focused}"
        await user.until(lambda focused=focused: is_seen(user, focused), f"{focused} on the screen")
        passed.append(focused)
    raise AssertionError(f"{key} does not come back: {passed}")


@pytest.mark.parametrize("size", [(80, 24), pytest.param((130, 40), marks=pytest.mark.slow)])
async def test_tab_comes_to_everything_and_back(open_window: Any, store: Any, size: tuple[int, int]) -> None:
    """No dead end, nothing left out, and whatever has the focus is in sight, also in the smallest terminal."""
    async with open_window(store, size) as user:
        forward = await rounds(user, "tab")
        assert set(forward) == reachable(user)
        assert len(forward) >= 24
        panels = {panel.NAME for panel in user.window.panels() if any(panel in w.ancestors for w in forward)}
        assert panels == {"Runs", "System", "Train", "Generate", "Models"}
        backward = await rounds(user, "shift+tab")
        assert backward[1:] == forward[:0:-1]


async def test_questions_and_screens_are_gone_through_and_left(open_window: Any, store: Any) -> None:
    """Tab goes round in them too, esc leaves, and the focus is where it was."""
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
            assert set(await rounds(user, "tab")) == reachable(user)
            for _ in range(2):
                if isinstance(user.screen, kind):
                    await user.keys("escape")
            await user.until(lambda kind=kind: not isinstance(user.screen, kind), "the panels")
            assert user.focus() == ("origin" if kind is AllOptions else "runs-table")


async def test_the_focus_can_be_seen(open_window: Any, store: Any) -> None:
    """The panel with the focus is framed in another colour than all others, and in no other place."""
    async with open_window(store, (130, 40)) as user:
        frames = []
        for number in "12345":
            await user.go(int(number))
            await user.pilot.pause()
            colours = [str(panel.styles.border_top[1]) for panel in user.window.panels()]
            frames.append(colours.index(next(each for each in colours if colours.count(each) == 1)))
        assert frames == [0, 1, 2, 3, 4]


async def test_keys_move_the_cursor_the_focus_and_the_panels(open_window: Any, store: Any) -> None:
    """Digits, h and l, brackets and arrows go where they say; a field is left by esc first."""
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


async def test_keys_of_one_burst_go_where_they_would_go_one_by_one(open_window: Any, empty_store: Any) -> None:
    """A slow line, a paste without marks and a macro hand over many keys at once, some of which move the focus."""
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


async def test_the_runs_are_seen_before_the_rest_is_there_and_keys_wait_for_it(
    open_window: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[list[str], str]] = []
    begin = Window._load

    def note(window: Window, *given: Any) -> Any:
        strips = window.screen._compositor.render_strips()
        begun.append(([panel.NAME for panel in window.panels()], "\n".join(strip.text for strip in strips)))
        for key, character in (("3", "3"), ("tab", None), ("x", "x")):
            event = Key(key, character)
            event.set_sender(window)
            window._driver.send_message(event)
        return begin(window, *given)

    monkeypatch.setattr(Window, "_load", note)
    async with open_window(store, (80, 24)) as user:
        [(panels, seen)] = begun
        assert panels == ["Runs"]
        assert "oak" in seen
        await user.until(lambda: user.screen.query_one("#run-name", Input).value == "x", "what was typed")
    monkeypatch.setattr(Window, "_load", begin)
    async with open_window(store, (80, 24)) as user:
        await user.until(lambda: "? Keys" in user.rows[-1], "the footer")


async def test_keys_of_one_burst_reach_the_question_that_they_open(open_window: Any, store: Any) -> None:
    async with open_window(store, (80, 24)) as user:
        for key in ("slash", *"oak", "enter", "D", "y"):
            user.send(key)
        await user.until(lambda: not any(run.name() == "oak" for run in store.all()), "the end of the run")
