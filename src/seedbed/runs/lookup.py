"""Finds the checkpoint of a run that a step, a name or a path refers to."""

from __future__ import annotations

from pathlib import Path

from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home
from seedbed.runs.checkpoints import best_checkpoint, checkpoints, latest_checkpoint, superseded_checkpoints
from seedbed.runs.kinds import refuse_task
from seedbed.runs.status import current_status, has_simulated_steps
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir


def find_checkpoint(run: RunDir, ref: str | None) -> Path:
    """The folder of the checkpoint that `ref` refers to: a step, `latest` (or None), `best`, a folder's name, or a path.

    Raises SeedbedError if the run has no checkpoint yet, UsageError if none matches `ref`, or if `run` is a task.
    """
    refuse_task(run, "model")
    current = current_status(run)
    view = current.view
    if has_simulated_steps(run, view):
        raise SeedbedError(
            f"{run.id} is simulated: nothing was trained, so it has no weights.",
            f"`seedbed curve {run.id}` shows its curves; `seedbed runs` shows other runs.",
        )
    there, left = checkpoints(run, view), superseded_checkpoints(run)
    if ref is None or ref == "latest":
        newest = latest_checkpoint(run, view)
        if newest is None:
            raise SeedbedError(f"{run.id} has no checkpoint yet.", _no_checkpoint_hint(run, current.status))
        return newest.path
    if ref == "best":
        best = best_checkpoint(run, view)
        if best is None:
            usable = "Use `latest` or a step" if there else _no_checkpoint_hint(run, current.status).rstrip(".")
            raise UsageError(
                f"{run.id} has no best checkpoint.", f"{usable}. For new runs, set train.keep_best = true."
            )
        return best.path
    for found in [*there, *reversed(left)]:
        if ref == found.path.name or (ref.isdecimal() and int(ref) == found.step):
            return found.path
    if "/" in ref:
        for path in (expand_home(ref), run.checkpoints / ref, run.path / ref):
            if (path / "model.safetensors").is_file():
                return path.absolute()
    if not there and not left:
        raise UsageError(
            f'{run.id} has no checkpoint "{ref}", and no other one yet.', _no_checkpoint_hint(run, current.status)
        )
    names = ", ".join(str(found.step) for found in there) or "none"
    words = ["`latest`"] if there else []
    words += ["`best`"] if best_checkpoint(run, view) is not None else []
    also = f" You can also use {' or '.join(words)}." if words else ""
    older = bool(there) and ref.isdecimal() and int(ref) < min(found.step for found in there)
    why = " Older ones are deleted: train.keep_last says how many stay, and train.keep_every which." if older else ""
    others = f" (superseded: {', '.join(str(found.step) for found in left)})" if left else ""
    raise UsageError(
        f'{run.id} has no checkpoint "{ref}".',
        f"Its checkpoints are at steps: {names}{others}.{also}{why}",
    )


def _no_checkpoint_hint(run: RunDir, status: str) -> str:
    if status == "queued":
        return "It is waiting in the queue: `seedbed queue` shows it."
    if status in BUSY:
        return f"It is still training: `seedbed save {run.id} --wait` saves a checkpoint now."
    return f"`seedbed runs` shows other runs; `seedbed resume {run.id}` continues this run."
