"""Reads the tasks of Cline and Roo Code: `api_conversation_history.json` in a folder for each task.

The file is an array of Anthropic's messages. Tool calls are blocks, or XML at the end of a text, such as
`<read_file><path>a.py</path></read_file>`; the results of these are texts like `[read_file for 'a.py'] Result:`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.blocks import Block, Inner
from seedbed.curation.logs.conversation import IMAGE, Conversation, call, model_note
from seedbed.curation.logs.elements import objects_of
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.lines import values_of
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.provenance import links_of, path_within, repository_of, utc
from seedbed.curation.record import Provenance, Record, ToolCall, is_trained
from seedbed.text import legible, printable

NAME = "cline"
FILE = "api_conversation_history.json"

_TOOLS = (
    "execute_command", "read_file", "write_to_file", "replace_in_file", "apply_diff", "insert_content",
    "search_and_replace", "search_files", "list_files", "list_code_definition_names", "codebase_search",
    "browser_action", "use_mcp_tool", "access_mcp_resource", "ask_followup_question", "attempt_completion", "new_task",
    "plan_mode_respond", "load_mcp_documentation", "switch_mode", "fetch_instructions", "update_todo_list", "new_rule",
    "condense", "web_fetch", "run_slash_command", "edit_file", "search_replace", "generate_image",
)  # fmt: skip
_EDITS = frozenset(
    (
        "write_to_file",
        "replace_in_file",
        "apply_diff",
        "insert_content",
        "search_and_replace",
        "edit_file",
        "search_replace",
    )
)
_XML_CALL = re.compile(r"<(" + "|".join(_TOOLS) + r")>(.*)</\1>\s*$", re.DOTALL)
_ANY_CALL = re.compile(r"<(" + "|".join(_TOOLS) + r")>")
_PARAMETER = re.compile(r"\s*<([A-Za-z_]\w*)>")
_DETAILS = re.compile(r"\s*<environment_details>.*?</environment_details>\s*", re.DOTALL)
_RESULT = re.compile(r"\[(\w+)(?: for .*?)?\] Result:\s*", re.DOTALL)
_WRAPPED = re.compile(r"\s*<(task|feedback|user_message|answer)>\s*(.*?)\s*</\1>\s*", re.DOTALL)
_FOLDER = re.compile(r"# Current (?:Working|Workspace) Directory \((.*?)\) Files")


class Turn(msgspec.Struct, gc=False):
    """A message."""

    role: str = ""
    content: str | list[Block | str] | None = None
    ts: int | float | None = None


class XmlCall(NamedTuple):
    """A tool call in a text: the text before it, the tool, and its parameters."""

    before: str
    tool: str
    parameters: dict[str, str]


def recognise(path: Path, head: Head) -> str | None:
    """ "" if a file has the messages of a task; None otherwise."""
    return "" if path.name == FILE and {"role", "content"} <= head.keys else None


def unit_of(path: Path) -> Path:
    """The folder of the task."""
    return path.parent


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each task."""
    decoder = msgspec.json.Decoder(Turn)
    for path, name in files:
        task = _Task(path, options, drops)
        for where, data in objects_of(path, name, drops):
            for turn, _ in values_of(data, decoder, where, drops):
                task.add(turn)
        yield from task.record(name)


def xml_call(text: str) -> XmlCall | None:
    """The tool call at the end of a text; None if there is none, or if it is not well-formed."""
    start = next((each.start() for each in _ANY_CALL.finditer(text) if _XML_CALL.match(text, each.start())), -1)
    found = _XML_CALL.match(text, start) if start >= 0 else None
    if found is None:
        return None
    body, at = found[2], 0
    parameters: dict[str, str] = {}
    while opened := _PARAMETER.match(body, at):
        name = opened[1]
        closing = f"</{name}>"
        # Contents of files may have tags of their own: such a parameter ends at the last closing tag.
        end = body.rfind(closing) if name in ("content", "diff", "result") else body.find(closing, opened.end())
        if end < opened.end() or name in parameters:
            return None
        value = body[opened.end() : end]
        parameters[name] = value.removeprefix("\n").removesuffix("\n") if "\n" in value else value
        at = end + len(closing)
    return None if body[at:].strip() else XmlCall(text[:start].rstrip(), found[1], parameters)


