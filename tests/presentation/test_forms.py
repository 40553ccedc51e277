"""Fields made from config keys: the problem of a value, stepping with arrow keys, and keys that exclude each other."""

from __future__ import annotations

import pytest

from seedbed.config.keys import keys
from seedbed.config.roots import TRAIN
from seedbed.presentation.forms import (
    CHOICE,
    FLAG,
    INTEGER,
    LIST,
    NUMBER,
    TEXT,
    ConfigForm,
    Field,
    first_problem,
    key_field,
)

INT = Field("n", "n", INTEGER, low=1, high=10_000)
FLOAT = Field("x", "x", NUMBER, low=0, step=0.1)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("train.batch_size", INTEGER),
        ("optimizer.lr", NUMBER),
        ("model.tie_embeddings", FLAG),
        ("train.precision", CHOICE),
        ("data.source", TEXT),
        ("train.sample_prompts", LIST),
    ],
)
def test_a_field_has_the_kind_of_its_key(key: str, kind: str) -> None:
    assert key_field(keys(TRAIN)[key]).kind == kind


def test_bounds_and_choices_come_from_the_key() -> None:
    known = keys(TRAIN)
    batch, norm, precision = (
        key_field(known[path]) for path in ("train.batch_size", "model.norm_eps", "train.precision")
    )
    assert batch.problem("1") == ""
    assert batch.problem("0") == "0 is not 1 or more"
    assert norm.problem("0") == "0 is not above 0"
    assert precision.problem("bf16") == ""
    assert precision.problem("int3").startswith("int3 is not one of auto, ")
    assert "Expected: a whole number, at least 1." in batch.help


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        (INT, "", ""),
        (INT, " 7 ", ""),
        (INT, "1e3", ""),
        (INT, "2.5", "2.5 is not a whole number"),
        (INT, "many", "many is not a whole number"),
        (INT, "0", "0 is not between 1 and 10,000"),
        (INT, "10001", "10001 is not between 1 and 10,000"),
        (FLOAT, "nan", "nan is not a number"),
        (FLOAT, "1e999", "1e999 is not a number"),
        (FLOAT, "-1", "-1 is not 0 or more"),
    ],
)
def test_a_wrong_number_is_described_as_a_problem(field: Field, value: str, problem: str) -> None:
    assert field.problem(value) == problem
    assert (field.number(value) is None) == bool(problem or not value)


@pytest.mark.parametrize(
    ("field", "value", "direction", "expected"),
    [
        (INT, "", 1, "1"),
        (INT, "5", -1, "4"),
        (INT, "1", -1, "1"),
        (INT, "10000", 1, "10000"),
        (FLOAT, "0.8", 1, "0.9"),
        (FLOAT, "0.85", 1, "0.9"),
        (FLOAT, "0.85", -1, "0.8"),
        (INT._replace(placeholder="16"), "", 1, "17"),
        (INT._replace(placeholder="more epochs"), "", 1, "1"),
    ],
)
def test_stepping_goes_to_the_next_multiple_within_the_bounds(
    field: Field, value: str, direction: int, expected: str
) -> None:
    assert field.stepped(value, direction) == expected


def test_the_first_problem_has_the_label_of_its_field() -> None:
    fields = [INT._replace(label="batch"), FLOAT._replace(label="lr")]
    assert first_problem(fields, {"n": "4", "x": "much"}) == "lr: much is not a number"
    assert first_problem(fields, {}) == ""


def test_a_value_is_checked_together_with_the_others() -> None:
    form = ConfigForm(TRAIN, "nano", {"train.batch_size": "6"})
    assert "micro_batch" in form.problem("train.micro_batch", "4")
    assert form.problem("train.micro_batch", "3") == ""
    assert "many" in form.problem("model.layers", "many")


def test_a_horizon_replaces_the_other_one() -> None:
    form = ConfigForm(TRAIN, "nano", {"train.steps": "5"})
    assert form.problem("train.epochs", "2") == ""
    form.set("train.epochs", "2")
    assert form.values == {"train.epochs": "2"}
    assert set(form.related("train.epochs")) == {"train.steps", "train.epochs", "train.tokens", "train.time"}
    form.set("train.epochs", "")
    assert form.values == {}
    assert form.default("train.batch_size") != ""
