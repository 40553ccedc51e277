"""Fixtures: stores with runs of real jobs, an open window, and a user who reads its screen, types and clicks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.patience import HANG_S, limit, until
from textual.events import Key, MouseScrollDown, Paste
from textual.geometry import Region
from textual.keys import _character_to_key, key_to_character
from textual.notifications import Notification
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from seedbed import actions
from seedbed.config.layers import Flagged
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.locks import Lock
from seedbed.runs import labels
from seedbed.runs.control import ResumeOptions
from seedbed.runs.kinds import KINDS
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.tui.app import Window
from seedbed.tui.editors import is_editor
from seedbed.tui.panel import Panel
from seedbed.tui.table import RunTable

TINY = {
    "model.layers": "1",
    "model.hidden": "32",
    "model.heads": "2",
    "model.kv_heads": "1",
    "model.head_dim": "16",
    "model.ffn": "64",
    "model.context": "32",
    "tokenizer.vocab_size": "400",
    "data.stories": "400",
    "schedule.warmup": "0.1",
    "train.steps": "40",
    "train.batch_size": "4",
    "train.seed": "11",
    "train.precision": "fp32",
    "train.compile": "off",
    "train.threads": "1",
    "train.eval_every": "20",
    "train.eval_tokens": "2000",
    "train.checkpoint_every": "10",
    "train.keep_last": "2",
    "train.sample_tokens": "5",
}
"""The config of a run that takes two seconds, most of them for the start of the job."""
FOREVER = "100000000"
"""The steps of a run that ends only when it is stopped or killed."""
PATIENCE_S = 10.0
"""How long a wait may take before the machine's speed is measured and the limit raised accordingly."""
# Textual's own waits, also when a window opens and closes, may take as long on a busy machine (30 s by default).
Pilot._wait_for_screen.__defaults__ = (20 * PATIENCE_S,)


# Runs ----------------------------------------------------------------------------------------------------------------


def start_job(store: Store, name: str, **sets: str) -> actions.Launch:
    """Start a real job on a new run; keys of the config are written with `__` for the dot."""
    flags = {path: Flagged(value, "the test") for path, value in TINY.items()}
    flags |= {path.replace("__", "."): Flagged(value, "the test") for path, value in sets.items()}
    run = actions.new_run(store, KINDS["train"], resolve(TRAIN, flags=flags), name, command=["test"])
    return actions.start(run)


def wait(condition: Callable[[], Any], awaited: str = "it") -> None:
    """Wait until `condition()` is true."""
    until(condition, told=lambda: awaited)


def wait_for_step(run: RunDir, step: int) -> None:
    """Wait until the run has a checkpoint and has reached that step."""
    wait(lambda: (found := status(run))["step"] >= step and found["checkpoint"], f"step {step} of {run.id}")


def kill_job(run: RunDir) -> None:
    """Kill the run's job, if it has one."""
    found = status(run)
    if found["status"] in ("running", "pausing", "paused", "stalled", "queued") and found["pid"]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found["pid"], signal.SIGKILL)
        wait(lambda: status(run)["status"] not in ("running", "pausing", "paused", "stalled"), "the job's end")


def write_runs(store: Store) -> None:
    """Write one run of each kind: completed, stopped, killed, failed, trained further, archived. No job is left."""
    try:
        train_runs(store)
    finally:
        for run in store.all():
            kill_job(run)


def train_runs(store: Store) -> None:
    source = store.root.parent / "[bold]no text[/]"
    source.mkdir(parents=True)
    start_job(store, "oak").process.wait()
    running = [start_job(store, name, train__steps=FOREVER) for name in ("birch", "cedar")]
    (source / "a.txt").write_text("Words that are gone when the job looks for them. " * 100)
    failing = start_job(store, "elm", data__source=f"text:{source}")
    (source / "a.txt").unlink()
    completed = [start_job(store, "fir"), start_job(store, "yew")]
    for launch in running:
        wait_for_step(launch.run, 20)
    actions.stop(running[0].run)
    running[1].process.kill()
    for launch in (*running, failing, *completed):
        launch.process.wait()
    actions.resume(completed[0].run, ResumeOptions(more_steps=15)).process.wait()
    labels.change_tags(completed[0].run, ["baseline", "keep"])
    labels.set_archived(completed[1].run, True)
    found = {each.name(): status(each)["status"] for each in store.all()}
    assert found == {
        "oak": "completed",
        "birch": "stopped",
        "cedar": "lost",
        "elm": "failed",
        "fir": "completed",
        "yew": "completed",
    }


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder shared by all processes of pytest, with the jobs' cache of prepared data."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tui"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDBED_CACHE", str(folder / "cache"))
        patch.delenv("SEEDBED_RUNS", raising=False)
        yield folder


