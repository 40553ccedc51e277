"""What the training loop and a learner agree on: batches, steps, and what a learner owns. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from seedbed.checkpoint.writing import Content
    from seedbed.optim.optimizer import LogicalParameter


class Batch(Protocol):
    """Sequences for one step: `inputs` and `targets` are int64 [B, T]; targets of -100 are not trained.

    `documents` and `positions` (int [B, T]) are None where attention is not limited to documents and positions count
    from 0.
    """

    @property
    def inputs(self) -> Tensor: ...
    @property
    def targets(self) -> Tensor: ...
    @property
    def documents(self) -> Tensor | None: ...
    @property
    def positions(self) -> Tensor | None: ...

    @property
    def processed(self) -> int:
        """Tokens that go through the network: what speed is measured in."""
        ...

    @property
    def trained(self) -> int:
        """Targets that are trained or scored: what a loss is divided by."""
        ...

    def leaves(self, rows: int) -> Iterator[Self]:
        """The batch in pieces, in order, each the unit of one forward and backward: at most `rows` sequences, 0 for all.

        The pieces need not be equal, neither in rows nor in length.
        """
        ...


class StepResult(NamedTuple):
    """The outcome of one optimizer step.

    `loss`: mean in nats per trained token. `grad_norm`: the gradient's 2-norm before clipping. `tokens`: trained tokens;
    `processed`: tokens that went through the network. `updated` is false where the gradient overflowed fp16 and the step
    was skipped.
    """

    loss: float
    grad_norm: float
    tokens: int
    processed: int
    updated: bool = True


class Description(NamedTuple):
    """What a learner is, for status and comparison. `parameters` and `trainable` are counts of numbers."""

    parameters: int
    trainable: int
    precision: str


class Learner(Protocol):
    """A network that can be trained: it owns its weights, their fp32 masters, and what a checkpoint keeps of them."""

    device: torch.device
    precision: str
    """What computes: fp32, bf16 or fp16."""
    compiled: bool
    artifact: str
    """What a checkpoint of it is to other programs: a kind of `checkpoint.marker.ARTIFACTS`."""

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a gradient that is not finite only costs its step (fp16 while lowering the loss scale may help)."""
        ...

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        """Forward and backward of one leaf; returns its loss sum / divisor, gradients added to the masters'."""
        ...

    def gradients(self) -> list[Tensor]:
        """The fp32 gradients of the masters."""
        ...

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        """Run `update` (unless the gradients overflowed), renew what computes, clear gradients; whether it updated."""
        ...

    def loss_sum(self, batch: Batch) -> Tensor:
        """The loss sum without gradients, for evaluation."""
        ...

    def discard(self) -> None:
        """Drop gradients, as after a trial batch."""
        ...

    def compile(self) -> None:
        """Compile forward and backward; undone by `eager`."""
        ...

    def eager(self) -> None:
        """Go back to computation that is not compiled."""
        ...

    def trainable(self) -> Sequence[LogicalParameter]:
        """The fp32 parameters that are trained, by published name: what the optimizer moves."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the weights, by published name: views, to be copied before the next step."""
        ...

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `weights` gave. Raises SeedbedError, and changes nothing, where something does not fit."""
        ...

    def state(self) -> dict[str, Any]:
        """What else a resume needs, JSON-able, such as a loss scale."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave; called after `load_weights`."""
        ...

    def files(self) -> Mapping[str, Content]:
        """The files beside the weights that other programs need to open the result: a model folder, or an adapter's."""
        ...

    def describe(self) -> Description:
        """Counts and precision."""
        ...
