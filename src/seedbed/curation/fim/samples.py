"""Rows from source files: pieces that fit into a number of tokens, half of them with a middle to fill in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.fim import syntax
from seedbed.curation.fim.draws import Draws
from seedbed.curation.fim.families import Markers
from seedbed.curation.fim.family_table import families
from seedbed.curation.fim.pieces import (
    BYTES_PER_TOKEN,
    CHARACTERS_PER_TOKEN,
    Piece,
    around,
    halves,
    pieces,
    token_counter,
)
from seedbed.curation.fim.rendering import render_fim
from seedbed.curation.fim.spans import Mix, Nodes, Span, choose, lines_only
from seedbed.curation.record import ContextFile, Licence, Provenance, Record, content_id
from seedbed.curation.repositories.files import Source
from seedbed.text import legible

if TYPE_CHECKING:
    from tree_sitter import Tree

    from seedbed.tokenizer.tokenizer import Tokenizer

STEP = "fim"
"""The name under which left-out pieces are counted."""

_LEAST_CHARACTERS = 40
_SLACK = 24
"""Tokens kept free: where a text is cut, it may become some tokens more."""
_CHECKED_WITHIN = 160
"""A row with fewer free tokens than this is counted exactly."""
_CONTEXT_SHARE = 0.25
"""With other files, this share of a row is kept free of its own file."""
_PARSED_CHARACTERS = 250_000
"""Of a longer file, only the pieces that need it are parsed: a parser may take 12 s for a megabyte of broken code."""
_LEAST_CONTEXT = 64
"""The least tokens for which another file is shown."""

_LEAST_BEFORE = 0.3
"""Of the text around a given middle, at least this share comes before it, and as much after it, if the file has so much."""


class SampleOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How rows are made of source files.

    Defaults: half of the pieces are filled in, the others are plain text, in half of the cases with the prefix first
    (StarCoder 2, arXiv 2402.19173; Bavarian et al. 2022, arXiv 2207.14255).
    """

    max_tokens: int = 2048
    """The most tokens of a row, with its markers and its end."""
    fim_rate: float = 0.5
    psm_rate: float = 0.5
    mix: Mix = Mix()
    context_rate: float = 0.5
    """The share of the rows with a gap that show other files of the repository, if any are shown at all."""
    seed: int = 0


