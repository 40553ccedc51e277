"""The values that one layer may set, and those that a higher layer replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import refused, written
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN


def test_flags_that_are_none_set_nothing() -> None:
    config, origins = resolve(TRAIN, flags={"train.seed": None, "optimizer.lr": "1e-3"})
    assert config.train.seed == 1337
    assert config.optimizer.lr == 1e-3
    assert origins["optimizer.lr"] == "--lr"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("optimizer.lr=fast", "a number, at least 0"),
        ("train.steps=many", "a whole number, at least 1"),
        ("train.keep_best=yes", "true or false"),
        ("train.precision=fp8", "one of auto, fp32, bf16, fp16"),
        ("optimizer.lr", "table.key=value"),
        ("model=3", "model.layout"),
        ("train.epoch=3", "train.epochs"),
    ],
)
def test_the_error_for_a_wrong_set_item_names_what_was_expected(item: str, expected: str) -> None:
    message = refused(sets=[item])
    assert expected in message
    assert "--set" in message


def test_a_horizon_in_a_higher_layer_replaces_those_of_lower_layers(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nepochs = 2\n")
    config, origins = resolve(TRAIN, file=file)
    assert (config.train.steps, config.train.epochs, config.train.tokens) == (None, 2.0, None)
    assert origins["train.steps"] == "default"
    config = resolve(TRAIN, file=file, sets=["train.tokens=1e6"]).config
    assert (config.train.steps, config.train.epochs, config.train.tokens) == (None, None, 1_000_000)
    config = resolve(TRAIN, file=file, sets=["train.tokens=1e6"], flags={"train.steps": 5}).config
    assert (config.train.steps, config.train.epochs, config.train.tokens) == (5, None, None)


def test_two_horizons_in_one_layer_are_refused(tmp_path: Path) -> None:
    assert "give only one of them" in refused(file=written(tmp_path, "[train]\nsteps = 3\nepochs = 1\n"))
    assert "give only one of them" in refused(sets=["train.steps=3", "train.tokens=10"])
    assert "--steps and --epochs" in refused(flags={"train.steps": 3, "train.epochs": 1})
