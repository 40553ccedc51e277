"""Choose the documents that are held out for validation, from their digests and lengths.

Whole documents are held out (only if that is impossible, the end of one). The choice changes little when data is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from seedbed.events import Message

Side = Literal["train", "validation", "cut"]

HEAD_DOCUMENTS = 4096
"""Number of documents (the head) that are read before it is decided which documents are held out.

In a source with fewer documents, they are chosen by exact lengths; in a larger source, by hashes.
"""

VERSION = "holdout 2"
"""Increase the number when a change of the code splits the same documents differently: it is part of fingerprints."""

_SALT = b"seedbed-holdout-1"
_PAST_TARGET = 1.5
"""The validation text may be at most this many times as long as planned."""
_SHORT_OF_TARGET = 0.4
"""If whole documents make up less than this share of the planned validation text, one document is cut in two instead."""
_LARGE = 0.25
"""A document is large if it is longer than this share of the planned validation text and longer than the median document."""


class DocumentSize(NamedTuple):
    """A document as needed to choose the held-out ones: a digest of its content, and its length in characters."""

    digest: bytes
    length: int


class DocumentCut(NamedTuple):
    """A document whose last `tail` characters are validation text and whose rest is training text.

    The exact place of the cut is the nearest border of paragraphs, lines or words.
    """

    digest: bytes
    length: int
    tail: int
    copies: int = 1
    """How often the document occurs among the first documents; each copy is cut at the same place."""

    @property
    def at(self) -> int:
        """Where the document should be cut, in characters from its start; the cut is made at a border near this position."""
        return self.length - self.tail

    @property
    def slack(self) -> int:
        """The most characters by which the actual cut may be before or after `at`."""
        return self.tail // 4


class HoldoutPlan(NamedTuple):
    """Decides for every document of a source, also those not read yet, whether it is training or validation text."""

    fraction: float
    validation: frozenset[bytes] | None
    """Digests of the held-out documents; None for a large source, which is split by hashes."""
    always_validation: bytes | None = None
    always_train: bytes | None = None
    cut: DocumentCut | None = None
    longest: int | None = None
    """Documents longer than this, in characters, are never held out by hash."""
    frequent: frozenset[bytes] = frozenset()
    """Digests of documents whose copies together are longer than `longest`; they are never held out by hash either."""

    def side(self, digest: bytes, length: int) -> Side:
        """The use of a document: `train`, `validation` or `cut` (part of it for each).

        Equal documents have the same use, so that validation text is never trained on.
        """
        if self.cut is not None and digest == self.cut.digest:
            return "cut"
        if self.validation is not None:
            return "validation" if digest in self.validation else "train"
        if digest == self.always_validation:
            return "validation"
        if digest == self.always_train or self._is_large(digest, length):
            return "train"
        return "validation" if _score(digest) < self.fraction else "train"

    def is_oversize(self, digest: bytes, length: int) -> bool:
        """Whether a document is training text only because it is too large to be held out."""
        if self.validation is not None or not self._is_large(digest, length):
            return False
        return self.side(digest, length) == "train" and _score(digest) < self.fraction

    def _is_large(self, digest: bytes, length: int) -> bool:
        return (self.longest is not None and length > self.longest) or digest in self.frequent


class OversizeCounter:
    """Counts the documents of a source that are too large to be held out for validation, while they are read."""

    def __init__(self, plan: HoldoutPlan) -> None:
        self._plan = plan
        self._documents = self._characters = self._all_characters = 0

    def count(self, digest: bytes, length: int) -> None:
        """Count one document, given the digest of its content and its length in characters."""
        self._all_characters += length
        if self._plan.is_oversize(digest, length):
            self._documents += 1
            self._characters += length

    def messages(self, name: str) -> Iterator[Message]:
        """Yield a message if documents were too large to be held out. Call this after all documents were counted."""
        if not self._documents:
            return
        many = self._documents > 1
        yield Message(
            level="info",
            code="validation-spared",
            text=f"{self._documents:,} document{'s' * many} of {name}, {self._characters / self._all_characters:.1%} of "
            f"the text, {'are' if many else 'is'} used for training instead of validation.",
            why=f"Random selection chose {'them' if many else 'it'} for validation, but {'they are' if many else 'it is'} "
            f"too large: validation should be about {self._plan.fraction:.1%} of the text and not consist mostly of "
            f"{'a few documents' if many else 'one document'}.",
            hint="With text:PATH you can give a validation file: --set data.validation_path=FILE.",
        )


def text_digest(text: str) -> bytes:
    """SHA-256 of a text, which may contain lone surrogates."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def plan_holdout(head: Sequence[DocumentSize], more: bool, fraction: float) -> HoldoutPlan:
    """Plan which documents of a source are held out, from its first documents, `head`. `more`: whether others follow.

    If others follow, the validation documents are those whose salted hash is below `fraction`, except large ones (see
    `_plan_by_hash`); at least one document of `head` is training text and one validation text. If none follow, documents
    are chosen in the order of their hashes until they make up about `fraction` of the text; if no document is small
    enough, the longest document is cut near its end.
    """
    return _plan_by_hash(head, fraction) if more else _plan_whole(head, fraction)


