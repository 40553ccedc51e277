"""The beginning of a file, by which its format is recognised."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

HEAD_BYTES = 64 << 10
"""How much is looked at."""
_VALUES = 20
_KEY = re.compile(rb'"([A-Za-z_$][\w$-]{0,60})"\s*:')


class Head(NamedTuple):
    """The beginning of a file: its bytes; its first JSON objects; and the names of all keys, also of nested ones.

    Objects are those of the first complete lines, or the first elements of an array, or the file itself.
    """

    data: bytes
    values: list[dict[str, Any]]
    keys: frozenset[str]


def head_of(path: Path) -> Head:
    """Read the beginning of a file. Raises OSError if it cannot be read."""
    with path.open("rb") as handle:
        data = handle.read(HEAD_BYTES)
    return parse_head(data)


def parse_head(data: bytes) -> Head:
    """The beginning of a file from its first bytes."""
    keys = frozenset(match.decode("ascii", "replace") for match in _KEY.findall(data))
    text = data.decode("utf-8", "replace").lstrip("\ufeff\0 \t\r\n")
    values = _first_values(text)
    return Head(data, [each for each in values if isinstance(each, dict)], keys)


def _first_values(text: str) -> list[Any]:
    """The first JSON values of lines, or of an array; of a value that the beginning cuts off, nothing."""
    decoder = json.JSONDecoder(strict=False)
    found: list[Any] = []
    at = 0
    if text.startswith("["):
        at = 1
    while len(found) < _VALUES:
        while at < len(text) and text[at] in " \t\r\n,\0":
            at += 1
        if at >= len(text):
            break
        try:
            value, at = decoder.raw_decode(text, at)
            found.append(value)
        except (ValueError, RecursionError):
            following = text.find("\n", at)
            if following < 0 or text.startswith("["):
                break
            at = following + 1
    return found
