"""Chooses the checkpoint at which a training job starts, and restores the training state from it. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from seedbed.checkpoint.marker import FORMAT, NewerFormatError, folder_name, is_marked, read_marker, step_of
from seedbed.checkpoint.reading import Loaded, find, load
from seedbed.checkpoint.writing import clean_up
from seedbed.config.schema import MOST_STEPS
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Emit, Message
from seedbed.files import expand_home, make_dir
from seedbed.jobs.parts import Parts, TrainingConfig
from seedbed.runs.caches import dataset_of
from seedbed.runs.checkpoints import (
    common_step,
    is_current,
    left_with_loss,
    lowest,
    move_superseded,
    superseded_folder_name,
    superseded_paths,
)
from seedbed.runs.control import ResumeOptions
from seedbed.runs.kinds import command_like
from seedbed.runs.status import read_state, read_view
from seedbed.runs.store import RunDir
from seedbed.runs.view import View
from seedbed.text import quoted
from seedbed.train import hooks
from seedbed.train.horizon import Segment, epoch_steps, horizon_steps, planned_segments
from seedbed.train.loop import Progress

C = TypeVar("C", bound=TrainingConfig)
TRAINER_FORMAT = 1
"""The format number in `trainer.json`; it changes when the meaning of its fields changes."""


class History(NamedTuple):
    """The state of a run after its earlier sessions, from its log. `fingerprint` identifies the data that they trained on."""

    view: View
    fingerprint: str | None = None

    @classmethod
    def read(cls, run_dir: Path) -> History:
        """Read the history from the files of a run directory."""
        run = RunDir(run_dir)
        return cls(read_view(run, read_state(run)), dataset_of(run))

    @property
    def last_segment(self) -> Segment | None:
        """The segment (steps under one learning-rate schedule) that the last session was to train; None if it never began."""
        fields = self.view.run
        if not fields.get("steps"):
            return None
        segment = Segment(int(fields.get("segment_start") or 0), int(fields["steps"]))
        if not fields.get("time_s"):
            return segment
        decay_from = fields.get("decay_from", -1)
        return segment._replace(
            warmup_steps=int(fields.get("warmup_steps") or 0), decay_from=decay_from if decay_from >= 0 else None
        )

    @property
    def has_saved(self) -> bool:
        """Whether the run has ever saved a checkpoint."""
        return bool(self.view.checkpoints or self.view.left)


class Start(NamedTuple):
    """The point at which the job starts: the checkpoint `loaded`, or step 0 if it is None.

    `reached_step` is the step of the newest checkpoint, which is later than `loaded` if newer checkpoints are damaged.
    `common_step`, if `loaded` is a superseded checkpoint, is the last step that led to it and is still current.
    """

    loaded: Loaded | None
    resume: ResumeOptions
    history: History
    reached_step: int = 0
    common_step: int | None = None

    @property
    def trainer(self) -> dict[str, Any]:
        """The content of trainer.json in the checkpoint at which the job starts; empty at step 0."""
        return self.loaded.trainer if self.loaded else {}

    @property
    def step(self) -> int:
        """The number of steps that were already done when the job starts."""
        return self.loaded.step if self.loaded else 0

    def segments(self, config: TrainingConfig, windows_per_epoch: int, tokens_per_window: int) -> list[Segment]:
        """The run's segments: steps under one learning-rate schedule. The end of the last one is the run's last step.

        A new run under a time budget has one segment without an end; jobs/timing.py plans it.
        """
        planned = [Segment(*pair) for pair in self.trainer.get("segments", [])]
        last = self.history.last_segment
        if last is not None and self.resume.from_checkpoint is None:
            planned = [each for each in planned if each.end <= last.start] + [last]
        added = self.resume.more_steps
        if self.resume.more_epochs is not None:
            added = epoch_steps(
                self.resume.more_epochs, windows_per_epoch=windows_per_epoch, batch_size=config.train.batch_size
            )
        if config.train.time is not None and not planned:
            planned = [Segment(0, MOST_STEPS, warmup_steps=0)]
        total = (
            MOST_STEPS
            if config.train.time is not None
            else horizon_steps(config.train, windows_per_epoch=windows_per_epoch, tokens_per_window=tokens_per_window)
        )
        return planned_segments(
            planned, max(self.step, self.reached_step) if added is not None else self.step, added, total
        )

    def current_config(self, config: C) -> C:
        """The config that the run was started with, with the changes that this resume, or an earlier one, requested."""
        recorded = self.history.view.run.get
        early_stop = recorded("early_stop") if self.resume.early_stop is None else self.resume.early_stop
        if early_stop is not None:
            config = _with_table(config, "train", early_stop=early_stop)
        source, path = recorded("data"), recorded("data_path")
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
        """The fingerprint (hash) of the data that the run has trained on; None if it has not trained."""
        return self.trainer.get("data_fingerprint") or self.history.fingerprint

    def progress(self, segments: list[Segment]) -> Progress:
        """The progress of training at the start. Early stopping counts from 0 again if this resume changes it or adds steps."""
        saved = self.trainer.get("progress", {"step": self.step})
        # Checkpoints of earlier versions lack `last_sample_step` and `patience_loss`.
        progress = Progress(**{"patience_loss": saved.get("best_loss"), "last_sample_step": self.step, **saved})
        planned = self.trainer.get("segments", [])
        if self.resume.early_stop is not None or (planned and _adds_steps(Segment(*planned[-1]), segments[-1])):
            progress.patience_loss, progress.evals_since_best = None, 0
        return progress

    def recorded(self, key: str, device_type: str) -> Any:
        """The automatic choice `key` (precision, compile, threads) of the checkpoint; None if made on another device type."""
        return self.trainer.get(key) if self.trainer.get("device_type") == device_type else None


def _adds_steps(before: Segment, now: Segment) -> bool:
    """Whether steps were added to the last segment of a checkpoint. A time budget moves its end without adding steps."""
    return now.start != before.start or (now.end != before.end and not now.is_timed)


def _with_table(config: C, table: str, **values: Any) -> C:
    """A copy of the config with changed values in the table `table`."""
    root: Any = config
    changed: C = replace(root, **{table: replace(getattr(root, table), **values)})
    return changed


class Branch(NamedTuple):
    """The checkpoints that are superseded or damaged when a session starts, and where they are moved."""

    superseded: list[Path]
    """The checkpoint folders in `checkpoints/` that are superseded or damaged when the session starts."""
    left: str | None
    """The name of the folder to which the checkpoints in `superseded` are moved; None if there are none."""
    damaged: bool
    """Whether the checkpoints in `superseded` are damaged; if not, the run goes back to an earlier step."""
    loss_to_beat: float | None
    """The lowest validation loss of all checkpoints that this and earlier sessions superseded; None if there is none."""
    resumed_from: str | None
    """The checkpoint at which the session starts: a path, relative to `checkpoints/` if it is inside that folder."""
    saved: bool
    """Whether the session starts at a current checkpoint in `checkpoints/`, so that it need not save this step again."""

    @classmethod
    def of(cls, run: RunDir, session: int, start: Start) -> Branch:
        """Find the checkpoints that are superseded or damaged when a session starts, and remove unfinished saves.

        The caller must hold the run's lock.
        """
        clean_up(make_dir(run.checkpoints))
        view, loaded = start.history.view, start.loaded
        last_current = start.step if start.common_step is None else min(start.common_step, start.step)
        superseded = superseded_paths(run, view, beyond=last_current)
        newly_superseded = [path for path in superseded if is_current(view, path)]
        damaged = bool(newly_superseded) and start.resume.from_checkpoint is None
        left = superseded_folder_name(session, last_current, damaged=damaged) if superseded else None
        names = set() if damaged else {path.name for path in newly_superseded}
        best = lowest([*left_with_loss(run, view), *(saved for saved in view.checkpoints if saved.name in names)])
        if loaded is None:
            return cls(superseded, left, damaged, best.loss if best else None, None, False)
        folder, path = run.checkpoints.resolve(), loaded.path.resolve()
        saved = loaded.path.parent.resolve() == folder
        resumed_from = path.relative_to(folder) if path.is_relative_to(folder) else path
        return cls(superseded, left, damaged, best.loss if best else None, str(resumed_from), saved)

    def leave(self, run: RunDir, start: Start, emit: Emit) -> None:
        """Move the checkpoints in `superseded` to their folder, and emit a message.

        Call it after emitting the `run` event that supersedes them.
        """
        if self.left is None:
            return
        move_superseded(run, self.superseded, self.left)
        steps = ", ".join(str(step_of(path)) for path in self.superseded)
        folder = f"checkpoints/{self.left}"
        if self.damaged:
            text = f"The checkpoints that could not be loaded (step {steps}) were moved to {folder}."
            why = "Their files were not changed."
        else:
            last_current = start.step if start.common_step is None else start.common_step
            last_logged = start.history.view.step
            text = f"The run resumes from step {start.step}: steps {last_current + 1} to {last_logged} are superseded."
            why = f"Their checkpoints (step {steps}) are kept in {folder}."
        hint = "Delete that folder if you do not need it."
        emit(Message(level="info", code="left-behind", text=text, why=why, hint=hint, step=start.step))


def choose_start(run_dir: Path, resume: ResumeOptions, history: History, emit: Emit) -> Start:
    """Choose where a job starts: the requested checkpoint, else the newest valid current one, else step 0 if none was saved.

    Raises SeedbedError if the run has saved checkpoints but none can be loaded: a resume never starts over at step 0.
    """
    folder, view = run_dir / "checkpoints", history.view
    if resume.from_checkpoint is not None:
        path = _requested(folder, resume.from_checkpoint)
        return _start_at(path, load(path), resume, history)
    found = find(folder)
    for path, _ in found.skipped:
        if is_current(view, path):
            _refuse_newer_marker(path)
    skipped = [(path.name, reason) for path, reason in found.skipped if is_current(view, path)]
    good = [path for path in found.good if is_current(view, path)]
    for path in [*_begun_elsewhere(folder, view, good), *reversed(good)]:
        try:
            loaded = load(path)
        except SeedbedError as error:
            skipped.append((path.name, error.message))
            continue
        _report_skipped(skipped, emit, f"The run resumes from {path.name}.")
        reached_step = max(step_of(Path(name)) for name in (path.name, *(name for name, _ in skipped)))
        return _start_at(path, loaded, resume, history, reached_step)
    if history.has_saved:
        reasons = (
            "; ".join(f"{name}: {reason}" for name, reason in skipped) or "the folder contains no current checkpoint"
        )
        raise SeedbedError(
            f"No checkpoint of this run can be loaded ({reasons}).",
            f"Restore the checkpoints folder, or start a new run with `{command_like(RunDir(run_dir))}`.",
        )
    if resume.more_steps is not None or resume.more_epochs is not None:
        raise UsageError(
            "This run has not saved a checkpoint to which steps could be added.",
            "Resume it without --more-steps or --more-epochs.",
        )
    _report_skipped(skipped, emit, "No checkpoint was finished, so training starts at step 0.")
    return Start(None, resume, history)


def _begun_elsewhere(folder: Path, view: View, good: list[Path]) -> list[Path]:
    """The checkpoint outside `checkpoints/` itself at which the last session started, if that session saved none.

    A list with its path; empty if there is none.
    """
    named = view.run.get("resumed_from")
    newest = step_of(good[-1]) if good else 0
    if not isinstance(named, str) or "/" not in named or newest >= view.start_step:
        return []
    path = folder / named
    return [path] if is_marked(path) else []


def _refuse_newer_marker(path: Path) -> None:
    """Raise SeedbedError if a newer version of Seedbed wrote a checkpoint: starting before it would supersede it."""
    try:
        read_marker(path)
    except NewerFormatError as error:
        _refuse_newer(path, "checkpoint", error.version, FORMAT)
    except ValueError:
        return


def _refuse_newer(path: Path, what: str, version: object, known: int) -> None:
    if isinstance(version, int) and version > known:
        raise SeedbedError(
            f"A newer version of Seedbed wrote {quoted(path.name)} ({what} format {version}; this version reads up to "
            f"{known}).",
            "Update Seedbed.",
        )


def _start_at(path: Path, loaded: Loaded, resume: ResumeOptions, history: History, reached_step: int = 0) -> Start:
    _refuse_newer(path, "trainer state", loaded.trainer.get("format"), TRAINER_FORMAT)
    return Start(loaded, resume, history, reached_step, common_step(history.view, path))


def _report_skipped(skipped: list[tuple[str, str]], emit: Emit, outcome: str) -> None:
    for name, reason in skipped:
        emit(
            Message(
                level="warning", code="checkpoint-skipped", text=f"Skipped {name}: {reason.rstrip('.')}.", why=outcome
            )
        )


def _requested(folder: Path, name: str) -> Path:
    """The path of the checkpoint that `name` refers to: a step, a folder's name, or a path.

    Raises UsageError if it is missing.
    """
    candidates = [expand_home(name), folder / name]
    if name.isdigit():
        candidates.insert(0, folder / folder_name(int(name)))
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    existing = ", ".join(path.name for path in find(folder).good) or "none"
    raise UsageError(f"There is no checkpoint {name}.", f"The checkpoints of this run are: {existing}.")


def restore(
    start: Start, segments: list[Segment], parts: Parts, monitor: hooks.LossMonitorHook, emit: Emit
) -> Progress:
    """Restore weights, optimizer, counters and random state from the checkpoint `start.loaded`; returns the progress.

    Raises SeedbedError if something does not fit.
    """
    assert start.loaded is not None
    trainer = start.trainer
    if trainer.get("data_fingerprint") != parts.fingerprint:
        raise SeedbedError(
            "The data differs from the data that this run was trained on: its fingerprint has changed.",
            "Restore the original data, give its location with `seedbed resume --data SOURCE`, or start a new run with "
            "`seedbed train --like RUN`.",
        )
    monitor.load_state({"seen_step": start.step, "seen_eval": start.step, **trainer.get("watch", {})})
    progress = start.progress(segments)
    parts.trainer.restore(start.loaded, emit)
    return progress


def trainer_state(
    progress: Progress,
    parts: Parts,
    monitor: hooks.LossMonitorHook,
    segments: list[Segment],
    used_s: float | None = None,
) -> dict[str, Any]:
    """Collect the content of `trainer.json` as JSON values, from which `restore` continues the training.

    `used_s`: the seconds of its time budget that the run has used up; None without one.
    """
    saved = {name: value for name, value in vars(progress).items() if name not in ("total", "stop")}
    return {
        "format": TRAINER_FORMAT,
        "progress": saved,
        "segments": [list(segment) if segment.is_timed else [segment.start, segment.end] for segment in segments],
        **({} if used_s is None else {"time_used_s": used_s}),
        "data_fingerprint": parts.fingerprint,
        "watch": monitor.state(),
        **parts.trainer.state(),
    }
