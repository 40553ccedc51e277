from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.curation.duplicates import shingles as module
from seedbed.curation.duplicates.shingles import shingles, word_hashes


def test_words_are_those_of_a_regular_expression() -> None:
    text = "def load(path: str, *, encoding='utf-8') -> dict[str, Größe]:\n\treturn {x_1: 2.5}  # naïve\r\n"
    expected = re.findall(r"\w+", text)
    hashes = word_hashes(text)
    assert len(hashes) == len(expected)
    by_word = dict(zip(expected, hashes.tolist(), strict=True))
    assert [by_word[word] for word in expected] == hashes.tolist()
    assert len(set(hashes.tolist())) == len(set(expected))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Read THE file", "read the file"),
        ("a = b+c", "a  =\n b + c"),
        ("f(x)", "f[x]"),
    ],
)
def test_case_spaces_and_punctuation_do_not_count(text: str, same: str) -> None:
    assert word_hashes(text).tolist() == word_hashes(same).tolist()


def test_each_character_of_a_script_without_spaces_is_a_word() -> None:
    assert len(word_hashes("机器学习模型")) == 6
    assert len(word_hashes("データを読む。")) == 7
    assert len(word_hashes("สวัสดี")) == 6
    assert len(word_hashes("👍🏽 ok")) == 3
    assert len(word_hashes("Привет, мир")) == 2


@pytest.mark.parametrize("text", ["", " \n\t", "...", "a", "\0\0", "\ud800", "a\ud800b", "\ufeffx", "\x1b[31m"])
def test_odd_texts_have_few_words_and_no_runs(text: str) -> None:
    made = shingles([text], 5)
    assert made.words[0] <= 3
    assert made.offsets.tolist() == [0, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=6), st.integers(1, 5))
def test_runs_of_a_text_do_not_depend_on_the_others(texts: list[str], run: int) -> None:
    together = shingles(texts, run)
    for number, text in enumerate(texts):
        alone = shingles([text], run)
        assert (
            together.hashes[together.offsets[number] : together.offsets[number + 1]].tolist() == alone.hashes.tolist()
        )
        assert together.words[number] == alone.words[0] == len(word_hashes(text))
        assert len(alone.hashes) == max(0, int(alone.words[0]) - run + 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "bc", "d_e", "é", "中"]), min_size=1, max_size=12), st.integers(1, 4))
def test_equal_runs_have_equal_hashes_and_others_do_not(words: list[str], run: int) -> None:
    made = shingles([" ".join(words)], run)
    runs = [tuple(words[place : place + run]) for place in range(len(words) - run + 1)]
    assert len(made.hashes) == len(runs)
    assert len(set(made.hashes.tolist())) == len(set(runs))


def test_a_text_of_many_chunks_has_the_runs_of_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word{number % 997}" for number in range(30_000)]
    whole = shingles([" ".join(words)], 5)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 5000)
    chunked = shingles(["x", " ".join(words), "y z"], 5)
    assert whole.words[0] == 30_000
    assert chunked.words.tolist() == [1, 30_000, 2]
    assert np.array_equal(chunked.hashes, whole.hashes)


def test_a_long_text_without_spaces_is_split_at_the_same_places_wherever_it_is() -> None:
    blob = "Zm9v" * 300_000
    alone = shingles([blob], 1)
    assert 1 < alone.words[0] < 10
    assert shingles(["first text", blob], 1).hashes[2:].tolist() == alone.hashes.tolist()


@pytest.mark.parametrize("make", [lambda: " " * 3_000_000, lambda: "a" * 3_000_000, lambda: "a " * 1_000_000])
def test_long_runs_of_one_character_take_no_longer_than_others(make: Callable[[], str]) -> None:
    assert shingles([make()], 5).words[0] <= 1_000_000
