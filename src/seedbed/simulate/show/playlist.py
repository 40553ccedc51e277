"""The runs of the show: which model is trained on which data and cluster, from the seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate.catalog import models
from seedbed.simulate.counter_random import Stream
from seedbed.simulate.failures import DAY_S, NODE_DAYS, Failures, Reliability
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.loss import ScheduleKind
from seedbed.simulate.plan import Plan, make_plan, scenario_of
from seedbed.simulate.request import Request
from seedbed.simulate.scenario import Scenario
from seedbed.simulate.shape import Shape
from seedbed.simulate.show.cast import Dataset, facts, gpus, real_models

EPOCHS = 3
STEPS_PER_LINE = (4, 5)
LINES_PER_EPOCH = (24, 36)
_LEAST_STEPS_PER_EPOCH = 40
_BYTES_PER_PARAMETER = 24
"""Memory that a model takes on all GPUs together, so that the show does not plan what cannot fit. Assumed."""
_STEP_S, _USUAL_BATCH = (1.0, 60.0), 4e6
"""The show prefers models whose steps of this many tokens take that many seconds, by a rough estimate."""
_REAL_SHARE, _SHARDED_SHARE = 0.6, 0.4
_MOST_TRIES = 60
_FAILURE_TRIES = 400
_SCHEDULES: tuple[ScheduleKind, ...] = ("cosine", "cosine", "wsd", "linear")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the viewer asks for; None: chosen from the seed for each run."""

    seed: int = 0
    num_gpus: int | None = None
    gpu: Gpu | None = None
    shape: Shape | None = None


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the show. `number` counts from 1."""

    number: int
    options: Options
    shape: Shape
    gpu: Gpu
    num_gpus: int
    dataset: Dataset
    plan: Plan
    scenario: Scenario
    epochs: int
    log_every: int
    """Steps between two lines of training."""

    @property
    def steps_of_epoch(self) -> int:
        """Steps of an epoch."""
        return self.scenario.steps // self.epochs

    @property
    def sequences(self) -> int:
        """Sequences of an epoch."""
        return self.steps_of_epoch * self.scenario.sequences_per_step

    @property
    def seq_len(self) -> int:
        """Tokens of a sequence."""
        return self.plan.setup.recipe.seq_len

    @property
    def used_documents(self) -> int:
        """The documents that make up the sequences of an epoch."""
        share = self.sequences * self.seq_len / self.dataset.tokens
        return min(max(round(self.dataset.documents * share), 1), self.dataset.documents)

    @property
    def folder(self) -> str:
        """The folder of the result: lower case, with dashes."""
        words = f"{self.shape.name}-{self.dataset.name}".lower()
        return "outputs/" + "".join(c if c.isalnum() else "-" for c in words)


def takes(options: Options) -> Iterator[Take]:
    """The runs of the show, without end. Raises SeedbedError if what is asked for is impossible."""
    number, before = 1, ""
    while True:
        take = take_of(options, number, before)
        yield take
        number, before = number + 1, take.shape.name


def take_of(options: Options, number: int, before: str = "") -> Take:
    """Run `number` of the show, whose model differs from `before` if it is not given."""
    draw = Stream(options.seed, f"show run {number}")
    shape, gpu, num_gpus = options.shape, options.gpu, options.num_gpus
    possible = _possible_gpus(options)
    for attempt in range(_MOST_TRIES):
        first = 8 * attempt
        gpu = possible[draw.below(first, len(possible))]
        num_gpus = options.num_gpus or _num_gpus(draw, first + 1, gpu)
        shape = options.shape or _shape(draw, first + 2, gpu, num_gpus, before)
        is_fixed = options.shape is not None and options.gpu is not None and options.num_gpus is not None
        if not is_fixed and shape.parameters > _most_parameters(gpu, num_gpus):
            continue
        try:
            plan = _plan(shape, gpu, num_gpus, sharded=draw.uniform(first + 4) < _SHARDED_SHARE)
        except SeedbedError:
            if is_fixed:
                raise
            continue
        return _take(options, number, plan, draw)
    assert shape is not None, "one was tried"
    assert gpu is not None, "one was tried"
    assert num_gpus is not None, "one was tried"
    return _take(options, number, _plan(shape, gpu, num_gpus, sharded=False), draw)  # raises if it does not fit


def _possible_gpus(options: Options) -> tuple[Gpu, ...]:
    """The GPUs to choose from. Raises UsageError if the number that the viewer wants does not fill whole nodes."""
    found = (options.gpu,) if options.gpu is not None else gpus()
    wanted = options.num_gpus
    if wanted is None:
        return found
    whole = tuple(each for each in found if wanted % each.gpus_per_node == 0 or wanted < each.gpus_per_node)
    if not whole:
        per_node = found[0].gpus_per_node
        low = wanted - wanted % per_node
        raise UsageError(
            f"{wanted:,} GPUs do not fill whole nodes of {per_node} x {found[0].name}.",
            f"Write --gpus {low} or {low + per_node}.",
        )
    return whole


def _most_parameters(gpu: Gpu, num_gpus: int) -> float:
    """The parameters of the largest model that the show tries on this cluster."""
    return num_gpus * gpu.usable_gib * 2**30 / _BYTES_PER_PARAMETER


def _plan(shape: Shape, gpu: Gpu, num_gpus: int, *, sharded: bool) -> Plan:
    """The plan with the fastest layout, of few enough candidates that the show need not wait for the search.

    `sharded`: with FSDP and without a pipeline, if that is possible.
    """
    request = Request(shape=shape, gpu=gpu, num_gpus=num_gpus)
    parallel = {"cp": 1, "micro_batch": 1}
    if shape.experts:
        parallel["ep"] = math.gcd(shape.experts, num_gpus, 8)
    for more in ({"pp": 1, "zero": 3}, {}) if sharded else ({},):
        with suppress(SeedbedError):
            return make_plan(msgspec.structs.replace(request, parallel=parallel | more))
    # The usual batch may not be divisible by the ranks: another number of sequences for each GPU always is.
    per_gpu = max(round(_USUAL_BATCH / min(shape.context, 8192) / num_gpus), 1)
    batch = float(per_gpu * num_gpus * min(shape.context, 8192))
    with suppress(SeedbedError):
        return make_plan(msgspec.structs.replace(request, parallel=parallel, global_batch_tokens=batch))
    return make_plan(request)


def _num_gpus(draw: Stream, index: int, gpu: Gpu) -> int:
    counts = facts().num_gpus
    per_node = gpu.gpus_per_node
    return -(-counts[draw.below(index, len(counts))] // per_node) * per_node


def _shape(draw: Stream, index: int, gpu: Gpu, num_gpus: int, before: str) -> Shape:
    """A model that may fit; if none of the show's models does, the smallest of the catalog."""
    real = draw.uniform(index) < _REAL_SHARE
    most = _most_parameters(gpu, num_gpus)
    flops = num_gpus * 0.4e12 * gpu.peak_tflops.get("bf16", gpu.peak_tflops.get("fp16", 100.0))
    shortest, longest = (seconds * flops / (6 * _USUAL_BATCH) for seconds in _STEP_S)
    found = [each for each in (real_models() if real else facts().models) if each.parameters <= most]
    found = [each for each in found if shortest <= each.active_parameters <= longest] or found
    found = [each for each in found if each.name != before] or found
    if not found:
        return min(models(), key=lambda each: each.parameters)
    return found[draw.below(index + 1, len(found))]


