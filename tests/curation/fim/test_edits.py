"""Middles from the lines that a commit added: which edits give one, where it begins and ends, and what surrounds it."""

from __future__ import annotations

from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_tokenizers import characters
from seedbed.curation.fim.draws import Draws
from seedbed.curation.fim.edits import Edit, edits_of, span_of, useless
from seedbed.curation.fim.families import markers
from seedbed.curation.fim.pieces import BYTES_PER_TOKEN, around, token_counter
from seedbed.curation.fim.rendering import render_fim
from seedbed.curation.fim.samples import SampleOptions, Sampler
from seedbed.curation.repositories.files import Source
from seedbed.curation.repositories.languages import languages
from seedbed.curation.repositories.patches import Change, Hunk, Patch

PYTHON = languages()["Python"]
FUNCTION = "def function_{0}(first, second):\n    total = first * {0} + second\n    return total\n\n\n"
CODE = "".join(FUNCTION.format(number) for number in range(80))


def patch(before: str, after: str) -> Patch:
    """The patch of a file, with hunks like those of git without context."""
    old, new = before.split("\n"), after.split("\n")
    hunks = tuple(
        Hunk(i, tuple(old[i:j]), tuple(new[k:m]))
        for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if tag != "equal"
    )
    return Patch(Change("M", "a.py", "a.py", "100644", "100644", "0" * 40, "1" * 40), before, after, hunks)


def middles(before: str, after: str, seed: int = 0) -> list[str]:
    found = []
    for edit in edits_of(patch(before, after)):
        if useless(edit) is None:
            span = span_of(after, edit, Draws("test", seed, edit.first))
            found.append(after[span.begin : span.end])
    return found


LINES = ["x = 1\r", "    y = '世界'", "", "def f():", "# 😀 é\r", "\ufeffimport a", "}", "  ", "\tgo()", "\r"]


@settings(max_examples=120, deadline=None)
@given(
    before=st.lists(st.sampled_from(LINES), max_size=30),
    after=st.lists(st.sampled_from(LINES), max_size=60),
    seed=st.integers(0, 50),
)
def test_parts_join_to_whole_lines_of_the_file_after_the_commit(before: list[str], after: list[str], seed: int) -> None:
    text = "\n".join(after)
    sampler = Sampler(SampleOptions(max_tokens=120), None, None, None)
    most = (120 - sampler.overhead) * BYTES_PER_TOKEN
    for edit in edits_of(patch("\n".join(before), text)):
        assert set(edit.added) <= set(text.split("\n")[edit.first : edit.last])
        if useless(edit) is not None:
            continue
        draws = Draws("test", seed)
        span = span_of(text, edit, draws)
        middle = text[span.begin : span.end]
        # Within the lines of the edit: no line end at its end, and neither half of one nor a mark of byte order.
        assert text[: span.begin].count("\n") >= edit.first
        assert text[: span.end].count("\n") < edit.last
        assert middle.strip()
        assert middle[-1] not in "\r\n"
        assert middle[0] not in "\r\n\ufeff"
        assert middle.split("\n")[0].strip()
        assert middle.split("\n")[-1].strip()
        record = sampler.gap(Source("a.py", text, PYTHON), span, draws)
        if record is None:
            assert len(middle.encode()) > most / 2 - middle.count("\n") * BYTES_PER_TOKEN
            continue
        prefix, suffix = record.prefix or "", record.suffix or ""
        assert record.middle == middle
        begin = span.begin - len(prefix)
        assert text[begin : span.end + len(suffix)] == prefix + middle + suffix
        assert begin == 0 or text[begin - 1] == "\n"
        assert suffix.endswith("\n") or span.end + len(suffix) == len(text)
        assert len((prefix + middle + suffix).encode()) <= most


def test_added_lines_are_the_middle_without_blank_lines_and_the_line_end() -> None:
    before = "def f():\n    return 1\n"
    after = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    assert middles(before, after) == ["def g():\n    return 2"]


