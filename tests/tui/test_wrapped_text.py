"""Text in the window: what is longer than a line is divided at a mark of its own."""

from __future__ import annotations

import pytest
from rich.text import Text

from seedbed.tui.wrapped_text import with_line_breaks

PATH = "/home/ann/models/20261128-201713-781-a-rather-long-name/checkpoints/step-00000040"


def test_a_path_is_divided_at_its_marks() -> None:
    lines = with_line_breaks(Text(f"lies in {PATH} since noon"), 30).plain.split("\n")
    assert "".join(lines) == f"lies in {PATH} since noon"
    assert len(lines) > 2
    assert all(line[-1] in "/-_." for line in lines[:-1])
    assert all(len(line) <= 30 for line in lines[1:-1])


def test_what_fits_stays_as_it_is_and_styles_stay_where_they_were() -> None:
    words = Text.assemble("plain ", (PATH, "bold"), " end")
    assert with_line_breaks(words, 200) is words
    found = with_line_breaks(words, 40)
    assert found.plain.replace("\n", "") == words.plain
    bold = "".join(found.plain[span.start : span.end] for span in found.spans if span.style == "bold")
    assert bold.replace("\n", "") == PATH


@pytest.mark.parametrize("word", ["x" * 100, "好" * 40, "a" * 39 + "/" + "b" * 90])
def test_a_word_without_marks_is_left_to_be_broken_anywhere(word: str) -> None:
    assert with_line_breaks(Text(word), 40).plain.replace("\n", "") == word
