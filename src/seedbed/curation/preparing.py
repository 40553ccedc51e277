"""Prepares a dataset: the units of input, the steps that every record passes, and the part that each unit becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from seedbed.config.preparing import Preparation
from seedbed.curation.drops import Drops
from seedbed.curation.inputs import units_of
from seedbed.curation.parts import Part, Ticker, find_part, key_of, make_part
from seedbed.curation.record import Record
from seedbed.curation.redaction.redactor import RedactionOptions, Redactor
from seedbed.curation.redaction.step import RedactStep, project_key
from seedbed.curation.repositories.git import Repository, authors
from seedbed.curation.repositories.licence_gate import LicenceGate
from seedbed.curation.steps import Step, Unit, units_of_rank
from seedbed.errors import SeedbedError

_KEY_FILE = "redaction.key"
_NOT_IN_SETTINGS = ("inputs", "workers", "executor")
"""Keys of the table `prepare` that do not change what a part contains."""
_READ, _UNREADABLE = "read", "cannot be read"
"""Step and reason of a unit of which nothing can be read. Its part is made again the next time."""


class Preparer:
    """Makes the parts of a preparation, one by one. Every process that takes part has one of its own."""

    def __init__(self, config: Preparation, cache: Path) -> None:
        """`cache`: the folder with the parts and the key of the redaction. Both must be the same for all processes."""
        self.config, self.cache = config, cache
        self.found = Drops()
        """What was left out while the units were found."""
        settings: dict[str, Any] = msgspec.to_builtins(config)
        for name in _NOT_IN_SETTINGS:
            settings["prepare"].pop(name)
        self._settings = settings
        self._authors: dict[str, tuple[str, ...]] = {}
        """Repository -> the names of its authors, for the units that were made so far."""

    @cached_property
    def units(self) -> list[Unit]:
        """The units of all inputs, in order. Raises UsageError if there are none."""
        return units_of(self.config, self.found)

    @cached_property
    def _redact(self) -> RedactStep:
        asked = self.config.redaction
        options = RedactionOptions(personal=asked.personal, names=asked.names, user=asked.user, host=asked.host)
        return RedactStep(Redactor(project_key(self.cache / _KEY_FILE), options), self._names_of)

    def _names_of(self, record: Record) -> Sequence[str]:
        """The names of people that are replaced in a record: the authors of its repository."""
        return self._authors.get(record.provenance.repository or "", ())

    @cached_property
    def steps(self) -> list[Step]:
        """The steps that every record passes before it is written."""
        asked = self.config.prepare
        steps: list[Step] = []
        if asked.licences != "any" and asked.what in ("commits", "harvest"):
            steps.append(LicenceGate(asked.licences))
        steps.append(self._redact)
        if self.config.quality.filters:
            from seedbed.curation.quality import QualityStep

            steps.append(QualityStep())
        return steps

    def _mask(self, text: str) -> str:
        """The text of a sample of what was left out, redacted."""
        return self._redact.redactor.redact(text).text

    def key(self, unit: Unit) -> str:
        """The name of a unit's part in the cache."""
        rules = self._redact.redactor.fingerprint()
        return key_of(unit, [self._settings, rules], self.steps)

    def find(self, unit: Unit) -> Part | None:
        """The finished part of a unit as it is now, if the cache has it."""
        return find_part(self.cache, self.key(unit))

    def make(self, unit: Unit, check: Callable[[], None]) -> Part:
        """The part of a unit: from the cache, or made. `check` is called several times a second.

        A unit of which nothing can be read becomes an empty part, and is counted.
        """
        key = self.key(unit)
        part = find_part(self.cache, key)
        if part is not None and not part.drops.counts[_READ, _UNREADABLE]:
            return part
        if self.config.redaction.personal and isinstance(unit, OfRepository) and unit.repository is not None:
            self._authors.setdefault(unit.repository_name, authors(unit.repository))
        return make_part(self.cache, key, _Tolerant(unit), self.steps, self._mask, Ticker(check))

    def make_rank(self, rank: int, world: int, check: Callable[[], None]) -> Iterator[tuple[int, Part]]:
        """Make the parts of one rank, with the numbers of their units."""
        for number, unit in units_of_rank(self.units, rank, world):
            yield number, self.make(unit, check)


@runtime_checkable
class OfRepository(Protocol):
    """A unit of a repository, whose authors are known."""

    @property
    def repository(self) -> Repository | None:
        """The repository; None for a folder that is none."""
        ...

    @property
    def repository_name(self) -> str:
        """The name of the repository in the provenance of its records."""
        ...


class _Tolerant:
    """A unit of which nothing can be read yields no records and is counted, so that it does not end the others."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.name, self.size_bytes = unit.name, unit.size_bytes

    def fingerprint(self) -> str:
        return self._unit.fingerprint()

    def read(self, drops: Drops) -> Iterator[Record]:
        try:
            yield from self._unit.read(drops)
        except SeedbedError as error:
            drops.drop(_READ, _UNREADABLE, self.name, error.message)
