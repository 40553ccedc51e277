"""What models never see: byte-order marks and the line endings of other systems."""

from __future__ import annotations

import pytest

from seedbed.tokenizer.newlines import normalised, unescaped


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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"\n\n", "\n\n"),
        (r"a\tb\r", "a\tb\r"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\d \x41 \u0041 \ ", r"\d \x41 \u0041 \ "),
        ("already\nbroken", "already\nbroken"),
        ("", ""),
    ],
)
def test_escapes_that_people_type(typed: str, meant: str) -> None:
    assert unescaped(typed) == meant
