"""A child process that answers one request on stdin."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import msgspec
import pytest

from seedbed.errors import EXIT_FAILURE, EXIT_USAGE, SeedbedError, UsageError
from seedbed.jobs.answering import answer_request, write_line


class Request(msgspec.Struct, forbid_unknown_fields=True):
    name: str


def asked(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Request], None]) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"name": "oak"}')))
    return answer_request(Request, answer)


def test_the_answer_is_lines_of_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(monkeypatch, lambda request: write_line({"hello": request.name})) == 0
    assert json.loads(capsys.readouterr().out) == {"hello": "oak"}


@pytest.mark.parametrize(
    ("error", "status"), [(SeedbedError("no", "do"), EXIT_FAILURE), (UsageError("no", "do"), EXIT_USAGE)]
)
def test_an_error_is_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: SeedbedError, status: int
) -> None:
    def fails(request: Request) -> None:
        raise error

    assert asked(monkeypatch, fails) == status
    assert json.loads(capsys.readouterr().out) == {"error": "no", "hint": "do", "exit": status}


def test_nobody_reads_the_rest_if_the_reader_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(request: Request) -> None:
        raise BrokenPipeError

    assert asked(monkeypatch, closed) == EXIT_FAILURE
