"""Runs the ranks of a preparation under an executor of datatrove: this machine, Slurm or Ray.

`python -m seedbed.curation.cluster CONFIG CACHE EXECUTOR LOGS` is a process of its own, so that it can be ended at any time. The
file EXECUTOR configures it:

    kind = "slurm"            # local, slurm or ray
    tasks = 64                # how many ranks share the units of input
    [options]                 # passed on to datatrove's executor under its own names
    partition = "cpu"
    time = "04:00:00"

All machines must see the inputs and the cache (SEEDBED_CACHE) at the same paths. Source: datatrove, executor/base.py: a step is
any callable of (data, rank, world_size); ranks that are completed are files in its folder of logs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from seedbed.config.frozen import load_frozen
from seedbed.config.roots import PREPARE
from seedbed.curation.executors import ExecutorConfig, read_executor
from seedbed.curation.preparing import Preparer
from seedbed.errors import SeedbedError

_INSTALL = "Install it: pip install 'seedbed[cluster]'."
_CLASSES = {"local": "LocalPipelineExecutor", "slurm": "SlurmPipelineExecutor", "ray": "RayPipelineExecutor"}
_POLL_S = 5.0


class RankStep:
    """The step that datatrove calls once for each rank: it makes the parts of that rank in the cache."""

    name = "seedbed: parts of a rank"

    def __init__(self, config: Path, cache: Path) -> None:
        """`config`: the frozen config of the task. Both paths must be the same on all machines."""
        self._config, self._cache = str(config), str(cache)

    def __call__(self, data: object, rank: int = 0, world_size: int = 1) -> Iterator[object]:
        """Make the parts; yields nothing."""
        preparer = Preparer(load_frozen(Path(self._config), PREPARE), Path(self._cache), update=False)
        for _ in preparer.make_rank(rank, world_size, _nothing):
            pass
        yield from ()


def run(config: Path, cache: Path, executor: ExecutorConfig, logs: Path) -> None:
    """Run all ranks, and return when they are completed. Ranks that an earlier run completed are not repeated.

    Raises SeedbedError if datatrove is missing, or refuses the options.
    """
    try:
        from datatrove import executor as executors
    except ImportError:
        raise SeedbedError("The package datatrove is not installed.", _INSTALL) from None
    made = getattr(executors, _CLASSES[executor.kind])
    try:
        started = made(
            pipeline=[RankStep(config, cache)], tasks=executor.tasks, logging_dir=str(logs), **executor.options
        )
        started.run()
    except (TypeError, ValueError) as error:
        raise SeedbedError(f"The executor {executor.kind} cannot be started: {error}.", "Correct [options].") from error
    while executor.kind == "slurm" and started.get_incomplete_ranks(skip_completed=True):
        time.sleep(_POLL_S)


def _nothing() -> None:
    """The process that started the executor ends it when it is asked to stop."""


def main(config: str, cache: str, executor: str, logs: str) -> int:
    """Run the executor; an error is written to stderr, and the exit status is 1."""
    try:
        run(Path(config), Path(cache), read_executor(Path(executor)), Path(logs))
    except SeedbedError as error:
        sys.stderr.write(f"{error.message} {error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
