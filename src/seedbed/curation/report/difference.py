"""What differs between two versions of a dataset: rows, splits, counts, reasons and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from seedbed.curation import folder as layout
from seedbed.curation.folder import Description
from seedbed.curation.record import content_id
from seedbed.curation.report.drawing import large
from seedbed.curation.report.summary import Summary
from seedbed.curation.report.terminal import NARROWEST, cells, filled, wrapped
from seedbed.curation.report.wording import DIMENSIONS, KINDS, by_rule, mappings, number
from seedbed.text import listed, plural, printable

ID_BYTES = 8
_SPLITS = {layout.TRAIN: "train", layout.EVAL: "eval", layout.RECORDS: "records"}
MOST_LINES = 12
MIXES = ("Turns", "Tool calls", "How gaps were chosen", "Order of the parts of gaps", "Values redacted")
"""What is counted within rows, by title."""


class Change(msgspec.Struct, kw_only=True, frozen=True):
    """A count that differs between the versions."""

    name: str
    before: int
    after: int


class Difference(msgspec.Struct, kw_only=True):
    """What differs between two versions of a dataset."""

    before: str
    """The name of the first version."""
    after: str
    same_rows: bool
    """Whether both have the same rows in the same order."""
    kept: int
    """Rows that both have."""
    added: int
    removed: int
    moved: dict[str, int]
    """Rows that both have in another split: `train to eval` -> how many."""
    counts: list[Change]
    """Rows, evaluation rows, characters, what was left out and redacted, leaks, duplicates and items of evaluation sets."""
    lengths: list[Change]
    """Quantiles of the characters of a row."""
    by: dict[str, list[Change]]
    """Rows by dimension, the largest changes first."""
    mixes: dict[str, list[Change]]
    """Turns, tool calls, gaps and redactions, by what they are, the largest changes first."""
    tokens: list[Change]
    """What was measured with the same tokenizer, context and loss for both; [] if it was not."""
    fill: tuple[float, float] | None
    """The pack fill of both, 0 to 1, where `tokens` are compared."""
    not_compared: str
    """Why tokens are not compared; "" if they are, or if neither version has them."""
    times: tuple[str, str] | None
    """From when to when the rows of both were made, if these differ."""
    left_out: list[Change]
    settings: list[tuple[str, str, str]]
    """Settings that differ, with both values."""
    settings_of_one: int
    """Settings that only one of the two has, since it is of another kind; they are not among `settings`."""


def difference(first: tuple[Path, Description, Summary], second: tuple[Path, Description, Summary]) -> Difference:
    """Compare two datasets, each given as its folder, its description and its summary.

    Rows are compared by their content: about 100 bytes of memory for each row of both. Raises SeedbedError if a row cannot be
    read.
    """
    before, after = _ids(*first[:2]), _ids(*second[:2])
    moved: dict[str, int] = {}
    kept = 0
    for row, split in after.items():
        if row in before:
            kept += 1
            if before[row] != split:
                name = f"{before[row]} to {split}"
                moved[name] = moved.get(name, 0) + 1
    old, new = first[2], second[2]
    # Copies and earlier builds of one dataset have the same name: the folders tell them apart.
    names = (old.name, new.name) if old.name != new.name else (str(first[0]), str(second[0]))
    why, spans = _not_compared(old, new, names), (_span(old), _span(new))
    return Difference(
        before=names[0],
        after=names[1],
        same_rows=first[1].fingerprint == second[1].fingerprint,
        kept=kept,
        added=len(after) - kept,
        removed=len(before) - kept,
        moved=dict(sorted(moved.items())),
        counts=[
            *(each for each in _changes(_totals(old), _totals(new)) if each.before or each.after),
            *_largest(_changes(_found(old), _found(new))),
        ],
        lengths=[each for each in _changes(_quantiles(old), _quantiles(new)) if each.before != each.after],
        mixes={title: found for title in MIXES if (found := _largest(_changes(_mix(old, title), _mix(new, title))))},
        tokens=_changes(_measured(old), _measured(new)) if not why and old.tokens and new.tokens else [],
        fill=(old.tokens.fitted.fill, new.tokens.fitted.fill) if not why and old.tokens and new.tokens else None,
        not_compared=why,
        times=spans if spans[0] != spans[1] else None,
        by={
            name: found
            for name in DIMENSIONS
            if (found := _largest(_changes(_rows_by(old, name), _rows_by(new, name))))
        },
        left_out=_largest(_changes(_reasons(old), _reasons(new))),
        settings=_settings(old.settings, new.settings),
        settings_of_one=len(_of_one(old.settings, new.settings)),
    )


def _ids(folder: Path, description: Description) -> dict[bytes, str]:
    """The content of each row, hashed, and its split. Rows of equal content count once."""
    found: dict[bytes, str] = {}
    for name, split in _SPLITS.items():
        if name in description.files:
            for record in layout.read_rows(folder, name):
                found[bytes.fromhex(content_id(record)[: 2 * ID_BYTES])] = split
    return found


def _totals(summary: Summary) -> dict[str, int]:
    splits = summary.contents.splits
    return {
        "rows": summary.rows,
        "evaluation rows": splits["eval"].rows if "eval" in splits else 0,
        "characters": summary.characters,
        "trained characters": summary.trained,
        "left out": sum(each.count for each in summary.left_out),
        "values redacted": sum(values for values, _ in summary.contents.redactions.values()),
    }


def _found(summary: Summary) -> dict[str, int]:
    """What was found of leaks, duplicates and evaluation sets. What a version has not looked for counts as 0."""
    facts = summary.facts
    leakage, duplicates = (
        each if isinstance(each := facts.get(name), dict) else {} for name in ("leakage", "duplicates")
    )
    sets = mappings(facts, "evaluation_sets")
    return {
        "groups": number(leakage, "groups"),
        "evaluation answers measured": number(leakage, "answers"),
        "evaluation answers that leak": number(leakage, "leaked"),
        "exact duplicates": number(duplicates, "exact"),
        "near duplicates": number(duplicates, "near"),
        "rows in clusters of near duplicates": summary.contents.clustered_rows,
        "items of evaluation sets compared": sum(number(each, "items") for each in sets),
        "items of evaluation sets repeated": sum(number(each, "repeated") for each in sets),
        "rows left out for them": sum(number(each, "dropped") for each in sets),
    }


def _quantiles(summary: Summary) -> dict[str, int]:
    found = summary.contents.lengths
    return {
        "median": found.p50,
        "90 of 100 at most": found.p90,
        "99 of 100 at most": found.p99,
        "longest": found.largest,
    }


def _mix(summary: Summary, title: str) -> dict[str, int]:
    contents = summary.contents
    found: dict[str, dict[str, int]] = {
        "Turns": contents.conversations.turns,
        "Tool calls": contents.conversations.tool_calls,
        "How gaps were chosen": contents.gaps.spans,
        "Order of the parts of gaps": contents.gaps.orders,
        "Values redacted": by_rule({rule: values for rule, (values, _) in contents.redactions.items()}),
    }
    return found[title]


def _not_compared(old: Summary, new: Summary, names: tuple[str, str]) -> str:
    """Why the tokens of two versions cannot be compared; "" if they can, or if neither has them."""
    if old.tokens is None and new.tokens is None:
        return ""
    if old.tokens is None or new.tokens is None:
        which = names[0] if old.tokens is None else names[1]
        return f"the tokens of {which} were not measured"
    for what, first, second in (
        ("tokenizers", old.tokens.tokenizer, new.tokens.tokenizer),
        ("contexts", old.tokens.fitted.context, new.tokens.fitted.context),
        ("settings of data.loss", old.tokens.loss, new.tokens.loss),
    ):
        if first != second:
            return f"their tokens were measured with different {what}"
    return ""


def _measured(summary: Summary) -> dict[str, int]:
    found = summary.tokens
    assert found is not None
    fitted = found.fitted
    return {
        "tokens": found.tokens,
        "trained tokens": found.trained,
        "samples": sum(each.samples for each in found.splits.values()),
        "rows that fit whole": fitted.whole,
        "texts cut into pieces": fitted.cut,
        "rows shortened": fitted.clipped,
        "rows without a sample": fitted.left_out,
        "packed rows": fitted.packed_rows,
        "median tokens of a row": found.lengths.p50,
        "longest row in tokens": found.lengths.largest,
        "templates refused": sum(bool(each.problem) for each in found.templates),
    }


def _span(summary: Summary) -> str:
    time = summary.contents.time
    return f"{time.first[:10]} to {time.last[:10]}" if time else "not known"


def _rows_by(summary: Summary, dimension: str) -> dict[str, int]:
    return {each.name: each.amount.rows for each in summary.contents.by.get(dimension, [])}


def _reasons(summary: Summary) -> dict[str, int]:
    return {f"{each.reason} ({each.step})": each.count for each in summary.left_out}


def _changes(before: Mapping[str, int], after: Mapping[str, int]) -> list[Change]:
    names = [*before, *(name for name in after if name not in before)]
    return [Change(name=name, before=before.get(name, 0), after=after.get(name, 0)) for name in names]


def _largest(changes: list[Change]) -> list[Change]:
    changed = [each for each in changes if each.before != each.after]
    return sorted(changed, key=lambda each: (-abs(each.after - each.before), each.name))


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        (name, old.get(name, "(not set)"), new.get(name, "(not set)"))
        for name in sorted({*old, *new} - _of_one(before, after))
        if old.get(name) != new.get(name)
    ]


def _of_one(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The settings of tables that only one version has: it is of another kind."""
    return {
        name for one, other in ((before, after), (after, before)) for name, _ in _flat(one) if _table(name) not in other
    }


