"""A rehearsal injects faults into a real job, and says so if the run does not recover. The job of these tests needs no torch."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pacing
from patience import until
from seedbed.actions import checks, launching, rehearsing
from seedbed.actions.rehearsing import Interrupted, NotInjectedError, NotRecoveredError, Watched
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.errors import SeedbedError
from seedbed.events import Checkpoint, Step, encode
from seedbed.files import remove_tree
from seedbed.runs.status import current_status
from seedbed.runs.store import Store
from seedbed.simulate import rehearsal
from seedbed.simulate.rehearsal import Injection, Measured, Shrunk

STEPS, EVERY = 60, 10
MACHINE = Measured(step_s=0.01, stall_s=0.001, write_s=0.01, start_s=0.5, end_s=0.1)
Start = Callable[..., Watched]


@pytest.fixture
def start(new_interpreters: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """Starts a run whose job waits at step 25 until it is disturbed, and ends it with the test.

    A job takes faults only from its parent, which is this process only for a new interpreter.
    """
    monkeypatch.setattr(launching, "JOBS", (sys.executable, str(Path(__file__).with_name("fake_job.py"))))
    monkeypatch.setattr(rehearsal, "STALL_S", 0.3)
    monkeypatch.setattr(rehearsal, "HANG_S", 0.3)
    monkeypatch.setenv("FAKE_SAVE_EVERY", str(EVERY))
    monkeypatch.setenv("HOLD_AT", "25")
    begun: list[Watched] = []

    def started(interrupted: Callable[[], bool] = lambda: False) -> Watched:
        wanted = resolve(TRAIN, sets=[f"train.steps={STEPS}"])
        launch = rehearsing.start_disturbed(Store(tmp_path / "runs"), wanted, "rehearsal", ["seedbed"])
        begun.append(Watched(launch, interrupted, lambda _: None))
        return begun[-1]

    yield started
    for each in begun:
        each.close()


def let_go_after(name: str, watched: Watched, monkeypatch: pytest.MonkeyPatch, then: Any = lambda: None) -> None:
    """Let the job continue at every step once `rehearsing.NAME` was called; `then` is called, too."""
    original = getattr(rehearsing, name)

    def called(*arguments: Any) -> Any:
        found = original(*arguments)
        then()
        pacing.let_go(watched.run.path)
        return found

    monkeypatch.setattr(rehearsing, name, called)
    monkeypatch.setattr(rehearsing, "_FAULTS", {**rehearsing._FAULTS, name.removeprefix("_"): called})


def inject(watched: Watched, fault: rehearsal.Fault, step: int = 25) -> rehearsing.Outcome:
    injection = Injection(fault, step)
    return rehearsing.inject(watched, injection, Shrunk(STEPS, EVERY, (injection,)), MACHINE)


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_a_killed_run_goes_back_to_its_checkpoint_and_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch, fault: rehearsal.Fault
) -> None:
    watched = start()
    let_go_after("_kill" if fault == "kill" else "_hang", watched, monkeypatch)
    until(lambda: (watched.run.checkpoints / "step-00000020" / "DONE").exists())
    outcome = inject(watched, fault)
    assert (outcome.step, outcome.went_back_to, outcome.lost_steps) == (25, 20, 5)
    assert outcome.lost_s > 0.0
    rehearsing.train_to_the_end(watched)
    assert sorted(watched.ended) == list(range(1, STEPS + 1))
    assert current_status(watched.run).view.session == 2


def test_a_stall_loses_its_time_and_no_step(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = start()
    let_go_after("_stall", watched, monkeypatch)
    outcome = inject(watched, "stall")
    assert (outcome.lost_steps, current_status(watched.run).view.session) == (0, 1)
    assert outcome.lost_s >= 0.3 - MACHINE.step_s
    rehearsing.train_to_the_end(watched)


def test_a_planned_stop_saves_and_loses_no_step(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = start()
    let_go_after("_stop", watched, monkeypatch)
    outcome = inject(watched, "stop")
    assert (outcome.step, outcome.went_back_to, outcome.lost_steps) == (25, 25, 0)
    rehearsing.train_to_the_end(watched)
    assert sorted(watched.ended) == list(range(1, STEPS + 1))


def is_limited(pid: int) -> bool:
    """Whether the size of the files of a process is limited; True where this cannot be seen."""
    limits = getattr(resource, "prlimit", None)
    return limits is None or limits(pid, resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def test_a_full_disk_pauses_the_run_and_loses_no_step(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "FULL_DISK_S", 0.3)
    monkeypatch.setenv("FAKE_FAIL", "faults")
    watched = start()
    original = rehearsing._waits_for_storage

    def waits(watched: Watched) -> bool:
        until(lambda: is_limited(watched.launch.process.pid))
        pacing.let_go(watched.run.path)
        return original(watched)

    monkeypatch.setattr(rehearsing, "_waits_for_storage", waits)
    outcome = inject(watched, "full-disk")
    assert outcome.lost_steps == 0
    assert outcome.lost_s >= 0.3 - MACHINE.step_s
    rehearsing.train_to_the_end(watched)
    assert sorted(watched.ended) == list(range(1, STEPS + 1)), "a step that could not be logged was lost"
    assert current_status(watched.run).view.session == 1


def test_a_slow_write_delays_the_save_after_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "slow_write_s", lambda *_: 1.0)
    monkeypatch.setenv("FAKE_FAIL", "faults")
    monkeypatch.setenv("HOLD_AT", "5")  # before the first checkpoint: the job cannot log one while it waits
    watched = start()
    write = rehearsing.write_faults

    def write_and_let_go(*arguments: Any) -> None:
        write(*arguments)
        pacing.let_go(watched.run.path)

    monkeypatch.setattr(rehearsing, "write_faults", write_and_let_go)
    outcome = inject(watched, "slow-writes", step=5)
    rehearsing.train_to_the_end(watched)
    written_s = {save.step: save.write_s for save in watched.saves}
    assert max(written_s.values()) >= 1.0
    assert outcome.lost_steps == 0
    assert outcome.lost_s > 0.3, "the save after the slow one did not wait for it"


def test_a_slow_write_does_not_delay_a_checkpoint_that_is_being_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def step(number: int) -> Step:
        return Step(step=number, loss=1.0, lr=0.1, grad_norm=1.0, tokens=1, step_s=0.01)

    def saved(number: int) -> Checkpoint:
        return Checkpoint(step=number, path=f"step-{number}", size_bytes=1, stall_s=0.0, write_s=0.0)

    logged = [*map(step, range(1, 11)), saved(10), *map(step, range(11, 21))]
    later = iter([step(21), saved(20), *map(step, range(22, 31)), saved(30), *map(step, range(31, 41)), saved(40)])
    run = Store(tmp_path / "runs").create("train", "there", "", {})
    run.events.write_bytes(b"".join(encode(event, n, float(n)) for n, event in enumerate(logged)))

    def pass_time(_: float) -> None:
        with run.events.open("ab") as log:
            log.write(encode(next(later), 100, time.time()))

    process: Any = SimpleNamespace(poll=lambda: None)
    watched = Watched(launching.Launch(run, process, 0), lambda: False, lambda _: None)
    complete: list[list[int]] = []
    monkeypatch.setattr(rehearsing, "write_faults", lambda *_: complete.append([each.step for each in watched.saves]))
    monkeypatch.setattr(rehearsing, "time", SimpleNamespace(sleep=pass_time, monotonic=time.monotonic, time=time.time))
    assert inject(watched, "slow-writes", step=20).step == 21
    assert complete == [[10, 20]]


def test_a_checkpoint_that_is_gone_after_a_kill_is_no_recovery(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = start()
    let_go_after("_kill", watched, monkeypatch, lambda: remove_tree(watched.run.checkpoints))
    until(lambda: (watched.run.checkpoints / "step-00000020" / "DONE").exists())
    with pytest.raises(NotRecoveredError, match="No checkpoint of this run can be loaded"):
        inject(watched, "kill")


def test_a_resume_that_fails_is_no_recovery(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = start()
    let_go_after("_kill", watched, monkeypatch, lambda: monkeypatch.setenv("FAKE_FAIL", "crash"))
    with pytest.raises(NotRecoveredError, match="division"):
        inject(watched, "kill")


def test_a_run_that_is_too_fast_for_its_faults_has_not_been_rehearsed(start: Start) -> None:
    watched = start()
    pacing.let_go(watched.run.path)
    rehearsing.train_to_the_end(watched)
    with pytest.raises(NotInjectedError, match="had reached step 60 before the fault could take effect") as caught:
        inject(watched, "kill")
    assert "--rehearse-steps" in caught.value.hint


def test_a_run_that_is_completed_before_its_fault_takes_effect_has_not_been_rehearsed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full disk is asked for in time, but this job has no faults: it trains to its end."""
    watched = start()
    write = rehearsing.write_faults

    def write_and_let_go(*arguments: Any) -> None:
        write(*arguments)
        pacing.let_go(watched.run.path)

    monkeypatch.setattr(rehearsing, "write_faults", write_and_let_go)
    with pytest.raises(NotInjectedError, match="had reached step 60") as caught:
        inject(watched, "full-disk")
    assert "--rehearse-steps" in caught.value.hint


