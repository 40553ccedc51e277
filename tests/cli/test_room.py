"""Freeing disk space with `seedbed delete`, `du` and `prune`: what they delete, after a question, and what they keep."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from seedbed.events import Checkpoint, Data, Run, Step
from seedbed.runs.labels import set_archived
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir, Store

SLOW = {"FAKE_STEP_S": "0.03"}
DAY_S = 86400.0


def make(desk: Any, name: str, status: str = "completed", steps: tuple[int, ...] = (), fingerprint: str = "") -> RunDir:
    """A run as a job leaves it, with a checkpoint of 1,000 bytes of weights at each of the steps; the first is the best."""
    run = Store(desk.runs).create("train", name, "", {})
    with Session(run.path) as session:
        if fingerprint:
            session.emit(Data(stage="dataset", done=1, fingerprint=fingerprint))
        session.emit(Run(status="running", session=1, steps=1000))
        session.emit(Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=1, step_s=0.1))
        for step in steps:
            folder = run.checkpoints / f"step-{step:08d}"
            folder.mkdir(parents=True)
            weights = step.to_bytes(1000, "big")
            (folder / "model.safetensors").write_bytes(weights)
            files = {"model.safetensors": {"size_bytes": 1000, "sha256": hashlib.sha256(weights).hexdigest()}}
            marker = {"format": 1, "step": step, "best": step == steps[0], "files": files}
            (folder / "DONE").write_text(json.dumps(marker))
            session.emit(Checkpoint(step=step, path=str(folder), best=step == steps[0]))
        session.finish(status)
    return run


def make_dataset(desk: Any, key: str, fingerprint: str, idle_s: float = 0.0) -> Path:
    folder: Path = desk.folder / "cache" / "datasets" / key
    folder.mkdir(parents=True)
    (folder / "train-00000.ds").write_bytes(b"x" * 5000)
    (folder / "manifest.json").write_text(json.dumps({"name": f"text \x1b[31m{key}", "fingerprint": fingerprint}))
    when = time.time() - idle_s
    os.utime(folder / "manifest.json", (when, when))
    return folder


@pytest.fixture(autouse=True)
def _separate_kernel_cache(desk: Any) -> None:
    desk.environment["TORCHINDUCTOR_CACHE_DIR"] = str(desk.folder / "kernels")


def run_names(desk: Any) -> list[str]:
    return [run.name() for run in Store(desk.runs).all()]


def on_disk(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


# Delete --------------------------------------------------------------------------------------------------------------


def test_delete_asks_first_and_deletes_only_after_a_yes(desk: Any) -> None:
    run = make(desk, "alpha", steps=(5, 6))
    make(desk, "beta")
    for keys in ("n\n", "\n", "what\n", "\x04"):
        shown = desk.terminal("delete", "alpha", "beta", keys=keys, expect=1)
        assert run.id in shown
        assert "KiB" in shown
        assert "Delete these 2 runs permanently" in shown
        assert "Nothing was deleted." in shown
    assert run_names(desk) == ["alpha", "beta"]
    assert "Deleted" in desk.terminal("delete", "alpha", keys="y\n")
    assert run_names(desk) == ["beta"]
    assert [path.name for path in desk.runs.iterdir()] == [Store(desk.runs).all()[0].id]


def test_ctrl_c_at_the_question_deletes_nothing(desk: Any) -> None:
    make(desk, "alpha")
    leader, terminal = os.openpty()
    asking = desk.start("delete", "alpha", stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(leader, 4096)
    press_ctrl_c(asking)
    assert asking.returncode == 130
    os.close(leader)
    assert run_names(desk) == ["alpha"]


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Send SIGINT until the process has ended: a signal just before its read starts does not interrupt that read."""
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


def test_delete_without_a_terminal_needs_the_yes_option(desk: Any) -> None:
    make(desk, "alpha")
    error = desk.seedbed("delete", "alpha", stdin="y\n", expect=2).stderr
    assert "--yes" in error
    assert run_names(desk) == ["alpha"]
    assert "Deleted" in desk.seedbed("delete", "alpha", "alpha", "--yes").stdout
    assert run_names(desk) == []
    assert "no runs" in desk.seedbed("delete", "latest", "--yes", expect=2).stderr


def test_delete_removes_all_the_named_runs_or_none(desk: Any) -> None:
    make(desk, "alpha")
    desk.seedbed("train", "--set", "train.steps=1000000", "--background", "--name", "living", env=SLOW)
    desk.at_step(3)
    assert "nothing" in desk.seedbed("delete", "alpha", "nothing", "--yes", expect=2).stderr
    error = desk.seedbed("delete", "alpha", "living", "--yes", expect=1).stderr
    assert "is running" in error
    assert "seedbed stop" in error
    assert run_names(desk) == ["alpha", "living"]
    assert desk.status("living")["status"] == "running"
    desk.seedbed("pause", "living", "--wait")
    assert "is paused" in desk.seedbed("delete", "living", "--yes", expect=1).stderr
    desk.seedbed("stop", "living", "--wait")
    desk.seedbed("delete", "living", "--yes")
    assert run_names(desk) == ["alpha"]


