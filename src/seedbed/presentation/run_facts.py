"""A run's status as short texts: cells of a table, rows of labels and values, lines above a curve."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from seedbed import text
from seedbed.events import ASKED
from seedbed.presentation.done import is_task, steps_text, work_done
from seedbed.presentation.wording import collectives, nodes, open_metrics, simulated
from seedbed.runs.watch import ListedRun

_NUMBER = re.compile(r"\d[\d,.]*")


def listed_name(found: dict[str, Any]) -> str:
    """The name of a run in a list, such as `oak`, or `SIMULATED oak`."""
    return f"SIMULATED {found['name']}" if found["simulated"] else str(found["name"])


def epochs_text(found: dict[str, Any]) -> str:
    """The epochs done of those planned, such as `1.5/3.0`; "-" if they are unknown."""
    if found["epoch"] is None:
        return "-"
    return f"{found['epoch']:.1f}/{found['epochs']:.1f}" if found["epochs"] is not None else f"{found['epoch']:.1f}"


def gpu_text(listed: ListedRun) -> str:
    """The GPU load of a live run, such as `87%`; `n/a` if it is unknown, `-` for a run that is not live."""
    fraction = (listed.hardware or {}).get("gpu_fraction")
    return f"{fraction:.0%}" if isinstance(fraction, int | float) else "n/a" if listed.lives else "-"


def activity(listed: ListedRun) -> str:
    """The phase of a run that is not training, such as `saving …`, or why the run is paused, queued or over.

    Returns the progress of a task, and "" while a run trains.
    """
    found = listed.status
    if listed.lives and is_task(found) and (done := work_done(found)):
        return done
    if found["code"] == ASKED:
        return "paused on request"
    if found["status"] in ("paused", "queued", "failed", "lost", "stopped") and found["reason"]:
        return str(found["reason"])
    phase = found["phase"] if listed.lives else None
    return f"{text.stage(phase)} …" if phase not in (None, "train") else ""


def date_text(t: float | None) -> str | None:
    """A time in unix seconds as local date and time of day, such as `05 Mar 2026 14:30:12`; None for None."""
    return time.strftime("%d %b %Y %H:%M:%S", time.localtime(t)) if t is not None else None


def fact_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value of all known facts about a run, except its status, warnings and note."""
    device = [found["device"], found["device_name"], found["precision"], "compiled" if found["compile"] else None]
    known = [
        ("name", found["name"]),
        ("id", found["id"]),
        ("tags", " ".join(found["tags"]) + (" (archived)" if found["archived"] else "")),
        ("kind", found["kind"] if is_task(found) else None),
        ("output", found["output"]),
        ("preset", None if found.get("base") else found["preset"]),
        ("base", found.get("base")),
        ("data", found["data"]),
        ("parameters", f"{found['parameters']:,}" if found["parameters"] else None),
        ("trainable", f"{found['trainable']:,} parameters" if found.get("trainable") else None),
        ("device", ", ".join(filter(None, device))),
        ("host", found["host"]),
        ("started", date_text(found["started"])),
        ("updated", date_text(found["updated"])),
        ("elapsed", text.duration(found["elapsed_s"]) + simulated(found["simulated"])),
        ("metrics", open_metrics(found)),
        ("nodes", nodes(found)),
        ("collectives", collectives(found["comm"])),
        ("tokens", f"{found['tokens']:,}" if found["tokens"] else None),
        ("checkpoint", found["checkpoint"]),
        ("best", found["best_checkpoint"]),
        ("directory", found["path"]),
    ]
    return [(label, str(value)) for label, value in known if value]


def progress_lines(found: dict[str, Any]) -> list[str]:
    """Two lines on the progress of a run: first steps, epochs and losses, then speed and times.

    For a task, the first line is the progress of its work.
    """
    losses = (
        f"loss {text.loss(found['loss'])}  val {text.loss(found['val_loss'])}  best {text.loss(found['best_val_loss'])}"
    )
    speed = f"{text.count(found['tokens_per_s'])} tokens/s  " if found["tokens_per_s"] else ""
    clock = simulated(found["simulated"])
    left = f"  left {text.duration(found['remaining_s'])}{clock}" if found["remaining_s"] is not None else ""
    if found["eta"] is not None:
        left += f" (ends about {time.strftime('%d %b %H:%M:%S', time.localtime(found['eta']))})"
    pid = f"  pid {found['pid']}" if found["heartbeat_age_s"] is not None else ""
    if is_task(found):
        done = work_done(found) or f"output {text.printable(found['output'])}"
        return [done, f"elapsed {text.duration(found['elapsed_s'])}{pid}"]
    return [
        f"step {steps_text(found)}  epoch {epochs_text(found)}  {losses}",
        f"{speed}elapsed {text.duration(found['elapsed_s'])}{clock}{left}{pid}",
    ]


def device_line(found: dict[str, Any]) -> str:
    """The device that a run uses, with name and precision; `not started` if the run has no device yet."""
    requested = f" (requested: {found['device_asked']})" if found["device_asked"] else ""
    if not found["device"]:
        return f"not started{requested}"
    return f"on {found['device']}{requested}  {found['device_name'] or ''}  {found['precision'] or ''}"


class Alike(NamedTuple):
    """Warnings that differ in numbers only."""

    last: str
    """The latest of them."""
    times: int


def grouped(warnings: Sequence[str]) -> list[Alike]:
    """The warnings, those that differ in numbers only together, in the order of the first of each."""
    found: dict[str, Alike] = {}
    for each in warnings:
        words = _NUMBER.sub("#", each)
        found[words] = Alike(each, found[words].times + 1 if words in found else 1)
    return list(found.values())


def notices(found: dict[str, Any]) -> list[str]:
    """The warnings of a run, then the reason for its status together with the hint what to do."""
    reason = f"{found['reason']} {found['hint'] or ''}".strip() if found["reason"] else ""
    return [each for each in (*found["warnings"], reason) if each]
