"""Reads exports of ChatGPT: the zip file, or `conversations*.json` from it.

A conversation is a tree (`mapping`); the live branch is the path from `current_node` to the root.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import IMAGE, Conversation, call, model_note
from seedbed.curation.logs.elements import READING_ERRORS, objects_of, split
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.lines import values_of
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.provenance import links_of, utc
from seedbed.curation.logs.rows import arguments_of
from seedbed.curation.record import Provenance, Record, is_trained
from seedbed.text import printable

NAME = "chatgpt"

_MEMBER = re.compile(r"(^|/)conversations[^/]*\.json$")
_HIDDEN = frozenset(("user_editable_context", "model_editable_context", "reasoning_recap", "system_error"))


class Author(msgspec.Struct, gc=False):
    """Who wrote a message."""

    role: str = ""
    name: str | None = None


class Thought(msgspec.Struct, gc=False):
    """A part of the reasoning."""

    summary: str | None = None
    content: str | None = None


class Content(msgspec.Struct, gc=False):
    """The content of a message."""

    content_type: str = ""
    parts: list[Any] | None = None
    text: str | None = None
    result: str | None = None
    thoughts: list[Thought] | None = None


class Metadata(msgspec.Struct, gc=False):
    """What is known about a message."""

    model_slug: str | None = None
    is_visually_hidden_from_conversation: bool | None = None


class Said(msgspec.Struct, gc=False):
    """A message."""

    author: Author = msgspec.field(default_factory=Author)
    content: Content | None = None
    create_time: float | None = None
    weight: float | None = None
    recipient: str | None = None
    channel: str | None = None
    metadata: Metadata | None = None


class Node(msgspec.Struct, gc=False):
    """A node of the tree."""

    message: Said | None = None
    parent: str | None = None
    children: list[str] | None = None


class Export(msgspec.Struct, gc=False):
    """A conversation of an export."""

    mapping: dict[str, Node]
    current_node: str | None = None
    conversation_id: str | None = None
    id: str | None = None
    create_time: float | None = None
    default_model_slug: str | None = None


def recognise(path: Path, head: Head) -> str | None:
    """ "" if a file is an export; None otherwise."""
    if head.data.startswith(b"PK\x03\x04"):
        return "" if members_of(path) else None
    return "" if path.suffix == ".json" and {"mapping", "current_node", "author"} <= head.keys else None


def members_of(path: Path) -> list[str]:
    """The names of the files with conversations in a zip file; none if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name for name in archive.namelist() if _MEMBER.search(name))
    except READING_ERRORS:
        return []


