"""Faults around a window: broken and missing files, an unreadable store, clock jumps, and the end of the window."""

from __future__ import annotations

import asyncio
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
from threading import Event
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
    """Replace a file atomically, as jobs do; None removes it."""
    if content is None:
        path.unlink()
        return
    beside = path.with_name(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def breakages(run: RunDir) -> Iterator[tuple[str, Path, bytes | None, str]]:
    """Damage to the files of a finished run: description, file, new content, status that is shown then."""
    events = run.events.read_bytes()
    lines = events.splitlines(keepends=True)
    yield "no state", run.state, None, "completed"
    yield "a truncated state", run.state, b'{"format":1,"heartb', "completed"
    yield "a state with other JSON", run.state, b"[1, 2]", "completed"
    yield "a truncated last line", run.events, events + b'{"v":1,"n":99,"t":1,"kind":"st', "completed"
    yield "a broken line", run.events, lines[0] + b"\x00\xff garbage\n" + b"".join(lines[1:]), "completed"
    yield "no labels", run.path / "labels.json", b"", "completed"
    yield (
        "labels with wrong types",
        run.path / "labels.json",
        b'{"name": 5, "tags": "x", "archived": "no"}',
        "completed",
    )
    yield "a truncated meta", run.path / "meta.json", b'{"format": 1, "ki', "broken"
    yield "a meta with other JSON", run.path / "meta.json", b"null", "broken"


async def test_a_run_with_damaged_files_is_shown_with_its_status(open_window: Any, store: Any, find_run: Any) -> None:
    """Truncated, wrong or missing files: the list and the details show the run as far as it can be read."""
    fir = find_run(store, "fir")
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
                await user.until(lambda: "jsonis" in re.sub(r'[" ]', "", user.part_in_a_line("#about-text")), what)
            await user.keys("escape")
            replace(path, kept)
            await user.keys("r")
            await user.until(lambda: shown("completed"), f"the repair of {what}")
    # The same for a window that opens with the damaged files.
    for _, path, content, _ in breakages(fir):
        if path.exists() or content is not None:
            replace(path, content)
    async with open_window(store, (80, 24)) as user:
        await user.see("1 broken", "oak")


async def test_an_update_of_a_run_may_come_before_its_screen_is_mounted(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """The window refreshes while the screen is still being mounted: it does not crash, and the screen is complete."""
    fir = find_run(store, "fir")
    async with open_window(store, (100, 30)) as user:
        screen = Details(fir.id)
        opened = user.window.push_screen(screen)
        screen.update({fir.id})
        await opened
        await user.see("fir  completed", "step 55/55")


async def test_missing_files_are_reported(open_window: Any, store: Any, find_run: Any) -> None:
    """No config, no event log, no checkpoints, an unreadable marker: each has its own message."""
    oak, fir, birch = (find_run(store, name) for name in ("oak", "fir", "birch"))
    replace(oak.config, None)
    replace(birch.events, None)
    replace(birch.state, None)
    for marker in fir.checkpoints.glob("*/DONE"):
        marker.write_text("{")
    async with open_window(store, (130, 40)) as user:
        # For a few seconds after its creation such a run may still start.
        await user.until(lambda: user.cells("birch").get("STATUS") == "lost", "lost")
        await user.choose("birch")
        await user.see("The job never started")
        await user.choose("oak")
        await user.keys("enter", "3")
        await user.until(lambda: "No such file or directory" in " ".join(user.text.split()), "why it cannot be read")
        assert "Cannot read" in " ".join(user.text.split())
        await user.keys("4")
        user.screen.query_one("#other").value = fir.id
        await user.until(lambda: "There is no config file" in user.part_in_a_line("#diff-table"), "the reason")
        await user.until(lambda: "Check the path." in user.part_in_a_line("#diff-table"), "all of the reason")
        await user.keys("escape")
        await user.choose("fir", 5)
        assert user.cells("fir", "#models-table")["STATUS"] == "corrupted"
        await user.until(lambda: "its DONE file cannot be read" in user.part_in_a_line("#model-about"))
        shutil.rmtree(fir.checkpoints)
        os.utime(fir.path)
        await user.keys("r")
        await user.until(lambda: fir.id not in user.window.panel(ModelsPanel).table.ids, "no model")
        assert user.window.state.run(fir.id).status["status"] == "completed"


async def test_a_refresh_that_ends_after_the_window_was_closed_does_nothing(open_window: Any, store: Any) -> None:
    """The last refresh may still be running when the window closes."""
    async with open_window(store, (80, 24)) as user:
        window = user.window
    await window._look()
    window.show(set(window.state.watch.runs))


@pytest.mark.parametrize("is_running", [True, False])
async def test_the_result_of_a_thread_is_dropped_while_the_window_closes(
    open_window: Any, store: Any, monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    called: list[str] = []
    worked = Event()

    def work() -> str:
        worked.set()
        return "result"

    async with open_window(store, (80, 24)) as user:
        with monkeypatch.context() as patch:
            patch.setattr(type(user.window), "is_running", is_running)
            user.window.in_thread(work, called.append)
            begun = time.monotonic()
            while not worked.is_set() or (is_running and not called):
                assert time.monotonic() - begun < limit(20)
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
    assert called == (["result"] if is_running else [])


async def test_a_run_that_is_deleted_outside_the_window_disappears_from_every_panel(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """Also while its details or a dialog about it are open."""
    async with open_window(store, (100, 30)) as user:
        for name, keys, kind in (("oak", ("enter",), Details), ("birch", ("D",), Confirm), ("cedar", ("e",), Rename)):
            run = find_run(store, name)
            await user.choose(name)
            await user.keys(*keys)
            await user.until(lambda kind=kind: isinstance(user.screen, kind))
            actions.delete(run)
            user.window.refresh_runs()
            await user.until(lambda run=run: user.window.state.run(run.id) is None, "its deletion")
            if kind is Details:
                await user.see_notification("The run has been deleted.")
            elif kind is Confirm:
                await user.keys("y")
                await user.until(lambda: user.notifications, "a notification")
            else:
                await user.keys("delete")
                await user.type("other")
                await user.keys("enter")
                await user.until(lambda: user.notifications, "a notification")
            await user.until(lambda: len(user.window.screen_stack) == 1, "the panels")
            await user.until(
                lambda run=run: run.id not in user.window.panel(RunsPanel).table.ids, "the removal of its row"
            )
            user.window.clear_notifications()
        assert not (store.root / run.id).exists()
        # The folder of the run under the cursor is removed by hand.
        shutil.rmtree(find_run(store, "fir").path)
        await user.keys("r")
        await user.until(lambda: not user.cells("fir"))
        assert user.cells("elm")["STATUS"] == "failed"


async def test_runs_stay_listed_while_the_store_cannot_be_read(
    open_window: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network share fails for a while: a message replaces the counts, the runs stay, then the counts return."""
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


async def test_a_store_that_is_moved_away_and_back_is_shown_again(open_window: Any, store: Any) -> None:
    """The store is moved while the window is open."""
    away = store.root.with_name("away")
    async with open_window(store, (80, 24)) as user:
        os.rename(store.root, away)
        await user.keys("r")
        await user.see("No runs yet: press 3 to start one.", "5 Models ─ no model yet")
        await user.keys("enter", "e", "D", "2", "5", "a")
        await user.see_notification("No model is selected.")
        os.rename(away, store.root)
        await user.keys("r", "1")
        await user.see("fir", "completed", "5 Models ─ 4 · active: fir")


async def test_labels_that_cannot_be_written_are_reported(open_window: Any, store: Any, find_run: Any) -> None:
    """A rename and an archive that fail show a notification with the reason, and the name stays."""
    fir = find_run(store, "fir")
    (fir.path / "labels.json").unlink()
    (fir.path / "labels.json").mkdir()
    async with open_window(store, (100, 30)) as user:
        await user.choose("fir")
        await user.keys("e", "delete")
        await user.type("pine")
        await user.keys("enter")
        await user.see_notification("labels.json")
        assert user.cells("fir")
        user.window.clear_notifications()
        await user.keys("A")
        await user.see_notification("labels.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_store_is_shown_and_changes_are_refused_with_the_reason(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """Everything can be viewed; actions that write are refused with the reason."""
    fir = find_run(store, "fir")
    os.chmod(fir.path, 0o555)
    os.chmod(store.root, 0o555)
    try:
        async with open_window(store, (100, 30)) as user:
            await user.see("fir", "⣿ train")
            await user.keys("A")
            await user.see_notification("permission is denied")
            user.window.clear_notifications()
            await user.keys("D", "y")
            await user.until(lambda: user.notifications, "the reason")
            assert user.cells("fir")
    finally:
        os.chmod(store.root, 0o755)
        os.chmod(fir.path, 0o755)


async def test_a_clock_jump_changes_no_status(
    open_window: Any, store: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day forwards, then a day back: the run is still running, not stalled, and no time is negative."""
    run = job(store, "maple", train__steps=FOREVER).run
    real = time.time
    async with open_window(store, (200, 60)) as user:
        await user.until(lambda: user.cells("maple").get("LEFT", "-") != "-", "the remaining time")
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
    """`seedbed tui` in its own terminal."""

    def __init__(self, store: Store, **environment: str) -> None:
        self.shown = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # the size is set before the program starts, so that it is never resized while it draws
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            words = [sys.executable, "-m", "seedbed", "tui", "--runs", str(store.root)]
            inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
            os.execve(words[0], words, {**inherited, "TERM": "xterm-256color", **environment})

    def see(self, words: str) -> None:
        """Wait until the words have been written since the last key."""
        end = time.monotonic() + limit(20)
        while words.encode() not in self.shown:
            assert time.monotonic() < end, f"{words} was never written: {self.shown[-3000:]!r}"
            self._read()

    def press(self, keys: str) -> None:
        self.shown = b""
        os.write(self._fd, keys.encode())

    def ended(self) -> int:
        """Wait until it has ended; the exit status."""
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
    """The colours in the output to a terminal, without shades of grey."""
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
def test_no_color_turns_off_colours_and_q_restores_the_terminal(store: Any, no_color: bool) -> None:
    """NO_COLOR turns off colours; q ends the window with status 0 and returns to the terminal's normal screen."""
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
def test_a_run_continues_however_the_window_ends(store: Any, find_run: Any, how: str) -> None:
    """A run that was started from a window continues when the window is closed, hung up, or killed."""
    birch = find_run(store, "birch")
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


async def test_notifications_do_not_cover_a_dialog(open_window: Any, store: Any) -> None:
    """The text and both buttons of a dialog are visible after earlier notifications."""
    async with open_window(store, (80, 24)) as user:
        await user.choose("oak")
        await user.keys("w", "p")
        await user.see_notification("not running")
        await user.keys("D")
        await user.see("Delete this run?", "This cannot be undone.", "Delete (y)", "No (n)")
        await user.until(lambda: len(user.window._notifications) == 0, "no notification over the dialog")
        await user.keys("n")


async def test_without_colours_no_status_is_too_dark(open_window: Any, empty_store: Any) -> None:
    """NO_COLOR turns colours into greys by their brightness: pure red would be nearly black."""
    async with open_window(empty_store, (80, 24)) as user:
        for word in STATUS_STYLE:
            colour = Style.parse(status_style(word)).color
            assert colour is not None
            red, green, blue = colour.get_truecolor(user.window.ansi_theme)
            assert 0.2126 * red + 0.7152 * green + 0.0722 * blue > 110, word
