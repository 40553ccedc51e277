"""The tools that a chat template gets: a JSON file with a list of the schemas of functions, as in OpenAI's chat API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from seedbed.errors import UsageError
from seedbed.text import legible, quoted, shorten

_FORM = '{"type": "function", "function": {"name": "...", "description": "...", "parameters": {...}}}'


def read_tools(path: Path) -> list[dict[str, Any]]:
    """The tools in a JSON file, in their order, with all their keys.

    Raises UsageError, with the position, if the file cannot be read, is not JSON, or is not a list of tools with a name each.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"Cannot read the tools from {quoted(path)}: {why}.", "Check the path.") from error
    if not raw.strip():
        raise UsageError(f"The file of the tools, {quoted(path)}, is empty.", f"Put a list of tools into it: [{_FORM}]")
    tools = _parsed(raw, path)
    if not isinstance(tools, list):
        raise UsageError(
            f"{quoted(path)} has {_kind(tools)}, not a list of tools.",
            f"Put the tools into a list: [{_FORM}]",
        )
    if not tools:
        raise UsageError(f"The list of tools in {quoted(path)} is empty.", "Add a tool to it, or leave out --tools.")
    for number, tool in enumerate(tools, 1):
        problem = _problem(tool)
        if problem:
            raise UsageError(f"{quoted(path)}: tool {number} of {len(tools)} {problem}.", f"Each tool is {_FORM}.")
    return tools


def _parsed(raw: bytes, path: Path) -> Any:
    """The value that a JSON text has."""
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails for half a surrogate pair, which is no text
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{quoted(path)} is not UTF-8 text: byte {error.start + 1:,} is not valid.", "Save the file as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{quoted(path)} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}.",
            "Correct the file at this position.",
        ) from error
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{quoted(path)} has half a surrogate pair (\\u{ord(error.object[error.start]):04x}), which is not a character.",
            "Write the whole pair, or the character itself.",
        ) from error
    except RecursionError as error:
        raise UsageError(f"{quoted(path)} is nested too deeply.", "Write a list of tools.") from error
    except ValueError as error:
        raise UsageError(f"{quoted(path)} is not valid JSON: {error}.", "Correct the file.") from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _problem(tool: Any) -> str:
    """What is wrong with a tool, as the end of a sentence about it; "" if nothing is."""
    if not isinstance(tool, dict):
        return f"is {_kind(tool)}, not an object"
    if tool.get("type") != "function":
        found = f"is {_shown(tool['type'])}" if "type" in tool else "is missing"
        return f'needs "type": "function", but its type {found}'
    function = tool.get("function")
    if not isinstance(function, dict):
        found = f"is {_kind(function)}, not an object" if "function" in tool else "is missing"
        return f'needs a "function" with a name, but "function" {found}'
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        found = f"is {_shown(name)}" if "name" in function else "is missing"
        return f'has no name: "name" in its "function" {found}'
    if not isinstance(function.get("parameters") or {}, dict):
        return f'({quoted(name)}) has "parameters" that are {_kind(function["parameters"])}, not an object'
    return ""


def _kind(value: Any) -> str:
    """The kind of a JSON value, with its article."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
    return kinds.get(type(value), "a number")


def _shown(value: Any) -> str:
    """A JSON value for a message, cut if it is long."""
    return legible(shorten(json.dumps(value, ensure_ascii=False), 40))
