"""Splits the rows of a dataset into training and evaluation, without answers that can be seen in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from seedbed.curation.drops import SAMPLE_CHARACTERS, Drops
from seedbed.curation.record import Record
from seedbed.curation.report.wording import pair_text
from seedbed.curation.splitting.answers import NO_ROW, Answers, measured_answers
from seedbed.curation.splitting.assign import DROPPED, EVAL, OVERSHOOT, TRAIN, wanted
from seedbed.curation.splitting.containment import Spool, contained_pairs
from seedbed.curation.splitting.content import answers_of
from seedbed.curation.splitting.fingerprints import hash64
from seedbed.curation.splitting.gate import Earlier, Gate, Outcome, Pair
from seedbed.curation.splitting.groups import DIVIDED, Groups, Level, grouped
from seedbed.curation.splitting.ledger import (
    Build,
    Entry,
    Known,
    Ledger,
    OldAnswers,
    OldRows,
    entry_of,
    packed,
    read_ledger,
)
from seedbed.curation.splitting.ranges import read_parts
from seedbed.curation.splitting.scan import KINDS, Rows, scan
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import plural, printable, shorten

STEP = "split"
EXCERPT = 200
UNEVALUATED = 50
"""With this many rows of a kind and none evaluated, people are told."""


class SplitOptions(NamedTuple):
    """How a dataset is split."""

    eval_fraction: float = 0.1
    eval_rows: int = 10_000
    """The most evaluation rows, without those of the ledger; 0 for no limit. More would cost time and tell no more."""
    level: Level = "auto"
    salt: str = "seedbed"
    ledger: Path | None = None
    """The evaluation ledger of earlier builds."""
    max_leaked: float = 0.01
    """The largest share of evaluation answers that may be more than half seen in training."""
    workers: int | None = None
    """How many processes read; None: one for little data, else one for each core, up to 8."""

    @property
    def choice(self) -> str:
        """The name of what decides which rows are chosen, beside the data and the ledger."""
        return f"{hash64(repr((self.eval_fraction, self.eval_rows, self.level, self.salt))):016x}"


class LeakedPair(msgspec.Struct, kw_only=True, frozen=True):
    """An evaluation row and the training row that shows most of one of its answers."""

    share: float
    """The share of the answer that is seen in training rows."""
    train_share: float
    """The share of the answer that is seen in `train_row` alone."""
    eval_row: str
    """Where it came from, and the beginning of its id."""
    train_row: str
    answer: str
    """How that answer of the evaluation row begins."""


class Leakage(msgspec.Struct, kw_only=True, frozen=True):
    """How much of the evaluation answers can be seen in training rows, by runs of 13 tokens."""

    level: str
    groups: int
    largest_group: int
    answers: int
    """Evaluation answers that were measured, and those that are too short to be."""
    too_short: int
    leaked_before: int
    """Of `answers_before` answers of the first choice, those that were more than half seen in training rows."""
    answers_before: int
    leaked: int
    """The same of the final split."""
    joined_groups: int
    returned_rows: int
    old_rows: int
    """Evaluation rows that are there because of the ledger."""
    wanted_rows: int
    """The evaluation rows that the options ask for."""
    messages: list[str]
    worst: list[LeakedPair]

    @property
    def rate(self) -> float:
        """The share of measured answers that are more than half seen in training rows."""
        return self.leaked / max(self.answers, 1)


class SplitResult(NamedTuple):
    """Where each row goes; rows are numbered in order of reading, over all parts."""

    split: np.ndarray
    """0 training, 1 evaluation, 2 left out; uint8 (N,)."""
    group: np.ndarray
    """The name of each row's group, uint64 (N,); `group_name` writes it."""
    leakage: Leakage
    ledger: tuple[Entry | Build, ...]
    """Lines that the ledger does not have yet, to be added to it: evaluation rows, and what is trained."""

    @property
    def train_rows(self) -> int:
        """The number of training rows."""
        return int((self.split == TRAIN).sum())

    @property
    def eval_rows(self) -> int:
        """The number of evaluation rows."""
        return int((self.split == EVAL).sum())


