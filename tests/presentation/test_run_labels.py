"""Problems of names, tags and notes while they are typed."""

from __future__ import annotations

import pytest

from seedbed.errors import UsageError
from seedbed.presentation.run_labels import name_problem, note_problem, parsed_tags, tags_problem
from seedbed.runs.labels import LONGEST_NOTE, MOST_TAGS


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("oak 2", ""),
        ("OAK", "Another run has the name OAK."),
        ("oak!", "is not a valid run name"),
        ("latest", "newest run"),
    ],
)
def test_a_name_must_be_valid_and_unused(name: str, problem: str) -> None:
    found = name_problem(name, {"oak", "20260101-000000-000-elm"})
    assert problem in found
    assert bool(found) == bool(problem)


def test_tags_are_separated_by_spaces_or_commas() -> None:
    assert parsed_tags("best, baseline  best") == {"best", "baseline"}
    assert tags_problem("best, baseline") == ""
    assert '"Not!" is not a valid tag.' in tags_problem("best Not!")
    with pytest.raises(UsageError):
        parsed_tags("best Not!")


def test_a_run_has_a_limited_number_of_tags() -> None:
    assert tags_problem(" ".join(f"t{number}" for number in range(MOST_TAGS))) == ""
    too_many = " ".join(f"t{number}" for number in range(MOST_TAGS + 1))
    assert tags_problem(too_many) == f"These are {MOST_TAGS + 1} tags, but a run can have at most {MOST_TAGS}."


def test_a_note_has_a_limited_length() -> None:
    assert note_problem("one\ntwo") == ""
    assert note_problem("x" * (LONGEST_NOTE + 1)) != ""
