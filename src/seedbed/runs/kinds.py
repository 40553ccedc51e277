"""The kinds of work: for each, its job, its config, and whether it is a run or a task."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from seedbed.config.roots import ROOTS, Root
from seedbed.errors import SeedbedError
from seedbed.runs.store import RunDir


class Kind(NamedTuple):
    """One kind of work.

    A *run* has steps and checkpoints and lives in the store. A *task* makes something else; its directory lies beside
    that (runs/tasks.py). Both are watched, stopped and resumed by the same commands.
    """

    name: str
    """What meta.json records; also the command that starts such work."""
    job: str
    """`module:function` that does the work: takes the directory and the session (runs/session.py; for a task the
    lifecycle, runs/lifecycle.py), returns the final status: completed or stopped."""
    config: str = ""
    """The name of its config's root (config/roots.py); empty for work without a config."""
    is_run: bool = True
    checks: str = ""
    """`module:function` that checks the work before it is created: takes the config and the store, raises SeedbedError."""

    @property
    def root(self) -> Root[Any]:
        """The root of its config. Raises SeedbedError for work without a config."""
        if self.config not in ROOTS:
            raise SeedbedError(f"Work of kind {self.name} has no config.", "Name a run of another kind.")
        return ROOTS[self.config]


KINDS: dict[str, Kind] = {
    "train": Kind("train", "seedbed.jobs.pretrain:run", config="train", checks="seedbed.actions.checks:check_training"),
}
"""Every kind of work, by the name that meta.json records."""


def named(name: str, kinds: Mapping[str, Kind] = KINDS) -> Kind:
    """The kind of this name. Raises SeedbedError for one that this version does not know."""
    if name not in kinds:
        raise SeedbedError(f"This version does not support work of kind {name!r}.", f"It supports {', '.join(kinds)}.")
    return kinds[name]


def kind_of(run: RunDir) -> Kind:
    """The kind of a run or task. Raises SeedbedError if its meta.json is broken or names an unknown kind."""
    return named(run.meta()["kind"])


def command_like(run: RunDir) -> str:
    """The command that starts new work with the config of this run; without the run's name if its kind is unknown."""
    try:
        return f"seedbed {kind_of(run).name} --like {run.id}"
    except SeedbedError:
        return "seedbed train --like RUN"


def frozen_config(run: RunDir) -> Any:
    """The config that a run or task was started with. Raises SeedbedError if it is missing or cannot be read."""
    from seedbed.config.frozen import load_frozen

    return load_frozen(run.config, kind_of(run).root)


def load_object(path: str) -> Any:
    """Import the object that `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
