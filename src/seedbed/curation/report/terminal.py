"""The report card as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from seedbed.curation.report.drawing import large, percent, power_of_two
from seedbed.curation.report.page import CHARACTERS_PER_TOKEN, DIMENSIONS, KINDS
from seedbed.curation.report.summary import Summary
from seedbed.curation.report.tally import Lengths, Share
from seedbed.text import count, plural, printable, size

MOST_LINES = 8
"""Lines of one part."""
NARROWEST = 40
LONGEST_BAR = 40
_BAR = "━"


class _Line(NamedTuple):
    name: str
    number: int
    beside: str


def lines(summary: Summary, width: int = 80) -> list[str]:
    """The report card in lines of at most `width` characters (at least NARROWEST), without colours."""
    width = max(width, NARROWEST)
    made = [part for line in _head(summary) for part in wrapped(line, width)]
    for title, rows in _parts(summary):
        made += ["", *wrapped(title, width), *_bars(rows, width)]
    made += ["", *(part for line in _foot(summary) for part in wrapped(line, width))]
    return made


def _head(summary: Summary) -> Iterator[str]:
    yield f"{printable(summary.name)}: {plural(summary.rows, 'row')}, {size(summary.size_bytes)}"
    names = {"train": "for training", "eval": "for evaluation", "records": "not split yet"}
    yield ", ".join(f"{amount.rows:,} {names[name]}" for name, amount in summary.contents.splits.items())
    tokens = count(summary.characters / CHARACTERS_PER_TOKEN)
    trained = percent(summary.trained, summary.characters)
    yield f"{count(summary.characters)} characters, about {tokens} tokens; {trained} of the text is trained"
    time = summary.contents.time
    if time:
        yield f"made from {printable(time.first[:10])} to {printable(time.last[:10])}"
    leakage = summary.facts.get("leakage")
    if isinstance(leakage, dict):
        yield f"{leakage.get('leaked', 0):,} of {leakage.get('answers', 0):,} evaluation answers visible in training rows"


def _parts(summary: Summary) -> Iterator[tuple[str, list[_Line]]]:
    contents = summary.contents
    for name, title in DIMENSIONS.items():
        shares = contents.by.get(name, [])
        if shares and not (len(shares) == 1 and shares[0].name.startswith("(")):
            yield title, _shares(shares, summary.rows)
    if contents.lengths.bars:
        yield (
            f"Characters of a row (median {contents.lengths.p50:,}, longest {contents.lengths.largest:,})",
            list(_histogram(contents.lengths)),
        )
    if contents.conversations.tool_calls:
        yield "Tool calls", _counted(contents.conversations.tool_calls)
    if contents.gaps.spans:
        yield "How gaps were chosen", _counted(contents.gaps.spans)
    if contents.redactions:
        values = {rule: found for rule, (found, _) in contents.redactions.items()}
        yield "Secrets and personal data replaced", _counted(values)
    if summary.left_out:
        total = sum(each.count for each in summary.left_out)
        rows = [_Line(f"{each.reason} ({each.step})", each.count, "") for each in summary.left_out]
        yield f"Left out: {total:,}", _limited(rows)


def _foot(summary: Summary) -> Iterator[str]:
    if summary.command:
        yield "Make it again:"
        yield f"  {printable(summary.command)}"
    yield "All of it: report.html, and rejects/ for what was left out"


def _shares(shares: Sequence[Share], total: int) -> list[_Line]:
    rows = [
        _Line(KINDS.get(each.name, each.name), each.amount.rows, percent(each.amount.rows, total)) for each in shares
    ]
    return _limited(rows)


def _counted(values: Mapping[str, int]) -> list[_Line]:
    total = sum(values.values())
    return _limited([_Line(name, number, percent(number, total)) for name, number in values.items()])


def _limited(rows: list[_Line]) -> list[_Line]:
    if len(rows) <= MOST_LINES:
        return rows
    rest = rows[MOST_LINES - 1 :]
    return [*rows[: MOST_LINES - 1], _Line(f"{len(rest):,} others", sum(each.number for each in rest), "")]


def _histogram(lengths: Lengths) -> Iterator[_Line]:
    total = sum(bar.train + bar.evaluated for bar in lengths.bars)
    for bar in lengths.bars:
        number = bar.train + bar.evaluated
        yield _Line(f"from {power_of_two(bar.low)}", number, percent(number, total))


def _bars(rows: Sequence[_Line], width: int) -> list[str]:
    """Names, bars and numbers in columns; names get at most two fifths of the width, and longer ones lines of their own."""
    names = [printable(each.name) for each in rows]
    numbers = [large(each.number) for each in rows]
    name_width = min(max(map(cells, names), default=0), width * 2 // 5)
    number_width = max(map(len, numbers), default=0)
    beside_width = max((len(each.beside) for each in rows), default=0)
    bar_width = min(max(width - name_width - number_width - beside_width - 8, 0), LONGEST_BAR)
    most = max((each.number for each in rows), default=0) or 1
    made = []
    for row, name, number in zip(rows, names, numbers, strict=True):
        bar = _BAR * max(round(row.number / most * bar_width), 1 if row.number else 0)
        if cells(name) > name_width:
            made += wrapped(f"  {name}", width)
            name = ""
        line = (
            f"  {filled(name, name_width)}  {bar[:bar_width]:<{bar_width}}  "
            f"{number:>{number_width}}  {row.beside:>{beside_width}}"
        )
        made.append(line.rstrip())
    return made


def cells(text: str) -> int:
    """How many columns a text takes: wide characters take two, combining ones none."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def filled(text: str, width: int) -> str:
    """A text filled with spaces to `width` columns."""
    return text + " " * (width - cells(text))


def wrapped(text: str, width: int) -> list[str]:
    """A line as lines of at most `width` columns, cut at spaces, and within words that are longer. All begin as it begins."""
    if cells(text) <= width:
        return [text]
    begin = text[: len(text) - len(text.lstrip(" "))]
    made, line = [], begin
    for word in text.split():
        joined = line + (" " if line != begin else "") + word
        if cells(joined) <= width:
            line = joined
            continue
        if line != begin:
            made.append(line)
        line = begin + word
        while cells(line) > width:
            part = line
            while cells(part) > width:
                part = part[:-1]
            made.append(part)
            line = begin + line[len(part) :]
    return [*made, line]
