"""When and what a training job saves: snapshots handed to the writer, and what became of them told as events."""

from __future__ import annotations

import time
from pathlib import Path

from seedbed import checkpoint
from seedbed.config.schema import Config
from seedbed.data.shards import Dataset
from seedbed.events import Emit
from seedbed.jobs.restore import trainer_state
from seedbed.model.families import export_state, generation_config, hf_config
from seedbed.optim.optimizer import Optimizer
from seedbed.train import hooks
from seedbed.train.horizon import Segment
from seedbed.train.learner import DecoderLearner
from seedbed.train.loop import Progress


class Saver:
    """Takes snapshots on the training thread and lets the writer save them beside it."""

    def __init__(
        self,
        run_dir: Path,
        config: Config,
        dataset: Dataset,
        learner: DecoderLearner,
        optimizer: Optimizer,
        watch: hooks.WatchHook,
        segments: list[Segment],
        emit: Emit,
        resumed_at: int | None,
    ) -> None:
        self._folder = run_dir / "checkpoints"
        self._config, self._dataset, self._learner = config, dataset, learner
        self._optimizer, self._watch, self._segments, self._emit = optimizer, watch, segments, emit
        tokenizer, rows = dataset.tokenizer, learner.model.vocab_rows
        self._hf_config = hf_config(config.model, rows, tokenizer)
        self._generation = generation_config(tokenizer)
        self._writer = checkpoint.Writer(
            self._folder, keep_last=config.train.keep_last, keep_every=config.train.keep_every, resumed_at=resumed_at
        )
        self._saved_step = resumed_at

    def save(self, progress: Progress, best: bool) -> None:
        """Snapshot now; return as soon as the copy is taken. A step that is saved already is not saved again."""
        if self._saved_step == progress.step:
            return
        begun = time.perf_counter()
        snapshot = checkpoint.Snapshot(
            step=progress.step,
            weights=checkpoint.take(export_state(self._learner.model)),
            optimizer=checkpoint.take(self._optimizer.state()),
            trainer=trainer_state(
                progress, self._learner, self._watch, self._dataset, self._segments, self._optimizer.step_count
            ),
            config=self._hf_config,
            generation_config=self._generation,
            tokenizer_folder=self._dataset.folder / "tokenizer",
        )
        self._writer.submit(snapshot, best=best, begun=begun)
        self._saved_step = progress.step

    def poll(self) -> None:
        """Tell of checkpoints that were finished since; raises what the writer ran into."""
        for event in self._writer.poll():
            self._emit(event)

    def close(self) -> None:
        """Wait for the last write and tell of it."""
        try:
            self._writer.close()
        finally:
            self.poll()

    def last_good(self, run_id: str) -> str:
        """In a sentence: the newest checkpoint and how to go on from it."""
        good = checkpoint.find(self._folder).good
        if not good:
            return "No checkpoint had been saved yet."
        return f"The last good checkpoint is {good[-1].name}; go on from it with `seedbed resume {run_id}`."
