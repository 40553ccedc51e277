"""What goes wrong around a window: broken and vanished files, a store that cannot be read, clocks, and its own end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from tests.patience import limit

from seedbed import actions
from seedbed.runs import watch
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.text import STATUS_STYLE
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, Rename
from seedbed.tui.models import ModelsPanel
from seedbed.tui.runs import RunsPanel
from seedbed.tui.safe_text import status_style

FOREVER = "100000000"


def replace(path: Path, content: bytes | None) -> None:
    """Write a file as others write it: beside it, then over it; None removes it."""
    if content is None:
        path.unlink()
        return
    beside = path.with_name(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def breakages(run: RunDir) -> Iterator[tuple[str, Path, bytes | None, str]]:
    """What can happen to a finished run's files: what it is, the file, what is in it then, the status that is shown."""
    events = run.events.read_bytes()
    lines = events.splitlines(keepends=True)
    yield "no state", run.state, None, "completed"
    yield "half a state", run.state, b'{"format":1,"heartb', "completed"
    yield "a state of something else", run.state, b"[1, 2]", "completed"
    yield "half a last line", run.events, events + b'{"v":1,"n":99,"t":1,"kind":"st', "completed"
    yield "a broken line", run.events, lines[0] + b"\x00\xff garbage\n" + b"".join(lines[1:]), "completed"
    yield "no labels", run.path / "labels.json", b"", "completed"
    yield (
        "labels of something else",
        run.path / "labels.json",
        b'{"name": 5, "tags": "x", "archived": "no"}',
        "completed",
    )
    yield "half a meta", run.path / "meta.json", b'{"format": 1, "ki', "broken"
    yield "a meta of something else", run.path / "meta.json", b"null", "broken"


async def test_broken_files_end_in_words(open_window: Any, store: Any, in_store: Any) -> None:
    """Files that are cut, of another kind, or gone: the run is shown as well as it can be, in the list and in full."""
    fir = in_store(store, "fir")
    async with open_window(store, (100, 30)) as user:
        for what, path, content, expected in breakages(fir):
            kept = path.read_bytes() if path.exists() else None
            replace(path, content)
            await user.keys("r")

            def shown(expected: str = expected) -> bool:
                listed = user.window.state.run(fir.id)
                return listed is not None and listed.status["status"] == expected

            await user.until(shown, f"{expected} with {what}")
            await user.until(lambda: "fir" in user.part("#runs-table"), f"its row with {what}")
            user.window.open_details(fir.id)
            await user.until(lambda: isinstance(user.screen, Details) and user.screen.query("#facts"), what)
            for tab in "12345":
                await user.repeat(tab, 1)
            assert isinstance(user.screen, Details), what
            if expected == "broken":
                await user.keys("6")
                await user.until(lambda: "json is" in user.part_in_a_line("#about-text").replace('"', ""), what)
            await user.keys("escape")
            replace(path, kept)
            await user.keys("r")
            await user.until(lambda: shown("completed"), f"the repair of {what}")
    # The same from the beginning: a window that opens over them.
    for _, path, content, _ in breakages(fir):
        if path.exists() or content is not None:
            replace(path, content)
    async with open_window(store, (80, 24)) as user:
        await user.see("1 broken", "oak")


async def test_news_of_a_run_may_come_before_its_screen_is_whole(open_window: Any, store: Any, in_store: Any) -> None:
    """The window looks at the runs while the screen is still put together: that ends nothing, and nothing is missed."""
    fir = in_store(store, "fir")
    async with open_window(store, (100, 30)) as user:
        screen = Details(fir.id)
        opened = user.window.push_screen(screen)
        screen.update({fir.id})
        await opened
        await user.see("fir  completed", "step 55/55")


