"""The tokens of samples as text, to look at what is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from seedbed.curation.drops import Drops
from seedbed.curation.record import Record
from seedbed.curation.rendering.encoding import Sample, before_text
from seedbed.curation.rendering.renderer import Renderer
from seedbed.tokenizer.tokenizer import Tokenizer


class Peeked(NamedTuple):
    """A sample to look at. The text comes from data: make it `printable` before it is shown."""

    record: Record
    spans: list[tuple[str, bool]]
    """The text in parts, each with whether it is trained; together they are the whole text, with control tokens."""
    tokens: int
    trained_tokens: int

    @property
    def lines(self) -> list[list[tuple[str, bool]]]:
        """The spans, cut into lines, without newlines."""
        made: list[list[tuple[str, bool]]] = [[]]
        for text, trained in self.spans:
            for number, part in enumerate(text.split("\n")):
                if number:
                    made.append([])
                if part:
                    made[-1].append((part, trained))
        return made


def peek(records: Iterable[Record], renderer: Renderer, drops: Drops) -> Iterator[Peeked]:
    """Yield the samples of records to look at, in order, as they are trained."""
    begin, before = before_text(renderer.tokenizer), None
    for record, sample in renderer.samples(records, drops):
        if record.kind == "text" and record is not before:
            sample = sample.after(begin)
        before = record
        yield Peeked(record, spans_of(sample, renderer.tokenizer), len(sample.ids), sample.trained.count(1))


def spans_of(sample: Sample, tokenizer: Tokenizer) -> list[tuple[str, bool]]:
    """The text of a sample in parts that are trained or not."""
    pairs = zip(sample.ids, sample.trained, strict=True)
    return [
        (text_of([id_ for id_, _ in run], tokenizer), bool(trained))
        for trained, run in groupby(pairs, key=lambda pair: pair[1])
    ]


def text_of(ids: list[int], tokenizer: Tokenizer) -> str:
    """The text of ids, in which control tokens are written as they are named. Parts of characters become U+FFFD."""
    names = {id_: name for name, id_ in tokenizer.special.items()}
    parts = []
    for special, group in groupby(ids, key=lambda id_: id_ in names):
        run = list(group)
        parts += [names[id_] for id_ in run] if special else [tokenizer.decode(run)]
    return "".join(parts)
