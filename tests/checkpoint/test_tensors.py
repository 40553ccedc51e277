"""Tensors are written in the same bytes as by safetensors, and are read back unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes

from seedbed.checkpoint.reading import load
from seedbed.checkpoint.tensors import read_tensors, take
from seedbed.checkpoint.writing import Snapshot, save

Make = Callable[..., Snapshot]


def test_the_weights_file_equals_that_of_safetensors_and_depends_only_on_the_weights(folder: Path, make: Make) -> None:
    first, second = save(folder, make(1, value=7.0)).path, save(folder, make(2, value=7.0)).path
    written = (first / "model.safetensors").read_bytes()
    assert written == (second / "model.safetensors").read_bytes()
    with safe_open(first / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert written == safetensors_bytes(read_tensors(first / "model.safetensors"), metadata={"format": "pt"})


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.float8_e4m3fn,
        torch.int64,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ],
)
def test_every_dtype_and_shape_is_read_back(folder: Path, make: Make, dtype: torch.dtype) -> None:
    tensors = {
        "scalar": torch.ones(()).to(dtype),
        "empty": torch.zeros((0, 3)).to(dtype),
        "strided": torch.arange(12).reshape(3, 4).to(dtype).mT,
        "é/ü": torch.arange(5).to(dtype),
    }
    loaded = read_tensors(load(save(folder, make(1, weights=tensors)).path).weights)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].tolist() == tensor.tolist()
        assert loaded[name].dtype == dtype


def test_a_snapshot_does_not_change_with_the_weights(folder: Path, make: Make) -> None:
    weight = torch.zeros(4, 6)
    taken = take({"w": weight, "transposed": weight.mT})
    weight.fill_(9.0)
    assert not taken["w"].any()
    assert not taken["transposed"].any()
    assert taken["transposed"].is_contiguous()
