"""Runs that real jobs wrote, a window over them, and somebody who sees what is on its screen, types and clicks."""

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
from seedbed.runs.control import Resume
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
"""A run that a job does in two seconds, most of them spent on starting."""
FOREVER = "100000000"
"""Steps of a run that ends when somebody ends it."""
PATIENCE_S = 10.0
"""How long something may take before it is asked how slow the machine is, and how long it may take there."""


# Runs ----------------------------------------------------------------------------------------------------------------


def begin(store: Store, name: str, **sets: str) -> actions.Launch:
    """Start a real job on a new run; keys of the config are written with `__` for the dot."""
    flags = {path: Flagged(value, "the test") for path, value in TINY.items()}
    flags |= {path.replace("__", "."): Flagged(value, "the test") for path, value in sets.items()}
    run = actions.new_run(store, KINDS["train"], resolve(TRAIN, flags=flags), name, command=["test"])
    return actions.start(run)


def wait(what: Callable[[], Any], told: str = "it") -> None:
    """Until `what()` is true."""
    until(what, told=lambda: told)


def at_step(run: RunDir, step: int) -> None:
    """Until the run has a checkpoint, and has gone that far."""
    wait(lambda: (found := status(run))["step"] >= step and found["checkpoint"], f"step {step} of {run.id}")


def end(run: RunDir) -> None:
    """Kill the run's job, if there is one."""
    found = status(run)
    if found["status"] in ("running", "pausing", "paused", "stalled", "queued") and found["pid"]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found["pid"], signal.SIGKILL)
        wait(lambda: status(run)["status"] not in ("running", "pausing", "paused", "stalled"), "the job's end")


def write_runs(store: Store) -> None:
    """One run of each fate: completed, stopped, killed, failed, trained further, archived. No job outlives this."""
    try:
        train_runs(store)
    finally:
        for run in store.all():
            end(run)


def train_runs(store: Store) -> None:
    source = store.root.parent / "[bold]no text[/]"
    source.mkdir(parents=True)
    begin(store, "oak").process.wait()
    going = [begin(store, name, train__steps=FOREVER) for name in ("birch", "cedar")]
    (source / "a.txt").write_text("Words that are gone when the job looks for them. " * 100)
    failing = begin(store, "elm", data__source=f"text:{source}")
    (source / "a.txt").unlink()
    done = [begin(store, "fir"), begin(store, "yew")]
    for launch in going:
        at_step(launch.run, 20)
    actions.stop(going[0].run)
    going[1].process.kill()
    for launch in (*going, failing, *done):
        launch.process.wait()
    actions.resume(done[0].run, Resume(more_steps=15)).process.wait()
    labels.change_tags(done[0].run, ["baseline", "keep"])
    labels.set_archived(done[1].run, True)
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
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that all of pytest's processes share, with the cache of prepared data that jobs use."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tui"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDBED_CACHE", str(folder / "cache"))
        patch.delenv("SEEDBED_RUNS", raising=False)
        yield folder


def made_once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """What `make` writes into a folder of that name, by whichever process comes first."""
    place = folder / name
    with Lock(folder / f".{name}.lock"):
        if not (place / ".whole").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / ".whole").touch()
    return place


@pytest.fixture(scope="session")
def real_runs(workshop: Path) -> Path:
    """A store of runs of every fate, written by real jobs. Not to be changed: `store` is a copy."""
    return made_once(workshop, "real", lambda place: write_runs(Store(place / "runs"))) / "runs"


@pytest.fixture(scope="session")
def many_runs(workshop: Path, real_runs: Path) -> Path:
    """200 runs, copies of the real ones under ids and names of their own. Not to be changed."""
    return made_once(workshop, "many", lambda place: multiply(Store(real_runs), Store(place / "runs"), 200)) / "runs"


def multiply(origin: Store, target: Store, number: int) -> None:
    """`number` runs in `target`: those of `origin` again and again, a minute apart."""
    models = [run for run in origin.all() if not run.is_archived()]
    target.root.mkdir(parents=True)
    for count in range(number):
        run = models[count % len(models)]
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=count)
        copy = target.root / f"{at:%Y%m%d-%H%M%S}-000-{run.name()}"
        # Files are replaced, not changed, where nobody trains: links do.
        shutil.copytree(run.path, copy, copy_function=os.link)
        labels.rename(RunDir(copy), f"{run.name()} {count:03d}")


