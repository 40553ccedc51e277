"""Merges datasets in phases, each of which leaves a file behind, so that an interrupted merge goes on with the next.

work/clean.jsonl      the rows of all inputs that pass the filters and are not in evaluation sets, if either was asked for
work/unique.jsonl     those without duplicates, with their clusters
work/PHASE.json       what the phase found; written last, so a phase without it is done again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from seedbed import files, locks
from seedbed.config.preparing import Merging
from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.folder import Description
from seedbed.curation.parts import Ticker
from seedbed.curation.published import command_of, without_secrets
from seedbed.curation.record import Record, encode
from seedbed.curation.report.tally import Tally
from seedbed.curation.report.writing import write_report
from seedbed.curation.result import most_frequent
from seedbed.curation.steps import Step, through
from seedbed.errors import SeedbedError, UsageError

CLEAN, UNIQUE = "clean", "unique"
_LOCK_POLL_S = 0.1
Report = Callable[[str, int, int], None]
"""Called with the phase, the bytes that are done and all bytes; it may raise to stop the work."""


@runtime_checkable
class FindsItems(Protocol):
    """A step that finds items of evaluation sets."""

    def hits(self) -> Sequence[Any]:
        """The items that were found."""
        ...

    def sets(self) -> Sequence[Any]:
        """What was found of each set."""
        ...


class PhaseResult(msgspec.Struct, kw_only=True):
    """What a phase found."""

    inputs: list[str]
    """The fingerprints of the datasets that were merged."""
    rows: int
    size_bytes: int
    """Of its file, which may be cut short by a power failure."""
    drops: dict[str, Any]
    facts: dict[str, Any] = {}


class Merger:
    """Merges the datasets of a config, phase by phase, in a folder of its own."""

    def __init__(self, config: Merging, work: Path, report: Report) -> None:
        """`work`: the folder of the phases' files. Raises SeedbedError if an input is no dataset or is damaged."""
        self.config, self.work, self._report = config, files.make_dir(work, layout.PRIVATE_DIR), report
        self.inputs = [Path(name) for name in config.merge.inputs]
        self.described: list[Description] = []
        for path in self.inputs:
            description = layout.describe(path)
            layout.verify(path, description)
            self.described.append(description)
        self._fingerprints = [each.fingerprint for each in self.described]

    @property
    def clean(self) -> list[Path]:
        """The files of the rows that pass the filters: those of the inputs if there are no filters."""
        if self._filters:
            return [self.work / f"{CLEAN}.jsonl"]
        return [folder / name for folder, name, _ in self._files()]

    @property
    def unique(self) -> Path:
        """The file of the rows without duplicates."""
        return self.work / f"{UNIQUE}.jsonl"

    def run_clean(self) -> PhaseResult:
        """Filter the rows of all inputs, and leave out what is in the evaluation sets, if either was asked for."""
        done = self._done(CLEAN)
        if done is not None:
            return done
        found: dict[str, Sequence[Any]] = {"evaluation_items": [], "evaluation_sets": []}
        if not self._filters:
            return PhaseResult(
                inputs=self._fingerprints,
                rows=sum(facts.rows for each in self.described for facts in each.files.values()),
                size_bytes=sum(size for _, _, size in self._files()),
                drops=Drops().as_json(),
                facts=msgspec.to_builtins(found),
            )
        drops, steps = Drops(), list(self._steps())
        rows = self._write(self.work / f"{CLEAN}.jsonl", through(self._rows(), steps, drops))
        finding = next((each for each in steps if isinstance(each, FindsItems)), None)
        if finding is not None:
            found = {"evaluation_items": finding.hits(), "evaluation_sets": finding.sets()}
        return self._finish(CLEAN, rows, drops, msgspec.to_builtins(found))

    def run_unique(self) -> PhaseResult:
        """Leave out duplicates, and mark clusters of near duplicates."""
        from seedbed.curation.duplicates.deduplicate import deduplicate
        from seedbed.curation.duplicates.options import DuplicateOptions

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
        total = sum(path.stat().st_size for path in self.clean)
        found = deduplicate(self.clean, options, self.work, lambda read: self._report("comparing", read, total))
        drops = Drops()
        rows = self._write(self.unique, found.records(drops))
        return self._finish(UNIQUE, rows, drops, {"duplicates": msgspec.to_builtins(found.summary)})

    def progress(self, phase: str, total: int) -> Callable[[int], None]:
        """A function that adds bytes to those that are done of a phase, and reports them."""
        done = 0

        def advance(size_bytes: int) -> None:
            nonlocal done
            done = min(done + size_bytes, total)
            self._report(phase, done, total)

        return advance

    def known_ledger(self, *own: Path) -> Path | None:
        """A file with the evaluation rows of earlier builds: of the ledger that is kept, and of the inputs' own ones.

        None if there are none. Raises SeedbedError if one cannot be read.
        """
        from seedbed.curation.splitting.ledger import read_ledger

        ledgers = [*own, *(folder / layout.LEDGER for folder in self.inputs)]
        for path in filter(Path.is_file, ledgers):
            read_ledger(path)  # an error names the file that has it
        lines = [line for path in ledgers if path.is_file() for line in path.read_bytes().splitlines()]
        if not lines:
            return None
        known = self.work / "known-ledger.jsonl"
        files.write_atomic(known, b"".join(line + b"\n" for line in dict.fromkeys(lines)), durable=False)
        return known

    def lineage_of(self, number: int) -> dict[str, Any]:
        """What dataset.json says of an input: what it is, and what it was made from."""
        found = self.described[number]
        return {
            "name": found.name,
            "fingerprint": found.fingerprint,
            "rows": sum(each.rows for each in found.files.values()),
            "made": found.made,
            "command": found.command,
            "drops": found.drops.get("counts", []),
            "inputs": found.inputs,
        }

    def steps(self) -> list[str]:
        """The steps that the rows of this merge passed, after those of the inputs."""
        before = dict.fromkeys(step for each in self.described for step in each.steps)
        own = []
        if self.config.quality.filters:
            from seedbed.curation.quality import QualityStep

            own.append(f"{QualityStep.name}@{QualityStep.version}")
        if self.config.decontamination.against:
            from seedbed.curation.decontamination import Decontaminate

            own.append(f"{Decontaminate.name}@{Decontaminate.version}")
        return [*before, *own, "deduplicate@1", "split@1"]

    def _steps(self) -> Iterator[Step]:
        if self.config.quality.filters:
            from seedbed.curation.quality import QualityStep

            yield QualityStep(self.config.quality)
        if self.config.decontamination.against:
            from seedbed.curation.decontamination import Decontaminate, index_items
            from seedbed.curation.evaluation_sets import Reading, read_items

            reading = Reading()
            sets = read_items(self.config.decontamination.against, reading)
            yield Decontaminate(index_items(sets, reading))

    @property
    def _filters(self) -> bool:
        """Whether rows are filtered, or compared with evaluation sets."""
        return self.config.quality.filters or bool(self.config.decontamination.against)

    def _files(self) -> list[tuple[Path, str, int]]:
        """The files of all inputs: their folders, names and sizes in bytes."""
        return [
            (folder, name, facts.size_bytes)
            for folder, description in zip(self.inputs, self.described, strict=True)
            for name, facts in description.files.items()
        ]

    def _rows(self) -> Iterator[Record]:
        """The rows of all inputs, in order."""
        named = self._files()
        total, done = sum(size for _, _, size in named), 0
        tick = Ticker(lambda: self._report("reading", done, total))
        for folder, name, size in named:
            for record in layout.read_rows(folder, name):
                tick()
                yield record
            done += size
            self._report("reading", done, total)

    def _write(self, path: Path, records: Iterable[Record]) -> int:
        rows = 0
        with files.replacing(path, durable=False) as handle:
            for record in records:
                record.group = None  # of an input that was split before
                handle.write(encode(record) + b"\n")
                rows += 1
        return rows

    def _done(self, phase: str) -> PhaseResult | None:
        """What a phase found when it was done before, on the same inputs; None if it must be done."""
        try:
            found = msgspec.convert(files.read_json(self.work / f"{phase}.json"), PhaseResult)
        except (SeedbedError, msgspec.ValidationError):
            return None
        path = self.work / f"{phase}.jsonl"
        whole = path.is_file() and path.stat().st_size == found.size_bytes
        return found if whole and found.inputs == self._fingerprints else None

    def _finish(self, phase: str, rows: int, drops: Drops, facts: dict[str, Any]) -> PhaseResult:
        if not rows:
            raise UsageError(
                f"No rows are left: {most_frequent(drops) or 'the inputs have none'}.",
                "Look at the reports of the inputs, or use other options.",
            )
        drops.mask(lambda text: text)
        size_bytes = (self.work / f"{phase}.jsonl").stat().st_size
        result = PhaseResult(
            inputs=self._fingerprints, rows=rows, size_bytes=size_bytes, drops=drops.as_json(), facts=facts
        )
        files.write_json(self.work / f"{phase}.json", msgspec.to_builtins(result), durable=False)
        return result


