"""The units of input that a config names: logs of assistants, source files of repositories, and their commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seedbed.config.preparing import Preparation
from seedbed.curation.drops import Drops
from seedbed.curation.steps import Unit
from seedbed.errors import UsageError
from seedbed.text import quoted

Finder = Callable[[Path, Preparation, Drops], Sequence[Unit]]


def units_of(config: Preparation, drops: Drops) -> list[Unit]:
    """The units of all inputs, in a fixed order. What is not read at all is counted in `drops`.

    Raises UsageError if an input does not exist or has nothing of the wanted kind.
    """
    find = FINDERS[config.prepare.what]
    found: list[Unit] = []
    for name in config.prepare.inputs:
        path = Path(name)
        if not path.exists():
            raise UsageError(f"{quoted(path)} does not exist.", "Check the path.")
        found += find(path, config, drops)
    if not found:
        names = ", ".join(quoted(name) for name in config.prepare.inputs)
        raise UsageError(f"{names}: {_NOTHING[config.prepare.what]}.", "Check the path.")
    return found


def _logs(path: Path, config: Preparation, drops: Drops) -> Sequence[Unit]:
    from seedbed.curation.logs.finding import find_logs

    return find_logs(path, config.logs, drops)


def _fim(path: Path, config: Preparation, drops: Drops) -> Sequence[Unit]:
    from seedbed.curation.fim.units import fim_units

    return fim_units(path, config, drops)


def _commits(path: Path, config: Preparation, drops: Drops) -> Sequence[Unit]:
    from seedbed.curation.commits.units import commit_units

    return commit_units(path, config, drops)


def _harvest(path: Path, config: Preparation, drops: Drops) -> Sequence[Unit]:
    from seedbed.curation.repositories.harvest import find_repositories

    found: list[Unit] = []
    for repository in find_repositories(path, drops):
        found += _fim(repository, config, drops)
        found += _commits(repository, config, drops)
    return found


FINDERS: dict[str, Finder] = {"logs": _logs, "fim": _fim, "commits": _commits, "harvest": _harvest}
"""Kind of preparation (prepare.what) -> the function that finds its units."""
_NOTHING = {
    "logs": "there is no log that can be read",
    "fim": "there are no source files that can be read",
    "commits": "there is no repository with commits",
    "harvest": "there is no repository",
}
