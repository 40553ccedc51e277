"""Which training rows are left out so that an evaluation answer is not seen."""

from __future__ import annotations

import random

from seedbed.curation.splitting.containment import ACT
from seedbed.curation.splitting.gate import Gate

GATE = Gate.__new__(Gate)


class Counted(dict[int, set[int]]):
    """Counts how often the runs of a row are looked at."""

    looks = 0

    def __getitem__(self, row: int) -> set[int]:
        self.looks += 1
        return super().__getitem__(row)


def test_the_fewest_rows_are_left_out_of_those_that_show_most() -> None:
    draws = random.Random(0)
    for _ in range(200):
        total, everywhere = draws.randint(1, 12), draws.randint(0, 3)
        shown = {
            row: {draws.randrange(total) for _ in range(draws.randint(1, 4))} for row in range(draws.randint(0, 9))
        }
        found = GATE._hiding(shown, total, everywhere)
        if everywhere > ACT * total:
            assert found is None
            continue
        order = sorted(shown, key=lambda row: (-len(shown[row]), row))
        fits = [
            everywhere + len({run for row in order[count:] for run in shown[row]}) <= ACT * total
            for count in range(len(order) + 1)
        ]
        assert found == order[: fits.index(True)]


def test_the_work_grows_with_the_number_of_rows_only() -> None:
    shown = Counted({row: {row % 512} for row in range(2_000)})
    found = GATE._hiding(shown, 512, 0)
    assert found is not None
    assert shown.looks < 3 * len(shown)
