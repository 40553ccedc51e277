"""Cuts a text into pieces that fit into a number of tokens, at lines where something new begins."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from seedbed.tokenizer.tokenizer import Tokenizer

BYTES_PER_TOKEN = 3.2
"""The estimate without a tokenizer: on five repositories, Qwen3 and Llama 3.1 have 3.8 to 4.4, SmolLM2 has 3.1 to 3.9.

With it, 0.4 % of 2,154 rows had more tokens of Qwen3 than they may have, and 1.8 % more of SmolLM2.
"""

_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_BLOCK_LINES = 24
_SMALLEST = 0.5
"""A cut is looked for from this share of an even piece up to the whole budget."""

CHARACTERS_PER_TOKEN = 6
"""Around a part of a text, so many characters for each token are looked at; on average, a token has fewer."""
_TRIMMED = 4
"""One of so many lines may be left out so that a piece begins or ends where something new begins."""


class Piece(NamedTuple):
    """A part of a text: its first character, the one after its last, and its number of tokens (an upper estimate)."""

    begin: int
    end: int
    tokens: int


def token_counter(tokenizer: Tokenizer | None) -> Callable[[Sequence[str]], list[int]]:
    """A function that gives the tokens of each line of a text.

    Paragraphs are encoded as a whole, because lines by themselves take longer, and their tokens are spread over the lines by
    their lengths and rounded up; so a sum of lines is about exact. Without a tokenizer, tokens are estimated from bytes.
    """
    if tokenizer is None:
        return lambda lines: [
            math.ceil((len(line) if line.isascii() else len(line.encode("utf-8", "replace"))) / BYTES_PER_TOKEN)
            for line in lines
        ]

    def count(lines: Sequence[str]) -> list[int]:
        blocks = _blocks(lines)
        texts = ["".join(lines[begin:end]) for begin, end in blocks]
        counts: list[int] = []
        for (begin, end), text, ids in zip(blocks, texts, tokenizer.encode_batch(texts), strict=True):
            counts += [math.ceil(len(ids) * len(line) / len(text)) for line in lines[begin:end]]
        return counts

    return count


def _blocks(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Ranges of lines that are paragraphs with the blank lines after them, of at most `_BLOCK_LINES` lines."""
    blocks = []
    begin, blank = 0, False
    for number, line in enumerate(lines):
        is_blank = line.isspace()
        if number > begin and ((blank and not is_blank) or number - begin >= _BLOCK_LINES):
            blocks.append((begin, number))
            begin = number
        blank = is_blank
    if lines:
        blocks.append((begin, len(lines)))
    return blocks


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
    indent = len(lines[at]) - len(lines[at].lstrip())
    return indent / 4 if not lines[at - 1].strip() else 40 + indent / 4


def around(
    text: str,
    begin: int,
    end: int,
    count: Callable[[Sequence[str]], list[int]],
    budget: int,
    share: float,
    reach: float = CHARACTERS_PER_TOKEN,
) -> Piece | None:
    """The piece of whole lines of at most `budget` tokens that has the characters from `begin` to before `end`.

    `share`: of the tokens around them, how many go to the lines before; what one side does not need goes to the other.
    `reach`: characters per token of the budget that are looked at on each side. The piece begins and ends, where possible,
    at a line where something new begins. None if the lines of the part alone have more tokens.
    """
    first = text.rfind("\n", 0, max(begin - int(reach * budget), 0)) + 1
    last = text.find("\n", end + int(reach * budget)) + 1 or len(text)
    lines = _LINES.findall(text, first, last)
    counts = count(lines)
    starts = [first]
    for line in lines:
        starts.append(starts[-1] + len(line))
    top, bottom = bisect_right(starts, begin) - 1, bisect_left(starts, end)
    free = budget - sum(counts[top:bottom])
    if free < 0:
        return None
    before = min(sum(counts[:top]), max(int(free * share), free - sum(counts[bottom:])))
    start = _reach(counts, range(top - 1, -1, -1), before, top)
    used = sum(counts[start:top])
    stop = _reach(counts, range(bottom, len(lines)), free - used, bottom - 1) + 1
    if starts[start] > 0:
        start = min(range(start, start + (top - start) // _TRIMMED + 1), key=lambda at: _depth(lines, at))
    if starts[stop] < len(text):
        stop = min(range(stop, stop - (stop - bottom) // _TRIMMED - 1, -1), key=lambda at: _depth(lines, at))
    return Piece(starts[start], starts[stop], sum(counts[start:stop]))


def _reach(counts: list[int], numbers: range, most: int, reached: int) -> int:
    """The last of the numbers of lines up to which they have at most `most` tokens together; `reached` if not one fits."""
    for number in numbers:
        most -= counts[number]
        if most < 0:
            break
        reached = number
    return reached


def halves(text: str, piece: Piece) -> list[Piece]:
    """The piece cut in two at the line nearest to its middle; itself if it is one line."""
    cuts = [found.end() for found in _LINES.finditer(text, piece.begin, piece.end)][:-1]
    if not cuts:
        return [piece]
    cut = min(cuts, key=lambda at: abs(2 * at - piece.begin - piece.end))
    share = math.ceil(piece.tokens * (cut - piece.begin) / (piece.end - piece.begin))
    return [Piece(piece.begin, cut, share), Piece(cut, piece.end, piece.tokens - share)]
