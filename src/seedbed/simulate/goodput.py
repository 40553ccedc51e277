"""Expected effective training time in closed form, and the checkpoint interval that maximises it.

A failure during a restart starts it again, so on clusters that fail faster than they restart, hardly any time counts.

Symbols: C seconds for which a checkpoint blocks training, W seconds until its copy is complete in the background, T
seconds of training between checkpoints, M mean seconds between failures, R mean seconds from a failure until training
continues (detection, replacement, start, loading), I the part of R in which another failure begins it again (start,
loading), S share of the time in which the job waits for a node because no spare
is free.
"""

from __future__ import annotations

import math
from typing import NamedTuple

_LONGEST = 500.0
"""Times beyond this many times M are never survived; exp(500) is still a number."""


class Checkpointing(NamedTuple):
    """What decides the effective time of a run, in seconds (the symbols of this module)."""

    blocking_s: float
    """C"""
    mtbf_s: float
    """M; infinite if nothing fails"""
    recovery_s: float
    """R"""
    write_s: float = 0.0
    """W"""
    waiting: float = 0.0
    """S"""
    start_s: float = 0.0
    """I"""


def waiting_share(mean_away: float, spare_nodes: int) -> float:
    """The share of the time in which more nodes are away (repaired or maintained) than there are spares: S.

    `mean_away`: how many are away on average. Nodes leave at random, so their number is Poisson distributed, whatever the
    distribution of the repair times (M/G/infinity queue).
    """
    if not mean_away:
        return 0.0
    terms = (math.exp(k * math.log(mean_away) - mean_away - math.lgamma(k + 1)) for k in range(spare_nodes + 1))
    return max(1 - math.fsum(terms), 0.0)


def young_s(blocking_s: float, mtbf_s: float) -> float:
    """The optimal interval by Young (1974): sqrt(2 C M)."""
    return math.sqrt(2 * blocking_s * mtbf_s)


def daly_s(blocking_s: float, mtbf_s: float) -> float:
    """The optimal interval by Daly (2006), higher order; M if C >= 2 M."""
    if math.isinf(mtbf_s):
        return math.inf
    if blocking_s >= 2 * mtbf_s:
        return mtbf_s
    x = math.sqrt(blocking_s / (2 * mtbf_s))
    return young_s(blocking_s, mtbf_s) * (1 + x / 3 + x * x / 9) - blocking_s


def effective_share(interval_s: float, given: Checkpointing) -> float:
    """The share of the run's time that is training which counts, from 0 to 1: (1 - S) * K / (M + recovery).

    K: the expected training up to a failure whose checkpoint is complete, T * exp(-W / M) / (exp((T + C) / M) - 1), because
    the time to a failure is exponentially distributed. `recovered_s` is the recovery. Agrees with the simulator within 2
    points (tests/simulate/test_goodput.py).
    """
    cycle_s, mtbf_s = interval_s + given.blocking_s, given.mtbf_s
    if math.isinf(mtbf_s):
        return interval_s / cycle_s if cycle_s else 1.0
    if cycle_s / mtbf_s > _LONGEST:
        return 0.0
    kept_s = interval_s * math.exp(-given.write_s / mtbf_s) / math.expm1(cycle_s / mtbf_s)
    return (1 - given.waiting) * kept_s / (mtbf_s + recovered_s(given))


def recovered_s(given: Checkpointing) -> float:
    """Mean seconds from a failure until training continues, with the failures that begin the start again.

    Each of exp(I / M) attempts on average takes R - I, and I or the time to the next failure.
    """
    if math.isinf(given.mtbf_s):
        return given.recovery_s
    ratio = given.start_s / given.mtbf_s
    if ratio > _LONGEST:
        return math.inf
    return math.exp(ratio) * (given.recovery_s - given.start_s) + given.mtbf_s * math.expm1(ratio)


def recommended_interval_s(given: Checkpointing, step_s: float = 0.0) -> float:
    """The interval to use: Daly's, but not below one step, nor below the time in which a checkpoint is written.

    Infinite if nothing fails.
    """
    return max(daly_s(given.blocking_s, given.mtbf_s), given.write_s, step_s)
