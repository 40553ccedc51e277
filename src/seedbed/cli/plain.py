"""A run as plain lines, now and then, for pipes and files. Knows no cursor."""

from __future__ import annotations

import time
from typing import TextIO

from seedbed import events, text
from seedbed.cli.console import paint, say
from seedbed.events import Record
from seedbed.presentation import wording
from seedbed.runs.series import Series
from seedbed.runs.store import RunDir
from seedbed.runs.view import View

SHORTEST_S, LONGEST_S = 5.0, 60.0
"""Seconds between two lines of progress: a twelfth of the time watched so far, within these bounds."""


class PlainDisplay:
    """Lines as things happen; progress at most every few seconds."""

    def __init__(self, run: RunDir, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._next_progress = 0.0
        self._shown_step = -1
        self._say(f"run {run.id}")

    def record(self, record: Record, view: View) -> None:
        """A line for what deserves one."""
        event = record.event
        if isinstance(event, events.Run) and event.status == "running" and event.steps is not None:
            for line in wording.setting(event):
                self._say(line)
        elif isinstance(event, events.Phase) and not event.done and event.name in ("prepare", "compile"):
            self._say(f"{text.stage(event.name)} ...")
        elif isinstance(event, events.Data):
            if (event.total is not None and event.done >= event.total) or self._due():
                self._say("  " + wording.data(event))
        elif event is not None:
            shown = wording.line(event)
            if shown is not None:
                self._say(paint(*shown, self._stream))

    def tick(self, view: View, series: Series) -> None:
        """Progress, if the last was a while ago."""
        if view.session_steps and view.step != self._shown_step and self._due():
            self._shown_step = view.step
            self._say(wording.progress(view))

    def remark(self, line: str) -> None:
        """A word of ours."""
        self._say(line)

    def close(self) -> None:
        """Nothing to put back."""

    def _due(self) -> bool:
        now = time.monotonic()
        if now < self._next_progress:
            return False
        self._next_progress = now + min(max((now - self._began) / 12, SHORTEST_S), LONGEST_S)
        return True

    def _say(self, line: str) -> None:
        say(line, self._stream)
        self._stream.flush()
