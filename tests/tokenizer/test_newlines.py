"""What models never see: byte-order marks and the line endings of other systems."""

from __future__ import annotations

import pytest

from seedbed.tokenizer.newlines import normalised


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("\ufeffone\r\n", "one\n"),
        ("one\r\r\ntwo", "one\n\ntwo"),
        ("a mark \ufeff inside stays", "a mark \ufeff inside stays"),
        ("", ""),
    ],
)
def test_marks_and_foreign_line_endings_go(text: str, seen: str) -> None:
    assert normalised(text) == seen
