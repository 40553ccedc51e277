"""Where a training job starts: the past of its run, the checkpoint to go on from, and what is put back from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from seedbed import checkpoint
from seedbed.config.schema import Config
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Emit, Message, decode
from seedbed.files import expand_home, read_lines
from seedbed.model.families import load_state
from seedbed.optim.optimizer import Optimizer
from seedbed.runs.control import Resume
from seedbed.train import hooks, seed
from seedbed.train.horizon import Segment, chain, epoch_steps, horizon_steps
from seedbed.train.learner import DecoderLearner
from seedbed.train.loop import Progress


class History(NamedTuple):
    """What the event log says of earlier sessions."""

    last_segment: Segment | None
    saved: tuple[str, ...]

    @classmethod
    def read(cls, run_dir: Path) -> History:
        """Read the run and checkpoint events of a run directory."""
        segment: Segment | None = None
        saved: list[str] = []
        lines, _ = read_lines(run_dir / "events.jsonl")
        for line in lines:
            if b'"kind":"run"' not in line and b'"kind":"checkpoint"' not in line:
                continue
            record = decode(line)
            if record is None:
                continue
            raw = record.raw
            if record.kind == "checkpoint" and isinstance(raw.get("path"), str):
                saved.append(raw["path"])
            elif record.kind == "run" and isinstance(raw.get("steps"), int):
                segment = Segment(int(raw.get("segment_start") or 0), raw["steps"])
        return cls(segment, tuple(saved))


class Start(NamedTuple):
    """Where the job starts. Without `loaded` it starts fresh.

    `stood` is where the run stood by its checkpoints: beyond the one that was loaded where newer ones are damaged.
    """

    loaded: checkpoint.Loaded | None
    resume: Resume
    history: History
    stood: int = 0

    @property
    def trainer(self) -> dict[str, Any]:
        """The loop's state in the checkpoint; empty for a fresh start."""
        return self.loaded.trainer if self.loaded else {}

    @property
    def step(self) -> int:
        """Steps done."""
        return self.loaded.step if self.loaded else 0

    def segments(self, config: Config, windows_per_epoch: int) -> list[Segment]:
        """The learning-rate segments in force, the last one's end being the horizon."""
        planned = [Segment(*pair) for pair in self.trainer.get("segments", [])]
        last = self.history.last_segment
        if last is not None and self.resume.from_checkpoint is None:
            planned = [each for each in planned if each.end <= last.start] + [last]
        added = self.resume.more_steps
        if self.resume.more_epochs is not None:
            added = epoch_steps(
                self.resume.more_epochs, windows_per_epoch=windows_per_epoch, batch_size=config.train.batch_size
            )
        fresh = horizon_steps(config.train, windows_per_epoch=windows_per_epoch, tokens_per_window=config.model.context)
        return chain(planned, max(self.step, self.stood) if added is not None else self.step, added, fresh)

    def recorded(self, key: str, device: torch.device) -> Any:
        """A choice that the run made for itself and keeps (precision, compile, threads), if it was on such a device."""
        return self.trainer.get(key) if self.trainer.get("device_type") == device.type else None


def choose_start(run_dir: Path, resume: Resume, history: History, emit: Emit) -> Start:
    """The checkpoint that the resume names, else the newest that verifies, else a fresh start if nothing was ever saved.

    Raises SeedbedError where a checkpoint should be there and none can be loaded: a resume never starts over.
    """
    folder = run_dir / "checkpoints"
    if resume.from_checkpoint is not None:
        return Start(checkpoint.load(_named(folder, resume.from_checkpoint)), resume, history)
    found = checkpoint.find(folder)
    skipped = [(path.name, reason) for path, reason in found.skipped]
    for path in reversed(found.good):
        try:
            loaded = checkpoint.load(path)
        except SeedbedError as error:
            skipped.append((path.name, error.message))
            continue
        _tell_skipped(skipped, emit, f"Going on from {path.name}.")
        stood = max(checkpoint.step_of(Path(name)) for name in (path.name, *(name for name, _ in skipped)))
        return Start(loaded, resume, history, stood)
    if history.saved:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped) or "the folder is empty"
        raise SeedbedError(
            f"No checkpoint of this run can be loaded ({reasons}).",
            "Restore the checkpoints folder, or start again with `seedbed train --like` this run.",
        )
    if resume.more_steps is not None or resume.more_epochs is not None:
        raise UsageError(
            "This run has saved no checkpoint to add steps to.", "Resume it without --more-steps or --more-epochs."
        )
    _tell_skipped(skipped, emit, "No checkpoint had been finished, so training begins at step 0.")
    return Start(None, resume, history)


