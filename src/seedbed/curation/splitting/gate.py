"""Finds evaluation answers that can be seen in training rows, and changes the split until none is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seedbed.curation.splitting.answers import NO_ROW, Answers, runs_of_answers
from seedbed.curation.splitting.assign import DROPPED, EVAL, TRAIN, Wanted, assigned
from seedbed.curation.splitting.containment import ACT, HALF
from seedbed.curation.splitting.groups import DIVIDED, TOO_LARGE, Groups, components
from seedbed.curation.splitting.scan import Rows

JOINS = 1
"""Rounds in which groups are joined. Each reads all rows again, and what is left after the first is little."""
ROUNDS = 6
FEW = 1
"""At most this many training rows are left out for one answer; if it needs more, its own group goes to training."""
MOST_DROPPED = 0.05
"""The largest share of all rows that is left out so that answers are not seen."""
WORST = 10


class Pair(NamedTuple):
    """An evaluation row and the training row that shows most of one of its answers."""

    share: float
    """The share of the answer that is seen in training rows."""
    train_share: float
    """The share of the answer that is seen in `train_row` alone."""
    eval_row: int
    answer: int
    """Which answer of the evaluation row, among those that are measured."""
    train_row: int


class Outcome(NamedTuple):
    """The split after the gate."""

    split: np.ndarray
    group: np.ndarray
    answers: int
    """Evaluation answers that were measured."""
    too_short: int
    leaked_first: int
    """Answers of the first choice that were more than half seen in training."""
    answers_first: int
    leaked: int
    """The same of the final split."""
    joined: int
    """Groups that were joined to another one."""
    returned: int
    """Rows that went from evaluation to training, since their answers are seen there."""
    hiding: np.ndarray
    """Training rows that were left out since they show evaluation answers, bool (N,)."""
    visible: np.ndarray
    """Old evaluation rows that were left out since training rows show their answers, bool (N,)."""
    worst: tuple[Pair, ...]


class Earlier(NamedTuple):
    """What earlier builds decided about the rows; bool (N,) unless noted."""

    same: np.ndarray
    """Rows that were evaluated."""
    old: np.ndarray
    """Those, and rows that go with them."""
    settled: np.ndarray
    """Rows whose groups were trained, and stay in training."""
    left_out: np.ndarray
    """Rows that were left out since they show an evaluation answer."""
    evaluated: int | None
    """How many rows a build with the same options evaluated; None if there was none."""


class _Members:
    """The rows of each group."""

    def __init__(self, group: np.ndarray) -> None:
        self._group = group
        self._order = np.argsort(group, kind="stable")
        self._sorted = group[self._order]

    def of(self, row: int) -> np.ndarray:
        """The rows in the group of a row."""
        start = np.searchsorted(self._sorted, self._group[row])
        return self._order[start : np.searchsorted(self._sorted, self._group[row], side="right")]


class Gate:
    """Changes the split of rows until no evaluation answer is seen in training rows."""

    def __init__(
        self,
        rows: Rows,
        groups: Groups,
        size: Wanted,
        salt: str,
        earlier: Earlier,
        answers: Answers,
        report: Callable[[int], None],
        workers: int | None,
    ) -> None:
        self.rows, self.groups, self.size, self.salt = rows, groups, size, salt
        self.same, self.old, self.settled = earlier.same, earlier.old, earlier.settled
        self.continues = earlier.evaluated is not None
        self._enough = min(size.rows, size.rows if earlier.evaluated is None else earlier.evaluated)
        self.answers, self.report, self.workers = answers, report, workers
        self.hiding = earlier.left_out.copy()
        self.visible = np.zeros(rows.count, bool)
        self.barred = np.zeros(rows.count, bool)
        self._hidden_for: dict[int, set[int]] = {}
        self._again: set[int] = set()
        self.split = self._assigned(np.zeros(rows.count, bool))
        self.joined = 0

    def run(self) -> Outcome:
        """Measure, join and choose again, and then move what is left; at most ROUNDS times."""
        first = None
        for turn in range(ROUNDS):
            self._measure()
            leaks = self._leaks()
            if first is None:
                first = (self._leaked(), self.answers.count(self._answers_in_eval()))
            if turn < JOINS and len(leaks) and self._join(leaks):
                continue
            self._resolve()
            evaluated = self.split == EVAL
            if evaluated.sum() * 2 >= self._enough:
                break
            # Too little is left of what was evaluated: what was trained may be evaluated, too.
            self.settled, self.continues = np.zeros(self.rows.count, bool), False
            split = self._assigned(evaluated)
            if not ((split == EVAL) & ~evaluated).any():
                break
            self.split = split
        else:
            self._measure()
            self._resolve()
        assert first is not None
        return Outcome(
            self.split,
            self.groups.group,
            self.answers.count(self._answers_in_eval()),
            sum(count for row, count in self.answers.too_short.items() if self.split[row] == EVAL),
            *first,
            self._leaked(),
            self.joined,
            int((self.barred & (self.split == TRAIN)).sum()),
            self.hiding,
            self.visible,
            self._worst(),
        )

    def _assigned(self, kept: np.ndarray) -> np.ndarray:
        barred = (self.barred | self.settled) & ~self.old
        split = assigned(self.rows, self.groups, self.size, self.salt, self.old | kept, barred, self.continues)
        split[self.hiding | self.visible] = DROPPED
        return split

    def _measure(self) -> None:
        """Look for the answers of evaluation rows that were not looked for yet."""
        new = [row for row in np.flatnonzero(self.split == EVAL).tolist() if row not in self.answers.measured]
        for row, record in self.rows.read(new):
            self.answers.add(row, *runs_of_answers(record))
        if new or not self.answers.looked:
            self.answers.look(self.rows, self.groups.group, self.groups.prefix, self.report, self.workers)

    def _answers_in_eval(self) -> np.ndarray:
        """Which answers count: those of evaluation rows."""
        owner = np.array(self.answers.rows, np.int64)
        return (owner != NO_ROW) & (self.split[owner] == EVAL) if len(owner) else np.zeros(0, bool)

    def _leaks(self) -> np.ndarray:
        """Answers of evaluation rows, and old ones, of which about half or more is seen in training rows."""
        owner = np.array(self.answers.rows, np.int64)
        counted = self._answers_in_eval() | (owner == NO_ROW)
        return np.flatnonzero(counted & (self.answers.contained(self.split == TRAIN) > ACT))

    def _leaked(self) -> int:
        """How many answers of evaluation rows are more than half seen in training rows."""
        return self.answers.count(self._answers_in_eval() & (self.answers.contained(self.split == TRAIN) > HALF))

    def _join(self, leaks: np.ndarray) -> bool:
        """Join the group of each answer to that of the training row that shows most of it; choose again if any is joined.

        Not for divided groups, nor where the joined group would be too large: these are left to `_resolve`.
        """
        group = self.groups.group
        sizes = np.bincount(group, minlength=len(group))
        a, b = [], []
        for answer, shown in self.answers.seen_in(leaks, self.split == TRAIN).items():
            owner = self.answers.rows[answer]
            if owner == NO_ROW or not shown:
                continue
            other = self._most(shown)
            if self.old[owner] and sizes[group[other]] > DIVIDED:
                continue  # it would all go to evaluation
            if not (self.groups.timed[owner] or self.groups.timed[other] or self.barred[owner]):
                a.append(int(group[owner]))
                b.append(int(group[other]))
        if not a:
            return False
        merged = components(len(group), np.array(a), np.array(b))[group]
        totals = np.bincount(merged, minlength=len(group))
        # What would be too large stays apart, and what was evaluated from what was trained.
        small = (totals[merged] <= max(TOO_LARGE * len(group), 2)) | (totals[merged] == sizes[group])
        fits = small & ~(np.isin(merged, merged[self.old]) & np.isin(merged, merged[self.settled]))
        merged = np.where(fits, merged, group)
        count = len(np.unique(group)) - len(np.unique(merged))
        if not count:
            return False
        self.joined += count
        self.groups = self.groups.joined(merged, self.rows)
        self.split = self._assigned(np.zeros(len(group), bool))
        return True

    def _resolve(self) -> None:
        """Leave out the few training rows that show an answer, or move the answer's group to training, until none leaks.

        Rows that were left out for answers that then went to training come back, and so do old evaluation rows that training
        rows showed which were then left out for another answer.
        """
        self._members = _Members(self.groups.group)
        while True:
            leaks = self._leaks()
            moved = False
            seen = self.answers.seen_in(leaks, self.split == TRAIN)
            for answer in leaks.tolist():
                moved |= self._resolve_one(answer, seen[answer])
            if not moved and not self._put_back() and not self._evaluate_again():
                return

    def _evaluate_again(self) -> bool:
        """Evaluate each old row that training showed once more if now few rows show it; whether there are any.

        Else the same data would be split in another way by the next build, which knows which rows were left out.
        """
        owner = np.array(self.answers.rows, np.int64)
        rows = [row for row in np.flatnonzero(self.visible).tolist() if row not in self._again]
        train = self.split == TRAIN
        leaks = np.flatnonzero(np.isin(owner, rows) & (self.answers.contained(train) > ACT))
        shown = self.answers.seen_in(leaks, train)
        room = min(FEW, MOST_DROPPED * self.rows.count - self.hiding.sum())
        kept = {
            self.answers.rows[answer]
            for answer in leaks.tolist()
            if (hiding := self._hiding(shown[answer], *self.answers.sizes(answer))) is None or len(hiding) > room
        }
        free = [row for row in rows if row not in kept]
        self._again.update(free)  # once, so that this ends
        self.split[free] = EVAL
        self.visible[free] = False
        return bool(free)

    def _put_back(self) -> bool:
        """Train the rows that were left out for answers that are no longer evaluated; whether there are any."""
        evaluated = self.split == EVAL
        groups = self.groups.group
        busy = np.isin(groups, groups[evaluated])
        free = [
            row
            for row, answers in self._hidden_for.items()
            if not busy[row]
            and not any((owner := self.answers.rows[each]) == NO_ROW or evaluated[owner] for each in answers)
        ]
        for row in free:
            del self._hidden_for[row]
        self.split[free] = TRAIN
        self.hiding[free] = False
        return bool(free)

    def _resolve_one(self, answer: int, shown: dict[int, set[int]]) -> bool:
        owner = self.answers.rows[answer]
        if owner != NO_ROW and self.split[owner] != EVAL:
            return True  # it was moved for another of its answers
        shown = {row: runs for row, runs in shown.items() if self.split[row] == TRAIN}
        total, everywhere = self.answers.sizes(answer)
        hiding = self._hiding(shown, total, everywhere)
        room = MOST_DROPPED * self.rows.count - self.hiding.sum()
        if hiding is not None and (owner == NO_ROW or len(hiding) <= min(FEW, room)):
            self.split[hiding] = DROPPED
            self.hiding[hiding] = True
            for row in hiding:
                self._hidden_for.setdefault(row, set()).add(answer)
            return bool(hiding)
        if owner == NO_ROW:
            return False
        group = self._members.of(owner)
        if self.old[group].any():
            self.split[owner] = DROPPED
            self.visible[owner] = True
            return True
        self.barred[group] = True
        self.split[group[self.split[group] == EVAL]] = TRAIN
        return True

    def _hiding(self, shown: dict[int, set[int]], total: int, everywhere: int) -> list[int] | None:
        """The fewest training rows, found greedily, without which less than half of an answer is seen; None if there are none."""
        if everywhere > ACT * total:
            return None
        order = sorted(shown, key=lambda row: (-len(shown[row]), row))
        seen: set[int] = set()
        for count in range(len(order), 0, -1):  # from the end, so that each row is looked at once
            seen |= shown[order[count - 1]]
            if everywhere + len(seen) > ACT * total:
                return order[:count]
        return []

    def _most(self, shown: dict[int, set[int]]) -> int:
        return min(shown, key=lambda row: (-len(shown[row]), row))

    def _worst(self) -> tuple[Pair, ...]:
        train = self.split == TRAIN
        shares = np.where(self._answers_in_eval(), self.answers.contained(train), 0)
        worst = np.lexsort((np.array(self.answers.rows, np.int64), -shares))[: WORST * 4]
        pairs = []
        named: set[int] = set()
        for answer, shown in self.answers.seen_in(worst[shares[worst] > 0], train).items():
            if shown and self.answers.numbers[answer] not in named:
                named.add(self.answers.numbers[answer])
                row = self._most(shown)
                owner = self.answers.rows[answer]
                there = len(shown[row]) / self.answers.sizes(answer)[0]
                pairs.append(Pair(float(shares[answer]), there, owner, self.answers.places[answer], row))
        pairs.sort(key=lambda each: (-each.share, each.eval_row, each.answer))
        return tuple(pairs[:WORST])
