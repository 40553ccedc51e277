"""`seedbed status`: show the state of a run."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed import text
from seedbed.cli.parser import json_option, run_option, runs_option

if TYPE_CHECKING:
    from seedbed.runs.store import RunDir

DESCRIPTION = (
    "Show the state of a run: progress, losses, speed, device, remaining time. Without RUN, show the newest run."
)
EXAMPLES = """\
  seedbed status                 the newest run
  seedbed status quickstart      a run by its name
  seedbed status 20261121 --json a run by the start of its id, for a script
"""
_LABEL_WIDTH = 12
"""Columns of the labels of the rows."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `status` to the parser."""
    run_option(parser, "which run (default: the newest)")
    runs_option(parser)
    json_option(parser, "one flat object")


def run(arguments: argparse.Namespace) -> int:
    """Print the status of the run."""
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import store
    from seedbed.runs.status import status

    found = status(store(arguments.runs).find(arguments.ref))
    if arguments.json:
        say_json(found)
    else:
        for line in describe(found):
            say(line)
    return 0


def describe(found: dict[str, Any]) -> list[str]:
    """The status of a run as lines of text."""
    from seedbed.cli.console import paint
    from seedbed.cli.store_option import run_argument
    from seedbed.events import ASKED
    from seedbed.runs.control import shown_status
    from seedbed.runs.store import RunDir

    status = shown_status(found)
    shown = paint(status, "bold " + text.STATUS_STYLE.get(status, "blue"))
    name = text.printable(found["name"])
    simulated = paint("  SIMULATED", "bold magenta") if found["simulated"] else ""
    lines = [f"{paint(name, 'bold')}  {shown}{simulated}", paint(f"  {found['id']}", "dim")]
    if found["status"] in ("failed", "lost"):
        lines += ["", *_why(found), ""]
    for label, value in rows(found):
        lines += _row(label, value)
    name = run_argument(RunDir(Path(found["path"])))
    if found["note"]:
        lines += ["", *("  " + line for line in text.printable(found["note"], newlines=True).splitlines())]
    if found["status"] not in ("failed", "lost") and (why := _why(found)):
        lines += ["", *why]
    if found["warnings"]:
        lines += ["", *_warnings(found)]
    if found["status"] == "stopped" or (found["status"] == "paused" and found["code"] == ASKED):
        lines += ["", f"  Continue: seedbed resume {name}"]
    return lines


def _row(label: str, value: str) -> list[str]:
    """A label and its value: on a terminal, lines that fit it, with the value below the label if a word of it is long."""
    from seedbed.cli.console import folded, paint, width

    columns, beside, below = width(200), _LABEL_WIDTH + 2, 4
    longest = max(map(len, value.split()), default=0)
    if not sys.stdout.isatty() or len(value) + beside <= columns or longest + below > columns:
        return [f"  {paint(f'{label:<{_LABEL_WIDTH}}', 'dim')}{value}"]
    if longest + beside > columns:
        return [f"  {paint(label, 'dim')}", *(" " * below + line for line in folded(value, below))]
    first, *others = folded(value, beside)
    return [f"  {paint(f'{label:<{_LABEL_WIDTH}}', 'dim')}{first}", *(" " * beside + line for line in others)]


def _why(found: dict[str, Any]) -> list[str]:
    """The reason for a run's status, and what to do; none if it has none."""
    from seedbed.cli.store_option import run_argument, with_run_argument
    from seedbed.events import ASKED
    from seedbed.runs.store import RunDir

    if not found["reason"] or found["code"] == ASKED:  # the status itself says that it is paused
        return []
    lines = _folded(text.printable(found["reason"]))
    if found["hint"]:
        name = run_argument(RunDir(Path(found["path"])))
        lines += _folded(with_run_argument(text.printable(found["hint"]), found["id"], name))
    return lines


def _warnings(found: dict[str, Any]) -> list[str]:
    """The last warnings of a run, compact if they are many: what was left out is said above them."""
    from seedbed.cli.console import paint

    shown, forgotten = found["warnings"], found["forgotten_warnings"]
    lines = [paint(line, "yellow") for warning in shown for line in _folded(text.printable(warning))]
    if not forgotten:
        return lines
    return [f"  Warnings (last {len(shown)} of {forgotten + len(shown):,}; `seedbed logs` shows all):", *lines]


