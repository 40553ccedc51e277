"""Text from outside is shown literally everywhere: it breaks no layout, changes no style, and controls no terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.widgets import Input, Select

from seedbed.actions import launching
from seedbed.runs.store import RunDir, Store
from seedbed.text import printable
from seedbed.tui.all_options import AllOptions
from seedbed.tui.curve import Curve
from seedbed.tui.details import Details
from seedbed.tui.dialogs import Confirm, Rename
from seedbed.tui.fields import Prompt
from seedbed.tui.generate import GeneratePanel

HOSTILE = {
    "closing": "[/] [/bold] ]",
    "opening": "[bold [bold]x",
    "link": "[link=1] [@click=app.close]y[/]",
    "escapes": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b1m",
    "emoji": "🦊 👩‍👩‍👧 é\u0301",
    "wide": "漢字テスト한글",
    "backwards": "שלום \u202eabc\u202c",
    "nul": "a\x00b\x07c",
    "lines": "one\ntwo\r\nthree\ttab",
    "quotes": "\\ \" ' {0} %s $x",
    "long": "long" + "x" * 10_000,
}
"""Text that a name, a path, a log or a model's output may contain."""
FEW = ("closing", "escapes", "long")
"""A selection, for tests in which each text takes a dialog or a screen of its own."""
CONTROL_CHARACTERS = ("\x1b", "\x9b", "\x00", "\x07", "\u202e", "\u202c", "\r")


def start_of(text: str, length: int = 4) -> str:
    """The first characters of a text, for which every place has room."""
    return printable(text).expandtabs(4)[:length].strip()


def changed(value: Any, words: str) -> Any:
    """A record with `words` in place of every text that a job takes from outside."""
    foreign = ("reason", "hint", "device_name", "device_asked", "text", "why", "prompt", "schedule")
    return {key: words if key in foreign and isinstance(held, str) else held for key, held in value.items()}


def write_words(run: RunDir, words: str) -> None:
    """Write the words into every text in a run's folder."""
    records = [json.loads(line) for line in run.events.read_bytes().splitlines()]
    run.events.write_bytes(b"".join(json.dumps(changed(each, words)).encode() + b"\n" for each in records))
    run.state.unlink()
    (run.path / ".series").unlink(missing_ok=True)
    run.labels.write_text(json.dumps({"format": 1, "name": words, "tags": ["good", words], "archived": False}))
    run.log.write_text(f"the log says {words}\n")
    meta = json.loads((run.path / "meta.json").read_text())
    (run.path / "meta.json").write_text(json.dumps({**meta, "data": words, "preset": words}))
    run.config.write_text(f"# {words}\n{run.config.read_text()}")


@pytest.fixture
def hostile_store(store: Store, find_run: Any) -> Store:
    """For each hostile text a finished and a failed run; their ids contain as much of it as a folder name may."""
    fir, elm = find_run(store, "fir"), find_run(store, "elm")
    for number, (kind, words) in enumerate(HOSTILE.items()):
        name_part = words.replace("/", "∕").replace("\x00", "")[:100]
        for run in (fir, elm):
            copy = store.root / f"20270101-0000{number:02d}-000-{run.name()}-{kind}-{name_part}"
            shutil.copytree(run.path, copy)
            write_words(RunDir(copy), words)
    for run in store.all():
        if not run.id.startswith("2027"):
            shutil.rmtree(run.path)
    return store


def harmless(user: Any) -> bool:
    """Whether the screen has no control characters and every row is as wide as the screen."""
    rows = user.rows
    assert not [sign for sign in CONTROL_CHARACTERS if any(sign in row for row in rows)]
    return all(cell_len(row) == user.window.size.width for row in rows)


def run_of(user: Any, kind: str, origin: str = "fir") -> str:
    return next(run_id for run_id in user.window.state.watch.runs if f"-{origin}-{kind}-" in run_id)