# du ------------------------------------------------------------------------------------------------------------------


def test_du_totals_equal_the_sizes_on_disk(desk: Any) -> None:
    small, large = make(desk, "small", fingerprint="f1"), make(desk, "large", steps=(1, 2, 3))
    gone = desk.runs / ".20260101-000000-000-x.1.gone"
    gone.mkdir()
    (gone / "weights").write_bytes(b"x" * 77)
    folder = make_dataset(desk, "a1", "f1", idle_s=3 * DAY_S)
    found = json.loads(desk.seedbed("du", "--json").stdout)
    assert [each["id"] for each in found["runs"]] == [large.id, small.id]
    for each, run in zip(found["runs"], (large, small), strict=True):
        assert each["total_bytes"] == on_disk(run.path)
        assert each["total_bytes"] == each["checkpoints_bytes"] + each["log_bytes"] + each["rest_bytes"]
    assert found["runs"][0]["checkpoints_bytes"] == on_disk(large.checkpoints)
    assert found["runs_bytes"] == on_disk(desk.runs)
    (cached,) = found["caches"]
    assert (cached["kind"], cached["total_bytes"], cached["used_by"]) == ("dataset", on_disk(folder), [small.id])
    assert not cached["in_use"]
    assert found["caches_bytes"] == on_disk(desk.folder / "cache")
    disk = os.statvfs(desk.folder)
    assert found["runs_free_bytes"] == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)
    out = desk.seedbed("du").stdout
    for part in ("large", "small", gone.name, "text a1", "1 run", "3d", "free"):
        assert part in out
    assert "\x1b" not in out


def test_du_leaves_out_an_empty_unfinished_dataset(desk: Any) -> None:
    folder = make_dataset(desk, "a1", "used").parent
    (folder / ".0123abcd.partial").mkdir()
    assert ".0123abcd.partial" not in desk.seedbed("du").stdout
    (folder / ".0123abcd.partial" / "train-00000.ds").write_bytes(b"x" * 100)
    assert "unfinished dataset" in desk.seedbed("du").stdout


def test_du_without_runs_shows_zero_and_creates_no_folder(desk: Any) -> None:
    found = json.loads(desk.seedbed("du", "--json").stdout)
    assert (found["runs"], found["caches"], found["runs_bytes"]) == ([], [], 0)
    assert "0 B" in desk.seedbed("du").stdout
    assert not desk.runs.exists()


# prune ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--older-than, --keep, --status, --archived, --checkpoints, --caches"),
        (["--dry-run"], "--older-than, --keep"),
        (["--keep", "0"], "--keep"),
        (["--keep", "-2"], "--keep"),
        (["--keep", "many"], "--keep"),
        (["--older-than", "nonsense"], "30d"),
        (["--older-than", "30"], "30d"),
        (["--older-than", "d"], "30d"),
        (["--older-than", "1e9d"], "30d"),
        (["--older-than=-3d"], "30d"),
        (["--older-than", "infd"], "30d"),
        (["--older-than", ""], "30d"),
        (["--status", "running"], "completed"),
        (["--status", "failed,"], "completed"),
        (["--caches", "--archived"], "--older-than"),
        (["--caches", "--keep", "1"], "--older-than"),
        (["--keep", "1", "--yes", "--dry-run"], "not allowed"),
        (["--keep", "1"], "--yes"),
        (["--keep", "1", "--json"], "--yes"),
    ],
)
def test_invalid_prune_options_are_refused_and_delete_nothing(desk: Any, words: list[str], expected: str) -> None:
    make(desk, "alpha")
    make(desk, "beta")
    assert expected in desk.seedbed("prune", *words, expect=2).stderr
    assert run_names(desk) == ["alpha", "beta"]


def test_prune_lists_the_runs_asks_and_deletes_them(desk: Any) -> None:
    kept, failed = make(desk, "kept"), make(desk, "failed one", "failed")
    words = ("prune", "--status", "failed,stopped,lost")
    assert failed.id in desk.seedbed(*words, "--dry-run").stdout
    assert run_names(desk) == ["kept", "failed one"]
    shown = desk.terminal(*words, keys="n\n", expect=1)
    assert failed.id in shown
    assert kept.id not in shown
    assert "Nothing was deleted." in shown
    assert "Delete all of this permanently" in desk.terminal(*words, keys="yes\n")
    assert run_names(desk) == ["kept"]
    assert "Nothing to prune." in desk.seedbed(*words, "--yes").stdout


