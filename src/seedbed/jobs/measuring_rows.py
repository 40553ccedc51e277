"""Measures the tokens of a dataset: renders its rows as a training with a context does, and packs the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, Self

from seedbed.checkpoint.marker import is_named, step_of
from seedbed.curation.drops import Drops
from seedbed.curation.fim.families import families_of
from seedbed.curation.folder import EVAL, RECORDS, TRAIN, Description, read_rows
from seedbed.curation.record import Record, texts_of
from seedbed.curation.rendering.encoding import Sample
from seedbed.curation.report.measured import Fitted, Measured, Verification
from seedbed.curation.report.tally import Split
from seedbed.curation.report.token_tally import TokenTally, most_frequent, verification_of
from seedbed.data.packing import pack
from seedbed.data.rendering import SampleEncoder, Settings
from seedbed.errors import SeedbedError, StorageError, UsageError
from seedbed.runs.store import RunDir, is_run
from seedbed.tokenizer.tokenizer import Tokenizer

SPLITS: dict[str, Split] = {TRAIN: "train", EVAL: "eval", RECORDS: "records"}
BATCH_ROWS = 64
REFUSED = "the chat template is refused"
NO_MARKERS = "the tokenizer has no markers for gaps to fill"
Loss = Literal["assistant", "targets", "all"]


def name_of(model: Path) -> str:
    """What people call a model: RUN@STEP for a checkpoint of a run, else the name of its folder."""
    run = RunDir(model.parent.parent)
    return f"{run.name()}@{step_of(model)}" if is_named(model) and is_run(run.path) else model.name


class RowMeasurement:
    """Measures rows with the tokenizer and chat template of a model. Use it in a `with` block, or call `close`."""

    def __init__(
        self, model: Path, *, family: str, context: int, loss: Loss, cache: Path, template: str | None = None
    ) -> None:
        """`family`: whose markers rows with a gap get; "" for one that the tokenizer has. `context`: tokens of a packed row.

        Raises UsageError for a context below 2, SeedbedError if the tokenizer cannot be read.
        """
        if context < 2:
            raise UsageError(f"A context of {context} leaves no room for a prediction.", "Give --context 2 or more.")
        self._tokenizer = Tokenizer.of_model(model)
        self._model, self._context, self._loss = model, context, loss
        self._family = family or next(iter(families_of(self._tokenizer)), "")
        # A sample has one token more than the context, since its last token is no input.
        settings = Settings("<u4", context + 1, template, self._family or None, loss)
        self._encoder = SampleEncoder(self._tokenizer, settings, cache=cache)
        self._tally = TokenTally()
        self._problems: dict[str, str] = {}
        self._rows: Counter[str] = Counter()
        self._drops = Counter[str]()
        self._has_gaps = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that render templates."""
        self._encoder.close()

    def add(self, records: Sequence[Record], split: Split) -> None:
        """Measure some rows. Raises SeedbedError if the markers of the family cannot be used."""
        for group, kind in self._readable(records):
            try:
                self._add(group, split)
            except SeedbedError as error:
                if kind in ("text", "fim") or isinstance(error, StorageError):
                    raise
                self._problems[kind] = error.message
                self._count(group, REFUSED)

    def result(self) -> Measured:
        """What was measured."""
        plans = [(pack(each, self._context), each) for each in self._tally.positions()]
        packed_rows = sum(plan.num_rows for plan, _ in plans)
        used = sum(int(each.sum()) for _, each in plans)
        return Measured(
            model=name_of(self._model),
            tokenizer=self._tokenizer.fingerprint,
            vocabulary=self._tokenizer.vocab_size,
            family=self._family if self._has_gaps else "",
            loss=self._loss,
            splits=self._tally.splits,
            by=self._tally.by(),
            lengths=self._tally.lengths(),
            templates=[
                *(verification_of(name, facts) for name, facts in self._encoder.templates.items()),
                *(Verification(name=kind, problem=problem) for kind, problem in self._problems.items()),
            ],
            fitted=Fitted(
                context=self._context,
                rows=self._rows["all"],
                whole=self._rows["whole"],
                cut=self._rows["cut"],
                clipped=self._rows["clipped"],
                left_out=self._rows["left out"],
                packed_rows=packed_rows,
                fill=used / max(packed_rows * self._context, 1),
                drops=most_frequent(self._drops),
            ),
        )

    def _readable(self, records: Sequence[Record]) -> Iterator[tuple[list[Record], str]]:
        """The rows by kind, and conversations by whether they list tools, for which a model may have another template."""
        groups: dict[str, list[Record]] = {}
        for record in records:
            kind: str = record.kind
            if kind == "chat":
                kind = "conversations with a list of tools" if record.tools else "conversations"
            groups.setdefault(kind, []).append(record)
        self._rows["all"] += len(records)
        for kind, group in groups.items():
            self._has_gaps = self._has_gaps or kind == "fim"
            if kind in self._problems:
                self._count(group, REFUSED)
            elif kind == "fim" and not self._family:
                self._count(group, NO_MARKERS)
            else:
                yield group, kind

    def _count(self, rows: Sequence[Record], reason: str) -> None:
        self._rows["left out"] += len(rows)
        self._drops[reason] += len(rows)

    def _add(self, records: list[Record], split: Split) -> None:
        """Measure rows of one kind."""
        drops = Drops()
        self._encoder.take_long()
        found: dict[str, list[Sample]] = {}
        for record, sample in self._encoder.usable(list({record.id: record for record in records}.values()), drops):
            found.setdefault(record.id, []).append(sample)
        long = self._encoder.take_long()
        for record in records:  # rows of equal content share an id and its samples
            samples = found.get(record.id, [])
            self._rows[_fate(record, samples, record.id in long)] += 1
            self._tally.add(record, split, samples, long.get(record.id) or _length(record, samples))
        for (_, reason), count in drops.counts.items():
            self._drops[reason] += count


def _fate(record: Record, samples: Sequence[Sample], is_long: bool) -> str:
    if not samples:
        return "left out"
    return "clipped" if is_long else "cut" if record.kind == "text" and len(samples) > 1 else "whole"


def _length(record: Record, samples: Sequence[Sample]) -> int:
    """The tokens of a row that fits: of all pieces of a text, or of the longest sample of a chat, which has all turns."""
    lengths = [len(each.ids) for each in samples]
    return sum(lengths) if record.kind == "text" else max(lengths, default=0)


def measure(
    folder: Path, description: Description, measurement: RowMeasurement, report: Callable[[int], None]
) -> Measured:
    """Measure all rows of a dataset. `report`: the characters of rows that were read since.

    Raises SeedbedError, with the line, if a row cannot be read.
    """
    for name, split in SPLITS.items():
        if name not in description.files:
            continue
        rows = read_rows(folder, name)
        while batch := list(islice(rows, BATCH_ROWS)):
            measurement.add(batch, split)
            report(sum(len(text) for record in batch for text in texts_of(record)))
    return measurement.result()
