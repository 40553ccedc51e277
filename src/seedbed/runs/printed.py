"""Adds times to the lines that a job prints to its log file, and reads them back.

A line gets a time only if the time differs from that of the line before, so that a traceback can be copied without
changes. Output of C libraries gets no times.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, cast

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d)  ")


class Stamped:
    """A text stream that writes to the stream it wraps, and begins lines with the time.

    The wrapped stream's other methods and attributes are available.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._stream, self._clock = stream, clock
        self._at_start, self._last = True, ""

    def write(self, text: str) -> int:
        """Write text, with the time at the beginning of lines, and return its length."""
        stamped = []
        for line in text.splitlines(keepends=True):
            if self._at_start:
                stamped.append(self._stamp())
            stamped.append(line)
            self._at_start = line.endswith("\n")
        self._stream.write("".join(stamped))
        return len(text)

    def _stamp(self) -> str:
        now = datetime.fromtimestamp(self._clock()).astimezone().isoformat(" ", "seconds")
        if now == self._last:
            return ""
        self._last = now
        return f"{now}  "

    def writelines(self, lines: list[str]) -> None:
        """Write several texts, with the time at the beginning of lines."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def stamp_output(log: Path) -> None:
    """Add times to the stdout and stderr of this process if they are written to the file `log`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        with suppress(OSError, ValueError, AttributeError):
            if os.path.samestat(os.fstat(stream.fileno()), log.stat()):
                setattr(sys, name, cast(TextIO, Stamped(stream)))


def without_stamp(line: bytes) -> tuple[float | None, bytes]:
    """Split a printed line into its time (unix seconds; None if it has none) and the rest."""
    found = _STAMP.match(line)
    if found is None:
        return None, line
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp(), line[found.end() :]
    except ValueError:
        return None, line


def last_stamp(text: bytes) -> float | None:
    """The last time at the beginning of a printed line, in unix seconds; None if there is none."""
    times = (without_stamp(line)[0] for line in reversed(text.split(b"\n")))
    return next((t for t in times if t is not None), None)


def last_printed(log: Path, lines: int = 20) -> str:
    """The last lines that a job printed, without their times; "" if the file is missing."""
    try:
        with log.open("rb") as handle:
            end = handle.seek(0, 2)
            handle.seek(max(0, end - 64_000))
            printed = handle.read().split(b"\n")
    except OSError:
        return ""
    text = b"\n".join(without_stamp(line)[1] for line in printed).decode("utf-8", "replace").splitlines()
    return "\n".join([line for line in text if line.strip()][-lines:])
