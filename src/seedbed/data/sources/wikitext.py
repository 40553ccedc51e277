"""The sources wikitext-2 and wikitext-103: Wikipedia articles with the official splits, from the Hub or a local copy."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Literal

from seedbed.config.schema import DataConfig
from seedbed.data.hub_access import datasets_library, explained, pinned_revision
from seedbed.data.readers import in_pieces, read_lines_of, read_rows_of
from seedbed.data.sources.wikitext_files import LAYOUT_HINT, local_files
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message
from seedbed.files import expand_home, sha256_file

HUB_NAME = "Salesforce/wikitext"

PUBLISHED_LINES = {
    ("wikitext-2", "train"): 36_718,
    ("wikitext-2", "validation"): 3_760,
    ("wikitext-103", "train"): 1_801_350,
    ("wikitext-103", "validation"): 3_760,
}
"""Number of lines (rows on the Hub) in each split. Source: the dataset card of Salesforce/wikitext."""

_FORMAT = "wikitext 1"
_LONGEST_ARTICLE = 1 << 22


class WikitextSource:
    """The articles of WikiText-2 or WikiText-103, in the published order, with the official splits."""

    def __init__(self, name: str, data: DataConfig, emit: Emit) -> None:
        self.name = name
        self.drops: Counter[str] = Counter()
        self._max_documents = data.max_documents
        self._emit = emit
        self._local = local_files(expand_home(data.path), name) if data.path else None
        self._hub_config = f"{name}-raw-v1"
        self._pinned = None if self._local else pinned_revision(HUB_NAME, emit, cached_config=self._hub_config)
        self._warned: set[str] = set()

    def fingerprint(self) -> str:
        """Hex digest of the bytes of the local files or, for the Hub, of the dataset's commit."""
        content = f"{self.name} {self._pinned.revision if self._pinned else None}"
        if self._local:
            content = " ".join(sha256_file(path) for split in ("train", "validation") for path in self._local[split])
        return hashlib.sha256(f"{_FORMAT}\n{self._max_documents}\n{content}".encode()).hexdigest()

    def documents(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """Yield the articles of the official split. A long article is divided into pieces of about a megabyte."""
        lines = self._with_checked_count(split, self._lines(split))
        for article in itertools.islice(articles(lines, self.name), self._max_documents or None):
            yield from in_pieces([article])

    def _lines(self, split: str) -> Iterator[str]:
        if self._local is None:
            yield from (row["text"] for row in self._hub[split].select_columns(["text"]))
            return
        for path in self._local[split]:
            yield from read_rows_of(path, "text") if path.suffix == ".parquet" else read_lines_of(path)

    @cached_property
    def _hub(self) -> Any:
        """All splits from the Hub, downloaded once into the cache of the `datasets` library."""
        datasets = datasets_library(f"The corpus {self.name}")
        revision = self._pinned.revision if self._pinned else None
        self._emit(
            Message(
                level="info",
                code="hub-fetch",
                text=f"Downloading {self.name} ({HUB_NAME}) from the Hub. It is then cached.",
            )
        )
        with explained(HUB_NAME):
            return datasets.load_dataset(HUB_NAME, self._hub_config, revision=revision)

    def _with_checked_count(self, split: Literal["train", "validation"], lines: Iterator[str]) -> Iterator[str]:
        """Yield the lines of a split unchanged. At the end, warn if there are not as many as were published."""
        count = 0
        for line in lines:
            count += 1
            yield line
        if count == 0:
            raise SeedbedError(f"The {split} split of {self.name} is empty.", LAYOUT_HINT)
        published = PUBLISHED_LINES[self.name, split]
        if count != published and split not in self._warned:
            self._warned.add(split)
            self._emit(
                Message(
                    level="warning",
                    code="wikitext-lines",
                    text=f"The {split} split of this {self.name} has {count:,} lines; the published split has "
                    f"{published:,}.",
                    why="The copy is incomplete, edited or another corpus, so its losses cannot be compared with published "
                    "losses.",
                    hint="Download the copy again, or remove data.path to use the copy on the Hub.",
                )
            )


def articles(lines: Iterable[str], name: str) -> Iterator[str]:
    """Join the lines of WikiText into articles. An article begins at a top-level heading (` = Title = `) between blank lines.

    Text stays as published (except line ends and blank lines), so every file layout yields the same articles.
    """
    article: list[str] = []
    length = 0
    pending: str | None = None
    before_blank = True
    for raw in itertools.chain(lines, [""]):
        line = "" if raw.isspace() else raw.rstrip("\n")
        if pending is not None:
            if not line:
                yield from _whole(article)
                article, length = [], 0
            article.append(pending)
            pending = None
        if before_blank and _is_title(line):
            pending = line
        else:
            article.append(line)
            length += len(line)
        if length > _LONGEST_ARTICLE:
            raise SeedbedError(
                f"The text is not {name}: it has {length:,} characters without a heading such as ' = Title = '.",
                "To train on other text, use --data text:PATH.",
            )
        before_blank = not line
    yield from _whole(article)


def _whole(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip("\n")
    if text:
        yield text + "\n"


def _is_title(line: str) -> bool:
    bare = line.strip()
    return (
        len(bare) > 4
        and bare.startswith("= ")
        and bare.endswith(" =")
        and not bare.startswith("= =")
        and not bare.endswith("= =")
    )


def open_wikitext(word: str, data: DataConfig, emit: Emit) -> WikitextSource:
    """Open the corpus `word` (wikitext-2 or wikitext-103) from `data.path` if it is set, else from the Hub."""
    return WikitextSource(word, data, emit)
