"""When and what a training job saves: snapshots handed to the writer, and what became of them told as events.

A disk that takes no writes ends nothing: the job says why, holds with all that it knows in memory, and saves when it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from seedbed.checkpoint.marker import TRAINER
from seedbed.checkpoint.reading import find
from seedbed.checkpoint.writer import Writer
from seedbed.checkpoint.writing import Snapshot, json_content
from seedbed.config.schema import TrainConfig
from seedbed.errors import DiskFullError, StorageError
from seedbed.events import Message
from seedbed.files import explained, free_bytes, obstacle
from seedbed.jobs.parts import Parts
from seedbed.jobs.restore import trainer_state
from seedbed.runs.session import Session
from seedbed.text import quoted, size
from seedbed.train import hooks
from seedbed.train.horizon import Segment
from seedbed.train.loop import Progress

_BESIDE_BYTES = 2 << 20
"""Room for what lies beside the tensors: tokenizer, configs, the log."""
_MOST_PATIENCE_S = 60.0


class Saver:
    """Takes snapshots on the training thread and lets the writer save them beside it."""

    def __init__(
        self,
        session: Session,
        options: TrainConfig,
        parts: Parts,
        watch: hooks.WatchHook,
        segments: list[Segment],
        saved: Progress | None,
    ) -> None:
        """`saved` is what the newest checkpoint in force knows of training; None where there is none."""
        self._session, self._parts, self._trainer = session, parts, parts.trainer
        self._folder = session.run.checkpoints
        self._watch, self._segments = watch, segments
        self._writer = Writer(self._folder, keep_last=options.keep_last, keep_every=options.keep_every)
        self._saved = _done(saved) if saved else None
        self._patience_s = 0.0
        self.gave_up = False
        """Whether somebody asked to stop while nothing could be saved, so that the newest steps are not kept."""

    def save(self, progress: Progress, best: bool) -> None:
        """Snapshot now; return as soon as the copy is taken. A step is saved again only if it was validated since."""
        if self._saved == _done(progress) or self._session.gone:
            return
        begun = time.perf_counter()
        self.settle()  # two snapshots in memory would be one too many
        trouble = self._obstacle()
        if trouble is not None and not self._wait_until_writable(trouble):
            return
        state = trainer_state(progress, self._parts, self._watch, self._segments)
        snapshot = Snapshot(
            progress.step,
            {**self._trainer.contents(), TRAINER: json_content({"session": self._session.number, **state})},
            self._trainer.artifact,
        )
        self._writer.submit(snapshot, best=best, begun=begun)
        self._saved = _done(progress)

    def poll(self) -> None:
        """Tell of checkpoints that were finished since, and hold where a write failed; raises what else went wrong."""
        try:
            for event in self._writer.poll():
                self._session.emit(event)
                self._patience_s = 0.0
        except StorageError as error:
            if self._wait_until_writable(error):
                self._writer.retry()
        blocked = self._session.blocked
        if blocked is not None:
            reason = f"{_sentence(blocked.reason)}: not even the log can be written."
            self._hold(reason, blocked.hint, self._session.can_write)

    def settle(self) -> None:
        """Wait for the last write and tell of it, however long it takes until it can be done: then nothing is lost by ending."""
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
        """What is known to stand against writing a checkpoint now."""
        sizes = self._trainer.sizes_bytes()
        return obstacle(self._folder, sum(sizes) + _BESIDE_BYTES, max(sizes))

    def _wait_until_writable(self, trouble: StorageError) -> bool:
        """Hold until a checkpoint can be written, or tried again; False if somebody asks to stop before that."""
        # What cannot be seen to pass (a quota, a failing disk) lets every try fail, so they become rarer.
        not_before = time.monotonic() + self._patience_s
        self._patience_s = min(max(2 * self._patience_s, 1.0), _MOST_PATIENCE_S)

        def writable() -> bool:
            return time.monotonic() >= not_before and self._obstacle() is None and self._session.can_write()

        if self._hold(self._explanation(trouble), trouble.hint, writable):
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
        """Why no checkpoint can be written, with the figures where space is what is missing."""
        if not isinstance(trouble, DiskFullError):
            return f"{_sentence(trouble.reason)}: a checkpoint cannot be written in {quoted(self._folder)}."
        needed = sum(self._trainer.sizes_bytes()) + _BESIDE_BYTES
        try:
            with explained(self._folder):
                free = free_bytes(self._folder)
        except StorageError:
            free = 0
        if free < needed:
            return f"{_sentence(trouble.reason)}: a checkpoint needs {size(needed)}, and {size(free)} are free."
        return f"A checkpoint found no room, though {size(free)} are free: perhaps for others (a quota)."

    def _hold(self, reason: str, hint: str, until: Callable[[], bool]) -> bool:
        if self.gave_up:
            return False
        hint = f"{hint} Training goes on by itself when the write works; nothing that was saved is lost."
        return self._session.hold(reason, hint.strip(), until)

    def last_good(self, run_id: str) -> str:
        """In a sentence: the newest checkpoint and how to go on from it."""
        good = find(self._folder).good
        if not good:
            return "No checkpoint had been saved yet, so a resume begins at step 1 again."
        return f"The last good checkpoint is {good[-1].name}; go on from it with `seedbed resume {run_id}`."


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}"


def _done(progress: Progress) -> tuple[int | None, ...]:
    """What was done by the end of a step when it was saved."""
    return progress.step, progress.last_compared_step, progress.last_eval_step, progress.last_sample_step
