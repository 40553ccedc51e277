"""A plan of a training on this machine as text and as JSON."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from seedbed import text
from seedbed.config.check import Finding, repetition
from seedbed.config.scaling import is_predictable
from seedbed.hardware import memory
from seedbed.presentation.plan import period, seconds, sorted_parts
from seedbed.simulate.here import COMPILE_S, LocalPlan
from seedbed.simulate.machine_rates import KINDS
from seedbed.simulate.plan import DAY_S


def title(plan: LocalPlan) -> str:
    """One line: what is trained, and how long it takes on this machine."""
    return f"{plan.name} on this machine: {text.count(plan.tokens)} tokens in {period(plan.wall_s)}"


def rows(plan: LocalPlan) -> list[tuple[str, str]]:
    """The lines of a plan: label and text."""
    predicted, cost, train = plan.predicted, plan.predicted.cost, plan.config.train
    step_tokens = train.batch_size * plan.config.model.context
    found = [
        ("time", f"{period(plan.wall_s)}, {_whole(plan)}"),
        ("steps", f"{plan.steps:,} of {text.count(step_tokens)} tokens, {seconds(cost.step_s)} each"),
        ("speed", f"{text.count(cost.tokens_per_s)} tokens/s, {100 * cost.mfu:.0f} % of the best measured matmul rate"),
        ("spread", _spread(plan)),
        ("memory", _memory(plan)),
        ("loss", _loss(plan)),
        ("machine", machine(plan)),
        ("compiled", f"yes, in about {COMPILE_S:.0f} s" if predicted.compiled else "no"),
    ]
    if plan.target_days is not None:
        found.insert(1, ("target", _target(plan)))
    if repeated := _repeated(plan):
        found.append(("warning", f"{repeated.text} {repeated.why} {repeated.hint}"))
    if plan.assumed:
        found.append(("assumed", "; ".join(plan.assumed)))
    return found


def _repeated(plan: LocalPlan) -> Finding | None:
    """The warning about a text that is too small for the plan; None if it is not, or its size is not known."""
    if plan.passes is None:
        return None
    is_timed = plan.config.train.time is not None
    return repetition(plan.passes, is_trained=bool(plan.config.base.model), is_timed=is_timed)


def _memory(plan: LocalPlan) -> str:
    total, free = plan.memory.total, memory.available_bytes()
    now = f"; only {text.size(free)} are free now" if plan.rates.device == "cpu" and total > free else ""
    return f"{text.size(total)} of {text.size(plan.rates.total_bytes)}, beside what PyTorch itself needs{now}"


def _loss(plan: LocalPlan) -> str:
    if plan.passes is not None and not is_predictable(plan.passes):
        return "cannot be predicted, because the text is repeated too often"
    of = "the built-in stories" if plan.config.data.source.strip() == "stories" else "English text"
    return f"about {plan.loss:.2f} nats per token of {of}, by the law of `seedbed train --for`"


def _whole(plan: LocalPlan) -> str:
    parts = [f"{period(plan.train_s)} of steps"]
    if plan.predicted.compiled:
        parts.append(f"{period(COMPILE_S)} to compile")
    if plan.validation_s:
        parts.append(f"{period(plan.validation_s)} of validations")
    if plan.closing_s is None:
        whole = f"{' + '.join(parts)}; preparing the text, samples and the last validation come on top"
    else:
        parts.append(f"{period(plan.closing_s)} that are kept for the last validation, samples and save")
        whole = f"as given: {' + '.join(parts)}; preparing the text leaves fewer steps"
    if plan.validation_s is None:
        whole += "; validations are not in it, because the size of their text is not known"
    return whole


def _spread(plan: LocalPlan) -> str:
    """What the rounds of the measurement alone predict; this is no interval of published runs."""
    tokens = plan.config.train.batch_size * plan.config.model.context
    low, high = tokens / plan.predicted.most_s, tokens / plan.predicted.least_s
    words = f"{text.count(low)} to {text.count(high)} tokens/s by the {plan.rates.rounds} rounds of the measurement"
    if plan.rates.is_disturbed:
        return f"{words}, but other programs kept this machine busy: plan again when it is idle"
    return f"{words}; other errors are not in it"


def machine(plan: LocalPlan) -> str:
    """The device, and how it was used."""
    rates = plan.rates
    threads = f", {text.plural(rates.threads, 'thread')}" if rates.device == "cpu" else ""
    return f"{text.printable(rates.name)}{threads}, {rates.precision}, torch {rates.torch}, measured {_age(rates.measured)}"


def _age(measured: float) -> str:
    elapsed_s = max(time.time() - measured, 0.0)
    return "now" if elapsed_s < 60 else f"{period(elapsed_s)} ago"


def _target(plan: LocalPlan) -> str:
    assert plan.target_days is not None
    target_s, days = plan.target_days * DAY_S, text.plural(plan.target_days, "day")
    if plan.target_kept:
        return f"{days}: kept, with {period(target_s - plan.wall_s)} to spare"
    tokens = text.count(plan.tokens * target_s / plan.wall_s)
    return f"{days}: missed by {period(plan.wall_s - target_s)}; in that time it trains {tokens} tokens"


def explanation(plan: LocalPlan) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Where the time of a step and the memory go: a title, then label, amount and share for each part."""
    step_s, need = plan.predicted.cost.step_s, plan.memory
    held = {
        "weights": need.weights,
        "gradients": need.gradients,
        "optimizer": need.optimizer,
        "activations": need.activations,
        "logits": need.logits,
        "runtime": need.runtime,
    }
    parts = [
        (name, seconds(value), f"{100 * value / step_s:.1f} %")
        for name, value in sorted_parts(plan.predicted.cost.parts)
    ]
    sizes = [(name, text.size(value), "") for name, value in sorted_parts(held) if value]
    return [
        (f"A step of {seconds(step_s)}", parts),
        (f"Memory at its peak: {text.size(need.total)}; not all of this is needed at the same time", sizes),
    ]