def remember(ledger: Path, entries: bytes, known: bytes) -> bool:
    """Add the lines of `entries` that a ledger does not have; nothing in it is ever removed.

    `known`: the lines that the split knew. False, and nothing is added, if another merge has added further ones since then:
    its evaluation rows may be among the training rows. Raises StorageError if the ledger cannot be written.
    """
    files.make_dir(ledger.parent)
    lock = locks.Lock(ledger.with_name(f".{ledger.name}.lock"), "Keep the ledger on a local disk: --ledger FILE.")
    while not (lock.acquire() and lock.is_current()):  # another may have removed the file of the lock meanwhile
        lock.release()
        time.sleep(_LOCK_POLL_S)
    try:
        with files.explained(ledger):
            before = ledger.read_bytes().splitlines() if ledger.is_file() else []
            mode = ledger.stat().st_mode & 0o777 if ledger.is_file() else layout.PRIVATE_FILE
        if not set(before) <= set(known.splitlines()):
            return False
        lines = dict.fromkeys((*before, *entries.splitlines()))
        files.write_atomic(ledger, b"".join(line + b"\n" for line in lines), mode=mode)
        return True
    finally:
        lock.remove()


def assemble(merger: Merger, output: Path, meta: Mapping[str, Any], folder: Path) -> Description:
    """Split the rows and put the dataset in the place of `output`, as a whole or not at all.

    `meta`: the task's meta.json, for the command that is recorded; `folder`: a folder in its directory, for temporary
    files. Rows are split again if another merge has added to the ledger meanwhile. Raises SeedbedError if too many
    evaluation answers are visible in the training rows, however the rows are split.
    """
    asked = merger.config.split
    ledger = Path(asked.ledger) if asked.ledger else output.parent / layout.LEDGER
    while True:
        prepared = layout.new_folder(folder, output)
        try:
            known = merger.known_ledger(ledger, output / layout.LEDGER)
            before = known.read_bytes() if known is not None else b""
            description, entries = _prepare(merger, known, prepared, output.name, meta, folder)
            files.write_atomic(prepared / layout.LEDGER, before + entries)
            layout.write_description(prepared, description)
            if remember(ledger, before + entries, before):  # first: a row once chosen for evaluation stays there
                layout.publish(prepared, output, description, meta)
                return description
        except BaseException:
            files.remove_tree(prepared)
            raise
        files.remove_tree(prepared)


