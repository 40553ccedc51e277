"""The description of each key."""

from __future__ import annotations

from seedbed.config.keys import keys
from seedbed.config.roots import TRAIN


def test_every_key_has_a_help_text_and_an_expected_value() -> None:
    for key in keys(TRAIN).values():
        assert key.help.endswith("."), key.path
        assert key.expected, key.path
    assert keys(TRAIN)["data.validation"].expected == "a number, above 0 and below 1"
    assert keys(TRAIN)["train.steps"].expected == "a whole number, at least 1 and at most 1,000,000,000,000"
    assert keys(TRAIN)["train.keep_best"].expected == "true or false"
