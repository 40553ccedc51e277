"""`seedbed logs`: print the events of a run and the output of its job."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.cli.parser import run_option, runs_option

if TYPE_CHECKING:
    from seedbed.presentation.log import LogLine
    from seedbed.runs.store import RunDir

DESCRIPTION = """\
Print the end of a run's log: its events (progress, validations, checkpoints, warnings, how it ended), then the output
of its job and the libraries (warnings, tracebacks), each line with its time. With -f, print new lines until the run has
ended; Ctrl-C stops the printing, never the run. --printed prints only the output; in a pipe, byte for byte.
Without RUN, print the log of the newest run.
"""
EXAMPLES = """\
  seedbed logs                     the newest run
  seedbed logs quickstart -f       print new lines until the run has ended
  seedbed logs quickstart -n all | grep validation
  seedbed logs quickstart --printed -n all > job.log
"""
SYNONYMS = {
    "--tail": "--lines",
}
"""Option of another program -> the equivalent in Seedbed."""

_LINES = 50
_BLOCK = 64 << 10
_POLL_S = 0.2


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `logs` to the parser."""
    run_option(parser, "which run (default: the newest)")
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines until the run has ended")
    parser.add_argument(
        "-n",
        "--lines",
        metavar="N",
        type=_lines,
        default=_LINES,
        help="print the last N lines of events and of output, or `all` (50)",
    )
    parser.add_argument("--printed", action="store_true", help="print only the raw output of the job and its libraries")
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the last lines of the log; with --follow, print new lines until the run ends."""
    from seedbed.cli.store_option import store
    from seedbed.errors import SeedbedError
    from seedbed.presentation.log import has_any

    found = store(arguments.runs).find(arguments.ref)
    has_log = found.log.exists() if arguments.printed else has_any(found)
    if not has_log and not (arguments.follow and _lives(found)):
        raise SeedbedError(
            f"{found.id} has no log: the file {found.log} does not exist.",
            f"`seedbed status {found.id}` shows the run's status.",
        )
    return (_copy_printed if arguments.printed else _print_log)(found, arguments.lines, arguments.follow)


def _print_log(found: RunDir, lines: int | None, follow: bool) -> int:
    """Print the log of a run, both events and output of the job; with `follow`, until the run ends.

    Returns the exit status.
    """
    from seedbed.presentation.log import RunLog

    log = RunLog(found, lines)
    while True:
        continues = follow and _lives(found)
        for line in log.new(ended=not continues):
            _say(line)
        sys.stdout.flush()
        if not continues:
            return 0
        time.sleep(_POLL_S)


def _say(line: LogLine) -> None:
    """Print a line of the log with its time.

    Output of the job is unchanged in a pipe, and without control characters on a terminal.
    """
    from seedbed.cli.console import paint, say
    from seedbed.presentation.log import when

    stamp = when(line)
    if line.raw and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(stamp.encode() + line.raw)
    else:
        say(paint(stamp, "dim") + paint(line.text, line.style))


def _copy_printed(found: RunDir, lines: int | None, follow: bool) -> int:
    """Print only the output of the job; with `follow`, until the run ends. Returns the exit status."""
    from seedbed.presentation.log import tail_start

    show = _Screen() if sys.stdout.isatty() else _Pipe()
    offset = tail_start(found.log, lines)
    while True:
        continues = follow and _lives(found)
        offset = _copy(found.log, offset, show)
        if not continues:
            show.end()
            if offset == 0 and sys.stderr.isatty():
                sys.stderr.write("The job has printed nothing.\n")
            return 0
        time.sleep(_POLL_S)


class _Pipe:
    """Writes the output of a job to a pipe or file, as unchanged bytes."""

    def add(self, block: bytes) -> None:
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()

    def end(self) -> None:
        """Do nothing: no bytes wait to be written."""


class _Screen:
    """Prints the output of a job on a terminal, in complete lines without control characters.

    Of a line that was overwritten with carriage returns, only the last version is printed.
    """

    def __init__(self) -> None:
        self._rest = b""

    def add(self, block: bytes) -> None:
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._say(line)
        if len(self._rest) > _BLOCK:
            self.end()

    def end(self) -> None:
        """Print the last line of the output, which has no newline."""
        if self._rest:
            self._say(self._rest)
        self._rest = b""

    def _say(self, line: bytes) -> None:
        from seedbed.cli.console import say
        from seedbed.text import printable

        say(printable(line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")))
        sys.stdout.flush()


def _lines(value: str) -> int | None:
    """An argument type: a number of lines from 0, None for all."""
    if value == "all":
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 16):
        raise argparse.ArgumentTypeError(f"{value!r} is neither a number of lines nor `all`")
    return int(value)


def _lives(found: RunDir) -> bool:
    """Whether more lines may be written: a process owns the run, or the run waits in the queue."""
    from seedbed.locks import is_locked
    from seedbed.runs.status import current_status
    from seedbed.runs.statuses import LIVE

    return is_locked(found.lock) or current_status(found).status in LIVE


def _copy(log: Path, offset: int, show: _Pipe | _Screen) -> int:
    """Print a file from the byte `offset` on, and return the offset of its end.

    A file that was replaced by a shorter one is printed from its start.
    """
    from seedbed.files import explained

    while log.exists():
        with explained(log), log.open("rb") as handle:
            offset = offset if offset <= handle.seek(0, 2) else 0
            handle.seek(offset)
            block = handle.read(_BLOCK)
        if not block:
            return offset
        offset += len(block)
        show.add(block)  # outside of `explained`: errors of stdout are not errors of the log
    return 0
