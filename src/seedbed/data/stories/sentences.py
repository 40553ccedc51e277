"""Split the text of stories into sentences."""

from __future__ import annotations

import re
from typing import NamedTuple

# A sentence ends with . ! or ?, perhaps a closing quotation mark, before a capital letter, an opening quotation mark,
# or the end. `"Where is it?" asked Mia.` is one sentence.
_BORDER = re.compile(r"""(?<=[.!?])\s+(?=["A-Z])|(?<=[.!?]")\s+(?=["A-Z])""")
_END = re.compile(r"""[.!?]"?$""")
_BEGIN = re.compile(r"""["A-Z]""")


class SplitText(NamedTuple):
    """The complete ``sentences`` of a text, and the incomplete ``fragments`` at its start and end."""

    sentences: list[str]
    fragments: list[str]


def split(text: str) -> SplitText:
    """Split ``text`` into sentences, paragraph by paragraph.

    If the text starts inside a sentence (with a lower-case letter) or its last sentence is unfinished, these parts are
    fragments. Everything else between sentence borders counts as a sentence.
    """
    paragraphs = [line.strip() for line in text.splitlines() if line.strip()]
    pieces = [piece for paragraph in paragraphs for piece in _BORDER.split(paragraph)]
    fragments = []
    if pieces and not _BEGIN.match(pieces[0]):
        fragments.append(pieces.pop(0))
    if pieces and _unfinished(pieces[-1]):
        fragments.append(pieces.pop())
    return SplitText(pieces, fragments)


def sentences(text: str) -> list[str]:
    """The complete sentences of ``text``; see `split`."""
    return split(text).sentences


def _unfinished(piece: str) -> bool:
    # `"Where is it?` and `"Where is it?"` are followed by the words that say who asked.
    return not _END.search(piece) or piece.count('"') % 2 == 1 or (piece.startswith('"') and piece.endswith('"'))
