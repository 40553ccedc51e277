"""The part of a report card on lengths: characters and an estimate, or the tokens that a model's tokenizer was found to make."""

from __future__ import annotations

from seedbed.curation.report.drawing import (
    Check,
    Column,
    Row,
    bars,
    card,
    columns,
    facts,
    legend,
    parts,
    percent,
    power_of_two,
    safe,
    small,
)
from seedbed.curation.report.measured import Fitted, Measured, Verification
from seedbed.curation.report.summary import Summary
from seedbed.curation.report.tally import Lengths
from seedbed.curation.report.wording import CHARACTERS_PER_TOKEN, KINDS, LOSSES, STRATEGIES
from seedbed.text import count, listed, plural

CONTEXTS = (2048, 4096, 8192, 32768)
MOST_REASONS = 6
HOW = "`seedbed data report DATASET --model MODEL` counts tokens, verifies the chat template, and says what fits a context."


def template_check(summary: Summary) -> Check | None:
    """Whether it is certain which tokens of conversations are trained; None if there are no conversations."""
    if not summary.contents.conversations.rows:
        return None
    title = "Chat template"
    if summary.tokens is None:
        return Check(title, None, "Not verified yet: `seedbed data report DATASET --model MODEL` does it.")
    refused = [each for each in summary.tokens.templates if each.problem]
    if refused:
        return Check(title, False, refused[0].problem)
    found = [len([each for each in one.strategies.values() if each]) for one in summary.tokens.templates]
    if not found:
        return Check(title, None, "No conversation was rendered.")
    return Check(
        title,
        True,
        f"{min(found)} independent ways find the same tokens of the assistant with the template of {summary.tokens.model}.",
    )


def lengths(summary: Summary) -> str:
    """How long the rows are, as HTML: in tokens if these were measured, else in characters."""
    shown = [*(_tokens(summary, summary.tokens) if summary.tokens is not None else ()), *_characters(summary)]
    return f'<div class="cards">{"".join(shown)}</div>' if shown else ""


# Tokens --------------------------------------------------------------------------------------------------------------


def _tokens(summary: Summary, found: Measured) -> list[str]:
    shown = [
        card(f"Tokens of a row, median {found.lengths.p50:,}", histogram(found.lengths, summary, "tokens")),
        card(f"Rows at a context of {found.fitted.context:,} tokens", _fit(found.fitted)),
        card("What is trained", _trained(found)),
    ]
    if found.templates:
        shown.append(card("Chat template", "".join(map(_template, found.templates))))
    return shown


def _fit(found: Fitted) -> str:
    """What becomes of the rows at the context, and how full packed rows are."""
    shares = [
        ("", "whole", found.whole),
        ("second", "cut into pieces, nothing is lost", found.cut),
        ("eval", "shortened", found.clipped),
        ("out", "left out", found.left_out),
    ]
    present = [each for each in shares if each[2]]
    bar = parts([(kind, rows / max(found.rows, 1), f"{rows:,} {name}") for kind, name, rows in present])
    key = legend(*((kind, f"{name}: {rows:,} ({percent(rows, found.rows)})") for kind, name, rows in present))
    pairs = [("Pack fill", f"{_share(found.fill)} of the positions of {plural(found.packed_rows, 'packed row')}")]
    pairs += [(reason, f"{number:,}") for reason, number in found.drops[:MOST_REASONS]]
    rest = sum(number for _, number in found.drops[MOST_REASONS:])
    if rest:
        pairs.append(("other reasons", f"{rest:,}"))
    return bar + key + facts(pairs)


def _share(part: float) -> str:
    """A share that is often close to 1, so that two decimals are told."""
    return f"{int(part * 10_000) / 100:.2f} %"


