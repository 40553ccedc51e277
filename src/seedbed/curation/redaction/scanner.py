"""Finds what the rules describe: one pass over the bytes for all anchors, then the rule's pattern at each anchor.

Nearly all text has no anchor, so its cost is the pass alone. The pass hashes the four (and three) bytes at each place and
looks them up in a table, as in the Rabin-Karp algorithm with several patterns (Karp and Rabin, 1987).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from seedbed.curation.redaction import checks, personal_checks
from seedbed.curation.redaction.checks import Check, entropy
from seedbed.curation.redaction.rules import Rule, rule_table

_BLOCK = 1 << 18
"""Bytes that are hashed at once: the tables and a block stay in the cache of a processor."""
_SHORT, _MOST_CLEAN = 128, 1 << 15
"""Texts of at most so many characters in which nothing was found are kept, at most so many of them."""
_FACTOR = np.uint32(2654435761)
_DIGITS = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))
_HEX = bytes(48 if chr(byte) in "0123456789abcdef" else byte for byte in range(256))
_TOKENS = bytes(97 if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789_-" else byte for byte in range(256))
_LETTERS = bytes(97 if 97 <= byte < 123 else _DIGITS[byte] for byte in range(256))
_BASE64 = bytes(97 if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789+/=" else byte for byte in range(256))
_RUNS = bytes(97 if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789+/_-" else 32 for byte in range(256))


T = TypeVar("T")


class Span(NamedTuple):
    """A part of a text that is replaced: characters `start` to `end`, and the rule that found it."""

    start: int
    end: int
    rule: Rule


class _Compiled(NamedTuple):
    number: int
    rule: Rule
    pattern: re.Pattern[str]
    before: re.Pattern[str] | None
    each: re.Pattern[str] | None
    check: Check | None
    groups: tuple[str, ...]

    @classmethod
    def of(cls, number: int, rule: Rule) -> _Compiled:
        pattern = rule.compiled()
        groups = tuple(name for name in pattern.groupindex if re.fullmatch(r"secret|s\d", name))
        check = _check_named(rule.check) if rule.check else None
        return cls(number, rule, pattern, rule.compiled_before(), rule.compiled_each(), check, groups)


class Scanner:
    """Finds the spans of some rules in texts. Takes a few milliseconds to make."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        by_shape: dict[str, dict[bytes, list[_Compiled]]] = defaultdict(lambda: defaultdict(list))
        for number, rule in enumerate(rules):
            compiled = _Compiled.of(number, rule)
            for anchor in rule.anchors:
                by_shape[rule.shape][anchor.encode()].append(compiled)
        lower = by_shape.pop("lower", {})
        self._grams = [Grams(size, lower) for size in (3, 4)]
        self._singles = {anchor: found for anchor, found in lower.items() if len(anchor) < 3}
        self._clean: set[str] = set()
        """Short texts in which nothing was found: names of repositories, models and files come with every record."""
        self._shapes = {shape: dict(anchors) for shape, anchors in by_shape.items()}

    def spans(self, text: str) -> list[Span]:
        """The spans of a text in order; spans that overlap are joined, and the first rule of the table names them."""
        if text in self._clean:
            return []
        found: list[tuple[int, int, int, Rule]] = []
        for compiled, at in self._candidates(text):
            for start, end in _matched(compiled, text, at):
                found.append((start, end, compiled.number, compiled.rule))
        if not found and len(text) <= _SHORT and len(self._clean) < _MOST_CLEAN:
            self._clean.add(text)
        return _joined(found) if found else []

    def _candidates(self, text: str) -> Iterator[tuple[_Compiled, int]]:
        exact = text.encode("ascii", "replace")
        lower = exact.lower()
        for grams in self._grams:
            yield from grams.candidates(lower)
        yield from _occurrences(self._singles, lower)
        for shape, anchors in self._shapes.items():
            yield from _occurrences(anchors, _shaped(shape, exact, lower))


@cache
def plain_secrets() -> Scanner:
    """Finds secrets as they are, not in base64."""
    return Scanner([rule for rule in rule_table() if not rule.personal and rule.shape != "runs"])


def _check_named(name: str) -> Check:
    return {**checks.CHECKS, **personal_checks.CHECKS, "base64_secret": _base64_secret}[name]


_BEGINNING_OF_BASE64 = 64


def _decoded_base64(value: str) -> str | None:
    """The text that a value is in base64, also as in URLs; None if it is none."""
    compact = "".join(value.split()).rstrip("=").replace("-", "+").replace("_", "/")
    for part in (compact[:_BEGINNING_OF_BASE64], compact):  # what is no text is so from the beginning
        try:
            data = base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
            text = data.decode("utf-8", "ignore" if len(part) < len(compact) else "strict")
        except (ValueError, binascii.Error):
            return None
        if not all(char.isprintable() or char.isspace() for char in text):
            return None
    return text


