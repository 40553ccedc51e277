"""The records of Claude Code with their content, read from their places in files."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.blocks import Block, Inner
from seedbed.curation.logs.claude_index import Index, Node
from seedbed.curation.logs.lines import open_file, repaired, with_valid_characters
from seedbed.curation.logs.options import STEP

_OPEN_FILES = 32


class Content(msgspec.Struct, gc=False):
    """A message."""

    content: str | list[Block | str] | None = None
    model: str | None = None


class Attachment(msgspec.Struct, gc=False):
    """What was attached between two turns, such as a prompt that the user wrote while the agent worked."""

    type: str = ""
    prompt: str | list[Inner | str] | None = None


class Entry(msgspec.Struct, gc=False, rename="camel"):
    """A record with its content."""

    message: Content | str | None = None
    cwd: str | None = None
    version: str | None = None
    is_meta: bool | None = None
    is_api_error_message: bool | None = None
    tool_use_result: msgspec.Raw = msgspec.Raw(b"")
    tool_denial_kind: str | None = None
    attachment: Attachment | None = None


class _EditInput(msgspec.Struct, gc=False):
    file_path: str | None = None
    notebook_path: str | None = None


class _ReadFile(msgspec.Struct, gc=False, rename="camel"):
    content: str | None = None


class Structured(msgspec.Struct, gc=False):
    """The structured form of a tool's result, which repeats it."""

    stdout: str | None = None
    stderr: str | None = None
    content: str | list[Inner | str] | None = None
    file: _ReadFile | None = None
    text: str | None = None


_EDIT_INPUT = msgspec.json.Decoder(_EditInput)
_STRUCTURED = msgspec.json.Decoder(str | Structured)


class Entries:
    """Reads the content of records from their files."""

    def __init__(self, index: Index, drops: Drops) -> None:
        self._index = index
        self._drops = drops
        self._open: dict[int, int | None] = {}
        self._decoder = msgspec.json.Decoder(Entry)

    def entry(self, node: Node) -> Entry | None:
        """The content of a record; None, and counted, if the file changed meanwhile or has another form."""
        fd = self._open.get(node.file, -1)
        if fd == -1:
            fd = self._opened(node.file)
        try:
            data = b"" if fd is None else os.pread(fd, node.size, node.offset)
        except OSError:
            data = b""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return self._saved(data, node)

    def _saved(self, data: bytes, node: Node) -> Entry | None:
        quiet = Drops()
        entry = repaired(data, self._decoder, "", quiet)
        if entry is not None and (node.file, node.line) not in self._index.repaired:
            self._drops.notes.update(quiet.notes)
        if entry is None:
            where = f"{self._index.files[node.file][1]}:{node.line}"
            reasons = [reason for _, reason in quiet.counts]
            changed = not reasons or reasons[0] in ("damaged line", "line of NUL bytes")
            reason = "file changed while it was read" if changed else reasons[0]
            self._drops.drop(STEP, reason, where, data[:2000].decode("utf-8", "replace"))
        return entry

    def _opened(self, file: int) -> int | None:
        if len(self._open) >= _OPEN_FILES:
            self.close()
        path, name = self._index.files[file]
        handle = open_file(path, name, self._drops)
        fd = None
        if handle is not None:
            with handle:
                fd = os.dup(handle.fileno())
        self._open[file] = fd
        return fd

    def sample(self, nodes: list[int], drops: Drops) -> str:
        """The first text of the nodes, as a sample; "" once there are enough samples."""
        if drops.counts[STEP, "abandoned branch"] >= 20:
            return ""
        for each in nodes[:4]:
            entry = self.entry(self._index.nodes[each])
            if entry is not None and (text := _plain(entry.message)):
                return text
        return ""

    def close(self) -> None:
        """Close the files."""
        for fd in self._open.values():
            if fd is not None:
                os.close(fd)
        self._open.clear()


def _plain(message: Content | str | None) -> str:
    content = message.content if isinstance(message, Content) else message
    if isinstance(content, list):
        texts = [each if isinstance(each, str) else each.text for each in content]
        return "\n".join(filter(None, texts))
    return content or ""


def edited_file(arguments: msgspec.Raw) -> str | None:
    """The path of the file that a call of an editing tool names; None if it names none."""
    try:
        where = _EDIT_INPUT.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return None
    return where.file_path or where.notebook_path


def structured(raw: msgspec.Raw) -> Structured:
    """`toolUseResult`, the structured form of a result; empty if it has another form."""
    data = bytes(raw)
    value: str | Structured = ""
    if data:
        try:
            value = _STRUCTURED.decode(data)
        except (msgspec.DecodeError, RecursionError):
            valid = with_valid_characters(data)
            with suppress(msgspec.DecodeError, RecursionError):
                value = _STRUCTURED.decode(valid) if valid is not None else ""
    return Structured(text=value) if isinstance(value, str) else value
