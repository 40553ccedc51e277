"""The report card as one HTML page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seedbed.curation.report.drawing import (
    Column,
    Row,
    bars,
    card,
    columns,
    facts,
    large,
    legend,
    percent,
    power_of_two,
    safe,
    small,
    table,
    thin_bar,
    tile,
)
from seedbed.curation.report.style import STYLE
from seedbed.curation.report.summary import Reason, Summary
from seedbed.curation.report.tally import Lengths, Share
from seedbed.text import count, plural, shorten, size

CHARACTERS_PER_TOKEN = 3.5
"""An estimate for code and English with the vocabularies of current models."""
CONTEXTS = (2048, 4096, 8192, 32768)
MOST_BARS = 12
WORST = 3
EXCERPT = 160
MOST_CLUSTERS = 8
MOST_NOTES = 200
MOST_MONTHS = 24
LEVELS = {
    "links": "sessions, commits, files and shared text",
    "links without files": "sessions, commits and shared text",
    "repository": "whole repositories",
    "time": "sessions, commits, files and shared text; in the largest group, time",
}
"""How groups were made, in words."""
DIMENSIONS = {
    "kind": "Kinds of rows",
    "source": "Sources",
    "repository": "Repositories",
    "language": "Languages",
    "licence": "Licences",
    "model": "Models that wrote the answers",
}
KINDS = {"chat": "conversation", "text": "text", "fim": "gap to fill"}


def page(summary: Summary) -> str:
    """The HTML page of a report card."""
    sections = "".join(
        f"<h2>{safe(title)}</h2>{content}"
        for title, content in (
            ("Is the evaluation independent of the training?", _leakage(summary)),
            ("What is in it", _contents(summary)),
            ("How long the rows are", _lengths(summary)),
            ("Conversations and gaps", _kinds(summary)),
            ("Secrets and duplicates", _safety(summary)),
            ("What was left out", _left_out(summary)),
            ("How it was made", _lineage(summary)),
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
        f"{_tiles(summary)}{sections}"
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
    tokens = summary.characters / CHARACTERS_PER_TOKEN
    shown.append(tile(count(summary.characters), f"characters, about {count(tokens)} tokens"))
    shown.append(tile(percent(summary.trained, summary.characters), "of the text is trained"))
    shown.append(tile(large(sum(each.count for each in summary.left_out)), "left out, see why below"))
    leakage = summary.facts.get("leakage")
    if isinstance(leakage, dict):
        shown.append(
            tile(percent(_number(leakage, "leaked"), _number(leakage, "answers")), "of evaluation answers leaked")
        )
    return f'<div class="tiles">{"".join(shown)}</div>'


def _number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name, 0)
    return value if isinstance(value, int) else 0


def _leakage(summary: Summary) -> str:
    found = summary.facts.get("leakage")
    if not isinstance(found, dict):
        return ""
    leaked, answers = _number(found, "leaked"), _number(found, "answers")
    before, answers_before = _number(found, "leaked_before"), _number(found, "answers_before")
    good = answers > 0 and leaked <= 0.01 * answers
    verdict = "Yes." if good else "Nothing to measure." if not answers else "No."
    sentence = (
        f"{leaked:,} of {answers:,} evaluation answers are more than half visible in training rows, by runs of 13 tokens."
        if answers
        else "No evaluation answer is long enough to be measured."
    )
    lines = [
        f'<div class="verdict {"good" if good else "bad"}"><b>{verdict}</b><span>{safe(sentence)}</span></div>',
        *(f'<p class="soft">{safe(message)}</p>' for message in found.get("messages", [])),
    ]
    pairs = [
        (
            "Groups that stay together",
            f"{_number(found, 'groups'):,}, the largest with {plural(_number(found, 'largest_group'), 'row')}",
        ),
        ("What ties rows together", LEVELS.get(str(found.get("level")), "")),
        ("Visible in the first choice", f"{before:,} of {answers_before:,} answers; then groups were joined or moved"),
        (
            "Groups joined, rows moved to training",
            f"{_number(found, 'joined_groups'):,} and {_number(found, 'returned_rows'):,}",
        ),
        ("Rows that earlier versions evaluated", f"{_number(found, 'old_rows'):,}"),
        ("Answers too short to be measured", f"{_number(found, 'too_short'):,}"),
    ]
    cards = card("How rows were kept apart", facts(pairs), wide=True)
    worst = found.get("worst", [])[:WORST]
    if worst:
        cards += card("The most visible answers", "".join(map(_pair, worst)), wide=True)
    return "".join(lines) + f'<div class="after">{cards}</div>'


def _pair(pair: Mapping[str, Any]) -> str:
    return (
        f'<div class="pair"><b>{pair["share"]:.0%}</b><p>of an answer of <code>{safe(pair["eval_row"])}</code> is in '
        f"<code>{safe(pair['train_row'])}</code></p><pre>{safe(shorten(' '.join(pair['answer'].split()), EXCERPT))}</pre></div>"
    )


def _contents(summary: Summary) -> str:
    splits = summary.contents.splits
    shown = []
    for name, title in DIMENSIONS.items():
        shares = summary.contents.by.get(name, [])
        if shares and not (len(shares) == 1 and shares[0].name.startswith("(")):
            shown.append(card(title, _share_bars(shares, summary.rows)))
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


def _share_bars(shares: Sequence[Share], total: int) -> str:
    rows = []
    for each in shares[:MOST_BARS]:
        amount = each.amount
        hint = (
            f"{each.name}: {plural(amount.rows, 'row')}, {plural(amount.eval_rows, 'evaluation row')}, "
            f"{count(amount.characters)} characters, {percent(amount.trained, amount.characters)} trained"
        )
        number = f"{large(amount.rows)} · {percent(amount.rows, total)}"
        rows.append(
            Row(KINDS.get(each.name, each.name), amount.rows - amount.eval_rows, amount.eval_rows, number, hint)
        )
    rest = len(shares) - MOST_BARS
    return bars(rows) + (small(f"and {rest:,} more, in report.json") if rest > 0 else "")


def _lengths(summary: Summary) -> str:
    lengths = summary.contents.lengths
    if not lengths.bars:
        return ""
    total = summary.rows
    pairs = [
        ("Median", f"{lengths.p50:,} characters, about {count(lengths.p50 / CHARACTERS_PER_TOKEN)} tokens"),
        ("90, 95, 99 of 100 rows have at most", f"{lengths.p90:,}, {lengths.p95:,}, {lengths.p99:,} characters"),
        ("Shortest and longest", f"{lengths.smallest:,} and {lengths.largest:,} characters"),
    ]
    limits = ", ".join(
        f"{percent(_longer(lengths, tokens * CHARACTERS_PER_TOKEN), total)} over {tokens // 1024}k"
        for tokens in CONTEXTS
    )
    pairs.append(("Would not fit a context of tokens, about", limits))
    clipped = [note for note in summary.notes if "shortened" in note.what or "cut into pieces" in note.what]
    pairs += [("Clipped", f"{note.count:,} {note.what} ({percent(note.count, total)})") for note in clipped]
    shown = card("Characters of a row", _histogram(lengths, summary)) + card("In figures", facts(pairs))
    return f'<div class="cards">{shown}</div>'


def _histogram(lengths: Lengths, summary: Summary) -> str:
    shown = [
        Column(
            power_of_two(bar.low),
            bar.train,
            bar.evaluated,
            f"{bar.low:,} to {bar.high - 1:,} characters: {plural(bar.train + bar.evaluated, 'row')}",
        )
        for bar in lengths.bars
    ]
    key = legend(("", "training"), ("eval", "evaluation")) if "eval" in summary.contents.splits else ""
    return key + columns(shown, "rows by length")


def _longer(lengths: Lengths, limit: float) -> float:
    """About how many rows are longer: bars above the limit, and the part of the bar that it cuts."""
    found = 0.0
    for bar in lengths.bars:
        above = (bar.high - max(limit, bar.low)) / max(bar.high - bar.low, 1)
        found += (bar.train + bar.evaluated) * min(max(above, 0.0), 1.0)
    return found


def _kinds(summary: Summary) -> str:
    chats, gaps = summary.contents.conversations, summary.contents.gaps
    shown = []
    if chats.rows:
        turns = sum(chats.turns.values())
        rows = [
            Row(role, number, 0, f"{large(number)} · {percent(number, turns)}") for role, number in chats.turns.items()
        ]
        words = (
            f"{chats.trained_turns:,} turns are trained; {chats.reasoning_turns:,} have the thinking before the answer."
        )
        shown.append(card(f"Turns of {plural(chats.rows, 'conversation')}", bars(rows) + small(words)))
    if chats.tool_calls:
        calls = sum(chats.tool_calls.values())
        rows = [
            Row(name, number, 0, f"{large(number)} · {percent(number, calls)}")
            for name, number in list(chats.tool_calls.items())[:MOST_BARS]
        ]
        shown.append(card(f"{plural(calls, 'tool call')}", bars(rows)))
    if gaps.rows:
        rows = [
            Row(name, number, 0, f"{large(number)} · {percent(number, gaps.rows)}")
            for name, number in gaps.spans.items()
        ]
        orders = ", ".join(f"{order} {percent(number, gaps.rows)}" for order, number in gaps.orders.items())
        words = (
            f"Order of the parts: {orders}. {percent(gaps.with_context, gaps.rows)} show other files of the repository."
        )
        shown.append(card(f"How {plural(gaps.rows, 'gap')} were chosen", bars(rows) + small(words)))
        middles = _histogram(gaps.middles, summary)
        shown.append(card(f"Characters of a gap, median {gaps.middles.p50:,}", middles))
    return f'<div class="cards">{"".join(shown)}</div>' if shown else ""


def _safety(summary: Summary) -> str:
    contents = summary.contents
    if contents.redactions:
        rows = [
            Row(rule, values, 0, f"{large(values)} in {plural(found, 'row')}")
            for rule, (values, found) in list(contents.redactions.items())[: MOST_BARS * 2]
        ]
        words = f"{contents.redacted_rows:,} rows have placeholders in the place of these values. The values are stored nowhere."
        secrets = bars(rows) + small(words)
    else:
        secrets = '<p class="soft">Nothing was replaced.</p>'
    shown = card("Secrets and personal data, by rule", secrets)
    found = summary.facts.get("duplicates")
    pairs = [("Rows in clusters of near duplicates", f"{contents.clustered_rows:,}")]
    largest = ""
    if isinstance(found, dict):
        records = _number(found, "records")
        pairs = [
            ("Rows compared", f"{records:,}"),
            ("Exact duplicates", f"{_number(found, 'exact'):,} ({percent(_number(found, 'exact'), records)})"),
            ("Near duplicates", f"{_number(found, 'near'):,} ({percent(_number(found, 'near'), records)})"),
            ("Clusters", f"{_number(found, 'clusters'):,} with {plural(_number(found, 'clustered'), 'row')}"),
            *pairs,
        ]
        clusters = [[f"{each['size']:,}", each["example"]] for each in found.get("largest", [])[:MOST_CLUSTERS]]
        if clusters:
            largest = '<div style="height:.75rem"></div>' + table(
                ("Rows", "Largest clusters, with an example"), clusters, (0,)
            )
    shown += card("Duplicates", facts(pairs) + largest)
    return f'<div class="cards">{shown}</div>'


def _left_out(summary: Summary) -> str:
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


def _lineage(summary: Summary) -> str:
    parts = []
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


def _inputs(inputs: Sequence[Mapping[str, Any]], depth: int = 0) -> Iterator[str]:
    for each in inputs[:50]:
        rows = each.get("rows")
        words = [str(each.get("made", "")), plural(rows, "row") if isinstance(rows, int) else ""]
        said = ", ".join(word for word in words if word)
        inner = each.get("inputs")
        below = ""
        if isinstance(inner, list) and inner and depth < 8:
            below = f"<ul>{''.join(_inputs([one for one in inner if isinstance(one, dict)], depth + 1))}</ul>"
        command = each.get("command")
        typed = f"<pre>{safe(command)}</pre>" if isinstance(command, str) and command else ""
        yield f'<li>{safe(each.get("name", ""))} <span class="soft small">{safe(said)}</span>{typed}{below}</li>'
    if len(inputs) > 50:
        yield f'<li class="soft">and {len(inputs) - 50:,} more</li>'


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
