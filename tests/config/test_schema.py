"""The defaults of the schema."""

from __future__ import annotations

from seedbed.config.schema import Config


def test_a_config_can_be_created_from_the_schemas_defaults() -> None:
    assert Config().train.steps is None
