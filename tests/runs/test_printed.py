"""The times in the output of a job."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TextIO, cast

import pytest

from seedbed.runs.printed import Stamped, last_stamp, stamp_output, without_stamp


def test_a_line_begins_with_the_time_if_it_has_changed() -> None:
    stream, now = io.StringIO(), 1_700_000_000.0
    stamped = Stamped(stream, lambda: now)
    assert stamped.write("one\ntwo\nthr") == 11
    now += 5
    stamped.write("ee\n10%\r")
    now += 5
    stamped.writelines(["100%\n", "last\n"])
    times = [without_stamp(line)[0] for line in stream.getvalue().encode().splitlines(keepends=True)]
    assert times == [1_700_000_000.0, None, None, 1_700_000_005.0, None, 1_700_000_010.0]
    texts = [without_stamp(line)[1] for line in stream.getvalue().encode().split(b"\n")]
    assert texts == [b"one", b"two", b"three", b"10%\r100%", b"last", b""]
    assert last_stamp(stream.getvalue().encode()) == 1_700_000_010.0


@pytest.mark.parametrize("line", [b"", b"words", b"2026-13-45 99:00:00+00:00  words", b"2026-01-01 00:00:00  words"])
def test_a_line_without_a_time_is_returned_unchanged(line: bytes) -> None:
    assert without_stamp(line) == (None, line)


def test_times_are_added_only_to_output_that_goes_to_the_log_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = tmp_path / "job.log", tmp_path / "other"
    with log.open("w") as into_log, other.open("w") as elsewhere:
        monkeypatch.setattr(sys, "stderr", into_log)
        monkeypatch.setattr(sys, "stdout", elsewhere)
        stamp_output(log)
        sys.stderr.write("words\n")
        sys.stdout.write("words\n")
        cast(TextIO, sys.stderr).flush()
    assert without_stamp(log.read_bytes())[0] is not None
    assert other.read_bytes() == b"words\n"
