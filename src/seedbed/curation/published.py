"""What dataset.json may say of commands, paths and settings: datasets are given to others, so no secret and no home folder."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seedbed.curation.redaction.redactor import Redactor

_IN_URL = re.compile(r"(?<=\bhttps://)[^/@\s]*@|(?<=\bhttp://)[^/@\s]*@")


def command_of(meta: Mapping[str, Any]) -> str:
    """The command that made a task, as it is typed; "" if it is not known. It may have secrets; see `without_secrets`."""
    words = [str(word) for word in meta.get("command") or ()]
    return shlex.join(["seedbed", *words[1:]]) if words else ""


def without_secrets(value: Any, mask: Callable[[str], str] | None = None) -> Any:
    """A JSON value whose texts have no credentials, no secret, and `~` for the user's home folder, which Seedbed reads again.

    `mask`: redacts a text as the rows were; None: all that redaction knows.
    """
    return _changed(value, mask or Redactor(os.urandom(32)).redact_text, _home())


def _changed(value: Any, mask: Callable[[str], str], home: re.Pattern[str] | None) -> Any:
    if isinstance(value, str):
        text = _IN_URL.sub("", value)
        return mask(home.sub("~", text) if home is not None else text)
    if isinstance(value, Mapping):
        return {name: _changed(each, mask, home) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(each, mask, home) for each in value]
    return value


def _home() -> re.Pattern[str] | None:
    """The home folder as the beginning of a path; None if there is none, or if it is the whole system."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return None
    return re.compile(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])") if len(home) > 1 else None
