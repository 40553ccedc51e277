"""Records that are too long: chats are shortened at the boundaries of turns, texts are cut, and nothing vanishes uncounted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rendered_chats import call, chat, message, renderer, samples, small_tokenizer, trained_text
from seedbed.curation.drops import Drops
from seedbed.curation.record import Message, Provenance, Record
from seedbed.curation.rendering.clipping import clip, cut_text, head_and_tail
from seedbed.curation.rendering.renderer import Renderer

END = "<|im_end|>"
LINE = "return a + b\n"


@pytest.fixture(scope="module")
def made() -> Iterator[Renderer]:
    with renderer() as each:
        yield each


def step(number: int, output: str = "x") -> list[Message]:
    """A tool call with its result."""
    return [
        message("assistant", f"step {number}", tool_calls=[call()]),
        message("tool", output, tool_call_id="call_1"),
    ]


def long_chat() -> Record:
    return chat(
        ("system", "Be brief."),
        ("user", "the task"),
        *step(1, LINE * 200),
        *step(2, LINE * 200),
        ("assistant", "done"),
        ("user", "and then"),
        *step(3),
        ("assistant", "the answer"),
        ("user", "a trailing question"),
    )


def contents(record: Record) -> list[str]:
    return [each.content for each in record.messages or ()]


class TestChats:
    """What goes first."""

    def test_a_chat_that_fits_is_not_changed(self, made: Renderer) -> None:
        record = long_chat()
        found = clip(record, made.count(record) or 0, made)
        assert found.records == [record]
        assert found.lost_tokens == 0

    def test_what_the_template_writes_beside_the_turns_costs_no_turn_that_has_room(self, made: Renderer) -> None:
        """A long list of tools, or many turns, made the result much shorter than the limit."""
        record = chat(("user", "the task"), *(each for number in range(60) for each in step(number, LINE * 3)))
        tool = {"type": "function", "function": {"name": "run", "description": "word " * 1500, "parameters": {}}}
        record = msgspec.structs.replace(record, tools=json.dumps([tool]))
        total = made.count(record) or 0
        for limit in (total - 100, total - 800):
            (short,) = clip(record, limit, made).records
            assert limit - 120 <= (made.count(short) or 0) <= limit

    def test_the_oldest_output_of_a_tool_is_shortened_first(self, made: Renderer) -> None:
        record = long_chat()
        total = made.count(record) or 0
        found = clip(record, total - 300, made)
        (short,) = found.records
        assert found.lost_tokens == total - (made.count(short) or 0) >= 300
        outputs = [each.content for each in short.messages or () if each.role == "tool"]
        assert outputs[1:] == [LINE * 200, "x"]
        assert "characters left out" in outputs[0]
        assert outputs[0].startswith(LINE)
        assert outputs[0].endswith(LINE)
        assert contents(short)[-1] == "the answer", "what follows the last trained turn is of no use"

    def test_then_the_oldest_steps_go_with_their_results_and_the_task_stays(self, made: Renderer) -> None:
        record = long_chat()
        messages = record.messages or []
        wanted = [*messages[:2], *messages[7:11]]
        assert [each.content for each in wanted] == ["Be brief.", "the task", "and then", "step 3", "x", "the answer"]
        limit = made.count(chat(*wanted)) or 0
        (short,) = clip(record, limit, made).records
        assert short.messages == wanted

    def test_a_turn_that_does_not_fit_is_left_out(self, made: Renderer) -> None:
        record = chat(("user", "a"), ("assistant", LINE * 100))
        found = clip(record, 100, made)
        assert found.records == []
        assert found.lost_tokens == made.count(record)
        drops = Drops()
        assert samples(record, max_tokens=100, drops=drops) == []
        assert drops.counts == {("render", "a turn and its task are longer than the limit"): 1}

    def test_the_output_of_the_last_step_is_shortened_if_nothing_else_is_left(self, made: Renderer) -> None:
        record = chat(("user", "task"), *step(1, LINE * 300), ("assistant", "the answer"))
        (short,) = clip(record, 400, made).records
        assert contents(short)[:2] == ["task", "step 1"]
        assert "left out" in contents(short)[2]

    def test_a_turn_is_never_cut_and_each_is_trained_once_with_as_much_before_it_as_fits(self) -> None:
        drops = Drops()
        record = long_chat()
        found = samples(record, max_tokens=200, drops=drops)
        assert all(len(each.ids) <= 200 for each in found)
        call_of_tool = '\n<tool_call>\n{"name": "find", "arguments": {"name": "a"}}\n</tool_call>'
        wanted = [
            each.content + (call_of_tool if each.tool_calls else "") + END
            for each in record.messages or ()
            if each.role == "assistant"
        ]
        assert sorted(turn for each in found for turn in trained_text(each)) == sorted(wanted)
        assert not drops.counts

    def test_if_everything_is_trained_a_long_chat_gives_one_sample(self) -> None:
        (sample,) = samples(long_chat(), max_tokens=200, loss="all", drops=Drops())
        assert len(sample.ids) <= 200
        assert "the answer" in trained_text(sample)[0]


def test_defect_17_long_rows_are_neither_cut_within_a_turn_nor_lost_without_a_count() -> None:
    long = [
        long_chat(),
        chat(("user", "a"), ("assistant", LINE * 100)),
        Record(kind="text", text=LINE * 100, provenance=Provenance(source="test")),
    ]
    drops = Drops()
    found = samples(long, max_tokens=120, drops=drops)
    end, eot = small_tokenizer().special[END], small_tokenizer().eot_id
    chats = [each for each in found if each.ids[0] == small_tokenizer().special["<|im_start|>"]]
    texts = [each for each in found if each not in chats]
    assert all(len(each.ids) <= 120 for each in found)
    assert chats
    assert all(each.ids[-2:] == [end, *small_tokenizer().encode("\n")] for each in chats), "the last turn is whole"
    assert sum(len(each.ids) for each in texts) == len(small_tokenizer().encode(LINE)) * 100 + 1
    assert [each.ids[-1] == eot for each in texts] == [*[False] * (len(texts) - 1), True]
    assert drops.counts == {("render", "a turn and its task are longer than the limit"): 1}
    assert samples([], drops=drops) == [], "no row at all is no error"


@st.composite
def agent_chats(draw: st.DrawFn) -> list[Message]:
    words = st.text("ab \n", max_size=200)
    made = [message("system", "s")] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 3))):
        made.append(message("user", f"user {number}"))
        for _ in range(draw(st.integers(0, 3))):
            made.append(message("assistant", draw(words)[:40], tool_calls=[call()]))
            made += [
                message("tool", draw(words) * draw(st.integers(1, 8)), tool_call_id="call_1")
                for _ in range(draw(st.integers(1, 2)))
            ]
        made.append(message("assistant", f"answer {number} {draw(words)[:40]}"))
    return made


class TestProperties:
    """Any chat and any text."""

    @given(agent_chats(), st.integers(40, 600))
    @settings(max_examples=60, deadline=None)
    def test_what_is_left_fits_and_consists_of_whole_turns(self, messages: list[Message], limit: int) -> None:
        record = chat(*messages)
        total = RENDERER.count(record) or 0
        found = clip(record, limit, RENDERER)
        if not found.records:
            assert found.reason
            assert found.lost_tokens == total > limit
            return
        (short,) = found.records
        left = short.messages or []
        assert (RENDERER.count(short) or 0) == total - found.lost_tokens <= limit
        said = [each for each in messages if each.role != "tool"]
        assert all(each in said for each in left if each.role != "tool"), "only outputs of tools are shortened"
        head = 2 if messages[0].role == "system" else 1
        assert left[:head] == messages[:head]
        assert left[-1] == messages[-1]
        for before, each in pairwise(left):
            if each.role == "tool":
                assert before.role in ("assistant", "tool")
            if before.tool_calls:
                assert each.role == "tool"

    @given(st.text("ab \n\té🙂", max_size=400), st.integers(4, 40))
    @settings(max_examples=100, deadline=None)
    def test_the_pieces_of_a_text_are_the_text_and_fit(self, text: str, limit: int) -> None:
        encode = small_tokenizer().encode
        pieces = list(cut_text(text, limit, encode))
        assert "".join(pieces) == text
        assert all(len(encode(piece)) <= limit or len(piece) == 1 for piece in pieces)

    @classmethod
    def teardown_class(cls) -> None:
        RENDERER.close()


RENDERER = renderer()


def test_texts_are_cut_at_empty_lines_if_they_are_near() -> None:
    text = "a = 1\nb = 2\n\nc = 3\nd = 4\ne = 5\n"
    encode = small_tokenizer().encode
    assert next(cut_text(text, len(encode("a = 1\nb = 2\n\nc = 3\n")), encode)) == "a = 1\nb = 2\n\n"


def test_the_beginning_and_the_end_stay_at_the_ends_of_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(100))
    short = head_and_tail(text, 90)
    assert short.startswith("line 0\nline 1\n")
    assert short.endswith("line 98\nline 99\n")
    head, _, tail = short.partition("\n[... ")
    left_out = int(tail.split()[0].replace(",", ""))
    assert left_out == len(text) - len(head) - len(tail.partition("...]\n")[2])
