"""The results of an evaluation as text: a table of models, the differences between them, and what to know about them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import msgspec

from seedbed import text
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import read_json
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of

FORMAT = 1
"""The newest format of results that this version can read."""
_UNKNOWN = "-"
_SCHEMES = ("text:", "hf:")
"""The beginnings of the names of texts that are kept when a name is cut."""
_LEAST_NAME = 16
"""The least width of a column of names, in characters."""
_WANTED = (
    "Give a file that `seedbed evaluate` wrote with --output or printed with --json, or the name of an evaluation."
)


class _Data(msgspec.Struct):
    """The text of an evaluation, in its results."""

    name: str
    split: str
    documents: int
    bytes: int


class _Method(msgspec.Struct):
    """How the intervals were computed."""

    confidence: float
    resamples: int
    unit: str
    units: int


class _Model(msgspec.Struct):
    """The row of a model. Numbers that are infinite are None, and so are the ends of an interval that is not known."""

    name: str
    parameters: int
    tokens: int
    loss: float | None
    perplexity: float | None
    bits_per_byte: float
    bits_per_byte_low: float | None
    bits_per_byte_high: float | None
    prefix: list[int] = []


class _Difference(msgspec.Struct):
    """The difference of two models, A - B."""

    a: str
    b: str
    bits_per_byte: float
    bits_per_byte_low: float | None
    bits_per_byte_high: float | None
    a_better: float | None


class _Results(msgspec.Struct):
    """What the texts of this module need of results; there is more in them."""

    data: _Data
    method: _Method
    models: Annotated[list[_Model], msgspec.Meta(min_length=1)]
    differences: list[_Difference]
    notes: list[str]


def read_results(task: RunDir) -> dict[str, Any]:
    """The results of a completed evaluation. Raises SeedbedError if they are missing, broken or too new."""
    output = output_of(task)
    found = _results_of(output, read_json(output)) if output is not None else None
    if found is None:
        raise SeedbedError(
            f"The results of {task.id} are missing: {text.quoted(output)} was moved, deleted or edited.",
            "Restore the file, or evaluate again.",
        )
    return found


def results_in(path: Path) -> dict[str, Any]:
    """The results of an evaluation in a JSON file. Raises UsageError if it has none, SeedbedError if they are too new."""
    try:
        parsed = read_json(path)
    except SeedbedError as error:
        raise UsageError(error.message, _WANTED) from error
    found = _results_of(path, parsed)
    if found is None:
        raise UsageError(f"{text.quoted(path)} does not have the results of an evaluation.", _WANTED)
    return found


def _results_of(path: Path, found: Any) -> dict[str, Any] | None:
    """The results that were parsed from a file; None if it has something else. Raises SeedbedError if they are too new."""
    if not isinstance(found, dict):
        return None
    version = found.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise SeedbedError(f"{text.quoted(path)} was made by a newer version of Seedbed.", "Update Seedbed.")
    try:
        msgspec.convert(found, _Results)
    except msgspec.ValidationError:
        return None
    return found


def summary(task: RunDir, columns: int) -> list[str]:
    """The results of a completed evaluation as lines of at most `columns` characters, if that is at least 40."""
    return lines(read_results(task), columns)


def lines(found: dict[str, Any], columns: int = 80) -> list[str]:
    """Results as lines: what was evaluated, the table of models, differences of pairs, notes."""
    shown = [*_heading(found["data"], found["method"]["unit"], columns), "", *_models(found["models"], columns)]
    if found["differences"]:
        shown += [
            "",
            *textwrap.wrap("Differences in bits per byte (A - B; below 0: A is better)", columns),
            *_differences(found["differences"], columns),
        ]
    shown.append("")
    method = found["method"]
    if found["models"][0]["bits_per_byte_low"] is not None:
        units = text.plural(method["units"], method["unit"])
        shown += textwrap.wrap(
            f"Intervals: {method['confidence']:.0%}, from {method['resamples']:,} resamples of {units}.", columns
        )
    for note in found["notes"]:
        shown += textwrap.wrap(text.printable(note), columns)
    return shown


def _heading(data: dict[str, Any], unit: str, columns: int) -> list[str]:
    """What was evaluated: the text, its split and its size. `unit`: that of the intervals; rows are named by it."""
    name = text.printable(data["name"])
    what = "row" if unit == "row" else "document"
    size = f"({data['split']}): {text.plural(data['documents'], what)}, {text.size(data['bytes'])}"
    if len(name) + 1 + len(size) <= columns:
        return [f"{name} {size}"]
    scheme = next((each for each in _SCHEMES if name.startswith(each)), "")
    shortened = scheme + text.shorten_start(name.removeprefix(scheme), columns - len(scheme))
    return [shortened, *textwrap.wrap(size, columns)]


def _models(models: Sequence[dict[str, Any]], columns: int) -> list[str]:
    header = ["MODEL", "PARAMS", "TOKENS", "LOSS", "PERPLEXITY", "BITS PER BYTE"]
    rows = [
        [
            text.printable(each["name"]),
            text.count(each["parameters"]),
            text.count(each["tokens"]),
            text.loss(each["loss"]),
            _perplexity(each["perplexity"]),
            with_margin(each["bits_per_byte"], each["bits_per_byte_low"], each["bits_per_byte_high"]),
        ]
        for each in models
    ]
    return _table(header, rows, columns)


def _differences(differences: Sequence[dict[str, Any]], columns: int) -> list[str]:
    header = ["A", "B", "A - B", "95 % INTERVAL", "A BETTER"]
    rows = []
    for each in differences:
        low, high = each["bits_per_byte_low"], each["bits_per_byte_high"]
        interval = f"{low:+.4f} to {high:+.4f}" if low is not None else _UNKNOWN
        share = f"{each['a_better']:.1%}" if each["a_better"] is not None else _UNKNOWN
        rows.append(
            [text.printable(each["a"]), text.printable(each["b"]), f"{each['bits_per_byte']:+.4f}", interval, share]
        )
    return _table(header, rows, columns, names=2)


def with_margin(value: float, low: float | None, high: float | None) -> str:
    """A value with half the width of its interval, such as `0.8912 ± 0.0103`; the value alone without an interval."""
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} ± {(high - low) / 2:.4f}"


def _perplexity(value: float | None) -> str:
    if value is None:
        return "infinite"
    return f"{value:,.2f}" if value < 1e5 else text.count(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int, names: int = 1) -> list[str]:
    """The lines of a table. The first `names` columns are names, which are folded if the table is too wide; others are numbers.

    If names would have less than `_LEAST_NAME` characters, each row becomes lines of a label and a value, so that nothing is
    left out.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = (columns - 2 * (len(widths) - 1) - sum(widths[names:])) // names
    if room < min(_LEAST_NAME, *widths[:names]):
        return _as_lines(header, rows, columns)
    for index in range(names):
        widths[index] = min(widths[index], room)
    shown = []
    for row in (header, *rows):
        folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*folded, fillvalue=""):
            cells = [
                cell.ljust(width) if index < names else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            shown.append("  ".join(cells).rstrip())
    return shown


def _as_lines(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """The rows of a table that is too wide for the terminal: a line for each value, after the header of its column."""
    indent = max(map(len, header)) + 2
    shown: list[str] = []
    for row in rows:
        shown += [""] if shown else []
        for label, cell in zip(header, row, strict=True):
            first, *others = _folded(cell, max(columns - indent, 1))
            shown += [f"{label:<{indent}}{first}", *(" " * indent + other for other in others)]
    return shown


def _folded(cell: str, width: int) -> list[str]:
    """A text in lines of at most `width` characters, at least one."""
    return textwrap.wrap(cell, width) or [""]
