"""Make the paths in a config absolute when the config is read, so that a run finds them from any working directory."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from seedbed import text
from seedbed.config.keys import Key
from seedbed.config.source import is_dataset, parse_address
from seedbed.errors import UsageError
from seedbed.files import expand_home
from seedbed.hub.names import is_hub_reference

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+-]+:")


def located(key: Key, value: Any, folder: Path) -> Any:
    """The value of a key, with any path in it made absolute: `~` expands, and a relative path starts at `folder`.

    Raises UsageError if the absolute path is not UTF-8.
    """
    if key.refers_to == "path":
        return _absolute(value, folder) if value else value
    if key.refers_to == "model":
        return _absolute(value, folder) if is_model_path(value) else value
    return _located_source(value, folder) if key.refers_to == "source" else value


def is_model_path(value: str) -> bool:
    """Whether the value of `base.model` is a path: it has a slash or begins with ~ or a dot, and is not hub:NAME."""
    return not is_hub_reference(value) and ("/" in value or value.startswith(("~", ".")))


def _located_source(value: str, folder: Path) -> str:
    scheme = _SCHEME.match(value)
    if scheme:
        rest = value[scheme.end() :]
        if scheme[0] == "hf:" and rest:
            return scheme[0] + _located_dataset(rest, folder)
        return scheme[0] + _absolute(rest, folder) if scheme[0] == "text:" and rest else value
    if "/" in value or value.startswith(("~", ".")) or is_dataset(value, folder):
        return _absolute(value, folder)
    return value


def _located_dataset(rest: str, folder: Path) -> str:
    """The part of a source after `hf:`, with the path of a local folder made absolute; a name on the Hub stays as it is."""
    address = parse_address(rest, folder)
    if address.folder is None:
        return rest
    return _absolute(address.name, folder) + rest[len(address.name) :]


def _absolute(path: str, folder: Path) -> str:
    absolute = os.path.normpath(folder / expand_home(path))
    if not text.is_utf_8(absolute):
        raise UsageError(
            f"The full path of {text.quoted(path)} is {text.quoted(absolute)}, which is not UTF-8. A config must be UTF-8.",
            "Rename the folder, or make a symbolic link to it with a UTF-8 name and give the path of that link.",
        )
    return absolute
