"""Messages of a dataset's preparation, kept with it, so that every run that opens it tells them. Knows no dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seedbed import files
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Event, Message

_FIELDS = ("level", "code", "text", "why", "hint")
_OF_THE_MOMENT = ("hub-fetch", "slow-tokenising", "slow-vocabulary")
"""What is true while the data is prepared, and not of the prepared data."""


PASSED_OVER = "files-skipped"
"""The code of a message about files that a source leaves out without reading them. It is true until the folder changes."""


class Recorder:
    """An emit that passes every event on and, from `keep_in` to `end`, keeps the messages in a file."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._path: Path | None = None
        self._kept: list[dict[str, str]] = []

    def __call__(self, event: Event, t: float | None = None) -> None:
        """Keep the event where it is a message about the data, and pass it on."""
        if self._path is not None and isinstance(event, Message) and event.code not in _OF_THE_MOMENT:
            message = {field: getattr(event, field) for field in _FIELDS}
            if message not in self._kept:
                self._kept.append(message)
                files.write_json(self._path, self._kept, durable=False)
        self._emit(event) if t is None else self._emit(event, t)

    def keep_in(self, path: Path) -> None:
        """Begin to keep, beside what an interrupted preparation left in the file and told."""
        self._path = path
        try:
            left = files.read_json(path)
        except SeedbedError:
            left = None
        self._kept = [each for each in left if _is_whole(each)] if isinstance(left, list) else []

    def end(self) -> list[dict[str, str]]:
        """Stop keeping; what was kept, in an order that does not depend on interruptions."""
        self._path = None
        return sorted(self._kept, key=lambda message: [message[field] for field in _FIELDS])


def tell(kept: Iterable[Mapping[str, str]], emit: Emit, *, prepared_as: str = "", name: str = "") -> None:
    """Emit messages that were kept. A source that is called `name` here reads so where it was called `prepared_as`."""
    for each in filter(_is_whole, kept):
        words = {field: each[field] for field in _FIELDS}
        if prepared_as and name:
            words |= {field: words[field].replace(prepared_as, name) for field in ("text", "why", "hint")}
        emit(
            Message(
                level=words["level"],
                code=words["code"],
                text=words["text"],
                why=words["why"],
                hint=words["hint"],
            )
        )


def _is_whole(kept: Any) -> bool:
    return isinstance(kept, Mapping) and all(isinstance(kept.get(field), str) for field in _FIELDS)
