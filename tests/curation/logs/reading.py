"""Reads logs of the tests, and writes records of Claude Code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.options import LogOptions
from seedbed.curation.logs.units import find_units
from seedbed.curation.record import Record

FIXTURES = Path(__file__).parent / "fixtures"


def read(path: Path, format_name: str | None = None, **options: Any) -> tuple[list[Record], Drops]:
    """The records of a file or folder, and what was counted."""
    drops = Drops()
    units = find_units(path, format_name, LogOptions(**options))
    return [record for unit in units for record in unit.read(drops)], drops


def plain(records: list[Record]) -> list[dict[str, Any]]:
    """Records as JSON values without the fields that are not set."""
    made = []
    for record in records:
        value = {key: each for key, each in msgspec.to_builtins(record).items() if each not in (None, "")}
        value["messages"] = [
            {key: each for key, each in message.items() if each is not None} for message in value["messages"]
        ]
        value["provenance"] = {key: each for key, each in value["provenance"].items() if each is not None}
        made.append(value)
    return made


def golden(name: str) -> list[dict[str, Any]]:
    """The records that a fixture has, as checked by hand."""
    value: list[dict[str, Any]] = json.loads((FIXTURES / f"{name}.golden.json").read_text("utf-8"))
    return value


def reasons(drops: Drops) -> dict[str, int]:
    """Counts of drops by reason."""
    return {reason: count for (_, reason), count in drops.counts.items()}


def notes(drops: Drops) -> dict[str, int]:
    """Counts of notes."""
    return {what: count for (_, what), count in drops.notes.items()}


class Session:
    """Writes records of a session of Claude Code, each below the one before unless a parent is named."""

    def __init__(self, session: str = "s1", cwd: str = "/home/ana/shop") -> None:
        self.session = session
        self.cwd = cwd
        self.lines: list[str] = []
        self.last: str | None = None
        self.count = 0

    def add(self, kind: str, content: Any = None, *, parent: Any = ..., uuid: str | None = None, **fields: Any) -> str:
        """Add a record; returns its uuid."""
        self.count += 1
        own = uuid or f"{self.session}-{self.count}"
        record: dict[str, Any] = {
            "type": kind, "uuid": own, "parentUuid": self.last if parent is ... else parent, "sessionId": self.session,
            "cwd": self.cwd, "version": "2.1.0", "timestamp": f"2026-01-02T03:{self.count // 60:02}:{self.count % 60:02}.000Z",
        }  # fmt: skip
        if content is not None:
            record["message"] = {"role": kind, "content": content}
        message = fields.pop("message", None)
        if message:
            record["message"] |= message
        record |= fields
        self.lines.append(json.dumps(record))
        self.last = own
        return own

    def user(self, content: Any, **fields: Any) -> str:
        """Add a turn of the user."""
        return self.add("user", content, **fields)

    def assistant(self, content: Any, model: str = "claude-x", **fields: Any) -> str:
        """Add a turn of the assistant."""
        return self.add("assistant", content, message={"model": model, **fields.pop("message", {})}, **fields)

    def call(self, call_id: str, name: str = "Bash", message_id: str | None = None, **arguments: Any) -> str:
        """Add a tool call."""
        block = {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        return self.assistant([block], message={"id": message_id} if message_id else {})

    def result(self, call_id: str, content: Any = "ok", **fields: Any) -> str:
        """Add the result of a tool call."""
        error = fields.pop("is_error", None)
        block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
        return self.user([block | ({"is_error": error} if error is not None else {})], **fields)

    def write(self, folder: Path, name: str | None = None) -> Path:
        """Write the session to a file of a project folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name or self.session}.jsonl"
        path.write_text("".join(line + "\n" for line in self.lines), encoding="utf-8")
        return path
