"""Helpers for config tests: write a config file, and get the error message for an invalid config."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.errors import EXIT_USAGE, UsageError


def written(folder: Path, text: str) -> Path:
    """Write a config file with this text and return its path."""
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(**wanted: object) -> str:
    """The message of the UsageError that `resolve` raises for a train config."""
    with pytest.raises(UsageError) as caught:
        resolve(TRAIN, **wanted)  # type: ignore[arg-type]
    assert caught.value.exit_code == EXIT_USAGE
    return str(caught.value)
