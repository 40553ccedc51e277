"""Expected effective training time in closed form, and the checkpoint interval that maximises it.

Symbols: C seconds for which a checkpoint blocks training, W seconds until its copy is complete in the background, T
seconds of training between checkpoints, M mean seconds between failures, R mean seconds from a failure until training
continues (detection, replacement, start, loading), S share of the time in which the job waits for a node because no spare
is free.
"""

from __future__ import annotations

import math
from typing import NamedTuple


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
    """The share of the run's time that is training which counts, from 0 to 1.

    (1 - S) * T / (T + C) * (1 - (T / 2 + W + R) / (M + R)): waiting for nodes, time for checkpoints, and per failure the work
    since the last complete checkpoint and the recovery. Agrees with the simulator within 2 points
    (tests/simulate/test_goodput.py).
    """
    training = interval_s / (interval_s + given.blocking_s) if given.blocking_s else 1.0
    if math.isinf(given.mtbf_s):
        return training
    lost = (interval_s / 2 + given.write_s + given.recovery_s) / (given.mtbf_s + given.recovery_s)
    return (1 - given.waiting) * training * max(1 - lost, 0.0)


def recommended_interval_s(given: Checkpointing, step_s: float = 0.0) -> float:
    """The interval to use: Daly's, but not below one step, nor below the time in which a checkpoint is written.

    Infinite if nothing fails.
    """
    return max(daly_s(given.blocking_s, given.mtbf_s), given.write_s, step_s)
