"""Train a model from scratch: config in, parts built, work done. The loop itself is train/loop.py."""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from seedbed import __version__, checkpoint
from seedbed.config import arithmetic
from seedbed.config.check import check
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.data.ahead import Ahead, pins
from seedbed.data.batches import Batches, validation_batches
from seedbed.data.sample_prompt import sample_prompt
from seedbed.data.shards import Dataset, Split
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message, Run
from seedbed.files import free_bytes
from seedbed.hardware.memory import available_bytes
from seedbed.jobs.breaks import Breaks
from seedbed.jobs.dataset import open_data
from seedbed.jobs.restore import History, Line, Start, choose_start, restore
from seedbed.jobs.saving import Saver
from seedbed.model.decoder import Decoder
from seedbed.model.families import logical_parameters
from seedbed.model.generate import Sampling, text_stream
from seedbed.optim.optimizer import build_optimizer
from seedbed.optim.schedule import describe, multiplier, warmup_steps
from seedbed.runs.session import Session
from seedbed.train import hooks, seed
from seedbed.train.compiling import settle_compile
from seedbed.train.device import (
    Device,
    choose_device,
    choose_precision,
    default_threads,
    free_memory_bytes,
    reuse_freed_memory,
    warn_of_software,
)
from seedbed.train.horizon import Segment, segment_at
from seedbed.train.learner import DecoderLearner
from seedbed.train.loop import NumericsError, Plan, Progress, fit


def run(run_dir: Path, session: Session) -> str:
    """Do what `run_dir/config.toml` says, from the newest good checkpoint where there is one; returns the final status."""
    frozen, emit = load_frozen(run_dir / "config.toml", TRAIN), session.emit
    start = choose_start(run_dir, session.resume, History.read(run_dir), emit)
    config = start.in_force(frozen)
    with hooks.phase(emit, "prepare"):
        dataset = open_data(config, start.fingerprint, session, started=start.loaded is not None)
    device = choose_device(config.train.device, config.train.strict_device, emit)
    kind = device.torch_device
    if kind.type == "cpu":
        reuse_freed_memory()
    torch.set_num_threads(config.train.threads or start.recorded("threads", kind) or default_threads())
    precision = start.recorded("precision", kind) or choose_precision(config.train.precision, device)
    warn_of_software(precision, device, emit)
    examine(config, dataset, precision, device, run_dir, emit)

    learner = build_learner(config, dataset, precision, kind)
    optimizer = build_optimizer(logical_parameters(learner.model), config.optimizer)
    batches = Batches(
        dataset.train,
        context=config.model.context,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        fingerprint=dataset.fingerprint,
        document_mask=config.data.document_mask,
    )
    segments = start.segments(config, batches.windows_per_epoch)
    end = segments[-1].end
    compiled = settle(config, learner, batches, end - start.step, start, session)
    segment = segment_at(segments, start.step)
    warm_until = segment.start + warmup_steps(config.schedule, segment.end, segment.start)
    watch = hooks.WatchHook(emit, warmup_steps=warm_until)
    progress = restore(start, segments, learner, optimizer, watch, dataset, emit) if start.loaded else Progress()
    line = Line.of(session.run, session.number, start)
    begin_session(
        session, frozen, config, device, learner, batches, segments, start, line, compiled, dataset.validation
    )
    line.leave(session.run, start, emit)
    saver = Saver(session, config, dataset, learner, optimizer, watch, segments, progress if line.saved else None)
    if start.loaded and not line.saved:
        saver.save(progress, best=False)
    gc.collect()
    gc.freeze()
    try:
        ahead = Ahead(batches, config.train.prefetch, pin=pins(config.train.pin_memory, kind))
        with hooks.phase(emit, "train", progress.step), ahead:
            fit(
                learner,
                ahead,
                optimizer,
                lambda step: scale_at(config, segments, step),
                Plan(end, config.optimizer.grad_clip, config.train.micro_batch),
                emit,
                make_hooks(config, dataset, learner, session, saver, watch, line.beat, progress),
                start=progress,
            )
    except NumericsError as error:
        saver.settle()
        raise NumericsError(error.message, advice(config, learner.precision, run_dir)) from error
    except Exception:
        saver.settle()  # a checkpoint that was handed over before is good, and is told of
        raise
    with hooks.phase(emit, "save", progress.step):
        saver.settle()
    return "completed" if progress.stop in (None, hooks.EARLY_STOP) and not saver.gave_up else "stopped"


