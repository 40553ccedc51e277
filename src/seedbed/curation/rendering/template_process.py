"""Render many chats in a process of their own, which is replaced if a chat ends it."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO

import msgspec

from seedbed.curation.rendering.protocol import Answer, Chat, Setup
from seedbed.curation.rendering.template_worker import SIZE_BYTES, read_frame
from seedbed.tokenizer.render_request import CPU_LIMIT_S

WAIT_LIMIT_S = 120.0
"""How long to wait for one chat in all; on a busy machine, CPU_LIMIT_S of processor time can take so long."""
_COMMAND = (sys.executable, "-P", "-m", "seedbed.curation.rendering.template_worker", str(CPU_LIMIT_S))


class TemplateProcess:
    """Renders chats with one template in another process. `send` does not wait; answers come in the order of the chats."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._waiting: deque[Chat] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._decoder = msgspec.msgpack.Decoder(Answer)

    def set_up(self, setup: Setup) -> None:
        """Use another template, or more knowledge about it, for the chats that are sent from now on."""
        self._setup = setup
        if self._process is not None:
            self._put(setup)

    def send(self, chats: Sequence[Chat]) -> None:
        """Ask for these chats. Call `next_answer` once for each."""
        if not chats:
            return
        if self._process is None:
            self._start()
        self._waiting.extend(chats)
        self._put(list(chats))

    def next_answer(self) -> Answer:
        """The answer to the chat that waits longest. One that ends the process gives an answer with `problem`."""
        try:
            frame = self._answers.get(timeout=WAIT_LIMIT_S)
        except queue.Empty:
            frame = None
            if self._process is not None:
                self._process.kill()
        self._waiting.popleft()
        if frame is not None:
            return self._decoder.decode(frame)
        answer = self._ended()
        rest = list(self._waiting)
        self._waiting.clear()
        self.send(rest)
        return answer

    def ask(self, chats: Sequence[Chat]) -> list[Answer]:
        """The answers to these chats. No other chat may wait."""
        self.send(chats)
        return [self.next_answer() for _ in chats]

    def forget(self) -> None:
        """Do not wait for answers any more."""
        if self._waiting:
            self.close()

    def close(self) -> None:
        """End the process. It starts again if it is asked again."""
        process, self._process = self._process, None
        self._waiting.clear()
        if process is None:
            return
        self._frames.put(None)
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._frames, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
        # Threads write and read, so that neither this process nor the other waits for the other one to read.
        for target, *values in (
            (_write, self._process.stdin, self._frames),
            (_read, self._process.stdout, self._answers),
        ):
            threading.Thread(target=target, args=values, daemon=True).start()
        self._put(self._setup)

    def _put(self, value: object) -> None:
        self._frames.put(msgspec.msgpack.encode(value))

    def _ended(self) -> Answer:
        """Why the process ended, as the answer to the chat that it was at."""
        process, self._process = self._process, None
        assert process is not None
        self._frames.put(None)
        try:
            code = process.wait(WAIT_LIMIT_S)  # on a busy machine, the end of a process with much memory takes a while
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return Answer(problem="time")
        if -code in (signal.SIGXCPU, signal.SIGKILL):
            return Answer(problem="time")
        return Answer(problem="memory" if code else "failed", message=f"exit status {code}")


def _write(stream: IO[bytes], frames: queue.SimpleQueue[bytes | None]) -> None:
    """Write the frames of a queue to a stream, until it has None, and close the stream."""
    with contextlib.suppress(OSError), stream:  # the process may have ended; `next_answer` finds out
        while (content := frames.get()) is not None:
            stream.write(len(content).to_bytes(SIZE_BYTES, "big") + content)
            stream.flush()


def _read(stream: IO[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
    """Put each frame of a stream into a queue, and None at the end."""
    with stream:
        while (frame := read_frame(stream)) is not None:  # type: ignore[arg-type]
            answers.put(frame)
    answers.put(None)
