"""The row that says that all is simulated. Imports little, because it is the first row of the show."""

from __future__ import annotations

from seedbed.presentation.show.rows import Row, fitted, row

SIMULATED = "SIMULATED"
LONGEST_RULE = 100
"""Columns of the longest rule."""


def reminder(seed: int, width: int) -> Row:
    """The row that says, again and again, that nothing here is real."""
    words = f" {SIMULATED} (seed {seed}): no GPU is used, nothing is trained "
    if len(words) + 4 > width:
        words = f" {SIMULATED} seed {seed} " if len(f" {SIMULATED} seed {seed} ") + 2 <= width else SIMULATED
    return fitted(row((words.center(min(width - 1, LONGEST_RULE), "-"), "dim")), width)
