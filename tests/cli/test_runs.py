"""`seedbed runs`: filters, order and formats; and the names, tags, notes and archive of runs."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.cli.runs import data
from seedbed.events import Eval, Run, Step
from seedbed.runs.labels import change_tags, set_archived
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir, Store
from seedbed.runs.tasks import create_task


def make(store: Store, name: str, status: str = "completed", loss: float | None = None, steps: int = 1) -> RunDir:
    """A run as a job leaves it; no process is started."""
    run = store.create("train", name, "", {"preset": "nano", "data": "stories"})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=9, device="cpu"))
        for step in range(1, steps + 1):
            session.emit(Step(step=step, loss=loss or 1.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1))
        if loss is not None:
            session.emit(Eval(step=steps, loss=loss, perplexity=2.0, tokens=1))
        session.finish(status)
    return run


@pytest.fixture
def store(desk: Any) -> Store:
    """Runs of many kinds, the last one archived."""
    made = Store(desk.runs)
    change_tags(make(made, "Anna Karenina", loss=3.0, steps=3), ["novel", "keep"])
    change_tags(make(made, "war and peace", "failed", loss=1.0), ["novel"])
    make(made, "stories", "stopped", loss=2.0, steps=2)
    make(made, "no loss", "failed")
    set_archived(make(made, "old novel", "failed"), True)
    return made


def test_tasks_that_failed_or_were_killed_are_listed(desk: Any) -> None:
    store = Store(desk.runs)
    for status in ("completed", "stopped", "failed", "lost", "archived"):
        task = create_task(store, "prepare", status, "", desk.folder / "data" / status)
        with Session(task.path) as session:
            session.emit(Run(status="running", session=1))
            if status != "lost":
                session.finish("failed" if status == "archived" else status)
    set_archived(task, True)
    assert names(desk) == ["failed", "lost"]
    assert sorted(names(desk, "--all")) == ["archived", "completed", "failed", "lost", "stopped"]
    shown = desk.seedbed("runs").stdout
    assert "lost" in shown
    assert "failed" in shown


def test_the_queue_says_that_a_task_runs_beside_it(desk: Any) -> None:
    """It said that nothing runs."""
    task = create_task(Store(desk.runs), "merge", "full", "", desk.folder / "data" / "full")
    with Session(task.path) as session:
        session.emit(Run(status="running", session=1))
        shown = desk.seedbed("queue").stderr
        assert "No run is running or queued" in shown
        assert "1 task is running" in shown
        assert json.loads(desk.seedbed("queue", "--json").stdout) == []
        session.finish("completed")
    assert "task" not in desk.seedbed("queue").stderr


def names(desk: Any, *words: str) -> list[str]:
    done = desk.seedbed("runs", "--json", *words)
    return [each["name"] for each in json.loads(done.stdout)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["Anna Karenina", "war and peace", "stories", "no loss"]),
        (["--all"], ["Anna Karenina", "war and peace", "stories", "no loss", "old novel"]),
        (["--archived"], ["old novel"]),
        (["--status", "failed"], ["war and peace", "no loss"]),
        (["--status", "failed,stopped"], ["war and peace", "stories", "no loss"]),
        (["--status", "failed", "--status", "completed"], ["Anna Karenina", "war and peace", "no loss"]),
        (["--status", "running"], []),
        (["--tag", "novel"], ["Anna Karenina", "war and peace"]),
        (["--tag", "NOVEL", "--tag", "keep"], ["Anna Karenina"]),
        (["--tag", "none"], []),
        (["--name", "AN"], ["Anna Karenina", "war and peace"]),
        (["--name", "novel"], []),
        (["--name", "novel", "--all"], ["old novel"]),
        (["--name", "[a-z]*"], []),
        (["--sort", "name"], ["Anna Karenina", "no loss", "stories", "war and peace"]),
        (["--sort", "val_loss"], ["war and peace", "stories", "Anna Karenina", "no loss"]),
        (["--sort", "val_loss", "--reverse"], ["Anna Karenina", "stories", "war and peace", "no loss"]),
        (["--sort", "val_loss", "--limit", "2"], ["war and peace", "stories"]),
        (["--sort", "step", "--reverse", "--limit", "1"], ["Anna Karenina"]),
        (["--reverse"], ["no loss", "stories", "war and peace", "Anna Karenina"]),
        (["--limit", "2"], ["stories", "no loss"]),
        (["--limit", "2", "--reverse"], ["no loss", "stories"]),
        (["--limit", "1", "--status", "stopped"], ["stories"]),
        (["--limit", "99"], ["Anna Karenina", "war and peace", "stories", "no loss"]),
    ],
)
@pytest.mark.usefixtures("store")
def test_filters_and_order(desk: Any, words: list[str], expected: list[str]) -> None:
    assert names(desk, *words) == expected


@pytest.mark.usefixtures("store")
def test_runs_says_how_many_archived_runs_it_leaves_out(desk: Any) -> None:
    assert "1 archived run is not listed" in desk.seedbed("runs").stderr
    assert "archived" not in desk.seedbed("runs", "--all").stderr
    done = desk.seedbed("runs", "--tag", "keep", "--json")
    assert done.stderr == "", "an archived run without that tag was counted"
    assert "No run matches" in desk.seedbed("runs", "--status", "running").stderr


def test_a_store_of_archived_runs_is_not_reported_as_empty(desk: Any) -> None:
    set_archived(make(Store(desk.runs), "alpha"), True)
    done = desk.seedbed("runs")
    assert done.stdout == ""
    assert "1 archived run is not listed" in done.stderr
    assert "no runs" not in done.stderr


@pytest.mark.parametrize(
    ("words", "expected_error"),
    [
        (["--status", "sleeping"], "running"),
        (["--status", ""], "running"),
        (["--tag", "two words"], "not a valid tag"),
        (["--sort", "beauty"], "val_loss"),
        (["--limit", "0"], "--limit"),
        (["--limit", "-1"], "--limit"),
        (["--all", "--archived"], "not allowed"),
        (["--csv", "--json"], "not allowed"),
    ],
)
@pytest.mark.usefixtures("store")
def test_invalid_filters_are_refused(desk: Any, words: list[str], expected_error: str) -> None:
    done = desk.seedbed("runs", *words, expect=2)
    assert expected_error in done.stderr
    assert done.stdout == ""


def test_csv_and_json_hold_the_same_values(desk: Any, store: Store) -> None:
    (store.all()[0].labels).write_text(json.dumps({"name": 'a,"b"\n\x1bc', "tags": ["x", "y"]}))
    found = json.loads(desk.seedbed("runs", "--json").stdout)
    raw = desk.seedbed("runs", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert len(rows) == len(found) == 4
    for row, each in zip(rows, found, strict=True):
        assert row.keys() == each.keys()
        assert row["id"] == each["id"]
        assert row["val_loss"] == ("" if each["val_loss"] is None else repr(each["val_loss"]))
        assert row["simulated"] == "false"
        assert row["name"] == each["name"]
    assert rows[0]["tags"] == "x y"
    assert "\x1b" not in desk.terminal("runs", "--csv"), "an escape code in a name reaches the terminal"
    assert raw.splitlines()[0].startswith("id,name,tags")


@pytest.mark.usefixtures("store")
def test_tags_are_shown_only_where_the_terminal_is_wide_enough(desk: Any) -> None:
    assert "keep novel" in desk.seedbed("runs").stdout
    assert "TAGS" in desk.terminal("runs", columns=160)
    narrow = desk.terminal("runs", columns=72)
    assert "TAGS" not in narrow
    assert all(len(line) <= 72 for line in narrow.splitlines()[:-1])
    assert "TAGS" not in desk.seedbed("runs", "--status", "stopped").stdout, "an empty column is shown"


def test_a_file_in_place_of_the_runs_folder_is_refused(desk: Any) -> None:
    desk.runs.write_text("a file")
    for command in (["runs"], ["queue"], ["du"], ["prune", "--keep", "1", "--yes"], ["logs"], ["metrics", "--csv"]):
        assert "is a file, not a folder of runs" in desk.seedbed(*command, expect=2).stderr


def test_a_thousand_runs_are_listed_within_half_a_second(desk: Any) -> None:
    first = make(Store(desk.runs), "alpha", loss=2.0)
    files = {path.name: path.read_bytes() for path in first.path.iterdir() if path.is_file()}
    for number in range(1000):
        folder = desk.runs / f"20200101-000000-{number:03d}-copy-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        out = desk.seedbed("runs").stdout
        times.append(time.perf_counter() - begun)
    assert len(out.splitlines()) == 1002
    assert min(times) < patience.limit(0.5)


# Names, tags and the archive -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("store")
def test_rename_changes_the_name_and_refuses_invalid_names(desk: Any) -> None:
    assert '"stories" is renamed to "tales"' in desk.seedbed("rename", "stories", "tales").stdout
    assert json.loads(desk.seedbed("rename", "tales", "Tales 2", "--json").stdout)["name"] == "Tales 2"
    assert names(desk, "--name", "tales") == ["Tales 2"]
    for name, expected_error in (
        ("no loss", 'already called "no loss"'),
        ("a/b", "not a valid run name"),
        ("", "not a valid run name"),
        ("latest", ""),
    ):
        assert expected_error in desk.seedbed("rename", "tales 2", name, expect=2).stderr
    assert "no run" in desk.seedbed("rename", "nothing", "x", expect=2).stderr
    desk.seedbed("rename", "tales 2", expect=2)
    assert names(desk, "--name", "tales") == ["Tales 2"]


@pytest.mark.usefixtures("store")
def test_tag_adds_and_removes_tags_and_refuses_invalid_ones(desk: Any) -> None:
    assert desk.seedbed("tag", "stories").stdout == ""
    assert desk.seedbed("tag", "stories", "Good", "v1.2").stdout.split() == ["good", "v1.2"]
    done = desk.seedbed("tag", "stories", "--remove", "good", "--remove", "absent")
    assert done.stdout.split() == ["v1.2"]
    assert 'has no tag "absent"' in done.stderr
    assert json.loads(desk.seedbed("tag", "stories", "x", "--remove", "v1.2", "--json").stdout)["tags"] == ["x"]
    for words in (["two words"], ["ok", "\x1b[31m"], ["--remove", "a/b"], ["x" * 33], ["ä"]):
        done = desk.seedbed("tag", "stories", *words, expect=2)
        assert "is not a valid tag" in done.stderr
        assert "\x1b" not in done.stderr
    assert "17 tags" in desk.seedbed("tag", "stories", *(f"t{n}" for n in range(16)), expect=2).stderr
    assert desk.seedbed("tag", "stories").stdout.split() == ["x"]


@pytest.mark.usefixtures("store")
def test_archive_archives_all_the_named_runs_or_none(desk: Any) -> None:
    desk.seedbed("archive", "stories", "nothing", expect=2)
    assert "stories" in names(desk)
    assert desk.seedbed("archive", "stories", "no loss", "stories").stdout.count("is archived") == 2
    assert names(desk) == ["Anna Karenina", "war and peace"]
    assert desk.status()["name"] == "war and peace", "`latest` means an archived run"
    assert desk.status("stories")["archived"]
    assert "does not list it" in desk.seedbed("status", "stories").stdout
    assert '"stories" is listed again' in desk.seedbed("unarchive", "stories").stdout
    assert "stories" in names(desk)
    desk.seedbed("archive", expect=2)


def test_the_error_for_an_ambiguous_name_lists_the_matching_runs(desk: Any) -> None:
    first, second = (make(Store(desk.runs), "same") for _ in range(2))
    for words in (["rename", "same", "x"], ["tag", "same", "x"], ["archive", "same"], ["delete", "same", "--yes"]):
        error = desk.seedbed(*words, expect=2).stderr
        assert first.id in error
        assert second.id in error
    assert all(Path(each.path).exists() for each in (first, second))


def test_a_stopping_run_matches_the_status_filters_stopping_and_running(desk: Any) -> None:
    run = Store(desk.runs).create("train", "alpha", "", {})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=9, device="cpu"))
        desk.seedbed("stop")
        for word, found in (("stopping", 1), ("running", 1), ("pausing,paused", 0)):
            listed = json.loads(desk.seedbed("runs", "--status", word, "--json").stdout)
            assert len(listed) == found, word
        assert "stopping" in desk.seedbed("runs", "--status", "stopping").stdout
        session.finish("stopped")
    assert json.loads(desk.seedbed("runs", "--status", "stopping", "--json").stdout) == []


def test_a_note_is_written_shown_and_removed(desk: Any) -> None:
    run = make(Store(desk.runs), "alpha")
    assert "has no note" in desk.seedbed("note", "alpha").stderr
    assert desk.seedbed("note", "alpha", "a larger batch").stdout == "a larger batch\n"
    assert "  a larger batch\n" in desk.seedbed("status", "alpha").stdout
    desk.seedbed("note", "alpha", "-", stdin="first\x1b[31m line\nsecond line\n")
    shown = desk.seedbed("status", "alpha").stdout
    assert "  first line\n  second line\n" in shown
    assert json.loads(desk.seedbed("note", "alpha", "--json").stdout) == {
        "id": run.id,
        "name": "alpha",
        "tags": [],
        "archived": False,
        "note": "first\x1b[31m line\nsecond line",
    }
    for words, expected_error in ((("",), "is empty"), (("x", "--remove"), "--remove"), (("x" * 2001,), "2,000")):
        assert expected_error in desk.seedbed("note", "alpha", *words, expect=2).stderr
    desk.seedbed("note", "alpha", "--remove")
    assert "larger" not in desk.seedbed("status", "alpha").stdout
    assert desk.seedbed("note", "alpha").stdout == ""


def test_runs_are_listed_with_preset_data_size_and_age(desk: Any) -> None:
    desk.train("--name", "alpha", steps=3)
    desk.train("--name", "a rather long name for one run", "--preset", "tiny", steps=3)
    header, first, _ = desk.seedbed("runs").stdout.splitlines()
    for column, value in (("PRESET", "nano"), ("DATA", "stories"), ("PARAMS", "1.12M"), ("AGE", "s")):
        assert column in header
        assert value in first
    assert "ID" in header
    narrow = desk.terminal("runs", columns=80).splitlines()
    assert all(len(line) <= 80 for line in narrow)
    assert "VAL LOSS" in narrow[0]
    assert "ID" in desk.terminal("runs", columns=160).splitlines()[0]
    for command in (("runs",), ("du",), ("metrics",), ("status", "alpha")):
        lines = [line for line in desk.terminal(*command, columns=40).splitlines() if str(desk.folder) not in line]
        assert len(lines) > 1
        assert max(map(len, lines)) <= 40, command


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("stories", "stories"),
        ("text:/home/me/novels/", "novels"),
        ("text:a.txt", "a.txt"),
        ("hf:roneneldan/TinyStories", "hf:TinyStories"),
        ("/data/prepared", "prepared"),
        ("", ""),
    ],
)
def test_a_source_is_shown_by_its_last_part(source: str, shown: str) -> None:
    assert data(source) == shown
