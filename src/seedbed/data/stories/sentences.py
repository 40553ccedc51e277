"""Split the text of stories into sentences; knows neither words nor grammar."""

from __future__ import annotations

import re
from typing import NamedTuple

# A sentence ends with . ! or ?, perhaps a closing quotation mark, before a capital letter, an opening quotation mark,
# or the end. `"Where is it?" asked Mia.` is one sentence.
_BORDER = re.compile(r"""(?<=[.!?])\s+(?=["A-Z])|(?<=[.!?]")\s+(?=["A-Z])""")
_END = re.compile(r"""[.!?]"?$""")
_BEGIN = re.compile(r"""["A-Z]""")


class Split(NamedTuple):
    """The whole ``sentences`` of a text, and the ``fragments`` that its edges cut."""

    sentences: list[str]
    fragments: list[str]


def split(text: str) -> Split:
    """The sentences of ``text``, paragraph by paragraph.

    A beginning in the middle of a sentence (a small letter at the start of the text) and an unfinished end of the text
    are fragments; anything else between the borders counts as a sentence, however odd.
    """
    paragraphs = [line.strip() for line in text.splitlines() if line.strip()]
    pieces = [piece for paragraph in paragraphs for piece in _BORDER.split(paragraph)]
    fragments = []
    if pieces and not _BEGIN.match(pieces[0]):
        fragments.append(pieces.pop(0))
    if pieces and _unfinished(pieces[-1]):
        fragments.append(pieces.pop())
    return Split(pieces, fragments)


def sentences(text: str) -> list[str]:
    """The whole sentences of ``text``; see `split`."""
    return split(text).sentences


def _unfinished(piece: str) -> bool:
    # `"Where is it?` and `"Where is it?"` still wait for the words that say who asked.
    return not _END.search(piece) or piece.count('"') % 2 == 1 or (piece.startswith('"') and piece.endswith('"'))
