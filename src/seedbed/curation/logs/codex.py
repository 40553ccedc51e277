"""Reads the sessions of Codex CLI: one `rollout-*.jsonl` file each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import IMAGE, Conversation, call, model_note
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.lines import lines_of, open_file, repaired, values_of
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.provenance import links_of, path_within, repository_of, utc
from seedbed.curation.record import Provenance, Record, ToolCall, is_trained
from seedbed.text import legible, printable

NAME = "codex"

_ENVELOPES = frozenset(("session_meta", "response_item", "event_msg", "turn_context", "compacted"))
_ITEMS = frozenset(("message", "function_call", "function_call_output", "reasoning", "local_shell_call"))
_INJECTED = (
    "<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<INSTRUCTIONS>", "<skills_instructions>",
    "<permissions instructions>", "<collaboration_mode>", "<turn_aborted>", "<skill>", "<user_shell_command>",
)  # fmt: skip
_PATCHED = re.compile(r"\*\*\* (?:Update|Add|Delete) File: (.+?)(?:\\n|\n|$)")
_EXIT_CODE = re.compile(r"(?:Exit code: |exited with code )(\d+)")
_OLD_FOLDER = re.compile(r"Current working directory: (\S+)|<cwd>(.*?)</cwd>")


class Part(msgspec.Struct, gc=False):
    """A part of a message, a summary or an output."""

    type: str = ""
    text: str | None = None


class Item(msgspec.Struct, gc=False):
    """The payload of a line, or a line of the first versions, which had no envelope."""

    type: str = ""
    role: str | None = None
    content: str | list[Part] | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    call_id: str | None = None
    id: str | None = None
    output: Any = None
    summary: str | list[Part] | None = None
    action: Any = None
    cwd: str | None = None
    model: str | None = None
    cli_version: str | None = None
    source: Any = None
    git: Any = None
    forked_from_id: str | None = None
    num_turns: int | None = None
    message: str | None = None
    replacement_history: list[msgspec.Raw] | None = None


class Line(msgspec.Struct, gc=False):
    """A line of a rollout."""

    type: str = ""
    timestamp: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    record_type: str | None = None


_ITEM = msgspec.json.Decoder(Item)


def recognise(path: Path, head: Head) -> str | None:
    """The version of Codex that wrote a file, `0` for the first form without envelopes; None if it did not write it."""
    if path.suffix != ".jsonl":
        return None
    for value in head.values:
        if str(value.get("type")) in _ENVELOPES and isinstance(value.get("payload"), dict):
            versions = (
                each["payload"].get("cli_version") for each in head.values if isinstance(each.get("payload"), dict)
            )
            return next((each for each in versions if isinstance(each, str)), "")
        if value.get("record_type") == "state" or (str(value.get("type")) in _ITEMS and "rollout" in path.name):
            return "0"
    return "" if {"session_meta", "payload"} <= head.keys or b'"type":"session_meta"' in head.data[:500] else None


def unit_of(path: Path) -> Path:
    """Each session is read on its own."""
    return path


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the records of sessions: one, and one more after each compaction."""
    for path, name in files:
        handle = open_file(path, name, drops)
        if handle is None:
            continue
        with handle:
            yield from _Session(name, legible(path.stem), options, drops).records(lines_of(handle, name, drops))


