"""Finds the store (folder of runs) and the runs that a command line names; names them in the commands of messages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from seedbed.cli.commands import COMMANDS
from seedbed.runs.store import RunDir, Store, chosen_store

_WITHOUT_RUNS = ("config", "presets", "doctor", "completion")
"""The commands that have no --runs option."""


store = chosen_store


def find_all(place: Store, refs: Iterable[str]) -> list[RunDir]:
    """The runs that `refs` (names or ids) name, each once, in this order.

    Raises UsageError for a name without a run.
    """
    found = [place.find(ref) for ref in refs]
    return list({run.path.resolve(): run for run in found}.values())


def run_argument(run: RunDir) -> str:
    """What a person must type as RUN for this run, quoted for a shell: its name if that is unique, else its id.

    For a run or task outside the default store it is its path.
    """
    here = store()
    if here.run_dir(run.id).path.resolve() != run.path.resolve():
        return shlex.quote(str(run.path))
    name = run.name()
    is_unique = sum(other.name().casefold() == name.casefold() for other in (*here.all(), *here.tasks())) == 1
    return shlex.quote(name if is_unique else run.id)


def with_run_argument(hint: str, run_id: str, argument: str) -> str:
    """The hint of an error, with the run's id replaced by `argument` in the commands that the hint suggests.

    Paths that contain the id are not changed.
    """
    return re.sub(rf"(?<![^\s`'\"]){re.escape(run_id)}(?![^\s`'\".,;:)])", lambda _: argument, hint)


def with_runs_option(hint: str, runs: str) -> str:
    """The hint of an error, with `--runs RUNS` added to the commands that the hint suggests.

    Without this option they would look for the run in another store.
    """
    with_runs = "|".join(name for name in COMMANDS if name not in _WITHOUT_RUNS)
    command = re.compile(rf"\bseedbed ({with_runs})\b(?! --runs)")
    return command.sub(lambda found: f"{found[0]} --runs {shlex.quote(runs)}", hint)