def basis(plan: LocalPlan) -> list[str]:
    """Sentences that say which figures are measured, computed or assumed."""
    rates = plan.rates
    points = [point for each in rates.points.values() for point in each]
    scaled = sum(point.scaled for point in points)
    more = f" {scaled} of them would have taken too long and are scaled from smaller ones." if scaled else ""
    assumed = [
        "a validation takes a third of the time of training for each token",
        "the machine stays as busy as it was",
    ]
    if plan.predicted.compiled:
        assumed += ["how often compiled code passes over memory", f"{COMPILE_S:.0f} s to compile"]
    return [
        f"Measured here: {len(KINDS)} kinds of operations at {len(points)} sizes, forward and backward, in "
        f"{text.plural(rates.rounds, 'round')} ({rates.elapsed_s:.0f} s). Best matmul rate: "
        f"{rates.best_matmul / 1e9:,.0f} GFLOP/s.{more}",
        "Computed: which operations a step has; their times between the measured sizes; memory. No step was run, and "
        "nothing is fitted.",
        f"Assumed: {'; '.join(assumed)}.",
        "`--measure` measures again. docs/planner.md has the errors against real runs.",
    ]


def as_json(plan: LocalPlan) -> dict[str, Any]:
    """The plan as an object of raw numbers in SI units."""
    predicted, cost, rates, train = plan.predicted, plan.predicted.cost, plan.rates, plan.config.train
    return {
        "model": plan.name,
        "parameters": plan.parameters,
        "device": rates.device,
        "device_name": rates.name,
        "threads": rates.threads,
        "cores": rates.cores,
        "precision": rates.precision,
        "compile": predicted.compiled,
        "tokens": plan.tokens,
        "steps": plan.steps,
        "tokens_per_step": train.batch_size * plan.config.model.context,
        "step_s": cost.step_s,
        "step_parts_s": cost.parts,
        "step_rounds_s": list(predicted.rounds_s),
        "tokens_per_s": cost.tokens_per_s,
        "share_of_matmul_rate": cost.mfu,
        "matmul_flops_per_s": rates.best_matmul,
        "train_s": plan.train_s,
        "validation_s": plan.validation_s,
        "closing_s": plan.closing_s,
        "wall_s": plan.wall_s,
        "memory_bytes": plan.memory.total,
        "memory_parts_bytes": plan.memory._asdict(),
        "total_memory_bytes": rates.total_bytes,
        "loss": plan.loss if plan.passes is None or is_predictable(plan.passes) else None,
        "passes": plan.passes,
        "warnings": [repeated.text] if (repeated := _repeated(plan)) else [],
        "target_days": plan.target_days,
        "target_kept": plan.target_kept,
        "measured": rates.measured,
        "load": rates.load,
        "config": msgspec.to_builtins(plan.config),
        "assumed": list(plan.assumed),
    }
