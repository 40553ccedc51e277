"""Where text comes from: the protocol of a source, the table of sources, and how `data.source` picks one.

Refuses to know what becomes of the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from seedbed.config.schema import DataConfig
from seedbed.config.source import FORMS, parse_source
from seedbed.data.sources import hub, stories, text_files, wikitext
from seedbed.events import Emit, Message

SplitName = Literal["train", "validation"]


class Source(Protocol):
    """A corpus that can be read as often as one likes, in the same order each time, in bounded memory."""

    @property
    def name(self) -> str:
        """What to call the corpus, as one would type it."""
        ...

    @property
    def drops(self) -> Counter[str]:
        """Documents left out so far, by reason; reading a split again does not count them twice."""
        ...

    def fingerprint(self) -> str:
        """Hex digest of content and split: two equal ones yield the same documents in the same order."""
        ...

    def documents(self, split: SplitName) -> Iterator[str]:
        """The documents of a split, in a fixed order. A very long one comes in pieces, each like a document of its own.

        Raises SeedbedError where the corpus cannot be read or the split is empty.
        """
        ...


@runtime_checkable
class Walked(Protocol):
    """A source that leaves out files without reading them: its fingerprint does not tell whether others have come."""

    def passed_over(self) -> list[Message]:
        """What to say of those files as they are now, with the code `messages.PASSED_OVER`."""
        ...


class Entry(NamedTuple):
    """A line of the table: how a form of `data.source` is written and who opens it."""

    form: str
    opener: Callable[[str, DataConfig, Emit], Source]


SOURCES: dict[str, Entry] = {
    "stories": Entry(FORMS["stories"], stories.open_stories),
    "text": Entry(FORMS["text"], text_files.open_text),
    "wikitext-2": Entry(FORMS["wikitext-2"], wikitext.open_wikitext),
    "wikitext-103": Entry(FORMS["wikitext-103"], wikitext.open_wikitext),
    "hf": Entry(FORMS["hf"], hub.open_hub),
}


def open_source(data: DataConfig, *, emit: Emit) -> Source:
    """The source that `data.source` names. Warnings go to `emit`.

    Raises UsageError for a word or scheme that is not in the table, SeedbedError for a source that cannot be opened.
    """
    word, rest = parse_source(data.source, data.validation_path)
    return SOURCES[word].opener(rest or word, data, emit)
