"""Batches made before they are asked for: by a thread, and page-locked for a GPU. They are the same batches."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

import torch

from seedbed.data.batches import Batch


class ByStep(Protocol):
    """Batches by 0-based step, as a pure function of it."""

    def batch(self, step: int) -> Batch: ...


class Ahead:
    """`batches` with the next `count` of them in the making while a step is at work; a context manager.

    Nothing is lost or reordered by this, since a batch depends on its step alone: a step out of order is made when
    asked for. With `pin` the tensors are page-locked, which lets a copy to a CUDA device run beside its work. Takes
    the memory of `count` batches. An error in the making is raised where its batch is asked for.
    """

    def __init__(self, batches: ByStep, count: int, *, pin: bool = False) -> None:
        self._batches, self._count, self._pin = batches, count, pin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches") if count else None
        self._coming: dict[int, Future[Batch]] = {}

    def batch(self, step: int) -> Batch:
        """The batch of a step; the thread goes on with those after it."""
        if self._thread is None:
            return self._made(step)
        wanted = range(step, step + self._count + 1)
        for other in [known for known in self._coming if known not in wanted]:
            self._coming.pop(other).cancel()
        for each in wanted:
            if each not in self._coming:
                self._coming[each] = self._thread.submit(self._made, each)
        return self._coming.pop(step).result()

    def _made(self, step: int) -> Batch:
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


def pins(asked: bool, device: torch.device) -> bool:
    """Whether batches are page-locked: only a CUDA device gains from it."""
    return asked and device.type == "cuda"
