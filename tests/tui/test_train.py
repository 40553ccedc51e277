"""Starting runs from the window: what can be set, what is refused and when, and what real jobs then do."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from textual.widgets import Select

from seedbed import actions, text
from seedbed.actions import launching
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.presentation.launches import LaunchOutcome
from seedbed.runs.estimate import estimate
from seedbed.runs.store import Store
from seedbed.tui.all_options import AllOptions
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm
from seedbed.tui.fields import NumberField
from seedbed.tui.train import TrainPanel

FOREVER = "100000000"


async def tab_to(user: Any, name: str) -> None:
    """Press tab until that field has the focus."""
    for _ in range(40):
        if user.focus() == name:
            return
        await user.repeat("tab", 1)
    raise AssertionError(f"tab never reaches {name}; the focus is on {user.focus()}")


async def fill(user: Any, name: str, value: str) -> None:
    """Tab to a field and type."""
    await tab_to(user, name)
    await user.type(value)


async def set_option(user: Any, path: str, value: str) -> None:
    """In All options: down to a key, enter, the value, enter."""
    table = user.screen.query_one("#settings-table")
    paths = [str(table.get_row_at(row)[0]).strip() for row in range(table.row_count)]
    await user.repeat("down", paths.index(path) - table.cursor_row)
    await user.keys("enter")
    await user.type(value)
    await user.keys("enter")
    assert str(table.get_row_at(paths.index(path))[1]).strip() == value


def state(user: Any) -> str:
    """The panel's line about the run that would start, or its error."""
    return str(user.part_in_a_line("#train-state"))


def offered(user: Any) -> list[str]:
    """The runs that can be chosen for further training; "" is a new run."""
    return [value for _, value in user.window.panel(TrainPanel).query_one("#origin", Select)._options]


async def test_fields_for_precision_workers_and_accumulation_show_help_and_errors(open_window: Any, store: Any) -> None:
    """The defaults are safe, each field explains its purpose and its values, and an error is shown at once."""
    async with open_window(store, (80, 24)) as user:
        await user.go(3)
        config = user.window.panel(TrainPanel).resolved().config
        assert config.train.precision == "auto"
        assert config.data.workers == 0
        assert config.train.micro_batch == 0
        await tab_to(user, "micro")
        await user.see("Sequences in one forward pass; 0 means batch_size.", "gradients are accumulated over the")
        await user.type("3")
        await user.until(lambda: "micro_batch" in state(user), "3 does not divide 8")
        await user.keys("backspace", "4")
        await user.until(lambda: "1,350 steps" in state(user), "no error")
        await tab_to(user, "workers")
        await user.see("Processes or threads that tokenise; 0 uses every core.")
        await user.type("-1")
        assert user.window.panel(TrainPanel).query_one("#workers", NumberField).number() == 1
        await tab_to(user, "precision")
        await user.see("Compute precision; the master weights are always fp32.")
        await user.keys("enter", "down", "down", "enter")
        await user.until(lambda: user.window.panel(TrainPanel).resolved().config.train.precision == "bf16", "bf16")
        config = user.window.panel(TrainPanel).resolved().config
        assert (config.train.micro_batch, config.data.workers) == (4, 1)
        assert (config.train.prefetch, config.train.pin_memory) == (0, False)
        await user.keys("ctrl+o")
        await user.until(lambda: isinstance(user.screen, AllOptions))
        await set_option(user, "train.threads", "1")
        await user.see("Batches that a thread prepares in advance; 2 can help")
        await set_option(user, "train.prefetch", "2")
        await user.see("Page-lock batches, for faster copies")
        await set_option(user, "train.pin_memory", "true")
        await user.keys("ctrl+s")
        await user.until(lambda: not isinstance(user.screen, AllOptions))
        config = user.window.panel(TrainPanel).resolved().config
        assert (config.train.prefetch, config.train.pin_memory) == (2, True)


