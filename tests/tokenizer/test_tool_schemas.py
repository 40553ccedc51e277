"""Files of tools: what is accepted, and which position an error names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import UsageError
from seedbed.tokenizer.tool_schemas import read_tools

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in Z\u00fcrich",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        "strict": True,
    },
}
TIME: dict[str, Any] = {"type": "function", "function": {"name": "time"}}


def written(folder: Path, content: bytes | str | Any) -> Path:
    path = folder / "tools.json"
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_tools_are_read_with_all_their_keys_in_their_order(tmp_path: Path) -> None:
    found = read_tools(written(tmp_path, [WEATHER, TIME]))
    assert json.dumps(found) == json.dumps([WEATHER, TIME])
    assert read_tools(written(tmp_path, b"\xef\xbb\xbf" + json.dumps([TIME]).encode())) == [TIME]


WRONG: list[tuple[Any, str]] = [
    ('[\n  {"type": "function",}\n]', "not valid JSON: line 2, column "),
    ("", "is empty"),
    (b"[\xff]", "not UTF-8 text: byte 2 "),
    ('[{"type": "function", "function": {"name": "f", "x": NaN}}]', "NaN is not a number of JSON"),
    ('[{"type": "function", "function": {"name": "\\ud800"}}]', r"surrogate pair \(\\ud800\)"),
    ("[" * 100_000, "nested too deeply"),
    (WEATHER, "has an object, not a list of tools"),
    ("7", "has a number, not a list"),
    ([], "list of tools in .* is empty"),
    ([TIME, "weather"], "tool 2 of 2 is a text, not an object"),
    ([{"name": "f"}], 'tool 1 of 1 needs "type": "function", but its type is missing'),
    ([{"type": "custom", "name": "f"}], 'tool 1 of 1 .* but its type is "custom"'),
    ([{"type": "function", "name": "f"}], 'tool 1 of 1 needs a "function" with a name, but "function" is missing'),
    ([{"type": "function", "function": "f"}], '"function" is a text, not an object'),
    ([WEATHER, TIME, {"type": "function", "function": {"description": "x"}}], "tool 3 of 3 has no name: .* is missing"),
    ([{"type": "function", "function": {"name": 7}}], "has no name: .* is 7"),
    ([{"type": "function", "function": {"name": " "}}], 'has no name: .* is " "'),
    ([{"type": "function", "function": {"name": "f", "parameters": ["x"]}}], '"parameters" that are a list'),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_file_is_refused_with_the_position(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        read_tools(written(tmp_path, content))
    assert "tools.json" in refused.value.message
    assert refused.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read the tools from .*nowhere\.json"):
        read_tools(tmp_path / "nowhere.json")