def _table(name: str) -> str:
    return name.partition(".")[0]


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, "none" if value is None or value in ("", [], ()) else str(value)


def difference_lines(found: Difference, width: int = 80) -> list[str]:
    """A difference in lines of at most `width` characters (at least NARROWEST)."""
    width = max(width, NARROWEST)
    made = [f"{printable(found.before)} -> {printable(found.after)}"]
    if found.same_rows:
        made.append("Both have the same rows in the same order.")
    else:
        made.append(f"Rows: {found.kept:,} in both, {found.added:,} added, {found.removed:,} removed")
    made += [f"  {count:,} moved from {name}" for name, count in found.moved.items()]
    if found.times:
        made.append(f"Made: {printable(found.times[0])} -> {printable(found.times[1])}")
    made += _block("", found.counts, width)
    made += _block("Characters of a row", found.lengths, width)
    made += _block("Tokens", found.tokens, width)
    if found.fill:
        made.append("  pack fill: " + " -> ".join(f"{int(fill * 10_000) / 100:.2f} %" for fill in found.fill))
    if found.not_compared:
        made += ["", f"Tokens are not compared: {printable(found.not_compared)}."]
    for name, changes in found.by.items():
        made += _block(DIMENSIONS[name], changes, width)
    for title, changes in found.mixes.items():
        made += _block(title, changes, width)
    made += _block("Left out", found.left_out, width)
    if found.settings:
        made += ["", "Settings"]
        made += [
            f"  {printable(name)}: {printable(old)} -> {printable(new)}"
            for name, old, new in found.settings[:MOST_LINES]
        ]
        if len(found.settings) > MOST_LINES:
            made.append(f"  and {listed([name for name, _, _ in found.settings[MOST_LINES:]])}")
    if found.settings_of_one:
        count = plural(found.settings_of_one, "setting")
        made += ["", f"The two are of different kinds: {count} that only one of them can have, not shown."]
    return [part for line in made for part in wrapped(line, width)]


def _block(title: str, changes: list[Change], width: int) -> list[str]:
    """Names and counts in columns; where there is no room for that, each name stands above its counts."""
    if not changes:
        return []
    shown = changes[:MOST_LINES]
    names = [printable(KINDS.get(each.name, each.name)) for each in shown]
    values = [(large(each.before), large(each.after), f"{each.after - each.before:+,}") for each in shown]
    widths = [max(len(value[place]) for value in values) for place in range(3)]
    counts = [f"{old:>{widths[0]}} -> {new:>{widths[1]}}  {change:>{widths[2]}}" for old, new, change in values]
    name_width = max(map(cells, names))
    made = ["", *([title] if title else [])]
    for name, count in zip(names, counts, strict=True):
        if name_width + len(count) + 4 <= width:
            made.append(f"  {filled(name, name_width)}  {count}")
        else:
            made += [f"  {name}", f"    {count.strip()}"]
    rest = len(changes) - len(shown)
    return [*made, f"  and {rest:,} more"] if rest > 0 else made
