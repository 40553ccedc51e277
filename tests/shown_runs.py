"""Runs of the show for tests: the items of the first run of a seed."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, TypeVar

import msgspec

from seedbed.simulate import catalog
from seedbed.simulate.failures import Reliability
from seedbed.simulate.scenario import Collective, Scenario
from seedbed.simulate.setup import Layout, Recipe
from seedbed.simulate.show.cast import facts
from seedbed.simulate.show.items import Beat, Next
from seedbed.simulate.show.pace import Pace
from seedbed.simulate.show.playlist import Options, Take, take_of
from seedbed.simulate.show.stream import RunShow, played

T = TypeVar("T")


class Played(NamedTuple):
    """A run of the show and its items, up to the announcement of the next run."""

    take: Take
    beats: list[Beat]

    def all(self, kind: type[T]) -> list[T]:
        """The items of one kind, in order."""
        return [beat.item for beat in self.beats if isinstance(beat.item, kind)]

    def one(self, kind: type[T]) -> T:
        """The only item of a kind."""
        (found,) = self.all(kind)
        return found


@cache
def first_run(seed: int) -> Played:
    """The first run of the show with this seed."""
    return play(Options(seed=seed))


def play(options: Options) -> Played:
    """The first run of a show."""
    beats: list[Beat] = []
    for beat, take in played(options):
        beats.append(beat)
        if isinstance(beat.item, Next):
            return Played(take, beats)
    raise AssertionError("the show never ends")


def fixed_run() -> Played:
    """A run on 1,024 GPUs with a failure, whose cost is given, so that a better cost model does not change it."""
    gpu, shape = catalog.gpu("H100"), catalog.model("MPT-30B")
    take = take_of(Options(seed=7, num_gpus=1024, gpu=gpu, shape=shape), 1)
    layout = Layout(dp=128, tp=8, zero=1, shard=128)
    recipe = Recipe(seq_len=8192, global_batch=1024, precision="bf16", stack="fused")
    setup = msgspec.structs.replace(take.plan.setup, layout=layout, recipe=recipe)
    scenario = Scenario(
        seed=11,
        model=shape.name,
        gpu=gpu.name,
        parameters=shape.parameters,
        vocab=shape.vocab,
        steps=360,
        steps_per_epoch=120.0,
        tokens_per_step=1024 * 8192,
        sequences_per_step=1024,
        step_s=3.2,
        collectives=(Collective("all_reduce", 112 << 20, 8e-4), Collective("reduce_scatter", 14 << 30, 0.32)),
        flops_per_token=shape.flops_per_token(8192),
        peak_flops=989e12,
        nodes=128,
        spare_nodes=3,
        gpu_memory_bytes=80 << 30,
        gpu_used_bytes=61 << 30,
        gpu_idle_w=100.0,
        gpu_power_w=700.0,
        checkpoint_every=60,
        checkpoint_bytes=14 * shape.parameters,
        checkpoint_blocking_s=1.5,
        checkpoint_write_s=6.0,
        load_s=5.0,
        eval_every=120,
        eval_tokens=16 * 1024 * 8192,
        eval_s=17.0,
        lr=2e-4,
        warmup_steps=18,
        log_points=360,
        reliability=Reliability(node_rate=300, job_rate=0, maintenance_rate=0, slow_rate=0),
    )
    data = next(each for each in facts().datasets if each.name == "SlimPajama-627B")
    plan = msgspec.structs.replace(take.plan, setup=setup, scenario=scenario)
    take = msgspec.structs.replace(take, plan=plan, scenario=scenario, dataset=data, log_every=5)
    return Played(take, list(RunShow(take, Pace(5, 1, 0.0)).beats()))
