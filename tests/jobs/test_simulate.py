"""A simulated run is logged like any other; it stops at once, and a resume continues it as if it had not stopped."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

import patience
from seedbed.config.frozen import dump
from seedbed.config.resolving import resolve
from seedbed.config.roots import SIMULATE
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Event, Hardware, Message, Run, encode
from seedbed.jobs import simulate
from seedbed.jobs.__main__ import run_job
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.log import Reader
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.simulate import failures

SETS = (
    "simulate.model=llama3-8b",
    "cluster.gpus=64xH100",
    "simulate.tokens=2e10",
    "simulate.global_batch=4194304",
    "failures.rate=5000",
    "failures.repair_s=600",
    "simulate.seed=3",
)


def made(folder: Path, *sets: str) -> RunDir:
    wanted = resolve(SIMULATE, sets=[*SETS, *sets])
    return Store(folder / "runs").create("simulate", "there", dump(wanted.config, wanted.origins), {"simulated": True})


def play(run: RunDir) -> int:
    return run_job(run.path, ResumeOptions(), StartCondition())


def simulated_lines(run: RunDir) -> list[tuple[float, str, str]]:
    """Time, kind and fields of every line, without those of sessions and without the numbers of lines."""
    return [(record.t, record.kind, str(record.raw)) for record in Reader(run.events).new() if record.kind != Run.kind]


def test_the_run_ends_with_the_planned_steps_tokens_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    run = made(tmp_path)
    assert play(run) == 0
    found = status(run)
    assert found["status"] == "completed"
    assert found["simulated"]
    assert found["step"] == found["steps"] == round(2e10 / 4_194_304)
    assert found["tokens"] == found["steps"] * 4_194_304
    assert found["parameters"] == 8_030_261_248
    assert found["device_name"] == "64 x H100-SXM-80GB"
    assert found["metrics"]["interruptions"] > 0
    assert 0 < found["metrics"]["goodput"] < 1
    assert found["elapsed_s"] == pytest.approx(simulated_lines(run)[-1][0], abs=1)
    assert found["val_loss"] == pytest.approx(found["loss"], rel=0.05)


@pytest.mark.parametrize("speed", [1e9, 3e5])
def test_the_log_has_the_same_bytes_at_any_speed(tmp_path: Path, speed: float) -> None:
    fast, slow = made(tmp_path / "a"), made(tmp_path / "b", f"playback.speed={speed}")
    play(fast)
    play(slow)
    first = [line for line in fast.events.read_bytes().splitlines() if b'"kind":"run"' not in line]
    assert first == [line for line in slow.events.read_bytes().splitlines() if b'"kind":"run"' not in line]


def test_a_resume_continues_as_if_the_run_had_not_stopped(tmp_path: Path) -> None:
    whole, parts = made(tmp_path / "a"), made(tmp_path / "b")
    play(whole)
    for _ in range(3):
        request_after(300, "stop", parts)
        assert status(parts)["status"] == "stopped"
    sessions = [event for record in Reader(parts.events).new() if isinstance(event := record.event, Run)]
    steps = [event.step for event in sessions if event.simulated]
    assert steps[0] == 0
    assert 0 < steps[1] < steps[2]
    assert play(parts) == 0
    assert simulated_lines(parts) == simulated_lines(whole)
    assert status(parts)["elapsed_s"] == pytest.approx(status(whole)["elapsed_s"], abs=1)


def request_after(events: int, request: str, run: RunDir) -> None:
    """Play a run for one session, to which a request is sent after a number of events."""
    with Session(run.path) as session:
        emit, count = session.emit, 0

        def counted(event: Event, t: float | None = None) -> None:
            nonlocal count
            emit(event, t)
            count += 1
            if count == events:
                session._record_request(request, "asked")
            if isinstance(event, Run) and event.status == "paused":
                session._record_request("resume", "")

        session.emit = counted  # type: ignore[method-assign]
        session.finish(simulate.run(run.path, session))


def test_a_killed_simulation_is_resumed_too(tmp_path: Path) -> None:
    whole, cut = made(tmp_path / "a"), made(tmp_path / "b")
    play(whole)
    play(cut)
    lines = cut.events.read_bytes().splitlines(keepends=True)
    cut.events.write_bytes(b"".join(lines[:500]) + lines[500][:40])
    cut.state.unlink()
    assert play(cut) == 0
    assert simulated_lines(cut) == simulated_lines(whole)


def test_a_resume_keeps_the_scenario_when_facts_and_failure_rates_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = made(tmp_path / "a"), made(tmp_path / "b")
    play(whole)
    request_after(300, "stop", parts)
    other = made(tmp_path / "c")
    rare = tuple(msgspec.structs.replace(each, rate=each.rate + 5) for each in failures.published_components())
    monkeypatch.setattr(failures, "published_components", lambda: rare)
    slower = simulate.scenario_from
    monkeypatch.setattr(simulate, "scenario_from", lambda c: msgspec.structs.replace(slower(c), step_s=99.0))
    assert play(parts) == 0
    assert simulated_lines(parts) == simulated_lines(whole)
    play(other)
    assert simulated_lines(other) != simulated_lines(whole), "a new run takes the new figures"


@pytest.mark.parametrize("has_file", [True, False])
def test_a_log_of_another_simulation_is_not_continued(tmp_path: Path, has_file: bool) -> None:
    """Every logged event is compared, not only the last one."""
    run = made(tmp_path)
    request_after(300, "stop", run)
    if not has_file:
        (run.path / "scenario.json").unlink()
    lines = run.events.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if number > 100 and '"kind":"step"' in line)
    lines[at] = lines[at].replace('"loss":', '"loss":1')
    run.events.write_text("".join(lines))
    with Session(run.path) as session, pytest.raises(SeedbedError, match="simulates this run differently"):
        simulate.run(run.path, session)


def test_a_log_with_more_events_than_the_simulation_is_not_continued(tmp_path: Path) -> None:
    run = made(tmp_path)
    play(run)
    lines = run.events.read_bytes().splitlines(keepends=True)
    more = encode(
        Message(level="info", code="later", text="The simulation of another version went on."), len(lines), 1e9
    )
    run.events.write_bytes(
        b"".join([*lines[:-1], more])
    )  # without the `run` event of the end, as if it had been killed
    with Session(run.path) as session, pytest.raises(SeedbedError, match="simulates this run differently"):
        simulate.run(run.path, session)


def test_a_run_of_an_earlier_version_without_a_frozen_scenario_is_continued_or_refused(tmp_path: Path) -> None:
    whole, run = made(tmp_path / "a"), made(tmp_path / "b")
    play(whole)
    request_after(300, "stop", run)
    (run.path / "scenario.json").unlink()
    request_after(300, "stop", run)
    config = run.config.read_text()
    run.config.write_text(config.replace("seed = 3", "seed = 4"))
    with Session(run.path) as session, pytest.raises(SeedbedError, match="simulates this run differently"):
        simulate.run(run.path, session)
    run.config.write_text(config)
    assert play(run) == 0
    assert simulated_lines(run) == simulated_lines(whole)


def test_a_broken_scenario_ends_the_resume_with_the_reason(tmp_path: Path) -> None:
    run = made(tmp_path)
    request_after(300, "stop", run)
    (run.path / "scenario.json").write_text('{"format": 1, "scenario": {"steps": "many"}}')
    assert play(run) != 0
    found = status(run)
    assert found["status"] == "stopped"
    assert "scenario.json" in found["reason"]


def test_a_stop_takes_effect_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    """At real speed the next step is seconds away; the stop does not wait for it."""
    run = made(tmp_path, "playback.speed=0.001")
    asked = threading.Event()
    times: list[float] = []

    def ask(session: Session) -> None:
        while session.status != "running" or not simulated_lines(run):
            time.sleep(0.01)
        times.append(time.monotonic())
        asked.set()
        session._record_request("stop", "asked")

    with Session(run.path) as session:
        threading.Thread(target=ask, args=(session,)).start()
        session.finish(simulate.run(run.path, session))
        assert asked.is_set()
        assert time.monotonic() - times[0] < patience.limit(5), "it waited for the next event"
        assert session.poll_s + simulate._SLICE_S < 0.1


def test_a_pause_is_logged_and_changes_nothing_else(tmp_path: Path) -> None:
    whole, paused = made(tmp_path / "a"), made(tmp_path / "b")
    play(whole)
    request_after(200, "pause", paused)
    statuses = [event.status for record in Reader(paused.events).new() if isinstance(event := record.event, Run)]
    assert statuses[-3:] == ["paused", "running", "completed"]
    assert simulated_lines(paused) == simulated_lines(whole)


def test_a_resume_with_options_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path)
    with Session(run.path, ResumeOptions(more_steps=5)) as session, pytest.raises(UsageError, match="without options"):
        simulate.run(run.path, session)


def test_the_load_of_this_machine_is_not_logged(tmp_path: Path) -> None:
    run = made(tmp_path)
    play(run)
    samples = [event for record in Reader(run.events).new() if isinstance(event := record.event, Hardware)]
    assert samples
    assert all(sample.gpu_count == 64 and sample.cpu_fraction is None for sample in samples)


def test_the_job_needs_neither_torch_nor_numpy() -> None:
    code = "import sys, seedbed.jobs.simulate; print([n for n in ('torch', 'numpy', 'textual') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
