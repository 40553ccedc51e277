"""Batches made ahead are the batches asked for, whatever the order, and are ready when the step before has ended."""

from __future__ import annotations

import threading

import pytest
import torch

from seedbed.data.batches import Batch
from seedbed.data.prefetch import Prefetcher, should_pin
from seedbed.errors import SeedbedError


class Numbered:
    """Batches that tell their step; notes which were made, and by which thread. Some steps cannot be made."""

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
def test_whatever_is_asked_for_comes(count: int, steps: list[int]) -> None:
    with Prefetcher(Numbered(), count) as ahead:
        for step in steps:
            batch = ahead.batch(step)
            assert batch.inputs.tolist() == [[step, step]]
            assert batch.targets.tolist() == [[step + 1, step + 1]]


def test_the_next_ones_are_made_while_a_step_is_at_work_and_no_more() -> None:
    numbered = Numbered()
    with Prefetcher(numbered, 2) as ahead:
        ahead.batch(10)
        with numbered.changed:
            assert numbered.changed.wait_for(lambda: len(numbered.made) == 3, timeout=20)
            assert not numbered.changed.wait_for(lambda: len(numbered.made) > 3, timeout=0.2)
        assert sorted(numbered.made) == [10, 11, 12]
        ahead.batch(11)
        with numbered.changed:
            assert numbered.changed.wait_for(lambda: numbered.made.count(13) == 1, timeout=20)
        assert numbered.made.count(11) == 1, "made twice"
    assert threading.main_thread().name not in numbered.threads


def test_without_it_nothing_is_made_that_was_not_asked_for() -> None:
    numbered = Numbered()
    with Prefetcher(numbered, 0) as ahead:
        ahead.batch(4)
    assert numbered.made == [4]
    assert numbered.threads == {threading.current_thread().name}


def test_an_error_is_raised_at_its_own_step() -> None:
    with Prefetcher(Numbered(broken=3), 3) as ahead:
        for step in range(3):
            ahead.batch(step)
        with pytest.raises(SeedbedError, match="step 3 cannot be read"):
            ahead.batch(3)


def test_leaving_ends_the_thread() -> None:
    before = threading.active_count()
    with Prefetcher(Numbered(), 2) as ahead:
        ahead.batch(0)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_only_a_cuda_device_gains_from_page_locking() -> None:
    assert should_pin(True, torch.device("cuda", 0))
    assert not should_pin(True, torch.device("cpu"))
    assert not should_pin(True, torch.device("mps"))
    assert not should_pin(False, torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a CUDA GPU")
def test_pinned_batches_are_page_locked() -> None:
    with Prefetcher(Numbered(), 1, pin=True) as ahead:
        batch = ahead.batch(5)
    assert batch.inputs.is_pinned()
    assert batch.targets.is_pinned()
    assert batch.inputs.tolist() == [[5, 5]]
