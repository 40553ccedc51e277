"""The cursor, the marks and the active model survive changes of the store; every panel shows changes of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from textual.widgets import TextArea

from seedbed import actions
from seedbed.runs.labels import read_labels
from seedbed.runs.status import status
from seedbed.tui.dialogs import Confirm, Note, Rename, Tags
from seedbed.tui.models import ModelsPanel
from seedbed.tui.runs import RunsPanel
from seedbed.tui.train import TrainPanel

FOREVER = "100000000"


async def test_cursor_and_scroll_survive_new_runs(open_window: Any, many_store: Any, job: Any) -> None:
    """Far down a list of 200 runs nothing moves when a new run appears at its top and writes every second."""
    async with open_window(many_store, (100, 30)) as user:
        table = user.window.panel(RunsPanel).table
        await user.keys("G")
        await user.repeat("k", 60)
        chosen = table.current
        assert chosen == table.ids[139]
        await user.pilot.pause(0.3)
        before = user.part("#runs-table")
        run = job(many_store, "maple", train__steps=FOREVER).run
        await user.until(lambda: table.ids[0] == run.id, "the new run")
        await user.until(lambda: user.window.state.run(run.id).status["step"] > 5, "its steps")
        assert len(table.ids) == 201
        assert table.current == chosen
        assert user.window.state.chosen == chosen
        await user.until(lambda: user.part("#runs-table") == before, "the same rows on the screen")
        # The run under the cursor is deleted outside the window: the cursor stays in its row.
        actions.delete(user.window.state.run(chosen).run)
        await user.keys("r")
        await user.until(lambda: chosen not in table.ids and len(table.ids) == 200, "the deletion")
        await user.until(lambda: table.current == table.ids[140], "the cursor in its row")


def _ends_of_curves(drawn: str) -> list[str]:
    """The numbers at the ends of rows of a drawing of curves."""
    ends = [row.rstrip()[-1:] for row in drawn.splitlines()[1:-1]]
    return sorted(end for end in ends if end in ("1", "2"))


async def test_marks_and_filter_survive_refreshes(open_window: Any, store: Any, find_run: Any) -> None:
    """Marked runs stay marked and a filter stays active while the store changes."""
    async with open_window(store, (80, 24)) as user:
        await user.choose("oak")
        await user.keys("space", "k", "space")
        await user.see("⣿1 oak ⣿2 birch")
        assert user.row("oak  ").startswith("│● oak")
        # Each curve ends in its number, so that the curves can be distinguished without colours.
        await user.until(lambda: _ends_of_curves(user.part("#curve")) == ["1", "2"], "both numbers")
        await user.keys("slash", *"completed", "enter")
        assert user.window.panel(RunsPanel).table.ids == [find_run(store, "fir").id, find_run(store, "oak").id]
        actions.change_tags(find_run(store, "cedar"), add=["completed"])
        actions.rename(find_run(store, "fir"), "pine", store)
        await user.keys("r")
        await user.see("pine", "cedar")
        assert "elm" not in user.part("#runs-table")
        await user.see("filter: completed", "⣿1 oak ⣿2 birch")
        assert user.window.state.marked == [find_run(store, "oak").id, find_run(store, "birch").id]
        await user.keys("slash", "escape")
        await user.see("elm")
        assert "filter" not in user.row("1 Runs ")


async def test_train_and_generate_use_the_active_model(open_window: Any, store: Any, find_run: Any, job: Any) -> None:
    """A model is active in Models, Generate and Train until another is chosen, even if a newer one appears."""
    async with open_window(store, (130, 40)) as user:
        await user.see("5 Models ─ 4 · active: fir", "4 Generate ─ from fir, step 55")
        await user.choose("oak", 5)
        await user.keys("a")
        await user.see("5 Models ─ 4 · active: oak", "4 Generate ─ from oak, step 40", "▸ oak · ")
        await user.until(lambda: "││▸ oak" in user.text, "the mark")
        assert user.window.panel(TrainPanel).origin == find_run(store, "oak").id
        job(store, "maple")
        await user.until(lambda: user.cells("maple", "#models-table").get("STATUS") == "ready", "a newer model")
        await user.see("5 Models ─ 5 · active: oak", "4 Generate ─ from oak, step 40")
        assert user.window.panel(ModelsPanel).table.current == find_run(store, "oak").id
        # The active model is deleted: the newest complete model becomes active everywhere.
        actions.delete(find_run(store, "oak"))
        await user.keys("r")
        await user.see("5 Models ─ 4 · active: maple", "4 Generate ─ from maple, step 40")
        await user.until(lambda: user.window.panel(TrainPanel).origin == "", "a new run to be trained")


async def test_every_panel_shows_the_last_of_many_quick_renames(open_window: Any, store: Any, find_run: Any) -> None:
    """If a name changes faster than the window refreshes, no panel keeps an earlier one."""
    async with open_window(store, (130, 40)) as user:
        await user.choose("fir", 5)
        await user.keys("a", "1", "g")
        for number in range(12):
            actions.rename(find_run(store, "fir" if not number else f"fir-{number}"), f"fir-{number + 1}", store)
            await user.keys("r")
        await user.see("active: fir-12", "from fir-12, step 55", "▸ fir-12 · ")
        await user.until(lambda: user.cells("fir-12") and user.cells("fir-12", "#models-table"))
        for number in range(12):
            assert f"fir-{number} " not in user.text


@pytest.mark.parametrize("panel", [1, 5])
async def test_delete_asks_for_confirmation(open_window: Any, store: Any, find_run: Any, panel: int) -> None:
    """Nothing is deleted without a yes; enter alone means no."""
    oak = find_run(store, "oak")
    async with open_window(store, (80, 24)) as user:
        for no in ("enter", "n", "escape"):
            await user.choose("oak", panel)
            await user.keys("D")
            await user.see("Delete this run?", "oak", oak.id, "step 40, 2 checkpoints", "This cannot be undone.")
            await user.keys(no)
            await user.until(lambda: not isinstance(user.screen, Confirm))
        await user.keys("D")
        await user.see("Delete this run?")
        # The keys of the panels do nothing in a dialog.
        await user.keys("2", "z", "q")
        assert isinstance(user.screen, Confirm)
        await user.keys("tab", "left")
        assert oak.path.is_dir()
        await user.keys("y")
        await user.see_notification("oak is deleted.")
        await user.until(lambda: not user.cells("oak") and not user.cells("oak", "#models-table"))
        assert not oak.path.exists()
        assert find_run(store, "fir").path.is_dir()


async def test_a_running_run_is_not_deleted(open_window: Any, store: Any, job: Any) -> None:
    """Deleting a running run is refused with a hint, and it keeps training; to stop it needs a yes."""
    run = job(store, "maple", train__steps=FOREVER).run
    async with open_window(store, (80, 24)) as user:
        await user.see("5 Models ─ 5 · active: maple")
        for panel in (5, 1):
            await user.choose("maple", panel)
            await user.keys("D")
            await user.see_notification("maple is running: stop it before you delete it.")
            assert not isinstance(user.screen, Confirm)
        await user.keys("s")
        await user.see("Stop this run?")
        await user.keys("enter")
        assert status(run)["status"] == "running"
        assert status(run)["asked"] is None
        await user.keys("s", "y")
        await user.see_notification("maple saves a checkpoint and stops after this step.")
        await user.until(lambda: user.cells("maple").get("STATUS") == "stopped", "the end")
        assert status(run)["checkpoint_step"] == status(run)["step"]


async def test_archived_runs_are_hidden_and_can_be_restored(open_window: Any, store: Any, find_run: Any) -> None:
    """A hides a run and its model everywhere, v shows hidden runs, and a second A restores one."""
    async with open_window(store, (80, 24)) as user:
        assert "yew" not in user.text
        await user.choose("oak")
        await user.keys("A")
        await user.until(lambda: not user.cells("oak"))
        assert read_labels(find_run(store, "oak")).archived
        await user.go(5)
        assert "oak" not in user.part("#models-table")
        await user.keys("v")
        await user.see("oak", "yew")
        await user.choose("yew", 5)
        await user.keys("A")
        await user.see_notification("yew is in the list again.")
        await user.keys("v")
        await user.until(lambda: not user.cells("oak", "#models-table"))
        assert user.cells("yew", "#models-table")["STATUS"] == "ready"


REFUSED = {
    "": "is not a valid run name",
    " oak": "is not a valid run name",
    "-oak": "is not a valid run name",
    "a/b": "is not a valid run name",
    "[bold]": "is not a valid run name",
    "größe": "is not a valid run name",
    "OAK": "Another run has the name OAK.",
    "Yew": "Another run has the name Yew.",
    "latest": "is reserved",
}
"""Refused names, with the reason that is shown; yew is archived."""


@pytest.mark.parametrize("panel", [1, 5])
async def test_tags_are_added_and_removed(open_window: Any, store: Any, find_run: Any, panel: int) -> None:
    fir = find_run(store, "fir")
    assert read_labels(fir).tags == ("baseline", "keep")
    async with open_window(store, (80, 24)) as user:
        await user.choose("fir", panel)
        await user.keys("t")
        await user.until(lambda: isinstance(user.screen, Tags), "the dialog")
        await user.see("baseline keep")
        await user.keys("ctrl+u", *"keep Not!")
        await user.see('"Not!" is not a valid tag.')
        await user.keys("enter")
        assert isinstance(user.screen, Tags)
        await user.keys("ctrl+u", *"Best, keep", "enter")
        await user.until(lambda: read_labels(fir).tags == ("best", "keep"), "the tags")
        await user.see_notification("fir has the tags best keep.")
        await user.keys("1", "slash", *"best", "enter")
        await user.until(lambda: user.window.panel(RunsPanel).table.ids == [fir.id], "the run with the tag")


async def test_a_note_is_written_shown_found_and_removed(open_window: Any, store: Any, find_run: Any) -> None:
    oak = find_run(store, "oak")
    async with open_window(store, (80, 24)) as user:
        await user.choose("oak")
        await user.keys("n")
        await user.until(lambda: isinstance(user.screen, Note), "the dialog")
        await user.keys(*"half the rate,", "enter", *"twice the batch q", "ctrl+s")
        await user.until(lambda: read_labels(oak).note == "half the rate,\ntwice the batch q", "the note")
        await user.keys("slash", *"twice", "enter")
        await user.until(lambda: user.window.panel(RunsPanel).table.ids == [oak.id], "the run with the note")
        await user.keys("enter")
        await user.see("note: half the rate,")
        await user.keys("6")
        await user.until(lambda: "twice the batch q" in user.part("#tabs"), "the whole note")
        await user.keys("n")
        await user.until(lambda: isinstance(user.screen, Note), "the dialog")
        await user.keys("escape")
        await user.until(lambda: not isinstance(user.screen, Note), "the details")
        assert read_labels(oak).note
        await user.keys("n")
        await user.until(lambda: isinstance(user.screen, Note), "the dialog")
        user.screen.query_one(TextArea).text = ""
        await user.keys("ctrl+s")
        await user.until(lambda: not read_labels(oak).note, "no note")
        await user.see_not("note: half")


async def test_invalid_run_names_are_refused(open_window: Any, store: Any, find_run: Any) -> None:
    """The reason is shown while typing, enter does not accept the name, and esc keeps the old one."""
    fir = find_run(store, "fir")
    async with open_window(store, (80, 24)) as user:
        await user.choose("fir")
        for name, reason in REFUSED.items():
            await user.keys("e", "delete")
            await user.type(name)
            await user.see(reason)
            await user.keys("enter")
            assert isinstance(user.screen, Rename), name
            assert reason in user.text
            await user.keys("escape")
            await user.until(lambda: not isinstance(user.screen, Rename), "the panels")
        assert read_labels(fir).name == "fir"


async def test_a_new_name_is_saved_and_shown_in_every_panel(open_window: Any, store: Any, job: Any) -> None:
    """The keys for editing work, a name has at most 64 characters, and every panel shows it at once."""
    run = job(store, "maple", train__steps=FOREVER).run
    async with open_window(store, (130, 40)) as user:
        await user.until(lambda: user.cells("maple", "#models-table"), "a checkpoint")
        await user.choose("maple")
        await user.keys("e", "end", "space", *"2.0_b", "home", "delete", "M", "right", "backspace", "a", "enter")
        await user.until(lambda: user.cells("Maple 2.0_b"), "the row in Runs")
        await user.until(lambda: user.cells("Maple 2.0_b", "#models-table"), "the row in Models")
        await user.see("active: Maple 2.0_b", "4 Generate ─ from Maple 2.0_b")
        await user.until(lambda: "Maple 2.0_b running" in user.part("#system-text"), "the line in System")
        assert json.loads(run.labels.read_text())["name"] == "Maple 2.0_b"
        await user.keys("s", "y")
        await user.until(lambda: user.cells("Maple 2.0_b").get("STATUS") == "stopped", "the end")
        await user.choose("Maple 2.0_b", 5)
        await user.keys("a")
        await user.see("▸ Maple 2.0_b ·")
        await user.keys("e", "delete")
        await user.type("x" * 70)
        await user.keys("enter")
        await user.until(lambda: not isinstance(user.screen, Rename))
        await user.until(lambda: read_labels(run).name == "x" * 64, "the longest name")
        await user.see("4 Generate ─ from xxxx", "▸ xxxx")
