"""The figures of a report card: what is in a dataset, what was left out and why, and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seedbed import files
from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.folder import Description
from seedbed.curation.report.measured import Measured
from seedbed.curation.report.tally import Contents, Split, Tally
from seedbed.errors import SeedbedError
from seedbed.text import quoted, shorten

FORMAT = 1
EXAMPLES = 3
"""Examples of each reason."""
EXCERPT = 300
REPORT_ROWS = 100
SPLIT_OF: dict[str, Split] = {layout.TRAIN: "train", layout.EVAL: "eval", layout.RECORDS: "records"}
"""Which rows each file has."""
_REMEDY = "Delete the file; `seedbed data report` then counts the rows again."


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
    tokens: Measured | None = None
    """What `seedbed data report --model` measured; None if it was not."""

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


def summarise(folder: Path, description: Description, report: Callable[[int], None] | None = None) -> Summary:
    """Read all rows of a dataset, and sum up what is in it.

    `report` is called with the bytes read since, by the mean size of a row. Raises SeedbedError, with the line, if a row
    cannot be read.
    """
    return summary_of(description, counted(folder, description, report))


def counted(folder: Path, description: Description, report: Callable[[int], None] | None = None) -> Contents:
    """What is in the rows of a dataset; `report` and errors as in `summarise`."""
    tally = Tally()
    for name, split in SPLIT_OF.items():
        facts = description.files.get(name)
        if facts is None:
            continue
        reported = 0
        for number, record in enumerate(layout.read_rows(folder, name), 1):
            tally.add(record, split)
            if report and (number % REPORT_ROWS == 0 or number == facts.rows):
                done = facts.size_bytes * number // max(facts.rows, 1)
                report(done - reported)
                reported = done
    return tally.contents()


def summary_of(description: Description, contents: Contents) -> Summary:
    """The figures of a dataset whose rows are counted."""
    drops = Drops.from_json(description.drops)
    return Summary(
        name=description.name,
        made=description.made,
        made_by=description.made_by,
        command=description.command,
        fingerprint=description.fingerprint,
        size_bytes=sum(each.size_bytes for each in description.files.values()),
        steps=description.steps,
        settings=description.settings,
        inputs=description.inputs,
        contents=contents,
        left_out=reasons_of(drops),
        left_out_before=reasons_before(description.inputs),
        notes=[Note(step=step, what=what, count=count) for (step, what), count in drops.notes.most_common()],
        facts=description.facts,
    )


def reasons_of(drops: Drops) -> list[Reason]:
    """Why something was left out, the most frequent reasons first, each with its first examples."""
    examples: dict[tuple[str, str], list[Example]] = {}
    for sample in drops.samples:
        found = examples.setdefault((sample.step, sample.reason), [])
        if len(found) < EXAMPLES:
            found.append(Example(where=shorten(sample.where, EXCERPT), text=shorten(sample.text, EXCERPT)))
    ordered = sorted(drops.counts.items(), key=lambda each: (-each[1], each[0]))
    return [
        Reason(step=step, reason=reason, count=count, examples=examples.get((step, reason), []))
        for (step, reason), count in ordered
    ]


def reasons_before(inputs: Sequence[Mapping[str, Any]]) -> list[Reason]:
    """What was left out when the inputs, and the datasets of which these were made, were made."""
    drops = Drops()
    for each in inputs:
        drops.add(Drops.from_json({"counts": each.get("drops", [])}))
        below = each.get("inputs")
        if isinstance(below, list):
            for reason in reasons_before([one for one in below if isinstance(one, dict)]):
                drops.counts[reason.step, reason.reason] += reason.count
    return reasons_of(drops)


def read_report(folder: Path, description: Description) -> Summary | None:
    """The figures in report.json; None if there are none, or if they are of other rows or of another version.

    Raises SeedbedError if the file cannot be read.
    """
    path = folder / layout.REPORT_JSON
    value = files.read_json(path, _REMEDY)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    try:
        summary = msgspec.convert(value, Summary)
    except msgspec.ValidationError as error:
        raise SeedbedError(f"{quoted(path)} is damaged: {error}.", _REMEDY) from None
    return summary if summary.fingerprint == description.fingerprint else None
