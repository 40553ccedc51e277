"""A request reaches the session for which it was written, once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from seedbed.runs.control import (
    PAUSE,
    RESUME,
    SAVE,
    STOP,
    RequestReader,
    ResumeOptions,
    StartCondition,
    unfinished_request,
    write_request,
)


def test_a_request_is_returned_once(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    requests = RequestReader(path, 1)
    assert requests.new() == {}
    write_request(path, STOP, 1, "the window said so")
    assert requests.new() == {STOP: "the window said so"}
    assert requests.new() == {}


def test_a_second_save_request_is_returned_too_and_keeps_a_stop_request(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    requests = RequestReader(path, 3)
    write_request(path, SAVE, 3)
    assert SAVE in requests.new()
    write_request(path, SAVE, 3)
    write_request(path, STOP, 3, "now")
    assert requests.new() == {SAVE: "", STOP: "now"}


def test_a_stop_request_for_an_earlier_session_does_not_stop_the_next(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    write_request(path, STOP, 1)
    assert RequestReader(path, 2).new() == {}


def test_a_stop_request_before_the_first_session_reaches_only_that_session(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    write_request(path, STOP, 0, "early")
    assert RequestReader(path, 1).new() == {STOP: "early"}
    assert RequestReader(path, 2).new() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stop": 3}', b"\xff\xfe", b'{"stop": {"session": "x"}}'])
def test_a_broken_control_file_contains_no_requests(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "control.json"
    path.write_bytes(content)
    assert RequestReader(path, 1).new() == {}


def test_resume_options_as_arguments() -> None:
    assert ResumeOptions().arguments() == []
    assert ResumeOptions(more_epochs=0.1).arguments() == ["--more-epochs", "0.1"]
    assert ResumeOptions(more_steps=5, from_checkpoint="best").arguments() == ["--more-steps", "5", "--from", "best"]


def test_a_resume_request_cancels_a_pause_request_and_vice_versa(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    requests = RequestReader(path, 1)
    write_request(path, PAUSE, 1)
    write_request(path, SAVE, 1)
    write_request(path, RESUME, 1)
    assert requests.new() == {SAVE: "", RESUME: ""}
    write_request(path, PAUSE, 1, "again")
    assert requests.new() == {PAUSE: "again"}


def test_unfinished_request_prefers_stop_to_pause_and_ignores_other_sessions(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    assert unfinished_request(path, 2) is None
    write_request(path, SAVE, 2)
    assert unfinished_request(path, 2) is None
    write_request(path, PAUSE, 2)
    assert (unfinished_request(path, 2), unfinished_request(path, 3)) == (PAUSE, None)
    write_request(path, STOP, 2)
    assert unfinished_request(path, 2) == STOP
    write_request(path, STOP, 3)
    assert (unfinished_request(path, 3), unfinished_request(path, 2)) == (STOP, PAUSE)


def test_concurrent_requests_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    for _ in range(20):
        path.unlink(missing_ok=True)
        threads = [threading.Thread(target=write_request, args=(path, verb, 1)) for verb in (SAVE, STOP, PAUSE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert RequestReader(path, 1).new().keys() == {SAVE, STOP, PAUSE}


def test_turn_options_as_arguments() -> None:
    assert (StartCondition().arguments(), bool(StartCondition())) == ([], False)
    assert StartCondition(queue=True).arguments() == ["--queue"]
    turn = StartCondition(queue=True, after=Path("/runs/first"))
    assert turn.arguments() == ["--queue", "--after", "/runs/first"]
    assert StartCondition(after=Path("/runs/first"))
