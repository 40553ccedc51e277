"""Asking a model for text or a score: a child process loads it."""

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
from seedbed.runs.status import standing
from seedbed.runs.store import RunDir, refuse_name_of

_ATTEMPTS = 5


def default_prompt(run: RunDir) -> str:
    """The prompt for who gives none: the first of the run's samples, else the opening of its text, if any is known."""
    try:
        prompts = frozen_config(run).train.sample_prompts
    except SeedbedError:
        prompts = None
    return prompts[0] if prompts else standing(run).view.opening


def child(
    verb: str, request: Mapping[str, Any] | None = None, words: Sequence[str] = (), *, good: Collection[int] = (0,)
) -> Child:
    """Start a child: `verb` is generate, score or doctor, followed by its `words`."""
    return Child([*launching.JOBS, verb, *words], verb, request, good)


def ask_model(
    verb: str, folder: Path, request: Mapping[str, Any], born: Callable[[Child], object] | None = None
) -> Generator[dict[str, Any], None, None]:
    """Answers of a child about a model folder, each with the `checkpoint` that it is about.

    `born` is given the child that is started, so that another thread may kill it. Raises SeedbedError or UsageError.
    """
    with child(verb, {**request, "checkpoint": str(folder)}, ["--json-request"]) as answers:
        if born is not None:
            born(answers)
        for answer in answers:
            yield {"checkpoint": str(folder), **answer}


def ask_checkpoint(
    verb: str,
    run: RunDir,
    ref: str | None,
    request: Mapping[str, Any],
    born: Callable[[Child], object] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Answers of a child about a checkpoint of a run, each with the `checkpoint` that it is about.

    `born` is given each child that is started, so that another thread may kill it.
    A run that still trains deletes old checkpoints: `latest` and `best` are looked up again where the child found the
    one chosen gone. Raises SeedbedError or UsageError.
    """
    refuse_name_of(run.path)
    for attempt in range(_ATTEMPTS):
        checkpoint = find_checkpoint(run, ref)
        answered = False
        try:
            with closing(ask_model(verb, checkpoint, request, born)) as answers:
                for answer in answers:
                    answered = True
                    yield answer
            return
        except SeedbedError as error:
            moving = ref in (None, "latest", "best")
            if answered or not moving or is_marked(checkpoint) or attempt == _ATTEMPTS - 1:
                there = checkpoints(run, standing(run).view)
                others = [str(each.step) for each in there if each.path != checkpoint]
                if not answered and not isinstance(error, UsageError) and others:
                    error.hint = (
                        f"{error.hint} Other checkpoints of this run are at steps: {', '.join(others)}.".strip()
                    )
                raise
