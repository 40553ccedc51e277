"""Chooses the middle of a piece of text: random characters, a syntax node, or whole lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from seedbed.curation.fim.draws import Draws

Kind = Literal["character", "syntax", "line", "edit"]
"""How a middle was chosen; `edit`: lines that a commit added (see edits.py)."""
Nodes = Callable[[Draws], dict[str, list[tuple[int, int]]]]
"""Gives the syntax nodes that can be a middle, as ranges of characters of the piece, by their kind."""

TRIES = 8
EDGE_RATE = 0.1
"""The share of middles at the very begin or end of a piece that are kept: too many would come from short pieces."""
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


class Mix(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The shares of the kinds of middles. What remains of 1 is lines.

    Characters, because a cursor stops anywhere in a word; syntax nodes, because they are what people write next, and
    train better (arXiv 2506.00204); lines, as an editor shows them.
    """

    character: float = 0.4
    syntax: float = 0.4


class Span(NamedTuple):
    """The middle of a piece: how it was chosen, its first character and the one after its last."""

    kind: Kind
    begin: int
    end: int


def choose(piece: str, draws: Draws, nodes: Nodes | None, mix: Mix) -> Span | None:
    """The middle of a piece; None if there is no fitting one, such as in a piece of one word.

    `nodes` is None for a language without a grammar: characters and lines take the place of syntax nodes. Middles are never
    empty or white space only, never the whole piece, and never begin or end within a line end of two characters.
    """
    if not piece.strip():
        return None
    share = draws.uniform()
    kind: Kind = "character" if share < mix.character else "syntax" if share < mix.character + mix.syntax else "line"
    if kind == "syntax":
        around = {} if nodes is None else nodes(draws)
        for _ in range(TRIES if around else 0):
            node = _syntax(piece, draws, around)
            if node is not None and _fits(piece, node, draws):
                return node
        whole = 1 - mix.syntax
        kind = "character" if whole <= 0 or draws.uniform() < mix.character / whole else "line"
    for _ in range(TRIES):
        found = _characters(piece, draws) if kind == "character" else _lines(piece, draws)
        if _fits(piece, found, draws):
            return found
    return None


def lines_only(piece: str, draws: Draws) -> Span | None:
    """A middle of whole lines; None if there is no fitting one."""
    for _ in range(TRIES):
        if _fits(piece, found := _lines(piece, draws), draws):
            return found
    return None


def _fits(piece: str, span: Span, draws: Draws) -> bool:
    middle = piece[span.begin : span.end]
    if not middle or middle.isspace():
        return False
    if span.begin == 0 and span.end == len(piece):
        return False
    edge = not piece[: span.begin].strip() or not piece[span.end :].strip()
    return not edge or draws.uniform() < EDGE_RATE


def _characters(piece: str, draws: Draws) -> Span:
    """Two uniform places, as in `permute()` of bigcode-project/Megatron-LM."""
    begin, end = sorted((draws.below(len(piece) + 1), draws.below(len(piece) + 1)))
    return Span("character", _whole(piece, begin), _whole(piece, end))


def _whole(piece: str, at: int) -> int:
    """The place, or the one before if it is between the two characters of a line end."""
    return at - 1 if 0 < at < len(piece) and piece[at - 1 : at + 1] == "\r\n" else at


def _lines(piece: str, draws: Draws) -> Span:
    """Lines up to the end of the last, without its line end: from the indentation of the first, or its begin, half and half.

    The logarithm of the number of lines is uniform, up to half of the piece.
    """
    lines = _LINES.findall(piece)
    most = max(1, len(lines) // 2)
    number = min(most, int(math.exp(draws.uniform() * math.log(most + 1))))
    first = draws.below(len(lines) - number + 1)
    while lines[first].isspace() and number > 1:  # a middle begins with a line that says something
        first, number = first + 1, number - 1
    begin = sum(map(len, lines[:first]))
    last = begin + sum(map(len, lines[first : first + number]))
    text = lines[first]
    if draws.uniform() < 0.5:
        begin += len(text) - len(text.lstrip(" \t"))
    end = last - len(lines[first + number - 1]) + len(lines[first + number - 1].rstrip("\r\n"))
    return Span("line", min(begin, end), end)


def _syntax(piece: str, draws: Draws, nodes: dict[str, list[tuple[int, int]]]) -> Span | None:
    """A node: its kind first, so that the most frequent kind does not take over, then its size, then one of that size."""
    kinds = {
        kind: fitting
        for kind, spans in sorted(nodes.items())
        if (fitting := [each for each in spans if any(map(str.isalnum, piece[each[0] : each[1]]))])
    }
    if not kinds:
        return None
    spans = kinds[draws.choice(list(kinds))]
    sizes: dict[int, list[tuple[int, int]]] = {}
    for begin, end in spans:
        sizes.setdefault((end - begin).bit_length(), []).append((begin, end))
    begin, end = draws.choice(sizes[draws.choice(sorted(sizes))])
    return Span("syntax", _whole(piece, begin), _whole(piece, end))
