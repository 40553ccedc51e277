"""The kinds of work: for each, its job, its config, and whether it is a run or a task."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from seedbed.config.roots import ROOTS, Root
from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.store import RunDir
from seedbed.text import printable


class Kind(NamedTuple):
    """A kind of work, such as training: how it is started, checked and done.

    A *run* has steps and checkpoints, and its directory is in the store. A *task* produces another output, and its
    directory is next to that output (runs/tasks.py). The same commands watch, stop and resume both.
    """

    name: str
    """The name of the kind, which meta.json records; also the command that starts such work, such as `train`."""
    job: str
    """The function that does the work, as `module:function`. It gets the directory and the session (a Session; for a
    task a Lifecycle), and returns the final status: completed or stopped."""
    config: str = ""
    """The name of the kind of config (a key of config.roots.ROOTS); empty for work without a config."""
    is_run: bool = True
    checks: str = ""
    """The function that checks the work before it is created, as `module:function`. It gets the config and the store,
    and raises SeedbedError."""
    noun: str = "a run"
    """What such work is, in words."""
    simulated: bool = False
    """Whether the work is only simulated, which every front end says."""
    like: str = ""
    """The name of the command that repeats such work with `--like`, if it is not the name of the kind."""
    summary: str = ""
    """The function that describes the output of a completed task, as `module:function`. It gets the task's directory and
    the width of the terminal in columns, and returns lines of text. Raises SeedbedError if the output cannot be read."""

    @property
    def command(self) -> str:
        """The command that repeats such work with `--like`, such as `seedbed train`."""
        return f"seedbed {self.like or self.name}"

    @property
    def root(self) -> Root[Any]:
        """The kind of config (what its files and options may set). Raises SeedbedError for work without a config."""
        if self.config not in ROOTS:
            raise SeedbedError(f"Work of kind {self.name} has no config.", "Choose a run of another kind.")
        return ROOTS[self.config]


KINDS: dict[str, Kind] = {
    "train": Kind("train", "seedbed.jobs.pretrain:run", config="train", checks="seedbed.actions.checks:check_training"),
    "simulate": Kind(
        "simulate",
        "seedbed.jobs.simulate:run",
        config="simulate",
        checks="seedbed.actions.checks:check_simulation",
        simulated=True,
    ),
    "rehearsal": Kind(
        "rehearsal",
        "seedbed.jobs.rehearsal:run",
        config="train",
        checks="seedbed.actions.checks:check_training",
        like="train",
    ),
    "evaluate": Kind(
        "evaluate",
        "seedbed.jobs.evaluate:run",
        config="evaluate",
        is_run=False,
        noun="an evaluation",
        checks="seedbed.actions.evaluating:check_evaluation",
        summary="seedbed.presentation.evaluation:summary",
    ),
    "prepare": Kind(
        "prepare",
        "seedbed.jobs.prepare:run",
        config="prepare",
        is_run=False,
        noun="a preparation of a dataset",
        checks="seedbed.actions.preparing:check_preparation",
        summary="seedbed.presentation.dataset:summary",
    ),
    "merge": Kind(
        "merge",
        "seedbed.jobs.merge:run",
        config="merge",
        is_run=False,
        noun="a merge of datasets",
        checks="seedbed.actions.preparing:check_merge",
        summary="seedbed.presentation.dataset:summary",
    ),
    "clip": Kind(
        "clip",
        "seedbed.jobs.clip:run",
        config="clip",
        is_run=False,
        noun="a clipping of a dataset",
        checks="seedbed.actions.preparing:check_clip",
        summary="seedbed.presentation.dataset:summary",
    ),
}
"""Every kind of work, by the name that meta.json records."""


def named(name: str, kinds: Mapping[str, Kind] = KINDS) -> Kind:
    """The kind of work with this name. Raises SeedbedError for a kind that this version does not support."""
    if name not in kinds:
        raise SeedbedError(f"This version does not support work of kind {name!r}.", f"It supports {', '.join(kinds)}.")
    return kinds[name]


def kind_of(run: RunDir) -> Kind:
    """The kind of work of a run or task. Raises SeedbedError if its meta.json is broken or names an unknown kind."""
    return named(run.meta()["kind"])


def refuse_task(found: RunDir, lacks: str) -> None:
    """Raise UsageError if `found` is a task, not a run. `lacks`: what a task does not have, such as `model`."""
    try:
        kind = kind_of(found)
    except SeedbedError:
        return
    if not kind.is_run:
        raise UsageError(
            f"{printable(found.name())} is {kind.noun}, not a run, so it has no {lacks}.",
            f"`seedbed status {found.id}` shows it; `seedbed runs` lists the runs.",
        )


def command_like(run: RunDir) -> str:
    """The command that starts new work with the config of this run, such as `seedbed train --like ID`.

    It has RUN in place of the run's id if the kind of the run is unknown.
    """
    try:
        return f"{kind_of(run).command} --like {run.id}"
    except SeedbedError:
        return "seedbed train --like RUN"


def frozen_config(run: RunDir) -> Any:
    """The config that a run or task was started with. Raises SeedbedError if it is missing or cannot be read."""
    from seedbed.config.frozen import load_frozen

    return load_frozen(run.config, kind_of(run).root)


def load_object(path: str) -> Any:
    """Import the object at `path`, which is `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