class Sampler:
    """Makes the rows of source files; the same for a file whatever comes before it, and in every process."""

    def __init__(
        self, options: SampleOptions, family: str | None, tokenizer: Tokenizer | None, markers: Markers | None
    ) -> None:
        """`family` decides the orders of parts; `tokenizer` counts tokens, with the `markers` of the family, if given.

        Without a tokenizer, the tokens are estimated at 3.2 bytes each.
        """
        self._options = options
        self._orders: Sequence[str] = ("psm", "spm") if family is None else families()[family].orders
        self._tokenizer = tokenizer
        self._markers = markers
        self._count = token_counter(tokenizer)
        most_markers = max(row.most_markers for row in families().values())
        self.overhead = (families()[family].most_markers if family else most_markers) + _SLACK

    def records(
        self,
        source: Source,
        provenance: Provenance,
        licence: Licence | None,
        drops: Drops,
        neighbours: Sequence[tuple[str, str]] | None = None,
    ) -> Iterator[Record]:
        """The rows of a file, in order. `neighbours`: paths and texts of other files to show before a gap; None: none at all.

        Joined, the texts of the rows are the text of the file, without the pieces that are counted in `drops`.
        """
        where = legible(f"{provenance.repository}/{source.path}")
        text = source.text
        if len(text.strip()) < _LEAST_CHARACTERS:
            drops.drop(STEP, f"fewer than {_LEAST_CHARACTERS} characters", where, text)
            return
        if self._tokenizer is None:
            drops.note(STEP, f"files whose tokens are estimated ({BYTES_PER_TOKEN} bytes each), without a tokenizer")
        budget = self._options.max_tokens - self.overhead
        if neighbours is not None:
            budget = int(budget * (1 - _CONTEXT_SHARE))
        found, too_long = pieces(text, self._count, budget)
        for piece in too_long:
            drops.drop(STEP, "line longer than a row", where, text[piece.begin : piece.end])
        nodes = _SyntaxNodes(source)
        for number, piece in enumerate(self._exact(text, found, drops, where)):
            part = text[piece.begin : piece.end]
            if len(part.strip()) < _LEAST_CHARACTERS:
                drops.drop(STEP, f"piece of fewer than {_LEAST_CHARACTERS} characters", where, part)
                continue
            draws = Draws("fim", self._options.seed, where, number)
            record = self._record(source, part, piece, draws, nodes, drops)
            record.language = source.language.name
            record.provenance = provenance
            record.licence = licence
            record.links = [f"path:{where}"]
            if neighbours and record.kind == "fim" and draws.uniform() < self._options.context_rate:
                self._show(record, piece, neighbours)
            record.id = content_id(record)
            yield record

    def gap(self, source: Source, span: Span, draws: Draws) -> Record | None:
        """The row of a middle that is given, with as much of its file around it as fits.

        None if the middle has more than half of the tokens of a row. The caller adds where the row comes from.
        """
        budget = self._options.max_tokens - self.overhead
        middle = source.text[span.begin : span.end]
        if sum(self._count(middle.splitlines(keepends=True))) > budget // 2:
            return None
        reach = BYTES_PER_TOKEN if self._tokenizer is None else CHARACTERS_PER_TOKEN
        order = self._order(draws)
        share = _LEAST_BEFORE + draws.uniform() * (1 - 2 * _LEAST_BEFORE)
        for _ in range(4):
            piece = around(source.text, span.begin, span.end, self._count, budget, share, reach)
            if piece is None:
                return None
            record = Record(
                kind="fim",
                prefix=source.text[piece.begin : span.begin],
                middle=middle,
                suffix=source.text[span.end : piece.end],
                span=span.kind,
                order=order,
                language=source.language.name,
                provenance=Provenance(source=""),
            )
            if self._fits(record, piece):
                return record
            budget -= budget // 10
        return None

    def _order(self, draws: Draws) -> str:
        """The order of the parts of a row: the family may have one alone."""
        order = "psm" if draws.uniform() < self._options.psm_rate else "spm"
        return order if order in self._orders else self._orders[0]

    def _exact(self, text: str, found: list[Piece], drops: Drops, where: str) -> Iterator[Piece]:
        """The pieces, of which those that are close to the limit are counted exactly, and halved if they are too long."""
        waiting = found[::-1]
        while waiting:
            piece = waiting.pop()
            if self._is_close(piece):
                assert self._tokenizer is not None
                exact = len(self._tokenizer.encode(text[piece.begin : piece.end]))
                if exact + self.overhead > self._options.max_tokens:
                    parts = halves(text, piece._replace(tokens=exact))
                    if len(parts) == 1:
                        drops.drop(STEP, "line longer than a row", where, text[piece.begin : piece.end])
                    else:
                        waiting += parts[::-1]
                    continue
                piece = piece._replace(tokens=exact)
            yield piece

    def _is_close(self, piece: Piece) -> bool:
        return self._tokenizer is not None and piece.tokens + self.overhead + _CHECKED_WITHIN > self._options.max_tokens

    def _record(
        self, source: Source, text: str, piece: Piece, draws: Draws, nodes: _SyntaxNodes, drops: Drops
    ) -> Record:
        """The row of a piece: to be filled in with the rate of the options, else plain text."""
        empty = Provenance(source="")
        plain = Record(kind="text", text=text, provenance=empty)
        if draws.uniform() >= self._options.fim_rate:
            return plain
        order = self._order(draws)
        span = choose(text, draws, nodes.of(piece), self._options.mix)
        for _ in range(4):
            if span is None:
                drops.note(STEP, "pieces kept as plain text: no fitting middle")
                return plain
            record = Record(
                kind="fim",
                prefix=text[: span.begin],
                middle=text[span.begin : span.end],
                suffix=text[span.end :],
                span=span.kind,
                order=order,
                provenance=empty,
            )
            if self._fits(record, piece):
                return record
            span = lines_only(text, draws)  # cut at lines, which makes few tokens more
        drops.note(STEP, "pieces kept as plain text: too many tokens where they were cut")
        return plain

    def _fits(self, record: Record, piece: Piece) -> bool:
        """Whether a row has at most the tokens that it may have; counted only where it is close."""
        most = self._options.max_tokens
        if self._tokenizer is None or not self._is_close(piece):
            return True
        if self._markers is not None:
            return len(render_fim(record, self._markers, self._tokenizer.encode).ids) <= most
        parts = (record.prefix or "", record.middle or "", record.suffix or "")
        return sum(len(self._tokenizer.encode(part)) for part in parts) + self.overhead - _SLACK <= most

    def _show(self, record: Record, piece: Piece, neighbours: Sequence[tuple[str, str]]) -> None:
        """Put into a row the beginnings of other files, cut at a line, as far as they fit; and link it to these files."""
        free = self._options.max_tokens - self.overhead - piece.tokens
        shown: list[ContextFile] = []
        for path, text in neighbours:
            lines = text.splitlines(keepends=True)
            free -= _SLACK + sum(self._count([path]))
            kept = 0
            for tokens in self._count(lines):
                if tokens > free:
                    break
                free -= tokens
                kept += 1
            head = "".join(lines[:kept])
            if free < 0 or not head.strip():
                break
            shown.append(ContextFile(path=legible(path), text=head))
            if free < _LEAST_CONTEXT:
                break
        if self._tokenizer is not None and self._markers is not None:
            while shown:
                record.context = shown
                if len(render_fim(record, self._markers, self._tokenizer.encode).ids) <= self._options.max_tokens:
                    break
                shown.pop()
        record.context = shown or None
        repository = record.provenance.repository
        record.links = [*(record.links or ()), *(f"path:{repository}/{each.path}" for each in shown)]


