"""The train form: its fields, the dialog of all options, and training a run further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import UsageError
from seedbed.presentation.train_form import NewRun, continuable, extension, extension_summary, train_fields
from seedbed.runs.control import ResumeOptions
from seedbed.runs.models import CORRUPTED, READY, Model
from seedbed.runs.store import RunDir
from seedbed.runs.watch import ListedRun

FIELDS = train_fields()


def new(options: dict[str, str] | None = None, **values: str) -> NewRun:
    shown = {name: field.default for name, field in FIELDS.items()}
    return NewRun(FIELDS, shown | {name.replace("_", "-"): value for name, value in values.items()}, options or {})


def test_empty_fields_mean_the_preset() -> None:
    resolved = new().resolved()
    assert resolved.config == new().defaults().config
    assert set(resolved.origins.values()) <= {"preset nano", "--preset", "default"}


def test_fields_set_config_keys_and_errors_name_the_field() -> None:
    config = new(batch="4", context="64", precision="bf16", steps="7").resolved().config
    assert (config.train.batch_size, config.model.context, config.train.precision) == (4, 64, "bf16")
    assert (config.train.steps, config.train.epochs) == (7, None)
    with pytest.raises(UsageError, match=r"context: many is not a whole number\."):
        new(context="many").resolved()
    with pytest.raises(UsageError, match="the field epochs"):
        new(epochs="1", steps="7").resolved()


def test_a_horizon_field_overrides_the_horizon_of_all_options() -> None:
    config = new({"train.tokens": "5000", "model.layers": "2"}, epochs="2").resolved().config
    assert (config.train.epochs, config.train.tokens, config.model.layers) == (2.0, None, 2)


def test_all_options_and_fields_show_the_same_values() -> None:
    run = new({"model.layers": "2"}, batch="4", seed="1.5", precision="bf16")
    assert run.all_options() == {"model.layers": "2", "train.batch_size": "4", "train.precision": "bf16"}
    changed = run.with_all_options({"train.batch_size": "16", "train.threads": "1"})
    assert changed.options == {"train.threads": "1"}
    assert (changed.values["batch"], changed.values["precision"]) == ("16", "auto")
    assert changed.values["seed"] == "1.5", "a wrong value stays in its field"


def test_the_summary_refuses_an_invalid_run_name() -> None:
    assert new(steps="12").summary().endswith("12 steps, auto")
    with pytest.raises(UsageError, match="is not a valid run name"):
        new(run_name="oak!").summary()


def listed(status: str, model_status: str = READY) -> tuple[ListedRun, Model]:
    run = RunDir(Path(f"/runs/20260101-000000-000-{status}"))
    found: dict[str, Any] = {
        **dict.fromkeys(("asked", "code", "reason", "hint")),
        "name": status,
        "id": run.id,
        "status": status,
        "simulated": False,
        "checkpoint": "/c/step-10",
        "step": 10,
        "steps": 10 if status == "completed" else 40,
    }
    model = Model(run, status, model_status, "", 10, None, None, None, 1, 1.0, Path("/c/step-10"), (10,), False)
    return ListedRun(run, found, model, None), model


def test_live_and_corrupted_models_cannot_be_trained_further() -> None:
    pairs = [listed("completed"), listed("running"), listed("stopped", CORRUPTED), listed("lost")]
    models = [model for _, model in pairs]
    found = continuable(models, {each.run.id: each for each, _ in pairs}, models[3])
    assert [each.label for each in found] == ["completed · 10 · completed", "▸ lost · 10 · lost"]


def test_an_extension_is_in_steps_or_epochs_and_has_a_summary() -> None:
    assert extension(FIELDS, {"epochs": "1.5"}) == ResumeOptions(None, 1.5)
    assert extension(FIELDS, {"steps": "20"}) == ResumeOptions(20, None)
    with pytest.raises(UsageError, match="clear one of the two"):
        extension(FIELDS, {"epochs": "1", "steps": "20"})
    stopped, _ = listed("stopped")
    instead = "instead of the planned 30 steps that are left"
    assert extension_summary(stopped, ResumeOptions(20)) == f"stopped: 20 more steps {instead}"
    assert extension_summary(listed("completed")[0], ResumeOptions(20)) == "completed: 20 more steps"
    assert extension_summary(stopped, ResumeOptions()) == "stopped: continue to the planned end"
    with pytest.raises(UsageError, match="is completed: set more epochs or steps"):
        extension_summary(listed("completed")[0], ResumeOptions())
