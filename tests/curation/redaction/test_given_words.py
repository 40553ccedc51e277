"""Tests of finding given words, compared with a regular expression that says what a whole word is."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.curation.redaction.given_words import GivenWords

NAMES = ("Ann Lee Smith", "Ann Lee", "Zoé Ångström", "Lee Smith", "?oé Ångström", "Al B. Xu-Li", "İz Kelvin")
PIECES = [*NAMES, "ann lee", " ", "<", "_", "x", "é", "1", "\n", ".", "\ud800", "Smith", "Ann L", "ee", "\x00"]


def by_expression(text: str) -> list[tuple[int, int, str]]:
    either = "|".join(re.escape(name) for name in sorted(NAMES, key=lambda name: (-len(name), name)))
    return [(*match.span(), "NAME") for match in re.finditer(rf"(?<![\w<])(?:{either})(?!\w)", text)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_the_same_words_are_found_as_by_a_regular_expression(text: str) -> None:
    finder = GivenWords([(name, "NAME") for name in NAMES])
    assert list(finder.find(text)) == by_expression(text)


def test_words_of_three_letters_and_across_a_block_of_bytes_are_found() -> None:
    finder = GivenWords([("zed", "USER"), ("zeds-box", "HOST"), ("Bob Bobson", "NAME"), ("root", "USER")])
    text = "x" * ((1 << 18) - 4) + " Bob Bobson, zed, zeds-box, root, Bob"
    assert [(text[start:end], label) for start, end, label in finder.find(text)] == [
        ("Bob Bobson", "NAME"),
        ("zed", "USER"),
        ("zeds-box", "HOST"),
    ]


def test_a_login_name_that_examples_use_is_found_if_it_is_the_users_own() -> None:
    """In `/home/alice` of a manual it is no person; the login name of the user is one."""
    finder = GivenWords([("alice", "USER"), ("ubuntu", "USER")])
    text = "alice runs ubuntu, malice"
    assert [text[start:end] for start, end, _ in finder.find(text)] == ["alice"]
