"""Where tasks live: each has a directory beside what it makes, and the store has a link to it.

    out/merged/                                          what the task makes
    out/.seedbed/20261121-101500-000-merge/              its directory: config, event log, state, lock, job.log
    runs/.tasks/20261121-101500-000-merge -> that        so that the commands and windows find it

What was made can be moved or deleted without the link, and the store without what was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from seedbed.errors import SeedbedError
from seedbed.files import explained, make_dir
from seedbed.runs.store import TASKS, RunDir, Store

FOLDER = ".seedbed"
"""The folder beside what tasks make."""


def create_task(
    store: Store, kind: str, name: str, config_toml: str, output: Path, meta: Mapping[str, Any] | None = None
) -> RunDir:
    """Publish a new task's directory whole, and link it from the store. Raises SeedbedError where that cannot be done."""
    target = output.absolute()
    made = Store(target.parent / FOLDER).create(kind, name, config_toml, {"output": str(target), **(meta or {})})
    links = make_dir(store.root / TASKS)
    with explained(links):
        for link in links.iterdir():
            if not link.exists():  # its task was deleted
                link.unlink()
        (links / made.id).symlink_to(made.path)
    return made


def forget_task(store: Store, task: RunDir) -> None:
    """Remove the link to a task's directory."""
    with suppress(OSError):
        (store.root / TASKS / task.id).unlink()


def output_of(task: RunDir) -> Path | None:
    """What a task makes; None for a run, or where that cannot be read."""
    try:
        output = task.meta().get("output")
    except SeedbedError:
        return None
    return Path(output) if isinstance(output, str) else None