async def test_a_run_is_configured_confirmed_started_and_listed(open_window: Any, empty_store: Any) -> None:
    """A real job trains with the values of the fields and of all options, and Runs lists its run."""
    async with open_window(empty_store, (80, 24)) as user:
        await user.go(3)
        await fill(user, "run-name", "maple!")
        await user.until(lambda: "is not a valid run name" in state(user), "the error")
        await user.keys("ctrl+s")
        assert not isinstance(user.screen, Confirm)
        await user.keys("backspace")
        await fill(user, "steps", "12")
        await fill(user, "batch", "4")
        await fill(user, "context", "32")
        await fill(user, "seed", "11")
        await user.keys("ctrl+o")
        await user.until(lambda: isinstance(user.screen, AllOptions))
        await set_option(user, "model.layers", "1")
        await set_option(user, "data.stories", "400")
        await set_option(user, "tokenizer.vocab_size", "400")
        await set_option(user, "train.eval_tokens", "2000")
        await user.keys("ctrl+s")
        await user.until(lambda: not isinstance(user.screen, AllOptions))
        await user.until(lambda: "12 steps" in state(user), "the horizon")
        await user.keys("ctrl+s")
        await user.see(
            "Start this run?", "preset     nano", "length     12 steps, 1.54k tokens", "batch      4 x 32 tokens"
        )
        await user.see("device     auto, precision auto", "model.layers = 1", "data.stories = 400")
        await user.keys("n")
        await user.until(lambda: not isinstance(user.screen, Confirm))
        assert empty_store.all() == []
        await user.keys("ctrl+s", "y")
        await user.see_notification("maple has started")
        [run] = empty_store.all()
        # Runs has the focus, with the cursor on the new run.
        await user.until(lambda: user.panel is not None and user.panel.NAME == "Runs", "the panel Runs")
        assert user.window.state.chosen == run.id
        await user.until(lambda: user.cells("maple").get("STATUS") == "completed", "the end")
        assert user.cells("maple")["STEP"] == "12/12"
        config = tomllib.loads(run.config.read_text())
        assert config["model"]["layers"] == 1
        assert config["data"]["stories"] == 400
        assert (config["train"]["batch_size"], config["model"]["context"], config["train"]["seed"]) == (4, 32, 11)
        assert run.meta()["command"] == ["seedbed", "tui"]
        assert user.cells("maple")["LOSS"] != "-"
        await user.see("4 Generate ─ from maple, step 12")


async def test_errors_are_shown_beside_the_fields(open_window: Any, store: Any) -> None:
    """An error is shown before a run is created, and names what is wrong."""
    before = {run.id for run in store.all()}
    async with open_window(store, (80, 24)) as user:
        await user.go(3)
        await fill(user, "epochs", "2")
        await fill(user, "steps", "5")
        await user.until(lambda: "epochs" in state(user) and "steps" in state(user), "two horizons")
        await user.see("3 Train ─ a field has an error")
        await user.keys("ctrl+s")
        assert not isinstance(user.screen, Confirm)
        await user.keys("ctrl+r")
        await fill(user, "data", "nonsense")
        await user.until(lambda: "1,350 steps" in state(user), "the fields to be empty again")
        await user.keys("ctrl+s")
        await user.until(lambda: "nonsense" in state(user), "the unknown source")
        assert not isinstance(user.screen, Confirm)
        await user.keys("ctrl+r")
        await fill(user, "data", "text:/not/there")
        await user.keys("ctrl+s")
        await user.until(lambda: 'There is no file or folder "/not/there"' in state(user), "the missing file")
        # All options shows the errors of its own values.
        await user.keys("ctrl+r", "ctrl+o", "down", "enter")
        await user.type("many")
        await user.until(lambda: "many" in user.part("#settings-problem"), "the error")
        await user.keys("enter", "ctrl+s")
        assert isinstance(user.screen, AllOptions)
        await user.keys("escape", "escape")
        await user.until(lambda: not isinstance(user.screen, AllOptions))
        assert user.window.panel(TrainPanel)._options == {}
    assert {run.id for run in store.all()} == before


