"""Keep the messages of a dataset's preparation with the dataset, and emit them again in every run that uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seedbed import files
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Event, Message

_FIELDS = ("level", "code", "text", "why", "hint")
_NOT_KEPT = ("hub-fetch", "slow-tokenising", "slow-vocabulary")
"""Codes of messages that are not kept, because they are about the preparation and not about the dataset."""


FILES_SKIPPED = "files-skipped"
"""The code of messages about files that a source skips unread. They are made anew for every run, as files can change."""


class MessageRecorder:
    """Forwards every event to `emit`. Between `record_to` and `finish`, also keeps messages about the data in a file."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._path: Path | None = None
        self._kept: list[dict[str, str]] = []

    def __call__(self, event: Event, t: float | None = None) -> None:
        """Forward the event, and keep it if it is a message about the data."""
        if self._path is not None and isinstance(event, Message) and event.code not in _NOT_KEPT:
            message = {field: getattr(event, field) for field in _FIELDS}
            if message not in self._kept:
                self._kept.append(message)
                files.write_json(self._path, self._kept, durable=False)
        self._emit(event) if t is None else self._emit(event, t)

    def record_to(self, path: Path) -> None:
        """Start to keep messages in the file `path`, in addition to those that an interrupted preparation left in it."""
        self._path = path
        try:
            earlier = files.read_json(path)
        except SeedbedError:
            earlier = None
        self._kept = [each for each in earlier if _is_whole(each)] if isinstance(earlier, list) else []

    def finish(self) -> list[dict[str, str]]:
        """Stop keeping messages and return them, in an order that does not depend on interruptions."""
        self._path = None
        return sorted(self._kept, key=lambda message: [message[field] for field in _FIELDS])


def replay_messages(kept: Iterable[Mapping[str, str]], emit: Emit, *, prepared_as: str = "", name: str = "") -> None:
    """Emit messages that a MessageRecorder kept, with the source's earlier name `prepared_as` replaced by `name`."""
    for each in filter(_is_whole, kept):
        fields = {field: each[field] for field in _FIELDS}
        if prepared_as and name:
            fields |= {field: fields[field].replace(prepared_as, name) for field in ("text", "why", "hint")}
        emit(
            Message(
                level=fields["level"],
                code=fields["code"],
                text=fields["text"],
                why=fields["why"],
                hint=fields["hint"],
            )
        )


def _is_whole(kept: Any) -> bool:
    return isinstance(kept, Mapping) and all(isinstance(kept.get(field), str) for field in _FIELDS)
