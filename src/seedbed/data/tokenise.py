"""Tokenise text: turn blocks (groups of pieces of documents) into token ids, in this process or in worker processes.

`python -m seedbed.data.tokenise TOKENIZER_FOLDER DTYPE words|library` runs a worker: it reads and writes one block at a
time as length-prefixed MessagePack on stdin and stdout, until stdin closes.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from seedbed.data.interruption import Check, never_stop
from seedbed.data.worker_pool import PYTHON, SINGLE_PROCESS_BYTES, WorkerPool, serve
from seedbed.tokenizer import patterns
from seedbed.tokenizer.bulk_encoder import BulkEncoder
from seedbed.tokenizer.tokenizer import Tokenizer

PART_CHARACTERS = 1 << 17
"""Number of characters that are encoded between two calls of `check`."""


class TextBlock(msgspec.Struct, array_like=True):
    """Pieces of documents to tokenise, in order. `ends[i]`: whether piece i is the last piece of its document."""

    pieces: list[str]
    ends: list[bool]
    size_bytes: int
    """UTF-8 bytes of all pieces together."""
    closes_shard: bool = False
    """Whether this block is the last of its shard (a file of token ids)."""
    continues: bool = False
    """Whether the first piece continues a document that an earlier block began."""


class IdBlock(msgspec.Struct, array_like=True):
    """The token ids of a TextBlock: before each document the tokenizer's own prefix, if any; after it an end-of-text id."""

    ids: bytes
    ends: list[int]
    """For each document, the position after its end-of-text id, counted in ids from the block's start."""
    unknown: int
    """Number of ids for characters that the vocabulary lacks."""


class BlockEncoder:
    """Encodes blocks to token ids in this process. `check` is called every PART_CHARACTERS characters."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, check: Check = never_stop) -> None:
        self.bulk = BulkEncoder(tokenizer, dtype)
        self._check = check
        self._kind = tokenizer.kind
        self._width, self._end = dtype.itemsize, np.array([tokenizer.eot_id], dtype=dtype).tobytes()
        self._begin = np.array(tokenizer.prefix_ids, dtype=dtype).tobytes()

    def encode(self, block: TextBlock) -> IdBlock:
        """The token ids of all pieces of a block. An exception from `check` ends the encoding."""
        encoded: list[bytes] = []
        ends: list[int] = []
        size_bytes = 0
        begins_document = not block.continues
        for parts in self._batches(block):
            self._check()
            for ids, (_, ends_document) in zip(self.bulk.encode([part for part, _ in parts]), parts, strict=True):
                if begins_document and self._begin:
                    encoded.append(self._begin)
                    size_bytes += len(self._begin)
                begins_document = ends_document
                encoded.append(ids)
                size_bytes += len(ids)
                if ends_document:
                    encoded.append(self._end)
                    size_bytes += self._width
                    ends.append(size_bytes // self._width)
        joined = b"".join(encoded)
        return IdBlock(joined, ends, self.bulk.count_unknown(joined))

    def is_slow(self, block: TextBlock) -> bool:
        """Whether a block has a long part that cannot be cut at a space or line break, which is slow to encode."""
        return self._kind != "char" and any(
            len(part) > PART_CHARACTERS
            for piece in block.pieces
            if len(piece) > PART_CHARACTERS
            for part in self._parts(piece)
        )

    def _batches(self, block: TextBlock) -> Iterator[list[tuple[str, bool]]]:
        """Yield batches of parts of the block's pieces, about PART_CHARACTERS each: (part, whether it ends a document)."""
        batch: list[tuple[str, bool]] = []
        characters = 0
        for piece, ends_document in zip(block.pieces, block.ends, strict=True):
            parts = self._parts(piece)
            for number, part in enumerate(parts, 1):
                batch.append((part, ends_document and number == len(parts)))
                characters += len(part)
                if characters >= PART_CHARACTERS:
                    yield batch
                    batch, characters = [], 0
        if batch:
            yield batch

    def _parts(self, piece: str) -> list[str]:
        """The parts into which a piece is cut, each encoded separately; joined, their ids are those of the piece.

        A piece is cut only if it is known how the tokenizer splits text into words (`patterns.recognise`).
        """
        if len(piece) <= PART_CHARACTERS or not self.bulk.caches_words:
            return [piece]
        return list(patterns.parts(piece, PART_CHARACTERS))


class Tokeniser:
    """Encodes a stream of blocks to token ids: first in this process, then in workers if the stream is long or slow.

    Use as a context manager.
    """

    def __init__(
        self, tokenizer: Tokenizer, folder: Path, dtype: np.dtype, workers: int, check: Check = never_stop
    ) -> None:
        """`folder`: the saved tokenizer, which the workers load. `workers` 1: this process encodes all but slow text.

        `check` is called several times a second; an exception from it stops the work immediately.
        """
        self.local = BlockEncoder(tokenizer, dtype, check)
        self._check = check
        self._folder, self._dtype, self._workers = folder, dtype, workers
        self._done_bytes = 0
        self._pool: WorkerPool[TextBlock, IdBlock] | None = None

    def encode(self, blocks: Iterable[TextBlock]) -> Iterator[tuple[TextBlock, IdBlock]]:
        """Yield each block with its token ids, in order."""
        rest = iter(blocks)
        while self._workers == 1 or self._done_bytes < SINGLE_PROCESS_BYTES:
            block = next(rest, None)
            if block is None:
                return
            if self.local.is_slow(block):
                rest = itertools.chain([block], rest)
                break
            self._done_bytes += block.size_bytes
            yield block, self.local.encode(block)
        yield from self._start().encode(rest)

    def _start(self) -> WorkerPool[TextBlock, IdBlock]:
        if self._pool is None:
            method = "words" if self.local.bulk.caches_words else "library"
            command = [*PYTHON, "seedbed.data.tokenise", str(self._folder), self._dtype.str, method]
            self._pool = WorkerPool(command, IdBlock, self._workers, self._check)
        return self._pool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close(kill=error is not None)


def main(folder: str, dtype: str, method: str) -> None:
    """Run a worker process until stdin closes."""
    encoder = BlockEncoder(Tokenizer.of_model(Path(folder)), np.dtype(dtype))
    if method == "library":
        encoder.bulk.use_library()
    serve(TextBlock, encoder.encode)


if __name__ == "__main__":
    main(*sys.argv[1:])
