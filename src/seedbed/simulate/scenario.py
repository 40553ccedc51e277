"""What is simulated: every number that the simulator needs about one training run on one cluster."""

from __future__ import annotations

import math

import msgspec

from seedbed.simulate.failures import Reliability
from seedbed.simulate.goodput import Checkpointing, recommended_interval_s, waiting_share
from seedbed.simulate.loss import SPIKES_PER_STEP, LossCurve, Schedule, ScheduleKind


class Collective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collective operation of one step: its name, such as `all_reduce`, bytes per GPU, and seconds (also if hidden)."""

    op: str
    size_bytes: int
    elapsed_s: float


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run on one cluster. Times are in seconds, sizes in bytes; a cost model or measurements give them."""

    seed: int = 0
    model: str = "model"
    gpu: str = "GPU"
    layout: str = ""
    """How training is split over the GPUs, for people: `tp=8, pp=16, dp=128`."""
    precision: str = "bf16"

    parameters: int
    active_parameters: int = 0
    """Parameters that work on a token, which decide the loss of a mixture of experts; 0: all."""
    vocab: int
    steps: int
    tokens_per_step: int
    sequences_per_step: int
    steps_per_epoch: float | None = None

    step_s: float
    """Mean seconds of a step on a healthy cluster, without checkpoints and validations."""
    step_noise: float = 0.01
    """Standard deviation of a step's time, as a share. Assumed."""
    day_wave: float = 0.01
    """Amplitude of a daily wave of the step time, as a share: 1 to 2 % by temperature (arXiv 2407.21783, section 3.3.4)."""
    parts: dict[str, float] = {}
    """Seconds of a step by part, such as `matmul`, `pipeline_bubble`; their sum is `step_s`."""
    collectives: tuple[Collective, ...] = ()
    flops_per_token: float = 0.0
    """Model FLOPs of forward and backward pass per token; 0: 6 times the active parameters."""
    peak_flops: float = 0.0
    """Peak FLOP/s of one GPU in the precision of the run; 0: unknown, so no MFU is logged."""

    nodes: int
    gpus_per_node: int = 8
    spare_nodes: int = 0
    gpu_memory_bytes: int = 0
    """Memory of a GPU; 0: unknown, so no memory is logged."""
    gpu_used_bytes: int = 0
    gpu_idle_w: float = 0.0
    gpu_power_w: float = 0.0
    """Power limit of a GPU; 0: unknown, so no power is logged."""

    checkpoint_every: int = 0
    """Steps between checkpoints; 0: the recommended interval."""
    checkpoint_bytes: int = 0
    checkpoint_blocking_s: float = 10.0
    """Seconds for which training waits for a checkpoint."""
    checkpoint_write_s: float = 60.0
    """Seconds until a checkpoint is complete on storage, after the wait."""
    load_s: float = 60.0
    """Seconds to read a checkpoint."""
    keep_last: int = 2

    eval_every: int = 0
    """Steps between validations; 0: only after the last step."""
    eval_tokens: int = 0
    eval_s: float = 0.0

    lr: float = 3e-4
    schedule: ScheduleKind = "cosine"
    warmup_steps: int = 0
    decay: float = 0.2
    floor: float = 0.1
    spikes_per_step: float = SPIKES_PER_STEP

    reliability: Reliability = Reliability()
    log_points: int = 4000
    """Steps that the log keeps of a long run, besides those around failures, spikes and validations."""

    @property
    def gpus(self) -> int:
        """GPUs that train, without spares."""
        return self.nodes * self.gpus_per_node

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens_per_step

    def checkpointing(self) -> Checkpointing:
        """What decides the best checkpoint interval."""
        rate = self.reliability.failures_per_s(self.nodes)
        return Checkpointing(
            self.checkpoint_blocking_s,
            1 / rate if rate else math.inf,
            self.reliability.recovery_s(self.nodes, self.gpus, self.load_s),
            self.checkpoint_write_s,
            self.waiting(),
            self.reliability.init_s(self.gpus) + self.load_s,
        )

    def waiting(self) -> float:
        """The expected share of the time in which the job waits for a node because no spare is free."""
        return waiting_share(self.reliability.mean_away(self.nodes), self.spare_nodes)

    def recommended_every(self) -> int:
        """The recommended number of steps between checkpoints (Daly's interval), at most those of the run."""
        best_s = recommended_interval_s(self.checkpointing(), self.step_s)
        return self.steps if best_s >= self.steps * self.step_s else max(round(best_s / self.step_s), 1)

    def interval_steps(self) -> int:
        """The number of steps between checkpoints that the run uses."""
        return self.checkpoint_every or self.recommended_every()

    def goodput(self, step: int, elapsed_s: float) -> float:
        """The share of the time since the run began that `step` steps take on a healthy cluster, from 0 to 1."""
        return step * self.step_s / elapsed_s

    def mfu(self, step_s: float) -> float | None:
        """Model FLOPs utilisation of a step of `step_s` seconds, from 0 to 1; None if the peak rate is unknown."""
        if not self.peak_flops:
            return None
        per_token = self.flops_per_token or 6.0 * (self.active_parameters or self.parameters)
        return per_token * self.tokens_per_step / (step_s * self.gpus * self.peak_flops)

    def loss_curve(self) -> LossCurve:
        """The loss of every step."""
        return LossCurve(
            seed=self.seed,
            parameters=self.active_parameters or self.parameters,
            vocab=self.vocab,
            tokens_per_step=self.tokens_per_step,
            sequences_per_step=self.sequences_per_step,
            schedule=Schedule(self.steps, self.lr, self.schedule, self.warmup_steps, self.decay, self.floor),
            spikes_per_step=self.spikes_per_step,
        )
