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
    """Sequences for one training step (a Protocol). `inputs` and `targets` are int64 [B, T]; targets of -100 are not trained.

    `documents` and `positions` (int [B, T]) are None if attention is not limited to documents. Then positions count
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
        """The number of tokens that go through the network; speed is measured in these."""
        ...

    @property
    def trained(self) -> int:
        """The number of targets that are trained or evaluated; the loss is divided by it."""
        ...

    def leaves(self, rows: int) -> Iterator[Self]:
        """Split the batch into leaves (micro-batches) of at most `rows` sequences (0: all), in order.

        Each leaf is one forward and backward pass. Leaves may differ in rows and in length.
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
    """What a learner reports about itself, for the status and to compare learners. `parameters` and `trainable` are counts."""

    parameters: int
    trainable: int
    precision: str


class Learner(Protocol):
    """A network that can be trained, with fp32 masters of its weights, and the contents of its checkpoints (a Protocol)."""

    device: torch.device
    precision: str
    """The precision of the forward and backward pass: fp32, bf16 or fp16."""
    compiled: bool
    artifact: str
    """The kind of the learner's checkpoints, a key of `checkpoint.marker.ARTIFACTS`."""

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a step with a gradient that is not finite is only skipped (fp16, while a lower loss scale may help)."""
        ...

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        """Run a micro-batch forward and backward, and add its gradients to the masters. Returns its loss sum / `divisor`."""
        ...

    def gradients(self) -> list[Tensor]:
        """The accumulated fp32 gradients of the masters."""
        ...

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        """Run `update` (the optimizer's step) unless gradients overflowed; returns whether it ran.

        Then refreshes the working parameters from the masters, and clears the gradients.
        """
        ...

    def loss_sum(self, batch: Batch) -> Tensor:
        """The loss in nats summed over a batch's targets, without gradients, for evaluation."""
        ...

    def discard(self) -> None:
        """Clear the gradients, as after a trial batch."""
        ...

    def compile(self) -> None:
        """Compile the forward and backward pass with torch.compile."""
        ...

    def eager(self) -> None:
        """Undo `compile`: compute without torch.compile again."""
        ...

    def trainable(self) -> Sequence[LogicalParameter]:
        """The trained fp32 parameters with their names in checkpoints, for the optimizer."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The weights for a checkpoint, by their names there: views, to be copied before the next step."""
        ...

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Load weights that `weights` returned. On a mismatch raises SeedbedError and changes nothing."""
        ...

    def state(self) -> dict[str, Any]:
        """The state besides the weights that a resume needs, as JSON values, such as the loss scale."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned. Called after `load_weights`."""
        ...

    def files(self) -> Mapping[str, Content]:
        """The files besides the weights that other programs need to load a checkpoint (of a model or an adapter)."""
        ...

    def describe(self) -> Description:
        """The learner's parameter counts and precision."""
        ...
