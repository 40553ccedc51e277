"""Edits as text: they apply to exactly what they were made for, in both forms."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.curation.commits.edits import EditError, Form, apply_edits, edit_of, read_edits, write_edits
from seedbed.curation.repositories.patches import Hunk

FORMS: tuple[Form, ...] = ("blocks", "diff")
# Few different lines, so that many are in a text more than once; and lines that look like the marks of an answer.
LINES = st.sampled_from(
    [
        "",
        "a",
        "b",
        "    return x",
        "}",
        "\ta\r",
        "=======",
        "<<<<<<< SEARCH",
        ">>>>>>> REPLACE",
        "### Edit a",
        "@@ @@",
        "diff edit a",
        "--- a/b",
        "+x",
        "é\u2028\x0c",
        "\\ No newline at end of file",
        "========",
    ]
)
TEXTS = st.tuples(st.lists(LINES, max_size=30), st.booleans()).map(lambda t: "\n".join(t[0]) + "\n" * t[1])


def hunks_of(before: str, after: str) -> list[Hunk]:
    old, new = before.split("\n"), after.split("\n")
    codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Hunk(i, tuple(old[i:j]), tuple(new[k:m])) for tag, i, j, k, m in codes if tag != "equal"]


@given(before=TEXTS, after=TEXTS, form=st.sampled_from(FORMS))
@settings(max_examples=100, deadline=None)
def test_an_edit_makes_exactly_the_text_after(before: str, after: str, form: Form) -> None:
    try:
        edit = edit_of("p", "p", before, after, hunks_of(before, after))
        made = apply_edits({"p": before}, write_edits([edit], form))
    except EditError:  # lines that are everywhere: refused, never wrong
        return
    assert made == {"p": after}


@given(text=TEXTS, form=st.sampled_from(FORMS))
@settings(max_examples=100, deadline=None)
def test_a_new_file_is_written_as_it_is(text: str, form: Form) -> None:
    edit = edit_of("new", "new", None, text, [])
    assert apply_edits({}, write_edits([edit], form)) == {"new": text}


@pytest.mark.parametrize("form", FORMS)
def test_one_answer_has_all_kinds_of_edits(form: Form) -> None:
    before = {"a.py": "one\ntwo\nthree\n", "b.py": "x\n", "old name.py": "1\n2\n3", "same.py": "s"}
    after = {
        "a.py": "one\n2\nthree\n",
        "b.py": None,
        "new.py": "=======\n",
        "new name.py": "1\n2\n3\n4",
        "moved.py": "s",
    }
    made = [
        edit_of("a.py", "a.py", before["a.py"], after["a.py"], hunks_of(before["a.py"], "one\n2\nthree\n")),
        edit_of("b.py", "b.py", before["b.py"], None, []),
        edit_of("new.py", "new.py", None, after["new.py"], []),
        edit_of(
            "new name.py",
            "old name.py",
            before["old name.py"],
            "1\n2\n3\n4",
            hunks_of(before["old name.py"], "1\n2\n3\n4"),
        ),
        edit_of("moved.py", "same.py", "s", "s", []),
    ]
    answer = write_edits(made, form)
    assert apply_edits(before, answer) == {**after, "old name.py": None, "same.py": None}
    assert [each.action for each in read_edits(answer)] == ["edit", "delete", "new", "rename", "rename"]


def test_a_block_has_enough_lines_to_be_found_once() -> None:
    before = "".join(f"def f{number}():\n    x = 1\n    return x\n\n\n" for number in range(9))
    after = before.replace("def f4():\n    x = 1", "def f4():\n    x = 2")
    answer = write_edits([edit_of("f.py", "f.py", before, after, hunks_of(before, after))], "blocks")
    assert "def f4" in answer
    assert answer.count("\n") < 20
    assert apply_edits({"f.py": before}, answer) == {"f.py": after}


def test_neither_form_has_hashes_or_line_numbers() -> None:
    edit = edit_of("f.py", "f.py", "a\nb\n", "a\nc\n", hunks_of("a\nb\n", "a\nc\n"))
    assert write_edits([edit], "blocks") == ("### Edit f.py\n<<<<<<< SEARCH\na\nb\n=======\na\nc\n>>>>>>> REPLACE")
    assert write_edits([edit], "diff") == "diff edit f.py\n--- a/f.py\n+++ b/f.py\n@@ @@\n a\n-b\n+c"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "text before\n### Edit a",
        "### Edit a\n<<<<<<< SEARCH\nx\n",
        "### Edit a\n<<<<<<< SEARCH\ny\n=======\nz\n>>>>>>> REPLACE",
        "### Edit a\n<<<<<<< SEARCH\nx\n=======\nz\n>>>>>>> REPLACE",  # twice in the file
        "### Edit missing\n<<<<<<< SEARCH\nx\n=======\nz\n>>>>>>> REPLACE",
        "### New file a\n<<<<<<< SEARCH\n=======\nz\n>>>>>>> REPLACE",
        "diff edit a\n--- a/a\n+++ b/a\n@@ @@\n-q",
        "diff turn a",
    ],
)
def test_what_does_not_apply_is_refused(answer: str) -> None:
    with pytest.raises(EditError):
        apply_edits({"a": "x\nx\n"}, answer)
