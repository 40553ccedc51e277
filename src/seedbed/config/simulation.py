"""The config of a simulated run: the model, the cluster, failures, checkpoints, and how fast it is played."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from seedbed.config.schema import ScheduleConfig, Table

Rate = Annotated[float, Meta(ge=0, le=1e5)]
Seconds = Annotated[float, Meta(ge=0, le=1e7)]


class SimulateConfig(Table, frozen=True, kw_only=True):
    """The table `simulate`: what is trained, and how long."""

    model: Annotated[str, Meta(description="Model: a known name such as llama3-8b, or a preset such as tiny.")] = (
        "llama3-8b"
    )
    tokens: Annotated[
        Annotated[float, Meta(gt=0, le=1e18)] | None,
        Meta(description="Tokens to train on; by default 20 for each parameter."),
    ] = None
    sequence: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | None,
        Meta(description="Tokens per sequence; by default the model's context, at most 8192."),
    ] = None
    global_batch: Annotated[
        Annotated[float, Meta(gt=0, le=1e12)] | None,
        Meta(description="Tokens per optimizer step; by default as is usual for the model's size."),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "fp8"],
        Meta(description="Compute precision; auto: bf16 where it exists."),
    ] = "auto"
    lr: Annotated[float, Meta(gt=0, le=1e3, description="Peak learning rate.")] = 3e-4
    eval_every: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Steps between validations; 0: only at the end; by default 200, or as many as take 1 % of the time."
        ),
    ] = None
    eval_tokens: Annotated[int, Meta(ge=1, le=10**15, description="Tokens that each validation evaluates.")] = (
        10_000_000
    )
    seed: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="Seed of failures, noise and spikes: equal seeds give equal runs.")
    ] = 1337
    spikes: Annotated[float, Meta(ge=0, le=1000, description="Expected loss spikes in 20,000 steps.")] = 1.0


class ClusterConfig(Table, frozen=True, kw_only=True):
    """The table `cluster`: the machine, and how training is split over it."""

    gpus: Annotated[str, Meta(description="Number and kind of GPUs, such as 16384xH100.")] = "64xH100"
    parallel: Annotated[
        str, Meta(description="How training is split, such as tp=8,pp=16,dp=128; by default the fastest way that fits.")
    ] = ""
    network_gbps: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        Meta(description="Network bandwidth per GPU in GB/s; by default that of the GPU's usual machine."),
    ] = None
    spare_nodes: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="Nodes in reserve; by default 2 % of the nodes."),
    ] = None
    step_s: Annotated[
        Annotated[float, Meta(gt=0, le=1e7)] | None,
        Meta(description="Seconds per step, if measured; by default predicted."),
    ] = None


class FailuresConfig(Table, frozen=True, kw_only=True):
    """The table `failures`: what fails, and how often. Rates are per 1,000 node-days.

    With rate = 0, nothing fails or interrupts the run, except what another rate of this table says.
    """

    rate: Annotated[
        Rate, Meta(description="Failures of nodes per 1,000 node-days; published: 2.3 to 6.5; 0: nothing fails at all.")
    ] = 4.0
    job_rate: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        Meta(description="Failures of the whole job per hour (user errors); by default 0.005, or 0 if rate is 0."),
    ] = None
    components: Annotated[
        tuple[str, ...],
        Meta(description="Rates of single components in place of their share of rate, such as gpu=2.5 or nic=0.1."),
    ] = ()
    early_life_factor: Annotated[
        float, Meta(ge=1, le=100, description="Factor on rate in the first days of new hardware; about 4 is usual.")
    ] = 1.0
    early_life_days: Annotated[float, Meta(ge=0, le=10_000, description="Length of that time in days.")] = 14.0
    maintenance_rate: Annotated[
        Rate | None,
        Meta(description="Planned interruptions per 1,000 node-days; by default 0.425, or 0 if rate is 0."),
    ] = None
    slow_rate: Annotated[
        Rate | None, Meta(description="Nodes that become slow per 1,000 node-days; by default 0.1, or 0 if rate is 0.")
    ] = None
    timeout_s: Annotated[Seconds, Meta(description="Seconds until a hung collective is ended (NCCL time-out).")] = 600.0
    repair_s: Annotated[
        Annotated[float, Meta(gt=0, le=1e8)], Meta(description="Mean seconds until a failed node is usable again.")
    ] = 14_400.0


class CheckpointConfig(Table, frozen=True, kw_only=True):
    """The table `checkpoint`: how often the run saves, and what it costs."""

    every: Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0: the recommended interval.")] = 0
    keep_last: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Newest checkpoints to keep; more, if they are less than 12 steps apart."),
    ] = 2
    blocking_s: Annotated[
        Seconds | None, Meta(description="Seconds for which a checkpoint blocks training; by default predicted.")
    ] = None
    write_s: Annotated[
        Seconds | None,
        Meta(description="Seconds until a checkpoint is written in the background; by default predicted."),
    ] = None
    load_s: Annotated[Seconds | None, Meta(description="Seconds to read a checkpoint; by default predicted.")] = None


class PlaybackConfig(Table, frozen=True, kw_only=True):
    """The table `playback`: how fast the simulation is shown. It does not change what happens."""

    speed: Annotated[
        float, Meta(ge=0, le=1e12, description="Simulated seconds per second; 0: as fast as possible.")
    ] = 0.0


class Simulation(Table, frozen=True, kw_only=True):
    """The config of a simulated run, with all its tables."""

    simulate: SimulateConfig = SimulateConfig()
    cluster: ClusterConfig = ClusterConfig()
    failures: FailuresConfig = FailuresConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    playback: PlaybackConfig = PlaybackConfig()
