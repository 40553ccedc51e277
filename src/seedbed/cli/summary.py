"""The summary of a run that has just ended: losses, curve, sample, and commands to run next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from seedbed import text
from seedbed.chart.axes import AXIS, FAINT, Line, bounds
from seedbed.chart.braille import plot
from seedbed.cli.console import paint, say, width
from seedbed.cli.store_option import run_argument
from seedbed.events import CLEARLY_WORSE
from seedbed.presentation import curves
from seedbed.presentation.wording import simulated
from seedbed.runs.checkpoints import lowest_loss
from seedbed.runs.curves.series import Series
from seedbed.runs.kinds import kind_of, load_object
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of
from seedbed.runs.view import View

LINE_STYLES = ("blue", "yellow", "green", "magenta", "cyan", "red")
_SAMPLE_CHARACTERS = 1200


def summarise(run: RunDir, view: View, series: Series) -> None:
    """Print the summary of a run that has ended on stdout."""
    output = output_of(run)
    if output is not None:
        summarise_task(run, view, output)
        return
    say()
    outcome = "Finished" if view.status == "completed" else "Stopped"
    duration = text.duration(view.elapsed_s) + simulated(view.simulated)
    say(paint(f"{outcome} at step {view.step}", "bold") + f" after {duration}" + losses(view))
    for line in picture(curves.lines([curves.Drawn("", series)]), width(90), 12, extent=series.extent()):
        say(line)
    if view.sample:
        say()
        say(paint(f"A sample at step {view.sample.get('step')}:", "bold"))
        written = f"{view.sample.get('prompt', '')}{view.sample.get('text', '')}"
        for line in text.shorten(text.printable(written, newlines=True), _SAMPLE_CHARACTERS).splitlines():
            say("  " + line)
    say()
    say(f"The run is in {text.printable(str(run.path))}")
    say("Next:")
    for command in next_commands(run, view):
        say("  " + command)


def summarise_task(task: RunDir, view: View, output: Path) -> None:
    """Print on stdout how a task (work that writes an output) ended, and where its result is."""
    finished = view.status == "completed"
    say()
    say(paint("Finished" if finished else "Stopped", "bold") + f" after {text.duration(view.elapsed_s)}")
    if finished:
        for line in summary_lines(task):
            say(line)
        say(f"The result is in {text.printable(str(output))}")
    else:
        say("Next:")
        say(f"  seedbed resume {run_argument(task)}")


def summary_lines(task: RunDir) -> list[str]:
    """The result of a completed task as lines, if its kind describes results; each kind has its own (see Kind.summary)."""
    described = kind_of(task).summary
    if not described:
        return []
    describe: Callable[[RunDir, int], list[str]] = load_object(described)
    return describe(task, width())


def losses(view: View) -> str:
    """The final losses, to add to a sentence: `: loss 1.2345, validation loss 1.3456`."""
    losses = f": loss {view.loss:.4f}" if view.loss is not None else ""
    last, final = view.validations.last, view.validations.final
    if last is not None:
        losses += f", validation loss {last.loss:.4f}"
        if view.validations.before is not None:
            losses += f" ({view.validations.before.loss:.4f} before the first step)"
        best = view.best()
        if best is not None and best.step != last.step:
            losses += f" (best {best.loss:.4f} at step {best.step})"
    if final is not None and final.step == view.step:
        losses += f", {final.loss:.4f} over the whole validation text"
    return losses


def next_commands(run: RunDir, view: View) -> list[str]:
    """The commands that a person may want to run next, such as `seedbed generate NAME`."""
    name = run_argument(run)
    if view.status == "stopped":
        return [f"seedbed resume {name}"]
    if view.simulated:
        return [f"seedbed {command} {name}" for command in ("curve", "metrics", "logs")]
    prompt = view.sample.get("prompt") if view.sample else view.opening
    shown = text.printable(str(prompt or ""))
    which = " --checkpoint best" if best_is_better(run, view) else ""
    chat = " --chat" if view.answers and shown.strip() else ""  # a chat needs a message
    separator = "=" if shown.startswith("-") else " "  # a prompt that begins with a dash would be parsed as an option
    return [
        f"seedbed generate {name}{which}{chat}" + (f" --prompt{separator}{shlex.quote(shown)}" if shown else ""),
        f"seedbed resume {name} --more-epochs 1",
        f"seedbed curve {name}",
    ]


def best_is_better(run: RunDir, view: View) -> bool:
    """Whether an earlier checkpoint has a clearly lower validation loss than the last validation."""
    last, lowest = view.validations.last, lowest_loss(run, view)
    return last is not None and lowest is not None and last.loss > CLEARLY_WORSE * lowest


def picture(
    lines: list[Line],
    columns: int,
    rows: int,
    *,
    extent: tuple[float, float] | None = None,
    log: bool = False,
    x_text: Callable[[float], str] | None = None,
) -> list[str]:
    """A chart of the lines as text rows in Braille, with a legend, coloured if stdout is.

    Returns no rows if stdout cannot show Braille. `extent` is the range of x, by default that of the points. `x_text`
    formats the labels of an x axis whose values are not whole numbers, such as time.
    """
    try:
        "\u28ff┤".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return []
    x0, x1 = extent or (None, None)
    drawn = plot(
        lines, columns, rows, box=bounds(lines, log=log, x0=x0, x1=x1), log=log, x_text=x_text, whole_x=x_text is None
    )
    if drawn is None:
        return []
    named = [(number if line.series is None else line.series, line) for number, line in enumerate(lines) if line.label]
    legend = [paint(f"⣀{line.tag} {text.printable(line.label)}", style_of(series)) for series, line in named]
    fits = sum(len(line.label) + 6 for _, line in named) <= columns
    return [
        *(["   ".join(legend)] if fits else legend),
        *("".join(paint(span.text, style_of(span.series)) for span in row).rstrip() for row in drawn.rows),
    ]


def style_of(series: int) -> str:
    """The style of the line of a chart with this `series` (colour number), or of the axes."""
    return "dim" if series == AXIS or series >= FAINT else LINE_STYLES[series % len(LINE_STYLES)]