def examine(config: Config, dataset: Dataset, precision: str, device: Device, run_dir: Path, emit: Emit) -> None:
    """Say what is doubtful about config, data and machine; raise SeedbedError for what cannot work."""
    findings = check(
        config,
        vocab_size=dataset.tokenizer.vocab_size,
        train_tokens=dataset.train.num_tokens,
        validation_tokens=dataset.validation.num_tokens,
        free_disk_bytes=free_bytes(run_dir),
        free_memory_bytes=free_memory_bytes(device),
        free_main_memory_bytes=available_bytes() if device.kind == "cuda" else None,
        precision=precision,
    )
    for finding in findings:
        if finding.level == "error":
            raise SeedbedError(f"{finding.text} {finding.why}".strip(), finding.hint)
        emit(Message(level=finding.level, code=finding.code, text=finding.text, why=finding.why, hint=finding.hint))


def build_learner(config: Config, dataset: Dataset, precision: str, device: torch.device) -> DecoderLearner:
    """The network with seeded weights, on its device."""
    seed.seed_all(config.train.seed)
    model = Decoder(config.model, arithmetic.padded_vocab(config.model, dataset.tokenizer.vocab_size))
    model.init_weights(seed.generator(config.train.seed, 0))
    return DecoderLearner(model, precision=precision, device=device)


def settle(
    config: Config, learner: DecoderLearner, batches: Batches, steps: int, start: Start, session: Session
) -> bool:
    """Run one batch for practice and decide whether to compile; a resumed run keeps what it decided."""
    recorded = start.recorded("compile", learner.device)
    asked = config.train.compile if recorded is None else ("on" if recorded else "off")
    with hooks.phase(session.emit, "check"):
        compiled, _ = settle_compile(
            learner,
            batches.batch(start.step),
            asked=asked,
            steps=steps,
            micro_batch=config.train.micro_batch,
            emit=session.emit,
            check_requests=session.check_requests,
        )
    return compiled


def advice(config: Config, precision: str, run_dir: Path) -> str:
    """What to do once the numbers broke. Not to resume: the same batches lead from the same weights to the same end."""
    good = checkpoint.find(run_dir / "checkpoints").good
    kept = (
        f"The last good checkpoint is {good[-1].name}, but a resume repeats the same steps from there and ends the same way."
        if good
        else "No checkpoint had been saved yet, and a resume repeats the same steps."
    )
    optimizer = config.optimizer
    usual = 1e-3 if optimizer.name == "adamw" else 0.02
    finer = ", or in --precision fp32" if precision != "fp32" else ""
    return (
        f"{kept} Start a new run with a lower learning rate: `seedbed train --like {run_dir.name} --set "
        f"optimizer.lr={min(optimizer.lr / 2 or usual, usual):.2g}`{finer}."
    )


def scale_at(config: Config, segments: list[Segment], step: int) -> float:
    """The learning rate's multiplier at a 0-based step."""
    segment = segment_at(segments, step)
    return multiplier(config.schedule, step, segment.end, segment.start)


