"""The job that merges datasets: filters, duplicates, groups and split, then the folder."""

from __future__ import annotations

import time
from pathlib import Path

from seedbed import files
from seedbed.config.preparing import Merging
from seedbed.curation.merging import Merger, assemble
from seedbed.curation.result import sentences
from seedbed.events import RESULT, Data, Message
from seedbed.jobs.waiting import until_written
from seedbed.runs.kinds import frozen_config
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.tasks import output_of
from seedbed.train.hooks import phase

_REPORT_EVERY_S = 0.5
WORK = "work"
"""The folder in the task's directory with what its phases have done."""


def run(task_dir: Path, lifecycle: Lifecycle) -> str:
    """Merge what is not merged yet, and put the dataset in the place of the task's output; returns the final status."""
    config: Merging = frozen_config(lifecycle.run)
    output = output_of(lifecycle.run)
    assert output is not None
    work = task_dir / WORK
    report = Reporter(lifecycle)
    with phase(lifecycle.emit, "prepare"):
        merger = Merger(config, work, report)
        for step in (merger.run_clean, merger.run_unique):
            until_written(lifecycle, task_dir, step, "the merge")
        description = until_written(
            lifecycle,
            output.parent,
            lambda: assemble(merger, output, lifecycle.run.meta(), work),
            "the merge",
        )
    for line in sentences(description):
        lifecycle.emit(Message(level="info", code=RESULT, text=line))
    files.remove_tree(work)
    return "completed"


class Reporter:
    """Logs the bytes that are done of a phase, at most twice a second, and handles requests to pause and stop."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._next_s = 0.0
        self._complete = ""
        """The phase whose end was logged last."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._lifecycle.check_requests()
        if stage == self._complete:
            return
        if done >= total:
            self._complete = stage
        if time.monotonic() >= self._next_s or done >= total:
            self._next_s = time.monotonic() + _REPORT_EVERY_S
            self._lifecycle.emit(Data(stage=stage, done=done, total=total, unit="bytes"))