def _plan_by_hash(head: Sequence[DocumentSize], fraction: float) -> HoldoutPlan:
    """The plan for a source with documents after `head`. A document that is large, counting its copies, is not held out."""
    sizes, total = _sizes(head)
    target = fraction * total
    usual = sorted(item.length for item in head)[(len(head) - 1) // 2]
    longest = max(round(target * _LARGE), usual)
    frequent = frozenset(digest for digest, size in sizes.items() if size > longest)
    ranked = sorted(sizes, key=_score)
    if len(ranked) == 1 and len(head) == 1:
        return HoldoutPlan(fraction, None, always_train=ranked[0], longest=longest)
    small = [digest for digest in ranked if digest not in frequent]
    small = small or [digest for digest in ranked if sizes[digest] <= target * _PAST_TARGET]
    if small and len(ranked) > 1:
        train = next(digest for digest in reversed(ranked) if digest != small[0])
        return HoldoutPlan(fraction, None, small[0], train, longest=longest, frequent=frequent)
    return HoldoutPlan(fraction, None, cut=_cut(head, target), longest=longest, frequent=frequent)


def _plan_whole(items: Sequence[DocumentSize], fraction: float) -> HoldoutPlan:
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
        return HoldoutPlan(fraction, frozenset(chosen))
    if not items:
        return HoldoutPlan(fraction, frozenset())
    return HoldoutPlan(fraction, frozenset(), cut=_cut(items, target))


def _sizes(items: Sequence[DocumentSize]) -> tuple[dict[bytes, int], int]:
    """The characters of each document (by digest, all its copies together), and of all documents."""
    sizes: dict[bytes, int] = {}
    for item in items:
        sizes[item.digest] = sizes.get(item.digest, 0) + item.length
    return sizes, sum(sizes.values())


def _cut(items: Sequence[DocumentSize], target: float) -> DocumentCut:
    """The cut of the longest document, chosen so that the ends of all its copies have about `target` characters together."""
    longest = max(items, key=lambda item: (item.length, item.digest))
    copies = sum(item.digest == longest.digest for item in items)
    tail = min(max(round(target / copies), 1), max(longest.length // 2, 1))
    return DocumentCut(longest.digest, longest.length, tail, copies)


def cut_message(name: str, cut: DocumentCut, fraction: float) -> Message:
    """The message that says that a document of the source `name` is cut into training and validation text."""
    again = f", which occurs at least {cut.copies:,} times" if cut.copies > 1 else ""
    return Message(
        level="info",
        code="validation-cut",
        text=f"Validation uses the last {cut.tail / cut.length:.1%} of the longest document of {name}{again}.",
        why=f"Whole documents cannot make up about {fraction:.1%} of the text: they are too few, too long or repeated too "
        "often.",
        hint="With text:PATH you can give a validation file: --set data.validation_path=FILE.",
    )


def cut_pieces(pieces: Iterable[str], cut: DocumentCut, split: Literal["train", "validation"]) -> Iterator[str]:
    """Yield the training or the validation text of a cut document: what is before or after the border nearest to `cut.at`."""
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
    """The index in `text` after the paragraph border that is nearest to `at`, at most `slack` characters away.

    If there is none: after the nearest line border, else after the nearest space, else `at`.
    """
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
    """The hash of a document as a number in [0, 1): uniformly distributed, and the same in every corpus."""
    return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=_SALT).digest(), "big") / 2**64
