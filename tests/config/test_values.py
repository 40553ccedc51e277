"""Values as people type them, and as TOML."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs import refused, written
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [("2e-5", 2e-5), ("1e-5", 1e-5), (".5", 0.5), ("5", 5.0), ("0.1", 0.1), ("1_0.5", 10.5)],
)
def test_numbers_are_parsed_as_people_type_them(written_as: str, meant: float) -> None:
    value = resolve(TRAIN, sets=[f"optimizer.lr={written_as}"]).config.optimizer.lr
    assert isinstance(value, float)
    assert value == meant


@pytest.mark.parametrize(
    ("written_as", "meant"), [("1e6", 1_000_000), ("1_000_000", 1_000_000), ("7", 7), ("1e3", 1000)]
)
def test_whole_numbers_are_parsed_as_people_type_them(written_as: str, meant: int) -> None:
    value = resolve(TRAIN, sets=[f"train.steps={written_as}"]).config.train.steps
    assert type(value) is int
    assert value == meant


@pytest.mark.parametrize("text", ["[]", "[1]", '["a"]', "[x"])
def test_brackets_stay_text_in_a_key_that_is_one_text(text: str) -> None:
    assert resolve(TRAIN, sets=[f"data.field={text}"]).config.data.field == text


def test_a_file_may_write_whole_numbers_as_floats_and_floats_as_whole_numbers(tmp_path: Path) -> None:
    config = resolve(TRAIN, file=written(tmp_path, "[train]\nsteps = 1e3\n[optimizer]\nlr = 1\n")).config
    assert config.train.steps == 1000
    assert type(config.train.steps) is int
    assert type(config.optimizer.lr) is float


def test_lists_texts_and_booleans_are_parsed_on_the_command_line() -> None:
    sets = ['train.sample_prompts=["a, b", "c"]', "train.device=A30", 'data.field="te xt"', "train.keep_best=false"]
    config = resolve(TRAIN, sets=sets).config
    assert config.train.sample_prompts == ("a, b", "c")
    assert config.train.device == "A30"
    assert config.data.field == "te xt"
    assert config.train.keep_best is False
    assert resolve(TRAIN, sets=["train.sample_prompts=Once, twice"]).config.train.sample_prompts == ("Once, twice",)


@pytest.mark.parametrize(
    "value",
    [
        "train.steps=9223372036854775807",
        "train.epochs=1e300",
        "train.sample_tokens=1000000000000",
        "train.threads=1000000",
        "data.workers=1000000",
        "data.stories=1000000000000",
    ],
)
def test_impossibly_large_values_are_refused_with_the_largest_allowed(value: str) -> None:
    assert "at most" in refused(sets=[value])


def test_a_file_name_that_is_not_utf_8_is_refused_by_name() -> None:
    assert "caf\\xe9.txt" in refused(sets=["data.source=text:" + os.fsdecode(b"caf\xe9.txt")])