def _base64_secret(match: re.Match[str], value: str) -> bool:
    """A text in base64 with a secret in it."""
    text = _decoded_base64(value)
    return text is not None and bool(plain_secrets().spans(text))


def _shaped(shape: str, exact: bytes, lower: bytes) -> bytes:
    if shape == "exact":
        return exact
    if shape == "runs":
        return b" " + lower.translate(_RUNS)  # so that what follows the blank of an anchor begins where the anchor is
    return lower.translate(
        {"digits": _DIGITS, "hex": _HEX, "letters": _LETTERS, "tokens": _TOKENS, "base64": _BASE64}[shape]
    )


def _occurrences(anchors: dict[bytes, list[_Compiled]], data: bytes) -> Iterator[tuple[_Compiled, int]]:
    for anchor, rules in anchors.items():
        at = data.find(anchor)
        while at >= 0:
            for compiled in rules:
                yield compiled, at
            at = data.find(anchor, at + 1)


class Grams(Generic[T]):
    """The anchors that have at least `size` bytes (3: exactly 3), by the hash of their first bytes."""

    def __init__(self, size: int, anchors: dict[bytes, list[T]]) -> None:
        """`anchors`: what each of them finds."""
        self._mask = np.uint32(0xFFFFFF if size == 3 else 0xFFFFFFFF)
        self._size = size
        self._table: npt.NDArray[np.bool_] = np.zeros(1 << 16, dtype=np.bool_)
        self._by_gram: dict[bytes, list[tuple[bytes, list[T]]]] = defaultdict(list)
        for anchor, rules in anchors.items():
            if len(anchor) == 3 if size == 3 else len(anchor) >= 4:
                self._by_gram[anchor[:size]].append((anchor, rules))
                word = np.frombuffer(anchor[:size].ljust(4, b"\0"), dtype="<u4")
                self._table[self._hashed(word)] = True

    def _hashed(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        if self._size == 3:
            words = words & self._mask
        hashed: npt.NDArray[np.uint32] = (words * _FACTOR) >> np.uint32(16)
        return hashed

    def candidates(self, data: bytes) -> Iterator[tuple[T, int]]:
        """What the anchors in the data find, and where each begins."""
        if not self._by_gram:
            return
        padded = data + b"\0\0\0"
        for first in range(0, len(data), _BLOCK):
            count = min(_BLOCK, len(data) - first)
            words = np.ndarray((count,), dtype="<u4", buffer=padded, offset=first, strides=(1,))
            for place in np.flatnonzero(self._table[self._hashed(words)]).tolist():
                at = first + place
                for anchor, found in self._by_gram.get(data[at : at + self._size], ()):
                    if data.startswith(anchor, at):
                        for each in found:
                            yield each, at


def _matched(compiled: _Compiled, text: str, at: int) -> Iterator[tuple[int, int]]:
    """Where the secrets of a rule are, if its pattern matches at the anchor: one, or those of a list."""
    match = compiled.pattern.match(text, at)
    if match is None:
        return
    if compiled.each is not None:
        for found in compiled.each.finditer(text, *match.span("list")):
            if _counts(compiled, found, found["secret"]):
                yield found.span("secret")
        return
    start, end = next((match.span(name) for name in compiled.groups if match[name] is not None), match.span())
    if compiled.before is not None:
        lead = compiled.before.search(text, max(0, at - compiled.rule.reach), at)
        if lead is None:
            return
        if "secret" in compiled.before.groupindex:
            start, end = lead.span("secret")
        elif not compiled.groups:
            start = lead.start("start" if "start" in compiled.before.groupindex else 0)
    if end > start and _counts(compiled, match, text[start:end]):
        yield start, end


def _counts(compiled: _Compiled, match: re.Match[str], value: str) -> bool:
    """Whether a find is random enough and passes the check of its rule."""
    if compiled.rule.entropy and entropy(value) < compiled.rule.entropy:
        return False
    return compiled.check is None or compiled.check(match, value)


def _joined(found: list[tuple[int, int, int, Rule]]) -> list[Span]:
    """Spans without overlaps: those that overlap become one, with the rule that is first in the table."""
    spans: list[Span] = []
    number_of_last = 0
    for start, end, number, rule in sorted(found, key=lambda each: (each[0], -each[1], each[2])):
        if spans and start < spans[-1].end:
            last = spans[-1]
            first = rule if number < number_of_last else last.rule
            number_of_last = min(number, number_of_last)
            spans[-1] = Span(last.start, max(last.end, end), first)
        else:
            spans.append(Span(start, end, rule))
            number_of_last = number
    return spans
