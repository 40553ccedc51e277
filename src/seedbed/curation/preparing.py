"""Prepares a dataset: the units of input, the steps that every record passes, and the part that each unit becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from seedbed.config.preparing import Preparation
from seedbed.curation.commits.units import CommitUnit
from seedbed.curation.drops import Drops
from seedbed.curation.fim.edit_units import EditUnit
from seedbed.curation.inputs import units_of
from seedbed.curation.logs.shortening import ShortenStep
from seedbed.curation.parts import Part, Ticker, find_part, key_of, make_part
from seedbed.curation.record import Record
from seedbed.curation.redaction.redactor import RedactionOptions, Redactor
from seedbed.curation.redaction.step import RedactStep, project_key
from seedbed.curation.repositories.completeness import Missing, missing_of
from seedbed.curation.repositories.git import Repository, authors
from seedbed.curation.repositories.licence_gate import LicenceGate
from seedbed.curation.steps import Step, Unit, units_of_rank
from seedbed.errors import SeedbedError

_KEY_FILE = "redaction.key"
_NOT_IN_SETTINGS = ("inputs", "workers", "executor")
"""Keys of the table `prepare` that do not change what a part contains."""
_READ, _UNREADABLE = "read", "cannot be read"
"""Step and reason of a unit of which nothing can be read."""


def is_unreadable(drops: Drops) -> bool:
    """Whether something was left out because it could not be read; it may be readable the next time."""
    return any(key == (_READ, _UNREADABLE) or key[1].startswith("unreadable") for key in drops.counts)


class Preparer:
    """Makes the parts of a preparation, one by one. Every process that takes part has one of its own."""

    def __init__(
        self, config: Preparation, cache: Path, *, update: bool = True, check: Callable[[], None] | None = None
    ) -> None:
        """`cache`: the folder with the parts and the key of the redaction. Both must be the same for all processes.

        `update`: whether clones that are there get what is new; only one process may do that. `check` is called several
        times a second while a repository is cloned.
        """
        self.config, self.cache, self._update, self._check = config, cache, update, check
        self.found = Drops()
        """What was left out while the units were found."""
        settings: dict[str, Any] = msgspec.to_builtins(config)
        for name in _NOT_IN_SETTINGS:
            settings["prepare"].pop(name)
        if not config.quality.filters:
            settings["quality"] = {"filters": False}  # limits that are not used change nothing
        self._settings = settings
        self._names: tuple[str, ...] = ()
        """The names of the authors of the repository whose unit is being made."""

    @cached_property
    def units(self) -> list[Unit]:
        """The units of all inputs, in order. Raises UsageError if there are none."""
        return units_of(self.config, self.found, update=self._update, check=self._check)

    @cached_property
    def _clones(self) -> list[Missing]:
        """What the shallow and partial clones lack whose commits are read."""
        repositories = dict.fromkeys(unit.repository for unit in self.units if isinstance(unit, CommitUnit))
        return [found for each in repositories if (found := missing_of(each)) is not None]

    def without_commits(self) -> tuple[int, int]:
        """Of the repositories whose commits are asked for, how many have none that the options select, and how many there are."""
        if self.config.prepare.what == "fim" and not self.config.fim.edits:
            return 0, 0
        having = {unit.repository for unit in self.units if isinstance(unit, CommitUnit | EditUnit)}
        found = {unit.repository for unit in self.units if isinstance(unit, OfRepository)} - {None}
        return len(found - having), len(found)

    def missing(self, drops: Drops) -> list[Missing]:
        """What the clones lack. A partial clone may have all that is needed: only what was left out (`drops`) tells."""
        return [each for each in self._clones if each.kind == "shallow" or is_unreadable(drops)]

    @cached_property
    def _redact(self) -> RedactStep:
        asked = self.config.redaction
        options = RedactionOptions(personal=asked.personal, names=asked.names, user=asked.user, host=asked.host)
        return RedactStep(Redactor(project_key(self.cache / _KEY_FILE), options), lambda record: self._names)

    def _names_of(self, unit: Unit) -> tuple[str, ...]:
        """The names of people that are replaced in a unit: the authors of its repository."""
        if self.config.redaction.personal and isinstance(unit, OfRepository) and unit.repository is not None:
            return authors(unit.repository)
        return ()

    @cached_property
    def steps(self) -> list[Step]:
        """The steps that every record passes before it is written."""
        asked = self.config.prepare
        steps: list[Step] = []
        if asked.licences != "any" and asked.what in ("commits", "harvest"):
            steps.append(LicenceGate(asked.licences))
        steps.append(self._redact)
        if asked.what == "logs":
            steps.append(ShortenStep(self.config.logs.max_result_characters))
        if self.config.quality.filters:
            from seedbed.curation.quality import QualityStep

            steps.append(QualityStep(self.config.quality))
        return steps

    def mask(self, text: str) -> str:
        """A text that is no record, such as a sample of what was left out, redacted."""
        return self._redact.redactor.redact_text(text)

    def key(self, unit: Unit) -> str:
        """The name of a unit's part in the cache."""
        rules = self._redact.redactor.fingerprint()
        return key_of(unit, [self._settings, rules, self._names_of(unit)], self.steps)

    def find(self, unit: Unit) -> Part | None:
        """The finished part of a unit as it is now, if the cache has it. What could not be read is tried again.

        Whether objects of git are there, or a file can be read, is no part of a unit's fingerprint.
        """
        return self.finished(self.key(unit))

    def finished(self, key: str) -> Part | None:
        """The finished part with this key, if the cache has it and all of its unit could be read."""
        part = find_part(self.cache, key)
        return None if part is None or is_unreadable(part.drops) else part

    def made(self, unit: Unit) -> Part | None:
        """The part of a unit that was made now, also if nothing of the unit could be read."""
        return find_part(self.cache, self.key(unit))

    def make(self, unit: Unit, check: Callable[[], None]) -> Part:
        """The part of a unit: from the cache, or made. `check` is called several times a second.

        A unit of which nothing can be read becomes an empty part, and is counted.
        """
        part = self.find(unit)
        if part is not None:
            return part
        names = self._names = self._names_of(unit)

        def mask(text: str) -> str:
            return self._redact.mask(text, names)

        return make_part(self.cache, self.key(unit), _Tolerant(unit), self.steps, mask, Ticker(check))

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
