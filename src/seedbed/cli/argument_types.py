"""Types of command-line arguments: numbers within a range, and paths."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

_ROW_KINDS = {
    **dict.fromkeys(("chat", "conversation", "conversations"), "chat"),
    **dict.fromkeys(("fim", "gap", "gaps", "gap to fill", "gaps to fill"), "fim"),
    "text": "text",
}
"""Name of a kind of rows, in files or in reports -> its name in files."""


def whole(low: int) -> Callable[[str], int]:
    """Make an argument type (a function from word to value) for whole numbers of at least `low`."""

    def parse(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{word}" is not a whole number') from None
        if not low <= value < 2**63:
            raise argparse.ArgumentTypeError(f"{word} is not {low} or more" if value < low else f"{word} is too large")
        return value

    return parse


def real(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Make an argument type (a function from word to value) for finite numbers between `low` and `high`."""

    def parse(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{word}" is not a number') from None
        if math.isinf(value):
            raise argparse.ArgumentTypeError(f"{word} is too large")
        if not low <= value <= high:
            bounds = f"{low:g} or more" if high == math.inf else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"{word} is not {bounds}")
        return value

    return parse


def file_path(word: str) -> Path:
    """An argument type: the path of a file. An empty text, which would be the working directory, is refused."""
    if not word.strip():
        raise argparse.ArgumentTypeError("the file name is empty")
    return Path(word)


def row_kind(word: str) -> str:
    """An argument type: a kind of rows, by its name in files or by that in reports."""
    found = _ROW_KINDS.get(word.casefold())
    if found is None:
        raise argparse.ArgumentTypeError(f'"{word}" is not one of chat (conversation), text, fim (gap to fill).')
    return found
