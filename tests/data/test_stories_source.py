"""The built-in corpus as a source: fixed, split at the end, independent of everything but its size."""

from __future__ import annotations

import itertools

import pytest

from seedbed.config.schema import DataConfig
from seedbed.data.source import Source, open_source
from seedbed.events import Event


def refuse(event: Event) -> None:
    raise AssertionError(event)


def open_stories(**settings: object) -> Source:
    return open_source(DataConfig(source="stories", **settings), emit=refuse)  # type: ignore[arg-type]


def test_the_last_stories_validate() -> None:
    source = open_stories(stories=60, validation=0.1)
    train, validation = list(source.documents("train")), list(source.documents("validation"))
    assert (len(train), len(validation)) == (54, 6)
    assert train + validation == list(open_stories(stories=120, validation=0.5).documents("train"))
    assert not source.drops


@pytest.mark.parametrize(
    ("stories", "validation", "sizes"), [(2, 0.05, (1, 1)), (3, 0.99, (1, 2)), (10, 0.001, (9, 1))]
)
def test_both_sides_have_a_story_however_few_there_are(stories: int, validation: float, sizes: tuple[int, int]) -> None:
    source = open_stories(stories=stories, validation=validation)
    assert (len(list(source.documents("train"))), len(list(source.documents("validation")))) == sizes


def test_a_corpus_of_any_size_streams_at_once() -> None:
    first = list(itertools.islice(open_stories(stories=10**9).documents("train"), 3))
    assert first == list(itertools.islice(open_stories(stories=100).documents("train"), 3))


def test_the_fingerprint_follows_what_is_read() -> None:
    prints = [
        open_stories(stories=100).fingerprint(),
        open_stories(stories=101).fingerprint(),
        open_stories(stories=100, validation=0.5).fingerprint(),
        open_stories(stories=100, max_documents=50).fingerprint(),
    ]
    assert len(set(prints)) == 4
    assert prints[3] == open_stories(stories=50).fingerprint()
    assert prints[0] == open_stories(stories=100).fingerprint()
