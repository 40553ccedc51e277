"""The units of the logs that a config names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seedbed.config.preparing import LogsConfig
from seedbed.curation.logs.options import LogOptions
from seedbed.curation.logs.units import find_units
from seedbed.curation.steps import Unit


def log_units(inputs: Sequence[str], config: LogsConfig) -> list[Unit]:
    """The units of logs in files and folders. Raises UsageError or SeedbedError if there are none."""
    options = LogOptions(
        thinking=config.thinking,
        subagents="apart" if config.subagents == "separate" else "drop",
        failed_sessions=config.failed == "keep",
    )
    wanted = None if config.format == "auto" else config.format
    return [unit for name in inputs for unit in find_units(Path(name), wanted, options)]
