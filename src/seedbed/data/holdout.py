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

VERSION = "holdout 2"
"""Raise it when the same documents would be split in another way than before; part of the sources' fingerprints."""

_SALT = b"seedbed-holdout-1"
_PAST_TARGET = 1.5
_SHORT_OF_TARGET = 0.4
_LARGE = 0.25
"""A document is large where it is more than this part of the text to be held out."""


class Item(NamedTuple):
    """What the plan needs of a document: a digest of its content and its length in characters."""

    digest: bytes
    length: int


class Cut(NamedTuple):
    """The one document that is divided: its last `tail` characters, to the nearest border, validate."""

    digest: bytes
    length: int
    tail: int
    copies: int = 1
    """How often the document occurs among those that were seen; each copy is divided at the same place."""

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
    longest: int | None = None
    """Documents longer than this, in characters, are never held out by their hash."""
    frequent: frozenset[bytes] = frozenset()
    """Documents whose copies together are longer than that."""

    def side(self, digest: bytes, length: int) -> Side:
        """Where a document belongs. Equal documents share a side, so no copy leaks across."""
        if self.cut is not None and digest == self.cut.digest:
            return "cut"
        if self.validation is not None:
            return "validation" if digest in self.validation else "train"
        if digest == self.always_validation:
            return "validation"
        if digest == self.always_train or self._is_large(digest, length):
            return "train"
        return "validation" if _score(digest) < self.fraction else "train"

    def spares(self, digest: bytes, length: int) -> bool:
        """Whether only its size keeps a document from being held out."""
        if self.validation is not None or not self._is_large(digest, length):
            return False
        return self.side(digest, length) == "train" and _score(digest) < self.fraction

    def _is_large(self, digest: bytes, length: int) -> bool:
        return (self.longest is not None and length > self.longest) or digest in self.frequent


class Spared:
    """Counts the text that is too long to be held out, while a source is read."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._documents = self._characters = self._all_characters = 0

    def see(self, digest: bytes, length: int) -> None:
        """Count a document."""
        self._all_characters += length
        if self._plan.spares(digest, length):
            self._documents += 1
            self._characters += length

    def messages(self, name: str) -> Iterator[Message]:
        """What a person should know of it, once all documents have been seen."""
        if not self._documents:
            return
        many = self._documents > 1
        yield Message(
            level="info",
            code="validation-spared",
            text=f"{self._documents:,} document{'s' * many} of {name}, {self._characters / self._all_characters:.1%} of "
            f"the text, {'are' if many else 'is'} trained on instead of held out for validation.",
            why=f"Chance picked {'them' if many else 'it'}, but validation is to be about {self._plan.fraction:.1%} of the "
            f"text and not mostly {'a few documents' if many else 'one document'}.",
            hint="With text:PATH the validation text can be named: --set data.validation_path=FILE.",
        )


def text_digest(text: str) -> bytes:
    """Digest of a document that is at hand as text; lone surrogates do not disturb it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def plan(head: Sequence[Item], more: bool, fraction: float) -> Plan:
    """Decide which documents validate, from the first ones of a source; `more` says that there are others.

    A source with more: the documents whose salted hash falls below `fraction`, save those that are large (see
    `_plan_by_hash`), and at least one of the head on either side. A source seen whole: documents in the order of their
    hashes until they make up about `fraction` of the text. Where no whole document is small enough for that, the longest
    is cut near its end.
    """
    return _plan_by_hash(head, fraction) if more else _plan_whole(head, fraction)


def _plan_by_hash(head: Sequence[Item], fraction: float) -> Plan:
    """A document, or the copies of one, that is a good part of what is to be held out of the head counts as large."""
    sizes, total = _sizes(head)
    target = fraction * total
    usual = sorted(item.length for item in head)[(len(head) - 1) // 2]
    longest = max(round(target * _LARGE), usual)
    frequent = frozenset(digest for digest, size in sizes.items() if size > longest)
    ranked = sorted(sizes, key=_score)
    if len(ranked) == 1 and len(head) == 1:
        return Plan(fraction, None, always_train=ranked[0], longest=longest)
    small = [digest for digest in ranked if digest not in frequent]
    small = small or [digest for digest in ranked if sizes[digest] <= target * _PAST_TARGET]
    if small and len(ranked) > 1:
        train = next(digest for digest in reversed(ranked) if digest != small[0])
        return Plan(fraction, None, small[0], train, longest=longest, frequent=frequent)
    return Plan(fraction, None, cut=_cut(head, target), longest=longest, frequent=frequent)


def _plan_whole(items: Sequence[Item], fraction: float) -> Plan:
    sizes, total = _sizes(items)
    target = fraction * total
    chosen: set[bytes] = set()
    held = 0
    for digest in sorted(sizes, key=_score):
        if held + sizes[digest] <= target * _PAST_TARGET and len(chosen) + 1 < len(sizes):
            chosen.add(digest)
            held += sizes[digest]
        if held >= target:
            break
    if held >= target * _SHORT_OF_TARGET and chosen:
        return Plan(fraction, frozenset(chosen))
    if not items:
        return Plan(fraction, frozenset())
    return Plan(fraction, frozenset(), cut=_cut(items, target))


def _sizes(items: Sequence[Item]) -> tuple[dict[bytes, int], int]:
    """The characters of each document with all its copies, and of all documents."""
    sizes: dict[bytes, int] = {}
    for item in items:
        sizes[item.digest] = sizes.get(item.digest, 0) + item.length
    return sizes, sum(sizes.values())


def _cut(items: Sequence[Item], target: float) -> Cut:
    """The longest document, cut so that its end, in all its copies, is about `target` characters."""
    longest = max(items, key=lambda item: (item.length, item.digest))
    copies = sum(item.digest == longest.digest for item in items)
    tail = min(max(round(target / copies), 1), max(longest.length // 2, 1))
    return Cut(longest.digest, longest.length, tail, copies)


def cut_message(name: str, cut: Cut, fraction: float) -> Message:
    """What a person should know where one document serves both sides."""
    again = f", which occurs {cut.copies:,} times or more" if cut.copies > 1 else ""
    return Message(
        level="info",
        code="validation-cut",
        text=f"Validation uses the last {cut.tail / cut.length:.1%} of the longest document of {name}{again}.",
        why=f"Whole documents that make up about {fraction:.1%} of the text cannot be chosen: they are too few, too long or "
        "too often the same.",
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
