"""Requests from windows to a running job, left in the run's directory. Knows neither who asks nor how a job obeys."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError
from seedbed.files import Lock, read_json, write_json

STOP = "stop"
SAVE = "save"
PAUSE = "pause"
RESUME = "resume"
_OPPOSITE = {PAUSE: RESUME, RESUME: PAUSE}


class Resume(NamedTuple):
    """What a start of a job asks for beyond the frozen config; at most one of `more_steps` and `more_epochs`."""

    more_steps: int | None = None
    more_epochs: float | None = None
    from_checkpoint: str | None = None
    early_stop: int | None = None
    """Validations without a better loss after which to stop, instead of what was in force; 0 never."""
    data: str | None = None
    """Where the data is, if its source has moved."""
    data_path: str | None = None

    def arguments(self) -> list[str]:
        """The command-line words that carry this to the job."""
        words: list[str] = []
        if self.more_steps is not None:
            words += ["--more-steps", str(self.more_steps)]
        if self.more_epochs is not None:
            words += ["--more-epochs", repr(self.more_epochs)]
        if self.from_checkpoint is not None:
            words += ["--from", self.from_checkpoint]
        if self.early_stop is not None:
            words += ["--early-stop", str(self.early_stop)]
        if self.data is not None:
            words += ["--data", self.data]
        if self.data_path is not None:
            words += ["--data-path", self.data_path]
        return words


class Turn(NamedTuple):
    """What a job waits for before it begins: the end of the run at `after`, and, with `queue`, its device."""

    queue: bool = False
    after: Path | None = None

    def __bool__(self) -> bool:
        return self.queue or self.after is not None

    def arguments(self) -> list[str]:
        """The command-line words that carry this to the job."""
        return ["--queue"] * self.queue + (["--after", str(self.after)] if self.after is not None else [])


def write_request(path: Path, verb: str, session: int, reason: str = "") -> None:
    """Leave a request for the session that the asker saw (0: none yet); a later session ignores it.

    Raises SeedbedError where the directory cannot be written.
    """
    with Lock(path.with_name(f".{path.name}.lock")):
        requests = read_requests(path)
        requests.pop(_OPPOSITE.get(verb, ""), None)
        requests[verb] = {"session": session, "t": time.time(), "token": time.monotonic_ns(), "reason": reason}
        write_json(path, requests, durable=False)


def read_requests(path: Path) -> dict[str, Any]:
    """The requests in a control file by verb; a broken or foreign file holds none."""
    try:
        value = read_json(path)
    except SeedbedError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {verb: request for verb, request in value.items() if isinstance(request, dict)}


def unfinished_request(path: Path, session: int) -> str | None:
    """What the session at hand was asked and will end or change it: stop or pause; None if nothing."""
    requests = read_requests(path)
    for verb in (STOP, PAUSE):
        if verb in requests and _is_for(requests[verb].get("session"), session):
            return verb
    return None


def _is_for(asked: Any, session: int) -> bool:
    return asked == session or (asked == 0 and session == 1)


class RequestReader:
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
        for verb, request in read_requests(self._path).items():
            key = (verb, request.get("token"))
            if key in self._seen or not _is_for(request.get("session"), self._session):
                continue
            self._seen.add(key)
            found[verb] = str(request.get("reason") or "")
        return found


def shown_status(found: dict[str, Any]) -> str:
    """A flat status in one word for people: what was asked of the job and is not done yet counts as under way."""
    if found["asked"] == STOP:
        return "stopping"
    return "pausing" if found["asked"] == PAUSE and found["status"] == "running" else str(found["status"])
