"""Counts the tokens of a dataset's rows for its report card."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np

from seedbed.curation.record import Record
from seedbed.curation.rendering.encoding import Sample
from seedbed.curation.rendering.protocol import STRATEGIES
from seedbed.curation.rendering.verification import TemplateFacts, facts_in_words
from seedbed.curation.report.measured import TokenAmount, Verification
from seedbed.curation.report.tally import MOST_NAMES, MOST_SHOWN, OTHERS, Lengths, Split, lengths_of, names_of


class TokenTally:
    """Counts the samples of rows one by one. Memory: 8 bytes for each row and each sample."""

    def __init__(self) -> None:
        self.splits: dict[str, TokenAmount] = {}
        self._by: dict[str, dict[str, TokenAmount]] = {}
        self._lengths = {False: array("Q"), True: array("Q")}
        self._positions: dict[str, array[int]] = {}

    def add(self, record: Record, split: Split, samples: Sequence[Sample], length: int) -> None:
        """Count the samples of a row, which are within the context. `length`: the row's tokens as a whole; 0 if unknown."""
        amount = TokenAmount()
        positions = self._positions.setdefault(split, array("Q"))
        for sample in samples:
            amount.add(len(sample.ids), sample.trained[1:].count(1))  # the first token is no target
            positions.append(len(sample.ids) - 1)
        if length:
            self._lengths[split == "eval"].append(length)
        self.splits.setdefault(split, TokenAmount()).merge(amount)
        for dimension, name in names_of(record):
            known = self._by.setdefault(dimension, {})
            if name not in known and len(known) >= MOST_NAMES:
                name = OTHERS
            known.setdefault(name, TokenAmount()).merge(amount)

    def positions(self) -> list[np.ndarray]:
        """The positions that each sample occupies in a packed row, int64, an array for each split."""
        return [np.array(each, dtype=np.int64) for each in self._positions.values()]

    def lengths(self) -> Lengths:
        """The tokens of the rows."""
        return lengths_of(self._lengths[False], self._lengths[True])

    def by(self) -> dict[str, dict[str, TokenAmount]]:
        """Tokens by dimension; names with the most tokens come first, and those beyond MOST_SHOWN are summed as OTHERS."""
        found: dict[str, dict[str, TokenAmount]] = {}
        for dimension, amounts in self._by.items():
            ordered = sorted(amounts.items(), key=lambda each: (each[0] == OTHERS, -each[1].tokens, each[0]))
            shown = found[dimension] = dict(ordered[:MOST_SHOWN])
            for _, amount in ordered[MOST_SHOWN:]:
                shown.setdefault(OTHERS, TokenAmount()).merge(amount)
        return found


def verification_of(name: str, facts: TemplateFacts) -> Verification:
    """The result of a verification that succeeded."""
    return Verification(
        name=name,
        strategies={each: each in facts.strategies for each in STRATEGIES},
        sentences=facts_in_words(facts)[1:],
        uncertain=list(facts.uncertain),
        refused_probes=facts.refused,
    )


def most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    """Names with their counts, the most frequent first."""
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))
