"""The step that shortens long results of tools. It comes after redaction: a secret whose mark is cut off would not be found."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seedbed.curation.drops import Drops
from seedbed.curation.record import Record, content_id

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{0,60}_\d{1,9}>")
_LONGEST = 74
"""The most characters of a placeholder."""


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and end with a mark between them that says how many characters were cut.

    No half of a placeholder such as <TOKEN_1> stays beside the mark. `most`: the most characters of the text; 0: any number.
    """
    if not most or len(text) <= most:
        return text
    last = most // 3
    start, end = most - last, len(text) - last
    start = next((found.start() for found in _around(text, start)), start)
    end = next((found.end() for found in _around(text, end)), end)
    return f"{text[:start]}\n[... {end - start:,} characters cut ...]\n{text[end:]}"


def _around(text: str, at: int) -> Iterator[re.Match[str]]:
    """The placeholder that a cut before the character `at` would divide."""
    for found in _PLACEHOLDER.finditer(text, max(0, at - _LONGEST), at + _LONGEST):
        if found.start() < at < found.end():
            yield found


class ShortenStep:
    """Shortens the results of tools in conversations, and counts how many."""

    name = "shorten"
    version = 1

    def __init__(self, most: int) -> None:
        """`most`: the most characters of a result; 0: any number."""
        self._most = most

    def __call__(self, records: Iterator[Record], drops: Drops) -> Iterator[Record]:
        """Yield all records."""
        for record in records:
            changed = False
            for message in record.messages or ():
                if message.role == "tool" and len(message.content) > self._most > 0:
                    message.content = shortened(message.content, self._most)
                    drops.note(self.name, "tool result shortened")
                    changed = True
            if changed and record.id:
                record.id = content_id(record)
            yield record
