"""Reads rows of chat datasets: one object each, whose conversation a format's own function builds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import Conversation, model_note
from seedbed.curation.logs.elements import objects_of
from seedbed.curation.logs.lines import values_of
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.record import Provenance, Record, is_trained
from seedbed.text import printable

Row = dict[str, Any]


class UnreadableRow(Exception):  # noqa: N818
    """A row that has no conversation of the format; the text says why in a short phrase that can be counted."""


def read_rows(
    source: str,
    files: list[tuple[Path, str]],
    options: LogOptions,
    drops: Drops,
    fill: Callable[[Row, Conversation], object],
) -> Iterator[Record]:
    """Yield the record of each row. `fill` adds the turns of a row to a conversation, or raises UnreadableRow.

    Answers that the row marks as bad (`kto_tag` or `label` is false) are left out and counted.
    """
    for path, name in files:
        for where, row, data in _rows_of(path, name, drops):
            if row.get("kto_tag", row.get("label")) is False:
                drops.drop(STEP, "answer marked as bad", where, _sample(data))
                continue
            talk = Conversation(options, drops)
            try:
                tools = tools_of(row)
                fill(row, talk)
            except UnreadableRow as error:
                drops.drop(STEP, str(error), where, _sample(data))
                continue
            messages = talk.finish(begins_with_user=False)
            if not any(is_trained(each) for each in messages):
                drops.drop(STEP, "conversation without an answer", where, _sample(data))
                continue
            model = row.get("model")
            if isinstance(model, str) and model:
                drops.note(STEP, model_note(model), sum(each.role == "assistant" for each in messages))
            yield Record(
                kind="chat",
                messages=messages,
                tools=tools,
                provenance=Provenance(
                    source=source, file=name, model=model if isinstance(model, str) and model else None
                ),
            )


def _rows_of(path: Path, name: str, drops: Drops) -> Iterator[tuple[str, Row, bytes]]:
    """Yield (place, row, its bytes) of each row of a file."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    for where, data in objects_of(path, name, drops):
        for row, piece in values_of(data, decoder, where, drops):
            yield where, row, piece.text


def tools_of(row: Row) -> str | None:
    """The tools of a row in OpenAI's form, as a JSON text: from `tools` (a list or a JSON text) or `functions`."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = msgspec.json.decode(tools) if tools.strip() else None
        except (msgspec.DecodeError, RecursionError):
            raise UnreadableRow("tools: no JSON") from None
    if not tools:
        tools = row.get("functions")
    if not tools:
        return None
    if not isinstance(tools, list) or not all(isinstance(each, dict) for each in tools):
        raise UnreadableRow("tools: unknown form")
    whole = [each if "function" in each else {"type": "function", "function": each} for each in tools]
    return json.dumps(whole, ensure_ascii=False)


def arguments_of(value: Any) -> str:
    """The arguments of a tool call as a JSON text; a text that is no JSON becomes a JSON string."""
    if not isinstance(value, str):
        return json.dumps(value if value is not None else {}, ensure_ascii=False)
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return json.dumps(value, ensure_ascii=False)
    return value


def text_of(value: Any, what: str) -> str:
    """A text of a row, "" if it is null. Raises UnreadableRow if it is something else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableRow(f"{what}: no text")
    return value


def turns_of(value: Any, what: str) -> list[Row]:
    """A list of turns of a row. Raises UnreadableRow if it is something else."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UnreadableRow(f"{what}: no list of turns")
    return value


def unknown_role(role: Any) -> UnreadableRow:
    """The error for a role that the format does not have."""
    return UnreadableRow(f"unknown role: {printable(str(role))[:40]}")


def _sample(data: bytes) -> str:
    return data[:2000].decode("utf-8", "replace")
