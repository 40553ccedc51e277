"""Measures how much of each evaluation answer can be seen in other rows: the share of its runs of 13 tokens, or of 13 words.

Words are tokens without punctuation: a text whose markup, quotation marks or line ends were changed has few runs of tokens in
common with what it was, and gives the answer away all the same. The greater share counts.

An answer of fewer than 13 tokens counts only if it has at least SHORT tokens and SHORT_CHARACTERS characters without white
space, and then only as a whole: shorter ones, such as `return None`, are everywhere and give nothing away.

A conversation of an agent has many short tool calls that are the same in every session: they read a file of the project or
run its tests. So calls of fewer than LONG tokens do not count on their own if the conversation has other answers, but all
answers of the conversation together count as one more answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seedbed.curation.record import Record
from seedbed.curation.splitting.content import answers_and_calls_of
from seedbed.curation.splitting.fingerprints import RUN, WORDS, runs_of, tokens_of
from seedbed.curation.splitting.scan import Rows
from seedbed.curation.splitting.table import Runs, Table, joined

SHORT = 8
SHORT_CHARACTERS = 48
LONG = 128
"""Tool calls of a conversation with other answers count on their own if they have at least this many tokens."""
MOST_RUNS = 512
"""Runs of an answer that are looked for; of longer answers, this many at equal distances."""
EVERYWHERE = 64
"""A run in more rows than this counts as seen wherever these rows go."""
NO_ROW = -1


class Answers:
    """Evaluation answers, and in which rows their runs are seen. Those with runs of tokens and of words are here twice."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        """The row of each answer; NO_ROW for an old evaluation row that is no longer there."""
        self.places: list[int] = []
        """Which answer of its row each is."""
        self.numbers: list[int] = []
        """A number for each answer, the same for its runs of tokens and of words."""
        self.measured: set[int] = set()
        """Rows whose answers are here."""
        self.too_short: dict[int, int] = {}
        """How many answers of each row are too short to be measured; rows without such answers are not in it."""
        self.looked = False
        """Whether `look` was called."""
        self._new: list[Runs] = []
        self._answer = np.empty(0, np.int64)
        self._sizes = np.empty(0, np.int64)
        self._ends = np.empty(0, np.int64)
        self._everywhere = np.empty(0, bool)
        # Sightings of runs in rows: the number of the run, counted over all answers, and of the row.
        self._seen_run: list[np.ndarray] = []
        self._seen_row: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, runs: Sequence[Runs], too_short: int = 0) -> None:
        """Add the answers of a row, before `look` is called."""
        self.measured.add(row)
        if too_short:
            self.too_short[row] = too_short
        base = self.numbers[-1] + 1 if self.numbers else 0
        for each in runs:
            self.rows.append(row)
            self.places.append(each.answer)
            self.numbers.append(base + each.answer)
            self._new.append(each)

    def count(self, chosen: np.ndarray) -> int:
        """How many answers are chosen, bool (answers,): each once."""
        return len(np.unique(np.array(self.numbers, np.int64)[chosen]))

    def look(
        self,
        rows: Rows,
        group: np.ndarray,
        skipped: np.ndarray,
        report: Callable[[int], None],
        workers: int | None = 1,
    ) -> None:
        """Read all rows, and note which runs of the answers added since the last call they show.

        Rows of an answer's own group are left out, since they are always in the same split, and so are `skipped` rows.
        """
        self.looked = True
        start = len(self._sizes)
        new, self._new = self._new, []
        sizes = np.array([len(each.hashes) for each in new], np.int64)
        hashes = joined([each.hashes for each in new])
        answer = np.repeat(np.arange(start, start + len(new)), sizes)
        own = np.array(self.rows, np.int64)[answer]
        own_group = np.where(own == NO_ROW, NO_ROW, group[own]) if rows.count else own
        table = Table(new)
        # A run of answers of several groups is looked for in all rows.
        lowest = np.full(len(table.hashes), np.iinfo(np.int64).max)
        highest = np.full(len(table.hashes), np.iinfo(np.int64).min)
        place = np.searchsorted(table.hashes, hashes)
        np.minimum.at(lowest, place, own_group)
        np.maximum.at(highest, place, own_group)
        sole = np.where(lowest == highest, lowest, NO_ROW)
        seen = np.zeros(len(table.hashes), np.int64)
        found_run, found_row = [], []
        for run, row in table.find(rows.parts, report, workers):
            row = rows.place[row]
            kept = (sole[run] != group[row]) & ~skipped[row]
            run, row = run[kept], row[kept]
            kept = seen[run] <= EVERYWHERE
            seen += np.bincount(run, minlength=len(seen))
            found_run.append(run[kept])
            found_row.append(row[kept])
        run = np.concatenate([np.empty(0, np.int64), *found_run])
        row = np.concatenate([np.empty(0, np.int64), *found_row])
        kept = seen[run] <= EVERYWHERE
        self._store(run[kept], row[kept], place, answer, sizes, seen > EVERYWHERE)

    def _store(
        self,
        run: np.ndarray,
        row: np.ndarray,
        place: np.ndarray,
        answer: np.ndarray,
        sizes: np.ndarray,
        everywhere: np.ndarray,
    ) -> None:
        """Keep sightings by answer instead of by distinct run: `place` is the distinct run of each run of the answers."""
        order = np.argsort(run, kind="stable")
        run, row = run[order], row[order]
        starts, ends = np.searchsorted(run, place), np.searchsorted(run, place, side="right")
        counts = ends - starts
        base = len(self._answer)
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        self._seen_run.append(np.repeat(np.arange(base, base + len(place)), counts))
        self._seen_row.append(row[np.repeat(starts, counts) + steps])
        self._answer = np.concatenate([self._answer, answer])
        self._sizes = np.concatenate([self._sizes, sizes])
        self._ends = np.cumsum(self._sizes)
        self._everywhere = np.concatenate([self._everywhere, everywhere[place]])

    def contained(self, shown: np.ndarray) -> np.ndarray:
        """The share of each answer that is seen in the rows `shown`, bool (N,): float (answers,)."""
        found = self._everywhere.copy()
        for run, row in zip(self._seen_run, self._seen_row, strict=True):
            found[run[shown[row]]] = True
        return np.bincount(self._answer[found], minlength=len(self._sizes)) / np.maximum(self._sizes, 1)

    def seen_in(self, answers: np.ndarray, shown: np.ndarray) -> dict[int, dict[int, set[int]]]:
        """For each of the answers, the rows of `shown` that show runs of it, and which runs."""
        wanted = np.zeros(len(self._sizes), bool)
        wanted[answers] = True
        runs, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for run, row in zip(self._seen_run, self._seen_row, strict=True):
            kept = shown[row] & wanted[self._answer[run]]
            runs.append(run[kept])
            rows.append(row[kept])
        run, row = np.concatenate(runs), np.concatenate(rows)
        owner = self._answer[run]
        order = np.lexsort((row, owner))
        run, row, owner = run[order], row[order], owner[order]
        starts = np.flatnonzero(np.r_[True, (row[1:] != row[:-1]) | (owner[1:] != owner[:-1])]) if len(run) else run
        listed = run.tolist()
        found: dict[int, dict[int, set[int]]] = {int(each): {} for each in answers}
        ends = [*starts[1:].tolist(), len(listed)]
        for answer, place, start, end in zip(
            owner[starts].tolist(), row[starts].tolist(), starts.tolist(), ends[: len(starts)], strict=True
        ):
            found[answer][place] = set(listed[start:end])
        return found

    def sizes(self, answer: int) -> tuple[int, int]:
        """How many runs of an answer are looked for, and how many of these are everywhere."""
        start, end = int(self._ends[answer] - self._sizes[answer]), int(self._ends[answer])
        return end - start, int(self._everywhere[start:end].sum())


def runs_of_answers(record: Record) -> tuple[list[Runs], int]:
    """The runs of each answer of a record that is measured, of tokens and of words, and how many are too short."""
    measured, too_short = _measured(record)
    return [each._replace(answer=number) for number, (_, runs) in enumerate(measured) for each in runs], too_short


def measured_answers(record: Record) -> list[str]:
    """The answers of a record that are measured; `Runs.answer` is a place in it."""
    return [text for text, _ in _measured(record)[0]]


def _measured(record: Record) -> tuple[list[tuple[str, list[Runs]]], int]:
    """The answers that are measured, with their runs, and how many are too short: each, or all of them together at the end."""
    found = [(text, call, _runs_of(text)) for text, call in answers_and_calls_of(record) if text.strip()]
    measured = [(text, call, runs) for text, call, runs in found if runs]
    whole = [each for each in measured if each[2][0].length == RUN] or measured
    too_short = len(found) - len(whole)
    if len(whole) < 2:
        return [(text, runs) for text, _, runs in whole], too_short
    alone = [(text, runs) for text, call, runs in whole if not call or len(runs[0].hashes) > LONG - RUN]
    if len(alone) == len(whole) or whole[0][2][0].length != RUN:
        return [(text, runs) for text, _, runs in whole], too_short
    together = []
    for length in (RUN, WORDS):
        hashes = joined([each.hashes for _, _, runs in whole for each in runs if each.length == length])
        if len(hashes):
            together.append(Runs(spaced(hashes, MOST_RUNS), length))
    text = "\n".join(text for text, _, _ in whole)
    return [*alone, (text, together)], too_short


def _runs_of(text: str) -> list[Runs]:
    """The runs of an answer, of tokens and of words; none if it is too short."""
    tokens = tokens_of([text])
    count = len(tokens.hashes)
    if count >= RUN:
        found = [Runs(spaced(runs_of(tokens, length)[0], MOST_RUNS), length) for length in (RUN, WORDS)]
        return [each for each in found if len(each.hashes)]
    if count >= SHORT and len("".join(text.split())) >= SHORT_CHARACTERS:
        return [Runs(runs_of(tokens, count)[0], count)]
    return []


def spaced(runs: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the runs of a text, at equal distances."""
    if len(runs) <= most:
        return runs
    return runs[np.linspace(0, len(runs) - 1, most).round().astype(np.int64)]
