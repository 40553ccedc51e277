"""The report card as one HTML page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seedbed.curation.report.drawing import (
    Check,
    Column,
    Row,
    bars,
    card,
    checks,
    columns,
    facts,
    large,
    legend,
    percent,
    safe,
    small,
    table,
    tile,
)
from seedbed.curation.report.independence import independence, leakage_check, sets_check
from seedbed.curation.report.making import left_out, making
from seedbed.curation.report.style import STYLE
from seedbed.curation.report.summary import Summary
from seedbed.curation.report.tally import Share
from seedbed.curation.report.token_part import histogram, lengths, template_check
from seedbed.curation.report.wording import CHARACTERS_PER_TOKEN, DIMENSIONS, KINDS, RULES, mappings, number
from seedbed.text import count, plural, size

MOST_BARS = 12
MOST_CLUSTERS = 8
MOST_MONTHS = 24


def page(summary: Summary) -> str:
    """The HTML page of a report card."""
    sections = "".join(
        f"<h2>{safe(title)}</h2>{content}"
        for title, content in (
            ("What is in it", _contents(summary)),
            ("Is the evaluation independent of the training?", independence(summary)),
            ("How long the rows are, and what is trained", lengths(summary)),
            ("Conversations and gaps", _kinds(summary)),
            ("Secrets and duplicates", _safety(summary)),
            ("What was left out", left_out(summary)),
            ("How it was made", making(summary)),
        )
        if content
    )
    title = safe(summary.name)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}: report card</title><style>{STYLE}</style></head><body><main>"
        f'<header><h1>{title}</h1><p class="soft">{safe(_subtitle(summary))}</p></header>'
        f"{_tiles(summary)}{_checks(summary)}{sections}"
        f"<footer>Report card by {safe(summary.made_by)}. Fingerprint of the rows: <code>{safe(summary.fingerprint)}</code>"
        "</footer></main></body></html>\n"
    )


def _subtitle(summary: Summary) -> str:
    words = [f"A dataset of {plural(summary.rows, 'row')}", size(summary.size_bytes)]
    time = summary.contents.time
    if time:
        words.append(f"from {time.first[:10]} to {time.last[:10]}")
    return ", ".join(words) + "."


def _tiles(summary: Summary) -> str:
    splits = summary.contents.splits
    shown = []
    if "records" in splits:
        shown.append(tile(large(splits["records"].rows), "rows, not split yet"))
    if "train" in splits:
        shown.append(tile(large(splits["train"].rows), "training rows", "train"))
    if "eval" in splits:
        shown.append(tile(large(splits["eval"].rows), "evaluation rows", "eval"))
    measured = summary.tokens
    if measured is not None:
        shown.append(tile(count(measured.tokens), f"tokens at a context of {measured.fitted.context:,}"))
        shown.append(tile(percent(measured.trained, measured.tokens), "of the tokens are trained"))
    else:
        tokens = summary.characters / CHARACTERS_PER_TOKEN
        shown.append(tile(count(summary.characters), f"characters, about {count(tokens)} tokens"))
        shown.append(tile(percent(summary.trained, summary.characters), "of the text is for the model to write"))
    shown.append(tile(large(sum(each.count for each in summary.left_out)), "left out, see why below"))
    leakage = summary.facts.get("leakage")
    if isinstance(leakage, dict):
        shown.append(
            tile(percent(number(leakage, "leaked"), number(leakage, "answers")), "of evaluation answers leaked")
        )
    return f'<div class="tiles">{"".join(shown)}</div>'


def _checks(summary: Summary) -> str:
    """What a reader asks first: leaks, evaluation sets, secrets, and whether the right tokens are trained."""
    found = [each for each in (leakage_check(summary), sets_check(summary)) if each is not None]
    values = sum(values for values, _ in summary.contents.redactions.values())
    if values or any(step.startswith("redact") for step in summary.steps):
        sentence = f"{plural(values, 'value')} in {plural(summary.contents.redacted_rows, 'row')} became placeholders."
        found.append(
            Check("Secrets and personal data", True, sentence if values else "Looked for, and none was found.")
        )
    template = template_check(summary)
    if template is not None:
        found.append(template)
    return checks(found) if found else ""


def _contents(summary: Summary) -> str:
    splits = summary.contents.splits
    shown = []
    for name, title in DIMENSIONS.items():
        shares = summary.contents.by.get(name, [])
        if shares and not (len(shares) == 1 and shares[0].name.startswith("(")):
            shown.append(card(title, _share_bars(name, shares, summary)))
    key = legend(("", "training"), ("eval", "evaluation")) if "eval" in splits else ""
    time = summary.contents.time
    if time and len(time.months) > 1:
        shown.append(card("When rows were made", columns(_periods(time.months), "rows by time")))
    return key + f'<div class="cards">{"".join(shown)}</div>'


def _periods(months: Mapping[str, int]) -> list[Column]:
    """Rows by month, or by year if there are many months."""
    found: dict[str, int] = {}
    for month, rows in months.items():
        name = month if len(months) <= MOST_MONTHS else month[:4]
        found[name] = found.get(name, 0) + rows
    return [Column(name[2:], rows, 0, f"{name}: {plural(rows, 'row')}") for name, rows in found.items()]


def _share_bars(dimension: str, shares: Sequence[Share], summary: Summary) -> str:
    """Rows by name, with their tokens if these were measured, else their characters."""
    tokens = summary.tokens.by.get(dimension, {}) if summary.tokens is not None else None
    rows = []
    for each in shares[:MOST_BARS]:
        amount = each.amount
        hint = (
            f"{each.name}: {plural(amount.rows, 'row')} ({percent(amount.rows, summary.rows)}), "
            f"{plural(amount.eval_rows, 'evaluation row')}, {count(amount.characters)} characters"
        )
        more = count(amount.characters)
        if tokens is not None:
            found = tokens.get(each.name)
            more = count(found.tokens) if found is not None else "–"
            if found is not None:
                hint += f", {count(found.tokens)} tokens, {percent(found.trained, found.tokens)} of them trained"
        name = KINDS.get(each.name, each.name)
        rows.append(Row(name, amount.rows - amount.eval_rows, amount.eval_rows, large(amount.rows), hint, more))
    rest = len(shares) - MOST_BARS
    heads = ("rows", "characters" if tokens is None else "tokens")
    return bars(rows, heads=heads) + (small(f"and {rest:,} more, in report.json") if rest > 0 else "")


def _counted(counts: Mapping[str, int], whole: int) -> str:
    """Bars of counts, each with its share of the whole."""
    rows = [
        Row(name, found, 0, f"{large(found)} · {percent(found, whole)}")
        for name, found in list(counts.items())[:MOST_BARS]
    ]
    rest = len(counts) - MOST_BARS
    return bars(rows) + (small(f"and {rest:,} more, in report.json") if rest > 0 else "")


def _kinds(summary: Summary) -> str:
    chats, gaps = summary.contents.conversations, summary.contents.gaps
    shown = []
    if chats.rows:
        words = (
            f"{chats.trained_turns:,} turns are trained; {chats.reasoning_turns:,} have the thinking before the answer."
        )
        turns = _counted(chats.turns, sum(chats.turns.values()))
        shown.append(card(f"Turns of {plural(chats.rows, 'conversation')}", turns + small(words)))
    if chats.tool_calls:
        calls = sum(chats.tool_calls.values())
        shown.append(card(f"{plural(calls, 'tool call')}", _counted(chats.tool_calls, calls)))
    if gaps.rows:
        orders = ", ".join(f"{order} {percent(found, gaps.rows)}" for order, found in gaps.orders.items())
        words = (
            f"Order of the parts: {orders}. {percent(gaps.with_context, gaps.rows)} show other files of the repository."
        )
        spans = _counted(gaps.spans, gaps.rows)
        shown.append(
            card(f"How {plural(gaps.rows, 'gap')} {'was' if gaps.rows == 1 else 'were'} chosen", spans + small(words))
        )
        shown.append(card(f"Characters of a gap, median {gaps.middles.p50:,}", histogram(gaps.middles, summary)))
    return f'<div class="cards">{"".join(shown)}</div>' if shown else ""


def _safety(summary: Summary) -> str:
    contents = summary.contents
    if contents.redactions:
        rows = [
            Row(RULES.get(rule, rule), values, 0, f"{large(values)} in {plural(found, 'row')}")
            for rule, (values, found) in list(contents.redactions.items())[: MOST_BARS * 2]
        ]
        words = f"Rows with placeholders in the place of these values: {contents.redacted_rows:,}. The values are stored nowhere."
        secrets = bars(rows) + small(words)
    else:
        secrets = '<p class="soft">Nothing was replaced.</p>'
    shown = card("Secrets and personal data, by rule", secrets)
    found = summary.facts.get("duplicates")
    pairs = [("Rows in clusters of near duplicates, now", f"{contents.clustered_rows:,}")]
    largest = ""
    if isinstance(found, dict):
        records = number(found, "records")
        pairs = [
            ("Rows compared", f"{records:,}"),
            ("Exact duplicates", f"{number(found, 'exact'):,} ({percent(number(found, 'exact'), records)})"),
            ("Near duplicates", f"{number(found, 'near'):,} ({percent(number(found, 'near'), records)})"),
            ("Clusters", f"{number(found, 'clusters'):,} with {plural(number(found, 'clustered'), 'row')}"),
            *pairs,
        ]
        clusters = [
            [f"{number(each, 'size'):,}", str(each.get("example", ""))]
            for each in mappings(found, "largest")[:MOST_CLUSTERS]
        ]
        if clusters:
            largest = '<div class="gap"></div>' + table(("Rows", "Largest clusters, with an example"), clusters, (0,))
    shown += card("Duplicates", facts(pairs) + largest)
    return f'<div class="cards">{shown}</div>'
