"""When and what a training job saves: snapshots handed to the writer, and what became of them told as events.

A full disk ends nothing: the job says so, holds with all that it knows in memory, and saves when there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from torch import Tensor

from seedbed import checkpoint
from seedbed.config.schema import Config
from seedbed.data.shards import Dataset
from seedbed.errors import DiskFullError
from seedbed.events import Message
from seedbed.files import free_bytes
from seedbed.jobs.restore import trainer_state
from seedbed.model.families import export_state, generation_config, hf_config
from seedbed.optim.optimizer import Optimizer
from seedbed.runs.session import Session
from seedbed.text import size
from seedbed.train import hooks
from seedbed.train.horizon import Segment
from seedbed.train.learner import DecoderLearner
from seedbed.train.loop import Progress

_BESIDE_BYTES = 2 << 20
"""Room for what lies beside the tensors: tokenizer, configs, the log."""
_MOST_PATIENCE_S = 60.0


class Saver:
    """Takes snapshots on the training thread and lets the writer save them beside it."""

    def __init__(
        self,
        session: Session,
        config: Config,
        dataset: Dataset,
        learner: DecoderLearner,
        optimizer: Optimizer,
        watch: hooks.WatchHook,
        segments: list[Segment],
        resumed_at: int | None,
    ) -> None:
        self._session = session
        self._folder = session.run.checkpoints
        self._config, self._dataset, self._learner = config, dataset, learner
        self._optimizer, self._watch, self._segments = optimizer, watch, segments
        tokenizer, rows = dataset.tokenizer, learner.model.vocab_rows
        self._hf_config = hf_config(config.model, rows, tokenizer)
        self._generation = generation_config(tokenizer)
        self._tokenizer_files = tokenizer.as_files(model_max_length=config.model.context)
        self._writer = checkpoint.Writer(
            self._folder,
            keep_last=config.train.keep_last,
            keep_every=config.train.keep_every,
            resumed_at=resumed_at,
        )
        self._saved_step = resumed_at
        self._patience_s = 0.0
        self.gave_up = False
        """Whether somebody asked to stop while there was no room to save, so that the newest steps are not kept."""

    def save(self, progress: Progress, best: bool) -> None:
        """Snapshot now; return as soon as the copy is taken. A step that is saved already is not saved again."""
        if self._saved_step == progress.step or self._session.gone:
            return
        begun = time.perf_counter()
        weights, state = export_state(self._learner.model), self._optimizer.state()
        needed = _num_bytes(weights) + _num_bytes(state) + _BESIDE_BYTES
        if free_bytes(self._folder) < needed and not self._wait_for_room(needed):
            return
        snapshot = checkpoint.Snapshot(
            step=progress.step,
            weights=checkpoint.take(weights),
            optimizer=checkpoint.take(state),
            trainer=trainer_state(
                progress, self._learner, self._watch, self._dataset, self._segments, self._optimizer.step_count
            ),
            config=self._hf_config,
            generation_config=self._generation,
            tokenizer=self._tokenizer_files,
        )
        self._writer.submit(snapshot, best=best, begun=begun)
        self._saved_step = progress.step

    def poll(self) -> None:
        """Tell of checkpoints that were finished since, and mind a full disk; raises what else the writer ran into."""
        try:
            for event in self._writer.poll():
                self._session.emit(event)
                self._patience_s = 0.0
        except DiskFullError:
            if self._wait_for_room():
                self._writer.retry()
        if self._session.short_of_space:
            self._hold("The disk is full: not even the log can be written.", self._session.has_space)

    def settle(self) -> None:
        """Wait for the last write and tell of it, however long the disk is full; nothing more is lost by ending now."""
        while True:
            try:
                self._writer.close()
                break
            except DiskFullError:
                if not self._wait_for_room():
                    break
                self._writer.retry()
            except BaseException:
                self.poll()
                raise
        self.poll()

    def _wait_for_room(self, needed: int | None = None) -> bool:
        """Hold until a checkpoint fits, False if somebody asks to stop before that."""
        if needed is None:
            tensors = _num_bytes(export_state(self._learner.model)) + _num_bytes(self._optimizer.state())
            needed = tensors + _BESIDE_BYTES
        room, free = needed, free_bytes(self._folder)
        reason = f"The disk is full: a checkpoint needs {size(room)}, and {size(free)} are free."
        if free >= room:
            reason = f"A checkpoint found no room, though {size(free)} are free: perhaps for others (a quota)."
        # Where that is so every try may fail, so they become rarer.
        not_before = time.monotonic() + self._patience_s
        self._patience_s = min(max(2 * self._patience_s, 1.0), _MOST_PATIENCE_S)

        def there_is_room() -> bool:
            return time.monotonic() >= not_before and free_bytes(self._folder) >= room and self._session.has_space()

        if self._hold(reason, there_is_room):
            return True
        if not self.gave_up:
            self.gave_up = True
            self._session.emit(
                Message(
                    level="warning",
                    code="not-saved",
                    text="Stopped without saving: the disk is full.",
                    why=self.last_good(self._session.run.id),
                    hint="Free some space before you go on.",
                    step=self._session.step,
                )
            )
        return False

    def _hold(self, reason: str, until: Callable[[], bool]) -> bool:
        if self.gave_up:
            return False
        hint = f"Free some space where {self._folder} lies; training then goes on by itself. Nothing that was saved is lost."
        return self._session.hold(reason, hint, until)

    def last_good(self, run_id: str) -> str:
        """In a sentence: the newest checkpoint and how to go on from it."""
        good = checkpoint.find(self._folder).good
        if not good:
            return "No checkpoint had been saved yet."
        return f"The last good checkpoint is {good[-1].name}; go on from it with `seedbed resume {run_id}`."


def _num_bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
