"""The training job that every kind of training shares: start or resume, train, validate, save, stop. Needs no torch.

Each kind builds its own parts, as jobs/pretrain.py does. The training loop is in train/loop.py.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from seedbed.checkpoint.reading import find
from seedbed.config.chosen import Chosen
from seedbed.events import Message, Run
from seedbed.jobs.between_steps import make_hooks, validate_before
from seedbed.jobs.parts import Parts, TrainingConfig
from seedbed.jobs.restore import Branch, History, Start, choose_start, restore
from seedbed.jobs.saving import Saver
from seedbed.jobs.timing import Length, length_of
from seedbed.optim.schedule import describe, describe_timed, multiplier, timed_multiplier, warmup_steps
from seedbed.runs.kinds import command_like
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir
from seedbed.train import hooks
from seedbed.train.horizon import Segment, segment_at
from seedbed.train.loop import NumericsError, Progress, fit

C = TypeVar("C", bound=TrainingConfig)
Build = Callable[[C, Start, Session], Parts]
"""A function that builds the parts (trainer, batches, validation) for a config.

It raises SeedbedError if training cannot work, StopRequested on a stop request.
"""


def train(
    run_dir: Path,
    session: Session,
    frozen: C,
    build: Build[C],
    start: Start | None = None,
    chosen: Chosen | None = None,
) -> str:
    """Train as the config `frozen` of the run says, from its newest valid checkpoint if any; returns the final status.

    `start`: where to start, if the caller has already chosen it. `chosen`: the size that was chosen for a time, if one was.
    """
    emit = session.emit
    start = start or choose_start(run_dir, session.resume, History.read(run_dir), emit)
    config = start.current_config(frozen)
    parts = build(config, start, session)
    trainer = parts.trainer
    segments = start.segments(config, parts.batches.windows_per_epoch, parts.tokens_per_window)
    length = length_of(session, config, segments, start, chosen)
    with hooks.phase(emit, "check"):
        emit(_trial(config, parts))
        largest = parts.batches.largest(start.step)
        trainer.prepare(largest, length.steps_worth_compiling(start.step), emit, session.check_requests)
        length.begin(parts, start.step, lambda: trainer.seconds_per_step(largest, session.check_requests))
    segment = segment_at(segments, start.step)
    warm_until = segment.start + _warmup_steps(config, segment)
    monitor = hooks.LossMonitorHook(emit, warmup_steps=warm_until)
    progress = restore(start, segments, parts, monitor, emit) if start.loaded else Progress()
    branch = Branch.of(session.run, session.number, start)
    begin_session(session, frozen, config, parts, segments, start, branch, length)
    branch.leave(session.run, start, emit)
    saver = Saver(session, config.train, parts, monitor, segments, progress if branch.saved else None, length.used_s)
    if start.loaded and not branch.saved:
        saver.save(progress, best=False)
    gc.collect()
    gc.freeze()
    try:
        if parts.is_trained and start.loaded is None:
            validate_before(parts, session)
        with hooks.phase(emit, "train", progress.step), parts.prefetched as batches:
            fit(
                trainer,
                batches,
                lambda step: scale_at(config, segments, step),
                segments[-1].end,
                emit,
                make_hooks(config.train, parts, session, saver, monitor, branch.loss_to_beat, progress, length),
                start=progress,
            )
    except NumericsError as error:
        saver.settle()
        precision = str(trainer.describe().get("precision") or "fp32")
        raise NumericsError(error.message, advice(config, precision, run_dir)) from error
    except Exception:
        saver.settle()  # a checkpoint that was submitted before the error is valid and gets its event
        raise
    with hooks.phase(emit, "save", progress.step):
        saver.settle()
    return "completed" if progress.stop in (None, hooks.EARLY_STOP) and not saver.gave_up else "stopped"


def _trial(config: TrainingConfig, parts: Parts) -> Message:
    """What is said before the trial of a batch, which takes as long as a step: minutes for a large model on a slow machine."""
    rows = min(config.train.micro_batch or config.train.batch_size, config.train.batch_size)
    size = f"{rows:,} x {parts.tokens_per_window:,} tokens"
    return Message(
        level="info",
        code="trial",
        text=f"Testing whether a batch of {size} fits into memory, and how long it takes ...",
    )


def advice(config: TrainingConfig, precision: str, run_dir: Path) -> str:
    """A hint on what to do after the loss became NaN.

    A resume does not help: it repeats the same batches from the same weights.
    """
    good = find(run_dir / "checkpoints").good
    kept = (
        f"The last good checkpoint is {good[-1].name}, but a resume repeats the same steps and fails in the same way."
        if good
        else "No checkpoint was saved, and a resume repeats the same steps."
    )
    optimizer = config.optimizer
    usual = 1e-3 if optimizer.name == "adamw" else 0.02
    or_fp32 = ", or use --precision fp32" if precision != "fp32" else ""
    return (
        f"{kept} Start a new run with a lower learning rate: `{command_like(RunDir(run_dir))} --set "
        f"optimizer.lr={min(optimizer.lr / 2 or usual, usual):.2g}`{or_fp32}."
    )


def scale_at(config: TrainingConfig, segments: list[Segment], step: int) -> float:
    """The multiplier of the learning rate at the step with the 0-based number `step`."""
    segment = segment_at(segments, step)
    if segment.warmup_steps is not None:
        return timed_multiplier(
            config.schedule,
            step,
            warmup_steps=segment.warmup_steps,
            decay_from=segment.decay_from,
            end=segment.end,
        )
    return multiplier(config.schedule, step, segment.end, segment.start)


def _warmup_steps(config: TrainingConfig, segment: Segment) -> int:
    if segment.warmup_steps is not None:
        return segment.warmup_steps
    return warmup_steps(config.schedule, segment.end, segment.start)


def _describe_schedule(config: TrainingConfig, segment: Segment, step: int) -> str:
    """The learning-rate schedule of a segment, from `step` on, in words."""
    lr = config.optimizer.lr
    if segment.warmup_steps is not None:
        return describe_timed(config.schedule, lr, warmup_steps=segment.warmup_steps, decay_from=segment.decay_from)
    return describe(config.schedule, lr, step, segment.end, segment.start)


def begin_session(
    session: Session,
    frozen: TrainingConfig,
    config: TrainingConfig,
    parts: Parts,
    segments: list[Segment],
    start: Start,
    branch: Branch,
    length: Length,
) -> None:
    """Emit the `run` event with which this session begins to train: device, last step, differences from the frozen config."""
    segment = segment_at(segments, start.step)
    if start.common_step is not None and start.common_step < start.step:
        # The checkpoint was not trained by the current steps after `common_step`, so this event supersedes those steps.
        step, end = start.common_step, segments[-1].end
        session.emit(Run(status="running", session=session.number, step=step, steps=end, left=branch.left))
    moved = config.data != frozen.data
    validation, options = parts.validation, config.train
    session.emit(
        Run(
            status="running",
            session=session.number,
            step=start.step,
            device_asked=options.device,
            steps=segments[-1].end,
            segment_start=segments[-1].start,
            steps_per_epoch=parts.batches.steps_per_epoch,
            tokens_per_step=options.batch_size * parts.tokens_per_window,
            eval_every=options.eval_every,
            sample_every=options.sample_every,
            checkpoint_every=options.checkpoint_every,
            eval_tokens=validation.tokens(validation.compared_tokens),
            validation_tokens=validation.tokens(0),
            schedule=_describe_schedule(config, segment, start.step),
            resumed_from=branch.resumed_from,
            left=branch.left,
            early_stop=options.early_stop,
            data=config.data.source if moved else None,
            data_path=(config.data.path or "") if moved else None,
            **length.fields(),
            **parts.trainer.describe(),
        )
    )