async def test_fields_and_all_options_are_two_views_of_the_same_values(open_window: Any, store: Any) -> None:
    """All options shows values typed in a field, and the field shows values entered there."""
    async with open_window(store, (80, 24)) as user:
        await user.go(3)
        await fill(user, "batch", "4")
        await fill(user, "steps", "77")
        await fill(user, "data", "wikitext-2")
        await user.keys("ctrl+o")
        await user.until(lambda: isinstance(user.screen, AllOptions))
        table = user.screen.query_one("#settings-table")
        rows = [[str(cell).strip() for cell in table.get_row_at(row)] for row in range(table.row_count)]
        shown = {path: value for path, value, _ in rows}
        assert (shown["train.batch_size"], shown["train.steps"], shown["data.source"]) == ("4", "77", "wikitext-2")
        await set_option(user, "train.epochs", "2")
        await set_option(user, "train.batch_size", "16")
        await set_option(user, "train.precision", "bf16")
        await user.keys("ctrl+s")
        await user.until(lambda: not isinstance(user.screen, AllOptions))
        panel = user.window.panel(TrainPanel)
        typed = {name: panel.query_one(f"#{name}", NumberField).value for name in ("batch", "steps", "epochs")}
        assert typed == {"batch": "16", "steps": "", "epochs": "2"}
        assert panel._options == {}
        config = panel.resolved().config
        assert (config.train.batch_size, config.train.epochs, config.train.steps) == (16, 2.0, None)
        assert (config.train.precision, config.data.source) == ("bf16", "wikitext-2")
        # Values discarded there change nothing here, and a field with an error keeps its text.
        await fill(user, "seed", "1.5")
        await user.keys("ctrl+o")
        await user.until(lambda: isinstance(user.screen, AllOptions))
        await set_option(user, "train.batch_size", "32")
        await user.keys("tab", "tab", "tab", "enter")
        await user.until(lambda: not isinstance(user.screen, AllOptions))
        assert panel.query_one("#batch", NumberField).value == "16"
        assert panel.query_one("#seed", NumberField).value == "1.5"


async def test_a_folder_without_text_is_refused_before_a_run_exists(
    open_window: Any, store: Any, tmp_path: Any
) -> None:
    """The panel shows the reason, no dialog opens, and no run is created."""
    (tmp_path / "empty").mkdir()
    before = {run.id for run in store.all()}
    async with open_window(store, (100, 30)) as user:
        await user.go(3)
        await tab_to(user, "data")
        await user.paste(f"text:{tmp_path / 'empty'}")
        await user.keys("ctrl+s")
        await user.until(lambda: "is empty." in state(user), "the reason")
        assert not isinstance(user.screen, Confirm)
        await user.keys("y")
    assert {run.id for run in store.all()} == before