def _take(options: Options, number: int, plan: Plan, draw: Stream) -> Take:
    batch = round(plan.setup.tokens_per_step)
    possible = [each for each in facts().datasets if each.tokens >= _LEAST_STEPS_PER_EPOCH * batch]
    dataset = possible[draw.below(1001, len(possible))]
    log_every = STEPS_PER_LINE[draw.below(1002, len(STEPS_PER_LINE))]
    low, high = LINES_PER_EPOCH
    lines = 2 * (low // 2 + draw.below(1003, (high - low) // 2 + 1))
    while log_every * lines * batch > dataset.tokens:
        log_every, lines = (log_every - 1, lines) if log_every > 1 else (1, lines - 2)
    steps = EPOCHS * log_every * lines
    given = scenario_of(
        plan.candidates[0],
        steps,
        seed=Stream(options.seed, "scenario").below(number, 1 << 48),
        steps_per_epoch=float(log_every * lines),
        log_points=steps,
        step_noise=0.01,
        eval_every=log_every * lines,
        checkpoint_every=log_every * lines // 2,
        lr=_peak_lr(plan.setup.shape.active_parameters),
        schedule=_SCHEDULES[draw.below(1004, len(_SCHEDULES))],
        warmup_steps=max(steps // 20, 5),
        reliability=Reliability(node_rate=0, job_rate=0, maintenance_rate=0, slow_rate=0),
    )
    eval_tokens = 16 * batch
    given = msgspec.structs.replace(given, eval_tokens=eval_tokens, eval_s=16 * given.step_s / 3)
    return Take(
        number=number,
        options=options,
        shape=plan.setup.shape,
        gpu=plan.setup.gpu,
        num_gpus=plan.setup.num_gpus,
        dataset=dataset,
        plan=plan,
        scenario=_with_failures(given, draw),
        epochs=EPOCHS,
        log_every=log_every,
    )


def _peak_lr(parameters: float) -> float:
    """A usual peak learning rate: 3e-4 for 8 B parameters, less for larger models (Llama 3, table 3: 8e-5 for 405 B)."""
    lr = 3e-4 * min(max(math.pow(8e9 / parameters, 0.3), 0.2), 4.0)
    digits: float = math.pow(10, math.floor(math.log10(lr)))
    return round(lr / digits * 2) / 2 * digits


def _with_failures(given: Scenario, draw: Stream) -> Scenario:
    """The scenario with none, one or two failures, which are far more frequent than in a real cluster.

    The seed is chosen so that they happen while a viewer can see them: neither in the beginning nor near the end.
    """
    wanted = (0, 1, 1, 1, 1, 1, 2)[draw.below(1005, 7)]
    if given.nodes < 2 or wanted == 0:
        return given
    duration_s = given.steps * given.step_s
    recovery_s = Reliability().timeout_s + Reliability().recovery_s(given.nodes, given.gpus, given.load_s)
    end_s = 1.2 * duration_s + wanted * recovery_s + given.checkpoint_write_s + 600
    rate = wanted / given.nodes / (end_s / DAY_S) * NODE_DAYS
    reliability = Reliability(node_rate=rate, job_rate=0, maintenance_rate=0, slow_rate=0)
    for attempt in range(_FAILURE_TRIES):
        seed = (given.seed + attempt) % (1 << 48)
        failures = Failures(reliability, given.nodes, seed)
        found = [failures.next() for _ in range(wanted + 1)]
        times = [each.t for each in found if each is not None]
        shown = all(each is not None and each.component.shows != "save" for each in found[:wanted])
        begin_s = 0.2 * duration_s + given.reliability.init_s(given.gpus)
        apart = wanted == 1 or times[1] - times[0] > 0.25 * duration_s + recovery_s
        if shown and times[0] > begin_s and times[wanted - 1] < 0.85 * duration_s and apart and times[wanted] > end_s:
            return msgspec.structs.replace(given, seed=seed, reliability=reliability)
    return given
