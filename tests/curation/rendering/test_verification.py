"""What is found out about a chat template, and which templates are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rendered_chats import (
    BRACKETS,
    PLAIN,
    TAGGED,
    call,
    chat,
    message,
    renderer,
    samples,
    small_tokenizer,
    trained_text,
)
from seedbed.curation.drops import Drops
from seedbed.curation.rendering import verification
from seedbed.curation.rendering.peek import spans_of
from seedbed.curation.rendering.verification import TemplateFacts, facts_in_words
from seedbed.errors import SeedbedError
from seedbed.tokenizer.chatml import CHATML

END = "<|im_end|>"
FORGETFUL = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.reasoning_content and loop.last %}"
    "<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Writes the reasoning of the last turn only."""


def facts(template: str | None) -> TemplateFacts:
    with renderer(template) as made:
        list(made.samples([chat(("user", "a"), ("assistant", "b"))], Drops()))
        return made.facts["default"]


@pytest.mark.parametrize(
    ("template", "strategies", "header"),
    [
        (CHATML, ["generation", "markers", "prefix"], "<|im_start|>assistant\n"),
        (TAGGED, ["generation", "markers", "prefix"], "<|im_start|>assistant\n"),
        (PLAIN, ["markers", "prefix"], "<|im_start|>assistant\n"),
        (BRACKETS, ["markers", "prefix"], ""),
    ],
)
def test_the_strategies_that_agree(template: str, strategies: list[str], header: str) -> None:
    found = facts(template)
    assert found.strategies == strategies
    assert found.strategy == strategies[0]
    assert found.header == header
    assert not found.per_turn


class TestPerTurn:
    """Templates that write a turn differently once others follow."""

    def test_each_turn_has_a_sample_as_the_model_would_see_it(self) -> None:
        record = chat(
            ("user", "a"),
            message("assistant", "b", reasoning="r1"),
            ("user", "c"),
            message("assistant", "d", reasoning="r2"),
        )
        assert facts(FORGETFUL).per_turn
        found = samples(record, FORGETFUL)
        assert [trained_text(each) for each in found] == [[f"<think>r1</think>b{END}"], [f"<think>r2</think>d{END}"]]

    def test_turns_that_stay_as_they_are_share_a_sample(self) -> None:
        record = chat(("user", "a"), ("assistant", "b"), ("user", "c"), message("assistant", "d", reasoning="r"))
        found = samples(record, FORGETFUL)
        assert [trained_text(each) for each in found] == [[f"b{END}", f"<think>r</think>d{END}"]]

    def test_each_sample_that_is_too_long_is_clipped_for_its_own_turn(self) -> None:
        turns = [
            each
            for number in range(5)
            for each in (message("user", f"u{number} " * 9), message("assistant", f"b{number}", reasoning="r"))
        ]
        found = samples(chat(*turns), FORGETFUL, max_tokens=90, drops=Drops())
        assert [trained_text(each)[-1] for each in found] == [f"<think>r</think>b{number}{END}" for number in range(5)]
        assert all(len(each.ids) <= 90 for each in found)

    def test_a_long_chat_is_clipped_turn_by_turn_before_it_is_rendered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        turns = [message("user", "the task")]
        for number in range(12):
            turns.append(message("assistant", f"b{number}", reasoning="r"))
            turns.append(message("user", f"u{number} " * 20))
        record = chat(*turns)
        drops = Drops()
        found = samples(record, FORGETFUL, max_tokens=180, drops=drops)
        assert [trained_text(each) for each in found] == [
            [f"<think>r</think>b{number}{END}"] for number in reversed(range(12))
        ]
        assert all(len(each.ids) <= 180 for each in found)
        assert not drops.counts
        monkeypatch.setattr("seedbed.curation.rendering.renderer.CHARACTERS_PER_TOKEN", 1 << 20)
        rendered_first = samples(record, FORGETFUL, max_tokens=180, drops=Drops())
        assert sorted(rendered_first) == sorted(found)

    def test_turns_of_a_long_chat_share_a_sample_if_they_stay_as_they_are(self) -> None:
        turns = [each for number in range(9) for each in (("user", f"u{number} " * 20), ("assistant", f"b{number}"))]
        found = samples(chat(*turns), FORGETFUL, max_tokens=200, drops=Drops())
        assert len(found) == len({tuple(each.ids) for each in found}) < 9
        said = [turn for each in found for turn in trained_text(each)]
        assert sorted(said) == [f"b{number}{END}" for number in range(9)], "each turn is trained once"
        assert all(len(each.ids) <= 200 for each in found)

    def test_a_chat_with_very_many_characters_comes_in_several_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        turns = [
            each
            for number in range(30)
            for each in (message("user", "u " * 15_000), message("assistant", f"b{number}", reasoning="r"))
        ]
        found = samples(chat(*turns), FORGETFUL)
        assert sorted(trained_text(each)[0] for each in found) == sorted(
            f"<think>r</think>b{n}{END}" for n in range(30)
        )

    def test_only_wanted_turns_have_samples(self) -> None:
        record = chat(
            ("user", "a"),
            message("assistant", "b", reasoning="r", trained=False),
            ("user", "c"),
            message("assistant", "d", reasoning="r"),
        )
        assert [trained_text(each) for each in samples(record, FORGETFUL)] == [[f"<think>r</think>d{END}"]]