def unit_of(path: Path) -> Path:
    """The parts of an export in one folder are read together."""
    return path if path.suffix == ".zip" else path.parent


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each conversation."""
    decoder = msgspec.json.Decoder(Export)
    for path, name in files:
        for where, data in export_objects(path, name, drops):
            for export, _ in values_of(data, decoder, where, drops):
                yield from _record(export, name, where, options, drops)


def export_objects(path: Path, name: str, drops: Drops) -> Iterator[tuple[str, bytes]]:
    """Yield (place, JSON text) of each conversation in a file, or in the files with conversations of a zip file."""
    if path.suffix != ".zip":
        yield from objects_of(path, name, drops)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(each for each in archive.namelist() if _MEMBER.search(each)):
                with archive.open(member) as handle:
                    yield from split(handle, f"{name}/{member}", drops)
    except READING_ERRORS as error:
        drops.drop(STEP, "damaged archive", name, str(error).lower())  # also one with a password


def _record(export: Export, name: str, where: str, options: LogOptions, drops: Drops) -> Iterator[Record]:
    path = _live(export)
    _count_branches(export, set(path), where, drops)
    talk = Conversation(options, drops)
    models: dict[str, None] = {}
    thoughts: list[str] = []
    time = export.create_time
    for node_id in path:
        said = export.mapping[node_id].message
        if said is None:
            continue
        if said.weight == 0:
            drops.note(STEP, "message of weight 0 left out")
            continue
        time = said.create_time or time
        role = said.author.role
        if role == "assistant":
            _assistant(said, talk, thoughts, models, export.default_model_slug, drops)
        elif role == "user":
            if not _is_hidden(said, drops):
                talk.user(_text(said, drops))
        elif role == "tool":
            _tool(said, talk, drops)
        elif _text(said, drops).strip():
            drops.note(STEP, "instructions left out")
    messages = talk.finish()
    if not any(is_trained(each) for each in messages):
        drops.drop(STEP, "conversation without an answer", where)
        return
    session = export.conversation_id or export.id or where
    yield Record(
        kind="chat",
        messages=messages,
        provenance=Provenance(
            source=NAME, file=name, session=session, time=utc(time), model=", ".join(models) or None
        ),
        links=links_of([session], (), None),
    )  # fmt: skip


def _live(export: Export) -> list[str]:
    """The nodes from the root to the current one, or to the newest leaf if that is not there."""
    mapping = export.mapping
    at = export.current_node
    if at not in mapping:
        leaves = [key for key, node in mapping.items() if not node.children]
        at = max(leaves, key=lambda key: _time(mapping[key]), default=None)
    found: dict[str, None] = {}
    while at is not None and at in mapping and at not in found:
        found[at] = None
        at = mapping[at].parent
    return list(found)[::-1]


def _time(node: Node) -> float:
    return (node.message.create_time if node.message is not None else None) or 0.0


def _count_branches(export: Export, live: set[str], where: str, drops: Drops) -> None:
    for key, node in export.mapping.items():
        if key not in live and node.parent in live and node.message is not None:
            drops.drop(STEP, "abandoned branch", where, _plain(node.message))


def _is_hidden(said: Said, drops: Drops) -> bool:
    kind = said.content.content_type if said.content is not None else ""
    hidden = said.metadata is not None and said.metadata.is_visually_hidden_from_conversation is True
    if kind in _HIDDEN or hidden:
        drops.note(STEP, "text that the program added left out")
        return True
    return False


def _assistant(
    said: Said, talk: Conversation, thoughts: list[str], models: dict[str, None], default: str | None, drops: Drops
) -> None:
    kind = said.content.content_type if said.content is not None else ""
    if kind == "thoughts" and said.content is not None:
        thoughts += [text for each in said.content.thoughts or () if (text := each.content or each.summary)]
        return
    if _is_hidden(said, drops):
        return
    text = _text(said, drops)
    if said.channel == "analysis" and said.recipient in (None, "all"):
        thoughts.append(text)
        return
    reasoning = "\n\n".join(thoughts)
    thoughts.clear()
    model = (said.metadata.model_slug if said.metadata is not None else None) or default
    if model:
        models[model] = None
        drops.note(STEP, model_note(model))
    if said.recipient not in (None, "all"):
        arguments = text if text.lstrip().startswith("{") and arguments_of(text) == text else None
        made = call(talk.new_id(0), said.recipient, arguments or msgspec.json.encode({"code": text}).decode())
        talk.assistant("", [made], reasoning)
    else:
        talk.assistant(text, None, reasoning)


def _tool(said: Said, talk: Conversation, drops: Drops) -> None:
    text = _text(said, drops)
    waiting = talk.pending()
    if waiting:
        talk.result(waiting[0], text)
    else:
        drops.drop(STEP, "tool result without a call", said.author.name or "", text)


def _plain(said: Said) -> str:
    return _text(said, Drops())


def _text(said: Said, drops: Drops) -> str:
    content = said.content
    if content is None:
        return ""
    if content.parts is None:
        return content.text or content.result or ""
    parts = []
    for part in content.parts:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("content_type", ""))
            if isinstance(part.get("text"), str):
                parts.append(part["text"])  # speech as text
            elif kind.startswith("image"):
                drops.note(STEP, "image replaced by a mark")
                parts.append(IMAGE)
            else:
                drops.note(STEP, f"part left out: {printable(kind)[:60]}")
    return "\n\n".join(filter(None, parts))
