"""A run as plain lines, now and then, for pipes and files. Knows no cursor."""

from __future__ import annotations

from typing import TextIO

from seedbed.cli.console import paint, say
from seedbed.events import Record
from seedbed.presentation.log import Narrator
from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir
from seedbed.runs.view import View


class PlainDisplay:
    """Lines as things happen; progress at most every few seconds."""

    def __init__(self, run: RunDir, stream: TextIO) -> None:
        self._stream = stream
        self._narrator = Narrator()
        self._say(f"run {run.id}")

    def record(self, record: Record, view: View) -> None:
        """The lines that an event deserves."""
        for line, style in self._narrator.tell(record, view):
            self._say(paint(line, style, self._stream))

    def tick(self, view: View, series: Series) -> None:
        """Nothing happened, so there is nothing to say."""

    def remark(self, line: str) -> None:
        """A word of ours."""
        self._say(line)

    def close(self) -> None:
        """Nothing to put back."""

    def _say(self, line: str) -> None:
        say(line, self._stream)
        self._stream.flush()