def made_once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder of that name, filled by `make` in the first process that needs it."""
    place = folder / name
    with Lock(folder / f".{name}.lock"):
        if not (place / ".whole").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / ".whole").touch()
    return place


@pytest.fixture(scope="session")
def real_runs(shared_folder: Path) -> Path:
    """A store with a run of each kind, written by real jobs. Tests must not change it: `store` is a copy."""
    return made_once(shared_folder, "real", lambda place: write_runs(Store(place / "runs"))) / "runs"


@pytest.fixture(scope="session")
def many_runs(shared_folder: Path, real_runs: Path) -> Path:
    """A store with 200 copies of the real runs, each with its own id and name. Tests must not change it."""
    return (
        made_once(shared_folder, "many", lambda place: copy_runs(Store(real_runs), Store(place / "runs"), 200)) / "runs"
    )


def copy_runs(origin: Store, target: Store, number: int) -> None:
    """Fill `target` with `number` copies of the runs in `origin`, with start times a minute apart."""
    originals = [run for run in origin.all() if not run.is_archived()]
    target.root.mkdir(parents=True)
    for count in range(number):
        run = originals[count % len(originals)]
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=count)
        copy = target.root / f"{at:%Y%m%d-%H%M%S}-000-{run.name()}"
        # Without training, files are only replaced, never changed in place, so hard links are enough.
        shutil.copytree(run.path, copy, copy_function=os.link)
        labels.rename(RunDir(copy), f"{run.name()} {count:03d}")


@pytest.fixture
def copy_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Copies a store for a test; jobs that run in the copy are killed after the test."""
    made: list[Store] = []

    def copy(origin: Path, *, links: bool = False) -> Store:
        shutil.copytree(origin, tmp_path / "runs", copy_function=os.link if links else shutil.copy2)
        made.append(Store(tmp_path / "runs"))
        return made[-1]

    yield copy
    for store in made:
        for run in store.all():
            kill_job(run)


@pytest.fixture
def store(copy_store: Callable[..., Store], real_runs: Path) -> Store:
    """A copy of the real runs that the test may change."""
    return copy_store(real_runs)


@pytest.fixture
def many_store(copy_store: Callable[..., Store], many_runs: Path) -> Store:
    """A copy of the 200 runs. Tests may start, rename and delete runs in it, but not train one further."""
    return copy_store(many_runs, links=True)


@pytest.fixture
def empty_store(tmp_path: Path, shared_folder: Path) -> Iterator[Store]:
    """A store whose folder does not exist yet."""
    store = Store(tmp_path / "none" / "runs")
    yield store
    for run in store.all():
        kill_job(run)


def named(store: Store, name: str) -> RunDir:
    """The run of that name."""
    return next(run for run in store.all() if run.name() == name)


TABLES = {1: "#runs-table", 5: "#models-table"}


# The window ----------------------------------------------------------------------------------------------------------


