"""`seedbed show`: on a terminal, into a pipe, recorded, interrupted; and what it refuses."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from new_terminals import modes_of_a_new_terminal
from patience import limit, until
from seedbed.cli.show import options

SEEDBED = [sys.executable, "-m", "seedbed", "show"]
LEAVES = b"\x1b[?25h\x1b[?1049l"


MODES = modes_of_a_new_terminal()


def show(
    folder: Path, *words: str, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The show into a pipe."""
    facts = folder.parent / "no-facts"
    facts.mkdir(exist_ok=True)
    environment = {**os.environ, "SEEDBED_FACTS": str(facts), **(env or {})}
    done = subprocess.run(
        [*SEEDBED, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


class InTerminal:
    """The show in a pseudo-terminal, and what it has written."""

    def __init__(self, *words: str, columns: int = 80, rows: int = 24, env: dict[str, str] | None = None) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the size is set before the program starts
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ.pop("NO_COLOR", None)
            os.environ.update({"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **(env or {})})
            os.execvp(SEEDBED[0], [*SEEDBED, *words])
        self.modes = MODES
        self.written = b""
        self.status: int | None = None

    def read(self) -> bytes:
        """Read what has been written so far; notice the end of the process."""
        with suppress(OSError):
            while select.select([self.fd], [], [], 0)[0] and (found := os.read(self.fd, 65536)):
                self.written += found
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.written

    def wait_for(self, text: bytes) -> None:
        until(lambda: text in self.read(), told=lambda: self.written[-500:])

    def ends(self) -> int:
        until(lambda: self.read() is not None and self.status is not None, told=lambda: self.written[-500:])
        self.read()
        assert self.status is not None
        return self.status

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def opened() -> Iterator[list[InTerminal]]:
    """The terminals of a test, which are closed at its end."""
    found: list[InTerminal] = []
    yield found
    for each in found:
        each.close()


# Into a pipe ---------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_lines_of_80_columns_without_escape_sequences(tmp_path: Path) -> None:
    lines = show(tmp_path, "--speed", "200", "--exit-after", "1s").stdout.splitlines()
    assert len(lines) > 100
    assert all(len(each) <= 80 and "\x1b" not in each and "\r" not in each for each in lines)
    assert "SIMULATED" in lines[0]


def test_the_text_is_the_same_at_any_speed(tmp_path: Path) -> None:
    slow = show(tmp_path, "--seed", "5", "--speed", "60", "--exit-after", "1s").stdout
    fast = show(tmp_path, "--seed", "5", "--speed", "1000", "--exit-after", "1s").stdout
    assert len(slow) > 2000
    assert fast.startswith(slow) or slow.startswith(fast)


def test_other_seeds_give_other_shows(tmp_path: Path) -> None:
    one, other = (
        show(tmp_path, "--seed", seed, "--speed", "50", "--exit-after", "0.2").stdout.splitlines()[2:5]
        for seed in ("1", "2")
    )
    assert one != other


def test_the_first_line_comes_at_once() -> None:
    times = []
    while not times or (times[-1] >= limit(0.15) and len(times) < 6):  # a busy machine may delay some of them
        begun = time.monotonic()
        process = subprocess.Popen([*SEEDBED], stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        times.append(time.monotonic() - begun)
        process.kill()
        process.wait()
        process.stdout.close()
        assert b"SIMULATED" in first
    assert min(times) < limit(0.15), times


def test_it_ends_after_the_time_that_was_asked_for(tmp_path: Path) -> None:
    begun = time.monotonic()
    show(tmp_path, "--exit-after", "1s")
    assert 1 <= time.monotonic() - begun < 1 + limit(2)


def test_it_says_that_it_has_ended_also_if_it_has_hardly_begun(tmp_path: Path) -> None:
    done = show(tmp_path, "--exit-after", "0.2s")
    assert done.stderr.splitlines()[-1] == "Ended after 0.2s (--exit-after)."


def test_a_closed_pipe_ends_it(tmp_path: Path) -> None:
    process = subprocess.Popen([*SEEDBED, "--speed", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(limit(20)) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_an_encoding_without_bars_gets_ascii(tmp_path: Path) -> None:
    done = show(tmp_path, "--speed", "300", "--exit-after", "0.3s", env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout.isascii()
    assert "?" not in done.stdout
    assert re.search(r"\|#+\.+\|", done.stdout)


def test_it_writes_no_file(tmp_path: Path) -> None:
    show(tmp_path, "--speed", "100", "--exit-after", "0.2s")
    assert list(tmp_path.iterdir()) == []


# On a terminal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [b"SIMULATED", b"NCCL", b"Epoch 1/3", b"alidation"])
def test_ctrl_c_ends_the_scrolling_show_at_any_point_with_the_cursor_on_a_new_line(
    opened: list[InTerminal], shown: bytes
) -> None:
    opened.append(terminal := InTerminal("--speed", "20"))
    terminal.wait_for(shown)
    os.write(terminal.fd, b"\x03")
    assert terminal.ends() == 130
    assert terminal.written.endswith(b"\n")
    assert b"Traceback" not in terminal.written
    assert termios.tcgetattr(terminal.fd) == terminal.modes


def test_the_scrolling_show_is_coloured_and_overwrites_its_bars(opened: list[InTerminal]) -> None:
    opened.append(terminal := InTerminal("--speed", "20"))
    terminal.wait_for(b"Epoch 1/3")
    terminal.wait_for(b"\r\x1b[K")
    assert b"\x1b[34m[model] \x1b[0m" in terminal.written


def test_the_bar_of_the_epoch_stays_below_the_other_lines(opened: list[InTerminal]) -> None:
    opened.append(terminal := InTerminal("--speed", "40"))
    terminal.wait_for(b"1/3 done")
    shown = re.sub(rb"\x1b\[[0-9;]*m", b"", terminal.written).decode()
    assert re.search(r"\r\x1b\[K\[comm\] [^\r]+\r\nEpoch 1/3 +\d+%", shown)
    assert re.search(r"\r\x1b\[KEpoch 1/3 100% [^\r]+\r\n\[epoch\] 1/3 done", shown)


def test_no_line_wraps_on_a_terminal_of_20_columns(opened: list[InTerminal]) -> None:
    opened.append(terminal := InTerminal("--speed", "100", "--exit-after", "1", columns=20, rows=10))
    assert terminal.ends() == 0
    text = re.sub(rb"\x1b\[[0-9;]*[mK]", b"", terminal.written).decode()
    rows = [part for line in text.split("\r\n") for part in line.split("\r")]
    assert len(rows) > 30
    assert all(len(each) <= 20 for each in rows)


def test_plain_has_no_colours_and_no_bars_in_place(opened: list[InTerminal]) -> None:
    opened.append(terminal := InTerminal("--plain", "--speed", "100", "--exit-after", "0.5"))
    assert terminal.ends() == 0
    assert b"\x1b" not in terminal.written


@pytest.mark.parametrize(("ending", "status"), [(b"\x03", 130), (b"q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_full_screen_show_restores_the_terminal(
    opened: list[InTerminal], ending: bytes | signal.Signals, status: int
) -> None:
    opened.append(terminal := InTerminal("--full-screen", "--speed", "20"))
    terminal.wait_for(b"tok/s")
    begun = time.monotonic()
    if isinstance(ending, bytes):
        os.write(terminal.fd, ending)
    else:
        os.kill(terminal.pid, ending)
    until(lambda: LEAVES in terminal.read())
    assert time.monotonic() - begun < limit(3)
    assert terminal.ends() == status
    assert terminal.written.startswith(b"\x1b[?1049h\x1b[?25l")
    assert terminal.written.rstrip().endswith(LEAVES)
    assert termios.tcgetattr(terminal.fd) == terminal.modes


def test_keys_and_a_new_size_change_the_full_screen_show(opened: list[InTerminal]) -> None:
    opened.append(terminal := InTerminal("--full-screen", "--speed", "20"))
    terminal.wait_for(b"utilisation: mean")
    os.write(terminal.fd, b"t")
    terminal.wait_for(b"temperature: mean")
    terminal.resize(120, 36)
    terminal.wait_for(b"\x1b[36;1H")
    os.write(terminal.fd, b"q")
    assert terminal.ends() == 0


def test_a_stopped_full_screen_show_gives_the_terminal_back_until_it_continues(opened: list[InTerminal]) -> None:
    opened.append(terminal := InTerminal("--full-screen", "--speed", "20"))
    terminal.wait_for(b"utilisation: mean")
    os.kill(terminal.pid, signal.SIGTSTP)
    terminal.wait_for(LEAVES)
    until(
        lambda: psutil.Process(terminal.pid).status() == psutil.STATUS_STOPPED
    )  # it leaves the screen before it stops
    os.kill(terminal.pid, signal.SIGCONT)
    until(lambda: terminal.read().count(b"\x1b[?1049h") == 2)
    os.write(terminal.fd, b"q")
    assert terminal.ends() == 0


# Recordings and lists ------------------------------------------------------------------------------------------------


def test_a_recording_is_an_asciicast_of_what_was_shown(tmp_path: Path) -> None:
    done = show(tmp_path, "--record", "out.cast", "--speed", "50", "--exit-after", "0.5s")
    header, *events = [json.loads(each) for each in (tmp_path / "out.cast").read_text(encoding="utf-8").splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert "SIMULATED" in header["title"]
    assert "".join(text for _, _, text in events) == done.stdout.replace("\n", "\r\n")
    times = [at_s for at_s, _, _ in events]
    assert times == sorted(times)
    assert times[-1] <= 0.5


def test_a_recording_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "out.cast").write_text("mine")
    error = show(tmp_path, "--record", "out.cast", "--exit-after", "1s", code=1).stderr
    assert "exists already" in error
    assert (tmp_path / "out.cast").read_text() == "mine"


def test_a_recording_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "folder does not exist" in show(tmp_path, "--record", "no/out.cast", code=1).stderr


def test_the_list_has_models_datasets_and_gpus(tmp_path: Path) -> None:
    text = show(tmp_path, "--list").stdout
    for words in ("Models", "Llama-3-8B", "HAL-9000M", "fictional", "Datasets", "C4-en", "GPUs", "MI300X-192GB"):
        assert words in text


@pytest.mark.parametrize(
    ("word", "seconds"), [("90s", 90), ("1h30m", 5400), ("2min", 120), ("1.5m", 90), ("2 m 30 s", 150), ("0.2", 0.2)]
)
def test_the_end_is_a_time_as_in_train_for(word: str, seconds: float) -> None:
    parser = argparse.ArgumentParser()
    options(parser)
    assert parser.parse_args(["--exit-after", word]).exit_after == seconds


# What it refuses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--speed", "1e9"), "1e9 is not between 0.1 and 1000"),
        (("--speed", "0"), "0 is not between 0.1 and 1000"),
        (("--speed", "-3"), "-3 is not between 0.1 and 1000"),
        (("--speed", "nan"), "nan is not between 0.1 and 1000"),
        (("--speed", "fast"), '"fast" is not a number'),
        (("--gpus", "0"), "0 is not 1 or more"),
        (("--gpus", "100001"), "at most 100,000 GPUs"),
        (("--gpus", "100", "--gpu", "H100"), "100 GPUs do not fill whole nodes of 8"),
        (("--gpu", "H1000"), 'There is no GPU "H1000"'),
        (("--gpu", "8xH100", "--gpus", "16"), "only once"),
        (("--gpu", "1xH100", "--gpus", "16"), "only once"),
        (("--model", "HAL-9001M"), 'There is no model "HAL-9001M"'),
        (("--exit-after", "0"), "is not a time above 0"),
        (("--exit-after", "soon"), "is not a time above 0"),
        (("--exit-after", "0m0s"), "is not a time above 0"),
        (("--exit-after", "1m2h"), "is not a time above 0"),
        (("--list", "--model", "foo"), "--model does not apply to --list"),
        (("--list", "--exit-after", "5s"), "--exit-after does not apply to --list"),
        (("--full-screen",), "needs a terminal"),
        (("--full-screen", "--scroll"), "not allowed with"),
    ],
)
def test_wrong_options_are_refused_with_a_clear_message(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = show(tmp_path, *words, code=2)
    assert message in done.stderr
    assert "hint:" in done.stderr


def test_a_model_that_does_not_fit_is_refused_before_anything_is_shown(tmp_path: Path) -> None:
    done = show(tmp_path, "--model", "llama3-405b", "--gpu", "8xA100", code=1)
    assert "does not fit" in done.stderr
    assert "It fits for example on" in done.stderr
    assert done.stdout == ""
