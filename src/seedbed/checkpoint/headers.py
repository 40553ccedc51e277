"""Read the headers of a model folder's safetensors files: each tensor's name, dtype, shape and place. Reads no weights.

Needs no torch. Format: https://huggingface.co/docs/safetensors (header length, JSON header, data). A pickle is never opened.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.checkpoint.marker import RESTORE, WEIGHTS
from seedbed.errors import SeedbedError
from seedbed.files import explained, read_json
from seedbed.text import listed, quoted

INDEX = "model.safetensors.index.json"

ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes of a number, by the name of its dtype in safetensors."""

MOST_HEADER_BYTES = 100_000_000
"""The largest header, by the limit of the safetensors library."""
_MOST_INDEX_BYTES = 100_000_000
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "consolidated.00.pth")
_AGAIN = "The file is damaged or incomplete. Download or copy it again."


class TensorInfo(NamedTuple):
    """A tensor in a safetensors file. `dtype` is the format's name, such as BF16; `offset` counts from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    num_bytes: int


def tensor_headers(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor in the safetensors files of a model folder (one file, or shards with an index), by name.

    Raises SeedbedError if there are no weights or only a pickle, if a shard is missing, truncated or damaged, and if index
    and shards contradict each other.
    """
    files, shards = _files(folder)
    found: dict[str, TensorInfo] = {}
    for file in files:
        for name, info in read_header(file).items():
            if name in found:
                raise SeedbedError(
                    f"The tensor {quoted(name)} is in two shards, {quoted(found[name].file.name)} and {quoted(file.name)}.",
                    "Shards of two models are mixed up. Download the folder again.",
                )
            found[name] = info
    for name, shard in shards.items():
        if name not in found or found[name].file.name != shard:
            raise SeedbedError(
                f"{INDEX} says that the tensor {quoted(name)} is in {quoted(shard)}, but it is not there.",
                "The index does not belong to these shards. Download the folder again.",
            )
    return found


def weight_files(folder: Path) -> list[Path]:
    """The paths of a model folder's safetensors files: one file, or all that its index file lists.

    Raises SeedbedError if a file is missing.
    """
    return _files(folder)[0]


def shard_names(folder: Path) -> list[str]:
    """The names of the files that a model folder's index of weights lists, each once, in the order of the index.

    The files may be missing. Raises SeedbedError for an index that is missing, cannot be read, lists no tensors, or lists
    what is no name of a file in the folder.
    """
    return list(dict.fromkeys(_shards_of_tensors(folder).values()))


def _files(folder: Path) -> tuple[list[Path], Mapping[str, str]]:
    """The safetensors files of a folder, and the shard of each tensor by the index; empty for a single file."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS], {}
    if not (folder / INDEX).is_file():
        _refuse_other_formats(folder)
        raise SeedbedError(f"There is no {WEIGHTS}.", f"A model folder contains {WEIGHTS} or {INDEX}.")
    shards = _shards_of_tensors(folder)
    names = list(dict.fromkeys(shards.values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise SeedbedError(
            f"Shards of the weights are missing: {listed(missing)}.",
            f"Download these files again ({INDEX} lists all shards).",
        )
    return [folder / name for name in names], shards


def _shards_of_tensors(folder: Path) -> dict[str, str]:
    """Tensor name -> the name of its shard, by the index in a folder; raises as `shard_names` does."""
    path = folder / INDEX
    with explained(path):
        size = path.stat().st_size
    if size > _MOST_INDEX_BYTES:
        raise SeedbedError(f"{quoted(INDEX)} cannot be read: it is too large for an index.", _AGAIN)
    index: Any = read_json(path, RESTORE)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise SeedbedError(f"{quoted(INDEX)} cannot be read: it lists no tensors.", _AGAIN)
    wrong = [str(name) for name in shards.values() if not _is_file_name(name)]
    if wrong:
        raise SeedbedError(
            f"{INDEX} lists {quoted(wrong[0])}, which is no name of a file in the folder.",
            "The index is damaged. Download the folder again.",
        )
    return shards


def _is_file_name(name: object) -> bool:
    """Whether a value of an index is the name of a file, without a folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def _refuse_other_formats(folder: Path) -> None:
    """Raise SeedbedError if a folder without safetensors has weights in a format that Seedbed does not read."""
    pickles = [name for name in _PICKLES if (folder / name).is_file()]
    if pickles:
        raise SeedbedError(
            f"The weights are a pickle ({pickles[0]}), which can run arbitrary code when it is loaded.",
            "Use a copy in safetensors format (with transformers: model.save_pretrained(folder)).",
        )
    gguf = sorted(path.name for path in folder.glob("*.gguf")) if folder.is_dir() else []
    if gguf:
        raise SeedbedError(
            f"The weights are in GGUF format ({quoted(gguf[0])}), which Seedbed does not read.",
            "Use a copy in safetensors format.",
        )


def read_header(file: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file by name, in the order of their data.

    Raises SeedbedError for a file that cannot be read, is truncated or longer than its header says, and for tensors
    that overlap, leave a gap, or do not have the size of their shape.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            length: int | None = struct.unpack("<Q", handle.read(8))[0] if size >= 8 else None
            if length is None or length > min(size - 8, MOST_HEADER_BYTES):
                raise _unreadable(file, f"it has no complete header in its {size:,} bytes")
            header = handle.read(length)
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    try:
        entries = json.loads(header, object_pairs_hook=_distinct)
        entries.pop("__metadata__", None)
        found = {name: _info(file, 8 + length, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(file, f"its header is damaged ({error})") from error
    found = dict(sorted(found.items(), key=lambda item: (item[1].offset, item[1].num_bytes)))
    at = 8 + length
    for name, info in found.items():
        if info.offset != at:
            what = "overlaps another tensor" if info.offset < at else "begins after a gap"
            raise _unreadable(file, f"the tensor {quoted(name)} {what}")
        at += info.num_bytes
    if at != size:
        what = "it is truncated" if at > size else "it goes on after its last tensor"
        raise _unreadable(file, f"{what}: {size:,} bytes, {at:,} by its header")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict. Raises ValueError for a name that occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _info(file: Path, data: int, entry: Any) -> TensorInfo:
    """A tensor from its entry in the header; the data of the file begins at byte `data`. Raises ValueError and KeyError."""
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, begin, end]
    if not isinstance(dtype, str) or any(type(number) is not int or number < 0 for number in numbers) or end < begin:
        raise ValueError("a dtype, shape or place makes no sense")
    if dtype in ITEM_BYTES and prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise ValueError(f"a tensor of shape {shape} and type {dtype} has {end - begin} bytes")
    return TensorInfo(dtype, tuple(shape), file, data + begin, end - begin)


def _unreadable(file: Path, reason: str) -> SeedbedError:
    return SeedbedError(f"{quoted(file.name)} cannot be read: {reason}.", _AGAIN)
