"""Where a training job starts: the past of its run, the checkpoint to go on from, and what is put back. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from seedbed.checkpoint.marker import FORMAT, NewerFormatError, folder_name, is_marked, read_marker, step_of
from seedbed.checkpoint.reading import Loaded, find, load
from seedbed.checkpoint.writing import clean_up
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Emit, Message
from seedbed.files import expand_home, make_dir
from seedbed.jobs.parts import Parts, TrainingConfig
from seedbed.runs.caches import dataset_of
from seedbed.runs.checkpoints import (
    aside_name,
    common_step,
    in_force,
    left_with_loss,
    lowest,
    out_of_force,
    set_aside,
)
from seedbed.runs.control import Resume
from seedbed.runs.status import read_state, read_view
from seedbed.runs.store import RunDir
from seedbed.runs.view import View
from seedbed.text import quoted
from seedbed.train import hooks
from seedbed.train.horizon import Segment, chain, epoch_steps, horizon_steps
from seedbed.train.loop import Progress

C = TypeVar("C", bound=TrainingConfig)
TRAINER_FORMAT = 1
"""What `trainer.json` says of itself; another number means that its fields mean something else."""


class History(NamedTuple):
    """What the event log says of earlier sessions. `fingerprint` is of the data that they trained on."""

    view: View
    fingerprint: str | None = None

    @classmethod
    def read(cls, run_dir: Path) -> History:
        """Fold the events of a run directory."""
        run = RunDir(run_dir)
        return cls(read_view(run, read_state(run)), dataset_of(run))

    @property
    def last_segment(self) -> Segment | None:
        """The stretch of steps that the last session meant to train."""
        said = self.view.run
        return Segment(int(said.get("segment_start") or 0), int(said["steps"])) if said.get("steps") else None

    @property
    def has_saved(self) -> bool:
        """Whether any checkpoint was ever saved."""
        return bool(self.view.checkpoints or self.view.left)


class Start(NamedTuple):
    """Where the job starts. Without `loaded` it starts fresh.

    `stood` is where the run stood by its checkpoints: beyond the one that was loaded where newer ones are damaged.
    `common` is where the steps in force end before a checkpoint that was left behind, or lies elsewhere.
    """

    loaded: Loaded | None
    resume: Resume
    history: History
    stood: int = 0
    common: int | None = None

    @property
    def trainer(self) -> dict[str, Any]:
        """The loop's state in the checkpoint; empty for a fresh start."""
        return self.loaded.trainer if self.loaded else {}

    @property
    def step(self) -> int:
        """Steps done."""
        return self.loaded.step if self.loaded else 0

    def segments(self, config: TrainingConfig, windows_per_epoch: int, tokens_per_window: int) -> list[Segment]:
        """The learning-rate segments in force; the last one's end is the step at which the run is to end."""
        planned = [Segment(*pair) for pair in self.trainer.get("segments", [])]
        last = self.history.last_segment
        if last is not None and self.resume.from_checkpoint is None:
            planned = [each for each in planned if each.end <= last.start] + [last]
        added = self.resume.more_steps
        if self.resume.more_epochs is not None:
            added = epoch_steps(
                self.resume.more_epochs, windows_per_epoch=windows_per_epoch, batch_size=config.train.batch_size
            )
        fresh = horizon_steps(config.train, windows_per_epoch=windows_per_epoch, tokens_per_window=tokens_per_window)
        return chain(planned, max(self.step, self.stood) if added is not None else self.step, added, fresh)

    def in_force(self, config: C) -> C:
        """The frozen config with what this resume, or else an earlier one, put in the place of some of it."""
        said = self.history.view.run.get
        early_stop = said("early_stop") if self.resume.early_stop is None else self.resume.early_stop
        if early_stop is not None:
            config = _with_table(config, "train", early_stop=early_stop)
        source, path = said("data"), said("data_path")
        if self.resume.data is not None:
            source, path = self.resume.data, ""
        if self.resume.data_path is not None:
            path = self.resume.data_path
        if source is not None:
            config = _with_table(config, "data", source=source)
        if path is not None:
            config = _with_table(config, "data", path=path)
        return config

    @property
    def fingerprint(self) -> str | None:
        """That of the data which the run trained on so far; None where it did not."""
        return self.trainer.get("data_fingerprint") or self.history.fingerprint

    def progress(self, segments: list[Segment]) -> Progress:
        """Where training stands. Early stopping counts anew where there are more steps than the checkpoint knew of."""
        kept = self.trainer.get("progress", {"step": self.step})
        # Checkpoints of earlier versions do not say when a sample was written, or where patience began.
        progress = Progress(**{"patience_loss": kept.get("best_loss"), "last_sample_step": self.step, **kept})
        planned = self.trainer.get("segments", [])
        if self.resume.early_stop is not None or (planned and Segment(*planned[-1]) != segments[-1]):
            progress.patience_loss, progress.evals_since_best = None, 0
        return progress

    def recorded(self, key: str, device_type: str) -> Any:
        """A choice that the run made for itself and keeps (precision, compile, threads), if it was on such a device."""
        return self.trainer.get(key) if self.trainer.get("device_type") == device_type else None