def _folded(words: str) -> list[str]:
    """A text as indented lines: on a terminal, lines that fit it, else one. Those after the first are indented more."""
    from seedbed.cli.console import folded

    first, *others = folded(words, 4) if sys.stdout.isatty() else [words]
    return ["  " + first, *("    " + line for line in others)]


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The known facts about a run, each as a label and a value."""
    from seedbed.presentation import wording
    from seedbed.presentation.done import is_task, work_done
    from seedbed.runs.store import RunDir

    sim = wording.simulated(found["simulated"])
    shown: list[tuple[str, str]] = []
    alive = found["heartbeat_age_s"] is not None
    if found["phase"] and found["phase"] != "train":
        shown.append(("now", text.stage(found["phase"])))
    shown += [(label, text.printable(found[label])) for label in ("base", "data") if found[label]]
    if is_task(found):
        shown += [("progress", done)] if (done := work_done(found)) else []
        shown.append(("output", text.printable(found["output"])))
    else:
        shown.append(("step", progress(found)))
    if found["loss"] is not None:
        shown.append(("loss", f"{found['loss']:.4f}"))
    if found["val_loss_before"] is not None:
        shown.append(("before", f"val loss {found['val_loss_before']:.4f}, before the first step"))
    if found["val_loss"] is not None:
        note = ", superseded" if found["best_checkpoint"] and "/left-at-" in found["best_checkpoint"] else ""
        best = f"  (best {found['best_val_loss']:.4f} at step {found['best_step']}{note})" if found["best_step"] else ""
        shown.append(("val loss", f"{found['val_loss']:.4f}{best}"))
    if found["final_val_loss"] is not None:
        shown.append(
            ("final loss", f"{found['final_val_loss']:.4f} at step {found['final_val_step']}, over all validation text")
        )
    if found["tokens"]:
        speed = f"  at {text.count(found['tokens_per_s'])} tokens/s{sim}" if found["tokens_per_s"] else ""
        shown.append(("tokens", text.count(found["tokens"]) + speed))
    if metrics := wording.open_metrics(found):
        shown.append(("metrics", metrics))
    if found["device"]:
        details = [found["device"], text.printable(found["device_name"] or ""), found["precision"] or ""]
        if found["compile"]:
            details.append("compiled")
        shown.append(("device", ", ".join(detail for detail in details if detail)))
    if nodes := wording.nodes(found):
        shown.append(("nodes", nodes))
    if found["comm"]:
        shown.append(("collectives", wording.collectives(found["comm"])))
    shown += [("plugin", wording.plugin(each)) for each in found["plugins"][-1:]]
    if alive:
        kept = "  (kept in memory while the run is paused)" if found["status"] == "paused" else ""
        shown.append(("pid", f"{found['pid']}{kept}"))
    if found["started"] is not None:
        shown.append(("elapsed", text.duration(found["elapsed_s"]) + sim))
    if found["remaining_s"] is not None and found["eta"] is None:
        when = "  (after it is resumed)" if found["status"] == "paused" else ""
        shown.append(("remaining", f"{text.duration(found['remaining_s'])}{sim}{when}"))
    elif found["remaining_s"] is not None:
        at = time.strftime("%H:%M:%S", time.localtime(found["eta"]))
        day = time.strftime(" on %d %b", time.localtime(found["eta"])) if found["remaining_s"] > 12 * 3600 else ""
        shown.append(("remaining", f"{text.duration(found['remaining_s'])}  (ends about {at}{day})"))
    if found["status"] == "stalled":
        age = text.duration(found["heartbeat_age_s"])
        shown.append(("heartbeat", f"{age} ago: the job hangs or compiles, or the machine was asleep"))
    if found["checkpoint"]:
        shown.append(("checkpoint", f"step {found['checkpoint_step']}"))
    shown += [("superseded", line) for line in superseded_lines(RunDir(Path(found["path"])))]
    if found["tags"]:
        shown.append(("tags", " ".join(found["tags"]) + ("  (archived)" if found["archived"] else "")))
    elif found["archived"]:
        shown.append(("archived", "yes; `seedbed runs` does not list it"))
    shown.append(("directory", text.printable(found["path"])))
    return shown


def superseded_lines(run: RunDir) -> list[str]:
    """The superseded checkpoints of a run (of steps that a resume from an earlier step replaced), a line per folder."""
    from seedbed.runs.checkpoints import superseded_checkpoints

    folders: dict[str, list[int]] = {}
    for found in superseded_checkpoints(run):
        folders.setdefault(found.path.parent.name, []).append(found.step)
    return [f"step {', '.join(map(str, steps))}  in checkpoints/{name}" for name, steps in folders.items()]


def progress(found: dict[str, Any]) -> str:
    """The steps and epochs done, with the planned numbers, such as `50 of 100  (50%), epoch 1.50 of 3.00`."""
    line = f"{found['step']}"
    if found["steps"]:
        share = min(found["step"] / found["steps"], 1.0)
        line += f" of {found['steps']}  ({share:.0%})"
    if found["epoch"] is not None and found["epochs"] is not None:
        line += f", epoch {found['epoch']:.2f} of {found['epochs']:.2f}"
    return line