def _prepare(
    merger: Merger, known: Path | None, prepared: Path, name: str, meta: Mapping[str, Any], folder: Path
) -> tuple[Description, bytes]:
    """Split the rows into files in the folder `prepared`; their description, and the lines that the ledger gets.

    `known`: a file with the rows that were evaluated before.
    """
    from seedbed.curation.splitting.ledger import encode_line
    from seedbed.curation.splitting.split import SplitOptions, rows_of, split

    asked = merger.config.split
    results = [merger.run_clean(), merger.run_unique()]
    drops = Drops()
    for result in results:
        drops.add(Drops.from_json(result.drops))
    options = SplitOptions(
        eval_fraction=asked.eval_fraction,
        eval_rows=asked.eval_rows,
        max_leaked=asked.max_leaked,
        level=asked.level,
        salt=asked.salt,
        ledger=known,
        workers=merger.config.merge.workers or None,
    )
    parts = [merger.unique]
    advance = merger.progress("splitting", 3 * merger.unique.stat().st_size)
    found = split(parts, options, drops, advance, folder)
    tally, advance = Tally(), merger.progress("writing", merger.unique.stat().st_size)
    with layout.row_writer(prepared / layout.TRAIN) as train, layout.row_writer(prepared / layout.EVAL) as held_out:
        for split_name, record in rows_of(parts, found, advance):
            (held_out if split_name == "eval" else train).add(record)
            tally.add(record, split_name)
    facts = {layout.TRAIN: train.facts, layout.EVAL: held_out.facts}
    layout.write_rejects(prepared, drops)
    leakage = msgspec.to_builtins(found.leakage) | {"rate": found.leakage.rate}
    description = Description(
        name=name,
        made="merge",
        command=without_secrets(command_of(meta)),
        settings=without_secrets(msgspec.to_builtins(merger.config)),
        fingerprint=layout.fingerprint_of(facts),
        files=facts,
        steps=merger.steps(),
        inputs=[merger.lineage_of(number) for number in range(len(merger.inputs))],
        drops=drops.as_json(),
        facts=results[0].facts | results[1].facts | {"leakage": leakage},
    )
    write_report(prepared, description, tally.contents())
    return description, b"".join(encode_line(line) for line in found.ledger)
