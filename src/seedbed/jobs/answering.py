"""What child processes have in common that answer one request: it comes on stdin, the answer goes to stdout as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from seedbed.errors import EXIT_FAILURE, SeedbedError

R = TypeVar("R")
Line = dict[str, Any]


def answer_request(kind: type[R], answer: Callable[[R], Iterable[Line] | None]) -> int:
    """Read a request of this kind and write the lines of its answer; returns the exit status.

    `answer` gives the lines, or writes them itself with `write_line`. A SeedbedError, or an invalid request, becomes the
    last line. If the reader is gone, the rest of the answer is left out.
    """
    try:
        for line in answer(msgspec.json.decode(sys.stdin.buffer.read(), type=kind)) or ():
            write_line(line)
    except SeedbedError as error:
        write_line({"error": error.message, "hint": error.hint, "exit": error.exit_code})
        return error.exit_code
    except msgspec.DecodeError as error:
        write_line({"error": f"The request is invalid: {error}.", "hint": "", "exit": EXIT_FAILURE})
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stdout = None  # avoids a second error when Python flushes stdout at exit
        return EXIT_FAILURE
    return 0


def write_line(line: Line) -> None:
    """Write a line of the answer."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
