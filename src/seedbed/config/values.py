"""Read the value of a key from typed text, check it against the key's type and bounds, and write it as TOML."""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any

import msgspec

from seedbed import text
from seedbed.config.keys import Key
from seedbed.config.spelling import did_you_mean, nearest
from seedbed.errors import UsageError


def typed(key: Key, raw: str) -> Any:
    """The value that a text from the command line stands for; the text itself if it does not fit the key's type."""
    if key.base is bool:
        return {"true": True, "false": False}.get(raw, raw)
    if key.base in (int, float):
        try:
            return int(raw) if key.base is int else float(raw)
        except ValueError:
            try:
                return float(raw)
            except ValueError:
                return raw
    if raw[:1] in ('"', "'") or (raw[:1] == "[" and key.base is tuple):
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw
        raw = value
    return [raw] if key.base is tuple and isinstance(raw, str) else raw


def convert(key: Key, value: Any, origin: str) -> Any:
    """Convert a value to the key's type. Whole numbers may be written 1e6. Raises UsageError if type or bounds do not fit."""
    plain = value
    if key.base is int and isinstance(value, float) and value.is_integer():
        plain = int(value)
    if isinstance(value, str) and key.base is str and not text.is_utf_8(value):
        raise UsageError(
            f"{key.path} ({origin}) is {text.quoted(value)}, which is not UTF-8. A config must be UTF-8.",
            "Rename the file or folder, give a link to it whose name is UTF-8, or type the text again.",
        )
    try:
        converted = msgspec.convert(plain, key.annotation)
    except msgspec.ValidationError:
        converted = None
    huge = isinstance(converted, int) and converted >= 2**63
    if converted is None or huge or (isinstance(converted, float) and not math.isfinite(converted)):
        number = (
            " In a file, write numbers, true and false without quotes."
            if isinstance(value, str) and key.base is not str and origin.startswith("file")
            else ""
        )
        close = nearest(value, key.choices) if isinstance(value, str) else []
        raise UsageError(
            f"{key.path} ({origin}) is {shown(value)}; expected {key.expected}.",
            f"{did_you_mean(close)}{key.path}: {key.help}{number}",
        )
    return converted


def toml_value(value: Any) -> str:
    """A value as TOML on one line, such as `["a", "b"]`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)


def shown(value: Any) -> str:
    """A value as text for a message: as the user may have written it, shortened and safe to print."""
    if isinstance(value, dict):
        return "a table"
    written = toml_value(value) if isinstance(value, str | bool | list | int | float) else str(value)
    return text.shorten(text.printable(written), 60)
