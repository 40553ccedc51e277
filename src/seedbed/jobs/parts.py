"""Protocols of the parts (trainer, batches, validation) that a training job passes to jobs/training.py. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from seedbed.checkpoint.reading import Loaded
from seedbed.checkpoint.writing import Content
from seedbed.config.schema import DataConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from seedbed.events import Emit
from seedbed.train import loop
from seedbed.train.hooks import Scorer
from seedbed.train.learner import Batch


class TrainingConfig(Protocol):
    """The tables that the config of every kind of training has (a Protocol)."""

    @property
    def train(self) -> TrainConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def data(self) -> DataConfig: ...


class Trainer(loop.Trainer, Scorer, Protocol):
    """A model and its optimizer, as a training job uses them (a Protocol; train/trainer.py implements it)."""

    @property
    def artifact(self) -> str:
        """The kind of the trainer's checkpoints, a key of `checkpoint.marker.ARTIFACTS`."""
        ...

    def prepare(self, batch: Batch, steps: int, emit: Emit, check_requests: Callable[[], None]) -> None:
        """Try a batch of the largest possible size, and decide how to compute `steps` steps (with or without torch.compile)."""
        ...

    def seconds_per_step(self, batch: Batch, check_requests: Callable[[], None]) -> float | None:
        """Time one step on the batch without changing the weights; None if that cannot be measured."""
        ...

    def sizes_bytes(self) -> tuple[int, int]:
        """The approximate sizes of the weights and of the optimizer state in a checkpoint, in bytes."""
        ...

    def contents(self) -> Mapping[str, Content]:
        """The contents of a checkpoint's files by name: copies, which further training does not change."""
        ...

    def state(self) -> dict[str, Any]:
        """What a resume needs besides the files in `contents`, as JSON values."""
        ...

    def restore(self, loaded: Loaded, emit: Emit) -> None:
        """Restore the state from a checkpoint (see `contents` and `state`). Raises SeedbedError if something does not fit."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """The fields of a `run` event about the trainer: device, precision, parameters, versions and others."""
        ...


class Batches(Protocol):
    """The sizes of a run's batches, and a batch for a trial before training (a Protocol)."""

    @property
    def windows_per_epoch(self) -> int:
        """The number of windows (training sequences) in one pass over the training data."""
        ...

    @property
    def steps_per_epoch(self) -> float:
        """The number of steps in one pass over the training data; usually not a whole number."""
        ...

    def largest(self, step: int) -> Batch:
        """A batch of the largest possible size, to be tried before the step with the 0-based number `step`."""
        ...


class Validation(Protocol):
    """The validation data of a training job (a Protocol; data/validation.py implements it)."""

    @property
    def compared_tokens(self) -> int:
        """The approximate number of tokens that each regular validation evaluates, always the same ones; 0: all."""
        ...

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes of the validation text per token, to compute bits per byte; None if unknown."""
        ...

    def limit(self, max_tokens: int) -> None:
        """Let each regular validation evaluate at most about `max_tokens` tokens."""
        ...

    def batches(self, max_tokens: int) -> Iterable[Batch]:
        """Validation batches with about `max_tokens` tokens in total (0: all); every call returns the same."""
        ...

    def tokens(self, max_tokens: int) -> int:
        """The number of tokens in `batches(max_tokens)`."""
        ...


class Parts(NamedTuple):
    """The parts that one kind of training builds for `jobs.training.train`.

    `prefetched` is a context manager that returns the training batches, by 0-based step. `write(prompt, step)` yields a
    sample as pieces of text. `tokens_per_window` is the number of tokens per sequence, with which `train.tokens` is
    converted to steps. `fingerprint` identifies the data. `is_trained`: whether the weights were trained before, so that a
    new run validates them before its first step.
    """

    trainer: Trainer
    batches: Batches
    prefetched: AbstractContextManager[loop.Batches]
    validation: Validation
    prompts: tuple[str, ...]
    write: Callable[[str, int], Iterator[str]]
    tokens_per_window: int
    fingerprint: str
    is_trained: bool = False
