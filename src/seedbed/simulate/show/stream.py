"""The stream of the show: run after run as timed items, a pure function of the options.

The events of the simulator decide what happens; this module decides what of it a viewer sees, and when. The clock of the
show is not that of the simulated cluster: an epoch that takes hours there takes less than a minute here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from seedbed.events import Checkpoint, Comm, Eval, Event, Hardware, Message, Node, Phase, Step
from seedbed.simulate.cluster_run import ClusterRun
from seedbed.simulate.counter_random import Stream
from seedbed.simulate.show.cast import facts
from seedbed.simulate.show.closing import ending, exporting
from seedbed.simulate.show.gpus import GpuLoads
from seedbed.simulate.show.items import (
    Bar,
    Beat,
    CheckpointSaved,
    EarlyStopping,
    EpochDone,
    Hanging,
    Next,
    Restarted,
    Restarting,
    SaveBegins,
    ShardSaved,
    Training,
    Validated,
)
from seedbed.simulate.show.opening import opening
from seedbed.simulate.show.pace import Pace
from seedbed.simulate.show.playlist import Options, Take, takes
from seedbed.simulate.telemetry import Telemetry

EPOCH_S = (30.0, 36.0)
"""Seconds of the show that the steps of an epoch take."""
_MILESTONES = 8
"""Training bars of an epoch that are also shown where bars cannot be overwritten."""
_VALIDATION_BARS = 10
_VALIDATION_S, _SAVE_S, _HANG_S, _DETECT_S, _RESTART_S, _END_S = 3.0, 1.2, 3.0, 1.5, 3.0, 4.0
_WARNED_SHARE = 0.2
"""Share of the checkpoints that come with a warning."""
_SHARDS_SHOWN = 3
_COMMS_PER_EPOCH = 5
_SAMPLED = 20
"""Steps between two samples of the collectives by the simulator."""
_TABLES_AT = (0.25, 0.8)
"""Shares of an epoch after which the table of GPUs is shown; the second one only in the first epoch."""
_DETAIL_STEPS = 2
"""Steps after a start that are all shown."""


def played(options: Options) -> Iterator[tuple[Beat, Take]]:
    """The items of the show, each with its run, without end. Raises SeedbedError if what is asked for is impossible."""
    at_s = 0.0
    runs = takes(options)
    take = next(runs)
    while True:
        pace = Pace(take.scenario.seed, take.number, at_s)
        for beat in RunShow(take, pace).beats():
            yield beat, take
        following = next(runs)
        shown = Next(
            number=following.number, model=following.shape.name, num_gpus=following.num_gpus, gpu=following.gpu.name
        )
        yield pace.show(shown, _END_S), take
        pace.hold(1.0)
        take, at_s = following, pace.at_s


class RunShow:
    """One run of the show."""

    def __init__(self, take: Take, pace: Pace) -> None:
        self.take, self.pace = take, pace
        self.given = take.scenario
        self.loads = GpuLoads(take.scenario, take.plan.setup.layout.pp)
        self._draw = Stream(self.given.seed, "show")
        self._telemetry = Telemetry(self.given)
        low, high = EPOCH_S
        self._step_pause_s = (low + (high - low) * self._draw.uniform(0)) / take.steps_of_epoch
        self._comm_every = max(take.steps_of_epoch // _COMMS_PER_EPOCH // _SAMPLED, 1) * _SAMPLED
        self._begun_t = 0.0
        """When training began, in seconds of the run."""
        self._shown_step = 0
        self._detail_until = _DETAIL_STEPS
        self._without_best = 0
        self._best: Validated | None = None
        self._last: Training | None = None
        self._checkpoints = self._attempts = 0
        self._restart_t = 0.0
        self._milestones = {
            round(number * take.steps_of_epoch / _MILESTONES / take.log_every) * take.log_every
            for number in range(1, _MILESTONES + 1)
        }

    def beats(self) -> Iterator[Beat]:
        """The items of the run."""
        for beat in opening(self.take, self.pace):
            yield self._heard(beat)
        run = ClusterRun(self.given)
        end_t = 0.0
        for t, event in run.events():
            end_t = t
            for beat in self._of(t, event):
                yield self._heard(beat)
        yield self._heard(self.pace.show(self._telemetry.idle(end_t), 1.0))
        for beat in exporting(self.take, self.pace):
            yield beat
        assert self._last is not None, "a run has at least one step"
        self.pace.hold(0.8)
        yield self.pace.show(
            ending(self.take, run.account, self._last, self._best, end_t - self._begun_t), 1.5 * _END_S
        )

    def _heard(self, beat: Beat) -> Beat:
        if isinstance(beat.item, Hardware):
            self.loads.hear(beat.at_s, beat.item)
        return beat

    def _of(self, t: float, event: Event) -> Iterator[Beat]:
        """What a viewer sees of an event of the simulator."""
        match event:
            case Step():
                yield from self._step(t, event)
            case Hardware():
                yield from self._hardware(t, event)
            case Comm() if event.step and event.step % self._comm_every == 1:
                yield self.pace.show(event, 0.1)
            case Phase(name="train", done=False):
                self._begun_t = t
            case Phase(name="evaluate"):
                yield from self._evaluation(t, event)
            case Phase(name="restart"):
                yield from self._restart(t, event)
            case Eval():
                yield from self._validated(event)
            case Checkpoint():
                yield from self._checkpoint(event)
            case Node() if event.state != "joined" or event.reason:
                yield self.pace.show(event, 0.3)
            case Message() if event.code in ("failure", "rollback", "diverged"):
                yield self.pace.show(event, _DETECT_S)
                if event.code == "rollback":
                    self._shown_step = event.step or 0
                    self._detail_until = self._shown_step + _DETAIL_STEPS

    # Training --------------------------------------------------------------------------------------------------------

    def _step(self, t: float, event: Step) -> Iterator[Beat]:
        take, every = self.take, self.given.interval_steps()
        wanted = event.step % take.log_every == 0 or event.step <= self._detail_until or event.step % every == 0
        if not wanted:
            return
        self.pace.wait(self._step_pause_s * (event.step - self._shown_step))
        self._shown_step = event.step
        item = self._training(t, event)
        self._last = item
        yield self.pace.show(item)
        share = item.step_of_epoch / item.steps_of_epoch
        for number, at in enumerate(_TABLES_AT):
            if share - take.log_every / item.steps_of_epoch < at <= share and (number == 0 or item.epoch == 1):
                yield self.pace.show(self.loads.table(self.pace.at_s), 0.6)
        if item.step_of_epoch == item.steps_of_epoch:
            yield self.pace.show(
                EpochDone(
                    epoch=item.epoch,
                    epochs=item.epochs,
                    tokens=item.tokens,
                    elapsed_s=item.elapsed_s,
                    tokens_per_s=item.tokens / item.elapsed_s,
                ),
                0.3,
            )
        elif event.step % every == 0:
            yield from self._save_begins(t, event.step)

    def _training(self, t: float, event: Step) -> Training:
        take, given = self.take, self.given
        epoch, before = divmod(event.step - 1, take.steps_of_epoch)
        loss = math.floor(event.loss * 1e4) / 1e4
        metrics = event.metrics or {}
        return Training(
            epoch=epoch + 1,
            epochs=take.epochs,
            step=event.step,
            steps=given.steps,
            step_of_epoch=before + 1,
            steps_of_epoch=take.steps_of_epoch,
            loss=loss,
            perplexity=math.exp(loss),
            lr=event.lr,
            grad_norm=event.grad_norm,
            tokens=event.tokens,
            step_s=event.step_s,
            tokens_per_s=given.tokens_per_step / event.step_s,
            samples_per_s=given.sequences_per_step / event.step_s,
            mfu=metrics.get("mfu"),
            elapsed_s=t - self._begun_t,
            left_s=self._left_s(event.step),
            is_milestone=before + 1 in self._milestones,
        )

    def _left_s(self, step: int) -> float:
        """Expected seconds until the end of training: steps, validations and checkpoints."""
        given, every = self.given, self.given.interval_steps()
        saves = given.steps // every - step // every
        evals = given.steps // given.eval_every - step // given.eval_every
        return (given.steps - step) * given.step_s + evals * given.eval_s + saves * given.checkpoint_blocking_s

    def _hardware(self, t: float, event: Hardware) -> Iterator[Beat]:
        yield self.pace.show(event)
        if event != self._telemetry.hanging(t):
            return
        self.pace.hold(_HANG_S)
        ranks = sorted(
            {self._draw.below(100 + 10 * self._attempts + number, self.take.num_gpus) for number in range(2)}
        )
        for rank in ranks:
            yield self.pace.show(
                Hanging(
                    rank=rank,
                    op=self.given.collectives[0].op if self.given.collectives else "all_reduce",
                    sequence=self._shown_step * 37 + 12,
                    timeout_s=self.given.reliability.timeout_s,
                ),
                0.15,
            )

    def _restart(self, t: float, event: Phase) -> Iterator[Beat]:
        if not event.done:
            self._attempts += 1
            self._restart_t = t
            yield self.pace.show(self._telemetry.idle(t))
            yield self.pace.show(Restarting(attempt=self._attempts, nodes=self.given.nodes), _RESTART_S)
            self.pace.hold(_RESTART_S / 2)
            return
        yield self.pace.show(
            Restarted(step=self._shown_step, elapsed_s=t - self._restart_t, num_gpus=self.take.num_gpus), 0.5
        )

    # Validations and checkpoints -------------------------------------------------------------------------------------

    def _evaluation(self, t: float, event: Phase) -> Iterator[Beat]:
        if event.done:
            if event.step is not None and event.step % self.given.interval_steps() == 0:
                yield from self._save_begins(t, event.step)
            return
        yield self.pace.show(event, 0.4)
        sequences = self.given.eval_tokens // self.take.seq_len
        for number in range(1, _VALIDATION_BARS + 1):
            done = sequences * number // _VALIDATION_BARS
            bar = Bar(
                what="validation", done=done, total=sequences, unit="sequences", finished=number == _VALIDATION_BARS
            )
            yield self.pace.show(bar, _VALIDATION_S / _VALIDATION_BARS)

    def _validated(self, event: Eval) -> Iterator[Beat]:
        loss = math.floor(event.loss * 1e4) / 1e4
        domains = self._domain_losses(event.loss, event.step)
        item = Validated(step=event.step, loss=loss, perplexity=math.exp(loss), best=event.best, domains=domains)
        self._without_best = 0 if event.best else self._without_best + 1
        if event.best:
            self._best = item
        yield self.pace.show(item, 0.4)
        yield self.pace.show(EarlyStopping(count=self._without_best, patience=self.take.epochs + 2), 0.4)

    def _domain_losses(self, loss: float, step: int) -> dict[str, float]:
        """The loss of each domain of a mixture: fixed differences, whose mean weighted by the shares is 0."""
        shares = self.take.dataset.domains
        offsets = {name: 0.25 * self._draw.normal(1000 + number) for number, name in enumerate(shares)}
        mean = sum(shares[name] * offset for name, offset in offsets.items())
        scale = min(max(loss - 1, 0.1), 1.0)
        return {name: round(loss + scale * (offset - mean), 4) for name, offset in offsets.items()}

    def _save_begins(self, t: float, step: int) -> Iterator[Beat]:
        given = self.given
        load = Hardware(
            gpu_fraction=0.12,
            gpu_used_bytes=given.gpu_used_bytes,
            gpu_total_bytes=given.gpu_memory_bytes or None,
            gpu_power_w=given.gpu_idle_w + 0.12 * (given.gpu_power_w - given.gpu_idle_w) if given.gpu_power_w else None,
            gpu_count=given.gpus,
        )
        yield self.pace.show(load)
        yield self.pace.show(SaveBegins(step=step, stall_s=given.checkpoint_blocking_s))
        self.pace.hold(_SAVE_S)
        if step < given.steps:
            yield self.pace.show(self._telemetry.training(step, t)[0])

    def _checkpoint(self, event: Checkpoint) -> Iterator[Beat]:
        shards = self.given.nodes
        self._checkpoints += 1
        shown = [*range(1, min(shards, _SHARDS_SHOWN) + 1)]
        if shards > _SHARDS_SHOWN:
            shown[-1] = shards
        for number in shown:
            size = event.size_bytes * number // shards - event.size_bytes * (number - 1) // shards
            path = f"{event.path}/__{number - 1}_0.distcp"
            yield self.pace.show(ShardSaved(path=path, size_bytes=size, number=number, of=shards), 0.15)
        index = 2000 + 4 * self._checkpoints
        if self._draw.uniform(index) < _WARNED_SHARE:
            words = facts().checkpoint_warnings
            text = words[self._draw.below(index + 1, len(words))].format(
                shard=1 + self._draw.below(index + 2, shards),
                node=self._draw.below(index + 2, shards),
                factor=2 + 3 * self._draw.uniform(index + 3),
                percent=80 + 18 * self._draw.uniform(index + 3),
            )
            yield self.pace.show(Message(level="warning", code="checkpoint", text=text, step=event.step), 0.3)
        yield self.pace.show(
            CheckpointSaved(
                step=event.step,
                path=event.path,
                size_bytes=event.size_bytes,
                write_s=event.write_s,
                best=event.best,
            ),
            0.3,
        )
