"""Requests from windows to a running job, left in the run's directory. Knows neither who asks nor how a job obeys."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError
from seedbed.files import Lock, read_json, write_json

STOP = "stop"
SAVE = "save"


class Resume(NamedTuple):
    """What a start of a job asks for beyond the frozen config; at most one of `more_steps` and `more_epochs`."""

    more_steps: int | None = None
    more_epochs: float | None = None
    from_checkpoint: str | None = None

    def arguments(self) -> list[str]:
        """The command-line words that carry this to the job."""
        words: list[str] = []
        if self.more_steps is not None:
            words += ["--more-steps", str(self.more_steps)]
        if self.more_epochs is not None:
            words += ["--more-epochs", repr(self.more_epochs)]
        if self.from_checkpoint is not None:
            words += ["--from", self.from_checkpoint]
        return words


def ask(path: Path, verb: str, session: int, reason: str = "") -> None:
    """Leave a request for the session that the asker saw (0: none yet); a later session ignores it.

    Raises SeedbedError where the directory cannot be written.
    """
    with Lock(path.with_name(f".{path.name}.lock")):
        requests = pending(path)
        requests[verb] = {"session": session, "t": time.time(), "token": time.monotonic_ns(), "reason": reason}
        write_json(path, requests, durable=False)


def pending(path: Path) -> dict[str, Any]:
    """The requests in a control file by verb; a broken or foreign file holds none."""
    try:
        value = read_json(path)
    except SeedbedError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {verb: request for verb, request in value.items() if isinstance(request, dict)}


class Requests:
    """The owner's side: polls the control file cheaply and tells each request once."""

    def __init__(self, path: Path, session: int) -> None:
        self._path = path
        self._session = session
        self._stamp: tuple[int, int] | None = None
        self._seen: set[tuple[str, Any]] = set()

    def new(self) -> dict[str, str]:
        """Requests for this session that were not told before, verb to reason."""
        try:
            stat = self._path.stat()
        except OSError:
            return {}
        stamp = (stat.st_ino, stat.st_mtime_ns)
        if stamp == self._stamp:
            return {}
        self._stamp = stamp
        found: dict[str, str] = {}
        for verb, request in pending(self._path).items():
            key = (verb, request.get("token"))
            if key in self._seen or not self._is_ours(request.get("session")):
                continue
            self._seen.add(key)
            found[verb] = str(request.get("reason") or "")
        return found

    def _is_ours(self, session: Any) -> bool:
        return session == self._session or (session == 0 and self._session == 1)
