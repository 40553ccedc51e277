"""Merges datasets in phases, each of which leaves a file behind, so that an interrupted merge goes on with the next.

work/clean.jsonl      the rows of all inputs that pass the filters and are not in evaluation sets
work/unique.jsonl     those without duplicates, with their clusters
work/PHASE.json       what the phase found; written last, so a phase without it is done again
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seedbed import files
from seedbed.config.preparing import Merging
from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.folder import Description
from seedbed.curation.parts import Ticker
from seedbed.curation.record import Record, encode
from seedbed.curation.steps import Step, through
from seedbed.errors import SeedbedError

CLEAN, UNIQUE = "clean", "unique"
PHASES = {CLEAN: 1, UNIQUE: 2}
Report = Callable[[str, int, int], None]
"""Called with the phase, the bytes that are done and all bytes; it may raise to stop the work."""


class PhaseResult(msgspec.Struct, kw_only=True):
    """What a phase found."""

    inputs: list[str]
    """The fingerprints of the datasets that were merged."""
    rows: int
    drops: dict[str, Any]
    facts: dict[str, Any] = {}


class Merger:
    """Merges the datasets of a config, phase by phase, in a folder of its own."""

    def __init__(self, config: Merging, work: Path, report: Report) -> None:
        """`work`: the folder of the phases' files. Raises SeedbedError if an input is no dataset or is damaged."""
        self.config, self.work, self._report = config, files.make_dir(work), report
        self.inputs = [Path(name) for name in config.merge.inputs]
        self.described: list[Description] = []
        for path in self.inputs:
            description = layout.describe(path)
            layout.verify(path, description)
            self.described.append(description)
        self._fingerprints = [each.fingerprint for each in self.described]

    @property
    def clean(self) -> Path:
        """The file of the rows that pass the filters."""
        return self.work / f"{CLEAN}.jsonl"

    @property
    def unique(self) -> Path:
        """The file of the rows without duplicates."""
        return self.work / f"{UNIQUE}.jsonl"

    def run_clean(self) -> PhaseResult:
        """Filter the rows of all inputs, and leave out what is in the evaluation sets."""
        done = self._done(CLEAN)
        if done is not None:
            return done
        drops, steps = Drops(), list(self._steps())
        rows = self._write(self.clean, through(self._rows(), steps, drops))
        facts = {step.name: msgspec.to_builtins(step.summary()) for step in steps if hasattr(step, "summary")}
        return self._finish(CLEAN, rows, drops, facts)

    def run_unique(self) -> PhaseResult:
        """Leave out duplicates, and mark clusters of near duplicates."""
        from seedbed.curation.duplicates.deduplicate import DuplicateOptions, deduplicate

        done = self._done(UNIQUE)
        if done is not None:
            return done
        wanted = self.config.duplicates
        options = DuplicateOptions(
            near=wanted.near,
            code_similarity=wanted.code_similarity,
            prose_similarity=wanted.prose_similarity,
            workers=self.config.merge.workers or None,
        )
        total = self.clean.stat().st_size
        found = deduplicate([self.clean], options, self.work, lambda read: self._report("comparing", read, total))
        drops = Drops()
        rows = self._write(self.unique, found.records(drops))
        return self._finish(UNIQUE, rows, drops, {"duplicates": msgspec.to_builtins(found.summary)})

    def _steps(self) -> Iterator[Step]:
        if self.config.quality.filters:
            from seedbed.curation.quality import QualityStep

            yield QualityStep()
        if self.config.decontamination.against:
            from seedbed.curation.decontamination import Decontaminate

            yield Decontaminate([Path(each) for each in self.config.decontamination.against])

    def _rows(self) -> Iterator[Record]:
        """The rows of all inputs, in order."""
        named = [
            (folder, name, facts.size_bytes)
            for folder, description in zip(self.inputs, self.described, strict=True)
            for name, facts in description.files.items()
        ]
        total, done = sum(size for _, _, size in named), 0
        tick = Ticker(lambda: self._report("reading", done, total))
        for folder, name, size in named:
            for record in layout.read_rows(folder, name):
                record.group = None
                tick()
                yield record
            done += size
            self._report("reading", done, total)

    def _write(self, path: Path, records: Iterable[Record]) -> int:
        rows = 0
        with files.replacing(path, durable=False) as handle:
            for record in records:
                handle.write(encode(record) + b"\n")
                rows += 1
        return rows

    def _done(self, phase: str) -> PhaseResult | None:
        """What a phase found when it was done before, on the same inputs; None if it must be done."""
        try:
            found = msgspec.convert(files.read_json(self.work / f"{phase}.json"), PhaseResult)
        except (SeedbedError, msgspec.ValidationError):
            return None
        return found if found.inputs == self._fingerprints and (self.work / f"{phase}.jsonl").is_file() else None

    def _finish(self, phase: str, rows: int, drops: Drops, facts: dict[str, Any]) -> PhaseResult:
        if not rows:
            raise SeedbedError("No rows are left.", "Look at the reports of the inputs, or use other options.")
        drops.mask(lambda text: text)
        result = PhaseResult(inputs=self._fingerprints, rows=rows, drops=drops.as_json(), facts=facts)
        files.write_json(self.work / f"{phase}.json", msgspec.to_builtins(result), durable=False)
        return result


def all_drops(described: Sequence[Description], results: Sequence[PhaseResult]) -> Drops:
    """What the phases left out; what was left out before is in the descriptions of the inputs."""
    drops = Drops()
    for result in results:
        drops.add(Drops.from_json(result.drops))
    return drops
