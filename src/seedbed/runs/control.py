"""The control file control.json, through which a job gets requests to stop, save, pause and resume.

The job's process reads the file with RequestReader. Front ends do not write it themselves: they call runs/requests.py,
which checks the run's status and, if the job does not read the file, sends a signal instead. ResumeOptions and
StartCondition are the options with which a job is started.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError
from seedbed.files import read_json, write_json
from seedbed.locks import Lock

STOP = "stop"
SAVE = "save"
PAUSE = "pause"
RESUME = "resume"
_OPPOSITE = {PAUSE: RESUME, RESUME: PAUSE}


class ResumeOptions(NamedTuple):
    """The options of a resume; None: as in the run's config. At most one of `more_steps` and `more_epochs` is set."""

    more_steps: int | None = None
    more_epochs: float | None = None
    from_checkpoint: str | None = None
    early_stop: int | None = None
    """Stop after this many validations in a row without a better loss; 0: never. Replaces train.early_stop."""
    data: str | None = None
    """The new source of the data, if the data has moved (data.source)."""
    data_path: str | None = None

    def arguments(self) -> list[str]:
        """These options as command-line arguments of the job."""
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


class StartCondition(NamedTuple):
    """What a job waits for before it starts: the end of the run in the folder `after`, and, if `queue`, a free device."""

    queue: bool = False
    after: Path | None = None

    def __bool__(self) -> bool:
        return self.queue or self.after is not None

    def arguments(self) -> list[str]:
        """These options as command-line arguments of the job."""
        return ["--queue"] * self.queue + (["--after", str(self.after)] if self.after is not None else [])


def write_request(path: Path, verb: str, session: int, reason: str = "") -> None:
    """Write the request `verb` (stop, save, pause or resume) to the control file `path`.

    `session` is the number of the session that the caller saw (0: none yet); later sessions ignore the request. Raises
    SeedbedError if the directory cannot be written.
    """
    with Lock(path.with_name(f".{path.name}.lock")):
        requests = read_requests(path)
        requests.pop(_OPPOSITE.get(verb, ""), None)
        requests[verb] = {"session": session, "t": time.time(), "token": time.monotonic_ns(), "reason": reason}
        write_json(path, requests, durable=False)


def read_requests(path: Path) -> dict[str, Any]:
    """The requests in a control file: verb (stop, save, pause or resume) -> request; empty if it is missing or broken."""
    try:
        value = read_json(path)
    except SeedbedError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {verb: request for verb, request in value.items() if isinstance(request, dict)}


def unfinished_request(path: Path, session: int) -> str | None:
    """The request that the session got and has not finished: `stop`, else `pause`; None if there is neither."""
    requests = read_requests(path)
    for verb in (STOP, PAUSE):
        if verb in requests and _is_for(requests[verb].get("session"), session):
            return verb
    return None


def _is_for(requested: Any, session: int) -> bool:
    return requested == session or (requested == 0 and session == 1)


class RequestReader:
    """Reads the control file in the job's process, again and again, and returns each request once."""

    def __init__(self, path: Path, session: int) -> None:
        self._path = path
        self._session = session
        self._stamp: tuple[int, int] | None = None
        self._seen: set[tuple[str, Any]] = set()

    def new(self) -> dict[str, str]:
        """The requests to this session that were not returned before: verb (stop, save, pause or resume) -> reason."""
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
    """The status to show for the `seedbed status --json` object `found`.

    It is `stopping` or `pausing` while the job has not yet done what such a request asked, else the run's status.
    """
    if found["asked"] == STOP:
        return "stopping"
    return "pausing" if found["asked"] == PAUSE and found["status"] == "running" else str(found["status"])
