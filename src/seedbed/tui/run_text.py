"""A run as styled text: the header of the details screen, all known facts about the run, its log, and its samples."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from seedbed.presentation.done import is_task
from seedbed.presentation.log import LogLine, when
from seedbed.presentation.run_facts import device_line, fact_rows, grouped, notices, progress_lines
from seedbed.runs.control import shown_status
from seedbed.tui.safe_text import fitted_text, safe_string, safe_text, status_style

_LABEL_CELLS = 12
_MAX_SAMPLES = 200


def header_text(found: dict[str, Any], *, brief: bool = False, width: int = 150) -> Text:
    """The header of the details of a run: its status in a few lines of `width` cells, or, `brief`, in even fewer.

    The tab About shows all of the status.
    """
    shown = Text(end="")
    shown.append_text(fitted_text(found["name"], 64, "bold"))
    status = shown_status(found)
    shown.append(f"  {status}", style=f"bold {status_style(status)}".strip())
    if found["simulated"]:
        shown.append("  SIMULATED", style="bold magenta")
    shown.append_text(fitted_text(f"  {found['id']}", 100, "dim"))
    for line in progress_lines(found):
        shown.append(f"\n{line}")
    if not is_task(found):  # a task uses no device
        shown.append("\n")
        shown.append_text(fitted_text(device_line(found), 150, "dim"))
    if found["note"]:
        shown.append("\n")
        shown.append_text(fitted_text(f"note: {found['note']}", width, "italic"))
    every = notices(found)
    latest, lines = every[-2 if brief else -3 :], 1 if brief else 2
    for notice in latest:
        shown.append("\n")
        shown.append_text(_in_lines(notice, lines, width))
    if len(latest) < len(every) or any(cell_len(safe_string(each)) > lines * width for each in latest):
        what = "it" if len(every) == 1 else f"all {len(every)}"
        shown.append("\n")
        shown.append_text(fitted_text(f"press 6 to see {what} in full", width, "dim"))
    return shown


def about_text(found: dict[str, Any]) -> Text:
    """The text of the tab About: the status of a run and its reason, warnings, note and all other facts, in full."""
    status = shown_status(found)
    shown = Text.assemble(
        (f"{'status':<{_LABEL_CELLS}}", "dim"), (status, f"bold {status_style(status)}".strip()), end=""
    )
    for sentence in (found["reason"], found["hint"]):
        if sentence:
            shown.append("\n")
            shown.append_text(safe_text(sentence, "yellow", newlines=True))
    warnings = grouped(found["warnings"])
    for number, warning in enumerate(warnings, 1):
        times = f" ({warning.times} times, with other numbers; the last)" if warning.times > 1 else ""
        shown.append(f"\n\nwarning {number} of {len(warnings)}{times}\n", style="bold")
        shown.append_text(safe_text(warning.last, "yellow", newlines=True))
    if found["note"]:
        shown.append("\n\nnote\n", style="bold")
        shown.append_text(safe_text(found["note"], newlines=True))
    shown.append("\n")
    for label, value in fact_rows(found):
        shown.append(f"\n{label:<{_LABEL_CELLS}}", style="dim")
        shown.append_text(safe_text(value, newlines=True))
    return shown


def log_text(lines: Iterable[LogLine]) -> Text:
    """The lines of a log as text, each with its time if that is known."""
    shown = Text(end="")
    for line in lines:
        shown.append(when(line), style="dim")
        shown.append_text(safe_text(line.text, line.style))
        shown.append("\n")
    shown.right_crop(1)
    return shown if shown.plain else Text("The log is empty.", style="dim")


def samples_text(samples: list[Any], *, simulated: bool = False) -> Text:
    """The samples (texts generated during the training) by step, the newest first. A `simulated` run has none."""
    shown = Text(end="")
    for sample in reversed(samples[-_MAX_SAMPLES:]):
        shown.append(f"step {sample.step:,}\n", style="bold cyan")
        shown.append_text(safe_text(sample.prompt, "bold", newlines=True))
        shown.append_text(safe_text(sample.text, newlines=True))
        shown.append("\n\n")
    none = "A simulated run has no model, so it writes no samples." if simulated else "There is no sample yet."
    return shown if samples else Text(none, style="dim")


def _in_lines(sentence: str, lines: int, width: int) -> Text:
    """A sentence wrapped to `width` cells and cut after `lines` lines."""
    wrapped = textwrap.wrap(safe_string(sentence), width, max_lines=lines, placeholder=" …") or [""]
    return safe_text("\n".join(wrapped), "yellow", newlines=True)
