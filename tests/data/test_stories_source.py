"""The built-in corpus as a source: fixed stories, of which the last are the validation split."""

from __future__ import annotations

import itertools

import pytest

from seedbed.config.schema import DataConfig
from seedbed.data.source import Source, open_source
from seedbed.events import Event


def fail_on_event(event: Event) -> None:
    raise AssertionError(event)


def open_stories(**settings: object) -> Source:
    return open_source(DataConfig(source="stories", **settings), emit=fail_on_event)  # type: ignore[arg-type]


def test_the_last_stories_are_the_validation_split() -> None:
    source = open_stories(stories=60, validation=0.1)
    train, validation = list(source.documents("train")), list(source.documents("validation"))
    assert (len(train), len(validation)) == (54, 6)
    assert train + validation == list(open_stories(stories=120, validation=0.5).documents("train"))
    assert not source.drops


@pytest.mark.parametrize(
    ("stories", "validation", "sizes"), [(2, 0.05, (1, 1)), (3, 0.99, (1, 2)), (10, 0.001, (9, 1))]
)
def test_both_splits_have_at_least_one_story(stories: int, validation: float, sizes: tuple[int, int]) -> None:
    source = open_stories(stories=stories, validation=validation)
    assert (len(list(source.documents("train"))), len(list(source.documents("validation")))) == sizes


def test_a_huge_corpus_gives_its_first_stories_at_once() -> None:
    first = list(itertools.islice(open_stories(stories=10**9).documents("train"), 3))
    assert first == list(itertools.islice(open_stories(stories=100).documents("train"), 3))


def test_the_fingerprint_depends_on_the_stories_and_the_split() -> None:
    fingerprints = [
        open_stories(stories=100).fingerprint(),
        open_stories(stories=101).fingerprint(),
        open_stories(stories=100, validation=0.5).fingerprint(),
        open_stories(stories=100, max_documents=50).fingerprint(),
    ]
    assert len(set(fingerprints)) == 4
    assert fingerprints[3] == open_stories(stories=50).fingerprint()
    assert fingerprints[0] == open_stories(stories=100).fingerprint()
