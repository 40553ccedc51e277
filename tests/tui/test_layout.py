"""The window in terminals of 80x24 to 200x60, with no run, one run and 200 runs: what it shows, and whether it fits.

Besides the assertions there are text snapshots of the screen under `snapshots/`, without what differs from one machine
or minute to the next. UPDATE_SNAPSHOTS=1 rewrites them.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import shutil
import time
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from tests.patience import limit
from textual.css.model import SelectorType
from textual.css.stylesheet import Stylesheet
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Button, Checkbox, DataTable, Input, Label, Select, Static, TabbedContent

from seedbed.config.keys import keys
from seedbed.config.roots import TRAIN
from seedbed.events import Hardware, Message, Run
from seedbed.presentation.forms import ConfigForm
from seedbed.runs.session import Session
from seedbed.runs.store import Store
from seedbed.tui import app as app_module
from seedbed.tui import models
from seedbed.tui.all_options import AllOptions
from seedbed.tui.app import GRID_COLUMNS, GRID_ROWS, Window
from seedbed.tui.curve import Curve
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, KeyRow, Keys, Note, Rename
from seedbed.tui.models import ModelsPanel
from seedbed.tui.panel import Panel
from seedbed.tui.runs import RunsPanel
from seedbed.tui.safe_text import safe_text
from seedbed.tui.system import SystemPanel
from seedbed.tui.table import RunTable

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = bool(os.environ.get("UPDATE_SNAPSHOTS"))
SMALLEST = (80, 24)
SIZES = [SMALLEST, (100, 30), (130, 40), (200, 60)]
COUNTS = [0, 1, 200]
NEWEST = {1: "oak", 200: "fir 199"}
"""The run under the cursor at the start."""
TITLES = {1: "1 Runs", 2: "2 System", 3: "3 Train", 4: "4 Generate", 5: "5 Models"}
GIB = 2**30
MACHINE = Hardware(
    cpu_fraction=0.42,
    cpu_cores=16,
    load_1m=3.25,
    rss_bytes=GIB,
    ram_used_bytes=32 * GIB,
    ram_total_bytes=64 * GIB,
    gpu_fraction=0.87,
    gpu_used_bytes=20 * GIB,
    gpu_total_bytes=80 * GIB,
    gpu_temperature_c=61.0,
    gpu_power_w=412.0,
    missing=None,
)

sized = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
counted = pytest.mark.parametrize("count", COUNTS, ids=lambda count: f"{count}-runs")


class FixedSampler:
    """A sampler that always returns the same figures."""

    def sample(self) -> Hardware:
        return MACHINE


StoreOf = Callable[[int], Store]


@pytest.fixture
def store_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, real_runs: Path, many_runs: Path) -> StoreOf:
    """Returns a store with that many runs, with the same ids and path on every machine. Tests must not change it."""

    def of(count: int) -> Store:
        if count == 1:
            oak = next(run for run in Store(real_runs).all() if run.name() == "oak")
            shutil.copytree(oak.path, tmp_path / "runs" / "20260101-000000-000-oak")
        monkeypatch.chdir(many_runs.parent if count == 200 else tmp_path)
        return Store(Path("runs"))

    return of


async def wait_until_loaded(user: Any) -> None:
    """Sample the fixed machine, and wait for the curve of the run under the cursor, if there is one."""
    system = user.window.panel(SystemPanel)
    system._sampler = FixedSampler()
    await system.look()
    curve = user.window.panel(RunsPanel).curve
    awaited = "⣿ train" if user.window.state.watch.runs else "No runs yet"
    await user.until(lambda: awaited in "\n".join(user.rows_in(curve.region)) or not shown(curve), "the curve")


def shown(widget: Widget) -> bool:
    """Whether any part of a widget is on the screen; dialogs above it do not count."""
    return widget.is_on_screen and widget.region.area > 0


def panels(user: Any) -> dict[int, Panel]:
    return {panel.NUMBER: panel for panel in user.window.panels()}


def inside(outer: Region, inner: Region) -> bool:
    """Whether the whole of `inner`, which is not empty, is in `outer`."""
    return inner.area > 0 and outer.contains_region(inner)


def main_region(user: Any) -> Region:
    """The region of the screen above the footer."""
    width, height = user.window.size
    return Region(0, 0, width, height - 1)


def panel_area(user: Any) -> int:
    """The number of cells of all panels."""
    return sum(int(panel.region.area) for panel in panels(user).values() if panel.display)


def is_grid(size: tuple[int, int]) -> bool:
    return size[0] >= 130 and size[1] >= 40


def assert_uncut_titles(user: Any) -> None:
    """Each title has the number, the name, and complete parts of the summary; a shortened summary ends in an ellipsis."""
    for number, panel in panels(user).items():
        region = panel.region
        if not panel.display:
            continue
        seen = user.rows_in(Region(region.x, region.y, region.width, 1))[0].strip("╭╮─ ")
        name, between, summary = seen.partition(" ─ ")
        assert name == TITLES[number], seen
        assert between, seen
        parts, all_parts = summary.removesuffix("…").split(" · "), panel._summary.split(" · ")
        assert parts == all_parts[: len(parts)], f"{seen!r} cuts {panel._summary!r}"
        assert summary.endswith("…") == (len(parts) < len(all_parts)), seen


def assert_no_horizontal_scrolling(user: Any, root: Widget) -> None:
    """Nothing in `root` is wider than its visible part: no horizontal scroll bar, no table cut at the right."""
    for widget in [root, *root.walk_children(Widget)]:
        if shown(widget):
            bar = widget.show_horizontal_scrollbar and not isinstance(widget, Input)  # a field has no visible one
            assert not bar, f"{widget} scrolls horizontally:\n{user.text}"
            if isinstance(widget, DataTable):
                assert widget.virtual_size.width <= widget.scrollable_content_region.width, f"{widget}:\n{user.text}"


def assert_visible(user: Any, root: Widget, *kinds: type[Widget]) -> None:
    """All widgets of these kinds are visible in full in `root`, and none overlaps another."""
    widgets = [widget for kind in kinds for widget in root.query(kind) if widget.display]
    widgets = [widget for widget in widgets if not any(isinstance(each, Select) for each in widget.ancestors)]
    assert widgets
    for widget in widgets:
        assert inside(root.content_region, widget.region), f"{widget} is cut:\n{user.text}"
        assert inside(main_region(user), widget.region), f"{widget} is not on the screen:\n{user.text}"
        if isinstance(widget, Label | Button):
            shown_text = str(widget.label if isinstance(widget, Button) else widget.content)
            assert shown_text in "".join(user.rows_in(widget.region)), f"{shown_text!r} is cut:\n{user.text}"
    for one, other in combinations(widgets, 2):
        assert not one.region.overlaps(other.region), f"{one} overlaps {other}:\n{user.text}"


# The panels ----------------------------------------------------------------------------------------------------------


@sized
@counted
async def test_every_panel_has_its_place_and_content(
    open_window: Any, store_of: StoreOf, size: tuple[int, int], count: int
) -> None:
    """Five uncut titles and no overlaps; all panels are open if there is room, else only the one with the focus.

    `z` shows one panel alone; a second `z` restores the layout.
    """
    async with open_window(store_of(count), size) as user:
        await wait_until_loaded(user)
        for number, panel in panels(user).items():
            await user.go(number)
            await user.until(lambda panel=panel: user.panel is panel and panel.region.height > 9, TITLES[number])
            await user.until(lambda: panel_area(user) == main_region(user).area, "the layout of all panels")
            await user.until(lambda: user.sees(*TITLES.values()), "every title")
            assert_uncut_titles(user)
            regions = [each.region for each in panels(user).values()]
            assert all(inside(main_region(user), region) for region in regions)
            assert not any(one.overlaps(other) for one, other in combinations(regions, 2))
            closed = [each for each, region in enumerate(regions, 1) if region.height == 1]
            assert closed == ([] if is_grid(size) else [each for each in range(1, 6) if each != number])
            await user.until(lambda: "Quit" in user.rows[-1] or "Leave field" in user.rows[-1], "the footer")
            await CONTENTS[number](user, panel, count)
            assert_no_horizontal_scrolling(user, panel)
            if count == 1:
                await zoom(user, panel)
                await CONTENTS[number](user, panel, count)
                assert_no_horizontal_scrolling(user, panel)
                await unzoom(user, regions)


async def zoom(user: Any, panel: Panel) -> None:
    """Zoom to this panel, on the whole screen; the focus stays."""
    if user.focus() == "prompt":  # in the prompt z is a letter
        await user.press("escape")
    focus = user.focus()
    await user.press("z")
    await user.until(lambda: panel.region == main_region(user), f"{panel} alone")
    assert [title for title in TITLES.values() if title in user.text] == [TITLES[panel.NUMBER]]
    assert_uncut_titles(user)
    assert user.focus() == focus


async def unzoom(user: Any, regions: list[Region]) -> None:
    """Restore the layout of all panels."""
    focus = user.focus()
    await user.press("z")
    await user.until(lambda: [each.region for each in panels(user).values()] == regions, "the earlier layout")
    assert user.focus() == focus


async def runs_content(user: Any, panel: Panel, count: int) -> None:
    """Runs shows at least four columns with their values, several rows if there are many runs, and the curve."""
    headings = user.part("#runs-table").splitlines()[0].split()
    assert headings[:4] == ["NAME", "STATUS", "STEP", "LOSS"]
    table, curve = panel.query_one(RunTable), panel.query_one(Curve)
    assert len(table.ids) == count
    assert table.size.height >= min(count, 4) + 1
    assert curve.size.height >= 5
    if not count:
        await user.see("no active runs", "No runs yet: press 3 to start one.")
        return
    await user.until(lambda: user.cells(NEWEST[count]), "its row")
    cells, found = user.cells(NEWEST[count]), user.window.state.run(table.current).status
    assert cells["STATUS"] == "completed"
    assert cells["STEP"] == f"{found['step']}/{found['steps']}"
    assert cells["LOSS"] == f"{found['loss']:.4f}"
    if count == 200:
        await user.press("G")
        await user.until(lambda: user.cells("oak 000").get("STEP") == "40/40", "the oldest run")
        await user.press("g")
        await user.until(lambda: user.cells(NEWEST[count]), "the newest run")


async def system_content(user: Any, panel: Panel, count: int) -> None:
    """System shows every figure with its label."""
    await user.see("CPU   ", "42%", "16 cores, load 3.25", "RAM   ", "32.0 GiB of 64.0 GiB", "GPU   ", "87%")
    await user.see("VRAM  ", "20.0 GiB of 80.0 GiB", "temp  61 °C", "power 412 W", "disk  ", "No active runs.")
    assert panel.query_one("#system-text").region.bottom <= panel.content_region.bottom


async def train_content(user: Any, panel: Panel, count: int) -> None:
    """Train shows every field with its label, the buttons, the run that would start, and help for the focused field."""
    await user.until(lambda: "A new run, or a model" in user.part("#train-help"), "the help of the field")
    assert_visible(user, panel, Label, Select, Input, Button, Checkbox)
    assert len(panel.query(Input)) == 11
    assert all(field.size.width >= 16 for field in panel.query(Input))
    assert user.part_in_a_line("#train-state") == "nano, 1.05M parameters, 1,350 steps, auto"
    assert user.part_in_a_line("#train-help").endswith("keeps its config.")


async def generate_content(user: Any, panel: Panel, count: int) -> None:
    """Generate shows the prompt, the options, and the output."""
    assert_visible(user, panel, Label, Input, Button)
    lines = [" ".join(" ".join(user.rows_in(each.region)).split()) for each in panel.query(".generate-options")]
    assert lines[0] == "tokens 100 temp 0.8 top-k 0 top-p 1 seed any"
    assert lines[1].startswith("min-p 0 repeat 1 samples 1 stop text")
    assert lines[1].endswith("Generate")
    assert panel.query_one("#prompt").size.height == 3
    assert panel.query_one("#output-scroll").size.height >= 4
    assert inside(panel.content_region, panel.query_one("#output-scroll").region)


async def models_content(user: Any, panel: Panel, count: int) -> None:
    """Models shows the table, and the path of the model under the cursor."""
    assert user.part("#models-table").split()[:4] == ["NAME", "STATUS", "VAL", "STEP"]
    assert panel.query_one(RunTable).size.height >= 9
    assert inside(panel.content_region, panel.query_one("#model-about").region)
    if not count:
        await user.see("No model yet: press 3 to train one.")
        return
    await user.until(lambda: user.cells(NEWEST[count], "#models-table").get("STATUS") == "ready", "the newest model")
    await user.until(lambda: "/checkpoints/step-000000" in user.part("#model-about").replace("\n", ""), "its path")


CONTENTS = {1: runs_content, 2: system_content, 3: train_content, 4: generate_content, 5: models_content}


async def test_all_panels_are_open_from_130x40_on(open_window: Any, store_of: StoreOf) -> None:
    """With one column or row less only one panel is open at a time."""
    assert (GRID_COLUMNS, GRID_ROWS) == (130, 40)
    async with open_window(store_of(1), (130, 40)) as user:
        await wait_until_loaded(user)
        for size, opened in (((130, 40), 5), ((129, 40), 1), ((130, 39), 1), ((130, 40), 5), ((131, 41), 5)):
            await user.pilot.resize_terminal(*size)
            await user.until(
                lambda opened=opened: sum(panel.region.height > 1 for panel in panels(user).values()) == opened,
                f"{opened} open panels at {size}",
            )
            await user.until(lambda: panel_area(user) == main_region(user).area)
            assert_uncut_titles(user)


async def test_resizing_keeps_focus_cursors_and_typed_text(open_window: Any, store_of: StoreOf) -> None:
    """From 200x60 to 80x24 and back, while several fields and cursors are in use."""
    prompt = "Once [/] upon a time 😀 — 你好"
    async with open_window(store_of(200), (200, 60)) as user:
        await wait_until_loaded(user)
        await user.choose("cedar 187", 1)
        await user.choose("fir 149", 5)
        await user.go(3)
        user.window.screen.query_one("#run-name").focus()
        await user.type("maple 7")
        await user.go(4)
        await user.paste(prompt)
        runs, models = user.window.panel(RunsPanel).table, user.window.panel(ModelsPanel).table
        chosen = runs.current, models.current
        for size in (SMALLEST, (200, 60), (130, 40), SMALLEST):
            await user.pilot.resize_terminal(*size)
            await user.until(lambda: panel_area(user) == main_region(user).area)
            await user.see(prompt, "4 Generate")
            assert user.focus() == "prompt"
            assert inside(main_region(user), user.window.focused.region)
            assert (runs.current, models.current) == chosen
        for number, name, table in ((1, "cedar 187", "#runs-table"), (5, "fir 149", "#models-table")):
            await user.go(number)
            await user.until(lambda name=name, table=table: user.cells(name, table), f"{name} in sight")
            await user.pilot.resize_terminal(200, 60)
            await user.until(lambda: len(user.rows) == 60 and user.panel.region.height > 9)
            await user.until(lambda name=name, table=table: user.cells(name, table), f"{name} in sight")
            assert user.panel is panels(user)[number]
            await user.pilot.resize_terminal(*SMALLEST)
            await user.until(lambda: len(user.rows) == 24 and user.panel.region.height > 9)
        await user.go(3)
        await user.see("maple 7")
        assert (runs.current, models.current) == chosen


async def test_a_long_error_is_shown_in_full(open_window: Any, store_of: StoreOf) -> None:
    """The error of the run to start is beside the button, uncut."""
    async with open_window(store_of(0), SMALLEST) as user:
        await user.go(3)
        for name, value in (("batch", "7"), ("micro", "3")):
            user.window.screen.query_one(f"#{name}").focus()
            await user.type(value)
        await user.until(
            lambda: (
                "train.batch_size = 7 (the field batch), train.micro_batch = 3 (the field micro batch)."
                in user.part_in_a_line("#train-state")
            )
        )


# Dialogs -------------------------------------------------------------------------------------------------------------


async def dialog(user: Any, kind: type[Any]) -> Widget:
    """Wait until a dialog is laid out; its box."""
    await user.until(
        lambda: isinstance(user.screen, kind) and any(map(shown, user.screen.query(".dialog"))), kind.__name__
    )
    await user.pilot.pause(0.05)
    return user.screen.query_one(".dialog")


def assert_fits(user: Any, box: Widget, title: str, *buttons: str) -> None:
    """The box is on the screen with its border, its title and its buttons."""
    assert inside(main_region(user), box.region), user.text
    rows = user.rows_in(box.region)
    assert rows[0].startswith("╭─ ") and title in rows[0] and rows[0].endswith("╮"), user.text  # noqa: PT018
    assert rows[-1].startswith("╰") and rows[-1].endswith("╯"), user.text  # noqa: PT018
    assert_no_horizontal_scrolling(user, box)
    assert [str(button.label) for button in box.query(Button)] == list(buttons)
    if buttons:
        assert_visible(user, box, Button)


async def test_dialogs_fit_the_smallest_terminal(open_window: Any, store_of: StoreOf) -> None:
    """The buttons are visible below a text of any length, and below the reason why a name is refused."""
    async with open_window(store_of(200), SMALLEST) as user:
        await wait_until_loaded(user)
        await user.press("D")
        assert_fits(user, await dialog(user, Confirm), "Delete this run?", "Delete (y)", "No (n)")
        await user.see("fir 199", "20260101-031900-000-fir", "This cannot be undone.")
        await user.press("escape")
        for lines in (14, 15, 16, 17, 18, 60):
            user.window.push_screen(Confirm("Sure?", "\n".join(f"line {line}" for line in range(lines))))
            assert_fits(user, await dialog(user, Confirm), "Sure?", "Yes (y)", "No (n)")
            assert "line 13" in user.text
            await user.press("n")
            await user.until(lambda: not isinstance(user.screen, Confirm))
        await user.press("e", "delete")
        await user.type("a/b " + "x" * 60)
        box = await dialog(user, Rename)
        await user.see("is not a valid run name")
        assert_fits(user, box, "Rename", "Rename", "Cancel")
        shown_text = "".join("".join(user.rows_in(box.query_one("#problem").region)).split())
        assert shown_text == "".join(str(box.query_one("#problem", Static).content).split())


async def test_closing_a_dialog_before_it_is_open_does_not_end_the_window(open_window: Any, store_of: StoreOf) -> None:
    """Keys that arrive before a dialog is mounted still open and close it."""
    async with open_window(store_of(1), (200, 60)) as user:
        await wait_until_loaded(user)
        for wait_s in (0.0, 0.002, 0.01, 0.05):
            for key in ("question_mark", "enter", "D", "e", "enter"):
                user.send(key)
                await asyncio.sleep(wait_s)
                user.send("escape")
                user.send("escape")
                await asyncio.sleep(wait_s)
        await user.pilot.pause(0.3)
        while len(user.window.screen_stack) > 1:  # a table handles enter later than esc closes a screen
            await user.press("escape")
            await user.pilot.pause(0.3)
        await user.press("D")
        await user.see("Delete this run?")


async def test_the_key_table_fits_the_smallest_terminal(open_window: Any, store_of: StoreOf) -> None:
    """Every description can be read in full; the cursor stays in its row when the terminal grows."""
    async with open_window(store_of(0), SMALLEST) as user:
        await user.press("question_mark")
        box = await dialog(user, Keys)
        table = box.query_one(DataTable)
        await user.until(lambda: table.row_count == len(user.screen._rows), "the keys")
        assert_fits(user, box, "Keys")
        read: set[str] = set()
        while table.cursor_row < table.row_count - 1:
            read |= set(" ".join(user.rows_in(table.region)).split())
            await user.repeat("down", 5)
        read |= set(" ".join(user.rows_in(table.region)).split())
        wanted = {word for row in user.screen._rows for word in f"{row.keys} {row.description}".split()}
        assert wanted <= read
        assert table.cursor_row == table.row_count - 1
        await user.pilot.resize_terminal(200, 60)
        await user.until(lambda: table.region.width > 100, "a wider table")
        assert_fits(user, box, "Keys")
        assert table.cursor_row == table.row_count - 1


async def test_all_options_fit_the_smallest_terminal(open_window: Any, store_of: StoreOf) -> None:
    """For the key with the longest help and for a refused value, the field, the error and the buttons are visible."""
    known = keys(TRAIN)
    longest = max(known, key=lambda path: len(known[path].help + known[path].expected))
    async with open_window(store_of(0), SMALLEST) as user:
        await user.press("3", "ctrl+o")
        box = await dialog(user, AllOptions)
        table = box.query_one(DataTable)
        assert_fits(user, box, "All options: preset nano", "Keep (ctrl+s)", "Discard")
        assert user.part("#settings-table").split()[:3] == ["KEY", "VALUE", "FROM"]
        for path in (longest, "model.layout"):
            table.move_cursor(row=list(keys(TRAIN)).index(path))
            await user.until(lambda path=path: user.part("#settings-help").startswith(path), path)
            await user.press("enter")
            await user.type("@")
            await user.until(lambda: user.part("#settings-problem").strip(), "an error")
            await user.pilot.pause(0.05)
            assert_fits(user, box, "All options: preset nano", "Keep (ctrl+s)", "Discard")
            assert inside(box.content_region, box.query_one("#settings-value").region)
            assert "@" in user.part("#settings-value")
            assert table.size.height >= 5
            await user.press("escape")
        await user.see("esc Done")


TABS = {
    "curve": "x: step",
    "log": "at step",
    "config": 'preset = "nano"',
    "diff": "data.source",
    "samples": "Once upon a time",
    "about": "parameters",
}
"""Each tab, with words that it shows."""


@pytest.mark.parametrize("size", [SMALLEST, (130, 40)], ids=["80x24", "130x40"])
async def test_details_fit_the_terminal(open_window: Any, store_of: StoreOf, size: tuple[int, int]) -> None:
    """The facts are above; below, every tab shows its words, and a difference shows both values."""
    async with open_window(store_of(200), size) as user:
        await wait_until_loaded(user)
        await user.press("enter")
        await user.until(lambda: isinstance(user.screen, Details) and "fir 199" in user.part("#facts"), "the facts")
        other = next(run_id for run_id in user.window.state.watch.runs if run_id.endswith("elm"))
        for number, (tab, words) in enumerate(TABS.items(), 1):
            await user.press(str(number))
            if tab == "diff":
                user.screen.query_one("#other", Select).value = other
            await user.until(lambda tab=tab: user.screen.query_one(TabbedContent).active == tab, tab)
            await user.until(lambda words=words: words in user.part("#tabs"), words)
            assert_no_horizontal_scrolling(user, user.screen)
            assert inside(main_region(user), user.screen.query_one("#tabs").region)
            assert user.rows_in(user.screen.query_one("ContentTabs").region)[0].split() == [
                name.title() for name in TABS
            ]
            facts = user.part("#facts").splitlines()
            assert facts[0].split() == ["fir", "199", "completed", "20260101-031900-000-fir"]
            assert "step 55/55" in facts[1]
            hints = ("esc Back", "1 Curve", "6 About")
            await user.until(lambda hints=hints: all(hint in user.rows[-1] for hint in hints), "the footer")
            if tab == "curve":
                assert user.screen.query_one("#big-curve").size.height >= size[1] - 12
            if tab == "diff":
                assert user.part("#diff-table").split()[:5] == ["KEY", "THIS", "RUN", "THE", "OTHER"]
                assert re.search(r"data\.source +stories +text:", user.text)


async def test_long_warnings_can_be_read_in_full(open_window: Any, store: Any, find_run: Any) -> None:
    """Also in the smallest terminal: above the tabs they are cut, with a hint to the tab that shows them in full."""
    cedar = find_run(store, "cedar")
    warnings = [f"{word} " * 60 + f"the end of {word}." for word in ("first", "second", "third")]
    with Session(cedar.path) as session:
        session.emit(Run(status="running", session=session.number, steps=100, step=20))
        for number, words in enumerate(warnings):
            session.emit(Message(level="warning", code=str(number), text=words, step=21))
        session.finish("failed", reason="why " * 80 + "the last why.", hint="what " * 80 + "the last what.")
    async with open_window(store, SMALLEST) as user:
        await user.choose("cedar")
        await user.keys("enter")
        await user.until(lambda: "press 6 to see all 4 in full" in user.part("#facts"), "the hint")
        assert user.screen.query_one("#tabs").size.height >= 12
        await user.keys("6", "tab")
        seen = ""
        for _ in range(12):
            seen += user.part_in_a_line("#about") + " "
            await user.keys("pagedown")
            await user.pilot.pause(0.3)
        for words in (
            "the end of first.",
            "the end of second.",
            "the end of third.",
            "the last why.",
            "the last what.",
        ):
            assert words in seen


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_lists_show_how_many_rows_there_are(open_window: Any, store_of: StoreOf, size: tuple[int, int]) -> None:
    """The lower border shows which rows are visible, of how many, also if the terminal shows no scroll bar."""
    async with open_window(store_of(200), size) as user:
        await user.until(lambda: re.search(r" 1-\d+ of 200 ↓ ", user.text), "the rows")
        await user.press("3", "escape", "1")
        await user.until(lambda: re.search(r" 1-\d+ of 200 ↓ ", user.text), "the rows once the panel is open again")
        await user.press("G")
        await user.until(lambda: re.search(r" \d+-200 of 200 ↑ ", user.text), "the last rows")
        await user.press("g", "slash", *"yew", "enter")
        await user.until(lambda: " of 200" not in user.part(RunsPanel), "a list that is visible in full")
    async with open_window(store_of(1), size) as user:
        await wait_until_loaded(user)
        assert " of 1 " not in user.text


# Snapshots -----------------------------------------------------------------------------------------------------------


def right(*pattern: str) -> tuple[re.Pattern[str], Callable[[re.Match[str]], str]]:
    """A pattern for right-aligned text of any width, replaced by `#` and the part to keep, in the same width."""
    return re.compile("".join(pattern)), lambda match: f"#{match['kept']}".rjust(len(match[0]))


VOLATILE: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    # Steps of runs that were stopped or killed; seconds; bytes; epochs.
    right(r" *\d+(?P<kept>/100M)"),
    right(r" +(?:\d+m )?[\d.]+(?P<kept>s)(?= )"),
    right(r" +[\d.]+ \wiB(?P<kept>)(?= +[\d.]+ \d\d [A-Z])"),
    right(r" +[\d.]+(?P<kept>/)[\d.]+…"),
    # Losses, dates, also those that a notification covers in part.
    (re.compile(r"(?<=trained )\d\d [A-Z][a-z]{2} [\d:]{0,5}"), lambda match: "## Xxx ##:##"[: len(match[0])]),
    (re.compile(r"\d\.\d{4}"), lambda _: "#.####"),
    (re.compile(r"\d\d [A-Z][a-z]{2} \d\d:\d\d"), lambda _: "## Xxx ##:##"),
    # Whether a killed run had been validated; the device of all runs.
    (re.compile(r"/100M  #\.#### +(?:-|#\.####)"), lambda match: "/100M  #.####".ljust(len(match[0]) - 1) + "#"),
    (re.compile(r" (?:cpu|mps|cuda(?::\d)?) +(?=- )"), lambda match: " #".ljust(len(match[0]))),
    # The disk, and the window's history of the machine's figures.
    (re.compile(r"disk  [\d.]+ \w+ free of [\d.]+ \w+ *"), lambda match: "disk  # free of #".ljust(len(match[0]))),
    (re.compile(r"(?<=  )[▁▂▃▄▅▆▇]+ +(?=│)"), lambda match: " " * len(match[0])),
]
"""Text that differs from one machine or minute to the next, with a replacement of the same width."""


def short_path(foreign: object, *style: str) -> Text:
    """A checkpoint's path without the part above the runs folder."""
    return safe_text(Path(*foreign.parts[-4:]) if isinstance(foreign, Path) else foreign, *style)