class User:
    """A user of the window: what the screen shows, the keyboard, the mouse."""

    def __init__(self, window: Window, pilot: Pilot[None]) -> None:
        self.window = window
        self.pilot = pilot
        self.recorded: list[Notification] = []
        """The notifications so far, without those that `see_notification` has found."""
        add = window._notifications.add

        def record(notification: Notification) -> None:
            self.recorded.append(notification)
            add(notification)

        window._notifications.add = record  # type: ignore[method-assign]

    @property
    def screen(self) -> Screen[Any]:
        return self.window.screen

    @property
    def rows(self) -> list[str]:
        """The rows of the screen as text; a wide character is one character for two cells."""
        return [strip.text for strip in self.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows)

    def part(self, selector: str | type[Widget]) -> str:
        """The visible text of a widget."""
        return "\n".join(self.rows_in(self.screen.query_one(selector).region))

    def rows_in(self, region: Region) -> list[str]:
        """The visible text in a region of the screen, row by row."""
        rows = [cells(row) for row in self.rows[max(region.y, 0) : region.bottom]]
        return ["".join(row[max(region.x, 0) : region.right]).rstrip() for row in rows]

    def sees(self, *words: str) -> bool:
        text = self.text
        return all(word in text for word in words)

    def row(self, words: str) -> str:
        """The first row that contains the words."""
        return next((row for row in self.rows if words in row), "")

    def cells(self, name: str, table: str = "#runs-table") -> dict[str, str]:
        """The cells of a run's row by heading; {} if the table has no such row or the screen does not show it yet."""
        shown = self.window.screen_stack[0].query_one(table, RunTable)
        headings = [str(column.label).strip() for column in shown.columns.values()]
        for run_id in shown.ids:
            values = [str(cell).strip() for cell in shown.get_row(run_id)]
            row = dict(zip(headings, values, strict=True))
            if row["NAME"] == name:
                return row if any(all(value in seen for value in values) for seen in self.rows) else {}
        return {}

    async def until(self, predicate: Callable[[], Any], awaited: str = "it") -> None:
        """Wait until the predicate is true. Raises an error of the window; a timeout shows the screen."""
        begun, allowed = time.monotonic(), PATIENCE_S
        while not predicate():
            if self.window._exception is not None:
                raise self.window._exception
            if time.monotonic() - begun > allowed:
                allowed = limit(PATIENCE_S / 8)
                assert time.monotonic() - begun < allowed, f"waited too long for {awaited}:\n{self.text}"
            await self.handle_messages()
            await asyncio.sleep(0.02)

    async def see(self, *words: str) -> None:
        """Wait until the words are on the screen."""
        await self.until(lambda: self.sees(*words), repr(words))

    async def see_not(self, *words: str) -> None:
        """Wait until none of the words is on the screen."""
        await self.until(lambda: not any(word in self.text for word in words), f"the end of {words!r}")

    async def see_notification(self, words: str) -> None:
        """Wait for a notification with these words; it may already have expired, on a slow machine.

        Line breaks do not count: a path, which may be of any length, is broken within a word.
        """
        wanted = _without_spaces(words)

        def shown() -> list[str]:
            return [*self.notifications, *(each.message for each in self.recorded if each.has_expired)]

        await self.until(
            lambda: any(wanted in _without_spaces(each) for each in shown()), f"the notification {words!r}"
        )
        self.recorded = [each for each in self.recorded if wanted not in _without_spaces(each.message)]

    def part_in_a_line(self, selector: str) -> str:
        """The visible text of a widget without line breaks, after closing the notifications that may cover it."""
        self.window.clear_notifications()
        return " ".join(self.part(selector).split())

    @property
    def notifications(self) -> list[str]:
        """The notifications on the screen, each in one line."""
        return [" ".join(" ".join(self.rows_in(toast.content_region)).split()) for toast in self.screen.query("Toast")]

    async def press(self, *keys: str) -> None:
        """Press keys; after each, wait until the window is idle."""
        await self.pilot.press(*keys)

    async def keys(self, *keys: str) -> None:
        """Press keys, each once the window has handled the one before it; the screen may change later."""
        for key in keys:
            self.send(key)
            await self.settle()

    async def repeat(self, key: str, times: int) -> None:
        """Press a key a number of times."""
        await self.keys(*[key] * times)

    async def type(self, text: str) -> None:
        """Type a text, key by key, as fast as the window accepts it."""
        for character in text:
            self.send(character)
            await self.handle_messages()
        await self.settle()

    async def paste(self, text: str) -> None:
        """Paste a text, as a terminal sends it."""
        self.send(Paste(text))
        await self.settle()

    async def settle(self) -> None:
        """Wait until messages, and those that follow from them, are handled and the screen is updated."""
        for _ in range(3):
            await self.handle_messages()
        begun = time.monotonic()
        while self.window.is_handling_keys:
            if self.window._exception is not None:
                raise self.window._exception
            assert time.monotonic() - begun < HANG_S, f"the window no longer handles keys:\n{self.text}"
            await asyncio.sleep(0.001)
        await self.handle_messages()

    async def handle_messages(self) -> None:
        """Wait until the screen and its widgets have handled their current messages."""
        await self.pilot._wait_for_screen(timeout=20 * PATIENCE_S)
        self.window.screen._on_timer_update()

    def send(self, what: str | Paste) -> None:
        """Send a key or a paste as the terminal does, without waiting."""
        if isinstance(what, str):
            name = what if len(what) > 1 or what.isalnum() else _character_to_key(what)
            event: Key | Paste = Key(name, what if len(what) == 1 else key_to_character(what))
        else:
            event = what
        event.set_sender(self.window)
        assert self.window._driver is not None
        self.window._driver.send_message(event)

    async def go(self, panel: int) -> None:
        """Go to a panel by keys; leave a field first."""
        if is_editor(self.window.focused):
            await self.keys("escape")
        await self.keys(str(panel))

    async def choose(self, name: str, panel: int = 1) -> None:
        """Move the cursor of Runs or Models to a run, by keys."""
        await self.go(panel)
        table = self.window.screen_stack[0].query_one(TABLES[panel], RunTable)

        def names() -> list[str]:
            return [str(table.get_row(run_id)[1]).strip() for run_id in table.ids]

        await self.until(lambda: name in names(), name)
        await self.keys("g")
        await self.repeat("j", names().index(name))
        assert names()[table.cursor_row] == name

    async def wheel_down(self, selector: str, words: str) -> None:
        """Turn the mouse wheel over a widget until the words are shown."""
        widget = self.screen.query_one(selector)

        def turned() -> bool:
            if self.sees(words):
                return True
            widget.post_message(MouseScrollDown(widget, 1, 1, 0, 1, 0, False, False, False))
            return False

        await self.until(turned, repr(words))

    async def click(self, selector: str | type[Widget], offset: tuple[int, int] = (0, 0)) -> None:
        assert await self.pilot.click(selector, offset=offset), f"{selector} is covered:\n{self.text}"

    async def click_on(self, words: str, below: str = "") -> None:
        """Click on the words on the screen; with `below`, on those in a row under it."""
        await self.see(words, below)
        rows = self.rows
        start = next(y for y, row in enumerate(rows) if below in row) + 1 if below else 0
        y, row = next((y, row) for y, row in enumerate(rows) if y >= start and words in row)
        x = len(cells(row[: row.index(words)]))
        await self.pilot.click(offset=(x + len(words) // 2, y))

    @property
    def panel(self) -> Panel | None:
        """The panel with the focus."""
        focused = self.window.focused
        return (
            next((each for each in focused.ancestors_with_self if isinstance(each, Panel)), None) if focused else None
        )

    def focus(self) -> str:
        """The id or the class of the widget with the focus."""
        focused = self.window.focused
        return "nothing" if focused is None else focused.id or type(focused).__name__


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def cells(row: str) -> list[str]:
    """A row by terminal cells; the second cell of a wide character is empty."""
    from rich.cells import cell_len

    found: list[str] = []
    for character in row:
        found.append(character)
        found.extend([""] * (cell_len(character) - 1))
    return found


Opened = Callable[..., AbstractAsyncContextManager[User]]


@pytest.fixture
def open_window(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens the window for a store, in a terminal of a given size, and waits until every run has been read."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)

    @asynccontextmanager
    async def opened(store: Store, size: tuple[int, int] = (130, 40)) -> AsyncIterator[User]:
        window = Window(store)
        async with window.run_test(size=size, notifications=True) as pilot:
            user = User(window, pilot)
            await user.until(lambda: window.state.loaded, "the runs")
            await pilot.pause()
            yield user

    return opened


@pytest.fixture
def find_run() -> Callable[[Store, str], RunDir]:
    """Finds a run by its name."""
    return named


@pytest.fixture
def job() -> Callable[..., actions.Launch]:
    """Starts a real job on a new run of a store."""
    return start_job
