"""A model from training to deletion, as a user does it: once with keys alone, once with the mouse alone."""

from __future__ import annotations

from typing import Any

from textual.widgets import DataTable

from seedbed.runs.labels import read_labels
from seedbed.runs.status import status
from seedbed.tui.curve import Curve
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, Keys, Rename
from seedbed.tui.fields import Prompt
from seedbed.tui.generate import GeneratePanel
from seedbed.tui.models import ModelsPanel
from seedbed.tui.runs import RunsPanel


def written(user: Any) -> str:
    return str(user.screen.query_one("#output").content)


async def test_a_model_goes_from_training_to_deletion_with_keys_alone(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """Choose a model, train it further, watch, generate, rename, archive, delete: in the smallest terminal."""
    oak = find_run(store, "oak")
    async with open_window(store, (80, 24)) as user:
        # Choose: the last of the models.
        await user.keys("5", "G", "a")
        await user.see("5 Models ─ 4 · active: oak", "4 Generate ─ from oak, step 40")
        # Train: eight steps more.
        await user.keys("3", *["tab"] * 2)
        assert user.focus() == "steps"
        await user.keys("8", "ctrl+s")
        await user.see("Train further?", "oak: 8 more steps")
        await user.keys("enter")
        # Watch: its row has the focus; the run ends at step 48, and the curve shows all steps.
        await user.until(lambda: user.focus() == "runs-table" and user.window.state.chosen == oak.id, "its row")
        await user.until(lambda: user.cells("oak").get("STEP") == "48/48", "the last step")
        await user.until(lambda: user.cells("oak").get("STATUS") == "completed", "the end")
        await user.keys("enter")
        await user.until(lambda: isinstance(user.screen, Details))
        await user.see("oak", "completed", "step 48/48", "↻")
        curve = user.screen.query_one("#big-curve", Curve)
        await user.until(lambda: curve.shown and curve.shown[0].series.extent("step") == (1, 48), "all of its curve")
        await user.keys("escape")
        # Generate.
        await user.keys("4")
        await user.type("Once upon a time")
        await user.keys("enter")
        await user.until(lambda: "tokens/s" in user.text, "the end of the text")
        assert written(user).startswith("Once upon a time")
        assert len(written(user)) > len("Once upon a time")
        # Rename.
        await user.keys("escape", "5")
        assert user.window.panel(ModelsPanel).table.current == oak.id
        await user.keys("e", "end", *"-two", "enter")
        await user.see("5 Models ─ 4 · active: oak-two", "4 Generate ─ from oak-two, step 48")
        # Archive, show the archived runs, delete.
        await user.keys("A")
        await user.until(lambda: oak.id not in user.window.panel(ModelsPanel).table.ids, "the archive")
        assert read_labels(oak).archived
        await user.keys("v")
        await user.see("oak-two", "yew")
        table = user.window.panel(ModelsPanel).table
        await user.keys("g")
        await user.repeat("j", table.ids.index(oak.id))
        await user.keys("D")
        await user.see("Delete this run?", "oak-two", oak.id)
        await user.keys("left", "enter")
        await user.until(lambda: not oak.path.exists(), "its deletion")
        await user.see_not("oak-two ")
        assert {run.name() for run in store.all()} == {"birch", "cedar", "elm", "fir", "yew"}


async def test_a_model_goes_from_training_to_deletion_with_the_mouse_alone(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """The same by clicks on rows, buttons and the footer; a name and a prompt are pasted."""
    birch = find_run(store, "birch")
    step = status(birch)["checkpoint_step"]
    async with open_window(store, (130, 40)) as user:
        models = user.window.panel(ModelsPanel).table
        # Choose: its row, then the key in the footer.
        await user.click_on("birch", below="5 Models")
        await user.until(lambda: models.current == birch.id and models.has_focus, "its row")
        await user.click_on("a Use")
        await user.see(
            "active: birch", "3 Train ─ birch: continue to the planned end", f"4 Generate ─ from birch, step {step}"
        )
        # Train: the button, then yes.
        await user.click("#start")
        await user.see("Train further?", "birch: continue to the planned end")
        await user.click("#yes")
        # Watch: its row, its steps; a click on the row under the cursor opens the details.
        runs = user.window.panel(RunsPanel).table
        await user.until(lambda: runs.current == birch.id and user.cells("birch").get("STATUS") == "running", "its row")
        await user.until(lambda: user.window.state.run(birch.id).status["step"] > step, "its steps")
        await user.click_on("birch", below="STATUS")
        if not isinstance(user.screen, Details):
            await user.click_on("birch", below="STATUS")
        await user.until(lambda: isinstance(user.screen, Details))
        await user.see("birch  running", "pid ")
        await user.click_on("Config")
        await user.see("layers = 1")
        await user.click_on("esc Back")
        await user.until(lambda: not isinstance(user.screen, Details))
        await user.click_on("s Stop")
        await user.until(lambda: isinstance(user.screen, Confirm))
        await user.click("#yes")
        await user.until(lambda: user.cells("birch").get("STATUS") == "stopped", "the stop")
        # No event follows the last steps; the curve shows them nevertheless.
        last = str(status(birch)["step"])
        await user.until(lambda: last in user.part("#curve").split("\n")[-1], "the last step")
        # Generate: a click into the prompt, a paste, the button.
        await user.click(Prompt)
        await user.paste("Once upon a time")
        await user.click("Button#generate")
        panel = user.window.panel(GeneratePanel)
        await user.until(lambda: not panel.busy and "tokens/s" in user.text, "the end of the text")
        assert written(user).startswith("Once upon a time")
        # Rename: paste behind the old name.
        await user.click_on("birch", below="5 Models")
        await user.until(lambda: models.current == birch.id and models.has_focus, "its row")
        await user.click_on("e Rename")
        await user.until(lambda: isinstance(user.screen, Rename) and user.screen.query("#name"))
        await user.click("#name", offset=(20, 0))
        await user.paste("-two")
        await user.click("#yes")
        await user.see("active: birch-two", "4 Generate ─ from birch-two")
        # Archive; archived ones are shown by a row of the table of keys.
        await user.click_on("A Archive")
        await user.until(lambda: birch.id not in models.ids, "the archive")
        await user.click_on("? Keys")
        await user.until(lambda: isinstance(user.screen, Keys) and user.screen.query(DataTable), "the keys")
        await user.wheel_down("DataTable", "Show or hide archived runs")
        await user.click_on("Show or hide archived runs")
        if isinstance(user.screen, Keys):
            await user.click_on("Show or hide archived runs")
        await user.until(lambda: birch.id in models.ids, "the archived ones")
        # Delete.
        await user.click_on("birch-two", below="5 Models")
        await user.until(lambda: models.current == birch.id and models.has_focus, "its row")
        await user.click_on("D Delete")
        await user.see("Delete this run?", "birch-two")
        await user.click("#yes")
        await user.until(lambda: not birch.path.exists(), "its deletion")
        await user.see_not("birch-two ")
