"""Where the command line looks for runs. Knows the option and the variable that say so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from seedbed.config.environment import env
from seedbed.files import expand_home
from seedbed.runs.store import RunDir, Store

_NOT_ABOUT_RUNS = ("config", "presets", "doctor", "completion")
"""Commands that need not be told where runs live."""


def store(runs: str | None = None) -> Store:
    """The store that a person means: the folder given, else SEEDBED_RUNS, else ./runs."""
    return Store(expand_home(runs or env("SEEDBED_RUNS") or "runs"))


def refer(run: RunDir) -> str:
    """How a person would name this run on the next command line: the name if no other has it, its id, or its path."""
    here = store()
    if run.path.parent != here.root.absolute():
        return shlex.quote(str(run.path))
    name = run.name()
    alone = sum(other.name().casefold() == name.casefold() for other in here.all()) == 1
    return shlex.quote(name if alone else run.id)


def by_name(hint: str, run_id: str, name: str) -> str:
    """A hint in which commands call the run by a shorter name than its id; paths that the id is part of stay."""
    return re.sub(rf"(?<![^\s`'\"]){re.escape(run_id)}(?![^\s`'\".,;:)])", lambda _: name, hint)


def there(hint: str, runs: str) -> str:
    """A hint with its commands as they must be typed where runs live in another folder than they would without a word."""
    from seedbed.cli.parser import COMMANDS

    about_runs = "|".join(name for name in COMMANDS if name not in _NOT_ABOUT_RUNS)
    command = re.compile(rf"\bseedbed ({about_runs})\b(?! --runs)")
    return command.sub(lambda found: f"{found[0]} --runs {shlex.quote(runs)}", hint)


def find_all(place: Store, refs: Iterable[str]) -> list[RunDir]:
    """The runs that several words name, each once, in their order. Raises UsageError for the first that names none."""
    found = [place.find(ref) for ref in refs]
    return list({run.path.resolve(): run for run in found}.values())
