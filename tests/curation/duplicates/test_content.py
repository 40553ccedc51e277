from __future__ import annotations

import time

import pytest

import patience
from planted_duplicates import chat, code, gap, prose
from seedbed.curation.duplicates.content import content_of, is_code, licence_is_known, place_of, seconds_of, whole_text
from seedbed.curation.record import Function, Licence, Message, Provenance, Record, ToolCall


def exact(record: Record) -> bytes:
    return content_of(record).exact


def test_code_is_compared_byte_for_byte_but_for_whitespace_at_the_ends_of_lines() -> None:
    source = code("def f():\n    return 1\n", "a.py")
    assert exact(source) == exact(code("def f():  \r\n    return 1\t\n\n\n", "b.py"))
    assert exact(source) != exact(code("def f():\n  return 1\n", "a.py"))
    assert exact(source) != exact(code("def F():\n    return 1\n", "a.py"))
    assert exact(code('s = "é"', "a.py")) != exact(code('s = "e\u0301"', "a.py"))


def test_prose_is_compared_without_case_spaces_and_ways_to_write_accents() -> None:
    text = prose("Un café, s'il vous plaît.\n")
    assert exact(text) == exact(prose("un  cafe\u0301,\ns'il vous plaît."))
    assert exact(text) != exact(prose("un café s'il vous plaît"))


def test_conversations_are_compared_turn_by_turn_with_their_tool_calls() -> None:
    talk = chat("Fix it", "Done.")
    assert exact(talk) == exact(chat("Fix it \n", "Done.\n", session="another"))
    assert exact(talk) != exact(chat("Fix it", "done."))
    assert exact(talk) != exact(chat("Fix it Done."))
    called = chat("Fix it", "Done.")
    assert called.messages is not None
    called.messages[1].tool_calls = [ToolCall(id="1", function=Function(name="edit", arguments='{"path":"a"}'))]
    again = chat("Fix it", "Done.")
    assert again.messages is not None
    again.messages[1].tool_calls = [ToolCall(id="2", function=Function(name="edit", arguments='{"path":"a"}'))]
    assert exact(called) == exact(again) != exact(talk)


def test_rows_of_one_piece_with_different_gaps_are_one_document_and_no_exact_duplicates() -> None:
    source = "def f():\n    return 1\n"
    one, other = content_of(gap(source, 4, 5, "a.py")), content_of(gap(source, 13, 19, "a.py"))
    assert one.document == other.document
    assert one.exact != other.exact
    assert content_of(gap(source, 4, 5, "b.py")).document != one.document
    assert content_of(gap(source, 4, 5, "b.py")).exact == one.exact
    assert content_of(code(source, "a.py")).document == one.document


def test_rows_of_one_piece_of_an_unknown_file_are_one_document() -> None:
    one, other = gap("abc def", 1, 2, "x"), gap("abc def", 3, 5, "x")
    one.provenance.path = other.provenance.path = None
    assert content_of(one).document == content_of(other).document


def test_kinds_of_records_with_equal_text_are_no_exact_duplicates() -> None:
    assert (
        len(
            {
                exact(chat("hello")),
                exact(prose("hello")),
                exact(code("hello", "a.py")),
                exact(gap("hello", 1, 2, "a.py")),
            }
        )
        == 4
    )


@pytest.mark.parametrize(
    ("path", "expected"), [("a.py", True), ("README.md", False), ("docs/x.RST", False), ("Makefile", True)]
)
def test_files_are_code_or_prose_by_their_names(path: str, expected: bool) -> None:
    assert is_code(code("x", path)) is expected


def test_the_whole_text_of_a_row_with_a_gap_is_its_piece() -> None:
    assert whole_text(gap("abcdef", 2, 4, "a.py")) == "abcdef"


@pytest.mark.parametrize(
    ("spdx", "known"), [("MIT", True), ("GPL-3.0-only", True), ("unknown", False), ("NOASSERTION", False), ("", False)]
)
def test_a_licence_that_was_not_found_is_unknown(spdx: str, known: bool) -> None:
    record = prose("x")
    assert not licence_is_known(record)
    record.licence = Licence(spdx=spdx, found_in="LICENSE")
    assert licence_is_known(record) is known


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (None, -1),
        ("2026-11-21T10:15:00Z", 1795256100),
        ("2026-11-21T11:15:00+01:00", 1795256100),
        ("2026-11-21T10:15:00", 1795256100),
        ("yesterday", -1),
        ("0001-01-01T00:00:00+14:00", 0),
    ],
)
def test_times_are_seconds(written: str | None, seconds: int) -> None:
    assert seconds_of(Record(kind="text", text="", provenance=Provenance(source="files", time=written))) == seconds


def test_places_name_the_source_and_the_id() -> None:
    record = code("x", "src/a.py")
    assert place_of(record) == f"app src/a.py {record.id}"
    assert place_of(chat("x", session="s9")).startswith("s9 ")
    assert place_of(code("x", "a\x1b[31m\nb.py")).startswith("app a b.py ")


def test_long_runs_of_spaces_take_linear_time() -> None:
    begun = time.process_time()
    for text in (" " * 2_000_000 + "x", " \n" * 1_000_000 + "x"):
        content_of(code(text, "a.py"))
        content_of(prose(text))
        content_of(
            Record(kind="chat", messages=[Message(role="user", content=text)], provenance=Provenance(source="x"))
        )
    assert time.process_time() - begun < patience.limit(1.25)