class _SyntaxNodes:
    """The syntax nodes of a file, parsed when they are first needed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._content = b""
        self._tree: Tree | None = None
        self._parsed = False

    def of(self, piece: Piece) -> Nodes | None:
        """A function that gives the nodes of a piece, as ranges of its characters; None for a language without a grammar."""
        if self._source.language.grammar is None:
            return None
        return lambda draws: self._ranges(piece, draws)

    def _ranges(self, piece: Piece, draws: Draws) -> dict[str, list[tuple[int, int]]]:
        text = self._source.text
        if len(text) > _PARSED_CHARACTERS:
            part = text[piece.begin : piece.end].encode()
            tree = syntax.parse(part, self._source.language)
            return {} if tree is None else _in_characters(part, syntax.candidates(tree, 0, len(part), draws), 0)
        if not self._parsed:
            self._content = text.encode()
            self._tree = syntax.parse(self._content, self._source.language)
            self._parsed = True
        if self._tree is None:
            return {}
        begin = len(text[: piece.begin].encode())
        end = begin + len(text[piece.begin : piece.end].encode())
        part = self._content[begin:end]
        return _in_characters(part, syntax.candidates(self._tree, begin, end, draws), begin)


def _in_characters(
    part: bytes, found: dict[str, list[tuple[int, int]]], begin: int
) -> dict[str, list[tuple[int, int]]]:
    """Ranges of bytes of a file as ranges of characters of a part of it, which begins at the byte `begin`."""
    if part.isascii():
        return {kind: [(one - begin, other - begin) for one, other in spans] for kind, spans in found.items()}

    def character(at: int) -> int:
        return len(part[: at - begin].decode())

    return {kind: [(character(one), character(other)) for one, other in spans] for kind, spans in found.items()}
