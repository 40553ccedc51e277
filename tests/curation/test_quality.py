"""Tests of the filters of quality: each has a reason and a threshold, and ordinary rows are kept."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from seedbed.config.preparing import QualityConfig
from seedbed.curation.drops import Drops
from seedbed.curation.quality import QualityStep, comment_share, reason_of
from seedbed.curation.record import Function, Message, Provenance, Record, Role, ToolCall

CODE = "def area(width: float, height: float) -> float:\n    return width * height\n\n"
PROSE = (
    "The garden behind the house was small, but it had an old apple tree and a bench. Every evening the two brothers sat "
    "there and talked about the day.\n\nIn autumn they picked the apples and made a cake for all their neighbours."
)


def code(text: str, language: str = "Python") -> Record:
    return Record(kind="text", text=text, language=language, provenance=Provenance(source="git", path="area.py"))


def prose(text: str) -> Record:
    return Record(kind="text", text=text, provenance=Provenance(source="openai"))


def chat(*turns: tuple[Role, str], calls: int = 0) -> Record:
    messages = [Message(role=role, content=content) for role, content in turns]
    for number in range(calls):
        call = ToolCall(id=str(number), function=Function(name="run", arguments="{}"))
        next(message for message in messages if message.role == "assistant").tool_calls = [call]
    return Record(kind="chat", messages=messages, provenance=Provenance(source="claude-code"))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (code(CODE), None),
        (code(" \n\n"), "empty text"),
        (code(CODE + "x = '" + "a" * 1001 + "'\n"), "line longer than 1000 characters"),
        (code(("x = '" + "word " * 22 + "'\n") * 20), "lines longer than 100 characters on average"),
        (code("[[(((" * 10 + "\n" + "{{{{ }}}} :::: ;;;;\n" * 10), "few letters and digits"),
        (code("key = <PRIVATE_KEY_1>\n"), "mostly redacted"),
        (prose(PROSE), None),
        (prose("Too short to say anything."), "fewer than 20 words"),
        (prose("春天来了，花园里的苹果树开花了。" + "兄弟俩每天晚上坐在长椅上，谈论白天发生的事情，然后回家吃饭。" * 3), None),
        (prose("Click here to read more about it today.\n" * 8 + PROSE), "repeated lines"),
        (prose("\n".join(f"Line number {n}." for n in range(12)) + f"\n{PROSE[:200]}" * 2), "repeated text"),
        (prose("### ... ### ... " * 30 + PROSE), "many symbols"),
        (prose("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3), "unusual words"),
        (chat(("user", "Why is the sky blue?"), ("assistant", "Because of Rayleigh scattering.")), None),
        (chat(("user", "Why?")), "no answer"),
        (chat(("user", "Why?"), ("assistant", " \n")), "empty answers"),
        (chat(("tool", "line 1\nline 2"), ("assistant", ""), calls=1), "only tool output"),
        (chat(("user", "Fix it"), ("assistant", ""), ("tool", "ok"), calls=1), None),
        (chat(("user", "Fix it"), ("assistant", "Claude AI usage limit reached|1750000000")), "only notices"),
        (chat(("user", "Fix it"), ("assistant", "API Error: 529 Overloaded")), "only notices"),
        (chat(("user", "What is a rate limit reached?"), ("assistant", "You sent too many requests.")), None),
        (chat(("user", "hi"), ("assistant", "Hello! How can I help?"), ("user", "thanks!"), ("assistant", "Bye.")), "small talk"),
        (chat(("user", "hi"), ("assistant", "Hello!"), ("user", "Fix it"), ("assistant", "Done.")), None),
        (chat(("user", "ok"), ("assistant", "I run the tests."), calls=1), None),
    ],
)  # fmt: skip
def test_each_filter_has_a_reason(record: Record, reason: str | None) -> None:
    assert reason_of(record, QualityConfig()) == reason


def test_a_turn_that_is_not_trained_is_no_answer() -> None:
    record = chat(("user", "Why?"), ("assistant", "Because."))
    assert record.messages
    record.messages[1].trained = False
    assert reason_of(record, QualityConfig()) == "no answer"


@pytest.mark.parametrize(
    "ending",
    [
        "Traceback (most recent call last):\n  ...",
        "3 failed, 10 passed",
        "Exit code 1\nls: no such file",
        "error: x is not declared",
    ],
)
def test_conversations_that_end_in_an_error_are_left_out_if_asked(ending: str) -> None:
    record = chat(("user", "Fix it"), ("assistant", "I try."), ("tool", ending), ("assistant", "Hm."), calls=1)
    assert reason_of(record, QualityConfig()) is None
    assert reason_of(record, QualityConfig(drop_errors=True)) == "ends in an error"
    good = chat(
        ("user", "Fix it"),
        ("assistant", "I try."),
        ("tool", ending),
        ("tool", "0 failed, 13 passed"),
        ("assistant", "Done."),
    )
    assert reason_of(good, QualityConfig(drop_errors=True)) is None


@pytest.mark.parametrize(
    ("options", "record"),
    [
        (QualityConfig(max_line=2000, max_mean_line=1000), code(CODE + "x = '" + "a" * 1001 + "'\n")),
        (QualityConfig(min_words=3), prose("Long enough to say something now.")),
        (QualityConfig(drop_small_talk=False), chat(("user", "hi"), ("assistant", "Hello!"))),
        (QualityConfig(drop_notices=False), chat(("user", "Fix it"), ("assistant", "Prompt is too long"))),
        (QualityConfig(max_placeholders=1), code("key = <PRIVATE_KEY_1>\n")),
    ],
)
def test_each_threshold_is_an_option(options: QualityConfig, record: Record) -> None:
    assert reason_of(record, options) is None
    assert reason_of(record, QualityConfig()) is not None


def test_rows_with_a_gap_are_judged_by_the_whole_piece() -> None:
    record = Record(
        kind="fim",
        prefix=CODE + "x = [",
        middle="]",
        suffix="\n",
        language="Python",
        provenance=Provenance(source="git"),
    )
    assert reason_of(record, QualityConfig()) is None
    record.suffix = "a" * 1001
    assert reason_of(record, QualityConfig()) == "line longer than 1000 characters"


def test_the_share_of_comments_is_about_that_of_the_characters() -> None:
    assert comment_share("# one\nx = 1\n", "Python") == pytest.approx(4 / 7)
    assert comment_share("int x; // no whole line\n/* a\n b */\n", "C") == pytest.approx(6 / 24, abs=0.05)
    assert comment_share("x = 1\n", "Python") == 0
    licence = code("# All of this is a comment.\n" * 20 + "x = 1\n")
    assert reason_of(licence, QualityConfig()) is None
    assert reason_of(licence, QualityConfig(max_comments=0.8)) == "mostly comments"


def test_the_step_counts_what_it_leaves_out_and_where_it_was() -> None:
    drops = Drops()
    kept = list(QualityStep()(iter([code(CODE), code(" "), code(CODE)]), drops))
    assert [record.text for record in kept] == [CODE, CODE]
    assert drops.counts == {("quality", "empty text"): 1}
    assert "area.py" in drops.samples[0].where


def test_most_modules_of_the_standard_library_are_kept() -> None:
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    if len(paths) < 50:
        pytest.skip("the standard library has no sources here")
    reasons = [reason_of(code(path.read_text(encoding="utf-8", errors="replace")), QualityConfig()) for path in paths]
    assert sum(reason is None for reason in reasons) >= 0.97 * len(reasons), [reason for reason in reasons if reason]