class TestArguments:
    """The form of a tool call's arguments that a template takes."""

    @pytest.mark.parametrize(
        ("written", "form"),
        [
            ("{{ call.function.arguments | tojson }}", "object"),
            ("{{ call.function.arguments }}", "text"),
            ("{% for key, value in call.function.arguments.items() %}{{ key }}={{ value }}{% endfor %}", "object"),
        ],
    )
    def test_the_form_is_tried(self, written: str, form: str) -> None:
        template = PLAIN.replace(
            "{{ message.content }}",
            "{{ message.content }}{% for call in message.tool_calls or [] %}[{{ call.function.name }} "
            + written
            + "]{% endfor %}",
        )
        found = facts(template)
        assert found.writes_calls
        assert found.arguments == form
        record = chat(("user", "a"), message("assistant", "b", tool_calls=[call("f", '{"k": "v"}')]))
        expected = "k=v" if "items" in written else '{"k": "v"}'
        assert trained_text(samples(record, template)[0]) == [f"b[f {expected}]{END}"]


class TestRefused:
    """Templates that could train wrong tokens."""

    @pytest.mark.parametrize(
        ("template", "words"),
        [
            (TAGGED.replace("{% generation %}", ""), "has a mistake in line"),
            (
                TAGGED.replace("{% generation %}{{ message.content }}", "{{ message.content }}{% generation %}"),
                'Only by markers in place of the texts, it trains "Paris. 🙂" ',
            ),
            (
                TAGGED.replace(
                    "\n{% if message.role == 'assistant' %}{% generation %}",
                    "{% if message.role == 'assistant' %}{% generation %}{{ '\n' }}",
                ).replace("{% else %}", "{% else %}{{ '\n' }}"),
                r'Only by its \{% generation %\} marks, it trains "\\n"',
            ),
            (PLAIN.replace("<|im_end|>", ""), "does not end a turn of the assistant with one or two control tokens"),
            ("{{ messages[-1].content }}<|im_end|>", "none of the 3 strategies finds turn 1"),
            (PLAIN.replace("{% if add", "{{ 1 / 0 }}{% if add"), "fails: ZeroDivisionError"),
            ("{{ raise_exception('no \x1b[31mchat') }}", r"refuses this chat: no chat"),
            ("{% for", "has a mistake in line 1"),
            ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "does not seem to end"),
        ],
    )
    def test_a_template_is_refused_with_the_reason(
        self, template: str, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from seedbed.curation.rendering import template_process

        monkeypatch.setattr(template_process, "_COMMAND", (*template_process._COMMAND[:-1], "1"))
        with pytest.raises(SeedbedError, match=words) as refused:
            facts(template)
        assert "\x1b" not in str(refused.value)
        assert refused.value.hint

    def test_only_chats_that_cannot_be_told_for_certain_are_left_out(self) -> None:
        # Mistral's templates show the system message only until the assistant has answered.
        shown = "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
        template = BRACKETS.replace(
            "{% if message.role == 'user' %}[INST] ",
            "{% if message.role == 'system' %}{% elif message.role == 'user' %}[INST] " + shown,
        )
        found = facts(template)
        assert found.uncertain == ["system messages"]
        drops = Drops()
        records = [chat(("system", "s"), ("user", "a"), ("assistant", "b")), chat(("user", "a"), ("assistant", "b"))]
        assert len(samples(records, template, drops)) == 1
        assert drops.counts == {
            ("render", "what is trained cannot be told for certain in chats with system messages"): 1
        }


def test_facts_are_kept_for_the_same_template_and_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = chat(("user", "a"), ("assistant", "b"))
    expected = samples(record, PLAIN, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_text())["ends"] == [END]
    monkeypatch.setattr(verification._Verification, "facts", lambda _: pytest.fail("verified again"))
    assert samples(record, PLAIN, cache=tmp_path) == expected
    with pytest.raises(pytest.fail.Exception):
        samples(record, TAGGED, cache=tmp_path)


def test_a_cache_that_cannot_be_written_prevents_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert samples(chat(("user", "a"), ("assistant", "b")), PLAIN, cache=tmp_path / "file" / "templates")


def test_facts_that_cannot_be_read_are_found_anew(tmp_path: Path) -> None:
    record = chat(("user", "a"), ("assistant", "b"))
    samples(record, PLAIN, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text('{"header": ')
    assert samples(record, PLAIN, cache=tmp_path)
    assert json.loads(kept.read_text())["ends"] == [END]


def test_facts_in_words() -> None:
    words = " ".join(facts_in_words(facts(PLAIN)))
    assert "2 ways that agree: markers, prefix" in words
    assert "<|im_end|>" in words
    assert "does not write tool calls" in words
    assert len(small_tokenizer().special) > 2


def test_a_tokenizer_may_have_a_template_of_its_own_for_chats_with_tools() -> None:
    bare = small_tokenizer()
    named = [
        {"name": "default", "template": PLAIN},
        {"name": "tool_use", "template": "{% for tool in tools %}{{ tool | tojson }}{% endfor %}" + TAGGED},
    ]
    tokenizer = type(bare)(bare.spec, {"eos_token": "<|endoftext|>", "chat_template": named})
    tools = '[{"type": "function", "function": {"name": "f"}}]'
    records = [chat(("user", "a"), ("assistant", each), tools=tools if each in "bd" else None) for each in "abcd"]
    with renderer(tokenizer=tokenizer) as made:
        found = [sample for _, sample in made.samples(records, Drops())]
        assert {name: each.strategy for name, each in made.facts.items()} == {
            "default": "markers",
            "tool_use": "generation",
        }
    assert [trained_text(each) for each in found] == [[f"{each}{END}"] for each in "abcd"]
    assert [len(each.ids) > 20 for each in found] == [False, True, False, True], "only two have tools"


def test_the_date_that_a_template_writes_is_that_of_the_record() -> None:
    template = "{{ strftime_now('%d %b %Y') }}" + PLAIN
    records = [chat(("user", "a"), ("assistant", "b")) for _ in range(2)]
    records[0].provenance.time = "2026-11-21T10:15:00Z"
    found = [spans_of(sample, small_tokenizer())[0][0] for sample in samples(records, template)]
    assert [each[:11] for each in found] == ["21 Nov 2026", "26 Jul 2024"]