class _Task:
    def __init__(self, path: Path, options: LogOptions, drops: Drops) -> None:
        self.drops = drops
        self.session = legible(path.parent.name)
        self.talk = Conversation(options, drops)
        self.models = _models(path.parent / "task_metadata.json")
        self.cwd: str | None = None
        self.time: float | None = float(self.session) if self.session.isdigit() else None
        self.xml: tuple[str, str] | None = None  # id and tool of an XML call that waits for its result
        self.edits: dict[str, str] = {}
        self.changed: set[str] = set()

    def add(self, turn: Turn) -> None:
        self.time = turn.ts or self.time
        blocks: list[Block | str] = [turn.content] if isinstance(turn.content, str) else turn.content or []
        if turn.role == "assistant":
            self._assistant(blocks)
        elif turn.role == "user":
            self._user(blocks)
        else:
            self.drops.note(STEP, f"unknown role: {printable(turn.role)[:40]}")

    def record(self, name: str) -> Iterator[Record]:
        messages = self.talk.finish()
        if not any(is_trained(each) for each in messages):
            self.drops.drop(STEP, "conversation without an answer", name)
            return
        if self.talk.left_out_as_failed(name):
            return
        answers = sum(each.role == "assistant" for each in messages)
        for model in self.models:  # which of several models wrote which turn is not in the files
            self.drops.note(STEP, model_note(model), max(answers // len(self.models), 1))
        repository = repository_of(self.cwd)
        files = [path for each in self.changed if (path := path_within(each, self.cwd)) is not None]
        yield Record(
            kind="chat",
            messages=messages,
            provenance=Provenance(
                source=NAME, file=name, session=self.session, repository=repository, time=utc(self.time),
                model=", ".join(self.models) or None,
            ),
            links=links_of([self.session], files, repository),
        )  # fmt: skip

    def _assistant(self, blocks: list[Block | str]) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        self.xml = None
        for block in blocks:
            if isinstance(block, str):
                texts.append(block)
            elif block.type == "text":
                texts.append(block.text or "")
            elif block.type == "thinking":
                thoughts.append(block.thinking or "")
            elif block.type == "tool_use":
                call_id = block.id or self.talk.new_id(len(calls))
                calls.append(call(call_id, block.name or "unknown", _compact(bytes(block.input))))
            else:
                self.drops.note(STEP, f"block left out: {printable(block.type)[:60]}")
        text = "\n\n".join(filter(None, texts))
        if not calls and (made := xml_call(text)) is not None:
            text = made.before
            call_id = self.talk.new_id(0)
            self.xml = (call_id, made.tool)
            calls.append(call(call_id, made.tool, msgspec.json.encode(made.parameters).decode()))
            if made.tool in _EDITS and (path := made.parameters.get("path")):
                self.edits[call_id] = path
        elif not calls and _ANY_CALL.search(text):
            self.drops.note(STEP, "tool call in XML that is not well-formed, kept as text")
        self.talk.assistant(text, calls, "\n\n".join(filter(None, thoughts)))

    def _user(self, blocks: list[Block | str]) -> None:
        result: list[str] | None = None  # texts of the result of the XML call
        said: list[str] = []
        for block in blocks:
            if isinstance(block, Block) and block.type == "tool_result":
                error = block.is_error is True
                self.talk.result(
                    block.tool_use_id or "", self._without_details(_inner_text(block.content)), error=error
                )
                continue
            if isinstance(block, Block) and block.type == "image":
                self.drops.note(STEP, "image replaced by a mark")
                text = IMAGE
            elif isinstance(block, Block) and block.type != "text":
                self.drops.note(STEP, f"block left out: {printable(block.type)[:60]}")
                continue
            else:
                text = self._without_details(block if isinstance(block, str) else block.text or "")
            begins = _RESULT.match(text)
            if self.xml is not None and result is None and begins is not None and begins[1] == self.xml[1]:
                result = [text[begins.end() :]]
            elif wrapped := _WRAPPED.fullmatch(text):
                said.append(wrapped[2])
            elif result is not None:
                result.append(text)
            else:
                said.append(text)
        if self.xml is not None and result is not None:
            call_id = self.xml[0]
            text = "\n".join(filter(None, result))
            denied = "The user denied this operation" in text[:200]
            self.talk.result(call_id, text, error="<error>" in text[:200] or denied)
            if call_id in self.edits and not denied and "<error>" not in text[:200]:
                self.changed.add(self.edits.pop(call_id))
        self.xml = None
        for text in said:
            self.talk.user(text)

    def _without_details(self, text: str) -> str:
        """The text without what the program added about the editor; the working directory is kept for provenance."""
        if self.cwd is None and (found := _FOLDER.search(text)):
            self.cwd = found[1]
        plain, count = _DETAILS.subn("", text)
        if count:
            self.drops.note(STEP, "text that the program added left out", count)
        return plain


def _inner_text(content: str | list[Inner | str] | None) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    texts = [each if isinstance(each, str) else IMAGE if each.type == "image" else each.text or "" for each in content]
    return "\n".join(filter(None, texts))


def _compact(arguments: bytes) -> str:
    """A JSON text without the indentation of the file."""
    return msgspec.json.format(arguments, indent=-1).decode("utf-8", "replace")


class _ModelUse(msgspec.Struct):
    model_id: str | None = None


class _Metadata(msgspec.Struct):
    model_usage: list[_ModelUse] = []


def _models(path: Path) -> list[str]:
    """The names of the models that a task used, in order; none if its metadata cannot be read."""
    try:
        if path.stat().st_size > 16 << 20:
            return []
        used = msgspec.json.decode(path.read_bytes(), type=_Metadata).model_usage
    except (OSError, msgspec.DecodeError, RecursionError):
        return []
    return list(dict.fromkeys(each.model_id for each in used if each.model_id))
