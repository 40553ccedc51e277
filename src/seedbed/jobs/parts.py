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
    """The tables that the config of every kind of training has."""

    @property
    def train(self) -> TrainConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def data(self) -> DataConfig: ...


class Trainer(loop.Trainer, Scorer, Protocol):
    """A model and its optimizer (train/trainer.py implements it for a learner)."""

    @property
    def artifact(self) -> str:
        """The kind of checkpoint, one of `checkpoint.marker.ARTIFACTS`."""
        ...

    def prepare(self, batch: Batch, steps: int, emit: Emit, check_requests: Callable[[], None]) -> None:
        """Try a batch of the largest possible size, and decide how to compute `steps` steps (for example, compiled)."""
        ...

    def sizes_bytes(self) -> tuple[int, int]:
        """The approximate bytes of weights and optimizer state in a checkpoint."""
        ...

    def contents(self) -> Mapping[str, Content]:
        """The contents of a checkpoint's files by name: copies, so that training can continue."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything else that a resume needs, as JSON values."""
        ...

    def restore(self, loaded: Loaded, emit: Emit) -> None:
        """Restore what `contents` and `state` returned. Raises SeedbedError if something does not fit."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Fields of a `run` event: device, precision, parameters, versions and others."""
        ...


class Batches(Protocol):
    """Sizes of a run's batches, and a batch for a trial step."""

    @property
    def windows_per_epoch(self) -> int:
        """Sequences in one pass over the training data."""
        ...

    @property
    def steps_per_epoch(self) -> float:
        """Steps in one pass; usually not a whole number."""
        ...

    def largest(self, step: int) -> Batch:
        """A batch of the largest possible size, for a trial before the 0-based `step`."""
        ...


class Validation(Protocol):
    """The validation data (data/validation.py)."""

    @property
    def compared_tokens(self) -> int:
        """The approximate number of tokens of each regular validation (0: all). The tokens are the same every time."""
        ...

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes of the text per token, for bits per byte; None if unknown."""
        ...

    def batches(self, max_tokens: int) -> Iterable[Batch]:
        """Batches with about `max_tokens` tokens in total (0: all), the same in every call."""
        ...

    def tokens(self, max_tokens: int) -> int:
        """The number of tokens in `batches(max_tokens)`."""
        ...


class Parts(NamedTuple):
    """The parts that one kind of training builds for `jobs.training.train`.

    `prefetched` is a context manager that returns the batches by 0-based step. `write(prompt, step)` yields the pieces
    of a sample. `tokens_per_window` is the number of tokens per sequence, with which `train.tokens` is converted to
    steps. `fingerprint` identifies the data.
    """

    trainer: Trainer
    batches: Batches
    prefetched: AbstractContextManager[loop.Batches]
    validation: Validation
    prompts: tuple[str, ...]
    write: Callable[[str, int], Iterator[str]]
    tokens_per_window: int
    fingerprint: str
