"""What a run came to, when it ends before our eyes: losses, curve, sample, and the next commands to type."""

from __future__ import annotations

import shlex
import sys

from seedbed import text
from seedbed.chart import AXIS, Line, Span, braille
from seedbed.cli.console import paint, say, width
from seedbed.cli.place import refer
from seedbed.runs.series import Series
from seedbed.runs.store import RunDir
from seedbed.runs.view import View

LINE_STYLES = ("blue", "yellow")
_SAMPLE_CHARACTERS = 1200


def summarise(run: RunDir, view: View, series: Series) -> None:
    """Print it on stdout."""
    say()
    word = "Finished" if view.status == "completed" else "Stopped"
    say(paint(f"{word} at step {view.step}", "bold") + f" after {text.duration(view.elapsed_s)}" + losses(view))
    for line in picture(series.lines(), width(90), 12):
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


def losses(view: View) -> str:
    """The losses at the end, as the rest of a sentence."""
    said = f": loss {view.loss:.4f}" if view.loss is not None else ""
    if view.scores:
        said += f", validation loss {view.scores[-1].loss:.4f}"
        best = view.best_scores[-1]
        if best.step != view.scores[-1].step:
            said += f" (best {best.loss:.4f} at step {best.step})"
    return said


def next_commands(run: RunDir, view: View) -> list[str]:
    """What one would type now."""
    name = refer(run)
    if view.status == "stopped":
        return [f"seedbed resume {name}"]
    prompt = view.sample.get("prompt") if view.sample else None
    said = shlex.quote(text.printable(str(prompt))) if prompt else '"Once upon a time"'
    return [
        f"seedbed generate {name} --prompt {said}",
        f"seedbed resume {name} --more-epochs 1",
        f"seedbed curve {name}",
    ]


def picture(lines: list[Line], columns: int, rows: int) -> list[str]:
    """The curves in Braille with a legend, coloured where colour is wanted; nothing where the output cannot show it."""
    try:
        "\u28ff┤".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return []
    drawn = braille(lines, columns, rows)
    if not drawn:
        return []
    legend = "   ".join(paint(f"⣀ {line.label}", LINE_STYLES[number]) for number, line in enumerate(lines))
    return [legend, *("".join(_paint(span) for span in row).rstrip() for row in drawn)]


def _paint(span: Span) -> str:
    return paint(span.text, "dim" if span.series == AXIS else LINE_STYLES[span.series % len(LINE_STYLES)])
