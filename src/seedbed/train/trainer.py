"""A trainer: a learner with its optimizer. It trains step by step, and provides the contents of checkpoints."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from seedbed import __version__
from seedbed.checkpoint.marker import ARTIFACTS, OPTIMIZER
from seedbed.checkpoint.reading import Loaded
from seedbed.checkpoint.tensors import encoded, num_bytes, read_tensors, take
from seedbed.checkpoint.writing import Content
from seedbed.events import Emit
from seedbed.optim.optimizer import Optimizer
from seedbed.train import seed
from seedbed.train.compiling import LONG_S, decide_compile, trial
from seedbed.train.device import Device
from seedbed.train.learner import Batch, Learner, StepResult
from seedbed.train.numerics import numerics, warn_of_differences
from seedbed.train.step import train_step


class LearnerTrainer:
    """Trains a learner on a device (used by jobs/training.py).

    `micro_batch`: the number of sequences per forward pass, 0 for all; `compile_as`: whether to use torch.compile (on,
    off or auto).
    """

    def __init__(
        self,
        learner: Learner,
        optimizer: Optimizer,
        device: Device,
        *,
        grad_clip: float,
        micro_batch: int = 0,
        compile_as: str = "off",
    ) -> None:
        self.learner, self.optimizer = learner, optimizer
        self._device = device
        self._grad_clip, self._micro_batch, self._compile_as = grad_clip, micro_batch, compile_as
        self._tried_s = 0.0

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a step whose gradient is not finite is skipped instead of ending the training."""
        return self.learner.tolerates_overflow

    def prepare(self, batch: Batch, steps: int, emit: Emit, check_requests: Callable[[], None]) -> None:
        """Try the largest batch that can occur, and decide whether to use torch.compile for `steps` steps."""
        compiled, tried = decide_compile(
            self.learner,
            batch,
            asked=self._compile_as,
            steps=steps,
            micro_batch=self._micro_batch,
            emit=emit,
            check_requests=check_requests,
        )
        self._tried_s = 0.0 if compiled else tried.step_s

    def seconds_per_step(self, batch: Batch, check_requests: Callable[[], None]) -> float:
        """Time one step on the batch (forward and backward), without changing the weights.

        If the trial in `prepare` took long, its time is returned: the pass is not done again.
        """
        if self._tried_s > LONG_S:
            return self._tried_s
        return trial(self.learner, batch, self._micro_batch, check_requests=check_requests).step_s

    def step(self, batch: Batch, scale: float) -> StepResult:
        """Train on one batch; `scale` multiplies every learning rate."""
        return train_step(
            self.learner, batch, self.optimizer, scale, grad_clip=self._grad_clip, micro_batch=self._micro_batch
        )

    def lr(self, scale: float) -> float:
        """The main learning rate if the schedule's multiplier is `scale`."""
        return self.optimizer.lr(scale)

    def loss_sum(self, batch: Batch) -> Tensor:
        """The loss in nats summed over the batch's targets, without gradients."""
        return self.learner.loss_sum(batch)

    # Checkpoint contents -------------------------------------------------------------------------------------------

    @property
    def artifact(self) -> str:
        """The kind of the checkpoints, a key of `checkpoint.marker.ARTIFACTS`."""
        return self.learner.artifact

    def sizes_bytes(self) -> tuple[int, int]:
        """The approximate sizes of the weights and of the optimizer state in a checkpoint, in bytes."""
        return num_bytes(self.learner.weights()), num_bytes(self.optimizer.state())

    def contents(self) -> dict[str, Content]:
        """The contents of a checkpoint's files by name: copies, which further training does not change."""
        weights, state = take(self.learner.weights()), take(self.optimizer.state())
        return {
            ARTIFACTS[self.artifact]: encoded(weights),
            OPTIMIZER: encoded(state),
            **self.learner.files(),
        }

    def state(self) -> dict[str, Any]:
        """What a resume needs besides the files in `contents`, as JSON values."""
        return {
            "updates": self.optimizer.step_count,
            **numerics(self.learner),
            "learner": self.learner.state(),
            "rng": seed.rng_state(),
        }

    def restore(self, loaded: Loaded, emit: Emit) -> None:
        """Restore weights, optimizer state and, last, random state from a checkpoint. Raises SeedbedError on a mismatch.

        The loaded tensors are freed immediately, since they keep the disk space of deleted files in use.
        """
        trainer = loaded.trainer
        self.learner.load_weights(read_tensors(loaded.weights))
        self.optimizer.load_state(read_tensors(loaded.optimizer), int(trainer.get("updates", loaded.step)))
        self.learner.load_state(trainer.get("learner", {}))
        warn_of_differences(trainer, self.learner, emit)
        seed.restore_rng(trainer.get("rng", {}))

    def describe(self) -> Mapping[str, Any]:
        """The fields of a `run` event about the machine and the network."""
        description = self.learner.describe()
        return {
            "device": str(self._device.torch_device),
            "device_name": self._device.name,
            "threads": torch.get_num_threads(),
            "precision": description.precision,
            "compile": self.learner.compiled,
            "versions": {
                "seedbed": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            "parameters": description.parameters,
            "trainable": description.trainable if description.trainable != description.parameters else None,
        }
