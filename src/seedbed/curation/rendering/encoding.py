"""Encode a rendered chat to token ids, with a mask of the tokens that lie in given spans of the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seedbed.curation.rendering.protocol import CONTROL_BEGIN, CONTROL_END, Span
from seedbed.errors import SeedbedError
from seedbed.tokenizer.bulk_encoder import BulkEncoder
from seedbed.tokenizer.tokenizer import Tokenizer, well_formed

_CACHED_CHARACTERS = 64
_CACHED_PIECES = 1 << 14
_RECENT_CHARACTERS = 1 << 21
"""Longer texts are kept until they have together so many characters: a long chat is encoded several times, part by part."""
_IDS = np.dtype("<u4")
_IN_PLACE = ("Split", "ByteLevel", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit")
"""The pre-tokenizers that split a text without regard to what stands before it."""


class Sample(NamedTuple):
    """Token ids, and for each whether the loss counts it as a target (1) or not (0)."""

    ids: list[int]
    trained: bytes

    def after(self, ids: list[int]) -> Sample:
        """This sample behind further ids, which are no targets."""
        return Sample([*ids, *self.ids], bytes(len(ids)) + self.trained)


def before_text(tokenizer: Tokenizer) -> list[int]:
    """The ids before a text: the end of the text before it, from which generation without a prompt starts, too.

    None if the tokenizer puts ids of its own there.
    """
    return [] if tokenizer.prefix_ids else [tokenizer.eot_id]


class CannotStayTextError(SeedbedError):
    """A control token in a message cannot stay text, because the tokenizer makes the same token of its characters."""


class _Piece(NamedTuple):
    """A part of a rendered chat: a control token that stands for itself, or text. `begin` and `end` count its characters."""

    begin: int
    end: int
    text: str
    kind: str
    """`control`, `text`, or `kept`: a control token that stays text."""


class SpanEncoder:
    """Encodes rendered chats with one tokenizer. The ids equal those of `ChatTemplate.encode`."""

    def __init__(self, tokenizer: Tokenizer, others: Sequence[str] = ()) -> None:
        """`others`: added tokens that are not control tokens, but that the template may write itself."""
        self._tokenizer = tokenizer
        added = {str(token["content"]): int(token["id"]) for token in tokenizer.spec.get("added_tokens") or ()}
        control = {text: id_ for text, id_ in added.items() if text in tokenizer.control}
        self._added = added
        kept = _any_of([*control, *others])
        self._kept = re.compile(
            f"{CONTROL_BEGIN}({kept}){CONTROL_END}?|({kept}){CONTROL_END}|[{CONTROL_BEGIN}{CONTROL_END}]"
        )
        self._control = re.compile(f"({_any_of(list(control))})")
        self._bulk = BulkEncoder(tokenizer, _IDS)
        self._cache: dict[str, list[int]] = {}
        self._recent: dict[str, list[int]] = {}
        self._recent_characters = 0
        self._apart = self._splits_at_control()

    def encode(self, text: str, spans: Sequence[Span]) -> Sample:
        """The ids of a text with marks around control tokens that stay text. A token is trained if it lies in a span wholly.

        Raises CannotStayTextError.
        """
        (sample,) = self.encode_batch([(text, spans)])
        if sample is None:
            raise CannotStayTextError(
                "A control token in a message cannot stay text: this tokenizer makes the same token of its characters.",
                "Leave out the rows that contain it.",
            )
        return sample

    def encode_batch(self, texts: Sequence[tuple[str, Sequence[Span]]]) -> list[Sample | None]:
        """The samples of several texts with their spans; None for one with a control token that cannot stay text.

        What several texts have in common, as the samples of one chat do, is encoded once.
        """
        split = [self._pieces(text) for text, _ in texts]
        if self._apart:
            self._remember(piece.text for pieces in split for piece in pieces if piece.kind in ("text", "kept"))
        return [self._sample(pieces, spans) for pieces, (_, spans) in zip(split, texts, strict=True)]

    def _sample(self, pieces: list[_Piece], spans: Sequence[Span]) -> Sample | None:
        ids: list[int] = []
        trained = bytearray()
        spans = sorted(spans)
        at = 0
        for piece in pieces:
            own = self._ids_of(piece, first=piece.begin == 0)
            if own is None:
                return None
            while at < len(spans) and spans[at][1] <= piece.begin:
                at += 1
            trained += self._mask(piece, own, spans[at:])
            ids += own
        return Sample(ids, bytes(trained))

    def count(self, text: str) -> int:
        """How many ids a rendered text has. Raises CannotStayTextError."""
        return len(self.encode(text, []).ids)

    # ------------------------------------------------------------------------------------------ pieces

    def _pieces(self, text: str) -> list[_Piece]:
        found: list[_Piece] = []
        at = 0
        for match in self._kept.finditer(text):
            self._add_unmarked(found, text, at, match.start())
            kept = match[1] or match[2]
            if kept:
                found.append(_Piece(match.start(), match.end(), kept, "kept"))
            at = match.end()
        self._add_unmarked(found, text, at, len(text))
        return found

    def _add_unmarked(self, found: list[_Piece], text: str, begin: int, end: int) -> None:
        """Add the pieces of a part of the text without marks: with its control tokens apart, if that gives the same ids."""
        if begin == end:
            return
        if not self._apart:
            found.append(_Piece(begin, end, text[begin:end], "mixed"))
            return
        at = begin
        for match in self._control.finditer(text, begin, end):
            if match.start() > at:
                found.append(_Piece(at, match.start(), text[at : match.start()], "text"))
            found.append(_Piece(match.start(), match.end(), match[0], "control"))
            at = match.end()
        if at < end:
            found.append(_Piece(at, end, text[at:end], "text"))

    def _splits_at_control(self) -> bool:
        """Whether the library encodes what stands between control tokens by itself, so that it can be encoded apart."""
        spec = self._tokenizer.spec
        if self._tokenizer.kind == "char" or not self._tokenizer.byte_level:
            return False
        if (spec.get("normalizer") or {"type": "NFC"}).get("type") != "NFC":
            return False
        steps = spec.get("pre_tokenizer") or {}
        steps = steps.get("pretokenizers", [steps])
        if any(step.get("type") not in _IN_PLACE or step.get("add_prefix_space") for step in steps):
            return False
        control = [token for token in spec.get("added_tokens") or () if token["content"] in self._tokenizer.control]
        return not any(
            token.get(flag) for token in control for flag in ("lstrip", "rstrip", "single_word", "normalized")
        )

    # ------------------------------------------------------------------------------------------ ids and masks

    def _ids_of(self, piece: _Piece, *, first: bool) -> list[int] | None:
        """The ids of a piece; None for a control token that cannot stay text."""
        if piece.kind == "control":
            return [self._added[piece.text]]
        if piece.kind == "text":
            return self.plain(piece.text)
        if piece.kind == "kept":
            ids = (
                self.plain(piece.text) if self._apart else self._from_inside(piece.text, first=first, control=False)[0]
            )
            return None if self._added[piece.text] in ids else ids
        return self._from_inside(piece.text, first=first, control=True)[0]

    def plain(self, text: str) -> list[int]:
        """The ids of a text in which control tokens stay text, as `Tokenizer.encode` gives them."""
        found = self._known(text)
        if found is None:
            self._remember([text])
            found = self._known(text)
            assert found is not None
        return found

    def _known(self, text: str) -> list[int] | None:
        found = self._cache.get(text)
        return self._recent.get(text) if found is None else found

    def _remember(self, texts: Iterable[str]) -> None:
        """Encode texts together, and keep the ids: those of short texts for good, others until there are many."""
        if self._recent_characters > _RECENT_CHARACTERS:
            self._recent.clear()
            self._recent_characters = 0
        new = [text for text in dict.fromkeys(texts) if text not in self._cache and text not in self._recent]
        for text, ids in zip(new, self._bulk.encode([well_formed(text) for text in new]), strict=True):
            short = len(text) <= _CACHED_CHARACTERS and len(self._cache) < _CACHED_PIECES
            (self._cache if short else self._recent)[text] = np.frombuffer(ids, _IDS).tolist()
            self._recent_characters += 0 if short else len(text)

    def _from_inside(self, text: str, *, first: bool, control: bool) -> tuple[list[int], list[Span]]:
        """The ids of a piece and their spans in it, by the library; not `first`: without the space that a text begins with.

        In that case it is encoded after a newline, whose ids are then removed.
        """
        if not first:
            newline = self._by_library("\n", control=control)[0]
            ids, offsets = self._by_library("\n" + text, control=control)
            if newline and ids[: len(newline)] == newline:
                return ids[len(newline) :], [(begin - 1, end - 1) for begin, end in offsets[len(newline) :]]
        return self._by_library(text, control=control)

    def _by_library(self, text: str, *, control: bool) -> tuple[list[int], list[Span]]:
        if self._tokenizer.kind == "char" and not control:
            return self._tokenizer.encode(text), [(at, at + 1) for at in range(len(text))]
        library = self._tokenizer.library
        library.encode_special_tokens = not control
        try:
            encoding = library.encode(well_formed(text), add_special_tokens=False)
            return list(encoding.ids), _without_gaps(encoding.offsets)
        finally:
            library.encode_special_tokens = True

    def _mask(self, piece: _Piece, ids: list[int], spans: Sequence[Span]) -> bytes:
        """For each id of a piece, whether it lies in one of the spans, which are sorted and end after the piece begins."""
        inside = [span for span in spans[:1] if span[0] <= piece.begin and piece.end <= span[1]]
        if inside:
            return b"\x01" * len(ids)
        if not spans or spans[0][0] >= piece.end:
            return bytes(len(ids))
        cuts = {0, piece.end - piece.begin}
        for span in spans:
            if span[0] >= piece.end:
                break
            cuts.update(edge - piece.begin for edge in span if piece.begin < edge < piece.end)
        return self._cut_mask(piece, ids, spans, sorted(cuts))

    def _cut_mask(self, piece: _Piece, ids: list[int], spans: Sequence[Span], cuts: list[int]) -> bytes:
        if self._apart and piece.kind == "text" and len(cuts) == 3:
            left = self.plain(piece.text[: cuts[1]])
            if ids[: len(left)] == left:  # then the rest of the ids is the rest of the text: tokens are bytes
                counts = (len(left), len(ids) - len(left))
                return b"".join(
                    (b"\x01" if _covered(piece.begin + begin, piece.begin + end, spans) else b"\x00") * number
                    for (begin, end), number in zip(pairwise(cuts), counts, strict=True)
                )
        offsets = self._from_inside(piece.text, first=piece.begin == 0, control=piece.kind == "mixed")[1]
        return bytes(_covered(piece.begin + begin, piece.begin + end, spans) for begin, end in offsets)


def _without_gaps(offsets: Sequence[Span]) -> list[Span]:
    """Offsets of tokens, where characters that the library trims, such as a space before a word, belong to the next token."""
    made: list[Span] = []
    last = 0
    for begin, end in offsets:
        made.append((min(begin, last) if end > last else begin, end))
        last = max(last, end)
    return made


def _covered(begin: int, end: int, spans: Sequence[Span]) -> bool:
    """Whether a part of a text lies wholly in one of the spans."""
    return any(span[0] <= begin and end <= span[1] for span in spans)


def _any_of(tokens: Sequence[str]) -> str:
    """A regular expression of these tokens, the longest first; one that finds nothing if there are none."""
    return "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)) or "(?!)"
