"""Prepare training batches ahead in a thread, in page-locked memory for a GPU. The batches are unchanged."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

import torch

from seedbed.data.batches import Batch


class BatchesByStep(Protocol):
    """What a Prefetcher needs: the batch of a 0-based step, the same at every call (a Protocol)."""

    def batch(self, step: int) -> Batch: ...


class Prefetcher:
    """Prepares the next `count` batches in a thread while a training step runs. Use as a context manager.

    The batches can be requested in any order, because a batch depends only on its step: a batch that was not prefetched is
    made on request. With `pin` the tensors are page-locked, so that copies to a CUDA device overlap with computation. Needs
    memory for `count` batches. An error in the thread is raised when its batch is requested.
    """

    def __init__(self, batches: BatchesByStep, count: int, *, pin: bool = False) -> None:
        self._batches, self._count, self._pin = batches, count, pin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches") if count else None
        self._pending: dict[int, Future[Batch]] = {}

    def batch(self, step: int) -> Batch:
        """The batch of the 0-based `step`. After this call the thread prepares the batches of the next steps."""
        if self._thread is None:
            return self._make(step)
        steps = range(step, step + self._count + 1)
        for other in [known for known in self._pending if known not in steps]:
            self._pending.pop(other).cancel()
        for each in steps:
            if each not in self._pending:
                self._pending[each] = self._thread.submit(self._make, each)
        return self._pending.pop(step).result()

    def _make(self, step: int) -> Batch:
        batch = self._batches.batch(step)
        if not self._pin:
            return batch
        return Batch(*(None if each is None else each.pin_memory() for each in batch))  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)


def should_pin(pin_memory: bool, device: torch.device) -> bool:
    """Whether to page-lock batches: if `pin_memory` is set and `device` is a CUDA device (others do not benefit)."""
    return pin_memory and device.type == "cuda"
