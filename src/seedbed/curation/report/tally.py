"""Counts what is in the rows of a dataset, in one pass and in bounded memory."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

from seedbed.curation.record import Message, Record, is_trained, targets_of, texts_of

Split = Literal["train", "eval", "records"]
"""Training rows, evaluation rows, or rows of a dataset that is not split yet."""
SPLITS: tuple[Split, ...] = ("train", "eval", "records")
DIMENSIONS = ("source", "repository", "language", "licence", "kind", "model")
"""By what rows are counted."""
MOST_NAMES = 100_000
"""Names of one dimension that are counted apart; rows of further names are counted as OTHERS."""
MOST_SHOWN = 200
OTHERS, UNKNOWN = "(others)", "(unknown)"


class Amount(msgspec.Struct, kw_only=True):
    """How much text some rows have."""

    rows: int = 0
    eval_rows: int = 0
    characters: int = 0
    trained: int = 0
    """Characters that are trained: middles, texts and turns of the assistant."""

    def add(self, evaluated: bool, characters: int, trained: int) -> None:
        """Count one row."""
        self.rows += 1
        self.eval_rows += evaluated
        self.characters += characters
        self.trained += trained


class Share(msgspec.Struct, kw_only=True, frozen=True):
    """The rows with one value of a dimension, such as one language."""

    name: str
    amount: Amount


class Bar(msgspec.Struct, kw_only=True, frozen=True):
    """The rows whose length is from `low` to below `high`."""

    low: int
    high: int
    train: int
    evaluated: int


class Lengths(msgspec.Struct, kw_only=True, frozen=True):
    """How long rows are, in characters."""

    bars: list[Bar]
    smallest: int = 0
    p50: int = 0
    p90: int = 0
    p95: int = 0
    p99: int = 0
    largest: int = 0


class Conversations(msgspec.Struct, kw_only=True):
    """What chat rows have."""

    rows: int = 0
    turns: dict[str, int] = {}
    """Turns by role."""
    trained_turns: int = 0
    reasoning_turns: int = 0
    tool_calls: dict[str, int] = {}
    """Calls by the name of the tool, the most frequent first."""


class Gaps(msgspec.Struct, kw_only=True):
    """What rows with a gap have."""

    rows: int = 0
    spans: dict[str, int] = {}
    orders: dict[str, int] = {}
    with_context: int = 0
    """Rows that show other files of the repository."""
    middles: Lengths = Lengths(bars=[])


class Span(msgspec.Struct, kw_only=True, frozen=True):
    """When rows were made."""

    first: str
    last: str
    rows: int
    """Rows whose time is known."""
    months: dict[str, int]


class Contents(msgspec.Struct, kw_only=True):
    """What is in the rows."""

    splits: dict[str, Amount]
    by: dict[str, list[Share]]
    lengths: Lengths
    conversations: Conversations
    gaps: Gaps
    redactions: dict[str, list[int]]
    """Rule -> values replaced, and rows with one."""
    redacted_rows: int
    clustered_rows: int
    """Rows in clusters of near duplicates."""
    groups: int
    """Groups of rows that stay in one split; 0 before the split."""
    largest_group: int
    time: Span | None


class Tally:
    """Counts rows one by one; `contents` is the result."""

    def __init__(self) -> None:
        self._splits: dict[str, Amount] = {}
        self._by: dict[str, dict[str, Amount]] = {name: {} for name in DIMENSIONS}
        self._lengths = {False: array("Q"), True: array("Q")}
        self._middles = {False: array("Q"), True: array("Q")}
        self._chats, self._gaps = Conversations(), Gaps()
        self._roles: Counter[str] = Counter()
        self._tools: Counter[str] = Counter()
        self._spans: Counter[str] = Counter()
        self._orders: Counter[str] = Counter()
        self._redactions: dict[str, list[int]] = {}
        self._redacted_rows = self._clustered = 0
        self._groups: Counter[int] = Counter()
        self._months: Counter[str] = Counter()
        self._first = self._last = ""

    def add(self, record: Record, split: Split) -> None:
        """Count a row."""
        evaluated = split == "eval"
        characters = sum(map(len, texts_of(record)))
        trained = sum(map(len, targets_of(record)))
        self._splits.setdefault(split, Amount()).add(evaluated, characters, trained)
        for dimension, name in names_of(record):
            known = self._by[dimension]
            if name not in known and len(known) >= MOST_NAMES:
                name = OTHERS
            known.setdefault(name, Amount()).add(evaluated, characters, trained)
        self._lengths[evaluated].append(characters)
        if record.kind == "chat":
            self._add_chat(record.messages or [])
        elif record.kind == "fim":
            self._add_gap(record, evaluated)
        for each in record.redactions or ():
            found = self._redactions.setdefault(each.rule, [0, 0])
            found[0] += each.count
            found[1] += 1
        self._redacted_rows += bool(record.redactions)
        self._clustered += record.cluster is not None
        if record.group:
            self._groups[hash(record.group)] += 1
        self._add_time(record.provenance.time)

    def _add_chat(self, messages: list[Message]) -> None:
        self._chats.rows += 1
        for message in messages:
            self._roles[message.role] += 1
            self._chats.trained_turns += is_trained(message)
            self._chats.reasoning_turns += bool(message.reasoning)
            for call in message.tool_calls or ():
                name = call.function.name
                self._tools[name if name in self._tools or len(self._tools) < MOST_NAMES else OTHERS] += 1

    def _add_gap(self, record: Record, evaluated: bool) -> None:
        self._gaps.rows += 1
        self._spans[record.span or UNKNOWN] += 1
        self._orders[record.order or UNKNOWN] += 1
        self._gaps.with_context += bool(record.context)
        self._middles[evaluated].append(len(record.middle or ""))

    def _add_time(self, time: str | None) -> None:
        if not time or len(time) < 7 or not time[:4].isdecimal():
            return
        self._months[time[:7] if len(self._months) < MOST_NAMES else OTHERS] += 1
        self._first = min(self._first or time, time)
        self._last = max(self._last, time)

    def contents(self) -> Contents:
        """What was counted, in any order. Names with the most rows come first; beyond MOST_SHOWN they are summed as OTHERS."""
        self._chats.turns = _ordered(self._roles)
        self._chats.tool_calls = _most(self._tools)
        self._gaps.spans, self._gaps.orders = _ordered(self._spans), _ordered(self._orders)
        self._gaps.middles = lengths_of(self._middles[False], self._middles[True])
        time = None
        if self._first:
            months = dict(sorted(self._months.items()))
            time = Span(first=self._first, last=self._last, rows=self._months.total(), months=months)
        return Contents(
            splits={split: self._splits[split] for split in SPLITS if split in self._splits},
            by={name: _shares(found) for name, found in self._by.items()},
            lengths=lengths_of(self._lengths[False], self._lengths[True]),
            conversations=self._chats,
            gaps=self._gaps,
            redactions=dict(sorted(self._redactions.items(), key=lambda each: (-each[1][0], each[0]))),
            redacted_rows=self._redacted_rows,
            clustered_rows=self._clustered,
            groups=len(self._groups),
            largest_group=max(self._groups.values(), default=0),
            time=time,
        )


def lengths_of(train: Iterable[int], evaluated: Iterable[int]) -> Lengths:
    """Quantiles of all lengths, by the nearest rank, and a histogram with bars that double in width."""
    train, evaluated = list(train), list(evaluated)
    ordered = sorted([*train, *evaluated])
    if not ordered:
        return Lengths(bars=[])
    counted = [Counter(each.bit_length() for each in lengths) for lengths in (train, evaluated)]
    steps = range(ordered[0].bit_length(), ordered[-1].bit_length() + 1)
    bars = [Bar(low=1 << (n - 1) if n else 0, high=1 << n, train=counted[0][n], evaluated=counted[1][n]) for n in steps]

    def quantile(percent: int) -> int:
        return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]

    return Lengths(
        bars=bars,
        smallest=ordered[0],
        p50=quantile(50),
        p90=quantile(90),
        p95=quantile(95),
        p99=quantile(99),
        largest=ordered[-1],
    )


def names_of(record: Record) -> Iterable[tuple[str, str]]:
    """The dimensions in which a record counts, with its value: only logs have a model, and conversations no language."""
    origin = record.provenance
    values = {
        "source": origin.source,
        "repository": origin.repository,
        "language": record.language,
        "licence": _licence(record.licence.spdx) if record.licence else None,
        "kind": record.kind,
        "model": origin.model,
    }
    for dimension in DIMENSIONS:
        value = values[dimension]
        if value or not (dimension == "model" or (dimension == "language" and record.kind == "chat")):
            yield dimension, value or UNKNOWN


def _licence(spdx: str) -> str | None:
    """The expression without brackets around the whole of it; None if no licence was found."""
    whole = re.fullmatch(r"\(([^()]*)\)", spdx)
    return None if spdx == "unknown" else whole[1] if whole else spdx


def _shares(found: dict[str, Amount]) -> list[Share]:
    ordered = sorted(found.items(), key=lambda each: (each[0] == OTHERS, -each[1].rows, each[0]))
    shown = [Share(name=name, amount=amount) for name, amount in ordered[:MOST_SHOWN]]
    rest = Amount()
    for _, amount in ordered[MOST_SHOWN:]:
        rest.rows += amount.rows
        rest.eval_rows += amount.eval_rows
        rest.characters += amount.characters
        rest.trained += amount.trained
    return [*shown, Share(name=OTHERS, amount=rest)] if rest.rows else shown


def _most(counted: Counter[str]) -> dict[str, int]:
    ordered = list(_ordered(counted).items())
    shown = dict(ordered[:MOST_SHOWN])
    rest = sum(count for _, count in ordered[MOST_SHOWN:])
    return {**shown, OTHERS: rest} if rest else shown


def _ordered(counted: Counter[str]) -> dict[str, int]:
    """The most frequent first."""
    return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0])))
