"""The process that renders chats: it is replaced if a chat ends it, and answers come in order."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from rendered_chats import PLAIN
from seedbed.curation.rendering import template_process
from seedbed.curation.rendering.protocol import Chat, Setup
from seedbed.curation.rendering.template_process import TemplateProcess

TRAPS = (
    "{% if messages[0].content == 'loop' %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    # Asked for at once, so that the limit of memory is met before that of time on every machine.
    "{% elif messages[0].content == 'grow' %}{{ messages[0].content * 999999999 }}"
    "{% elif messages[0].content == 'long' %}{% for a in range(99999) %}{{ '%99s' % 'a' }}{% endfor %}"
    "{% elif messages[0].content == 'reach' %}{{ messages.__class__ }}{{ ''.__class__.__mro__ }}{% endif %}"
)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[TemplateProcess]:
    monkeypatch.setattr(template_process, "_COMMAND", (*template_process._COMMAND[:-1], "1"))
    made = TemplateProcess(Setup(source=TRAPS + PLAIN, variables={}, control=[]))
    yield made
    made.close()


def asking(*texts: str) -> list[Chat]:
    return [Chat(messages=[{"role": "user", "content": each}]) for each in texts]


def test_a_chat_that_ends_the_process_has_an_answer_and_the_rest_is_rendered(process: TemplateProcess) -> None:
    texts = ["a", "loop", "b", "grow", "c", "long", "reach", "d" * 100_000]
    answers = process.ask(asking(*texts))
    assert [answer.problem for answer in answers] == ["", "time", "", "memory", "", "length", "failed", ""]
    for content, answer in zip(texts, answers, strict=True):
        assert answer.problem or f"user\n{content}<|im_end|>" in answer.text
    assert "class" not in answers[6].text


def test_much_more_than_a_pipe_holds_can_be_sent_before_an_answer_is_read(process: TemplateProcess) -> None:
    for start in range(0, 30, 10):
        process.send(asking(*(str(number) * 50_000 for number in range(start, start + 10))))
    for number in range(30):
        assert str(number) * 50_000 in process.next_answer().text


def test_a_new_setup_is_for_the_chats_that_follow(process: TemplateProcess) -> None:
    process.send(asking("a"))
    process.set_up(Setup(source="new {{ messages[0].content }}", variables={}, control=[]))
    process.send(asking("b"))
    assert process.next_answer().text == "<|im_start|>user\na<|im_end|>\n"
    assert process.next_answer().text == "new b"


def test_a_process_that_was_ended_from_outside_is_replaced(process: TemplateProcess) -> None:
    assert process.ask(asking("a"))[0].text
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    assert process.ask(asking("b", "c"))[1].text == "<|im_start|>user\nc<|im_end|>\n"


ENDS_SLOWLY = "import os, time; os.read(0, 1); os.close(1); time.sleep(1.5); os._exit(1)"
HANGS = "import time; time.sleep(600)"


@pytest.mark.parametrize(("program", "problem", "wait_s"), [(ENDS_SLOWLY, "memory", 120.0), (HANGS, "time", 0.2)])
def test_the_reason_for_the_end_of_a_process_does_not_depend_on_how_long_its_end_takes(
    monkeypatch: pytest.MonkeyPatch, process: TemplateProcess, program: str, problem: str, wait_s: float
) -> None:
    monkeypatch.setattr(template_process, "_COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(template_process, "WAIT_LIMIT_S", wait_s)
    assert process.ask(asking("a"))[0].problem == problem