def _with_table(config: C, table: str, **values: Any) -> C:
    """The config with other values in one of its tables."""
    whole: Any = config
    changed: C = replace(whole, **{table: replace(getattr(whole, table), **values)})
    return changed


class Branch(NamedTuple):
    """How the steps of a session relate to those before: what it leaves behind, and what is the best of that."""

    going: list[Path]
    """Checkpoint folders that are void once the session has begun."""
    left: str | None
    """The folder to set them aside in."""
    damaged: bool
    """Whether they are void because they could not be loaded, and not because somebody went back."""
    beat: float | None
    """The lowest validation loss of the checkpoints that were left behind, now or before."""
    resumed_from: str | None
    saved: bool
    """Whether the session goes on from a checkpoint in force, and not from one that lies elsewhere."""

    @classmethod
    def of(cls, run: RunDir, session: int, start: Start) -> Branch:
        """What becomes of the checkpoints of a run when a session begins. Only the holder of its lock may ask."""
        clean_up(make_dir(run.checkpoints))
        view, loaded = start.history.view, start.loaded
        at = start.step if start.common is None else min(start.common, start.step)
        going = out_of_force(run, view, beyond=at)
        in_force_yet = [path for path in going if in_force(view, path)]
        damaged = bool(in_force_yet) and start.resume.from_checkpoint is None
        left = aside_name(session, at, damaged=damaged) if going else None
        names = set() if damaged else {path.name for path in in_force_yet}
        best = lowest([*left_with_loss(run, view), *(saved for saved in view.checkpoints if saved.name in names)])
        if loaded is None:
            return cls(going, left, damaged, best.loss if best else None, None, False)
        saved = loaded.path.parent.resolve() == run.checkpoints.resolve()
        inside = loaded.path.resolve().is_relative_to(run.checkpoints.resolve())
        place = loaded.path.resolve().relative_to(run.checkpoints.resolve()) if inside else loaded.path.resolve()
        return cls(going, left, damaged, best.loss if best else None, str(place), saved)

    def leave(self, run: RunDir, start: Start, emit: Emit) -> None:
        """Set aside what is void, and say so. Comes after the event by which it became void."""
        if self.left is None:
            return
        set_aside(run, self.going, self.left)
        steps = ", ".join(str(step_of(path)) for path in self.going)
        kept = f"checkpoints/{self.left}"
        if self.damaged:
            text, why = f"What could not be loaded (step {steps}) was moved to {kept}.", "Nothing of it was changed."
        else:
            at, stood = start.step if start.common is None else start.common, start.history.view.step
            text = f"The run goes on from step {start.step}: steps {at + 1} to {stood} of it are void."
            why = f"Its checkpoints (step {steps}) are kept in {kept}."
        hint = "Remove that folder when nobody needs it."
        emit(Message(level="info", code="left-behind", text=text, why=why, hint=hint, step=start.step))


