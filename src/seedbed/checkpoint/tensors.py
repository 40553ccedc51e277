"""Encodes named tensors as the bytes of a safetensors file, and reads them back."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seedbed.checkpoint.writing import Content
from seedbed.errors import SeedbedError
from seedbed.text import quoted

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def take(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to contiguous CPU tensors, so that training can change the originals while the copies are saved.

    CUDA tensors are copied to pinned memory, with one synchronization per device.
    """
    copies: dict[str, Tensor] = {}
    devices: set[torch.device] = set()
    for name, tensor in tensors.items():
        source = tensor.detach()
        pinned = source.device.type == "cuda"
        copy = torch.empty(source.shape, dtype=source.dtype, pin_memory=pinned)
        copies[name] = copy.copy_(source, non_blocking=pinned)
        if pinned:
            devices.add(source.device)
    for device in devices:
        torch.cuda.synchronize(device)
    return copies


def encoded(tensors: Mapping[str, Tensor]) -> Content:
    """Encode tensors as the bytes of a safetensors file: a list of its header and the bytes of each tensor.

    Contiguous tensors are not copied. The same names and tensors give the same bytes. The safetensors library copies
    every tensor while it holds the GIL, which would stall training. So this function writes the format
    (https://huggingface.co/docs/safetensors: header length, JSON header, data) itself.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    views: list[memoryview] = []
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        view = tensor.reshape(-1).view(torch.uint8).numpy().data
        end = offset + view.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        views.append(view)
        offset = end
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    return [struct.pack("<Q", len(packed)), packed, *views]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name. They are on the CPU and memory-mapped.

    While the tensors exist, the file takes up disk space, even if it is deleted.
    Raises SeedbedError if the file is missing or damaged.
    """
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise SeedbedError(f"{quoted(file)} cannot be read: {error}.", "Use another checkpoint.") from error


def num_bytes(tensors: Mapping[str, Tensor]) -> int:
    """The total size of the tensors in bytes, without the header of a file."""
    return sum(tensor.nbytes for tensor in tensors.values())