def split(
    parts: Sequence[Path],
    options: SplitOptions,
    drops: Drops,
    report: Callable[[int], None],
    folder: Path | None = None,
) -> SplitResult:
    """Decide for each record of the JSONL files `parts` whether it is trained, evaluated or left out.

    The decision depends on the records, the options and the ledger only, not on their order or on how they are cut into
    files. `report` is called with the bytes read since; all parts are read two or three times. `folder` has the temporary
    files. Rows that are left out are counted in `drops`. Raises UsageError for options without sense, SeedbedError if a line
    is no record, or if more than `max_leaked` of the evaluation answers can be seen in training however rows are chosen.
    """
    if not 0 < options.eval_fraction < 1:
        raise UsageError(
            f"The evaluation share is {options.eval_fraction:g}.", "Give a number between 0 and 1, such as 0.15."
        )
    if options.eval_rows < 0:
        raise UsageError(
            f"The most evaluation rows are {options.eval_rows}.", "Give a number from 1 on, or 0 for no limit."
        )
    ledger = read_ledger(options.ledger) if options.ledger and options.ledger.exists() else Ledger()
    spool, old = Spool(folder), OldAnswers(ledger.entries)
    try:
        rows = scan(parts, spool, report, options.workers, old if ledger.entries else None)
        if not rows.count:
            raise SeedbedError("There is no row to split.", "See what was left out, and why: `rejects/`.")
        pairs = contained_pairs(spool, rows.place)
    finally:
        spool.close()
    known = ledger.known(options.choice)
    found = old.among(rows)
    trained = np.isin(_short(rows.key), ledger.trained) & ~found.tied
    groups = grouped(rows, pairs, options.level, (found.tied, trained))
    groups, earlier = _earlier(rows, groups, found, known)
    answers = Answers()
    present = set(rows.id[earlier.same].tolist())
    for entry in ledger.entries:
        if int(entry.row, 16) not in present:
            answers.add(NO_ROW, entry.runs())
    size = wanted(int((~groups.prefix).sum()), options.eval_fraction, options.eval_rows)
    gate = Gate(rows, groups, size, options.salt, earlier, answers, report, options.workers)
    outcome = gate.run()
    _count_drops(rows, gate.groups, outcome, drops)
    if pairs.frequent:
        drops.note(STEP, "fingerprint in too many rows to compare", pairs.frequent)
    if pairs.widespread:
        drops.note(STEP, "row that is part of many others", pairs.widespread)
    before_trained = np.isin(_short(rows.key), ledger.trained) & ~earlier.same
    leakage = _leakage(
        rows, gate.groups, outcome, earlier, size.rows, int((before_trained & (outcome.split == EVAL)).sum())
    )
    _check(leakage, outcome, options.max_leaked)
    before = {entry.row for entry in ledger.entries}
    evaluated = np.flatnonzero(outcome.split == EVAL)
    added = [each for _, record in rows.read(evaluated) if (each := entry_of(record)).row not in before]
    # Groups that were joined since one shows answers of the other have their own names, so that a later build has the same.
    return SplitResult(
        outcome.split[rows.place],
        groups.key[rows.place],
        leakage,
        (*added, *_build(rows, outcome, known, options.choice)),
    )


def _earlier(rows: Rows, groups: Groups, found: OldRows, known: Known | None) -> tuple[Groups, Earlier]:
    """The groups, without those that have rows which were trained and rows which were evaluated, and what was decided before."""
    settled = left_out = np.zeros(rows.count, bool)
    if known is not None:
        trained = np.isin(_short(rows.key), known.trained) & ~found.tied
        groups = groups.parted(rows, trained, found.tied)
        settled = np.isin(groups.group, groups.group[trained])
        left_out = np.isin(rows.id, known.left_out) & ~found.tied
    # A row that shows an old answer goes to evaluation if few others have to go with it; else the gate leaves it out.
    few = np.bincount(groups.group, minlength=rows.count)[groups.group] <= DIVIDED
    old = found.tied | (found.showing & few & ~settled & ~left_out)
    return groups, Earlier(found.same, old, settled, left_out, known.evaluated if known is not None else None)


