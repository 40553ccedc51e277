"""How `seedbed generate` prints its samples (generated texts): in a pipe, on a terminal, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol


class Writer(Protocol):
    """Prints samples (generated texts) piece by piece while they are generated."""

    def ready(self, about: dict[str, Any]) -> None:
        """Receive the first answer of the generating process, which is about the model and the settings."""

    def text(self, sample: int, chunk: str) -> None:
        """Receive the next piece of the text of the sample with this number (from 0)."""

    def done(self, end: dict[str, Any]) -> None:
        """Receive the end of a sample; `end` is the last answer of the generating process about that sample."""


class PipeWriter:
    """Writes the exact bytes of each sample to a pipe or file: prompt, generated text, newline."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._begun = -1

    def ready(self, about: dict[str, Any]) -> None:
        """Nothing is written before the first piece."""

    def text(self, sample: int, chunk: str) -> None:
        """Write the piece immediately; before the first piece of a sample, write the prompt."""
        if sample != self._begun:
            self._begun = sample
            chunk = self._prompt + chunk
        sys.stdout.buffer.write(chunk.encode())
        sys.stdout.buffer.flush()

    def done(self, end: dict[str, Any]) -> None:
        """Write the newline that ends the sample."""
        if end["sample"] != self._begun:
            self.text(end["sample"], "")
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


class TerminalWriter:
    """Prints each sample on a terminal: the prompt in bold, no control characters, figures on stderr."""

    def __init__(self, prompt: str, num_samples: int) -> None:
        self._prompt = prompt
        self._num_samples = num_samples
        self._begun = -1

    def ready(self, about: dict[str, Any]) -> None:
        """Nothing is printed before the first piece."""

    def text(self, sample: int, chunk: str) -> None:
        """Print the piece; before the first piece of a sample, print the prompt."""
        from seedbed.cli.console import paint
        from seedbed.text import printable

        if sample != self._begun:
            self._begun = sample
            if self._num_samples > 1:
                print(paint(f"{chr(10) if sample else ''}sample {sample + 1} of {self._num_samples}", "dim"))
            print(paint(printable(self._prompt, newlines=True), "bold"), end="")
        print(printable(chunk, newlines=True), end="", flush=True)

    def done(self, end: dict[str, Any]) -> None:
        """End the line and print the figures of the sample on stderr."""
        from seedbed.cli.console import folded, note, paint
        from seedbed.presentation.generation import result_text

        if end["sample"] != self._begun:
            self.text(end["sample"], "")
        print(flush=True)
        figures = result_text([end])
        for line in folded(figures) if sys.stderr.isatty() else [figures]:
            note(paint(line, "dim", sys.stderr))


class JsonWriter:
    """Prints each sample as a JSON object when the sample has ended."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._chunks: list[str] = []

    def ready(self, about: dict[str, Any]) -> None:
        """Keep what the objects say about the prompt and the settings."""
        kept = ("prompt_tokens", "dropped_tokens", "precision", "settings", "template")
        self._about = {**self._about, **{key: about[key] for key in kept if key in about}}

    def text(self, sample: int, chunk: str) -> None:
        """Keep the piece until the sample has ended."""
        self._chunks.append(chunk)

    def done(self, end: dict[str, Any]) -> None:
        """Print the sample as a JSON object."""
        figures = {key: value for key, value in end.items() if key != "done"}
        print(json.dumps({**self._about, "text": "".join(self._chunks), **figures}), flush=True)
        self._chunks.clear()
