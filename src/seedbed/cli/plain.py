"""Shows a run as plain lines, for pipes and files."""

from __future__ import annotations

from typing import TextIO

from seedbed.cli.console import paint, say
from seedbed.events import Record
from seedbed.presentation.log import Narrator
from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir
from seedbed.runs.view import View


class PlainDisplay:
    """Shows a run as lines, one for each event; progress gets a line at most every few seconds."""

    def __init__(self, run: RunDir, stream: TextIO) -> None:
        self._stream = stream
        self._narrator = Narrator()
        self._say(f"run {run.id}")

    def record(self, record: Record, view: View) -> None:
        """Print the lines of an event, if it has any."""
        for line, style in self._narrator.tell(record, view):
            self._say(paint(line, style, self._stream))

    def tick(self, view: View, series: Series) -> None:
        """Do nothing: printed lines are not redrawn."""

    def show_message(self, line: str) -> None:
        """Print a message of the command."""
        self._say(line)

    def close(self) -> None:
        """Do nothing: the terminal was not changed."""

    def _say(self, line: str) -> None:
        say(line, self._stream)
        self._stream.flush()
