"""The protocols of a batch and of a learner, which the training loop uses. Imports no torch."""

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

    `documents` and `positions` (int [B, T]) are None if attention is not limited to documents. Then positions count from 0.
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
        """Tokens that go through the network; the unit of speed."""
        ...

    @property
    def trained(self) -> int:
        """The number of targets that are trained or evaluated; the loss is divided by it."""
        ...

    def leaves(self, rows: int) -> Iterator[Self]:
        """The batch in leaves of at most `rows` sequences (0: all), in order; each leaf is one forward and backward pass.

        Leaves may differ in rows and in length.
        """
        ...


class StepResult(NamedTuple):
    """The result of one optimizer step.

    `loss`: mean in nats per trained token. `grad_norm`: the gradient's 2-norm before clipping. `tokens`: trained tokens;
    `processed`: tokens that went through the network. `updated` is false if the gradient overflowed fp16 and the step
    was skipped.
    """

    loss: float
    grad_norm: float
    tokens: int
    processed: int
    updated: bool = True


class Description(NamedTuple):
    """A description of a learner, for status and comparison. `parameters` and `trainable` are counts."""

    parameters: int
    trainable: int
    precision: str


class Learner(Protocol):
    """A network that can be trained, with its weights, fp32 masters, and the contents of its checkpoints."""

    device: torch.device
    precision: str
    """The precision of forward and backward: fp32, bf16 or fp16."""
    compiled: bool
    artifact: str
    """The kind of its checkpoints, from `checkpoint.marker.ARTIFACTS`."""

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a step with a gradient that is not finite is only skipped (fp16, while a lower loss scale may help)."""
        ...

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        """Run one leaf forward and backward, and accumulate gradients on the masters. Returns the loss sum / `divisor`."""
        ...

    def gradients(self) -> list[Tensor]:
        """The fp32 gradients of the masters."""
        ...

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        """Run `update` unless gradients overflowed; refresh working parameters, clear gradients. Returns whether it ran."""
        ...

    def loss_sum(self, batch: Batch) -> Tensor:
        """The loss sum of a batch without gradients, for evaluation."""
        ...

    def discard(self) -> None:
        """Clear gradients, as after a trial batch."""
        ...

    def compile(self) -> None:
        """Compile forward and backward with torch.compile."""
        ...

    def eager(self) -> None:
        """Undo `compile`."""
        ...

    def trainable(self) -> Sequence[LogicalParameter]:
        """The trained fp32 parameters by published name, for the optimizer."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The weights for a checkpoint by published name: views, to be copied before the next step."""
        ...

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the result of `weights`. On a mismatch raises SeedbedError and changes nothing."""
        ...

    def state(self) -> dict[str, Any]:
        """Other state for a resume, as JSON values, such as the loss scale."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state`. Called after `load_weights`."""
        ...

    def files(self) -> Mapping[str, Content]:
        """The files besides the weights that other programs need to load a checkpoint (of a model or an adapter)."""
        ...

    def describe(self) -> Description:
        """Parameter counts and precision."""
        ...