def test_a_middle_begins_at_the_indentation_or_at_the_begin_of_its_line() -> None:
    found = {middles("if a:\n    b()\n", "if a:\n    b()\n    c()\n", seed)[0] for seed in range(8)}
    assert found == {"c()", "    c()"}


def test_every_edit_of_a_file_is_one_middle_at_its_place() -> None:
    after = CODE.replace("first * 3 ", "first * 33 ").replace("first * 60 ", "first * 66 ")
    found = middles(CODE, after)
    assert [each.strip() for each in found] == ["total = first * 33 + second", "total = first * 66 + second"]


def test_hunks_with_only_blank_lines_and_brackets_between_them_are_one_edit() -> None:
    """Git keeps such lines out of a change, so that half of a function would be left for the suffix."""
    before = "start()\n}\n\nend()\n"
    joined = middles(before, "start()\nfirst()\n}\n\nsecond()\nend()\n")
    assert joined == ["first()\n}\n\nsecond()"]
    apart = middles("start()\nstay()\nend()\n", "start()\nfirst()\nstay()\nsecond()\nend()\n")
    assert apart == ["first()", "second()"]


@pytest.mark.parametrize(
    ("removed", "added", "reason"),
    [
        (("gone()",), (), "edit that only removes lines"),
        ((), ("",), "edit that adds only blank lines or brackets"),
        ((), ("    }", ")"), "edit that adds only blank lines or brackets"),
        (("call(a, b)",), ("call(", "    a,", "    b,", ")"), "edit that only formats"),
        (("version = '1.2.3'",), ("version = '1.3.0'",), "edit that only changes versions"),
        (("x = 1",), ("x = 2",), None),
        ((), ("世界 = 1",), None),
    ],
)
def test_edits_that_teach_nothing_give_no_middle(
    removed: tuple[str, ...], added: tuple[str, ...], reason: str | None
) -> None:
    assert useless(Edit(0, len(added), removed, added)) == reason


def test_a_piece_has_text_on_both_sides_and_what_one_side_does_not_need_goes_to_the_other() -> None:
    count = token_counter(None)
    for number, share in ((0, 0.5), (40, 0.3), (40, 0.7), (79, 0.5)):
        begin = CODE.index(f"    total = first * {number} ")
        piece = around(CODE, begin, begin + 20, count, 400, share)
        assert piece is not None
        assert piece.begin <= begin < piece.end
        assert 250 < piece.tokens <= 400
        assert piece.begin == 0 or CODE[piece.begin :].startswith("def function_")
        assert piece.end == len(CODE) or CODE[: piece.end].endswith("\n\n\n")
        if number == 40:
            assert abs((begin - piece.begin) / (piece.end - piece.begin) - share) < 0.2


def test_rows_of_edits_have_at_most_their_tokens_with_markers_and_end() -> None:
    tokenizer = characters("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>")
    found = markers("starcoder2", tokenizer)
    text = CODE.replace("second\n", "second  # " + "ä😀 " * 12 + "\n")
    sampler = Sampler(SampleOptions(max_tokens=900), "starcoder2", tokenizer, found)
    lengths = []
    for edit in edits_of(patch(CODE, text))[::8]:
        draws = Draws("test", edit.first)
        record = sampler.gap(Source("a.py", text, PYTHON), span_of(text, edit, draws), draws)
        assert record is not None
        lengths.append(len(render_fim(record, found, tokenizer.encode).ids))
    assert len(lengths) == 10
    assert 800 < max(lengths) <= 900


def test_a_middle_of_more_than_half_a_row_gives_none() -> None:
    sampler = Sampler(SampleOptions(max_tokens=200), None, None, None)
    (edit,) = edits_of(patch(CODE[:200], CODE[:200] + CODE[200:2000]))
    draws = Draws("test")
    assert sampler.gap(Source("a.py", CODE[:2000], PYTHON), span_of(CODE[:2000], edit, draws), draws) is None
