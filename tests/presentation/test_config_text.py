"""A config as text: values as a user types them, the plan of a run, differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.config.frozen import dump
from seedbed.config.layers import Flagged
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.presentation.config_text import differences, file_text, horizon, plan_lines, value_text
from seedbed.runs.store import Store


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("train.steps", 7, "7"),
        ("optimizer.lr", 0.02, "0.02"),
        ("model.tie_embeddings", False, "false"),
        ("train.sample_prompts", ["a", "b"], "a, b"),
        ("tokenizer.path", "", ""),
    ],
)
def test_a_value_is_written_as_a_user_types_it(path: str, value: object, expected: str) -> None:
    assert value_text(resolve(TRAIN, flags={path: value}).config, path) == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("train.epochs", 1.0, "1 epoch"), ("train.steps", 1350, "1,350 steps"), ("train.tokens", 5_000_000, "5M tokens")],
)
def test_the_horizon_is_shown_in_the_unit_that_was_set(key: str, value: float, expected: str) -> None:
    assert horizon(resolve(TRAIN, flags={key: value}).config) == expected


def test_a_plan_lists_the_values_of_one_origin(tmp_path: Path) -> None:
    flags = {
        "model.layers": Flagged("2", "here"),
        "train.steps": Flagged("5", "here"),
        "train.seed": Flagged("3", "there"),
    }
    lines = plan_lines(resolve(TRAIN, flags=flags), "oak", Store(tmp_path / "runs"), "here")
    assert lines[0] == "name       oak"
    assert any(line.startswith("length     5 steps") for line in lines)
    assert lines[-1] == "option     model.layers = 2"


def test_differences_name_the_keys_that_differ(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = (
        store.create("train", name, dump(resolve(TRAIN, flags={"train.steps": steps}).config), {})
        for name, steps in (("one", 5), ("two", 6))
    )
    assert differences(one, two) == [("train.steps", "5", "6")]
    assert differences(one, one) == []
    assert file_text(tmp_path / "none.toml").startswith("Cannot read")