def _short(keys: np.ndarray) -> np.ndarray:
    """The first 32 bits of keys: few are equal by chance, and then a new group is trained instead of drawn."""
    return (keys >> np.uint64(32)).astype(np.uint32)


def _build(rows: Rows, outcome: Outcome, known: Known | None, choice: str) -> Iterator[Build]:
    """What the ledger keeps of this build, if it is more than it has."""
    trained = np.unique(_short(rows.key[outcome.split == TRAIN]))
    left_out = np.unique(rows.id[outcome.hiding])
    evaluated = int((outcome.split == EVAL).sum())
    if known is not None:
        trained, left_out = np.setdiff1d(trained, known.trained), np.setdiff1d(left_out, known.left_out)
        if not len(trained) and not len(left_out) and evaluated <= known.evaluated:
            return
    yield Build(split=choice, evaluated=evaluated, trained=packed(trained), left_out=packed(left_out))


def rows_of(
    parts: Sequence[Path], result: SplitResult, report: Callable[[int], None]
) -> Iterator[tuple[Literal["train", "eval"], Record]]:
    """The records that are kept, in order, each with its split, and marked with its group."""
    for number, (_, _, record) in enumerate(read_parts(parts, report)):
        if result.split[number] != DROPPED:
            record.group = group_name(int(result.group[number]))
            yield ("eval" if result.split[number] == EVAL else "train"), record


def group_name(key: int) -> str:
    """The name of a group in a record: 16 hex digits."""
    return f"{key:016x}"


def where_of(record: Record) -> str:
    """Where a record came from, for people."""
    origin = record.provenance
    named = origin.repository or ""
    path = origin.path or origin.file or ""
    session = origin.session if origin.session and origin.session not in path else None
    place = [origin.source, named, path, origin.commit and origin.commit[:12], session]
    return printable(" ".join(each for each in place if each)) or record.id


def row_name(record: Record) -> str:
    """Where a record came from, and the beginning of its id, which tells it from others of the same place."""
    return f"{where_of(record)}, row {record.id[:8]}"


def _count_drops(rows: Rows, groups: Groups, outcome: Outcome, drops: Drops) -> None:
    for numbers, reason in (
        (groups.prefix, "prefix of a longer row"),
        (outcome.hiding, "shows an evaluation answer"),
        (outcome.visible, "old evaluation row that training shows"),
    ):
        for _, record in rows.read(np.flatnonzero(numbers)):
            drops.drop(STEP, reason, where_of(record), "\n".join(answers_of(record))[:SAMPLE_CHARACTERS])


def _leakage(
    rows: Rows, groups: Groups, outcome: Outcome, earlier: Earlier, wanted_rows: int, trained_before: int
) -> Leakage:
    kept = groups.group[outcome.split != DROPPED]
    _, sizes = np.unique(kept, return_counts=True)
    return Leakage(
        level=groups.level,
        groups=len(sizes),
        largest_group=int(sizes.max()) if len(sizes) else 0,
        answers=outcome.answers,
        too_short=outcome.too_short,
        leaked_before=outcome.leaked_first,
        answers_before=outcome.answers_first,
        leaked=outcome.leaked,
        joined_groups=outcome.joined,
        returned_rows=outcome.returned,
        old_rows=int((earlier.old & (outcome.split == EVAL)).sum()),
        wanted_rows=wanted_rows,
        messages=[
            *groups.messages,
            *_unevaluated(rows, outcome),
            *_excess(groups, outcome, earlier, wanted_rows),
            *_shortage(outcome, earlier, wanted_rows),
            *_trained_before(trained_before),
        ],
        worst=_worst(rows, outcome.worst),
    )


