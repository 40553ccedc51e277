"""The formats of logs and chat datasets that can be read: one module each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from seedbed.curation.drops import Drops
from seedbed.curation.logs import (
    aider,
    alpaca,
    chatgpt,
    claude_ai,
    claude_code,
    cline,
    codex,
    openai_messages,
    sharegpt,
)
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.options import LogOptions
from seedbed.curation.record import Record


class Format(Protocol):
    """A module that reads one format."""

    NAME: str
    """Its name, as the user writes it."""

    def recognise(self, path: Path, head: Head, /) -> str | None:
        """The version of the format in which a file is written ("" if it has none); None if it is another format."""
        ...

    def unit_of(self, path: Path, /) -> Path:
        """The file or folder that is read together with a file, as one unit."""
        ...

    def read(self, files: list[tuple[Path, str]], options: LogOptions, drops: Drops, /) -> Iterator[Record]:
        """Yield the records of a unit. `files`: path and name for messages, sorted by name."""
        ...


FORMATS: dict[str, Format] = {
    module.NAME: module
    for module in (
        claude_code,
        codex,
        cline,
        aider,
        claude_ai,
        chatgpt,
        sharegpt,
        openai_messages,
        alpaca,
    )
}
"""Name -> the module that reads it, in the order in which they are tried."""
