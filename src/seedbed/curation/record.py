"""The record: one row of a dataset, with where it came from and what was done to it.

A record is also the row in the files of a dataset: every row has all columns, null where a value is absent.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Kind = Literal["chat", "text", "fim"]
"""What a row has: `messages`; or `text`; or `prefix`, `suffix` and `middle`."""
Role = Literal["system", "user", "assistant", "tool"]


class Function(msgspec.Struct, kw_only=True, frozen=True):
    """The function that a tool call names, and its arguments as a JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True, frozen=True):
    """A call of a tool by the assistant, in OpenAI's form."""

    id: str
    function: Function
    type: str = "function"


class Message(msgspec.Struct, kw_only=True):
    """One turn of a conversation, in OpenAI's form, with the reasoning apart."""

    role: Role
    content: str = ""
    reasoning: str | None = None
    """The thinking before the answer, of an assistant's turn."""
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    """Of a tool's turn: the call that it answers."""
    name: str | None = None
    """Of a tool's turn: the name of the tool."""
    trained: bool | None = None
    """Whether the loss counts this turn; None: assistant turns count, others do not."""


class Provenance(msgspec.Struct, kw_only=True):
    """Where a record came from. No value has an absolute path, a user name or a secret."""

    source: str
    """The format that was read, such as claude-code, codex or git."""
    file: str | None = None
    """The file that was read, relative to the given folder."""
    session: str | None = None
    agent: str | None = None
    """The sub-agent within the session; None for the main conversation."""
    repository: str | None = None
    """The name of the repository, such as its remote's owner/name or its folder."""
    path: str | None = None
    """The path within the repository."""
    commit: str | None = None
    parent: str | None = None
    """The parent of the commit."""
    time: str | None = None
    """When it was made, in UTC: 2026-11-21T10:15:00Z."""
    model: str | None = None
    """The model that wrote the assistant's turns."""
    version: str | None = None
    """The version of the tool that wrote the log."""


class Licence(msgspec.Struct, kw_only=True, frozen=True):
    """The licence of a record's text, and how it was found."""

    spdx: str
    """An SPDX expression, such as MIT; `unknown` if none was found."""
    found_in: str
    """The file that says so, such as LICENSE, or `header`."""


class Redaction(msgspec.Struct, kw_only=True, frozen=True):
    """How often a rule of redaction replaced something in this record."""

    rule: str
    count: int


class ContextFile(msgspec.Struct, kw_only=True, frozen=True):
    """Another file of the repository, shown before the file with the gap."""

    path: str
    text: str


class Record(msgspec.Struct, kw_only=True):
    """One row of a dataset. `id` is a hash of the content (see `content_id`); the other fields say what it is."""

    id: str = ""
    kind: Kind
    messages: list[Message] | None = None
    tools: str | None = None
    """The tools that the assistant could call, as a JSON text: a list in OpenAI's form."""
    text: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    middle: str | None = None
    span: str | None = None
    """How the middle was chosen: character, syntax or line; edit: the lines that a commit added."""
    order: str | None = None
    """The order of the parts for training: psm (prefix, suffix, middle) or spm (suffix, prefix, middle)."""
    context: list[ContextFile] | None = None
    language: str | None = None
    """The programming language, or the natural language of prose."""
    provenance: Provenance
    licence: Licence | None = None
    redactions: list[Redaction] | None = None
    links: list[str] | None = None
    """What ties records together: records that share a link are never split between training and evaluation.

    Such as `session:ID`, `commit:HASH` or `path:REPOSITORY/PATH`.
    """
    cluster: str | None = None
    """The cluster of near duplicates to which it belongs; None if it has none."""
    cluster_size: int | None = None
    group: str | None = None
    """The split group: all its records are in the same split."""
    lineage: list[str] | None = None
    """The steps that made or changed the record, such as `redact@1`."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record as one JSON line, without the newline."""
    return _ENCODER.encode(record)


def decode(line: bytes | str) -> Record:
    """The record of a JSON line. Raises msgspec.ValidationError or msgspec.DecodeError for anything else."""
    return _DECODER.decode(line)


def content_id(record: Record) -> str:
    """The id of a record: 32 hex digits of the BLAKE2b hash of its content, without provenance and marks of steps."""
    content = (
        record.kind,
        record.messages,
        record.tools,
        record.text,
        record.prefix,
        record.suffix,
        record.middle,
        record.context,
    )
    return hashlib.blake2b(_ENCODER.encode(content), digest_size=16).hexdigest()


def texts_of(record: Record) -> list[str]:
    """All texts of a record that a model would see, in order."""
    found = [text for text in (record.prefix, record.middle, record.suffix, record.text) if text is not None]
    found += [each.text for each in record.context or ()]
    for message in record.messages or ():
        found += [text for text in (message.reasoning, message.content) if text]
        found += [call.function.arguments for call in message.tool_calls or ()]
    return found


def targets_of(record: Record) -> list[str]:
    """The texts of a record that are trained: the middle, the text, or the assistant's turns with their tool calls."""
    if record.kind == "fim":
        return [record.middle or ""]
    if record.kind == "text":
        return [record.text or ""]
    found: list[str] = []
    for message in record.messages or ():
        if is_trained(message):
            found += [text for text in (message.reasoning, message.content) if text]
            found += [call.function.arguments for call in message.tool_calls or ()]
    return found


def is_trained(message: Message) -> bool:
    """Whether the loss counts a turn: as the turn says, else those of the assistant."""
    return message.role == "assistant" if message.trained is None else message.trained