def begin_session(
    session: Session,
    frozen: Config,
    config: Config,
    device: Device,
    learner: DecoderLearner,
    batches: Batches,
    segments: list[Segment],
    start: Start,
    line: Line,
    compiled: bool,
    validation: Split,
) -> None:
    """Tell what this session runs on, how far it means to go, and what differs from the frozen config."""
    segment = segment_at(segments, start.step)
    if start.common is not None and start.common < start.step:
        # What lies between was trained by another line of steps: it is void here.
        session.emit(
            Run(status="running", session=session.number, step=start.common, steps=segments[-1].end, left=line.left)
        )
    moved = config.data != frozen.data
    session.emit(
        Run(
            status="running",
            session=session.number,
            step=start.step,
            device=str(device.torch_device),
            device_asked=config.train.device,
            device_name=device.name,
            threads=torch.get_num_threads(),
            precision=learner.precision,
            compile=compiled,
            versions={"seedbed": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
            steps=segments[-1].end,
            segment_start=segments[-1].start,
            steps_per_epoch=batches.steps_per_epoch,
            tokens_per_step=config.train.batch_size * config.model.context,
            eval_every=config.train.eval_every,
            sample_every=config.train.sample_every,
            checkpoint_every=config.train.checkpoint_every,
            eval_tokens=scored_tokens(config, validation, _compared_tokens(config, validation)),
            validation_tokens=scored_tokens(config, validation, 0),
            parameters=sum(p.numel() for p in learner.model.parameters()),
            schedule=describe(config.schedule, config.optimizer.lr, start.step, segment.end, segment.start),
            resumed_from=line.resumed_from,
            left=line.left,
            early_stop=config.train.early_stop,
            data=config.data.source if moved else None,
            data_path=(config.data.path or "") if moved else None,
        )
    )


def make_hooks(
    config: Config,
    dataset: Dataset,
    learner: DecoderLearner,
    session: Session,
    saver: Saver,
    watch: hooks.WatchHook,
    beat: float | None,
    progress: Progress,
) -> list[Callable[[Progress], None]]:
    """What happens between steps, in order: stop, validate, watch the numbers, sample, save, pause."""
    train, emit = config.train, session.emit
    split = dataset.validation

    def save_to_pause(progress: Progress) -> None:
        session.say("pausing")
        saver.save(progress, best=False)
        saver.settle()

    def hold() -> bool:
        return session.hold("asked to pause")

    def pause() -> None:
        save_to_pause(progress)
        hold()

    breaks = Breaks(session, pause)

    def score(max_tokens: int) -> hooks.Score:
        return hooks.evaluate(
            learner,
            validation_batches(
                split,
                context=config.model.context,
                batch_size=eval_batch(config),
                document_mask=config.data.document_mask,
                max_tokens=max_tokens,
            ),
            bytes_per_token=split.num_bytes / max(split.num_tokens, 1),
            between=lambda done: breaks("validation", done, scored_tokens(config, split, max_tokens)),
        )

    run_id, step_tokens = session.run.id, _compared_tokens(config, split)
    go_on = (
        f"`seedbed resume {run_id} --more-steps N` trains N steps more, `--early-stop 0` goes on to the planned end."
    )

    prompts = train.sample_prompts if train.sample_prompts is not None else (sample_prompt(dataset),)

    def write(prompt: str, step: int) -> str:
        sampling = Sampling(max_new_tokens=train.sample_tokens, temperature=0.8, seed=seed.following(train.seed, step))
        pieces: list[str] = []
        for piece in text_stream(learner.model, dataset.tokenizer, prompt, sampling):
            pieces.append(piece)
            breaks("sample", len(pieces), train.sample_tokens)
        return "".join(pieces)

    return [
        hooks.StopHook(lambda: session.stop_requested),
        hooks.EvaluateHook(
            score,
            emit,
            every=train.eval_every,
            tokens=step_tokens,
            early_stop=train.early_stop,
            beat=beat,
            go_on=go_on,
        ),
        watch,
        hooks.SampleHook(write, emit, every=train.sample_every, prompts=prompts),
        hooks.SaveHook(
            saver.save,
            saver.poll,
            every=train.checkpoint_every,
            keep_best=train.keep_best,
            requested=session.save_requested,
            beat=beat,
        ),
        hooks.PauseHook(lambda: session.pause_requested, save_to_pause, hold),
    ]


def _compared_tokens(config: Config, split: Split) -> int:
    """How many tokens each validation scores to be compared with the others; 0 for all of them."""
    wanted, context = config.train.eval_tokens, config.model.context
    return wanted if -(-wanted // context) * context < split.num_tokens - 1 else 0


def scored_tokens(config: Config, split: Split, max_tokens: int) -> int:
    """How many tokens a validation scores that is limited to `max_tokens`, which is rounded up to whole windows."""
    context, everything = config.model.context, split.num_tokens - 1
    return min(-(-max_tokens // context) * context, everything) if max_tokens else everything


def eval_batch(config: Config) -> int:
    """Sequences scored at once: no more tokens than a training leaf holds twice, since no gradients are kept."""
    return 2 * (config.train.micro_batch or config.train.batch_size)
