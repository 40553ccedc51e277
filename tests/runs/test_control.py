"""Requests reach the session that the asker saw, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.runs.control import SAVE, STOP, Requests, Resume, ask


def test_a_request_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    requests = Requests(path, 1)
    assert requests.new() == {}
    ask(path, STOP, 1, "the window said so")
    assert requests.new() == {STOP: "the window said so"}
    assert requests.new() == {}


def test_asking_to_save_twice_is_two_requests_and_keeps_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    requests = Requests(path, 3)
    ask(path, SAVE, 3)
    assert SAVE in requests.new()
    ask(path, SAVE, 3)
    ask(path, STOP, 3, "now")
    assert requests.new() == {SAVE: "", STOP: "now"}


def test_a_stop_of_an_earlier_session_does_not_stop_the_next(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    ask(path, STOP, 1)
    assert Requests(path, 2).new() == {}


def test_a_stop_before_the_first_word_reaches_the_first_session(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    ask(path, STOP, 0, "early")
    assert Requests(path, 1).new() == {STOP: "early"}
    assert Requests(path, 2).new() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stop": 3}', b"\xff\xfe", b'{"stop": {"session": "x"}}'])
def test_a_broken_file_asks_for_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "control.json"
    path.write_bytes(content)
    assert Requests(path, 1).new() == {}


def test_resume_words() -> None:
    assert Resume().arguments() == []
    assert Resume(more_epochs=0.1).arguments() == ["--more-epochs", "0.1"]
    assert Resume(more_steps=5, from_checkpoint="best").arguments() == ["--more-steps", "5", "--from", "best"]
