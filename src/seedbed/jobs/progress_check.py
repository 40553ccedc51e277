"""Reports progress and handles pause and stop requests during a validation or a sample, which can take long."""

from __future__ import annotations

import time
from collections.abc import Callable

from seedbed.events import Data
from seedbed.runs.session import Session
from seedbed.train.hooks import Interrupted

REPORT_EVERY_S = 1.0


class ProgressCheck:
    """Reports progress and handles requests: to be called between the batches of a validation or the tokens of a sample.

    It emits a `data` event once a second, and none for work of less than a second. On a pause request it calls `pause`,
    which saves and waits. On a stop request it raises Interrupted: the validation or sample is abandoned, and a resume
    repeats it.
    """

    def __init__(self, session: Session, pause: Callable[[], object]) -> None:
        self._session = session
        self._pause = pause
        self._work: tuple[str, int] | None = None
        self._done = 0
        self._next_s = 0.0

    def __call__(self, stage: str, done: int, total: int, unit: str = "tokens") -> None:
        """Report that `done` of `total` units of the work `stage` (such as `evaluate`) are done; handle requests."""
        if self._session.pause_requested and self._session.stop_requested is None:
            self._pause()
        if self._session.stop_requested is not None:
            raise Interrupted(self._session.stop_requested)
        now = time.monotonic()
        if self._work != (stage, total) or done < self._done:
            self._work, self._next_s = (stage, total), now + REPORT_EVERY_S
        elif now >= self._next_s:
            self._next_s = now + REPORT_EVERY_S
            self._session.emit(Data(stage=stage, done=done, total=total, unit=unit))
        self._done = done
