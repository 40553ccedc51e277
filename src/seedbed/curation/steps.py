"""What a pipeline is made of: units of input, which are read as a whole, and steps that filter or change records.

Rank r of W processes has the units r, r + W, r + 2W, ...; the results are put together in the order of the units, so every
number of ranks gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from seedbed.curation.drops import Drops
from seedbed.curation.record import Record


class Unit(Protocol):
    """A part of the input that is read, and cached, as a whole: the logs of one project, or one repository."""

    @property
    def name(self) -> str:
        """Its name in messages, without absolute paths, such as `-home-me-app` or `app`."""
        ...

    @property
    def size_bytes(self) -> int:
        """About how many bytes it has, for the progress."""
        ...

    def fingerprint(self) -> str:
        """Hex digest that changes when its content changes: of names, sizes and times of files, or of a commit."""
        ...

    def read(self, drops: Drops) -> Iterator[Record]:
        """Yield its records, in a fixed order, in bounded memory; what is left out is counted in `drops`.

        Raises SeedbedError only if nothing of it can be read. Bad parts are counted and named, and never end the rest.
        """
        ...


class Step(Protocol):
    """A step of a pipeline: it yields the records that it keeps, changed or not, in order."""

    @property
    def name(self) -> str:
        """Its name in counts of drops and in lineages, such as `redact`."""
        ...

    @property
    def version(self) -> int:
        """Raised when the same input gives other output, so that caches are not used."""
        ...

    def __call__(self, records: Iterator[Record], drops: Drops) -> Iterator[Record]:
        """Yield the records that the step keeps; each that it leaves out is counted in `drops` under its name."""
        ...


def units_of_rank(units: Sequence[Unit], rank: int, world: int) -> Iterator[tuple[int, Unit]]:
    """The units of one rank, with their numbers."""
    return ((number, unit) for number, unit in enumerate(units) if number % world == rank)


def through(records: Iterator[Record], steps: Sequence[Step], drops: Drops) -> Iterator[Record]:
    """The records after all the steps, each marked with the steps that it passed."""
    for step in steps:
        records = _marked(step(records, drops), f"{step.name}@{step.version}")
    return records


def _marked(records: Iterator[Record], mark: str) -> Iterator[Record]:
    for record in records:
        record.lineage = [*(record.lineage or ()), mark]
        yield record
