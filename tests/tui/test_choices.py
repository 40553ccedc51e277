"""What is chosen, marked and active stays so, whatever happens around it; and what is done to a run is seen everywhere."""

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
    """Deep in a list of 200 runs, nothing moves when a run begins at its top and writes every second."""
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
        # The run of the cursor is deleted elsewhere: the cursor stays at its place.
        actions.delete(user.window.state.run(chosen).run)
        await user.keys("r")
        await user.until(lambda: chosen not in table.ids, "the run's end")
        assert table.current == table.ids[140]


async def test_marks_and_filter_survive_refreshes(open_window: Any, store: Any, in_store: Any) -> None:
    """Marked runs stay marked, a filter stays in force, while the store changes."""
    async with open_window(store, (80, 24)) as user:
        await user.choose("oak")
        await user.keys("space", "k", "space")
        await user.see("⣿1 oak ⣿2 birch")
        assert user.row("oak  ").startswith("│● oak")
        # Each curve ends in its number: without colours they can still be told apart.
        rows = user.part("#curve").splitlines()[1:-1]
        assert sorted(row.rstrip()[-1] for row in rows if row.rstrip()[-1:] in ("1", "2")) == ["1", "2"]
        await user.keys("slash", *"completed", "enter")
        assert user.window.panel(RunsPanel).table.ids == [in_store(store, "fir").id, in_store(store, "oak").id]
        actions.change_tags(in_store(store, "cedar"), add=["completed"])
        actions.rename(in_store(store, "fir"), "pine")
        await user.keys("r")
        await user.see("pine", "cedar")
        assert "elm" not in user.part("#runs-table")
        await user.see("filter: completed", "⣿1 oak ⣿2 birch")
        assert user.window.state.marked == [in_store(store, "oak").id, in_store(store, "birch").id]
        await user.keys("slash", "escape")
        await user.see("elm")
        assert "filter" not in user.row("1 Runs ")


async def test_the_active_model_is_the_one_of_train_and_generate(
    open_window: Any, store: Any, in_store: Any, job: Any
) -> None:
    """One model is active in Models, Generate and Train, until another is chosen, though a newer one comes."""
    async with open_window(store, (130, 40)) as user:
        await user.see("5 Models ─ 4 · active: fir", "4 Generate ─ from fir, step 55")
        await user.choose("oak", 5)
        await user.keys("a")
        await user.see("5 Models ─ 4 · active: oak", "4 Generate ─ from oak, step 40", "▸ oak · ")
        await user.until(lambda: "││▸ oak" in user.text, "the mark")
        assert user.window.panel(TrainPanel).origin == in_store(store, "oak").id
        job(store, "maple")
        await user.until(lambda: user.cells("maple", "#models-table").get("STATUS") == "ready", "a newer model")
        await user.see("5 Models ─ 5 · active: oak", "4 Generate ─ from oak, step 40")
        assert user.window.panel(ModelsPanel).table.current == in_store(store, "oak").id
        # What was active is deleted: the newest whole model takes its place everywhere.
        actions.delete(in_store(store, "oak"))
        await user.keys("r")
        await user.see("5 Models ─ 4 · active: maple", "4 Generate ─ from maple, step 40")
        await user.until(lambda: user.window.panel(TrainPanel).origin == "", "a new run to be trained")


async def test_no_label_is_stale_after_many_quick_changes(open_window: Any, store: Any, in_store: Any) -> None:
    """Names that change faster than anybody looks end as the last of them, wherever they stand."""
    async with open_window(store, (130, 40)) as user:
        await user.choose("fir", 5)
        await user.keys("a", "1", "g")
        for number in range(12):
            actions.rename(in_store(store, "fir" if not number else f"fir-{number}"), f"fir-{number + 1}")
            await user.keys("r")
        await user.see("active: fir-12", "from fir-12, step 55", "▸ fir-12 · ")
        await user.until(lambda: user.cells("fir-12") and user.cells("fir-12", "#models-table"))
        for number in range(12):
            assert f"fir-{number} " not in user.text


@pytest.mark.parametrize("panel", [1, 5])
async def test_delete_is_confirmed(open_window: Any, store: Any, in_store: Any, panel: int) -> None:
    """Nothing goes without a yes, and enter alone is none."""
    oak = in_store(store, "oak")
    async with open_window(store, (80, 24)) as user:
        for no in ("enter", "n", "escape"):
            await user.choose("oak", panel)
            await user.keys("D")
            await user.see("Delete this run?", "oak", oak.id, "step 40, 2 checkpoints", "This cannot be undone.")
            await user.keys(no)
            await user.until(lambda: not isinstance(user.screen, Confirm))
        await user.keys("D")
        await user.see("Delete this run?")
        # Keys that command the panels below do nothing to a question.
        await user.keys("2", "z", "q")
        assert isinstance(user.screen, Confirm)
        await user.keys("tab", "left")
        assert oak.path.is_dir()
        await user.keys("y")
        await user.hear("oak is deleted.")
        await user.until(lambda: not user.cells("oak") and not user.cells("oak", "#models-table"))
        assert not oak.path.exists()
        assert in_store(store, "fir").path.is_dir()