def snapshot(user: Any) -> list[str]:
    """The screen's rows with volatile text replaced and the inside of a curve filled with `~`."""
    rows = [list(row) for row in user.rows]
    base = user.window.screen_stack[0]
    above = [each.region for each in user.screen.query(".dialog, Toast")]
    for panel in base.query(RunsPanel):
        x, y, width, height = panel.curve.region
        inside_curve = Region(x, y + 1, width, height - 1).intersection(panel.content_region)
        for line, column in product(inside_curve.line_range, inside_curve.column_range):
            if panel.curve.shown and not any(region.contains(column, line) for region in above):
                rows[line][column] = "~"
    found = ["".join(row) for row in rows]
    for pattern, instead in VOLATILE:
        found = [pattern.sub(instead, row) for row in found]
    return [row.rstrip() for row in found]


async def assert_matches_snapshot(user: Any, name: str) -> None:
    """Wait until the screen equals the snapshot of that name; if it never does, fail with the difference."""
    path = SNAPSHOTS / f"{name}.txt"
    if UPDATE:
        seen: list[str] = []
        while seen != (seen := snapshot(user)):
            await user.pilot.pause(0.3)
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text("\n".join(seen) + "\n", encoding="utf-8")
        return
    assert path.exists(), f"There is no {path}: UPDATE_SNAPSHOTS=1 writes it."
    wanted = path.read_text(encoding="utf-8").splitlines()
    end = time.monotonic() + limit(10)
    while (seen := snapshot(user)) != wanted:
        if time.monotonic() > end:
            difference = "\n".join(
                difflib.unified_diff(wanted, seen, f"{name} as it was", "as it is", lineterm="", n=1)
            )
            pytest.fail(f"{name} looks different (UPDATE_SNAPSHOTS=1 accepts it):\n{difference}", pytrace=False)
        await user.pilot.pause(0.05)


