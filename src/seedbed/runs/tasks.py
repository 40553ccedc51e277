"""The directories of tasks: each is next to the task's output, and the store has a link to it.

    out/merged/                                          the task's output
    out/.seedbed/20261121-101500-000-merge/              its directory: config, event log, state, lock, job.log
    runs/.tasks/20261121-101500-000-merge                a link to that directory, with which commands find the task

The output can be moved or deleted without the store, and the store without the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from seedbed.errors import SeedbedError
from seedbed.files import explained, make_dir, normal_path, remove_tree
from seedbed.runs.store import TASKS, RunDir, Store

FOLDER = ".seedbed"
"""The folder, next to the output, with the directories of tasks."""


def create_task(
    store: Store, kind: str, name: str, config_toml: str, output: Path, meta: Mapping[str, Any] | None = None
) -> RunDir:
    """Create a task's directory, complete or not at all, and a link to it in the store.

    Raises SeedbedError if that fails; if the folder of `output` cannot be used, the error names `output` as it is given.
    """
    target = normal_path(output)
    with explained(output):
        (target.parent / FOLDER).mkdir(parents=True, exist_ok=True)
    made = Store(target.parent / FOLDER).create(
        kind, name, config_toml, {"output": str(target), **(meta or {})}, "give another output"
    )
    try:
        links = make_dir(store.root / TASKS)
        with explained(links):
            for link in links.iterdir():
                if not link.exists():  # its task was deleted
                    link.unlink()
            (links / made.id).symlink_to(made.path)
    except SeedbedError:
        remove_tree(made.path)
        raise
    return made


def forget_task(store: Store, task: RunDir) -> None:
    """Remove the store's link to a task's directory; the directory is not changed."""
    with suppress(OSError):
        (store.root / TASKS / task.id).unlink()


def output_of(task: RunDir) -> Path | None:
    """The path of a task's output; None for a run, or if it cannot be read."""
    try:
        output = task.meta().get("output")
    except SeedbedError:
        return None
    return Path(output) if isinstance(output, str) else None
