"""The number of ids of a tokenizer, counted from its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import trained_bases
from seedbed.errors import SeedbedError
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.vocabulary import count_ids


def test_the_count_is_that_of_the_loaded_tokenizer(tmp_path: Path) -> None:
    folder = trained_bases.make(tmp_path / "base")
    assert count_ids(folder) == Tokenizer.load(folder).vocab_size


@pytest.mark.parametrize(
    ("spec", "ids"),
    [
        ({"model": {"vocab": {"a": 0, "b": 4}}, "added_tokens": [{"id": 9, "content": "<x>"}]}, 10),
        ({"model": {"vocab": {"a": 0, "b": 4}}, "added_tokens": None}, 5),
        ({"model": {"vocab": [["a", -1.0], ["b", -2.0]]}}, 2),
    ],
    ids=["added above", "none added", "unigram"],
)
def test_unused_ids_count(tmp_path: Path, spec: object, ids: int) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    assert count_ids(tmp_path) == ids


@pytest.mark.parametrize("content", [None, "{", '{"model": 3}', "[]"])
def test_a_missing_or_broken_tokenizer_is_an_error_that_names_the_folder(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(SeedbedError, match=r"tokenizer\.json"):
        count_ids(tmp_path)