def _tell_skipped(skipped: list[tuple[str, str]], emit: Emit, outcome: str) -> None:
    for name, reason in skipped:
        emit(
            Message(
                level="warning", code="checkpoint-skipped", text=f"Skipped {name}: {reason.rstrip('.')}.", why=outcome
            )
        )


def _named(folder: Path, name: str) -> Path:
    """The checkpoint that a person names: a step, a folder's name, or a path."""
    candidates = [expand_home(name), folder / name]
    if name.isdigit():
        candidates.insert(0, folder / f"step-{int(name):08d}")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    there = ", ".join(path.name for path in checkpoint.find(folder).good) or "none"
    raise UsageError(f"There is no checkpoint {name}.", f"This run has: {there}.")


def restore(
    start: Start,
    learner: DecoderLearner,
    optimizer: Optimizer,
    watch: hooks.WatchHook,
    dataset: Dataset,
    emit: Emit,
) -> Progress:
    """Put weights, optimizer, counters and random state back, random state last. Raises SeedbedError where anything is off."""
    assert start.loaded is not None
    trainer = start.trainer
    if trainer.get("data_fingerprint") != dataset.fingerprint:
        raise SeedbedError(
            "The data is no longer what this run was trained on: its fingerprint has changed.",
            "Put the data back as it was, or start a new run with `seedbed train --like` this one.",
        )
    load_state(learner.model, start.loaded.weights)
    optimizer.load_state(start.loaded.optimizer, int(trainer.get("updates", start.step)))
    learner.load_state(trainer.get("learner", {}))
    watch.load_state(trainer.get("watch", {}))
    progress = Progress(**trainer.get("progress", {"step": start.step}))
    differing = [
        f"{name} {trainer.get(name)} -> {now}"
        for name, now in (
            ("threads", torch.get_num_threads()),
            ("device_type", learner.device.type),
            ("torch", str(torch.__version__)),
        )
        if trainer.get(name) != now
    ]
    if differing:
        emit(
            Message(
                level="warning",
                code="not-bit-equal",
                text=f"This session differs from the one that saved: {', '.join(differing)}.",
                why="Sums are taken in another order, so the numbers are no longer equal to the last bit.",
                hint="Nothing is wrong with the run; set train.threads to keep the thread count.",
            )
        )
    seed.restore_rng(trainer.get("rng", {}))
    return progress


def trainer_state(
    progress: Progress,
    learner: DecoderLearner,
    watch: hooks.WatchHook,
    dataset: Dataset,
    segments: list[Segment],
    updates: int,
) -> dict[str, Any]:
    """What a checkpoint keeps of the loop, JSON-able; `restore` reads it."""
    kept = {name: value for name, value in vars(progress).items() if name not in ("total", "stop")}
    return {
        "format": 1,
        "progress": kept,
        "updates": updates,
        "segments": [list(segment) for segment in segments],
        "data_fingerprint": dataset.fingerprint,
        "precision": learner.precision,
        "compile": learner.compiled,
        "threads": torch.get_num_threads(),
        "device_type": learner.device.type,
        "torch": str(torch.__version__),
        "learner": learner.state(),
        "watch": watch.state(),
        "rng": seed.rng_state(),
    }