async def test_files_that_are_gone_are_told(open_window: Any, store: Any, in_store: Any) -> None:
    """No config, no log of events, no checkpoints, a marker that cannot be read: each in its place, in words."""
    oak, fir, birch = (in_store(store, name) for name in ("oak", "fir", "birch"))
    replace(oak.config, None)
    replace(birch.events, None)
    replace(birch.state, None)
    for marker in fir.checkpoints.glob("*/DONE"):
        marker.write_text("{")
    async with open_window(store, (130, 40)) as user:
        # For a few seconds after it was made such a run may yet begin.
        await user.until(lambda: user.cells("birch").get("STATUS") == "lost", "lost")
        await user.choose("birch")
        await user.see("The job never started")
        await user.choose("oak")
        await user.keys("enter", "3")
        await user.until(lambda: "No such file or directory" in " ".join(user.text.split()), "why it cannot be read")
        assert user.sees("Cannot read ")
        await user.keys("4")
        user.screen.query_one("#other").value = fir.id
        await user.until(lambda: "There is no config file" in user.part_in_a_line("#diff-table"), "the reason")
        await user.until(lambda: "Check the path." in user.part("#diff-table"), "all of the reason")
        await user.keys("escape")
        await user.choose("fir", 5)
        assert user.cells("fir", "#models-table")["STATUS"] == "corrupted"
        await user.until(lambda: "its DONE cannot be read" in user.part_in_a_line("#model-about"))
        shutil.rmtree(fir.checkpoints)
        os.utime(fir.path)
        await user.keys("r")
        await user.until(lambda: fir.id not in user.window.panel(ModelsPanel).table.ids, "no model")
        assert user.window.state.run(fir.id).status["status"] == "completed"


async def test_a_look_that_ends_after_the_window_was_closed_does_nothing(open_window: Any, store: Any) -> None:
    """The last look may still be under way when the window goes."""
    async with open_window(store, (80, 24)) as user:
        window = user.window
    await window._look()
    window.show(set(window.state.watch.runs))


async def test_a_run_that_is_deleted_elsewhere_while_it_is_shown_goes_from_every_panel(
    open_window: Any, store: Any, in_store: Any
) -> None:
    """From the list, from the screen that shows it in full, and under a question about it."""
    async with open_window(store, (100, 30)) as user:
        for name, keys, kind in (("oak", ("enter",), Details), ("birch", ("D",), Confirm), ("cedar", ("e",), Rename)):
            run = in_store(store, name)
            await user.choose(name)
            await user.keys(*keys)
            await user.until(lambda kind=kind: isinstance(user.screen, kind))
            actions.delete(run)
            user.window.refresh_runs()
            await user.until(lambda run=run: user.window.state.run(run.id) is None, "its end")
            if kind is Details:
                await user.hear("The run has been deleted.")
            elif kind is Confirm:
                await user.keys("y")
                await user.until(lambda: user.remarks, "a remark")
            else:
                await user.keys("delete")
                await user.type("other")
                await user.keys("enter")
                await user.until(lambda: user.remarks, "a remark")
            await user.until(lambda: len(user.window.screen_stack) == 1, "the panels")
            await user.until(lambda run=run: run.id not in user.window.panel(RunsPanel).table.ids, "its row's end")
            user.window.clear_notifications()
        assert not (store.root / run.id).exists()
        # Removed by hand, the whole folder, under the cursor.
        shutil.rmtree(in_store(store, "fir").path)
        await user.keys("r")
        await user.until(lambda: not user.cells("fir"))
        assert user.cells("elm")["STATUS"] == "failed"


