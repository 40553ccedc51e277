"""Text in the window: a word longer than a line is broken at its separators."""

from __future__ import annotations

import pytest
from rich.text import Text

from seedbed.tui.wrapped_text import with_line_breaks

PATH = "/home/ann/models/20261128-201713-781-a-rather-long-name/checkpoints/step-00000040"


def test_a_path_is_broken_at_its_separators() -> None:
    lines = with_line_breaks(Text(f"lies in {PATH} since noon"), 30).plain.split("\n")
    assert "".join(lines) == f"lies in {PATH} since noon"
    assert len(lines) > 2
    assert all(line[-1] in "/-_." for line in lines[:-1])
    assert all(len(line) <= 30 for line in lines[1:-1])


def test_text_that_fits_is_unchanged_and_broken_text_keeps_its_styles() -> None:
    words = Text.assemble("plain ", (PATH, "bold"), " end")
    assert with_line_breaks(words, 200) is words
    found = with_line_breaks(words, 40)
    assert found.plain.replace("\n", "") == words.plain
    bold = "".join(found.plain[span.start : span.end] for span in found.spans if span.style == "bold")
    assert bold.replace("\n", "") == PATH


@pytest.mark.parametrize("word", ["x" * 100, "好" * 40, "a" * 39 + "/" + "b" * 90])
def test_a_long_word_with_few_or_no_separators_loses_no_character(word: str) -> None:
    assert with_line_breaks(Text(word), 40).plain.replace("\n", "") == word
