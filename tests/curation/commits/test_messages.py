"""Messages of commits: words are matched whole, and where they decide."""

from __future__ import annotations

import time

import pytest

import patience
from seedbed.curation.commits.messages import ChangeKind, read_message


def test_a_word_within_another_is_no_fix() -> None:
    """The reproduced defect: an unanchored pattern took "prefix padding" for a fix."""
    assert read_message("prefix padding in address helper").kind == "other"
    assert read_message("Debug output for the suffix table").kind == "other"


def test_a_fix_whose_body_says_merge_is_kept() -> None:
    """The reproduced defect: "merge this" in the body of a fix made it a merge."""
    intent = read_message("fix: sign error\n\nPlease merge this into the release branch, and bump nothing.\n")
    assert (intent.kind, intent.problem) == ("fix", None)
    assert intent.text == "fix: sign error\n\nPlease merge this into the release branch, and bump nothing."


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("feat(api)!: add a second endpoint", "feature"),
        ("docs: say how to install it", "documentation"),
        ("perf: no copy of the buffer", "performance"),
        ("net/http: fix the timeout of idle connections", "fix"),
        ("[parser] Added support for tabs", "feature"),
        ("Resolve the race in the queue", "fix"),
        ("Renamed Foo to Bar", "refactoring"),
        ("The parser crashes for empty input", "fix"),
        ("Move the tests into a folder", "refactoring"),
        ("tests: more cases of odd names", "test"),
        ("Sort keys in the output", "other"),
    ],
)
def test_kinds(message: str, kind: ChangeKind) -> None:
    intent = read_message(message)
    assert (intent.kind, intent.problem) == (kind, None)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Merge branch 'main' into topic", "merge"),
        ("Merge pull request #12 from me/topic\n\nFix the parser", "merge"),
        ("Merge sort: fix the order of equal keys", None),
        ('Revert "Add the cache"\n\nThis reverts commit 0123456789abcdef0123.', "revert"),
        ("revert: add the cache", "revert"),
        ("Undo button for the editor", None),
        ("Reversion of lists is stable", None),
        ("Bump actions/checkout from 3 to 4", "version or dependency bump"),
        ("build(deps): bump lodash from 4.17.20 to 4.17.21", "version or dependency bump"),
        ("chore(deps-dev): update eslint", "version or dependency bump"),
        ("v1.2.3", "version or dependency bump"),
        ("Release 2.0", "version or dependency bump"),
        ("deps: qs@6.5.2", "version or dependency bump"),
        ("[maven-release-plugin] prepare release app-1.2", "version or dependency bump"),
        ("Bumpy roads are drawn darker", None),
        ("Bump the default number of threads to 8", None),
        ("Bump the maven group with 4 updates", "version or dependency bump"),
        ("bump grep to 3", "version or dependency bump"),
        ("Release the lock before waiting", None),
        ("Update the parser to accept 2.0 headers", None),
        ("Use version 2 of the protocol when both sides know it", None),
        ("wip", "unfinished commit"),
        ("fixup! Add the cache", "unfinished commit"),
        ("update", "message says too little"),
        ("Fix typo", "message says too little"),
        ("Update README.md", "message says too little"),
        (".", "message says too little"),
        ("", "message says too little"),
        ("Fix typo\n\nThe name of the option was wrong in the example.", None),
    ],
)
def test_what_gives_no_instruction(message: str, problem: str | None) -> None:
    assert read_message(message).problem == problem


def test_what_is_for_the_forge_and_about_people_is_left_out() -> None:
    message = """Handle empty names in the reader (#123)

Names were assumed to have a letter.

Closes #12, fixes #13
Change-Id: I0123456789
Signed-off-by: Ann Other <ann@example.com>
Co-authored-by: Bob <bob@example.com>
"""
    assert read_message(message).text == "Handle empty names in the reader\n\nNames were assumed to have a letter."
    assert read_message("Keep the order of keys, fixes #7 [ci skip]").subject == "Keep the order of keys"


def test_a_long_odd_message_is_read_quickly() -> None:
    began = time.process_time()
    for odd in (
        "a-" * 20_000,
        "Fixes " * 20_000,
        "close #1 " * 5000 + "!",
        "[" * 20_000,
        "update a " * 10_000,
        "\n\n" * 30_000,
    ):
        read_message(odd)
        read_message(odd[:200])
        read_message(f"Add the reader\n\n{odd}")
    assert time.process_time() - began < patience.limit(0.25)
