"""Which documents are held out for validation: by document, never by window, and stable when data is added.

Refuses to know where documents come from: it sees digests and lengths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from seedbed.events import Message

Side = Literal["train", "validation", "cut"]

HEAD_DOCUMENTS = 4096
"""As many documents a plan wants to see: a source with fewer is split by exact lengths, a larger one by hashes."""

_SALT = b"seedbed-holdout-1"
_PAST_TARGET = 1.5
_SHORT_OF_TARGET = 0.4


class Item(NamedTuple):
    """What the plan needs of a document: a digest of its content and its length in characters."""

    digest: bytes
    length: int


class Cut(NamedTuple):
    """The one document that is divided: its last `tail` characters, to the nearest border, validate."""

    digest: bytes
    length: int
    tail: int

    @property
    def at(self) -> int:
        """The character before which the cut is wanted."""
        return self.length - self.tail

    @property
    def slack(self) -> int:
        """How far from there a border may lie."""
        return self.tail // 4


class Plan(NamedTuple):
    """A decision for every document, also for those that were not seen when it was made."""

    fraction: float
    validation: frozenset[bytes] | None
    """Digests of the documents held out; None where the source is large and their hashes decide."""
    always_validation: bytes | None = None
    always_train: bytes | None = None
    cut: Cut | None = None

    def side(self, digest: bytes) -> Side:
        """Where the document with this digest belongs. Equal documents share a side, so no copy leaks across."""
        if self.cut is not None and digest == self.cut.digest:
            return "cut"
        if self.validation is not None:
            return "validation" if digest in self.validation else "train"
        if digest == self.always_validation:
            return "validation"
        if digest == self.always_train:
            return "train"
        return "validation" if _score(digest) < self.fraction else "train"


def text_digest(text: str) -> bytes:
    """Digest of a document that is at hand as text; lone surrogates do not disturb it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def plan(head: Sequence[Item], more: bool, fraction: float) -> Plan:
    """Decide which documents validate, from the first ones of a source; `more` says that there are others.

    A source with more: the documents whose salted hash falls below `fraction`, and at least one of the head on either
    side. A source seen whole: documents in the order of their hashes until they make up about `fraction` of the text.
    Where no whole document is small enough for that, the longest is cut near its end.
    """
    if not more:
        return _plan_whole(head, fraction)
    ranked = sorted({item.digest for item in head}, key=_score)
    if len(ranked) > 1:
        return Plan(fraction, None, always_validation=ranked[0], always_train=ranked[-1])
    return Plan(fraction, None)


def _plan_whole(items: Sequence[Item], fraction: float) -> Plan:
    copies: dict[bytes, int] = {}
    total = 0
    for item in items:
        copies[item.digest] = copies.get(item.digest, 0) + item.length
        total += item.length
    target = fraction * total
    chosen: set[bytes] = set()
    held = 0
    for digest in sorted(copies, key=_score):
        if held + copies[digest] <= target * _PAST_TARGET and len(chosen) + 1 < len(copies):
            chosen.add(digest)
            held += copies[digest]
        if held >= target:
            break
    if held >= target * _SHORT_OF_TARGET and chosen:
        return Plan(fraction, frozenset(chosen))
    if not items:
        return Plan(fraction, frozenset())
    longest = max(items, key=lambda item: (item.length, item.digest))
    tail = min(max(round(target), 1), max(longest.length // 2, 1))
    return Plan(fraction, frozenset(), cut=Cut(longest.digest, longest.length, tail))


def cut_message(name: str, cut: Cut, fraction: float) -> Message:
    """What a person should know where one document serves both sides."""
    return Message(
        level="info",
        code="validation-cut",
        text=f"The last {cut.tail / cut.length:.1%} of one document of {name}, from the nearest border, validate.",
        why=f"Whole documents are too few or too long to hold out about {fraction:.1%} of the text.",
        hint="With text:PATH the validation text can be named: --set data.validation_path=FILE.",
    )


def cut_pieces(pieces: Iterable[str], cut: Cut, split: Literal["train", "validation"]) -> Iterator[str]:
    """One side of a cut document: up to, or from, the paragraph (or line, or word) border nearest to `cut.at`."""
    seen = 0
    for piece in pieces:
        start, seen = seen, seen + len(piece)
        if seen <= cut.at:
            if split == "train":
                yield piece
        elif start > cut.at:
            if split == "validation":
                yield piece
        else:
            border = nearest_border(piece, cut.at - start, cut.slack)
            part = piece[:border] if split == "train" else piece[border:]
            if part:
                yield part


def nearest_border(text: str, at: int, slack: int) -> int:
    """The index after the paragraph border nearest to `at`, at most `slack` away; else line, else word, else `at`."""
    low, high = max(at - slack, 0), min(at + slack, len(text))
    for separator in ("\n\n", "\n", " "):
        width = len(separator)
        before = text.rfind(separator, low, at)
        after = text.find(separator, max(at - width, 0), high)
        found = [index + width for index in (before, after) if index >= 0]
        if found:
            return min(found, key=lambda index: abs(index - at))
    return at


def _score(digest: bytes) -> float:
    """The place of a document in [0, 1): uniform, and the same in every corpus that holds it."""
    return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=_SALT).digest(), "big") / 2**64
