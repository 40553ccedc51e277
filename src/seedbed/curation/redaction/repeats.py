"""Finds further occurrences of secrets that were found in another place of the same record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

from seedbed.curation.redaction.checks import is_wordlike
from seedbed.curation.redaction.rules import Rule
from seedbed.curation.redaction.scanner import Grams, Span

_LEAST = 8
"""A shorter value may stand anywhere by chance."""
_LONGEST_WORD = 16
_ENDS = " \t\r\n.,:;!?&|#'\"`\\()"
"""Punctuation that may stand around a secret in prose and code."""
_ESCAPE = re.compile(r"\\[nrtbf]\Z")


def is_common(value: str) -> bool:
    """Whether a secret is too short, or words alone, such as `postgres`: it says nothing where it stands elsewhere."""
    words = len(value) <= _LONGEST_WORD and is_wordlike(value) and not any(char.isdigit() for char in value)
    return len(value) < _LEAST or words or not any(char.isalnum() for char in value)


def spellings(value: str) -> list[str]:
    """How a secret may be written: as it was found, without punctuation around it, in a URL, or in a string of JSON."""
    plain = value.strip(_ENDS)
    made = [value, plain, unquote(plain), quote(plain, safe=""), json.dumps(value)[1:-1]]
    return [each for each in dict.fromkeys(made) if each == value or not is_common(each)]


class Repeats:
    """Secrets of one record. Those of words and numbers are found as whole words only, others anywhere."""

    def __init__(self, secrets: Mapping[str, Rule], before: Repeats | None = None) -> None:
        """`secrets`: spellings of secrets, with the rules that found them; `before`: others, which are found as well."""
        self._before = before
        anchors: dict[bytes, list[tuple[str, Rule, bool]]] = {}
        for value, rule in secrets.items():
            apart = is_wordlike(value) or not any(char.isalpha() for char in value)
            anchors.setdefault(_bytes(value), []).append((value, rule, apart))
        self._grams = Grams(4, anchors)

    def find(self, text: str) -> Iterator[Span]:
        """Where the secrets are, in any order; they may overlap."""
        if self._before is not None:
            yield from self._before.find(text)
        for (value, rule, apart), at in self._grams.candidates(_bytes(text)):
            end = at + len(value)
            if text.startswith(value, at) and not (apart and _is_within_word(text, at, end)):
                yield Span(at, end, rule)


def _bytes(text: str) -> bytes:
    """One byte for each character."""
    return text.encode("ascii", "replace")


def _is_within_word(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 2) : start], text[end : end + 1]
    return after.isalnum() or (before[-1:].isalnum() and not _ESCAPE.match(before))


def united(spans: list[Span], others: list[Span]) -> list[Span]:
    """All spans in order; those that overlap become one, which has the rule of the one that begins first."""
    made: list[Span] = []
    for span in sorted([*spans, *others], key=lambda each: (each.start, -each.end)):
        if made and span.start < made[-1].end:
            made[-1] = Span(made[-1].start, max(made[-1].end, span.end), made[-1].rule)
        else:
            made.append(span)
    return made
