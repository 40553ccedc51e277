"""The step that datatrove runs for each rank, in a module that a job of Slurm can import.

A step of the module __main__, as which cluster.py runs, could not be read by a job: its __main__ is another program.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seedbed.config.frozen import load_frozen
from seedbed.config.roots import PREPARE
from seedbed.curation.preparing import Preparer


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


def _nothing() -> None:
    """The process that started the executor ends it when it is asked to stop."""
