"""Text for people: counts, durations and sizes, and untrusted text without control sequences."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed import text


def test_a_style_is_the_terminal_codes_of_its_words() -> None:
    assert text.painted("late", "bold red") == "\x1b[1;31mlate\x1b[0m"  # SGR 1: bold; 31: red (ECMA-48)
    assert text.painted("late", "") == "late"
    assert text.painted("", "red") == ""


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (789, "789"),
        (999_950, "1M"),
        (1_234_567, "1.23M"),
        (45_600, "45.6k"),
        (7e9, "7B"),
        (0.5, "0.5"),
        (1e13, "10T"),
    ],
)
def test_counts_have_three_digits_and_a_unit(number: float, shown: str) -> None:
    assert text.count(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.42, "0.4s"), (9.97, "10s"), (42, "42s"), (59.6, "1m 00s"), (187, "3m 07s"), (3600, "1h 00m"), (90000, "1d 01h"),
        (None, "-"), (float("inf"), "-"), (float("nan"), "-"), (-5, "0.0s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(4e-5, "40 us"), (0.0123, "12.3 ms"), (2.5, "2.50 s")])
def test_short_times(seconds: float, shown: str) -> None:
    assert text.short_time(seconds) == shown


@pytest.mark.parametrize(("size", "shown"), [(512, "512 B"), (1536, "1.5 KiB"), (80 * 2**30, "80.0 GiB")])
def test_sizes(size: float, shown: str) -> None:
    assert text.size(size) == shown


@pytest.mark.parametrize(
    ("untrusted", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\x08c\x00d", "abcd"),
        ("two\nlines", "two lines"),
        ("right‮to left", "rightto left"),
        ("\x9b31mC1", "31mC1"),
        ("naïve 漢字 👩‍🚀 [/]", "naïve 漢字 👩‍🚀 [/]"),
    ],
)
def test_control_sequences_are_removed_from_untrusted_text(untrusted: str, shown: str) -> None:
    assert text.printable(untrusted) == shown


def test_newlines_are_kept_on_request() -> None:
    assert text.printable("a\n\x1b[2Jb\tc", newlines=True) == "a\nb\tc"


@given(st.text())
def test_printable_text_contains_no_control_characters(untrusted_text: str) -> None:
    shown = text.printable(untrusted_text)
    assert not any(ord(char) < 32 and char != "\t" for char in shown)
    assert "\x7f" not in shown
    assert "\x1b" not in shown
    assert text.printable(shown) == shown


def test_the_start_or_the_middle_is_cut_where_the_end_says_more() -> None:
    assert text.shorten_start("abcdef", 4) == "…def"
    assert text.shorten_start("abcd", 4) == "abcd"
    assert [text.shorten_middle("evaluate-12", width) for width in (11, 8, 7, 1)] == [
        "evaluate-12",
        "eval…-12",
        "eva…-12",
        "…",
    ]


def test_shorten_cuts_at_the_width_and_adds_an_ellipsis() -> None:
    assert text.shorten("abcdef", 4) == "abc…"
    assert text.shorten("abcd", 4) == "abcd"


def test_bytes_that_are_not_utf_8_are_escaped_and_not_dropped() -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    assert text.legible(name) == text.printable(name) == "caf\\xe9.txt"
    assert text.quoted(Path(name)) == '"caf\\xe9.txt"'
    assert text.legible("\ud83d") == "\\ud83d"


def test_plural_uses_the_singular_for_one() -> None:
    assert text.plural(1, "checkpoint") == "1 checkpoint"
    assert text.plural(0, "checkpoint") == "0 checkpoints"
    assert text.plural(1234, "window") == "1,234 windows"
    assert text.plural(1.5, "epoch") == "1.5 epochs"
    assert text.plural(1.0, "epoch") == "1 epoch"
    assert text.plural(0.5, "window", "0.5") == "0.5 windows"


def test_an_age_is_shown_in_its_largest_unit() -> None:
    ages = (-3, 0, 59, 60, 3599, 3600, 86_399, 86_400, 40 * 86_400, 800 * 86_400)
    assert [text.age(each) for each in ages] == ["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d", "40d", "2y"]
