"""Prefetched batches equal those made on request, in any order, and are made while the previous step runs."""

from __future__ import annotations

import threading

import pytest
import torch

from seedbed.data.batches import Batch
from seedbed.data.prefetch import Prefetcher, should_pin
from seedbed.errors import SeedbedError


class Numbered:
    """Batches that contain their step. Records which were made, and in which threads; the step `broken` fails."""

    def __init__(self, broken: int = -1) -> None:
        self.made: list[int] = []
        self.threads: set[str] = set()
        self.changed = threading.Condition()
        self.broken = broken

    def batch(self, step: int) -> Batch:
        with self.changed:
            self.made.append(step)
            self.threads.add(threading.current_thread().name)
            self.changed.notify_all()
        if step == self.broken:
            raise SeedbedError(f"step {step} cannot be read")
        return Batch(torch.full((1, 2), step), torch.full((1, 2), step + 1), None)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("steps", [list(range(20)), [7, 8, 9], [5, 3, 3, 4, 90, 0, 1]])
def test_each_step_gets_its_batch_in_any_order(count: int, steps: list[int]) -> None:
    with Prefetcher(Numbered(), count) as prefetcher:
        for step in steps:
            batch = prefetcher.batch(step)
            assert batch.inputs.tolist() == [[step, step]]
            assert batch.targets.tolist() == [[step + 1, step + 1]]


def test_only_the_next_batches_are_made_while_a_step_runs() -> None:
    numbered = Numbered()
    with Prefetcher(numbered, 2) as prefetcher:
        prefetcher.batch(10)
        with numbered.changed:
            assert numbered.changed.wait_for(lambda: len(numbered.made) == 3, timeout=20)
            assert not numbered.changed.wait_for(lambda: len(numbered.made) > 3, timeout=0.2)
        assert sorted(numbered.made) == [10, 11, 12]
        prefetcher.batch(11)
        with numbered.changed:
            assert numbered.changed.wait_for(lambda: numbered.made.count(13) == 1, timeout=20)
        assert numbered.made.count(11) == 1, "step 11 was made twice"
    assert threading.main_thread().name not in numbered.threads


def test_without_prefetching_only_requested_batches_are_made() -> None:
    numbered = Numbered()
    with Prefetcher(numbered, 0) as prefetcher:
        prefetcher.batch(4)
    assert numbered.made == [4]
    assert numbered.threads == {threading.current_thread().name}


def test_an_error_is_raised_when_its_batch_is_requested() -> None:
    with Prefetcher(Numbered(broken=3), 3) as prefetcher:
        for step in range(3):
            prefetcher.batch(step)
        with pytest.raises(SeedbedError, match="step 3 cannot be read"):
            prefetcher.batch(3)


def test_closing_the_prefetcher_ends_its_thread() -> None:
    before = set(threading.enumerate())  # threads of earlier tests may end meanwhile
    with Prefetcher(Numbered(), 2) as prefetcher:
        prefetcher.batch(0)
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) <= before


def test_only_a_cuda_device_gets_page_locked_batches() -> None:
    assert should_pin(True, torch.device("cuda", 0))
    assert not should_pin(True, torch.device("cpu"))
    assert not should_pin(True, torch.device("mps"))
    assert not should_pin(False, torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a CUDA GPU")
def test_pinned_batches_are_page_locked() -> None:
    with Prefetcher(Numbered(), 1, pin=True) as prefetcher:
        batch = prefetcher.batch(5)
    assert batch.inputs.is_pinned()
    assert batch.targets.is_pinned()
    assert batch.inputs.tolist() == [[5, 5]]