@pytest.fixture
def copy_of(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Copies a store for a test; whatever job is at work in a copy ends with the test."""
    made: list[Store] = []

    def copy(origin: Path, *, links: bool = False) -> Store:
        shutil.copytree(origin, tmp_path / "runs", copy_function=os.link if links else shutil.copy2)
        made.append(Store(tmp_path / "runs"))
        return made[-1]

    yield copy
    for store in made:
        for run in store.all():
            end(run)


@pytest.fixture
def store(copy_of: Callable[..., Store], real_runs: Path) -> Store:
    """A copy of the real runs, to be changed at will."""
    return copy_of(real_runs)


@pytest.fixture
def many_store(copy_of: Callable[..., Store], many_runs: Path) -> Store:
    """A copy of the 200 runs, in which runs may begin, be renamed and be deleted, but none be trained further."""
    return copy_of(many_runs, links=True)


@pytest.fixture
def empty_store(tmp_path: Path, workshop: Path) -> Iterator[Store]:
    """A store that is not there yet."""
    store = Store(tmp_path / "none" / "runs")
    yield store
    for run in store.all():
        end(run)


def named(store: Store, name: str) -> RunDir:
    """The run of that name."""
    return next(run for run in store.all() if run.name() == name)


TABLES = {1: "#runs-table", 5: "#models-table"}


# The window ----------------------------------------------------------------------------------------------------------


class User:
    """Somebody at the window: what they see, their keys, their mouse."""

    def __init__(self, window: Window, pilot: Pilot[None]) -> None:
        self.window = window
        self.pilot = pilot
        self.told: list[Notification] = []
        """The remarks that have been made and not been heard."""
        add = window._notifications.add

        def remember(remark: Notification) -> None:
            self.told.append(remark)
            add(remark)

        window._notifications.add = remember  # type: ignore[method-assign]

    @property
    def screen(self) -> Screen[Any]:
        return self.window.screen

    @property
    def rows(self) -> list[str]:
        """The screen's rows as they are shown; a character of two cells stands for two."""
        return [strip.text for strip in self.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows)

    def part(self, selector: str | type[Widget]) -> str:
        """What is seen of a widget."""
        return "\n".join(self.cut(self.screen.query_one(selector).region))

    def cut(self, region: Region) -> list[str]:
        """What is seen in a part of the screen."""
        rows = [cells(row) for row in self.rows[max(region.y, 0) : region.bottom]]
        return ["".join(row[max(region.x, 0) : region.right]).rstrip() for row in rows]

    def sees(self, *words: str) -> bool:
        text = self.text
        return all(word in text for word in words)

    def row(self, words: str) -> str:
        """The first row in which the words stand."""
        return next((row for row in self.rows if words in row), "")

    def cells(self, name: str, table: str = "#runs-table") -> dict[str, str]:
        """The cells of a run's row by heading; {} where it is not in the table, or not seen as it stands there."""
        shown = self.window.screen_stack[0].query_one(table, RunTable)
        headings = [str(column.label).strip() for column in shown.columns.values()]
        for run_id in shown.ids:
            values = [str(cell).strip() for cell in shown.get_row(run_id)]
            row = dict(zip(headings, values, strict=True))
            if row["NAME"] == name:
                return row if any(all(value in seen for value in values) for seen in self.rows) else {}
        return {}

    async def until(self, predicate: Callable[[], Any], told: str = "it") -> None:
        """Until that is so; whatever is wrong is shown with the screen."""
        begun, allowed = time.monotonic(), PATIENCE_S
        while not predicate():
            if self.window._exception is not None:
                raise self.window._exception
            if time.monotonic() - begun > allowed:
                allowed = limit(PATIENCE_S / 8)
                assert time.monotonic() - begun < allowed, f"waited too long for {told}:\n{self.text}"
            await self.rest()
            await asyncio.sleep(0.02)

    async def see(self, *words: str) -> None:
        """Until the words are on the screen."""
        await self.until(lambda: self.sees(*words), repr(words))

    async def see_not(self, *words: str) -> None:
        """Until none of the words is on the screen."""
        await self.until(lambda: not any(word in self.text for word in words), f"the end of {words!r}")

    async def hear(self, words: str) -> None:
        """Until a remark says so. It goes away by itself, on a slow machine perhaps before anybody looks."""
        await self.until(
            lambda: any(words in said for said in [*self.remarks, *self.gone_remarks]), f"the remark {words!r}"
        )
        self.told = [each for each in self.told if words not in _in_a_line(each)]

    def part_in_a_line(self, selector: str) -> str:
        """What is seen of a widget, without its line breaks, once the remarks that may cover it are out of the way."""
        self.window.clear_notifications()
        return " ".join(self.part(selector).split())

    @property
    def remarks(self) -> list[str]:
        """The remarks on the screen, each in one line."""
        return [" ".join(" ".join(self.cut(toast.content_region)).split()) for toast in self.screen.query("Toast")]

    @property
    def gone_remarks(self) -> list[str]:
        """The remarks whose time on the screen is over, each in one line."""
        return [_in_a_line(each) for each in self.told if each.has_expired]

    async def press(self, *keys: str) -> None:
        """Press keys; the window comes to rest after each."""
        await self.pilot.press(*keys)

    async def keys(self, *keys: str) -> None:
        """Press keys, each as soon as the window has done what the one before it led to; what is seen may come later."""
        for key in keys:
            self.send(key)
            await self.settle()

    async def repeat(self, key: str, times: int) -> None:
        """Press a key again and again."""
        await self.keys(*[key] * times)

    async def type(self, text: str) -> None:
        """Type a text, key by key, as fast as the window takes it."""
        for character in text:
            self.send(character)
            await self.rest()
        await self.settle()

    async def paste(self, text: str) -> None:
        """Paste a text, as a terminal passes it on."""
        self.send(Paste(text))
        await self.settle()

    async def settle(self) -> None:
        """Until messages, those that they led to, and those that these led to are dealt with, and shown."""
        for _ in range(3):
            await self.rest()
        begun = time.monotonic()
        while self.window.is_handling_keys:
            if self.window._exception is not None:
                raise self.window._exception
            assert time.monotonic() - begun < HANG_S, f"the window hears no keys any more:\n{self.text}"
            await asyncio.sleep(0.001)
        await self.rest()

    async def rest(self) -> None:
        """Until the screen and all in it have dealt with the messages that they have now."""
        await self.pilot._wait_for_screen(timeout=20 * PATIENCE_S)
        self.window.screen._on_timer_update()

    def send(self, what: str | Paste) -> None:
        """A key or a paste, as the terminal hands it over; waits for nothing."""
        if isinstance(what, str):
            name = what if len(what) > 1 or what.isalnum() else _character_to_key(what)
            event: Key | Paste = Key(name, what if len(what) == 1 else key_to_character(what))
        else:
            event = what
        event.set_sender(self.window)
        assert self.window._driver is not None
        self.window._driver.send_message(event)

    async def go(self, panel: int) -> None:
        """Go to a panel by keys, out of a field too."""
        if is_editor(self.window.focused):
            await self.keys("escape")
        await self.keys(str(panel))

    async def choose(self, name: str, panel: int = 1) -> None:
        """Put the cursor of Runs or Models on a run, by keys."""
        await self.go(panel)
        table = self.window.screen_stack[0].query_one(TABLES[panel], RunTable)

        def names() -> list[str]:
            return [str(table.get_row(run_id)[1]).strip() for run_id in table.ids]

        await self.until(lambda: name in names(), name)
        await self.keys("g")
        await self.repeat("j", names().index(name))
        assert names()[table.cursor_row] == name

    async def wheel_down(self, selector: str, words: str) -> None:
        """Turn the wheel over a widget until the words are shown."""
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
        """Click where the words stand on the screen, below those others."""
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
        """What has the focus, by id or kind."""
        focused = self.window.focused
        return "nothing" if focused is None else focused.id or type(focused).__name__


def _in_a_line(remark: Notification) -> str:
    return " ".join(remark.message.split())


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
    """Opens the window over a store in a terminal of some size, and waits until every run has been read."""
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
def in_store() -> Callable[[Store, str], RunDir]:
    """Finds a run by its name."""
    return named


@pytest.fixture
def job() -> Callable[..., actions.Launch]:
    """Starts a real job on a new run of a store."""
    return begin
