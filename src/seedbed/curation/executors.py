"""The file that configures an executor of datatrove, for `seedbed prepare --executor`; see cluster.py."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from seedbed.errors import UsageError
from seedbed.text import quoted


class ExecutorConfig(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The content of a file that configures an executor."""

    kind: Literal["local", "slurm", "ray"]
    tasks: int
    options: dict[str, Any] = {}


def read_executor(path: Path) -> ExecutorConfig:
    """The executor that a file configures. Raises UsageError if the file is wrong."""
    try:
        value = tomllib.loads(path.read_text())
        found = msgspec.convert(value, ExecutorConfig)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{quoted(path)} does not configure an executor: {error}.",
            'It needs kind = "local", "slurm" or "ray", tasks = N, and a table [options] for the executor.',
        ) from None
    if found.tasks < 1:
        raise UsageError(
            f"{quoted(path)}: tasks must be 1 or more.", "Set tasks to about the number of units of input."
        )
    if found.kind == "slurm" and not {"partition", "time"} <= found.options.keys():
        raise UsageError(
            f"{quoted(path)}: Slurm needs a partition and a time.",
            'Set partition = "..." and time = "04:00:00" in [options].',
        )
    return found
