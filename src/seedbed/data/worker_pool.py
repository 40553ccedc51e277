"""Worker processes that encode blocks: each reads and writes one length-prefixed MessagePack message at a time.

A process reads a block on stdin and writes its answer on stdout, until stdin closes.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Generic, TypeVar

import msgspec

from seedbed.data.interruption import Check, wait_for
from seedbed.errors import SeedbedError

SINGLE_PROCESS_BYTES = 16 << 20
"""So many bytes are encoded in this process before workers are started, which takes as long as starting them."""
PYTHON: tuple[str, ...] = (sys.executable, "-P", "-m")
"""The command that starts a worker. -P keeps the working directory off the module path."""
_LENGTH_BYTES = 8

Block = TypeVar("Block", bound=msgspec.Struct)
Answer = TypeVar("Answer", bound=msgspec.Struct)


class WorkerPool(Generic[Block, Answer]):
    """Several worker processes, each with a thread that sends it blocks."""

    def __init__(self, command: list[str], answer: type[Answer], count: int, check: Check) -> None:
        """`command` starts a process, whose answers are of the type `answer`."""
        self._check = check
        self._all: list[Worker[Block, Answer]] = [Worker(command, answer) for _ in range(count)]
        self._idle: queue.SimpleQueue[Worker[Block, Answer]] = queue.SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="tokenise")

    def encode(self, blocks: Iterator[Block]) -> Iterator[tuple[Block, Answer]]:
        """Yield each block with its answer, in order. At most two blocks per worker are being encoded or waiting."""
        pending: deque[tuple[Block, Future[Answer]]] = deque()
        for block in blocks:
            pending.append((block, self._threads.submit(self._encode, block)))
            if len(pending) > 2 * len(self._all):
                first, ids = pending.popleft()
                yield first, wait_for(ids, self._check)
        while pending:
            first, ids = pending.popleft()
            yield first, wait_for(ids, self._check)

    def close(self, *, kill: bool) -> None:
        """Stop all worker processes: at once with `kill`, else after their current block."""
        for worker in self._all:
            worker.close(kill=kill)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _encode(self, block: Block) -> Answer:
        worker = self._idle.get()
        try:
            return worker.encode(block)
        finally:
            self._idle.put(worker)


class Worker(Generic[Block, Answer]):
    """One worker process, which encodes one block at a time."""

    def __init__(self, command: list[str], answer: type[Answer]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(answer)

    def encode(self, block: Block) -> Answer:
        """Send a block to the process and return its answer. Raises SeedbedError if the process has exited."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            send(self._process.stdin, self._encoder.encode(block))
            answer = receive(self._process.stdout)
        except (BrokenPipeError, ValueError):
            answer = None
        if answer is None:
            raise SeedbedError(
                f"A process that tokenises exited unexpectedly (exit status {self._process.wait()}).",
                "It may have run out of memory. Set a smaller data.workers and run again; finished shards are kept.",
            )
        return self._decoder.decode(answer)

    def close(self, *, kill: bool) -> None:
        """Stop the process: kill it, or close its stdin and wait until it exits."""
        if kill:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._process.wait()


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write a message with its length to a pipe."""
    pipe.write(len(message).to_bytes(_LENGTH_BYTES, "little"))
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """The next length-prefixed message from a pipe; None if the pipe is closed."""
    head = pipe.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "little")
    message = pipe.read(length)
    return message if len(message) == length else None


def serve(block: type[Block], encode: Callable[[Block], Answer]) -> None:
    """Run a worker process until stdin closes: answer each block. It ignores Ctrl-C, which the parent process handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    to_bytes, to_block = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(block)
    while (message := receive(sys.stdin.buffer)) is not None:
        send(sys.stdout.buffer, to_bytes.encode(encode(to_block.decode(message))))