def _unevaluated(rows: Rows, outcome: Outcome) -> Iterator[str]:
    """Kinds of rows that are in training only."""
    if not (outcome.split == EVAL).any():
        yield "No row is evaluated: all rows are in one group, or none is long enough to be measured."
        return
    for number, kind in enumerate(KINDS):
        here = outcome.split[rows.kind == number]
        if len(here) >= UNEVALUATED and not (here == EVAL).any():
            yield f"No {kind} row is evaluated: the groups of all {len(here):,} are too large, or were not chosen."


def _excess(groups: Groups, outcome: Outcome, earlier: Earlier, wanted_rows: int) -> Iterator[str]:
    """That there are far more evaluation rows than wanted, since the ledger keeps them and their groups in evaluation."""
    evaluated = outcome.split == EVAL
    rows, kept = int(evaluated.sum()), int((outcome.split != DROPPED).sum())
    held = evaluated & np.isin(groups.group, groups.group[earlier.old])
    if rows <= OVERSHOOT * wanted_rows or not held.any():
        return
    again, beside = int((evaluated & earlier.same).sum()), int((held & ~earlier.same).sum())
    yield (
        f"{rows:,} of {plural(kept, 'row')} ({rows / kept:.0%}) are for evaluation, and {wanted_rows:,} were wanted: by the "
        f"evaluation ledger, {again:,} were evaluated before, and {beside:,} belong to the same groups (session, commit or file) "
        "or show such answers. They never enter training. To choose all anew, merge into another folder with --ledger FILE, a "
        "new file; results on earlier evaluation rows then say nothing about models trained on the new split."
    )


def _shortage(outcome: Outcome, earlier: Earlier, wanted_rows: int) -> Iterator[str]:
    """That there are far fewer evaluation rows than wanted."""
    rows, kept = int((outcome.split == EVAL).sum()), int((outcome.split != DROPPED).sum())
    if 0 < OVERSHOOT * rows < wanted_rows:
        yield (
            f"{rows:,} of {plural(kept, 'row')} ({rows / kept:.1%}) are for evaluation, and {wanted_rows:,} were wanted: rows of "
            "a session, commit, file or cluster stay together, and rows whose answers training shows are not evaluated"
            f"{', nor those that earlier versions trained on' if earlier.settled.any() else ''}."
        )


def _trained_before(rows: int) -> Iterator[str]:
    """That rows are evaluated now which earlier builds trained on."""
    if rows:
        yield (
            f"{plural(rows, 'row')} for evaluation {'is' if rows == 1 else 'are'} of sessions, commits or files that earlier "
            "versions trained on. A model that was trained on such a version has seen them: evaluate it on that version."
        )


def _worst(rows: Rows, pairs: Sequence[Pair]) -> list[LeakedPair]:
    numbers = sorted({number for each in pairs for number in (each.eval_row, each.train_row)})
    records = dict(rows.read(numbers))
    return [
        LeakedPair(
            share=round(each.share, 4),
            train_share=round(each.train_share, 4),
            eval_row=row_name(records[each.eval_row]),
            train_row=row_name(records[each.train_row]),
            answer=shorten(measured_answers(records[each.eval_row])[each.answer], EXCERPT),
        )
        for each in pairs
    ]


def _check(leakage: Leakage, outcome: Outcome, most: float) -> None:
    """Refuse a split whose evaluation would measure memory."""
    pairs = "".join(f"\n  {pair_text(msgspec.to_builtins(each))}" for each in leakage.worst[:5])
    if leakage.rate > most:
        raise SeedbedError(
            f"{leakage.leaked:,} of {leakage.answers:,} evaluation answers ({leakage.rate:.1%}) are more than half visible in "
            f"training rows; at most {most:.0%} may be.{pairs}",
            "Add data of other sources or repositories, or choose another --level of groups.",
        )
    if leakage.leaked_before and not (outcome.split == EVAL).any():
        raise SeedbedError(
            f"No row can be evaluated: all {leakage.answers_before:,} answers that were tried can be seen in training rows.",
            "Add data of other sources or repositories: the rows here repeat each other.",
        )
