"""Generates text with a model or scores it, in a child process that loads the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from seedbed.actions import launching
from seedbed.checkpoint.marker import is_marked
from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.checkpoints import checkpoints
from seedbed.runs.child import Child
from seedbed.runs.kinds import frozen_config
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.status import current_status
from seedbed.runs.store import RunDir, refuse_name_of

_ATTEMPTS = 5


def default_prompt(run: RunDir) -> str:
    """The prompt for generating text if the user gives none.

    It is the run's first sample prompt, else a typical beginning of a text in its dataset, else "".
    """
    try:
        train = getattr(frozen_config(run), "train", None)  # other kinds of work have other configs
    except SeedbedError:
        train = None
    prompts = train.sample_prompts if train is not None else None
    return prompts[0] if prompts else current_status(run).view.opening


def child(
    command: str,
    request: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    *,
    ok_statuses: Collection[int] = (0,),
) -> Child:
    """Start the child process of a command (generate, score or doctor); `request` is sent to it as JSON.

    `ok_statuses` are the exit statuses that mean success.
    """
    return Child([*launching.JOBS, command, *arguments], command, request, ok_statuses)


def ask_model(
    command: str, folder: Path, request: Mapping[str, Any], on_start: Callable[[Child], object] | None = None
) -> Generator[dict[str, Any], None, None]:
    """Start `generate` or `score` on a model folder and yield its answers, each with that folder as `checkpoint`.

    `on_start` is called with the child, so that another thread can kill it. Raises SeedbedError or UsageError.
    """
    with child(command, {**request, "checkpoint": str(folder)}, ["--json-request"]) as answers:
        if on_start is not None:
            on_start(answers)
        for answer in answers:
            yield {"checkpoint": str(folder), **answer}


def ask_checkpoint(
    command: str,
    run: RunDir,
    ref: str | None,
    request: Mapping[str, Any],
    on_start: Callable[[Child], object] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Start `generate` or `score` on a run's checkpoint and yield its answers, each with its path as `checkpoint`.

    `on_start` is called with each child, so that another thread can kill it.
    A job that trains deletes old checkpoints: if the chosen checkpoint is gone when the child reads it, `latest` and
    `best` are looked up again. Raises SeedbedError or UsageError.
    """
    refuse_name_of(run.path)
    for attempt in range(_ATTEMPTS):
        checkpoint = find_checkpoint(run, ref)
        answered = False
        try:
            with closing(ask_model(command, checkpoint, request, on_start)) as answers:
                for answer in answers:
                    answered = True
                    yield answer
            return
        except SeedbedError as error:
            may_change = ref in (None, "latest", "best")
            if answered or not may_change or is_marked(checkpoint) or attempt == _ATTEMPTS - 1:
                saved = checkpoints(run, current_status(run).view)
                others = [str(each.step) for each in saved if each.path != checkpoint]
                if not answered and not isinstance(error, UsageError) and others:
                    error.hint = f"{error.hint} This run has other checkpoints at steps {', '.join(others)}.".strip()
                raise
