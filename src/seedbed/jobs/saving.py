"""Saves the checkpoints of a training job and emits their events.

If the disk cannot be written, the job pauses with the reason, keeps its state in memory, and saves when writing works.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from seedbed.checkpoint.marker import TRAINER
from seedbed.checkpoint.reading import find
from seedbed.checkpoint.writer import Writer
from seedbed.checkpoint.writing import Snapshot, json_content
from seedbed.config.schema import TrainConfig
from seedbed.disk_space import free_bytes, obstacle
from seedbed.errors import DiskFullError, StorageError
from seedbed.events import Message
from seedbed.files import explained
from seedbed.jobs.parts import Parts
from seedbed.jobs.restore import trainer_state
from seedbed.runs.session import Session
from seedbed.text import quoted, size
from seedbed.train import hooks
from seedbed.train.horizon import Segment
from seedbed.train.loop import Progress

_OTHER_FILES_BYTES = 2 << 20
"""Bytes of disk space for everything in a checkpoint except the tensors (tokenizer, configs), and for the log."""
_MAX_RETRY_S = 60.0


class Saver:
    """Saves a training job's checkpoints: copies their contents on the training thread, and writes them on another."""

    def __init__(
        self,
        session: Session,
        options: TrainConfig,
        parts: Parts,
        monitor: hooks.LossMonitorHook,
        segments: list[Segment],
        saved: Progress | None,
        used_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`saved`: the progress stored in the newest current checkpoint; None if there is none.

        `used_s`: returns the seconds of its time budget that the run has used up; None without one.
        """
        self._session, self._parts, self._trainer = session, parts, parts.trainer
        self._folder = session.run.checkpoints
        self._monitor, self._segments, self._used_s = monitor, segments, used_s
        self._writer = Writer(self._folder, keep_last=options.keep_last, keep_every=options.keep_every)
        self._saved = _work_done(saved) if saved else None
        self._retry_s = 0.0
        self.gave_up = False
        """Whether the run was asked to stop while it could not save, so that its newest steps are lost."""

    def save(self, progress: Progress, best: bool) -> None:
        """Copy the state of training, start to write it as a checkpoint, and return.

        A step is saved again only if it was validated after it was saved.
        """
        if self._saved == _work_done(progress) or self._session.gone:
            return
        begun = time.perf_counter()
        self.settle()  # there may not be enough memory for two snapshots
        trouble = self._obstacle()
        if trouble is not None and not self._wait_until_writable(trouble):
            return
        state = trainer_state(progress, self._parts, self._monitor, self._segments, self._used_s())
        snapshot = Snapshot(
            progress.step,
            {**self._trainer.contents(), TRAINER: json_content({"session": self._session.number, **state})},
            self._trainer.artifact,
        )
        self._writer.submit(snapshot, best=best, begun=begun)
        self._saved = _work_done(progress)

    def poll(self) -> None:
        """Emit the events of checkpoints that were finished meanwhile.

        Pauses if the disk cannot be written; raises any other error of a write.
        """
        try:
            for event in self._writer.poll():
                self._session.emit(event)
                self._retry_s = 0.0
        except StorageError as error:
            if self._wait_until_writable(error):
                self._writer.retry()
        blocked = self._session.blocked
        if blocked is not None:
            reason = f"{_capitalised(blocked.reason)}: even the log cannot be written."
            self._pause(reason, blocked.hint, self._session.can_write)

    def settle(self) -> None:
        """Wait until the last write has succeeded and emit its event, so that the job can end without losing steps."""
        while True:
            try:
                self._writer.close()
                break
            except StorageError as error:
                if not self._wait_until_writable(error):
                    self._writer.give_up()
                    break
                self._writer.retry()
            except BaseException:
                self.poll()
                raise
        self.poll()

    def _obstacle(self) -> StorageError | None:
        """Why a checkpoint cannot be written now; None if no reason is found."""
        sizes = self._trainer.sizes_bytes()
        return obstacle(self._folder, sum(sizes) + _OTHER_FILES_BYTES, max(sizes))

    def _wait_until_writable(self, trouble: StorageError) -> bool:
        """Pause until a checkpoint can be written or a retry is due; returns False if a stop is requested before."""
        # Some causes (a quota, a failing disk) are found only when a write fails, so retries become less frequent.
        not_before = time.monotonic() + self._retry_s
        self._retry_s = min(max(2 * self._retry_s, 1.0), _MAX_RETRY_S)

        def writable() -> bool:
            return time.monotonic() >= not_before and self._obstacle() is None and self._session.can_write()

        if self._pause(self._explanation(trouble), trouble.hint, writable):
            return True
        if not self.gave_up:
            self.gave_up = True
            self._session.emit(
                Message(
                    level="warning",
                    code="not-saved",
                    text=f"Stopped without saving: {trouble.reason}.",
                    why=self.last_good(self._session.run.id),
                    hint=trouble.hint,
                    step=self._session.step,
                )
            )
        return False

    def _explanation(self, trouble: StorageError) -> str:
        """A sentence that says why no checkpoint can be written; for a full disk, with the space needed and free."""
        if not isinstance(trouble, DiskFullError):
            return f"{_capitalised(trouble.reason)}: a checkpoint cannot be written in {quoted(self._folder)}."
        needed = sum(self._trainer.sizes_bytes()) + _OTHER_FILES_BYTES
        try:
            with explained(self._folder):
                free = free_bytes(self._folder)
        except StorageError:
            free = 0
        if free < needed:
            return f"{_capitalised(trouble.reason)}: a checkpoint needs {size(needed)}, but only {size(free)} are free."
        return f"A checkpoint could not be written although {size(free)} are free. A quota may be used up."

    def _pause(self, reason: str, hint: str, until: Callable[[], bool]) -> bool:
        if self.gave_up:
            return False
        hint = f"{hint} Training continues automatically when writing works; saved checkpoints are intact."
        return self._session.wait_paused(reason, hint.strip(), until)

    def last_good(self, run_id: str) -> str:
        """A sentence about the newest checkpoint and how to resume from it."""
        good = find(self._folder).good
        if not good:
            return "No checkpoint was saved, so a resume starts at step 1 again."
        return f"The last good checkpoint is {good[-1].name}; resume from it with `seedbed resume {run_id}`."


def _capitalised(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}"


def _work_done(progress: Progress) -> tuple[int | None, ...]:
    """What a checkpoint would contain: the last trained, validated and sampled steps.

    If unchanged, there is nothing to save.
    """
    return progress.step, progress.last_compared_step, progress.last_eval_step, progress.last_sample_step
