"""What a rehearsal prints before and after it: its plan, its report, and the sentences about both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from seedbed import text
from seedbed.actions.rehearsing import Comparison, NotInjectedError, Outcome
from seedbed.errors import SeedbedError
from seedbed.simulate import rehearsal
from seedbed.simulate.cluster_run import ClusterRun
from seedbed.simulate.rehearsal import Prediction, Shrunk
from seedbed.simulate.trace import Interruption

PLAN_HEADER = ("", "AFTER", "STEP", "SIMULATED", "INJECTED", "AT STEP")
REPORT_HEADER = (
    *("", "INJECTED", "AT STEP", "PREDICTED STEPS", "LOST STEPS", "PREDICTED TIME", "LOST TIME", "RECOVERED"),
)
_DONE_AS = {
    "kill": "killed, then resumed",
    "hang": f"hangs {rehearsal.HANG_S:.0f} s, killed, resumed",
    "stall": f"stands still for {rehearsal.STALL_S:.0f} s",
    "full-disk": f"large files cannot grow for {rehearsal.FULL_DISK_S:.0f} s",
    "slow-writes": "the next checkpoint is slow",
    "stop": "saves and stops, resumed",
}
"""What happens to the job with each fault."""


class Report(msgspec.Struct, kw_only=True):
    """The result of a rehearsal, as --json prints it. Times are in seconds.

    `recovered`: None if a fault could not be injected, so that it is not known.
    """

    recovered: bool | None
    problem: str
    undisturbed_run: str
    disturbed_run: str
    steps: int
    checkpoint_every: int
    measured: dict[str, float]
    incidents: list[dict[str, Any]]
    final_step: int
    elapsed_s: float
    predicted_s: float
    goodput: float
    predicted_goodput: float
    comparison: Comparison | None


# Before --------------------------------------------------------------------------------------------------------------


def plan_sentences(cluster: ClusterRun, shrunk: Shrunk) -> list[str]:
    """What was simulated, and how much of it will be injected."""
    scenario, account = cluster.scenario, cluster.account
    return [
        f"Simulated: {scenario.model} on {scenario.gpus:,} x {scenario.gpu}, {scenario.steps:,} steps,"
        f" {text.plural(len(cluster.trace), 'incident', f'{len(cluster.trace):,}')}, {account.lost_steps:,} steps lost,"
        f" goodput {scenario.steps * scenario.step_s / cluster.t:.1%}.",
        f"Rehearsal: {text.plural(len(shrunk.injections), 'incident')} in {shrunk.steps} real steps, with a checkpoint every"
        f" {shrunk.every} (simulated: {scenario.interval_steps():,}).",
    ]


def plan_rows(shrunk: Shrunk) -> list[list[str]]:
    """What is injected where: rows under PLAN_HEADER."""
    return [
        [
            str(number),
            text.duration(each.incident.t) if each.incident else "-",
            f"{each.incident.step:,}" if each.incident else "-",
            _told(each.incident),
            f"{each.fault}: {_DONE_AS[each.fault]}",
            str(each.step),
        ]
        for number, each in enumerate(shrunk.injections, 1)
    ]


def _told(incident: Interruption | None) -> str:
    if incident is None:
        return "(asked for with --inject)"
    return f"failure of {incident.title}" if incident.component else incident.title


# After ---------------------------------------------------------------------------------------------------------------


def is_failure(problem: SeedbedError | None) -> bool:
    """Whether a problem means that the run did not recover; a fault that was not injected says nothing about that."""
    return problem is not None and not isinstance(problem, NotInjectedError)


def incidents(
    shrunk: Shrunk, prediction: Prediction, outcomes: Sequence[Outcome], problem: SeedbedError | None
) -> list[dict[str, Any]]:
    """Each incident as a JSON object: what was simulated, planned, predicted and found.

    `recovered` is None if it was not injected. `problem` ended the rehearsal at the first incident without an outcome.
    """
    found = []
    for number, (injection, cost) in enumerate(zip(shrunk.injections, prediction.costs, strict=True)):
        outcome = outcomes[number] if number < len(outcomes) else None
        failed = number == len(outcomes) and is_failure(problem)
        found.append(
            {
                "fault": injection.fault,
                "simulated": injection.incident._asdict() if injection.incident else None,
                "planned_step": injection.step,
                "predicted_lost_steps": cost.lost_steps,
                "predicted_lost_s": cost.lost_s,
                "recovered": True if outcome else False if failed else None,
                "step": outcome.step if outcome else None,
                "went_back_to": outcome.went_back_to if outcome else None,
                "lost_steps": outcome.lost_steps if outcome else None,
                "lost_s": outcome.lost_s if outcome else None,
            }
        )
    return found


def difference(comparison: Comparison | None) -> SeedbedError | None:
    """Why the disturbed run did not end as it must; None if it did."""
    if comparison is None:
        return None
    if not comparison.steps_complete:
        return SeedbedError("The log of the disturbed run does not have every step once.")
    if comparison.must_be_equal and not (comparison.same_weights and comparison.same_steps):
        what = "weights" if not comparison.same_weights else "losses"
        return SeedbedError(f"The two runs have different {what}, although both trained on a CPU in fp32.")
    return None


def report_rows(report: Report) -> list[list[str]]:
    """The costs of the incidents: rows under REPORT_HEADER."""
    return [
        [
            str(number),
            each["fault"],
            str(each["step"] if each["recovered"] else each["planned_step"]),
            str(each["predicted_lost_steps"]),
            str(each["lost_steps"]) if each["recovered"] else "-",
            f"{each['predicted_lost_s']:.1f} s",
            f"{each['lost_s']:.1f} s" if each["recovered"] else "-",
            {True: "yes", False: "no", None: "not injected"}[each["recovered"]],
        ]
        for number, each in enumerate(report.incidents, 1)
    ]


def report_sentences(report: Report) -> list[str]:
    """What follows the table of the report, except its last line."""
    lines = [
        f"Goodput: {report.goodput:.0%}, predicted {report.predicted_goodput:.0%}; the run took {report.elapsed_s:.0f} s,"
        f" predicted {report.predicted_s:.0f} s. Starts weigh more in so short a run than on a cluster.",
        "Times are predicted from the undisturbed run. Other work on this machine, now or then, changes them.",
    ]
    return lines if report.comparison is None else lines + _equality(report, report.comparison)


def result(report: Report) -> tuple[str, str]:
    """The last line of the report: whether the run recovered, and from what."""
    ended = f"ended at step {report.final_step} of {report.steps}."
    number, count = sum(bool(each["recovered"]) for each in report.incidents), len(report.incidents)
    if report.recovered is None:
        return (
            "Not rehearsed to the end",
            f": the run recovered from {number} of {count} incidents, then training was too fast.",
        )
    if report.recovered:
        return "Recovered", f" from {text.plural(count, 'incident')}; {ended}"
    return "Not recovered", f": {ended}"


def _equality(report: Report, compared: Comparison) -> list[str]:
    lines = []
    if compared.steps_complete:
        lines.append(f"The log has each of the {report.steps} steps once, after the superseded ones are left out.")
    if compared.same_weights and compared.same_steps:
        lines.append("Losses, final weights and optimizer state equal those of the undisturbed run, bit for bit.")
    elif not compared.must_be_equal:
        lines.append("Weights differ from those of the undisturbed run, as they may except on a CPU in fp32.")
    return lines