def test_prune_json_gives_the_plan_and_the_freed_bytes(desk: Any) -> None:
    runs = [make(desk, f"run {number}") for number in range(4)]
    planned = json.loads(desk.seedbed("prune", "--keep", "1", "--dry-run", "--json").stdout)
    assert [each["id"] for each in planned["runs"]] == [run.id for run in runs[2::-1]]
    assert planned["total_bytes"] == sum(on_disk(run.path) for run in runs[:3])
    assert (planned["freed_bytes"], planned["dry_run"]) == (0, True)
    assert len(run_names(desk)) == 4
    done = json.loads(desk.seedbed("prune", "--keep", "1", "--yes", "--json").stdout)
    assert done["freed_bytes"] == planned["total_bytes"]
    assert run_names(desk) == ["run 3"]


def test_prune_keeps_live_runs_and_deletes_archived_ones_only_with_archived(desk: Any) -> None:
    set_archived(make(desk, "archived", "failed"), True)
    make(desk, "over")
    desk.seedbed("train", "--set", "train.steps=1000000", "--background", "--name", "living", env=SLOW)
    desk.at_step(3)
    desk.seedbed("train", "--set", "train.steps=3", "--queue", "--name", "waiting")
    desk.seedbed("prune", "--older-than", "0s", "--yes")
    assert run_names(desk) == ["archived", "living", "waiting"]
    desk.seedbed("prune", "--archived", "--yes")
    assert run_names(desk) == ["living", "waiting"]
    desk.seedbed("stop", "waiting", "--wait")
    desk.seedbed("stop", "living", "--wait")
    assert desk.seedbed("prune", "--older-than", "1h", "--yes").stdout.strip() == "Nothing to prune."
    desk.seedbed("prune", "--status", "stopped", "--older-than", "0s", "--yes")
    assert run_names(desk) == []


def test_prune_checkpoints_keeps_only_the_best_and_the_latest(desk: Any) -> None:
    run = make(desk, "alpha", "stopped", steps=(20, 30, 9, 100))
    other = make(desk, "beta", steps=(1,))
    shown = desk.seedbed("prune", "--checkpoints", "--dry-run").stdout
    assert "20, 100" in shown
    assert "9, 30" in shown
    assert other.id not in shown
    assert len(list(run.checkpoints.iterdir())) == 4
    desk.seedbed("prune", "--checkpoints", "--yes")
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-00000020", "step-00000100"]
    assert desk.status("alpha")["checkpoint_step"] == 100
    assert desk.status("alpha")["best_checkpoint"].endswith("step-00000020")
    assert run_names(desk) == ["alpha", "beta"]
    assert "Nothing to prune." in desk.seedbed("prune", "--checkpoints", "--yes").stdout


def test_prune_deletes_caches_that_are_unused_or_old(desk: Any) -> None:
    make(desk, "alpha", fingerprint="used")
    used = make_dataset(desk, "a1", "used", idle_s=40 * DAY_S)
    fresh = make_dataset(desk, "a2", "fresh")
    stale = make_dataset(desk, "a3", "stale", idle_s=10 * DAY_S)
    shown = desk.seedbed("prune", "--caches", "--dry-run").stdout
    assert "text a3" in shown
    assert "text a2" in shown
    assert "text a1" not in shown
    desk.seedbed("prune", "--caches", "--older-than", "30d", "--yes")
    assert [used.exists(), fresh.exists(), stale.exists()] == [False, True, True]
    desk.seedbed("prune", "--caches", "--yes")
    assert [fresh.exists(), stale.exists()] == [False, False]
    assert run_names(desk) == ["alpha"]


def test_prune_deletes_the_remains_of_interrupted_deletions(desk: Any) -> None:
    make(desk, "alpha")
    old, new = (desk.runs / f".20260101-000000-000-{name}.x.gone" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "weights").write_bytes(b"x" * 77)
    os.utime(old, (1, 1))
    done = json.loads(desk.seedbed("prune", "--older-than", "1d", "--yes", "--json").stdout)
    assert done["freed_bytes"] == 77
    assert [old.exists(), new.exists()] == [False, True]
    assert run_names(desk) == ["alpha"]


def test_prune_reports_a_run_that_it_cannot_delete_and_deletes_the_rest(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root removes everything")
    first, second = make(desk, "first"), make(desk, "second")
    second.path.chmod(0o500)
    done = desk.seedbed("prune", "--older-than", "0s", "--yes", expect=1)
    (left,) = desk.runs.glob(f".{second.id}.*.gone")
    left.chmod(0o700)
    assert left.name in done.stderr
    assert run_names(desk) == []
    assert not first.path.exists()


def test_a_path_that_is_not_utf_8_is_shown_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    from seedbed.cli.console import note, say

    name = os.fsdecode(b"caf\xe9")
    say(name)
    note(name)
    assert capsys.readouterr() == ("caf\\xe9\n", "caf\\xe9\n")
