"""The progress of a run or a task as text. Imports no slow module, because lists of runs import this one."""

from __future__ import annotations

from typing import Any

from seedbed import text


def is_task(found: dict[str, Any]) -> bool:
    """Whether `found`, a status, is that of a task: work that writes an output instead of training steps."""
    return found.get("output") is not None


def work_done(found: dict[str, Any]) -> str:
    """The progress of a task, such as `tokenising: 50 of 100 documents`; "" if the task has reported none."""
    progress = found.get("progress")
    if progress is None:
        return ""
    total = f" of {text.count(progress['total'])}" if progress["total"] is not None else ""
    unit = f" {text.printable(str(progress['unit']))}" if progress["unit"] else ""
    return f"{text.printable(str(progress['stage']))}: {text.count(progress['done'])}{total}{unit}"


def steps_text(found: dict[str, Any], width: int | None = None) -> str:
    """The done and the planned steps of a run (`50/100`), or the percentage of a task's work that is done.

    Numbers of steps are rounded if they need more than `width` characters.
    """
    if is_task(found):
        progress = found.get("progress") or {}
        return f"{min(progress['done'] / progress['total'], 1):.0%}" if progress.get("total") else "-"
    if not found["steps"]:
        return str(found["step"])
    exact = f"{found['step']}/{found['steps']}"
    if width is None or len(exact) <= width:
        return exact
    return f"{text.count(found['step'])}/{text.count(found['steps'])}"
