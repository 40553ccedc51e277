"""What a text source provides (a Protocol), the table of kinds of sources, and how the source in `data.source` is opened."""

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
    """A corpus (collection of texts) that can be read repeatedly, in the same order each time, in bounded memory."""

    @property
    def name(self) -> str:
        """The name of the corpus, as in `data.source`."""
        ...

    @property
    def drops(self) -> Counter[str]:
        """Number of documents omitted so far, by reason. Reading a split again does not count its documents twice."""
        ...

    def fingerprint(self) -> str:
        """Hex digest of the content and of how it is split. Equal fingerprints mean the same documents in the same order."""
        ...

    def documents(self, split: SplitName) -> Iterator[str]:
        """Yield the documents of a split, in a fixed order. A very long document is divided into several.

        Raises SeedbedError if the corpus cannot be read or the split is empty.
        """
        ...


@runtime_checkable
class FolderSource(Protocol):
    """A source that reads a folder and skips some files unread. Its fingerprint does not cover the skipped files."""

    def skipped_messages(self) -> list[Message]:
        """Messages that say which files are skipped as the folder is now; their code is `messages.FILES_SKIPPED`."""
        ...


@runtime_checkable
class WholeSource(Protocol):
    """A source that can be read without a split into training and validation text."""

    def whole_documents(self) -> Iterator[str]:
        """Yield all documents, none of them cut into a training and a validation part."""
        ...


class SourceKind(NamedTuple):
    """A kind of source, such as text:PATH: how it is written in `data.source`, and the function that opens it."""

    form: str
    opener: Callable[[str, DataConfig, Emit], Source]


SOURCES: dict[str, SourceKind] = {
    "stories": SourceKind(FORMS["stories"], stories.open_stories),
    "text": SourceKind(FORMS["text"], text_files.open_text),
    "wikitext-2": SourceKind(FORMS["wikitext-2"], wikitext.open_wikitext),
    "wikitext-103": SourceKind(FORMS["wikitext-103"], wikitext.open_wikitext),
    "hf": SourceKind(FORMS["hf"], hub.open_hub),
}


def open_source(data: DataConfig, *, emit: Emit) -> Source:
    """Open the source that `data.source` names. Its warnings go to `emit`.

    Raises UsageError for an unknown kind of source, SeedbedError for a source that cannot be opened.
    """
    word, rest = parse_source(data.source, data.validation_path)
    return SOURCES[word].opener(rest or word, data, emit)
