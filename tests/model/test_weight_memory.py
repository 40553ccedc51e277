"""One block of memory for all weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seedbed.model.weight_memory import WeightMemory, use_huge_pages


def test_tensors_have_their_shapes_and_do_not_overlap() -> None:
    shapes = [torch.Size([3, 5]), torch.Size([1]), torch.Size([7, 11, 2])]
    memory = WeightMemory(shapes, torch.bfloat16)
    taken = [memory.take(shape) for shape in shapes]
    for number, tensor in enumerate(taken):
        tensor.fill_(number)
    assert [tuple(each.shape) for each in taken] == [(3, 5), (1,), (7, 11, 2)]
    assert all(each.is_contiguous() and bool((each == number).all()) for number, each in enumerate(taken))
    assert {each.data_ptr() % 64 for each in taken} == {0}


def test_writing_one_tensor_does_not_invalidate_what_autograd_keeps_of_another() -> None:
    memory = WeightMemory([torch.Size([4]), torch.Size([4])], torch.float32)
    one, other = (torch.nn.Parameter(memory.take(torch.Size([4])).fill_(2.0)) for _ in range(2))
    loss = (one * one).sum()
    with torch.no_grad():
        other.add_(1.0)
    loss.backward()
    assert one.grad is not None
    assert one.grad.tolist() == [4.0] * 4


def test_small_tensors_keep_their_pages() -> None:
    assert not use_huge_pages(torch.empty(16))


def test_weights_are_in_huge_pages_where_the_system_offers_them() -> None:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[never]" in setting.read_text():
        pytest.skip("this system offers no huge pages")
    size = torch.Size([16 << 20])
    taken = WeightMemory([size], torch.float32).take(size).fill_(1.0)
    address = taken.data_ptr() + taken.nbytes // 2
    inside, huge_kib = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and ":" not in first:
            begin, end = (int(each, 16) for each in first.split("-"))
            inside = begin <= address < end
        elif inside and line.startswith("AnonHugePages:"):
            huge_kib = int(line.split()[1])
    assert huge_kib >= taken.nbytes >> 11, "less than half of the block is in huge pages"
