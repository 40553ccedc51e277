"""Use the weights in a file where they lie, as a memory map, instead of copying them.

Only for parameters that a file stores whole, in the wanted dtype and order: then nothing is copied, several processes share
the memory, and the system can take it back. As with every memory map, a program that writes into the file changes the weights
of the model in use (see `check_unchanged`), and one that shortens it ends the process. Replacing or deleting the file does not
matter.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from seedbed.checkpoint.headers import TensorInfo
from seedbed.config.families.tensors import Piece, segments
from seedbed.errors import SeedbedError
from seedbed.text import quoted

_FEWEST_BYTES = 1 << 16
"""Smaller parameters are copied: a memory map consists of whole pages."""


Stamps = Mapping[Path, tuple[int, int, int]]
"""Inode, size in bytes and time of the last change in nanoseconds of files."""


def stamps(folder: Path) -> Stamps:
    """The stamps of the files with weights in a model folder."""
    return {path: _stamp(path) for path in sorted(folder.glob("*.safetensors"))}


def check_unchanged(before: Stamps) -> None:
    """Raise SeedbedError if one of the files was written since. One that was deleted or replaced is still there for the map."""
    for path, stamp in before.items():
        with suppress(OSError):
            if (now := _stamp(path))[0] == stamp[0] and now != stamp:
                raise SeedbedError(
                    f"{quoted(path)} was changed while it was in use, so the text may come from two different models.",
                    "Run the command again.",
                )


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class _Range(NamedTuple):
    """Rows of a parameter, from `row` on, and the bytes of a file that store them."""

    row: int
    rows: int
    file: Path
    begin: int
    end: int


def map_parameters(
    parameters: Mapping[str, Tensor],
    tensors: Iterable[tuple[TensorInfo, Sequence[Piece]]],
    dtypes: Mapping[str, torch.dtype],
) -> set[str]:
    """Put memory maps in place of the parameters that allow it; returns the names of these parameters.

    `tensors`: the tensors in the files, with their pieces. `dtypes`: PyTorch's dtypes by their names in safetensors files.
    Writing to such a parameter does not change the file. Where a map is impossible, the parameter is left as it is.
    """
    found: dict[str, list[_Range]] = {}
    for info, parts in tensors:
        for piece, ours, theirs, rows in segments(parts):
            row_bytes = info.num_bytes // max(info.shape[0], 1)
            begin = info.offset + theirs * row_bytes
            fits = not piece.transposed and dtypes.get(info.dtype) == parameters[piece.ours].dtype
            first = (piece.rows.start or 0 if piece.rows else 0) + ours
            found.setdefault(piece.ours, []).append(
                _Range(first, rows if fits else 0, info.file, begin, begin + rows * row_bytes)
            )
    maps: dict[Path, mmap.mmap] = {}
    mapped = set()
    for name, ranges in found.items():
        parameter = parameters[name]
        whole = _joined(sorted(ranges))
        if whole is None or whole.rows != parameter.shape[0] or parameter.nbytes < _FEWEST_BYTES:
            continue
        if whole.begin % parameter.dtype.itemsize or whole.end - whole.begin != parameter.nbytes:
            continue
        try:
            if whole.file not in maps:
                with whole.file.open("rb") as file:
                    maps[whole.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            buffer = maps[whole.file]
            numbers = torch.frombuffer(buffer, dtype=parameter.dtype, count=parameter.numel(), offset=whole.begin)
        except (OSError, ValueError):  # a file system without memory maps, or a file that has become shorter
            continue
        parameter.data = numbers.view(parameter.shape)
        mapped.add(name)
    return mapped


def _joined(ranges: Sequence[_Range]) -> _Range | None:
    """The ranges as one, if they follow one another in the parameter and in one file; None otherwise."""
    whole = ranges[0]
    if whole.row:
        return None
    for each in ranges[1:]:
        if (each.file, each.begin, each.row) != (whole.file, whole.end, whole.rows):
            return None
        whole = whole._replace(rows=whole.rows + each.rows, end=each.end)
    return whole