def _trained(found: Measured) -> str:
    """The share of trained tokens by kind of row."""
    rows = []
    for name, amount in found.by.get("kind", {}).items():
        number = f"{percent(amount.trained, amount.tokens)} of {count(amount.tokens)}"
        rows.append(Row(KINDS.get(name, name), amount.trained, amount.tokens - amount.trained, number))
    words = (
        f"The loss counts {LOSSES.get(found.loss, found.loss)} (data.loss={found.loss}): "
        f"{percent(found.trained, found.tokens)} of {count(found.tokens)} tokens."
    )
    family = f" Gaps have the markers of {found.family}." if found.family else ""
    model = f" Tokenizer of {found.model}: {found.vocabulary:,} tokens, fingerprint {found.tokenizer[:12]}."
    names = {"train": "Training", "eval": "Evaluation", "records": "All"}
    pairs = [
        (
            names[split],
            f"{count(amount.tokens)} tokens in {plural(amount.samples, 'sample')}, {count(amount.trained)} trained",
        )
        for split, amount in found.splits.items()
    ]
    key = legend(("", "trained"), ("rest", "read only"))
    return key + bars(rows, second="rest") + '<div class="gap"></div>' + facts(pairs) + small(words + family + model)


def _template(found: Verification) -> str:
    if found.problem:
        return f'<p class="mark bad"><b>Refused</b> for {safe(found.name)}.</p>{small(found.problem)}'
    lines = "".join(_strategy(name, agrees) for name, agrees in found.strategies.items())
    more = list(found.sentences)
    if found.uncertain:
        more.append(f"Left out, because their turns cannot be told for certain: chats with {listed(found.uncertain)}.")
    more += [f"It refuses {name}: {reason}" for name, reason in found.refused_probes.items()]
    name = "" if found.name == "default" else small(f"Template {found.name}")
    return name + f'<ul class="checks plain">{lines}</ul>' + "".join(map(small, more))


def _strategy(name: str, agrees: bool) -> str:  # a pair from a mapping
    kind, sign = ("good", "✓") if agrees else ("open", "–")
    found = "finds every turn, and agrees" if agrees else "finds no turns, or not all"
    words = safe(f"{STRATEGIES.get(name, name)}: {found}")
    return f'<li class="{kind}"><i aria-hidden="true">{sign}</i><div><span>{words}</span></div></li>'


# Characters ----------------------------------------------------------------------------------------------------------


def _characters(summary: Summary) -> list[str]:
    found = summary.contents.lengths
    if not found.bars:
        return []
    total = summary.rows
    pairs = [
        ("Median", f"{found.p50:,} characters, about {count(found.p50 / CHARACTERS_PER_TOKEN)} tokens"),
        ("90, 95, 99 of 100 rows have at most", f"{found.p90:,}, {found.p95:,}, {found.p99:,} characters"),
        ("Shortest and longest", f"{found.smallest:,} and {found.largest:,} characters"),
    ]
    if summary.tokens is None:
        limits = ", ".join(
            f"{percent(_longer(found, tokens * CHARACTERS_PER_TOKEN), total)} over {tokens // 1024}k"
            for tokens in CONTEXTS
        )
        pairs.append(("Would not fit a context of tokens, about", limits))
    clipped = [note for note in summary.notes if "shortened" in note.what or "cut into pieces" in note.what]
    pairs += [("Clipped", f"{note.count:,} {note.what} ({percent(note.count, total)})") for note in clipped]
    hint = small(HOW) if summary.tokens is None else ""
    return [card("Characters of a row", histogram(found, summary)), card("In figures", facts(pairs) + hint)]


def histogram(found: Lengths, summary: Summary, unit: str = "characters") -> str:
    """Rows by length, with evaluation rows apart, as HTML."""
    shown = [
        Column(
            power_of_two(bar.low),
            bar.train,
            bar.evaluated,
            f"{bar.low:,} to {bar.high - 1:,} {unit}: {plural(bar.train + bar.evaluated, 'row')}",
        )
        for bar in found.bars
    ]
    key = legend(("", "training"), ("eval", "evaluation")) if "eval" in summary.contents.splits else ""
    return key + columns(shown, f"rows by {unit}")


def _longer(found: Lengths, limit: float) -> float:
    """About how many rows are longer: bars above the limit, and the part of the bar that it cuts."""
    rows = 0.0
    for bar in found.bars:
        above = (bar.high - max(limit, bar.low)) / max(bar.high - bar.low, 1)
        rows += (bar.train + bar.evaluated) * min(max(above, 0.0), 1.0)
    return rows
