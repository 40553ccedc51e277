"""Records what the show writes, in the format asciicast v2 (docs.asciinema.org/manual/asciicast/v2)."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from seedbed.errors import SeedbedError, storage_error
from seedbed.text import quoted


class Recording:
    """A new file that is valid after every write. Raises SeedbedError if it exists or cannot be written."""

    def __init__(self, path: Path, width: int, height: int, title: str) -> None:
        self._path = path
        self._header = {"version": 2, "width": width, "height": height, "title": title}
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("x", encoding="utf-8")
        except FileExistsError:
            raise SeedbedError(
                f"{quoted(self._path)} exists already.", "Choose a new name for --record, or remove the file."
            ) from None
        except OSError as error:
            raise storage_error(quoted(self._path), error) from error
        self._line(self._header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, at_s: float, text: str) -> None:
        """Record that a text was written `at_s` seconds after the beginning."""
        self._line([round(at_s, 4), "o", text.replace("\n", "\r\n")])

    def _line(self, value: object) -> None:
        assert self._file is not None, "the recording is open"
        try:
            self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise storage_error(quoted(self._path), error) from error
