"""Identifies the weights of a model folder by a hash that is cheap for large files. Reads no tensors, so it needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seedbed.checkpoint.headers import MOST_HEADER_BYTES, weight_files
from seedbed.errors import SeedbedError
from seedbed.files import explained
from seedbed.text import quoted

_WHOLE_BYTES = 64 << 20
"""Files up to this size are hashed whole."""
_BLOCKS, _BLOCK_BYTES = 256, 16 << 10
"""Of a larger file, so many blocks of so many bytes are hashed: the first, the last, and others evenly spread."""
_LENGTH_BYTES = 8


def weights_fingerprint(folder: Path) -> str:
    """A hash (SHA-256, hex) of the weights of a model folder: equal for copies of the same files.

    For each safetensors file it covers the size, the header (names, shapes and types of all tensors), and the data: all of
    it up to 64 MiB per file, else 256 blocks of 16 KiB, evenly spread. Training changes nearly every weight, so it changes
    these blocks; a few edited bytes in a large file may go unnoticed. Other files, such as config.json, are not covered.

    Raises SeedbedError if the folder has no weights, or if they are pickled or cannot be read.
    """
    import hashlib  # takes a few milliseconds, which `seedbed status` need not wait for

    digest = hashlib.sha256()
    for file in weight_files(folder):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        _add(digest, file)
    return digest.hexdigest()


def _add(digest: Any, file: Path) -> None:
    """Add the header and the data of a safetensors file to a hash."""
    size = file.stat().st_size
    with explained(file), file.open("rb") as handle:
        if size <= _WHOLE_BYTES:
            digest.update(handle.read())
            return
        length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
        if length > min(size, MOST_HEADER_BYTES):
            raise SeedbedError(
                f"{quoted(file)} is not a safetensors file, or it is damaged: its header would have {length:,} bytes.",
                "Download or copy it again.",
            )
        digest.update(handle.read(length))
        first, last = _LENGTH_BYTES + length, max(size - _BLOCK_BYTES, 0)
        for block in range(_BLOCKS):
            handle.seek(first + (last - first) * block // (_BLOCKS - 1))
            digest.update(handle.read(_BLOCK_BYTES))