@pytest.mark.slow
@sized
@counted
async def test_the_window_matches_its_snapshots(
    open_window: Any, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], count: int
) -> None:
    """Idle, with a dialog to confirm, with a dialog to rename, and with an error."""
    monkeypatch.setattr(models, "safe_text", short_path)
    name = f"{size[0]}x{size[1]}-{count}-runs"
    async with open_window(store_of(count), size) as user:
        await wait_until_loaded(user)
        await assert_matches_snapshot(user, f"{name}-idle")
        if count:
            await user.press("D")
            await user.see("Delete this run?")
        else:
            await user.press("3", "ctrl+s")
            await user.see("Start this run?")
        await assert_matches_snapshot(user, f"{name}-confirm")
        await user.press("escape", "1", "e")
        if count:
            await user.press("end", "slash")
            await user.see("is not a valid run name")
        else:
            await user.see_notification("No run is selected.")
        await assert_matches_snapshot(user, f"{name}-rename")
        await user.press(*["escape"] * bool(count), "3")
        user.window.clear_notifications()
        user.window.screen.query_one("#epochs").focus()
        await user.type("x")
        await user.press("ctrl+s")
        await user.see("✗ epochs: x is not a number.")
        await assert_matches_snapshot(user, f"{name}-error")


# The stylesheet ------------------------------------------------------------------------------------------------------


