"""The learning-rate schedule: a pure function of config and step.

A segment is a range of steps [start, total). A run has one, and another for each `resume --more-steps`. There the same
schedule starts again over the added steps: it warms up to the full peak and decays to the floor (re-warm and re-decay,
arXiv 2403.08763), since a decayed learning rate would hardly train. `constant` stays at its peak.
"""

from __future__ import annotations

import math

from seedbed.config.schema import ScheduleConfig

_SHAPES = {
    "cosine": "then falls along a cosine",
    "linear": "then falls linearly",
    "constant": "then stays there",
}


def warmup_steps(schedule: ScheduleConfig, total: int, start: int = 0) -> int:
    """Number of warm-up steps in the segment (range of steps) from `start` to `total`, at most all of them."""
    if start > 0 and schedule.kind == "constant":
        return 0
    return min(round(schedule.warmup * (total - start)), total - start)


def multiplier(schedule: ScheduleConfig, step: int, total: int, start: int = 0) -> float:
    """The factor in [0, 1] for all learning rates at the 0-based `step` of the segment (range of steps) [start, total).

    Warm-up: (i + 1) / (W + 1) in its 0-based step i of W, so that the first step already trains and step W is the first at
    the peak. Decay reaches `schedule.floor` at step `total`, one after the last step, so that the last step trains, too.
    Steps outside the segment count as its nearest step.
    """
    length = max(total - start, 1)
    i = min(max(step - start, 0), length)
    warm = warmup_steps(schedule, total, start)
    if i < warm:
        return (i + 1) / (warm + 1)
    fall = length - warm
    if schedule.kind == "wsd":
        fall = min(round(schedule.decay * length), fall)
    if schedule.kind == "constant" or fall == 0:
        return 1.0
    t = max(i - (length - fall), 0) / fall
    if schedule.kind == "cosine":
        return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * t))
    return 1 - (1 - schedule.floor) * t


def timed_multiplier(
    schedule: ScheduleConfig, step: int, *, warmup_steps: int, decay_from: int | None, end: int
) -> float:
    """The factor in [0, 1] for all learning rates at the 0-based `step` of a run under a time budget.

    Warm-up over a fixed number of steps, then constant until the decay begins at `decay_from` (None: not yet), then
    linear to `schedule.floor` at step `end`.
    """
    if step < warmup_steps and (decay_from is None or step < decay_from):
        return (step + 1) / (warmup_steps + 1)
    if schedule.kind == "constant" or decay_from is None or step < decay_from:
        return 1.0
    t = min((step - decay_from) / max(end - decay_from, 1), 1.0)
    peak = min(1.0, (decay_from + 1) / (warmup_steps + 1))
    return peak * (1 - (1 - schedule.floor) * t)


def describe_timed(schedule: ScheduleConfig, lr: float, *, warmup_steps: int, decay_from: int | None) -> str:
    """Say in words how the learning rate with peak `lr` changes in a run under a time budget."""
    rise = f"warms up over {warmup_steps:,} step{'' if warmup_steps == 1 else 's'} to" if warmup_steps else "starts at"
    text = f"The learning rate {rise} {lr:.4g}"
    if schedule.kind == "constant" or schedule.decay == 0:
        return f"{text}, then stays there until the time is up."
    if decay_from is not None:
        return f"{text}, stays there to step {decay_from:,}, then falls linearly."
    return f"{text}, then stays there; it falls linearly over the last {schedule.decay:.0%} of the steps that the time allows."


def describe(schedule: ScheduleConfig, lr: float, step: int, total: int, start: int = 0) -> str:
    """Say in words how the learning rate with peak `lr` changes from `step` to the end of the steps [start, total)."""
    warm = warmup_steps(schedule, total, start)
    peak = f"{lr:.4g}"
    first, last = multiplier(schedule, step, total, start), multiplier(schedule, total - 1, total, start)
    rise = f"warms up over {warm:,} step{'' if warm == 1 else 's'} to {peak}" if warm else f"starts at {peak}"
    after = _SHAPES.get(schedule.kind, "")
    if schedule.kind == "wsd":
        fall = min(round(schedule.decay * (total - start)), total - start - warm)
        after = f"stays there to step {total - fall:,}, then falls linearly" if fall else "then stays there"
    text = f"The learning rate {rise}, {after}"
    if schedule.kind == "constant" and start > 0:
        text = f"The learning rate stays at {peak}"
    elif start > 0:
        text = f"The schedule starts again for steps {start + 1:,} to {total:,}: the learning rate {rise}, {after}"
    elif step > start:
        text = f"The schedule continues: {text[0].lower()}{text[1:]}"
    return f"{text}. First {lr * first:.4g} (step {step + 1:,}), last {lr * last:.4g} (step {total:,})."
