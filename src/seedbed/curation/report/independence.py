"""The part of a report card on evaluation: answers that training rows show, and items of evaluation sets that rows repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.curation.report.drawing import Check, card, facts, percent, safe, small, table
from seedbed.curation.report.summary import Summary
from seedbed.curation.report.wording import LEVELS, MOST_LEAKED, leakage_messages, mappings, number
from seedbed.text import plural, shorten

WORST = 3
EXCERPT = 160
MOST_ITEMS = 8


def leakage_check(summary: Summary) -> Check | None:
    """Whether evaluation answers are visible in training rows; None before the split."""
    found = summary.facts.get("leakage")
    if not isinstance(found, dict):
        return None
    leaked, answers = number(found, "leaked"), number(found, "answers")
    if not answers:
        return Check("Evaluation answers in training", None, "No evaluation answer is long enough to be measured.")
    sentence = f"{leaked:,} of {answers:,} evaluation answers are more than half visible in training rows (13 tokens or words)."
    return Check("Evaluation answers in training", leaked <= MOST_LEAKED * answers, sentence)


def sets_check(summary: Summary) -> Check | None:
    """Whether rows repeat items of evaluation sets; None if the dataset is no merge, which alone compares with sets."""
    if summary.facts.get("leakage") is None:
        return None
    title = "Public evaluation sets"
    sets = mappings(summary.facts, "evaluation_sets")
    if not sets:
        return Check(
            title,
            None,
            "Not compared with any. `seedbed data merge --against FILE` leaves out rows that repeat its items.",
        )
    items, dropped = sum(number(each, "items") for each in sets), sum(number(each, "dropped") for each in sets)
    repeated = sum(number(each, "repeated") for each in sets)
    if not dropped:
        return Check(title, True, f"No row repeats any of {plural(items, 'item')} of {plural(len(sets), 'set')}.")
    was = "was" if dropped == 1 else "were"
    return Check(
        title, True, f"{plural(dropped, 'row')} that repeated {repeated:,} of {plural(items, 'item')} {was} left out."
    )


def independence(summary: Summary) -> str:
    """The cards on how rows were kept apart and on evaluation sets, as HTML; "" before the split."""
    found = summary.facts.get("leakage")
    if not isinstance(found, dict):
        return ""
    before, answers_before = number(found, "leaked_before"), number(found, "answers_before")
    pairs = [
        (
            "Groups that stay together",
            f"{number(found, 'groups'):,}, the largest with {plural(number(found, 'largest_group'), 'row')}",
        ),
        ("What ties rows together", LEVELS.get(str(found.get("level")), "")),
        ("Visible in the first choice", f"{before:,} of {answers_before:,} answers; then groups were joined or moved"),
        (
            "Groups joined, rows moved to training",
            f"{number(found, 'joined_groups'):,} and {number(found, 'returned_rows'):,}",
        ),
        ("Rows that earlier versions evaluated", f"{number(found, 'old_rows'):,}"),
        ("Answers too short to be measured", f"{number(found, 'too_short'):,}"),
    ]
    messages = "".join(map(small, leakage_messages(summary.facts)))
    cards = card("How rows were kept apart", facts(pairs) + messages, wide=True)
    worst = mappings(found, "worst")[:WORST]
    if worst:
        cards += card("The most visible answers", "".join(map(_pair, worst)), wide=True)
    return cards + _sets(summary)


def _pair(pair: Mapping[str, Any]) -> str:
    share = float(pair.get("share", 0))
    alone = float(pair.get("train_share", share))
    most = f"training rows, {alone:.0%} in " if alone < share else ""
    return (
        f'<div class="pair"><b>{share:.0%}</b><p>of an answer of <code>{safe(pair.get("eval_row", ""))}</code> is in '
        f"{most}<code>{safe(pair.get('train_row', ''))}</code></p><pre>"
        f"{safe(shorten(' '.join(str(pair.get('answer', '')).split()), EXCERPT))}</pre></div>"
    )


def _sets(summary: Summary) -> str:
    """What was found of evaluation sets, with the items of which the most was found."""
    sets = mappings(summary.facts, "evaluation_sets")
    if not sets:
        return ""
    heads = ("Evaluation set", "Items", "Found in part", "Repeated", "Rows left out")
    names = ("items", "found", "repeated", "dropped")
    content = table(
        heads,
        [[str(each.get("name", "")), *(f"{number(each, name):,}" for name in names)] for each in sets],
        (1, 2, 3, 4),
    )
    items = sorted(mappings(summary.facts, "evaluation_items"), key=lambda each: -float(each.get("share", 0)))
    if items:
        rows = [
            [
                percent(float(each.get("share", 0)), 1),
                f"{each.get('field', '')} of {each.get('item', '')}",
                str(each.get("example", "")),
                f"{number(each, 'dropped'):,}",
                f"{number(each, 'kept'):,}",
            ]
            for each in items[:MOST_ITEMS]
        ]
        heads = ("Found", "Text of an item", "Most of it in", "Rows left out", "Rows kept")
        content += '<div class="gap"></div>' + table(heads, rows, (0, 3, 4))
        content += small("Rows are kept that share only a few runs of 13 words (in code, 10) with an item.")
    return card("Compared with evaluation sets", content, wide=True)
