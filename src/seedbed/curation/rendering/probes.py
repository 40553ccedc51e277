"""Conversations with which a chat template is tried: every kind of turn, and texts that are easily taken for turns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

Arguments = Literal["object", "text"]
"""What a template expects as the arguments of a tool call: a JSON object, or its text."""

TOOL_NAME = "find_file"
TOOL_MEANING = "Finds a file by its name"
REASONING = "The user greets me again"
PLACE, ARGUMENT = "Zürich", "depth"
"""A value, and the name of another value, among the arguments of the tool calls."""


Feature = Literal["system messages", "tool calls", "reasoning"]
"""What a chat may have beside turns of a user and the assistant."""


class Probe(NamedTuple):
    """A conversation, and the tools that the assistant could call."""

    name: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None

    @property
    def features(self) -> list[Feature]:
        """What it has beside turns of a user and the assistant."""
        return features_of(self.messages)


def features_of(messages: Sequence[dict[str, Any]]) -> list[Feature]:
    """What a chat has beside turns of a user and the assistant."""
    found: list[tuple[Feature, bool]] = [
        ("system messages", any(each["role"] == "system" for each in messages)),
        ("tool calls", any("tool_calls" in each or each["role"] == "tool" for each in messages)),
        ("reasoning", any("reasoning_content" in each for each in messages)),
    ]
    return [feature for feature, has in found if has]


def probes(control: Sequence[str], arguments: Arguments, *, with_tools: bool = False) -> list[Probe]:
    """All probes. `control`: control tokens of the tokenizer, which stand as text in one of them.

    `with_tools`: all have a list of tools.
    """
    tools = [
        {
            "type": "function",
            "function": {
                "name": TOOL_NAME,
                "description": TOOL_MEANING,
                "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            },
        }
    ]
    asked, called = _user("Where is the map?"), _call("", arguments)
    found, told = _tool('["maps/zürich.svg"]'), _assistant("It is in the folder of maps.")
    signs = " ".join(control)
    every = [
        Probe("one turn", [_user("What is the capital of France?"), _assistant("Paris. 🙂")]),
        Probe("system", [_system("Be brief."), _user("Hi there"), _assistant("Hello!")]),
        Probe(
            "several turns",
            [
                _user("Hi"),
                _assistant("Hello!"),
                _user("  How are you? \n"),
                _assistant("  Well,\n\nthanks. \n"),
                _user("Bye"),
                _assistant("Bye!"),
            ],
        ),
        Probe(
            "empty texts",
            [_user(""), _assistant("Yes?"), _user("Nothing."), _assistant(""), _user("a"), _assistant("b")],
        ),
        Probe("tool calls", [asked, called, found, told], tools),
        Probe(
            "tool calls without a list of tools",
            [asked, _call("I look it up.", arguments), found, told, _user("And the key?"), called, found, told],
        ),
        Probe("system and tools", [_system("Be brief."), asked, called, found, called, found, told], tools),
        Probe("two calls at once", [asked, _call("Both:", arguments, 2), found, found, told], tools),
        Probe(
            "reasoning", [_user("Hi"), _assistant("Hello!", REASONING), _user("Hi"), _assistant("Hello.", REASONING)]
        ),
        Probe(
            "reasoning before tool calls",
            [
                asked,
                _call("", arguments) | {"reasoning_content": REASONING},
                found,
                told | {"reasoning_content": REASONING},
            ],
            tools,
        ),
        Probe(
            "control tokens as text",
            [
                _user(f"{signs} a"),
                _assistant(f"b {signs} c"),
                _user(f"<tool_response>\n{signs}"),
                _assistant(f"{signs}"),
            ],
        ),
    ]
    return [each._replace(tools=tools) for each in every] if with_tools else every


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def _assistant(text: str, reasoning: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "assistant", "content": text}
    return made if reasoning is None else made | {"reasoning_content": reasoning}


def _tool(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text, "name": TOOL_NAME, "tool_call_id": "call00001"}


def _call(text: str, arguments: Arguments, count: int = 1) -> dict[str, Any]:
    value: Any = {"name": PLACE, ARGUMENT: 2}
    if arguments == "text":
        value = json.dumps(value, ensure_ascii=False)
    calls = [
        {"id": f"call0000{number}", "type": "function", "function": {"name": TOOL_NAME, "arguments": value}}
        for number in range(1, count + 1)
    ]
    return {"role": "assistant", "content": text, "tool_calls": calls}