async def test_a_store_that_cannot_be_read_keeps_what_was_seen(
    open_window: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that hangs up for a while: a message instead of the counts, the runs as they were, then all is well."""
    real = os.scandir

    def refuse(place: Any) -> Any:
        if Path(place) == store.root:
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    async with open_window(store, (130, 40)) as user:
        monkeypatch.setattr(watch.os, "scandir", refuse)
        await user.keys("r")
        await user.until(lambda: "Cannot read" in user.row("1 Runs"), "the message")
        assert user.cells("fir")["STATUS"] == "completed"
        await user.keys("j", "k", "5", "4")
        monkeypatch.setattr(watch.os, "scandir", real)
        await user.keys("escape", "1", "r")
        await user.until(lambda: "2 completed" in user.row("1 Runs"), "the counts")


async def test_a_store_that_vanishes_and_comes_back(open_window: Any, store: Any) -> None:
    """Moved away and back again under an open window."""
    away = store.root.with_name("away")
    async with open_window(store, (80, 24)) as user:
        os.rename(store.root, away)
        await user.keys("r")
        await user.see("No runs yet: press 3 to start one.", "5 Models ─ no model yet")
        await user.keys("enter", "e", "D", "2", "5", "a")
        await user.hear("No model is selected.")
        os.rename(away, store.root)
        await user.keys("r", "1")
        await user.see("fir", "completed", "5 Models ─ 4 · active: fir")


async def test_what_cannot_be_written_is_told(open_window: Any, store: Any, in_store: Any) -> None:
    """A rename and an archive that the disk refuses end in a remark with the reason, and the name stays."""
    fir = in_store(store, "fir")
    (fir.path / "labels.json").unlink()
    (fir.path / "labels.json").mkdir()
    async with open_window(store, (100, 30)) as user:
        await user.choose("fir")
        await user.keys("e", "delete")
        await user.type("pine")
        await user.keys("enter")
        await user.hear("labels.json")
        assert user.cells("fir")
        user.window.clear_notifications()
        await user.keys("A")
        await user.hear("labels.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_store_that_is_read_only_is_shown_and_what_cannot_be_done_is_told(
    open_window: Any, store: Any, in_store: Any
) -> None:
    """All can be looked at; what would be written is refused in words."""
    fir = in_store(store, "fir")
    os.chmod(fir.path, 0o555)
    os.chmod(store.root, 0o555)
    try:
        async with open_window(store, (100, 30)) as user:
            await user.see("fir", "⣿ train")
            await user.keys("A")
            await user.hear("ermission denied")
            user.window.clear_notifications()
            await user.keys("D", "y")
            await user.until(lambda: user.remarks, "the reason")
            assert user.cells("fir")
    finally:
        os.chmod(store.root, 0o755)
        os.chmod(fir.path, 0o755)


async def test_a_clock_that_jumps_changes_no_status(
    open_window: Any, store: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day forwards, then a day back: what runs is running, nothing is stalled, no time is negative."""
    run = job(store, "maple", train__steps=FOREVER).run
    real = time.time
    async with open_window(store, (200, 60)) as user:
        await user.until(lambda: user.cells("maple").get("LEFT", "-") != "-", "what is left")
        for shift in (86_400, -86_400):
            monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
            step = user.window.state.run(run.id).status["step"]
            await user.keys("r")
            await user.until(lambda step=step: user.window.state.run(run.id).status["step"] > step, "later steps")
            await user.until(lambda: user.cells("maple"), "the row")
            cells = user.cells("maple")
            assert cells["STATUS"] == "running"
            assert re.fullmatch(r"[\d.]+s", cells["ELAPSED"])
            assert "-" not in cells["LEFT"]


class Terminal:
    """`seedbed tui` in a terminal of its own."""

    def __init__(self, store: Store, **environment: str) -> None:
        self.shown = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            words = [sys.executable, "-m", "seedbed", "tui", "--runs", str(store.root)]
            inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
            os.execve(words[0], words, {**inherited, "TERM": "xterm-256color", **environment})
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

    def see(self, words: str) -> None:
        """Until the words have come since the last key."""
        end = time.monotonic() + limit(20)
        while words.encode() not in self.shown:
            assert time.monotonic() < end, f"{words} never came: {self.shown[-3000:]!r}"
            self._read()

    def press(self, keys: str) -> None:
        self.shown = b""
        os.write(self._fd, keys.encode())

    def ended(self) -> int:
        """The exit status, once it has ended."""
        end = time.monotonic() + limit(20)
        while True:
            done, code = os.waitpid(self.pid, os.WNOHANG)
            if done:
                os.close(self._fd)
                return os.waitstatus_to_exitcode(code)
            assert time.monotonic() < end
            self._read()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            if select.select([self._fd], [], [], 0.05)[0]:
                self.shown += os.read(self._fd, 65_536)


def hues(shown: bytes) -> set[tuple[int, ...]]:
    """The colours that a terminal was asked for, shades of grey left out."""
    found: set[tuple[int, ...]] = set()
    for codes in re.findall(rb"\x1b\[([0-9;]*)m", shown):
        numbers = [int(code or 0) for code in codes.split(b";")]
        while numbers:
            first, *numbers = numbers
            if first in (38, 48):
                kind, *numbers = numbers
                length = 3 if kind == 2 else 1
                colour, numbers = tuple(numbers[:length]), numbers[length:]
                grey = (
                    len(set(colour)) == 1
                    if kind == 2
                    else colour[0] >= 232 or colour[0] in (16, 59, 102, 145, 188, 231)
                )
                if not grey:
                    found.add(colour)
            elif first % 10 in range(1, 7) and first // 10 in (3, 4, 9, 10):
                found.add((first,))
    return found


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_without_colours_shows_the_window_and_is_left_as_it_was(store: Any, no_color: bool) -> None:
    """NO_COLOR is obeyed, q leaves with status 0, and the terminal has its own screen back."""
    terminal = Terminal(store, **({"NO_COLOR": "1"} if no_color else {}))
    terminal.see("fir")
    terminal.see("Models")
    assert bool(hues(terminal.shown)) != no_color, hues(terminal.shown)
    terminal.press("q")
    assert terminal.ended() == 0
    assert b"\x1b[?1049l" in terminal.shown
    assert b"Traceback" not in terminal.shown


@pytest.mark.parametrize(
    "how", ["q", *(pytest.param(each, marks=pytest.mark.slow) for each in ("ctrl+c", "hang-up", "kill"))]
)
def test_no_way_to_leave_the_window_ends_a_run(store: Any, in_store: Any, how: str) -> None:
    """A run that was started from a window goes on when the window is left, hung up, or killed."""
    birch = in_store(store, "birch")
    terminal = Terminal(store)
    terminal.see("birch")
    terminal.press("Gk")
    terminal.press("R")
    terminal.see("Resume this run?")
    terminal.press("y")
    end = time.monotonic() + limit(40)
    while status(birch)["status"] != "running" or status(birch)["step"] <= status(birch)["checkpoint_step"]:
        assert time.monotonic() < end
        terminal._read()
    if how in ("q", "ctrl+c"):
        terminal.press("q" if how == "q" else "\x03")
    else:
        os.kill(terminal.pid, signal.SIGHUP if how == "hang-up" else signal.SIGKILL)
    assert (terminal.ended() == 0) == (how in ("q", "ctrl+c"))
    step = status(birch)["step"]
    while status(birch)["step"] <= step + 5:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert status(birch)["status"] == "running"
    assert json.loads(birch.state.read_text())["status"]["session"] == 2


async def test_a_question_is_not_covered_by_remarks(open_window: Any, store: Any) -> None:
    """Who has just done this and that still sees what is asked, and both buttons."""
    async with open_window(store, (80, 24)) as user:
        await user.choose("oak")
        await user.keys("w", "p")
        await user.hear("not running")
        await user.keys("D")
        await user.see("Delete this run?", "This cannot be undone.", "Delete (y)", "No (n)")
        await user.until(lambda: len(user.window._notifications) == 0, "no remark over the question")
        await user.keys("n")


async def test_without_colours_what_went_wrong_is_no_darker_than_the_rest(open_window: Any, empty_store: Any) -> None:
    """NO_COLOR makes greys of colours by their brightness: pure red would be nearly black."""
    async with open_window(empty_store, (80, 24)) as user:
        for word in STATUS_STYLE:
            colour = Style.parse(status_style(word)).color
            assert colour is not None
            red, green, blue = colour.get_truecolor(user.window.ansi_theme)
            assert 0.2126 * red + 0.7152 * green + 0.0722 * blue > 110, word