class _Session:
    def __init__(self, name: str, stem: str, options: LogOptions, drops: Drops) -> None:
        self.name = name
        self.options = options
        self.drops = drops
        self.session = stem
        self.sessions: dict[str, None] = {}
        self.agent: str | None = None
        self.cwd: str | None = None
        self.repository: str | None = None
        self.version: str | None = None
        self.model: str | None = None
        self.time: str | None = None
        self._begin()

    def _begin(self) -> None:
        self.talk = Conversation(self.options, self.drops)
        self.models: dict[str, None] = {}
        self.patches: dict[str, list[str]] = {}
        self.changed: set[str] = set()
        self._clear_turn()
        self.trained: bool | None = None

    def _clear_turn(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []

    def records(self, lines: Iterator[tuple[int, int, bytes]]) -> Iterator[Record]:
        for where, line, data in self._decoded(lines):
            if line.timestamp:
                self.time = line.timestamp
            raw = bytes(line.payload)
            if line.record_type is not None or line.type == "event_msg":
                self._event(line, raw)
                continue
            item = self._item(raw or data, where) if raw or data else None
            if item is None:
                continue
            if line.type == "compacted":
                yield from self._record(where)
                self._begin()
                self._compacted(item, where)
            elif line.type in ("session_meta", ""):
                self._meta(item)
            elif line.type == "turn_context":
                self.cwd, self.model = self.cwd or item.cwd, item.model or self.model
            elif line.type == "response_item" or not raw:
                self._response(item)
            else:
                self.drops.note(STEP, f"unknown record type: {printable(line.type)[:60]}")
        yield from self._record(self.name)

    def _decoded(self, lines: Iterator[tuple[int, int, bytes]]) -> Iterator[tuple[str, Line, bytes]]:
        """Yield (place, record, its bytes) of each record of the lines."""
        decoder = msgspec.json.Decoder(Line)
        for number, _, data in lines:
            where = f"{self.name}:{number}"
            for line, piece in values_of(data, decoder, where, self.drops):
                yield where, line, piece.text

    def _item(self, data: bytes, where: str) -> Item | None:
        try:
            return _ITEM.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return repaired(data, _ITEM, where, self.drops)

    def _event(self, line: Line, raw: bytes) -> None:
        """Events repeat what response items say, except for interruptions and turns that were taken back."""
        if b'"turn_aborted"' in raw[:200]:
            self.drops.note(STEP, "interrupted by the user")
            self._end_turn()
            self.talk.ends_badly = "interruption"
        elif b'"thread_rolled_back"' in raw[:200]:
            item = self._item(raw, self.name)
            self._end_turn()
            taken = self.talk.roll_back((item.num_turns if item else None) or 0)
            if taken:
                text = next((each.content for each in taken if each.role == "assistant"), "")
                self.drops.drop(STEP, "abandoned branch", self.name, text)
                self.drops.note(STEP, "turns of abandoned branches", len(taken))
        else:
            self.drops.note(STEP, "record type: event_msg" if line.type == "event_msg" else "record type: state")

    def _meta(self, item: Item) -> None:
        if item.id:
            if not self.sessions:
                self.session = item.id
            self.sessions[item.id] = None
        if item.forked_from_id:
            self.sessions[item.forked_from_id] = None
        self.cwd = self.cwd or item.cwd
        self.version = item.cli_version or self.version
        if isinstance(item.git, dict) and isinstance(address := item.git.get("repository_url"), str):
            self.repository = repository_name(address)
        if isinstance(item.source, dict) and "subagent" in item.source:
            self.agent = item.id or "sub-agent"
            parent = _find(item.source, "parent_thread_id")
            if parent:
                self.sessions[parent] = None

    def _compacted(self, item: Item, where: str) -> None:
        """A new segment: the history that the agent kept, or the summary, is its beginning and is not trained."""
        self.trained = False
        kept = [made for raw in item.replacement_history or () if (made := self._item(bytes(raw), where)) is not None]
        for each in kept:
            self._response(each)
        self._end_turn()
        self.trained = None
        if item.message:
            self.talk.user(item.message)

    def _response(self, item: Item) -> None:
        kind = item.type
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":
            if self.calls:
                self._end_turn()
            self.thoughts += _texts(item.summary) or _texts(item.content)
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            self._call(item)
        elif kind in ("function_call_output", "custom_tool_call_output", "local_shell_call_output"):
            self._output(item)
        else:
            self.drops.note(STEP, f"{'' if kind in _LEFT_OUT else 'unknown '}item left out: {printable(kind)[:60]}")

    def _message(self, item: Item) -> None:
        texts = _texts(item.content)
        for part in item.content if isinstance(item.content, list) else ():
            if part.type == "input_image":
                self.drops.note(STEP, "image replaced by a mark")
                texts.append(IMAGE)
        if item.role == "assistant":
            if self.calls:
                self._end_turn()
            self.texts += texts
        elif item.role == "user":
            self._end_turn()
            for text in texts:
                if text.lstrip().startswith(_INJECTED):
                    self._injected(text)
                else:
                    self.talk.user(text)
        else:
            self.drops.note(STEP, f"instructions left out: {printable(item.role or '')[:40]}")

    def _injected(self, text: str) -> None:
        self.drops.note(STEP, "text that the program added left out")
        if self.cwd is None and (found := _OLD_FOLDER.search(text)):
            self.cwd = found[1] or found[2]

    def _call(self, item: Item) -> None:
        call_id = item.call_id or item.id or ""
        if item.type == "function_call":
            name, arguments = item.name or "unknown", item.arguments or "{}"
        elif item.type == "custom_tool_call":
            name, arguments = item.name or "unknown", _json({"input": item.input or ""})
        else:
            command = item.action.get("command") if isinstance(item.action, dict) else None
            name, arguments = "local_shell", _json({"command": command})
        self.calls.append(call(call_id, name, arguments))
        patched = [each.strip().strip('"\\') for each in _PATCHED.findall(item.input or arguments)]
        if patched:
            self.patches[call_id] = patched

    def _output(self, item: Item) -> None:
        self._end_turn()
        text, failed = self._output_text(item.output)
        call_id = item.call_id or ""
        self.talk.result(call_id, text, error=failed)
        if not failed:
            self.changed.update(self.patches.pop(call_id, ()))

    def _output_text(self, output: Any) -> tuple[str, bool]:
        """The text of an output, which has had four forms so far, and whether it is an error."""
        failed = False
        if isinstance(output, dict):
            failed = output.get("success") is False
            output = output.get("content", output.get("output"))
        if isinstance(output, list):
            parts = []
            for part in output:
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    parts.append(part["text"])
                elif isinstance(part, dict) and part.get("type") == "input_image":
                    self.drops.note(STEP, "image replaced by a mark")
                    parts.append(IMAGE)
            return "\n".join(parts), failed
        if not isinstance(output, str):
            return "", failed
        if output.startswith('{"output":'):
            try:
                value = msgspec.json.decode(output)
                code = value.get("metadata", {}).get("exit_code", 0)
                return str(value["output"]), failed or code != 0
            except (msgspec.DecodeError, AttributeError, KeyError, RecursionError):
                pass
        if output.startswith('[{"'):  # what a server of the Model Context Protocol returned
            try:
                parts = msgspec.json.decode(output, type=list[Part])
                if parts and all(part.text is not None for part in parts):
                    return "\n".join(part.text or "" for part in parts), failed
            except (msgspec.DecodeError, RecursionError):
                pass
        found = _EXIT_CODE.search(output, 0, 300)
        failed = failed or output.startswith("tool call error:") or (found is not None and found[1] != "0")
        return output, failed

    def _end_turn(self) -> None:
        if self.texts or self.calls or self.thoughts:
            if self.model and self.trained is not False:
                self.models[self.model] = None
                self.drops.note(STEP, model_note(self.model))
            self.talk.assistant("\n\n".join(self.texts), self.calls, "\n\n".join(self.thoughts), trained=self.trained)
            self._clear_turn()

    def _record(self, where: str) -> Iterator[Record]:
        self._end_turn()
        messages = self.talk.finish()
        if not messages or not any(is_trained(each) for each in messages):
            self.drops.drop(STEP, "conversation without an answer", where)
            return
        if self.agent is not None and self.options.subagents == "drop":
            self.drops.drop(STEP, "sub-agent", where)
            return
        if self.talk.left_out_as_failed(where):
            return
        repository = self.repository or repository_of(self.cwd)
        files = [path for each in self.changed if (path := path_within(each, self.cwd)) is not None]
        yield Record(
            kind="chat",
            messages=messages,
            provenance=Provenance(
                source=NAME, file=self.name, session=self.session, agent=self.agent, repository=repository,
                time=utc(self.time), model=", ".join(self.models) or None, version=self.version,
            ),
            links=links_of(self.sessions or [self.session], files, repository),
        )  # fmt: skip


_LEFT_OUT = frozenset(("web_search_call", "ghost_snapshot", "compaction", "compaction_summary", "other"))


def repository_name(address: str) -> str | None:
    """The last part of a repository's address, without `.git`."""
    return repository_of(address.removesuffix("/").removesuffix(".git").replace(":", "/"))


def _texts(content: str | list[Part] | None) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part.text for part in content or () if part.text]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _find(value: Any, key: str) -> str | None:
    """The text below a key somewhere in a nested value."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            return str(value[key])
        return next((found for each in value.values() if (found := _find(each, key))), None)
    return None
