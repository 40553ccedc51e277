"""Reads exports of claude.ai: the zip file, or `conversations.json` from it.

The messages of a conversation stand in the order in which they were written. Newer exports name the parent of each, so that
questions which were edited make branches; the live one ends at the newest message.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.blocks import AnyBlock
from seedbed.curation.logs.chatgpt import export_objects, members_of
from seedbed.curation.logs.conversation import IMAGE, Conversation, call, model_note
from seedbed.curation.logs.elements import READING_ERRORS
from seedbed.curation.logs.head import HEAD_BYTES, Head, parse_head
from seedbed.curation.logs.lines import values_of
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.provenance import links_of, utc
from seedbed.curation.logs.rows import arguments_of
from seedbed.curation.record import Provenance, Record, ToolCall, is_trained
from seedbed.text import printable

NAME = "claude-ai"

_ROOT = "00000000-0000-4000-8000-000000000000"
"""The parent of a first message."""


class Attachment(msgspec.Struct, gc=False):
    """A text that was uploaded or pasted."""

    file_name: str | None = None
    extracted_content: str | None = None


class Block(AnyBlock, gc=False):
    """A part of a message."""

    input: Any = None
    content: Any = None


class Said(msgspec.Struct, gc=False):
    """A message. `text` has the texts of all its blocks; old exports have nothing else."""

    sender: str = ""
    uuid: str | None = None
    parent_message_uuid: str | None = None
    text: str | None = None
    content: list[Block] | None = None
    created_at: str | None = None
    attachments: list[Attachment] | None = None
    files: list[Any] | None = None


class Chat(msgspec.Struct, gc=False):
    """A conversation of an export."""

    chat_messages: list[Said]
    uuid: str | None = None
    created_at: str | None = None
    model: str | None = None
    current_leaf_message_uuid: str | None = None


def recognise(path: Path, head: Head) -> str | None:
    """ "" if a file is an export; None otherwise."""
    if head.data.startswith(b"PK\x03\x04"):
        head = _head_within(path)
    elif path.suffix not in (".json", ".jsonl"):
        return None
    return "" if {"chat_messages", "uuid"} <= head.keys else None


def _head_within(path: Path) -> Head:
    """The beginning of the first file with conversations in a zip file."""
    data = b""
    for member in members_of(path)[:1]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as handle:
                data = handle.read(HEAD_BYTES)
        except READING_ERRORS:  # no export of this format
            return parse_head(b"")
    return parse_head(data)


def unit_of(path: Path) -> Path:
    """Each export is read on its own."""
    return path


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each conversation."""
    decoder = msgspec.json.Decoder(Chat)
    for path, name in files:
        for where, data in export_objects(path, name, drops):
            for chat, _ in values_of(data, decoder, where, drops):
                yield from _record(chat, name, where, options, drops)


def _record(chat: Chat, name: str, where: str, options: LogOptions, drops: Drops) -> Iterator[Record]:
    talk = Conversation(options, drops)
    time = chat.created_at
    for said in _live(chat, where, drops):
        time = said.created_at or time
        if said.sender == "human":
            talk.user(_question(said, drops))
        elif said.sender == "assistant":
            if chat.model:
                drops.note(STEP, model_note(chat.model))
            _answer(said, talk, drops)
        else:
            drops.drop(STEP, f"unknown sender: {printable(said.sender)[:40]}", where, said.text or "")
    messages = talk.finish()
    if not any(is_trained(each) for each in messages):
        drops.drop(STEP, "conversation without an answer", where)
        return
    if talk.left_out_as_failed(where):
        return
    session = chat.uuid or where
    yield Record(
        kind="chat",
        messages=messages,
        provenance=Provenance(source=NAME, file=name, session=session, time=utc(time), model=chat.model or None),
        links=links_of([session], (), None),
    )


def _live(chat: Chat, where: str, drops: Drops) -> list[Said]:
    """The messages from the first to the current or newest one; those of other branches are counted.

    A message whose parent is not named, or is not there, follows the one before it.
    """
    said = chat.chat_messages
    numbers: dict[str | None, int] = {each.uuid: number for number, each in enumerate(said) if each.uuid}
    parents: list[int] = []
    for number, each in enumerate(said):
        parent = -1 if each.parent_message_uuid == _ROOT else numbers.get(each.parent_message_uuid, number - 1)
        parents.append(parent if parent < number else number - 1)
    at = numbers.get(chat.current_leaf_message_uuid, len(said) - 1)
    live: list[int] = []
    while at >= 0:
        live.append(at)
        at = parents[at]
    kept = {-1, *live}
    for number, each in enumerate(said):
        if number not in kept and parents[number] in kept:
            drops.drop(STEP, "abandoned branch", where, each.text or "")
    return [said[number] for number in reversed(live)]


def _question(said: Said, drops: Drops) -> str:
    """What the user wrote, with the texts of attachments before it, and marks for other files."""
    texts = [
        "\n".join(filter(None, (each.file_name, each.extracted_content)))
        for each in said.attachments or ()
        if each.extracted_content
    ]
    for _ in said.files or ():
        drops.note(STEP, "file replaced by a mark")
        texts.append("[file]")
    written = [each.text for each in said.content or () if each.type == "text" and each.text]
    return "\n\n".join([*texts, *(written or filter(None, [said.text]))])


def _answer(said: Said, talk: Conversation, drops: Drops) -> None:
    """Add an answer: its texts, thinking and tool calls, with the results between them."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []

    def flush() -> None:
        talk.assistant("\n\n".join(texts), list(calls), "\n\n".join(thoughts))
        texts.clear()
        thoughts.clear()
        calls.clear()

    for block in said.content or [Block(type="text", text=said.text)]:
        if block.type == "text":
            texts += filter(None, [block.text])
        elif block.type == "thinking":
            thoughts += filter(None, [block.thinking])
        elif block.type == "tool_use":
            name = block.id or talk.new_id(len(calls))
            calls.append(call(name, block.name or "unknown", arguments_of(block.input)))
        elif block.type == "tool_result":
            if calls or texts:
                flush()
            waiting = talk.pending()
            call_id = block.tool_use_id or (waiting[0] if waiting else "")
            talk.result(call_id, _result(block.content, drops), error=block.is_error is True)
        else:
            drops.note(STEP, f"part left out: {printable(block.type)[:60]}")
    flush()


def _result(content: Any, drops: Drops) -> str:
    """The text of a tool's result: a text, or a list of parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts: list[str] = []
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and str(part.get("type", "")) == "image":
            drops.note(STEP, "image replaced by a mark")
            texts.append(IMAGE)
        else:
            kind = str(part.get("type", "")) if isinstance(part, dict) else ""
            drops.note(STEP, f"part left out: {printable(kind)[:60]}")
    return "\n\n".join(texts)
