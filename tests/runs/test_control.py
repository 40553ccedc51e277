"""Requests reach the session that the asker saw, once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from seedbed.runs.control import GO, PAUSE, SAVE, STOP, Requests, Resume, Turn, ask, outstanding


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


def test_going_on_takes_back_a_pause_and_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    requests = Requests(path, 1)
    ask(path, PAUSE, 1)
    ask(path, SAVE, 1)
    ask(path, GO, 1)
    assert requests.new() == {SAVE: "", GO: ""}
    ask(path, PAUSE, 1, "again")
    assert requests.new() == {PAUSE: "again"}


def test_what_is_outstanding_is_the_stop_before_the_pause_and_of_this_session(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    assert outstanding(path, 2) is None
    ask(path, SAVE, 2)
    assert outstanding(path, 2) is None
    ask(path, PAUSE, 2)
    assert (outstanding(path, 2), outstanding(path, 3)) == (PAUSE, None)
    ask(path, STOP, 2)
    assert outstanding(path, 2) == STOP
    ask(path, STOP, 3)
    assert (outstanding(path, 3), outstanding(path, 2)) == (STOP, PAUSE)


def test_windows_that_ask_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    for _ in range(20):
        path.unlink(missing_ok=True)
        askers = [threading.Thread(target=ask, args=(path, verb, 1)) for verb in (SAVE, STOP, PAUSE)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert Requests(path, 1).new().keys() == {SAVE, STOP, PAUSE}


def test_turn_words() -> None:
    assert (Turn().arguments(), bool(Turn())) == ([], False)
    assert Turn(queue=True).arguments() == ["--queue"]
    turn = Turn(queue=True, after=Path("/runs/first"))
    assert turn.arguments() == ["--queue", "--after", "/runs/first"]
    assert Turn(after=Path("/runs/first"))
