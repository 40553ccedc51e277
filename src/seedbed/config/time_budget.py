"""When compiling is worth its time, and what a timed run (`train.time`) keeps for its end. Jobs and plans share it."""

from __future__ import annotations

import math

COMPILE_PAYS_FROM_S = 300.0
"""Seconds of forward and backward passes in a run from which `train.compile = auto` compiles.

Compiling took 21-27 s on 2 cores and saved a quarter to a third of each step, so it pays off in runs of several minutes.
"""
TIMED_COMPILE_FROM_S = 400.0
"""The training time from which a timed run compiles: it takes 25 s of it, and saves a quarter of each step."""
MARGIN = 0.01
"""The share of the whole time of a timed run that is left unplanned."""
SAMPLE_S = 1.0
"""Assumed seconds for the samples at the end, until they are measured."""
END_S = 1.0
"""Seconds that the end of the job's process and the summary take."""
MOST_FINAL_SHARE = 0.15
"""At most this share of the time is spent on validating the whole text at the end; otherwise it is left out."""
MOST_COMPARED_SHARE = 0.05
"""At most this share of the time is spent on each validation of a training on from a model: the first, before step 1, and the
last are done however slow the machine is."""
WRITE_BYTES_PER_S = 100e6
"""Assumed speed of a disk that was not measured."""
_HASH_BYTES_PER_S = 1e9
_SMALL_FILES_S = 0.3


def save_s(checkpoint_bytes: float, write_bytes_per_s: float = WRITE_BYTES_PER_S) -> float:
    """Seconds of the last save, on a disk of this speed (until a save is measured): writing, hashing, and small files."""
    return checkpoint_bytes * (1 / write_bytes_per_s + 1 / _HASH_BYTES_PER_S) + _SMALL_FILES_S


def validates_all(compared: float, everything: float, token_s: float, most_s: float) -> bool:
    """Whether all tokens are validated at the end: those of every validation are, the others if `most_s` suffices."""
    return compared >= everything or token_s * everything <= most_s


def final_tokens(compared: float, everything: float, token_s: float, most_s: float) -> float:
    """The tokens of the validations at the end: those of every validation, then all, if these are more and fit into `most_s`."""
    is_part = compared < everything
    whole = everything if validates_all(compared, everything, token_s, most_s) else 0
    return (compared if is_part else 0) + whole


def steps_within(
    left_s: float, total_s: float, *, closing_s: float, step_s: float, eval_s: float, eval_every: int
) -> int:
    """The number of steps for which `left_s` of a time of `total_s` is enough, with validations, the end and the margin."""
    usable_s = left_s - closing_s - MARGIN * total_s
    per_step_s = step_s + (eval_s / eval_every if eval_every else 0.0)
    return max(math.floor(usable_s / max(per_step_s, 1e-9)), 0)
