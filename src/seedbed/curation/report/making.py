"""The part of a report card on how a dataset was made: its inputs, what was left out and why, and the command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seedbed.curation.report.drawing import Row, bars, card, facts, safe, small, table, thin_bar
from seedbed.curation.report.summary import Reason, Summary
from seedbed.curation.report.wording import number
from seedbed.text import plural

MOST_NOTES = 200
MOST_INPUTS = 50
DEEPEST = 8
_STEPS_OF_ROWS = ("quality", "decontaminate", "deduplicate", "split", "clip")


def left_out(summary: Summary) -> str:
    """What was left out, by reason and with examples, as HTML."""
    content = _reasons(summary.left_out) or '<p class="soft">Nothing was left out.</p>'
    if summary.left_out_before:
        total = sum(each.count for each in summary.left_out_before)
        rows = [[each.step, each.reason, f"{each.count:,}"] for each in summary.left_out_before]
        content += _folded(f"When the inputs were made: {total:,}", table(("Step", "Reason", "Count"), rows, (2,)))
    if summary.notes:
        rows = [[note.step, note.what, f"{note.count:,}"] for note in summary.notes[:MOST_NOTES]]
        content += _folded("Other facts that were counted", table(("Step", "What", "Count"), rows, (2,)))
    return content


def _reasons(reasons: Sequence[Reason]) -> str:
    most = max((each.count for each in reasons), default=0)
    lines = "".join(_reason(each, most) for each in reasons)
    return f'<section class="card">{lines}</section>' if lines else ""


def _folded(title: str, content: str) -> str:
    summary = f"<summary><span>{safe(title)}</span></summary>"
    return f'<section class="card"><details class="plain">{summary}{content}</details></section>'


def _reason(reason: Reason, most: int) -> str:
    examples = "".join(
        f'<div class="example"><div class="where">{safe(each.where)}</div>'
        + (f"<pre>{safe(each.text, newlines=True)}</pre>" if each.text.strip() else "")
        + "</div>"
        for each in reason.examples
    )
    return (
        f'<details><summary><span>{safe(reason.reason)} <span class="step">{safe(reason.step)}</span></span>'
        f'{thin_bar(reason.count / most)}<span class="number">{reason.count:,}</span></summary>{examples}</details>'
    )


def making(summary: Summary) -> str:
    """The command, the inputs and the settings, as HTML."""
    parts = []
    flow = _flow(summary)
    if flow:
        parts.append(card("From inputs to rows", bars(flow)))
    if summary.inputs:
        parts.append(card("Made from", f'<ul class="tree">{"".join(_inputs(summary.inputs))}</ul>'))
    settings = [(name, _value(value)) for name, value in _flat(summary.settings) if value not in (None, "", [], {})]
    if settings:
        parts.append(card("Settings", facts(settings)))
    content = f'<div class="cards">{"".join(parts)}</div>'
    steps = ", ".join(summary.steps)
    rebuilt = (
        f"<pre>{safe(summary.command)}</pre>" if summary.command else '<p class="soft">The command is not known.</p>'
    )
    passed = small(f"Steps that every row passed: {steps}.") if steps else ""
    return f'<section class="card"><h3>Make it again</h3>{rebuilt}{passed}</section>{content}'


def _flow(summary: Summary) -> list[Row]:
    """The rows of each input, those that each step left out, and those that are left; [] if the inputs are not datasets."""
    inputs = [each for each in summary.inputs if isinstance(each.get("rows"), int) and each.get("command")]
    if not inputs or len(inputs) != len(summary.inputs):
        return []
    rows = [Row(str(each.get("name", "")), number(each, "rows"), 0, f"{number(each, 'rows'):,}") for each in inputs]
    dropped: dict[str, int] = {}
    for each in summary.left_out:
        if each.step in _STEPS_OF_ROWS:
            dropped[each.step] = dropped.get(each.step, 0) + each.count
    rows += [Row(f"left out: {step}", count, 0, f"−{count:,}", kind="out") for step, count in dropped.items()]
    names = {"train": "training rows", "eval": "evaluation rows", "records": "rows"}
    for split, amount in summary.contents.splits.items():
        rows.append(Row(names[split], amount.rows, 0, f"{amount.rows:,}", kind="eval" if split == "eval" else ""))
    return rows


def _inputs(inputs: Sequence[Mapping[str, Any]], depth: int = 0) -> Iterator[str]:
    for each in inputs[:MOST_INPUTS]:
        rows = each.get("rows")
        words = [str(each.get("made", "")), plural(rows, "row") if isinstance(rows, int) else ""]
        said = ", ".join(word for word in words if word)
        inner = each.get("inputs")
        below = ""
        if isinstance(inner, list) and inner and depth < DEEPEST:
            below = f"<ul>{''.join(_inputs([one for one in inner if isinstance(one, dict)], depth + 1))}</ul>"
        command = each.get("command")
        typed = f"<pre>{safe(command)}</pre>" if isinstance(command, str) and command else ""
        yield f'<li>{safe(each.get("name", ""))} <span class="soft small">{safe(said)}</span>{typed}{below}</li>'
    if len(inputs) > MOST_INPUTS:
        yield f'<li class="soft">and {len(inputs) - MOST_INPUTS:,} more</li>'


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
