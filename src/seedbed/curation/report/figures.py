"""What a report card says, as typed figures: the content of report.json."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed.curation.report.tally import Contents

FORMAT = 1


class Example(msgspec.Struct, kw_only=True, frozen=True):
    """Something that was left out: where it was, and how its text begins."""

    where: str
    text: str


class Reason(msgspec.Struct, kw_only=True, frozen=True):
    """Why something was left out, and how often."""

    step: str
    reason: str
    count: int
    examples: list[Example]


class Note(msgspec.Struct, kw_only=True, frozen=True):
    """A fact that was counted and drops nothing."""

    step: str
    what: str
    count: int


class Summary(msgspec.Struct, kw_only=True):
    """The figures of a report card, which are the content of report.json."""

    format: int = FORMAT
    name: str
    made: str
    made_by: str
    command: str
    fingerprint: str
    """Of the dataset when its rows were counted."""
    size_bytes: int
    steps: list[str]
    settings: dict[str, Any]
    inputs: list[dict[str, Any]]
    contents: Contents
    left_out: list[Reason]
    """The most frequent reasons first."""
    left_out_before: list[Reason] = []
    """What was left out when the inputs were made, without examples: these are in the reports of the inputs."""
    notes: list[Note] = []
    facts: dict[str, Any] = {}
    """Results of the work: `leakage`, `duplicates` and others, as in dataset.json."""

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(each.rows for each in self.contents.splits.values())

    @property
    def characters(self) -> int:
        """The characters of all rows."""
        return sum(each.characters for each in self.contents.splits.values())

    @property
    def trained(self) -> int:
        """The characters of all rows that are trained."""
        return sum(each.trained for each in self.contents.splits.values())
