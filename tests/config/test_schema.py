"""The schema itself."""

from __future__ import annotations

from seedbed.config.schema import Config


def test_the_schema_alone_is_a_valid_start() -> None:
    assert Config().train.steps is None
