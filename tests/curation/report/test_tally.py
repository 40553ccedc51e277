"""The counts of a report card, against rows counted by hand."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reported import an_edit, chat_with_tools
from seedbed.curation.record import Licence, Record, Redaction
from seedbed.curation.report.tally import MOST_SHOWN, OTHERS, UNKNOWN, Split, Tally, lengths_of
from split_rows import chat, fim, text_row


def tallied(*rows: tuple[Record, Split]) -> Tally:
    tally = Tally()
    for record, split in rows:
        tally.add(record, split)
    return tally


def test_characters_and_trained_characters_are_those_of_the_texts() -> None:
    found = tallied(
        (chat("four", "sixsix", "ok", "done."), "train"),
        (fim("before|gap|after", 7, 10, "a.py"), "train"),
        (text_row("hello"), "eval"),
    ).contents()
    train, evaluated = found.splits["train"], found.splits["eval"]
    assert (train.rows, train.characters, train.trained) == (2, 17 + 16, 11 + 3)
    assert (evaluated.rows, evaluated.eval_rows, evaluated.characters, evaluated.trained) == (1, 1, 5, 5)


def test_every_row_is_in_every_dimension_once_but_for_those_with_nothing_to_say() -> None:
    rows = [fim("a b c", 1, 3, f"{n}.py", f"repo{n % 3}") for n in range(10)]
    for number, row in enumerate(rows):
        row.language = "python" if number % 2 else None
        row.licence = Licence(spdx="MIT", found_in="LICENSE") if number < 4 else None
    found = tallied(*((row, "train") for row in rows), (chat("a", "b"), "eval")).contents()
    by = {name: {each.name: each.amount.rows for each in shares} for name, shares in found.by.items()}
    assert by["repository"] == {"repo0": 4, "repo1": 3, "repo2": 3, UNKNOWN: 1}
    assert by["language"] == {"python": 5, UNKNOWN: 5}  # a conversation has no programming language
    assert by["licence"] == {"MIT": 4, UNKNOWN: 7}
    assert by["kind"] == {"fim": 10, "chat": 1}
    assert by["model"] == {}
    assert [each.amount.eval_rows for each in found.by["kind"]] == [0, 1]


def test_a_licence_is_one_name_however_it_is_written() -> None:
    rows = [fim("a b c", 1, 3, f"{n}.py") for n in range(5)]
    for row, spdx in zip(rows, ("MIT OR Unlicense", "(MIT OR Unlicense)", "unknown", "(MIT) OR (ISC)"), strict=False):
        row.licence = Licence(spdx=spdx, found_in="LICENSE")
    shares = tallied(*((row, "train") for row in rows)).contents().by["licence"]
    assert {each.name: each.amount.rows for each in shares} == {"MIT OR Unlicense": 2, UNKNOWN: 2, "(MIT) OR (ISC)": 1}


def test_many_names_are_summed_as_others() -> None:
    rows = [fim("a b c", 1, 3, "a.py", f"repo{n:04}") for n in range(MOST_SHOWN + 50)]
    shares = tallied(*((row, "train") for row in rows)).contents().by["repository"]
    assert len(shares) == MOST_SHOWN + 1
    assert (shares[-1].name, shares[-1].amount.rows) == (OTHERS, 50)


def test_turns_tools_gaps_redactions_and_clusters_are_counted() -> None:
    session, edit = chat_with_tools(), an_edit()
    edit.redactions = [Redaction(rule="email", count=3), Redaction(rule="ipv4", count=1)]
    session.redactions = [Redaction(rule="email", count=2)]
    session.cluster, session.group, edit.group = "c1", "g1", "g1"
    session.provenance.time, edit.provenance.time = "2026-03-01T00:00:00Z", "2025-12-31T23:59:59Z"
    gap = fim("abcdef", 2, 4, "a.py")
    gap.span, gap.order, gap.group = "syntax", "psm", "g2"
    found = tallied((session, "train"), (edit, "train"), (gap, "eval")).contents()
    assert found.conversations.rows == 2
    assert found.conversations.turns == {"user": 2, "assistant": 3, "tool": 2}
    assert found.conversations.tool_calls == {"Edit": 1, "Read": 1}
    assert (found.conversations.trained_turns, found.conversations.reasoning_turns) == (3, 1)
    assert (found.gaps.rows, found.gaps.spans, found.gaps.orders) == (1, {"syntax": 1}, {"psm": 1})
    assert found.redactions == {"email": [5, 2], "ipv4": [1, 1]}
    assert (found.redacted_rows, found.clustered_rows, found.groups, found.largest_group) == (2, 1, 2, 2)
    assert found.time is not None
    assert (found.time.first[:10], found.time.last[:10]) == ("2025-12-31", "2026-03-01")
    assert found.time.months == {"2025-12": 1, "2026-03": 1}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1), st.lists(st.integers(0, 5000)))
def test_the_histogram_has_every_row_once(train: list[int], evaluated: list[int]) -> None:
    found = lengths_of(train, evaluated)
    assert sum(bar.train for bar in found.bars) == len(train)
    assert sum(bar.evaluated for bar in found.bars) == len(evaluated)
    counted = Counter(next((bar.low for bar in found.bars if bar.low <= each < bar.high), None) for each in train)
    assert counted == Counter({bar.low: bar.train for bar in found.bars if bar.train})
    assert (found.smallest, found.largest) == (min(train + evaluated), max(train + evaluated))


@pytest.mark.parametrize(("percent", "expected"), [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)])
def test_quantiles_are_by_the_nearest_rank(percent: str, expected: int) -> None:
    assert getattr(lengths_of(range(100, 0, -1), []), percent) == expected


def test_the_order_of_the_rows_changes_nothing() -> None:
    by_line = fim("abcdefgh", 1, 3, "b.py")
    by_line.span, by_line.order = "line", "spm"
    rows: list[tuple[Record, Split]] = [
        (an_edit(), "eval"),
        (chat_with_tools(), "train"),
        (fim("abcdefgh", 2, 5, "a.py"), "train"),
        (by_line, "eval"),
    ]
    first, second = tallied(*rows).contents(), tallied(*reversed(rows)).contents()
    assert msgspec.json.encode(first) == msgspec.json.encode(second)


def test_a_damaged_time_is_not_counted() -> None:
    row = text_row("a")
    row.provenance.time = "yesterday"
    assert tallied((row, "train")).contents().time is None
