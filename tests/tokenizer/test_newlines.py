"""Normalised text has no byte-order mark and only newlines as line endings; typed escapes are replaced."""

from __future__ import annotations

import pytest

from seedbed.tokenizer.newlines import normalised, unescaped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("\ufeffone\r\n", "one\n"),
        ("one\r\r\ntwo", "one\n\ntwo"),
        ("a mark \ufeff inside stays", "a mark \ufeff inside stays"),
        ("", ""),
    ],
)
def test_byte_order_marks_are_dropped_and_line_endings_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
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
def test_typed_escapes_are_replaced(typed: str, expected: str) -> None:
    assert unescaped(typed) == expected
