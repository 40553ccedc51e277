"""What a task has made, as sentences."""

from __future__ import annotations

from seedbed.curation.drops import Drops
from seedbed.curation.evaluation_sets import SKIPPED
from seedbed.curation.folder import EVAL, Description
from seedbed.curation.report.wording import leakage_messages
from seedbed.text import listed, plural, size


def sentences(description: Description) -> list[str]:
    """What was made, as sentences."""
    rows = sum(each.rows for each in description.files.values())
    total = sum(each.size_bytes for each in description.files.values())
    drops = Drops.from_json(description.drops)
    evaluated = f", {description.files[EVAL].rows:,} of them for evaluation" if EVAL in description.files else ""
    lines = [f"{description.name}: {plural(rows, 'row')}{evaluated}, {size(total)}."]
    if drops.total:
        lines.append(f"Left out: {most_frequent(drops)}.")
    notes = [(what, count) for (_, what), count in drops.notes.items() if what.startswith(SKIPPED)]
    if skipped := [f"{what.removeprefix(SKIPPED)} ({count:,})" for what, count in notes]:
        lines.append(f"Not compared with the rows: {listed(skipped, 3)}.")
    if description.made != "clip":
        lines += leakage_messages(description.facts)
    clipped = description.settings.get("clip") if description.made == "clip" else None
    if isinstance(clipped, dict) and clipped.get("most_tokens"):
        lines.append(f"In a training from that model, every row fits with --context {clipped['most_tokens']}.")
    return lines


def most_frequent(drops: Drops, most: int = 6) -> str:
    """The most frequent reasons, each with its count in brackets, and with those of its steps if it has several."""
    steps: dict[str, dict[str, int]] = {}
    for (step, reason), count in drops.counts.most_common():
        steps.setdefault(reason, {})[step] = count
    order = sorted(steps, key=lambda reason: -sum(steps[reason].values()))
    reasons = [f"{reason} ({_counted(steps[reason])})" for reason in order[:most]]
    rest = len(order) - most
    return "; ".join(reasons) + (f"; {plural(rest, 'other reason')}" if rest > 0 else "")


def _counted(steps: dict[str, int]) -> str:
    """How often each step left something out for one reason; the steps are named if there are several."""
    if len(steps) == 1:
        return f"{sum(steps.values()):,}"
    return ", ".join(f"{count:,} in {step}" for step, count in steps.items())
