"""Where the time of a simulated run went, and the summary of it."""

from __future__ import annotations

import msgspec

from seedbed import text
from seedbed.simulate.failures import JOB
from seedbed.simulate.goodput import effective_share
from seedbed.simulate.loss import FIRST_STEPS, LossCurve
from seedbed.simulate.scenario import Scenario


class Account(msgspec.Struct):
    """Seconds of a run by what the cluster did, and what went wrong. The seconds add up to the run's time."""

    training_s: float = 0.0
    """Training that counts."""
    lost_s: float = 0.0
    """Training that was lost with a failure and done again."""
    checkpoint_s: float = 0.0
    """Training waited for checkpoints."""
    evaluation_s: float = 0.0
    detection_s: float = 0.0
    """From failures to their detection."""
    replacement_s: float = 0.0
    """Replacing nodes, and waiting for one if there was no spare."""
    restart_s: float = 0.0
    """Starting processes and NCCL, and reading checkpoints."""
    interruptions: dict[str, int] = {}
    """Unplanned interruptions by component."""
    planned: int = 0
    """Planned interruptions: maintenance, and slow nodes that were replaced."""
    rollbacks: int = 0
    """Times that the loss diverged, so that training went back and skipped data."""
    lost_steps: int = 0

    def total_s(self) -> float:
        """The sum of all seconds: the time of the run."""
        named = (self.training_s, self.lost_s, self.checkpoint_s, self.evaluation_s, self.detection_s)
        return sum(named) + self.replacement_s + self.restart_s

    def spend(self, category: str, seconds: float) -> None:
        """Add seconds to a category, such as `restart_s`."""
        setattr(self, category, getattr(self, category) + seconds)

    def count(self, component: str) -> None:
        """Count an unplanned interruption."""
        self.interruptions[component] = self.interruptions.get(component, 0) + 1

    @property
    def failures(self) -> int:
        """The number of unplanned interruptions."""
        return sum(self.interruptions.values())


_SHOWN = 6
_NEAR = 0.03
"""Distance of the final loss to the law, as a share, from which it is explained."""
_FEW_STEPS = 4 * FIRST_STEPS
_MUCH_WAITING = 0.02
"""Share of the time from which waiting for nodes is mentioned."""


def summary(scenario: Scenario, account: Account, elapsed_s: float, loss: float, curve: LossCurve) -> list[str]:
    """The result of a simulated run as sentences, one fact each. `loss`: that of its last step."""
    failures = account.failures
    lines = [
        f"Time: {text.duration(elapsed_s)} on {scenario.gpus:,} x {scenario.gpu},"
        f" {text.count(scenario.tokens)} tokens, {text.count(scenario.tokens / elapsed_s)} tokens/s.",
        f"Goodput: {scenario.goodput(scenario.steps, elapsed_s):.1%}.{_where(account, elapsed_s)}",
        f"Interruptions: {failures}{_by_component(scenario, account)}; {account.planned} planned;"
        f" {scenario.reliability.expected_failures(scenario.nodes, elapsed_s / 86_400):.0f} expected.",
        f"Lost work: {account.lost_steps:,} steps, {text.duration(account.lost_s)}.",
        _interval(scenario),
        _final_loss(loss, curve),
    ]
    if account.rollbacks:
        times = "once" if account.rollbacks == 1 else f"{account.rollbacks} times"
        lines.insert(4, f"The loss diverged {times}; training went back and skipped data.")
    return lines


def _final_loss(loss: float, curve: LossCurve) -> str:
    """The final loss beside that of the law; if they are far apart, with the reason."""
    law, shown = curve.at_law(), f"Final loss: {loss:.4f}"
    if law >= curve.highest:
        return f"{shown}. The law does not hold for so few tokens: it gives more than guessing, {curve.highest:.4f}."
    if abs(loss - law) <= _NEAR * law:
        return f"{shown}; the law gives {law:.4f}."
    if curve.schedule.steps < _FEW_STEPS:
        why = f"the run has only {text.plural(curve.schedule.steps, 'step')}, in which the loss still falls from that of guessing"
    elif abs(curve.mean(curve.schedule.steps) - law) <= _NEAR * law:
        why = "the last step differs by noise, since its batch is small"
    else:
        why = "for so few tokens, the start of the curve at the loss of guessing matters"
    return f"{shown}; the law gives {law:.4f}: {why}."


def _where(account: Account, elapsed_s: float) -> str:
    """The largest losses of time, as shares of the run's time."""
    parts = {
        "lost work": account.lost_s,
        "checkpoints": account.checkpoint_s,
        "detection": account.detection_s,
        "replacement": account.replacement_s,
        "restarts": account.restart_s,
        "validation": account.evaluation_s,
    }
    shown = sorted(((name, s / elapsed_s) for name, s in parts.items()), key=lambda each: -each[1])
    lost = ", ".join(f"{name} {share:.1%}" for name, share in shown if share >= 0.0005)
    return f" Lost to {lost}." if lost else ""


def _by_component(scenario: Scenario, account: Account) -> str:
    titles = {each.name: each.title for each in scenario.reliability.components()} | {JOB: "job"}
    counts = sorted(account.interruptions.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{titles[name]} {count}" for name, count in counts[:_SHOWN]]
    rest = sum(count for _, count in counts[_SHOWN:])
    return f" ({', '.join([*shown, *([f'other {rest}'] if rest else [])])})" if counts else ""


def _interval(scenario: Scenario) -> str:
    used, best, given = scenario.interval_steps(), scenario.recommended_every(), scenario.checkpointing()
    if best >= scenario.steps:
        return f"Checkpoint interval: {used:,} steps. Failures are so rare that one checkpoint at the end is enough."
    shares = [effective_share(steps * scenario.step_s, given) for steps in (used, best)]
    used_text = f"{text.duration(used * scenario.step_s)} ({used:,} steps), {shares[0]:.1%} expected"
    if used == best:
        line = f"Checkpoint interval: {used_text}; this is the recommended one."
    else:
        best_text = f"{text.duration(best * scenario.step_s)} ({best:,} steps), {shares[1]:.1%} expected"
        line = f"Checkpoint interval: {used_text}; recommended {best_text}."
    if given.waiting < _MUCH_WAITING:
        return line
    return (
        f"{line} Waiting for nodes is {given.waiting:.1%} of the time: {text.plural(scenario.spare_nodes, 'spare node')}"
        " (cluster.spare_nodes) are too few."
    )