async def test_a_job_that_fails_at_once_is_shown_with_the_reason(
    open_window: Any, store: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is deleted before the job reads it: Runs lists the run as failed, with the reason."""
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").write_text("Words that are gone when the job looks for them. " * 100)

    def start(run: Any, **options: Any) -> actions.Launch:
        (tmp_path / "words" / "a.txt").unlink()
        return real_start(run, **options)

    real_start = actions.start
    monkeypatch.setattr(launching, "start", start)
    async with open_window(store, (100, 30)) as user:
        await user.go(3)
        await fill(user, "run-name", "maple")
        await fill(user, "context", "32")
        await tab_to(user, "data")
        await user.paste(f"text:{tmp_path / 'words'}")
        await user.keys("ctrl+s", "y")
        await user.until(lambda: user.cells("maple").get("STATUS") == "failed", "the failure")
        await user.see("The folder ", "empty.")
        await user.keys("enter")
        await user.until(lambda: isinstance(user.screen, Details))
        await user.see("maple  failed")
        await user.keys("6")  # where a reason with a long path is shown in full
        await user.until(lambda: "isempty." in "".join(user.part("#about-text").split()), "the reason")


async def test_the_start_dialog_estimates_disk_space_and_time(open_window: Any, store: Any) -> None:
    """From the speed of earlier runs, as in `seedbed config check`; for unprepared data the time is unknown."""
    async with open_window(store, (130, 40)) as user:
        await user.go(3)
        await user.keys("ctrl+s")
        await user.until(lambda: isinstance(user.screen, Confirm), "the dialog")
        expected = estimate(user.window.panel(TrainPanel).resolved().config, store)
        assert expected.seconds is not None
        await user.see(f"disk       up to {text.size(expected.disk_bytes)}: ")
        await user.see(f"time       about {text.duration(expected.seconds)}, roughly, from the speed of ")
        await user.keys("n")
        await fill(user, "epochs", "2")
        await fill(user, "data", "wikitext-2")
        await user.keys("ctrl+s")
        await user.until(lambda: isinstance(user.screen, Confirm), "the dialog")
        await user.see("time       unknown until the data has been prepared")
        await user.keys("n")


async def test_a_store_that_cannot_be_written_is_reported(open_window: Any, tmp_path: Any, shared_folder: Any) -> None:
    """If no run can be created, the panel shows the reason."""
    (tmp_path / "file").write_text("not a folder")
    async with open_window(Store(tmp_path / "file" / "runs"), (80, 24)) as user:
        await user.go(3)
        await user.keys("ctrl+s", "y")
        await user.until(lambda: "Cannot" in state(user) or "not a" in state(user).lower(), "the reason")
        assert str(tmp_path)[:20] in user.text


async def test_epochs_are_stepped_by_keys_and_typed_within_bounds(open_window: Any, store: Any) -> None:
    """Whole and fractional epochs from just above 0 to 10000; anything else is refused as soon as it is typed."""
    async with open_window(store, (80, 24)) as user:
        await user.go(3)
        panel = user.window.panel(TrainPanel)
        field = panel.query_one("#epochs", NumberField)
        await tab_to(user, "epochs")
        await user.keys("up")
        assert field.value == "1"
        await user.until(lambda: "1 epoch," in state(user), "the horizon")
        await user.keys("up", "+", "+", "down", "-")
        assert field.value == "2"
        await user.type(".5")
        await user.until(lambda: "2.5 epochs" in state(user), "half an epoch")
        assert panel.resolved().config.train.epochs == 2.5
        for typed in ("10000", "1", "0.5"):
            await user.keys("home", "ctrl+k")
            await user.type(typed)
            await user.until(lambda typed=typed: f", {typed} epoch" in state(user), typed)
        for typed in ("0", "10001", "abc", "-3", "1e999", "nan"):
            await user.keys("home", "ctrl+k")
            await user.paste(typed)
            assert field.value == typed
            await user.until(lambda typed=typed: typed in state(user), f"the error of {typed}")
            await user.keys("ctrl+s")
            assert not isinstance(user.screen, Confirm), typed
        await user.keys("home", "ctrl+k")
        await user.type("10000")
        await user.keys("up")
        assert field.value == "10000"
        await user.keys("home", "ctrl+k")
        await user.type("x")
        await user.until(lambda: "x is not a number" in state(user), "the error")
        await user.keys("backspace")
        await user.until(lambda: "1,350 steps" in state(user), "the preset's horizon")


async def test_a_model_is_trained_further(open_window: Any, store: Any, find_run: Any) -> None:
    """A stopped run continues; a finished one needs a number of epochs or steps."""
    fir = find_run(store, "fir")
    async with open_window(store, (130, 40)) as user:
        await user.choose("birch", 5)
        await user.keys("a")
        await user.see("3 Train ─ birch: continue to the planned end")
        await user.choose("fir", 5)
        await user.keys("a", "3")
        await user.until(lambda: "fir is completed: set more epochs or steps." in state(user))
        await user.keys("ctrl+s")
        await user.until(lambda: state(user).startswith("✗ fir is completed: set more"), "the refusal")
        assert not isinstance(user.screen, Confirm)
        await fill(user, "steps", "5")
        await user.until(lambda: state(user) == "fir: 5 more steps")
        await user.keys("ctrl+s")
        await user.see("Train further?", "fir: 5 more steps")
        await user.keys("y")
        await user.until(lambda: user.cells("fir").get("STEP") == "60/60", "five steps more")
        await user.until(lambda: user.cells("fir").get("STATUS") == "completed", "the end")
        assert user.window.state.chosen == fir.id
        panel = user.window.panel(TrainPanel)
        # The number of steps is not kept for a new run.
        await user.until(lambda: (panel.origin, user.part("#steps").strip()) == ("", "1350"), "the form of a new run")
        # The same from Runs: R on a finished run asks for its epochs or steps.
        await user.choose("oak")
        await user.keys("R")
        assert (user.panel.NAME, user.focus()) == ("Train", "epochs")
        await user.until(lambda: user.window.panel(TrainPanel).origin == find_run(store, "oak").id)


async def test_the_form_is_for_a_new_run_after_a_start_even_if_the_run_ends_at_once(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """The window may never have seen the run in training."""
    fir = find_run(store, "fir")
    async with open_window(store, (80, 24)) as user:
        await user.choose("fir", 5)
        await user.keys("a")
        panel = user.window.panel(TrainPanel)
        await user.until(lambda: panel.origin == fir.id, "the run to train further")
        panel._show_outcome(LaunchOutcome(fir, ""))
        await user.until(lambda: panel.origin == "", "the form of a new run")


async def test_only_runs_that_can_be_trained_further_are_offered(
    find_run: Any, open_window: Any, store: Any, empty_store: Any, job: Any
) -> None:
    """Without a model only a new run is offered; a running run is offered once it has stopped."""
    async with open_window(empty_store, (80, 24)) as user:
        await user.keys("R")
        await user.see_notification("No run is selected.")
        await user.keys("5", "a")
        await user.see_notification("No model is selected.")
        await user.see("No model yet: press 3 to train one.")
        await user.keys("3", "enter")
        await user.see("a new run")
        assert offered(user) == [""]
    run = job(store, "maple", train__steps=FOREVER).run
    async with open_window(store, (130, 40)) as user:
        await user.see("active: maple")
        await user.choose("maple")
        await user.keys("R")
        await user.see_notification("maple is already running.")
        assert run.id not in offered(user)
        assert find_run(store, "fir").id in offered(user)
        actions.stop(run)
        await user.until(lambda: run.id in offered(user), "its end")


async def test_fields_show_the_values_of_a_model_and_restore_typed_ones_for_a_new_run(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """A run that is trained further keeps its own batch, context and precision: the fields show these values."""
    config = load_frozen(find_run(store, "fir").config, TRAIN)
    async with open_window(store, (80, 24)) as user:
        await user.go(3)
        panel = user.window.panel(TrainPanel)
        await fill(user, "batch", "31")
        await fill(user, "run-name", "maple")
        panel.choose_origin(find_run(store, "fir").id)
        await user.see("3 Train ─ fir is completed: set more epochs or steps.")
        shown = {name: panel.query_one(f"#{name}", NumberField) for name in ("batch", "context", "seed")}
        assert {name: field.value for name, field in shown.items()} == dict.fromkeys(shown, "")
        assert shown["batch"].placeholder == str(config.train.batch_size) != "31"
        assert shown["context"].placeholder == str(config.model.context)
        assert shown["seed"].placeholder == str(config.train.seed)
        assert panel.query_one("#precision", Select).value == config.train.precision == "fp32"
        panel.query_one("#origin", Select).value = ""
        await user.until(lambda: shown["batch"].value == "31", "what was typed")
        assert panel.query_one("#precision", Select).value == "auto"
        assert panel.resolved().config.train.batch_size == 31
        # Clearing the fields also clears the typed values, although the fields show those of a model.
        panel.choose_origin(find_run(store, "fir").id)
        await user.see("3 Train ─ fir is completed")
        await user.keys("ctrl+r")
        assert panel.query_one("#precision", Select).value == "fp32"
        panel.query_one("#origin", Select).value = ""
        await user.until(lambda: "1,350 steps" in state(user), "a new run")
        assert shown["batch"].value == ""


async def test_the_length_of_a_new_run_is_not_used_for_a_finished_one(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """R on a finished run asks for a length; the typed length is shown again for a new run."""
    async with open_window(store, (80, 24)) as user:
        await user.go(3)
        panel = user.window.panel(TrainPanel)
        await fill(user, "steps", "777")
        for name in ("oak", "fir"):
            await user.choose(name)
            await user.keys("R")
            await user.until(lambda name=name: panel.origin == find_run(store, name).id, name)
            await user.see(f"3 Train ─ {name} is completed: set more epochs or steps.")
            assert panel.query_one("#steps", NumberField).value == ""
            assert panel.query_one("#epochs", NumberField).value == ""
            await fill(user, "epochs", "2")
            await user.until(lambda name=name: state(user) == f"{name}: 2 more epochs")
        panel.query_one("#origin", Select).value = ""
        await user.until(lambda: panel.query_one("#steps", NumberField).value == "777", "what was typed")
        assert panel.query_one("#epochs", NumberField).value == ""


async def test_the_start_dialog_warns_of_a_busy_device(open_window: Any, store: Any, job: Any) -> None:
    job(store, "maple", train__steps=FOREVER)
    async with open_window(store, (80, 24)) as user:
        await user.until(lambda: user.cells("maple").get("STATUS") == "running", "the run")
        await user.go(3)
        await user.keys("ctrl+s")
        await user.see("maple is running: on the same device", "queue to wait for it.")
        await user.keys("n")
        panel = user.window.panel(TrainPanel)
        panel.query_one("#queue").value = True
        await user.keys("ctrl+s")
        await user.see("until no other run of this store uses")
        await user.see_not("maple is running: on the same device")
        await user.keys("n")
