"""The process that renders many chats with one template, in a sandbox and under limits.

`python -P -m seedbed.curation.rendering.template_worker SECONDS` reads frames from stdin: a Setup, then lists of chats; each
list may be followed by a new Setup. It writes one frame with an Answer for each chat. It limits its memory, and the processor
time of each chat (SECONDS), because a template may loop or grow without end. A frame is its size (4 bytes) and MessagePack.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import BinaryIO

import msgspec

from seedbed.curation.rendering.protocol import Answer, Chat, Setup
from seedbed.curation.rendering.turns import ChatRenderer
from seedbed.tokenizer.render_request import MEMORY_LIMIT_BYTES
from seedbed.tokenizer.template_rendering import problem_of

SIZE_BYTES = 4


def read_frame(stream: BinaryIO) -> bytes | None:
    """The content of the next frame; None at the end, or if the frame is not whole."""
    size = stream.read(SIZE_BYTES)
    if len(size) < SIZE_BYTES:
        return None
    length = int.from_bytes(size, "big")
    content = stream.read(length)
    return content if len(content) == length else None


def write_frame(stream: BinaryIO, value: object) -> None:
    """Write a value as a frame."""
    content = msgspec.msgpack.encode(value)
    stream.write(len(content).to_bytes(SIZE_BYTES, "big") + content)
    stream.flush()


def _limit_memory() -> None:
    with contextlib.suppress(ValueError, OSError):  # some systems do not know the limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def _limit_time(cpu_s: int) -> None:
    """Let this process use `cpu_s` more seconds of processor time; then the system ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main(cpu_s: int) -> int:
    """Answer the frames on stdin until they end."""
    _limit_memory()
    frames, answers = sys.stdin.buffer, sys.stdout.buffer
    setups = msgspec.msgpack.Decoder(Setup | list[Chat])
    renderer: ChatRenderer | None = None
    failed = Answer(problem="failed", message="no template was given")
    while (frame := read_frame(frames)) is not None:
        asked = setups.decode(frame)
        _limit_time(cpu_s)
        if isinstance(asked, Setup):
            try:
                renderer = ChatRenderer(asked)
            except Exception as error:  # Jinja and the sandbox raise many kinds
                found = problem_of(error)
                renderer, failed = None, Answer(problem=found.problem, message=found.message)
            continue
        for chat in asked:
            _limit_time(cpu_s)
            write_frame(answers, failed if renderer is None else renderer.answer(chat))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
