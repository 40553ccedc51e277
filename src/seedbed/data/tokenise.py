"""Blocks of text to blocks of ids, here or in worker processes. Refuses to know sources and files.

Run as a program (`python -m seedbed.data.tokenise TOKENIZER_FOLDER DTYPE words|library`) it is such a worker:
length-prefixed MessagePack on stdin and stdout, one block each, until stdin closes.
"""

from __future__ import annotations

import itertools
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec
import numpy as np

from seedbed.data.waiting import Check, awaited, unheeding
from seedbed.errors import SeedbedError
from seedbed.tokenizer import patterns
from seedbed.tokenizer.bulk import BulkEncoder
from seedbed.tokenizer.tokenizer import Tokenizer

ALONE_BYTES = 16 << 20
"""Text that is tokenised in this process before others are started: they take as long to start as this takes."""
PYTHON: tuple[str, ...] = (sys.executable, "-P", "-m")
"""How a worker is started; -P keeps files of the working directory from standing in for modules."""
PART_CHARACTERS = 1 << 17
"""Text that is encoded at once, between two looks whether to stop."""
_LENGTH_BYTES = 8


class TextBlock(msgspec.Struct, array_like=True):
    """Pieces of text in order. `ends[i]`: piece i ends its document."""

    pieces: list[str]
    ends: list[bool]
    size_bytes: int
    """UTF-8 bytes of the pieces."""
    closes_shard: bool = False
    """The shard that this block is in is full with it."""


class IdBlock(msgspec.Struct, array_like=True):
    """The ids of a text block, end-of-text after each document."""

    ids: bytes
    ends: list[int]
    """Ids before and including each end-of-text, from the block's start."""
    unknown: int
    """Ids that stand for characters which the vocabulary lacks."""


class BlockEncoder:
    """Encodes blocks in this process. `check` is called before each part of a block (see PART_CHARACTERS)."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, check: Check = unheeding) -> None:
        self.bulk = BulkEncoder(tokenizer, dtype)
        self._check = check
        self._kind = tokenizer.kind
        self._width, self._end = dtype.itemsize, np.array([tokenizer.eot_id], dtype=dtype).tobytes()

    def encode(self, block: TextBlock) -> IdBlock:
        """The ids of a block."""
        found: list[bytes] = []
        ends: list[int] = []
        size_bytes = 0
        for parts in self._batches(block):
            self._check()
            for ids, (_, ends_document) in zip(self.bulk.encode([part for part, _ in parts]), parts, strict=True):
                found.append(ids)
                size_bytes += len(ids)
                if ends_document:
                    found.append(self._end)
                    size_bytes += self._width
                    ends.append(size_bytes // self._width)
        joined = b"".join(found)
        return IdBlock(joined, ends, self.bulk.count_unknown(joined))

    def is_slow(self, block: TextBlock) -> bool:
        """Whether a block has a part that takes long: much text without a space or line at which it may be cut."""
        return self._kind != "char" and any(
            len(part) > PART_CHARACTERS
            for piece in block.pieces
            if len(piece) > PART_CHARACTERS
            for part in self._parts(piece)
        )

    def _batches(self, block: TextBlock) -> Iterator[list[tuple[str, bool]]]:
        """The parts of a block, about PART_CHARACTERS at a time, and whether each ends a document."""
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
        """What is encoded at once. Only with a split that is known do parts have the ids of the whole."""
        if len(piece) <= PART_CHARACTERS or not self.bulk.remembers_words:
            return [piece]
        return list(patterns.parts(piece, PART_CHARACTERS))


class Tokeniser:
    """Encodes a stream of blocks: the first in this process, and in several processes once it proves long or slow.

    Use as a context manager.
    """

    def __init__(
        self, tokenizer: Tokenizer, folder: Path, dtype: np.dtype, workers: int, check: Check = unheeding
    ) -> None:
        """`folder`: where the tokenizer is saved, for the workers. One worker means this process, save for slow text.

        `check` is called several times a second; an exception from it ends the work at once.
        """
        self.here = BlockEncoder(tokenizer, dtype, check)
        self._check = check
        self._folder, self._dtype, self._workers = folder, dtype, workers
        self._done_bytes = 0
        self._pool: _Pool | None = None

    def encode(self, blocks: Iterable[TextBlock]) -> Iterator[tuple[TextBlock, IdBlock]]:
        """Each block with its ids, in order."""
        rest = iter(blocks)
        while self._workers == 1 or self._done_bytes < ALONE_BYTES:
            block = next(rest, None)
            if block is None:
                return
            if self.here.is_slow(block):
                rest = itertools.chain([block], rest)
                break
            self._done_bytes += block.size_bytes
            yield block, self.here.encode(block)
        yield from self._start().encode(rest)

    def _start(self) -> _Pool:
        if self._pool is None:
            way = "words" if self.here.bulk.remembers_words else "library"
            command = [*PYTHON, "seedbed.data.tokenise", str(self._folder), self._dtype.str, way]
            self._pool = _Pool(command, self._workers, self._check)
        return self._pool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close(kill=error is not None)


class _Pool:
    """Several processes that encode, each served by a thread."""

    def __init__(self, command: list[str], count: int, check: Check) -> None:
        self._check = check
        self._all = [_Worker(command) for _ in range(count)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="tokenise")

    def encode(self, blocks: Iterator[TextBlock]) -> Iterator[tuple[TextBlock, IdBlock]]:
        """Each block with its ids, in order; at most two blocks per worker are on their way."""
        under_way: deque[tuple[TextBlock, Future[IdBlock]]] = deque()
        for block in blocks:
            under_way.append((block, self._threads.submit(self._ask, block)))
            if len(under_way) > 2 * len(self._all):
                first, ids = under_way.popleft()
                yield first, awaited(ids, self._check)
        while under_way:
            first, ids = under_way.popleft()
            yield first, awaited(ids, self._check)

    def close(self, *, kill: bool) -> None:
        """End the processes, in the middle of their work if `kill`."""
        for worker in self._all:
            worker.close(kill=kill)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _ask(self, block: TextBlock) -> IdBlock:
        worker = self._idle.get()
        try:
            return worker.ask(block)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, asked one block at a time."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(IdBlock)

    def ask(self, block: TextBlock) -> IdBlock:
        """The ids of a block. Raises SeedbedError where the process is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, self._encoder.encode(block))
            answer = _receive(self._process.stdout)
        except (BrokenPipeError, ValueError):
            answer = None
        if answer is None:
            raise SeedbedError(
                f"A tokenising process ended unexpectedly (exit status {self._process.wait()}).",
                "It may have run out of memory: set data.workers lower and run again; finished shards are kept.",
            )
        return self._decoder.decode(answer)

    def close(self, *, kill: bool) -> None:
        """End the process: at once, or by closing its input."""
        if kill:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._process.wait()


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH_BYTES, "little"))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """The next message, or None where the other end is closed."""
    head = pipe.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "little")
    message = pipe.read(length)
    return message if len(message) == length else None


def main(folder: str, dtype: str, way: str) -> None:
    """Be a worker until stdin closes. Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    encoder = BlockEncoder(Tokenizer.load(Path(folder)), np.dtype(dtype))
    if way == "library":
        encoder.bulk.leave_to_library()
    to_bytes, to_block = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(TextBlock)
    while (message := _receive(sys.stdin.buffer)) is not None:
        _send(sys.stdout.buffer, to_bytes.encode(encoder.encode(to_block.decode(message))))


if __name__ == "__main__":
    main(*sys.argv[1:])