async def test_the_stylesheet_parses_and_names_only_existing_widgets(open_window: Any, store_of: StoreOf) -> None:
    """Every id and type of widget that it names is in the window or in one of its dialogs."""
    sheet = Path(app_module.__file__).with_name(Window.CSS_PATH)
    async with open_window(store_of(1), SMALLEST) as user:
        styles = Stylesheet(variables=user.window.get_css_variables())
        styles.read(sheet)
        styles.parse()
        selectors = [selector for rules in styles.rules for each in rules.selector_set for selector in each.selectors]
        assert len(styles.rules) > 40
        ids: set[str | None] = set()
        kinds: set[str] = set()
        run = next(iter(user.window.state.watch.runs))
        others = [
            Confirm("?", "?"),
            Rename("oak", lambda name: ""),
            Note("", lambda note: ""),
            Keys([KeyRow("Runs", "x", "Nothing", None)]),
            AllOptions(ConfigForm(TRAIN, "nano", {})),
            Details(run),
        ]
        for screen in [None, *others]:
            if screen is not None:
                user.window.push_screen(screen)
                await user.until(lambda screen=screen: screen.is_mounted and len(screen.query("*")) > 1)
            for widget in [user.screen, *user.screen.walk_children(Widget)]:
                ids.add(widget.id)
                kinds |= set(widget._css_type_names)
            if screen is not None:
                await user.press("escape")
                await user.until(lambda: len(user.window.screen_stack) == 1)
        assert {each.name for each in selectors if each.type is SelectorType.ID} <= ids
        assert {each.name for each in selectors if each.type is SelectorType.TYPE} <= kinds