def test_an_interrupted_hang_ends_with_a_stopped_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    watched = start(lambda: bool(asked))
    original = rehearsing._pause

    def pause(*arguments: Any) -> None:
        asked.append(True)
        original(*arguments)

    monkeypatch.setattr(rehearsing, "_pause", pause)
    with pytest.raises(Interrupted):
        inject(watched, "hang")
    watched.close()
    assert current_status(watched.run).status == "stopped"
    assert not (watched.run.path / ".faults").exists()


def test_a_job_that_ends_early_is_reported_with_its_reason(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "crash")
    watched = start()
    with pytest.raises(SeedbedError, match="division"):
        rehearsing.train_to_the_end(watched)


def test_the_times_of_an_undisturbed_run_are_measured(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLD_AT", "")
    monkeypatch.setenv("FAKE_STEP_S", "0.02")
    watched = start()
    rehearsing.train_to_the_end(watched)
    measured = rehearsing.measure(watched)
    assert measured.step_s >= 0.02
    assert measured.start_s > 0
    written_s = [each.write_s for each in watched.saves]
    assert len(written_s) == STEPS // EVERY
    assert min(written_s) <= measured.write_s <= max(written_s)


def test_two_runs_are_equal_only_if_their_steps_and_weights_are(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLD_AT", "")
    one, two = start(), start()
    for each in (one, two):
        rehearsing.train_to_the_end(each)
    same = rehearsing.compare(one, two, STEPS)
    assert (same.steps_complete, same.same_steps, same.same_weights, same.must_be_equal) == (True, True, True, True)
    del one.ended[30], one.losses[30]
    (newest,) = two.run.checkpoints.glob("step-00000060")
    marker = newest / "DONE"
    until(marker.exists)
    marker.write_text(marker.read_text().replace('"sha256": "', '"sha256": "0'))
    other = rehearsing.compare(one, two, STEPS)
    assert (other.steps_complete, other.same_steps, other.same_weights) == (False, False, False)


def test_without_torch_nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    with pytest.raises(SeedbedError, match="PyTorch is not installed"):
        rehearsing.start_undisturbed(Store(tmp_path / "runs"), resolve(TRAIN), "a", [])
    assert not os.listdir(tmp_path)
