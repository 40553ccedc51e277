"""A dataset as text: what a task has made, lengths, rows as the model sees them, and what a check found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seedbed.curation.folder import describe
from seedbed.curation.report.terminal import NARROWEST, wrapped
from seedbed.curation.report.wording import pair_text
from seedbed.curation.result import sentences
from seedbed.errors import SeedbedError
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of
from seedbed.text import plural, printable

_KINDS = {"all": "all rows", "chat": "conversations", "text": "text", "fim": "gaps to fill"}
_COLUMNS = ("samples", "min", "p50", "p90", "p95", "p99", "max")
_BAR = 40
_MOST_LEAKED = 0.01


def summary(task: RunDir, width: int) -> list[str]:
    """What the task has made, as lines. Raises SeedbedError if its dataset cannot be read."""
    output = output_of(task)
    if output is None:
        raise SeedbedError("The task does not say where its dataset is.", f"Look at {task.path}.")
    return [part for line in sentences(describe(output)) for part in wrapped(line, max(width, NARROWEST))]


def length_lines(found: Mapping[str, Any], width: int) -> list[str]:
    """The lengths of rows as lines: a table for each file, and a histogram of all. On narrow screens, figures are listed."""
    made: list[str] = []
    for name, kinds in found["lengths"].items():
        made.append(f"{printable(name)}, in tokens:")
        shown = [kind for kind in _KINDS if kind in kinds]
        table = [["", *_COLUMNS, "trained"], *([_KINDS[kind], *_figures(kinds[kind])] for kind in shown)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        if sum(widths) + 2 * len(widths) - 2 <= width:
            for name, *figures in table:
                cells = (f"{each:>{size}}" for each, size in zip(figures, widths[1:], strict=True))
                made.append("  ".join((f"{name:{widths[0]}}", *cells)))
        else:
            for kind in shown:
                pairs = (f"{name} {value}" for name, value in zip(table[0][1:], _figures(kinds[kind]), strict=True))
                made += [f"{_KINDS[kind]}:", *wrapped("  " + ", ".join(pairs), width)]
        if "all" in kinds:
            made += ["", *_histogram(kinds["all"]["histogram"], found["edges"], width), ""]
    samples = sum(kinds["all"]["samples"] for kinds in found["lengths"].values() if "all" in kinds)
    said = dropped_lines(found["drops"])
    if samples > found["rows"]:
        said.append(
            f"{samples:,} samples of {plural(found['rows'], 'row')}: the chat template leaves out earlier reasoning, so that a "
            "conversation with several answers gives a sample for each of them, with all turns before it."
        )
    return made + [part for line in said for part in wrapped(line, width)]


def _figures(row: Mapping[str, Any]) -> list[str]:
    """The figures of one kind of rows, as in the columns."""
    return [*(f"{row[each]:,}" for each in _COLUMNS), f"{row['trained_tokens'] / max(row['tokens'], 1):.0%}"]


def _histogram(counts: Sequence[int], edges: Sequence[int], width: int) -> Iterator[str]:
    """Bars of the bins, without those before the first and after the last that is not empty."""
    used = [number for number, count in enumerate(counts) if count]
    if not used:
        return
    most, bar = max(counts), max(min(_BAR, width - 30), 8)
    for number in range(used[0], used[-1] + 1):
        label = f"up to {edges[number]:,}" if number < len(edges) else f"over {edges[-1]:,}"
        length = -(-counts[number] * bar // most)
        yield f"  {label:16} {'█' * length}{' ' if length else ''}{counts[number]:,}"


def dropped_lines(counts: Sequence[Sequence[Any]]) -> list[str]:
    """What gave no sample, as lines."""
    return [f"{count:,} not shown: {printable(reason)}" for _, reason, count in counts]


def peeked_heading(row: Mapping[str, Any]) -> str:
    """What a row is and where it came from, on one line."""
    origin = row["provenance"]
    place = [origin[name] for name in ("repository", "path", "commit", "session", "file") if origin.get(name)]
    kind = {"chat": "conversation", "text": "text", "fim": "gap to fill"}[row["kind"]]
    where = printable(" ".join(place[:3]))
    return f"{kind} {row['id'][:8]}, {row['tokens']:,} tokens, {row['trained_tokens']:,} trained: {where}"


def peeked_lines(row: Mapping[str, Any]) -> Iterator[list[tuple[str, bool]]]:
    """The text of a row, cut into lines of parts that are trained or not. Nothing in it can act on a terminal."""
    line: list[tuple[str, bool]] = []
    for text, trained in row["spans"]:
        for number, part in enumerate(text.split("\n")):
            if number:
                yield line
                line = []
            if part:
                line.append((printable(part.expandtabs(4)), trained))
    yield line


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def is_sound(found: Mapping[str, Any]) -> bool:
    """Whether a check found nothing wrong: no row in both parts, and at most one of a hundred answers visible."""
    if not found["is_split"]:
        return True
    return not found["rows_in_both"] and not found["groups_in_both"] and found["rate"] <= _MOST_LEAKED


def check_lines(found: Mapping[str, Any], width: int) -> list[str]:
    """What a check found, as lines of at most `width` characters (at least 40)."""
    return [part for line in _found(found) for part in wrapped(line, max(width, NARROWEST))]


def _found(found: Mapping[str, Any]) -> list[str]:
    rows = ", ".join(f"{plural(count, 'row')} in {printable(name)}" for name, count in found["rows"].items())
    made = [f"The files are unchanged: {rows}."]
    if not found["is_split"]:
        return [*made, "It is not split, so there are no leaks to measure. `seedbed data merge` splits it."]
    if both := found["rows_in_both"]:
        made.append(f"{plural(both, 'row')} of the evaluation part {_is(both)} in the training part, too.")
    if both := found["groups_in_both"]:
        made.append(f"{plural(both, 'evaluation row')} {_is(both)} in groups that have training rows, too.")
    answers, leaked = plural(found["answers"], "evaluation answer"), found["leaked"]
    made.append(f"{leaked:,} of {answers} ({found['rate']:.1%}) {_is(leaked)} more than half visible in training rows.")
    if short := found["too_short"]:
        made.append(f"{plural(short, 'answer')} {_is(short)} too short to be measured.")
    if found["worst"]:
        made.append("The most visible ones:")
        made += [f"  {printable(pair_text(each))}" for each in found["worst"][:5]]
    return made