@pytest.mark.parametrize("size", [(80, 24), pytest.param((200, 60), marks=pytest.mark.slow)])
async def test_hostile_text_in_the_panels_is_shown_literally(
    open_window: Any, hostile_store: Store, size: tuple[int, int]
) -> None:
    """Every run is listed by its literal name, in Runs, Models, the list of Train, and the titles."""
    async with open_window(hostile_store, size) as user:
        for number in "12345":
            await user.go(int(number))
            assert harmless(user)
        for table in ("#runs-table", "#models-table"):
            await user.go(1 if table == "#runs-table" else 5)
            shown = user.window.query_one(table)
            assert len(shown.ids) == len(HOSTILE) * (2 if table == "#runs-table" else 1)
            for kind, words in HOSTILE.items():
                shown.go_to(run_of(user, kind))
                await user.until(lambda words=words, table=table: start_of(words) in user.part(table), kind)
                assert harmless(user)
        for kind in FEW:
            words = HOSTILE[kind]
            await user.go(5)
            user.window.query_one("#models-table").go_to(run_of(user, kind))
            await user.keys("a")
            await user.until(lambda words=words: f"from {start_of(words)}" in user.row("4 Generate"), kind)
            await user.see_notification(start_of(words, 3))
            assert harmless(user)
            user.window.clear_notifications()
        await user.keys("3", "enter")
        await user.see("a new run")
        for _ in HOSTILE:
            await user.repeat("down", 1)
            assert harmless(user)
        await user.keys("escape")


async def test_hostile_text_in_the_details_of_a_run_is_shown_literally(open_window: Any, hostile_store: Store) -> None:
    """Facts, log, config, differences and samples show the contents of the files literally."""
    async with open_window(hostile_store, (100, 30)) as user:
        for kind in FEW:
            words = HOSTILE[kind]
            start = start_of(words)
            user.window.open_details(run_of(user, kind))
            await user.until(lambda: isinstance(user.screen, Details))
            await user.until(lambda: user.screen.query("#facts"), "the facts")
            await user.until(lambda start=start: start in user.part("#facts"), f"{kind} in the facts")
            assert harmless(user)
            await user.until(lambda: user.screen.query_one("#big-curve", Curve).shown, "the curve")
            await user.keys("2")
            seen = f"the log says {start}" if kind != "long" else "xxxx"  # a log is opened at its end
            await user.until(lambda seen=seen: seen in user.text, f"{kind} in the log")
            await user.keys("3")
            await user.until(lambda start=start: start in user.text.split("preset")[0], f"{kind} in the config")
            assert harmless(user)
            await user.keys("4")
            other = user.screen.query_one("#other", Select)
            other.value = run_of(user, "quotes" if kind != "quotes" else "wide")
            await user.pilot.pause()
            assert harmless(user)
            await user.keys("5")
            await user.until(lambda start=start: start in user.text.split("step 55")[-1], f"{kind} in the samples")
            assert harmless(user)
            await user.keys("escape")
            await user.until(lambda: not isinstance(user.screen, Details))
            user.window.open_details(run_of(user, kind, "elm"))
            await user.until(lambda: user.screen.query("#facts"), "the facts")
            await user.until(lambda start=start: user.part("#facts").count(start) >= 2, f"{kind} as a reason")
            assert harmless(user)
            await user.keys("escape")
            await user.until(lambda: not isinstance(user.screen, Details))


async def test_hostile_text_in_dialogs_and_notifications_is_shown_literally(
    open_window: Any, hostile_store: Store
) -> None:
    """The dialogs of delete, resume and rename, and the notifications, name the run literally."""
    async with open_window(hostile_store, (80, 24)) as user:
        for kind in FEW:
            words = HOSTILE[kind]
            start = start_of(words)
            run_id = run_of(user, kind)
            user.window.delete(run_id)
            await user.see("Delete this run?")
            await user.until(lambda start=start: start in user.part(".dialog-body"), f"{kind} in the dialog")
            assert harmless(user)
            await user.keys("n")
            user.window.resume(run_of(user, kind, "elm"))
            await user.see("Resume this run?", start)
            assert harmless(user)
            await user.keys("n")
            user.window.rename(run_id)
            await user.until(lambda: isinstance(user.screen, Rename) and user.screen.query(Input), "the name")
            assert user.screen.query_one(Input).value.startswith(start)
            assert harmless(user)
            await user.keys("escape")
            user.window.archive(run_id)
            await user.see_notification(start_of(words, 3))
            assert harmless(user)
            user.window.clear_notifications()
            await user.until(lambda: len(user.window.screen_stack) == 1, "the panels")
        assert not isinstance(user.screen, Confirm)


