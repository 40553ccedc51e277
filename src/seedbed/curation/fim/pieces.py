"""Cuts a text into pieces that fit into a number of tokens, at lines where something new begins."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from seedbed.tokenizer.tokenizer import Tokenizer

BYTES_PER_TOKEN = 3.2
"""The estimate without a tokenizer: about what tokenizers for code have on source code (Qwen3: 3.3 on CPython's library)."""

_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_SMALLEST = 0.5
"""A cut is looked for from this share of an even piece up to the whole budget."""


class Piece(NamedTuple):
    """A part of a text: its first character, the one after its last, and its number of tokens (an upper estimate)."""

    begin: int
    end: int
    tokens: int


def token_counter(tokenizer: Tokenizer | None) -> Callable[[Sequence[str]], list[int]]:
    """A function that counts the tokens of each line, each encoded by itself.

    Their sum is at least about the number of tokens of the lines together, because tokens may span lines. Without a
    tokenizer, it is estimated from the bytes.
    """
    if tokenizer is None:
        return lambda lines: [math.ceil(len(line.encode("utf-8", "replace")) / BYTES_PER_TOKEN) for line in lines]
    return lambda lines: [len(ids) for ids in tokenizer.encode_batch(list(lines))]


def pieces(text: str, count: Callable[[Sequence[str]], list[int]], budget: int) -> tuple[list[Piece], list[Piece]]:
    """The pieces of a text, in order, each of at most `budget` tokens; and the lines that are longer and left out.

    A text that fits is one piece. Otherwise the pieces are about equally long, and each begins, where possible, at the
    least indented line after a blank line.
    """
    lines = _LINES.findall(text)
    counts = count(lines)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found: list[Piece] = []
    too_long: list[Piece] = []
    first = 0
    for number, tokens in enumerate([*counts, budget + 1]):
        if tokens > budget:  # a line that fits nowhere, or the end
            found += _cut(lines, counts, starts, first, number, budget)
            if number < len(lines):
                too_long.append(Piece(starts[number], starts[number + 1], tokens))
            first = number + 1
    return found, too_long


def _cut(lines: list[str], counts: list[int], starts: list[int], first: int, last: int, budget: int) -> list[Piece]:
    """Pieces of the lines from `first` to before `last`, each of which fits into the budget."""
    found = []
    left = sum(counts[first:last])
    while first < last:
        if left <= budget:
            found.append(Piece(starts[first], starts[last], left))
            break
        target = left / math.ceil(left / budget)
        best, best_cost, largest, tokens = None, math.inf, (first + 1, counts[first]), 0
        for at in range(first, last):
            tokens += counts[at]
            if tokens > budget:
                break
            largest = (at + 1, tokens)
            if tokens >= _SMALLEST * target:
                cost = _depth(lines, at + 1) + abs(tokens - target) / target
                if cost < best_cost:
                    best, best_cost = largest, cost
        cut, used = best or largest
        found.append(Piece(starts[first], starts[cut], used))
        left -= used
        first = cut
    return found


def _depth(lines: list[str], at: int) -> float:
    """How bad a cut before a line is: its indentation, and more if the line before is not blank."""
    if at >= len(lines) or not lines[at].strip():
        return 60
    line = lines[at].expandtabs(4)
    indent = len(line) - len(line.lstrip())
    return indent / 4 if not lines[at - 1].strip() else 40 + indent / 4
