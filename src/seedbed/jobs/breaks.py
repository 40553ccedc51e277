"""Places within long work between two steps: there a job tells how far it is, holds, and can be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

from seedbed.events import Data
from seedbed.runs.session import Session
from seedbed.train.hooks import Cut

TELL_S = 1.0


class Breaks:
    """Called between the batches of a validation, or the tokens of a sample.

    Tells of the work once a second, so that short work says nothing. Where somebody asked to pause, `pause` saves and
    holds. Raises Cut where somebody asked to stop: the work is left, and done again by the resume.
    """

    def __init__(self, session: Session, pause: Callable[[], object]) -> None:
        self._session = session
        self._pause = pause
        self._work: tuple[str, int] | None = None
        self._done = 0
        self._next_s = 0.0

    def __call__(self, stage: str, done: int, total: int, unit: str = "tokens") -> None:
        """`done` of `total` have been done of the work that `stage` names."""
        if self._session.pause_requested and self._session.stop_requested is None:
            self._pause()
        if self._session.stop_requested is not None:
            raise Cut(self._session.stop_requested)
        now = time.monotonic()
        if self._work != (stage, total) or done < self._done:
            self._work, self._next_s = (stage, total), now + TELL_S
        elif now >= self._next_s:
            self._next_s = now + TELL_S
            self._session.emit(Data(stage=stage, done=done, total=total, unit=unit))
        self._done = done
