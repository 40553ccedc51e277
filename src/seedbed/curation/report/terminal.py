"""The report card as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from seedbed.curation.report.drawing import large, percent, power_of_two
from seedbed.curation.report.measured import Measured
from seedbed.curation.report.summary import Summary
from seedbed.curation.report.tally import Lengths, Share
from seedbed.curation.report.wording import (
    CHARACTERS_PER_TOKEN,
    DIMENSIONS,
    KINDS,
    by_rule,
    leakage_messages,
    mappings,
    number,
    pair_text,
)
from seedbed.text import count, listed, plural, printable, size

MOST_LINES = 8
"""Lines of one part."""
NARROWEST = 40
LONGEST_BAR = 40
MOST_REASONS = 3
_BAR = "━"
_DUPLICATES = {"exact": "exact duplicates", "near": "near duplicates", "clustered": "rows in clusters of them"}


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
    measured = summary.tokens
    if measured is None:
        tokens = count(summary.characters / CHARACTERS_PER_TOKEN)
        trained = percent(summary.trained, summary.characters)
        yield f"{count(summary.characters)} characters, about {tokens} tokens; {trained} of the text is for the model to write"
    else:
        trained = percent(measured.trained, measured.tokens)
        yield f"{count(summary.characters)} characters, {count(measured.tokens)} tokens; {trained} of them are trained"
    time = summary.contents.time
    if time:
        yield f"made from {printable(time.first[:10])} to {printable(time.last[:10])}"
    yield from _independence(summary)
    if measured is not None:
        yield from _tokens(measured)


def _independence(summary: Summary) -> Iterator[str]:
    """What evaluation answers and evaluation sets have in common with the rows."""
    leakage = summary.facts.get("leakage")
    if not isinstance(leakage, dict):
        return
    yield f"{number(leakage, 'leaked'):,} of {number(leakage, 'answers'):,} evaluation answers visible in training rows"
    for each in mappings(leakage, "worst")[:1]:
        yield f"the most visible one: {printable(pair_text(each))}"
    yield from map(printable, leakage_messages(summary.facts))
    for each in mappings(summary.facts, "evaluation_sets"):
        yield (
            f"{number(each, 'repeated'):,} of {plural(number(each, 'items'), 'item')} of {printable(str(each.get('name', '')))} "
            f"repeated; left out for it: {plural(number(each, 'dropped'), 'row')}"
        )


def _tokens(found: Measured) -> Iterator[str]:
    """What was measured with a tokenizer."""
    fitted = found.fitted
    fates = [
        (fitted.whole, "whole"),
        (fitted.cut, "cut into pieces"),
        (fitted.clipped, "shortened"),
        (fitted.left_out, "left out"),
    ]
    said = ", ".join(f"{rows:,} {what}" for rows, what in fates if rows)
    yield f"at a context of {fitted.context:,} tokens of {printable(found.model)}: {said}"
    yield f"{plural(fitted.packed_rows, 'packed row')}, {int(fitted.fill * 10_000) / 100:.2f} % full"
    for reason, rows in fitted.drops[:MOST_REASONS]:
        yield f"  {printable(reason)}: {rows:,}"
    for each in found.templates:
        if each.problem:
            yield f"chat template refused for {printable(each.name)}: {printable(each.problem)}"
        else:
            agreeing = [name for name, agrees in each.strategies.items() if agrees]
            yield f"chat template ({printable(each.name)}): {listed(agreeing)} find the same tokens of the assistant"


def _parts(summary: Summary) -> Iterator[tuple[str, list[_Line]]]:
    contents = summary.contents
    for name, title in DIMENSIONS.items():
        shares = contents.by.get(name, [])
        if shares and not (len(shares) == 1 and shares[0].name.startswith("(")):
            yield title, _shares(name, shares, summary)
    if summary.tokens is not None and summary.tokens.lengths.bars:
        tokens = summary.tokens.lengths
        yield f"Tokens of a row (median {tokens.p50:,}, longest {tokens.largest:,})", list(_histogram(tokens))
    elif contents.lengths.bars:
        yield (
            f"Characters of a row (median {contents.lengths.p50:,}, longest {contents.lengths.largest:,})",
            list(_histogram(contents.lengths)),
        )
    if contents.conversations.tool_calls:
        yield "Tool calls", _counted(contents.conversations.tool_calls)
    if contents.gaps.spans:
        yield "How gaps were chosen", _counted(contents.gaps.spans)
    duplicates = summary.facts.get("duplicates")
    if isinstance(duplicates, dict):
        found = {name: number(duplicates, name) for name in ("exact", "near", "clustered")}
        yield (
            f"Duplicates among {plural(number(duplicates, 'records'), 'row')}",
            [
                _Line(_DUPLICATES[name], rows, percent(rows, number(duplicates, "records")))
                for name, rows in found.items()
            ],
        )
    if contents.redactions:
        values = {rule: found for rule, (found, _) in contents.redactions.items()}
        yield "Secrets and personal data replaced", _counted(by_rule(values))
    if summary.left_out:
        total = sum(each.count for each in summary.left_out)
        rows = [_Line(f"{each.reason} ({each.step})", each.count, "") for each in summary.left_out]
        yield f"Left out: {total:,}", _limited(rows)


def _foot(summary: Summary) -> Iterator[str]:
    if summary.command:
        yield "Make it again:"
        yield f"  {printable(summary.command)}"
    yield "All of it: report.html, and rejects/ for what was left out"


def _shares(dimension: str, shares: Sequence[Share], summary: Summary) -> list[_Line]:
    """Rows by name, with their tokens if these were measured, else with their share of all rows."""
    tokens = summary.tokens.by.get(dimension, {}) if summary.tokens is not None else None
    rows = []
    for each in shares:
        beside = percent(each.amount.rows, summary.rows)
        if tokens is not None:
            beside = f"{count(tokens[each.name].tokens)} tokens" if each.name in tokens else ""
        rows.append(_Line(KINDS.get(each.name, each.name), each.amount.rows, beside))
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
        rows = bar.train + bar.evaluated
        yield _Line(f"from {power_of_two(bar.low)}", rows, percent(rows, total))


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
    for row, name, shown in zip(rows, names, numbers, strict=True):
        bar = _BAR * max(round(row.number / most * bar_width), 1 if row.number else 0)
        if cells(name) > name_width:
            made += wrapped(f"  {name}", width)
            name = ""
        line = (
            f"  {filled(name, name_width)}  {bar[:bar_width]:<{bar_width}}  "
            f"{shown:>{number_width}}  {row.beside:>{beside_width}}"
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