def choose_start(run_dir: Path, resume: Resume, history: History, emit: Emit) -> Start:
    """The checkpoint that the resume names, else the newest in force that verifies, else a fresh start if none was saved.

    Raises SeedbedError where a checkpoint should be there and none can be loaded: a resume never starts over.
    """
    folder, view = run_dir / "checkpoints", history.view
    if resume.from_checkpoint is not None:
        path = _named(folder, resume.from_checkpoint)
        return _start_at(path, load(path), resume, history)
    found = find(folder)
    for path, _ in found.skipped:
        if in_force(view, path):
            _refuse_newer_marker(path)
    skipped = [(path.name, reason) for path, reason in found.skipped if in_force(view, path)]
    good = [path for path in found.good if in_force(view, path)]
    for path in [*_begun_elsewhere(folder, view, good), *reversed(good)]:
        try:
            loaded = load(path)
        except SeedbedError as error:
            skipped.append((path.name, error.message))
            continue
        _tell_skipped(skipped, emit, f"Going on from {path.name}.")
        stood = max(step_of(Path(name)) for name in (path.name, *(name for name, _ in skipped)))
        return _start_at(path, loaded, resume, history, stood)
    if history.has_saved:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped) or "there is none in force"
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


def _begun_elsewhere(folder: Path, view: View, good: list[Path]) -> list[Path]:
    """The checkpoint that the last session went on from, where it is none in force and nothing was saved after it."""
    named = view.run.get("resumed_from")
    newest = step_of(good[-1]) if good else 0
    if not isinstance(named, str) or "/" not in named or newest >= view.start_step:
        return []
    path = folder / named
    return [path] if is_marked(path) else []


def _refuse_newer_marker(path: Path) -> None:
    """Raise where a checkpoint was written by a newer version: to go on from one before it would leave that one behind."""
    try:
        read_marker(path)
    except NewerFormatError as error:
        _refuse_newer(path, "checkpoint", error.version, FORMAT)
    except ValueError:
        return


def _refuse_newer(path: Path, what: str, version: object, known: int) -> None:
    if isinstance(version, int) and version > known:
        raise SeedbedError(
            f"{quoted(path.name)} was written by a newer version of Seedbed ({what} of format {version}; this one reads "
            f"{known}).",
            "Update Seedbed, or resume the run with the version that wrote this.",
        )


def _start_at(path: Path, loaded: Loaded, resume: Resume, history: History, stood: int = 0) -> Start:
    _refuse_newer(path, "trainer state", loaded.trainer.get("format"), TRAINER_FORMAT)
    return Start(loaded, resume, history, stood, common_step(history.view, path))


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
        candidates.insert(0, folder / folder_name(int(name)))
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    there = ", ".join(path.name for path in find(folder).good) or "none"
    raise UsageError(f"There is no checkpoint {name}.", f"This run has: {there}.")


def restore(start: Start, segments: list[Segment], parts: Parts, watch: hooks.WatchHook, emit: Emit) -> Progress:
    """Put weights, optimizer, counters and random state back. Raises SeedbedError where something does not fit."""
    assert start.loaded is not None
    trainer = start.trainer
    if trainer.get("data_fingerprint") != parts.fingerprint:
        raise SeedbedError(
            "The data is no longer what this run was trained on: its fingerprint has changed.",
            "Put the data back as it was, name the place where it is with `seedbed resume --data`, or start a new run with "
            "`seedbed train --like` this one.",
        )
    watch.load_state({"seen_step": start.step, "seen_eval": start.step, **trainer.get("watch", {})})
    progress = start.progress(segments)
    parts.trainer.restore(start.loaded, emit)
    return progress


def trainer_state(progress: Progress, parts: Parts, watch: hooks.WatchHook, segments: list[Segment]) -> dict[str, Any]:
    """What a checkpoint keeps of the loop and of its trainer, JSON-able; `restore` reads it."""
    kept = {name: value for name, value in vars(progress).items() if name not in ("total", "stop")}
    return {
        "format": TRAINER_FORMAT,
        "progress": kept,
        "segments": [list(segment) for segment in segments],
        "data_fingerprint": parts.fingerprint,
        "watch": watch.state(),
        **parts.trainer.state(),
    }