async def test_what_trains_is_not_deleted(open_window: Any, store: Any, job: Any) -> None:
    """A run at work is refused with the way out, and works on; to stop it needs a yes."""
    run = job(store, "maple", train__steps=FOREVER).run
    async with open_window(store, (80, 24)) as user:
        await user.see("5 Models ─ 5 · active: maple")
        for panel in (5, 1):
            await user.choose("maple", panel)
            await user.keys("D")
            await user.hear("maple is running: stop it before you delete it.")
            assert not isinstance(user.screen, Confirm)
        await user.keys("s")
        await user.see("Stop this run?")
        await user.keys("enter")
        assert status(run)["status"] == "running"
        assert status(run)["asked"] is None
        await user.keys("s", "y")
        await user.hear("maple saves a checkpoint and stops after this step.")
        await user.until(lambda: user.cells("maple").get("STATUS") == "stopped", "the end")
        assert status(run)["checkpoint_step"] == status(run)["step"]


async def test_archived_runs_are_out_of_sight_and_come_back(open_window: Any, store: Any, in_store: Any) -> None:
    """A hides a run and its model everywhere, v shows what is hidden, A again brings it back."""
    async with open_window(store, (80, 24)) as user:
        assert "yew" not in user.text
        await user.choose("oak")
        await user.keys("A")
        await user.until(lambda: not user.cells("oak"))
        assert read_labels(in_store(store, "oak")).archived
        await user.go(5)
        assert "oak" not in user.part("#models-table")
        await user.keys("v")
        await user.see("oak", "yew")
        await user.choose("yew", 5)
        await user.keys("A")
        await user.hear("yew is in the list again.")
        await user.keys("v")
        await user.until(lambda: not user.cells("oak", "#models-table"))
        assert user.cells("yew", "#models-table")["STATUS"] == "ready"


REFUSED = {
    "": "is not a name for a run",
    " oak": "is not a name for a run",
    "-oak": "is not a name for a run",
    "a/b": "is not a name for a run",
    "[bold]": "is not a name for a run",
    "größe": "is not a name for a run",
    "OAK": "Another run has the name OAK.",
    "Yew": "Another run has the name Yew.",
    "latest": "would hide the newest run",
}
"""Names, and what is said of them; yew is archived."""


@pytest.mark.parametrize("panel", [1, 5])
async def test_tags_are_given_and_taken_away(open_window: Any, store: Any, in_store: Any, panel: int) -> None:
    fir = in_store(store, "fir")
    assert read_labels(fir).tags == ("baseline", "keep")
    async with open_window(store, (80, 24)) as user:
        await user.choose("fir", panel)
        await user.keys("t")
        await user.until(lambda: isinstance(user.screen, Tags), "the question")
        await user.see("baseline keep")
        await user.keys("ctrl+u", *"keep Not!")
        await user.see('"Not!" is not a tag.')
        await user.keys("enter")
        assert isinstance(user.screen, Tags)
        await user.keys("ctrl+u", *"Best, keep", "enter")
        await user.until(lambda: read_labels(fir).tags == ("best", "keep"), "the tags")
        await user.hear("fir has the tags best keep.")
        await user.keys("1", "slash", *"best", "enter")
        await user.until(lambda: user.window.panel(RunsPanel).table.ids == [fir.id], "the run with the tag")


async def test_a_note_is_written_shown_found_and_taken_away(open_window: Any, store: Any, in_store: Any) -> None:
    oak = in_store(store, "oak")
    async with open_window(store, (80, 24)) as user:
        await user.choose("oak")
        await user.keys("n")
        await user.until(lambda: isinstance(user.screen, Note), "the question")
        await user.keys(*"half the rate,", "enter", *"twice the batch q", "ctrl+s")
        await user.until(lambda: read_labels(oak).note == "half the rate,\ntwice the batch q", "the note")
        await user.keys("slash", *"twice", "enter")
        await user.until(lambda: user.window.panel(RunsPanel).table.ids == [oak.id], "the run with the note")
        await user.keys("enter")
        await user.see("note: half the rate,")
        await user.keys("6")
        await user.until(lambda: "twice the batch q" in user.part("#tabs"), "the whole note")
        await user.keys("n")
        await user.until(lambda: isinstance(user.screen, Note), "the question")
        await user.keys("escape")
        await user.until(lambda: not isinstance(user.screen, Note), "the details")
        assert read_labels(oak).note
        await user.keys("n")
        await user.until(lambda: isinstance(user.screen, Note), "the question")
        user.screen.query_one(TextArea).text = ""
        await user.keys("ctrl+s")
        await user.until(lambda: not read_labels(oak).note, "no note")
        await user.see_not("note: half")


async def test_names_that_runs_may_not_bear_are_refused(open_window: Any, store: Any, in_store: Any) -> None:
    """Why is said while one types, enter does not take it, and esc leaves the name as it was."""
    fir = in_store(store, "fir")
    async with open_window(store, (80, 24)) as user:
        await user.choose("fir")
        for name, told in REFUSED.items():
            await user.keys("e", "delete")
            await user.type(name)
            await user.see(told)
            await user.keys("enter")
            assert isinstance(user.screen, Rename), name
            assert told in user.text
            await user.keys("escape")
            await user.until(lambda: not isinstance(user.screen, Rename), "the panels")
        assert read_labels(fir).name == "fir"


async def test_a_new_name_is_kept_and_shown_in_every_panel(open_window: Any, store: Any, job: Any) -> None:
    """The editor's keys work, 64 characters are the most, and the name is seen everywhere at once."""
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
