"""From the config of a simulated run to its scenario: what the config leaves open, the plan decides."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed.config.simulation import FailuresConfig, Simulation
from seedbed.errors import UsageError
from seedbed.simulate import catalog
from seedbed.simulate.constants import FORWARD_SHARE
from seedbed.simulate.failures import Reliability
from seedbed.simulate.layouts import parse_parallel
from seedbed.simulate.loss import SPIKES_PER_STEP
from seedbed.simulate.plan import Plan, make_plan
from seedbed.simulate.request import Request
from seedbed.simulate.scenario import Scenario

_VALIDATIONS = 200
"""Most validations of a run whose config does not say when to validate."""
_VALIDATION_TIME = 0.01
"""Share of the training time that these may take; at least one is done at the end."""
MOST_STEPS = 100_000_000


def scenario_from(config: Simulation) -> Scenario:
    """The scenario that a config describes.

    Raises UsageError for unknown names and impossible values, SeedbedError for a model that does not fit, and for a run that
    would hardly make progress.
    """
    plan = plan_of(config)
    if plan.steps > MOST_STEPS:
        raise UsageError(
            f"The run would have {plan.steps:,} steps; at most {MOST_STEPS:,} are simulated.",
            "Set fewer tokens (--tokens) or a larger batch (simulate.global_batch).",
        )
    return msgspec.structs.replace(plan.scenario, **_changes(config, plan.scenario))


def plan_of(config: Simulation) -> Plan:
    """The plan that decides what a config leaves open, and says so. Raises as `scenario_from` does."""
    wanted, cluster = config.simulate, config.cluster
    gpus = catalog.parse_gpus(cluster.gpus)
    return make_plan(
        Request(
            shape=catalog.model(wanted.model),
            gpu=gpus.gpu,
            num_gpus=gpus.num_gpus,
            tokens=wanted.tokens,
            seq_len=wanted.sequence,
            global_batch_tokens=wanted.global_batch,
            precision=None if wanted.precision == "auto" else wanted.precision,
            parallel=parse_parallel(cluster.parallel) if cluster.parallel else {},
            network_gbps=cluster.network_gbps,
        ),
        changes=_given(config),
    )


def _given(config: Simulation) -> dict[str, Any]:
    """The fields of the scenario that the config sets, and on which its progress depends."""
    given = {
        "spare_nodes": config.cluster.spare_nodes,
        "step_s": config.cluster.step_s,
        "checkpoint_blocking_s": config.checkpoint.blocking_s,
        "checkpoint_write_s": config.checkpoint.write_s,
        "load_s": config.checkpoint.load_s,
        "checkpoint_every": config.checkpoint.every,
        "reliability": reliability_of(config.failures),
    }
    return {name: value for name, value in given.items() if value is not None}


def _changes(config: Simulation, planned: Scenario) -> dict[str, Any]:
    """The fields of the planned scenario that the config sets besides those of `_given`, and those that follow from these."""
    wanted, schedule, steps, step_s = config.simulate, config.schedule, planned.steps, planned.step_s
    factor = step_s / sum(planned.parts.values()) if config.cluster.step_s is not None else 1.0
    eval_s = wanted.eval_tokens / planned.tokens_per_step * step_s * FORWARD_SHARE
    affordable = int(_VALIDATION_TIME * steps * step_s / eval_s)
    eval_every = wanted.eval_every
    if eval_every is None:
        eval_every = max(steps // max(min(affordable, _VALIDATIONS), 1), 1)
    return {
        "parts": {name: seconds * factor for name, seconds in planned.parts.items()},
        "seed": wanted.seed,
        "lr": wanted.lr,
        "eval_every": eval_every,
        "eval_tokens": wanted.eval_tokens,
        "eval_s": eval_s,
        "keep_last": config.checkpoint.keep_last,
        "schedule": schedule.kind,
        "warmup_steps": min(round(schedule.warmup * steps), steps),
        "decay": schedule.decay,
        "floor": schedule.floor,
        "spikes_per_step": wanted.spikes * SPIKES_PER_STEP,
    }


def reliability_of(given: FailuresConfig) -> Reliability:
    """The failure rates of a config: `rate = 0` turns off all that are not set. Raises UsageError for an unknown component."""
    rates = dict(each.split("=", 1) for each in given.components)
    usual = Reliability() if given.rate else Reliability(node_rate=0, job_rate=0, maintenance_rate=0, slow_rate=0)
    found = Reliability(
        node_rate=given.rate,
        job_rate=usual.job_rate if given.job_rate is None else given.job_rate,
        component_rates={name.strip(): float(rate) for name, rate in rates.items()},
        early_life_factor=given.early_life_factor,
        early_life_days=given.early_life_days,
        maintenance_rate=usual.maintenance_rate if given.maintenance_rate is None else given.maintenance_rate,
        slow_rate=usual.slow_rate if given.slow_rate is None else given.slow_rate,
        timeout_s=given.timeout_s,
        repair_s=given.repair_s,
    )
    found.components()
    return found
