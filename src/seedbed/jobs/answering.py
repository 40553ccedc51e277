"""What child processes have in common that answer one request: it comes on stdin, the answer goes to stdout as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from seedbed.errors import EXIT_FAILURE, SeedbedError

R = TypeVar("R")


def answer_request(kind: type[R], answer: Callable[[R], None]) -> int:
    """Read a request of this kind and answer it; returns the exit status.

    A SeedbedError becomes the last line of the answer. If the reader is gone, the rest of the answer is left out.
    """
    try:
        answer(msgspec.json.decode(sys.stdin.buffer.read(), type=kind))
    except SeedbedError as error:
        write_line({"error": error.message, "hint": error.hint, "exit": error.exit_code})
        return error.exit_code
    except BrokenPipeError:
        return EXIT_FAILURE
    return 0


def write_line(line: dict[str, Any]) -> None:
    """Write a line of the answer."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