async def test_hostile_text_that_is_pasted_is_shown_literally(open_window: Any, hostile_store: Store) -> None:
    """The filter, names, the data source, all options and the prompt accept any pasted text."""
    async with open_window(hostile_store, (80, 24)) as user:
        for kind in ("closing", "long"):
            words = HOSTILE[kind]
            start = start_of(words)
            await user.go(1)
            await user.keys("slash")
            await user.paste(words)
            await user.until(lambda start=start: f"filter: {start}" in user.row("1 Runs"), f"{kind} as a filter")
            assert harmless(user)
            if kind == "closing":
                assert any(f"-{kind}-" in run_id for run_id in user.window.query_one("#runs-table").ids)
            await user.keys("escape")
            await user.go(3)
            for name in ("run-name", "data", "device"):
                user.window.query_one(f"#{name}").focus()
                await user.paste(words)
            await user.keys("ctrl+s", "y")
            assert harmless(user)
            await user.keys("escape", "ctrl+r", "ctrl+o")
            await user.until(lambda: isinstance(user.screen, AllOptions))
            await user.keys("down", "enter")
            await user.paste(words)
            await user.keys("enter")
            assert harmless(user)
            await user.keys("escape", "escape")
            await user.until(lambda: not isinstance(user.screen, AllOptions))
            await user.go(4)
            user.window.panel(GeneratePanel).query_one(Prompt).text = ""
            await user.paste(words)
            seen = start if kind != "long" else "xxxx"  # the cursor is at its end
            await user.until(lambda seen=seen: seen in user.part("#prompt"), f"{kind} in the prompt")
            assert harmless(user)
            await user.keys("escape")
            user.window.clear_notifications()
    assert len(hostile_store.all()) == 2 * len(HOSTILE)


GENERATOR = """
import json, sys
json.load(sys.stdin)
print(json.dumps({"ready": True}), flush=True)
for words in json.loads(open(__file__ + ".json").read()):
    for part in (words[: len(words) // 2], words[len(words) // 2 :], "\\n"):
        print(json.dumps({"sample": 0, "text": part}), flush=True)
print(json.dumps({"sample": 0, "done": True, "finish": "stop", "tokens": 9, "seed": 1, "elapsed_s": 1.0}), flush=True)
"""


@pytest.fixture
def hostile_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake generation process that writes every hostile text, each in two pieces."""
    script = tmp_path / "generator.py"
    script.write_text(GENERATOR)
    script.with_name("generator.py.json").write_text(json.dumps(list(HOSTILE.values())))
    monkeypatch.setattr(launching, "JOBS", (sys.executable, str(script)))


async def test_hostile_text_that_a_model_writes_is_shown_literally(
    open_window: Any, store: Store, hostile_model: None
) -> None:
    """The output of a model is shown as text, even if a piece ends in the middle of an escape sequence."""
    async with open_window(store, (200, 60)) as user:
        await user.go(4)
        await user.type("x")
        await user.keys("enter", "z")
        await user.until(lambda: "9 tokens, 9 tokens/s, end of text, seed 1" in user.text, "the end")
        await user.keys("escape", "z", "home")
        await user.until(lambda: all(start_of(words, 3) in user.text for words in HOSTILE.values()), "all of it")
        assert harmless(user)
        await user.keys("end")
        await user.until(lambda: "[link" not in user.part("#output-scroll"), "the end")
        assert harmless(user)


async def test_a_store_path_with_markup_is_shown_literally(open_window: Any, store: Store, tmp_path: Path) -> None:
    """Brackets in the path of the store stay brackets."""
    place = tmp_path / "[bold]red[" / "] 漢字"
    place.mkdir(parents=True)
    os.rename(store.root, place / "runs")
    async with open_window(Store(place / "runs"), (200, 60)) as user:
        await user.go(5)
        await user.until(lambda: "[bold]red[/]漢字" in "".join(user.part("#model-about").split()), "the path")
        await user.keys("c")
        await user.see_notification("Copied: ")
        assert harmless(user)
    os.rename(place / "runs", store.root)
