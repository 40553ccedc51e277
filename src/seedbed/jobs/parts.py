"""What a kind of training is made of: the parts that its job builds and the shared training job drives. Needs no torch."""

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
    """The tables that every kind of training has in its config."""

    @property
    def train(self) -> TrainConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def data(self) -> DataConfig: ...


class Trainer(loop.Trainer, Scorer, Protocol):
    """What is trained, with its optimizer (train/trainer.py is the one over a learner)."""

    @property
    def artifact(self) -> str:
        """What a checkpoint is to other programs: a kind of `checkpoint.marker.ARTIFACTS`."""
        ...

    def prepare(self, batch: Batch, steps: int, emit: Emit, check_requests: Callable[[], None]) -> None:
        """Try a batch as large as any that can occur, and settle how to compute for so many steps."""
        ...

    def sizes_bytes(self) -> tuple[int, int]:
        """About the bytes of weights and optimizer state in a checkpoint."""
        ...

    def contents(self) -> Mapping[str, Content]:
        """The contents of a checkpoint's files by name: copies, so that training may go on."""
        ...

    def state(self) -> dict[str, Any]:
        """What else a resume needs, JSON-able."""
        ...

    def restore(self, loaded: Loaded, emit: Emit) -> None:
        """Put back what `contents` and `state` gave. Raises SeedbedError where something does not fit."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Fields of a `run` event: device, precision, parameters, versions, ..."""
        ...


class Batches(Protocol):
    """The batches of a run, by 0-based step."""

    @property
    def windows_per_epoch(self) -> int:
        """Sequences in one pass over the training data."""
        ...

    @property
    def steps_per_epoch(self) -> float:
        """Steps in one pass; seldom a whole number."""
        ...

    def largest(self, step: int) -> Batch:
        """A batch as large as any that can occur, to try before `step`."""
        ...


class Validation(Protocol):
    """What validations score (data/validation.py)."""

    @property
    def compared_tokens(self) -> int:
        """About how many tokens a validation scores that is compared with others; 0 for all."""
        ...

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes of the text per token, for bits per byte; None where it is not counted."""
        ...

    def batches(self, max_tokens: int) -> Iterable[Batch]:
        """Batches of about `max_tokens` tokens, the same ones at every call; 0 for all."""
        ...

    def tokens(self, max_tokens: int) -> int:
        """How many tokens those batches score."""
        ...


class Parts(NamedTuple):
    """What one kind of training hands to `jobs.training.train`.

    `ahead` gives batches by step while it is entered. `write` yields the pieces of a text that goes on from a prompt at
    a step. `tokens_per_window`: tokens of one sequence, as a horizon in tokens counts them. `fingerprint` is of the data.
    """

    trainer: Trainer
    batches: Batches
    ahead: AbstractContextManager[loop.Batches]
    validation: Validation
    prompts: tuple[str, ...]
    write: Callable[[str, int], Iterator[str]]
    tokens_per_window: int
    fingerprint: str
