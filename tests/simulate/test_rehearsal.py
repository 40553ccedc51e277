"""Shrunk incidents keep their order, kind and position between checkpoints, and cost the times that add up in them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from seedbed.errors import UsageError
from seedbed.simulate import rehearsal
from seedbed.simulate.rehearsal import FAULTS, Injection, Measured, Shrunk, fault_of, predict, shrink, simulated
from seedbed.simulate.trace import Interruption
from simulated import CALM, scenario

MACHINE = Measured(step_s=0.2, stall_s=0.01, write_s=0.3, start_s=4.0, end_s=0.5)


def incident(step: int, happening: str = "crash", component: str = "gpu") -> Interruption:
    return Interruption(step * 4.5, step, happening, "GPU", component)  # type: ignore[arg-type]


def predicted(*injections: Injection, steps: int = 100, every: int = 10) -> rehearsal.Prediction:
    return predict(Shrunk(steps, every, injections), MACHINE)


def test_the_trace_has_every_incident_of_the_account() -> None:
    run = simulated(scenario(seed=3))
    failures = [each for each in run.trace if each.component]
    assert len(failures) == run.account.failures > 5
    planned = [each for each in run.trace if each.happening in ("maintenance", "replacement")]
    assert len(planned) == run.account.planned
    assert all(0 <= each.step <= run.scenario.steps for each in run.trace)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 3, 6])
def test_incidents_keep_their_order_kind_and_position_between_checkpoints(seed: int, most: int) -> None:
    given = scenario(seed=seed, checkpoint_every=300)
    trace = simulated(given).trace
    shrunk = shrink(trace, given, 200, most=most)
    found = [each.incident for each in shrunk.injections]
    assert len(found) == min(most, len(trace))
    assert found == sorted((each for each in trace if each in found), key=trace.index)
    steps = [each.step for each in shrunk.injections]
    assert steps == sorted(set(steps))
    for each in shrunk.injections:
        assert each.incident is not None
        assert each.fault == fault_of(each.incident)
        assert 0 < each.step < 200 - shrunk.every
        share = (each.step % shrunk.every) / shrunk.every
        wanted = 1.0 if each.incident.happening == "save" else each.incident.step % 300 / 300
        assert abs(share - wanted) <= 1 / shrunk.every


def test_each_kind_of_the_trace_is_chosen_before_a_second_of_a_frequent_kind() -> None:
    trace = [incident(step) for step in range(500, 9000, 100)]
    trace += [
        incident(9100, "timeout", "switch"),
        incident(9500, "timeout", "storage"),
        incident(9900, component="ssd"),
    ]
    chosen = shrink(trace, scenario(), 200, most=4).injections
    assert [each.fault for each in chosen] == ["kill", "hang", "slow-writes", "full-disk"]


def test_incidents_of_the_whole_run_are_chosen() -> None:
    trace = [incident(step) for step in range(110, 11_900, 100)]
    steps = [each.incident.step for each in shrink(trace, scenario(), 200, most=6).injections if each.incident]
    assert steps[0] < 2000
    assert steps[-1] > 10_000
    assert max(later - step for step, later in pairwise(steps)) < 4000


def test_a_failure_during_a_recovery_is_not_an_incident_of_its_own() -> None:
    assert len(shrink([incident(500), incident(500)], scenario(), 100).injections) == 1


def test_faults_are_added_only_if_the_trace_has_none_of_them() -> None:
    trace = [incident(500), incident(5000, "timeout", "switch")]
    chosen = shrink(trace, scenario(), 200, also=("kill", "full-disk")).injections
    assert sorted(each.fault for each in chosen) == ["full-disk", "hang", "kill"]
    assert [each.fault for each in chosen if each.incident is None] == ["full-disk"]
    everything = shrink([], scenario(reliability=CALM), 200, also=FAULTS).injections
    assert {each.fault for each in everything} == set(FAULTS)


def test_a_calm_run_and_too_few_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing to rehearse"):
        shrink(simulated(scenario(reliability=CALM)).trace, scenario(), 100)
    with pytest.raises(UsageError, match="too few for 2 incidents: they need 20"):
        shrink([incident(500), incident(900)], scenario(), 19, most=2)
    with pytest.raises(UsageError, match="too few for 1 incident: they need 12"):
        shrink([incident(500), incident(900)], scenario(), 11)
    assert shrink([incident(500), incident(900)], scenario(), 20).every == 4


def test_incidents_that_nobody_asked_for_are_left_out_until_the_rest_fits() -> None:
    kinds = [("crash", "gpu"), ("timeout", "switch"), ("timeout", "storage"), ("crash", "ssd"), ("slow", "")]
    trace = [incident(1000 * n, *kinds[n % len(kinds)]) for n in range(1, 12)]
    # Six incidents with at least one slow write need 2 * 8 + 1 intervals of 4 steps.
    assert len(shrink(trace, scenario(), 200).injections) == rehearsal.MOST_INCIDENTS
    some = shrink(trace, scenario(), 40, also=("full-disk", "stop"))
    assert 2 <= len(some.injections) < rehearsal.MOST_INCIDENTS
    assert some.every >= rehearsal.LEAST_INTERVAL
    assert {"full-disk", "stop"} <= {each.fault for each in some.injections}
    assert len(shrink(trace, scenario(), 12).injections) == 1
    with pytest.raises(UsageError, match="too few for 6 incidents"):
        shrink(trace, scenario(), 40, most=6)


def test_a_fault_that_was_asked_for_is_never_left_out() -> None:
    trace = [incident(step) for step in range(500, 9000, 100)]
    with pytest.raises(UsageError, match="--inject names 6 faults, but --incidents allows 2"):
        shrink(trace, scenario(), 200, most=2, also=FAULTS)
    chosen = shrink(trace, scenario(), 200, most=6, also=FAULTS).injections
    assert sorted(each.fault for each in chosen) == sorted(FAULTS)
    with pytest.raises(UsageError, match="too few for 6 incidents"):
        shrink(trace, scenario(), 40, also=FAULTS)


@pytest.mark.parametrize("step", [1, 299, 300, 600, 3000, 6001, 11_999])
def test_a_slow_write_begins_between_two_checkpoints(step: int) -> None:
    """At the step of a checkpoint, that one is still being written, and would be delayed in addition to the next."""
    trace = [incident(500), incident(step, "timeout", "storage")]
    shrunk = shrink(trace, scenario(checkpoint_every=300), 200)
    (slow,) = [each for each in shrunk.injections if each.fault == "slow-writes"]
    assert slow.step % shrunk.every >= 1


def test_a_kill_costs_the_steps_since_the_last_complete_checkpoint_and_a_start() -> None:
    undisturbed = predicted().elapsed_s
    assert undisturbed == pytest.approx(4.0 + 100 * 0.2 + 10 * 0.01 + 0.5, abs=0.21)
    # The first step after a start is one step longer, as in the simulator.
    kill = predicted(Injection("kill", 37))
    assert kill.costs[0].lost_steps == 7
    assert kill.costs[0].lost_s == pytest.approx(4.0 + 7 * 0.2 + 0.2, abs=0.02)
    assert kill.elapsed_s == pytest.approx(undisturbed + kill.costs[0].lost_s)
    # At step 31 the checkpoint of step 30 needs 0.3 s more than a step: it is not complete.
    assert predicted(Injection("kill", 31)).costs[0].lost_steps == 11


def test_a_hang_costs_its_time_out_more_than_a_kill() -> None:
    kill, hang = predicted(Injection("kill", 37)), predicted(Injection("hang", 37))
    assert hang.costs[0].lost_steps == 7
    assert hang.costs[0].lost_s - kill.costs[0].lost_s == pytest.approx(rehearsal.HANG_S)


def test_a_planned_stop_loses_no_step() -> None:
    cost = predicted(Injection("stop", 37)).costs[0]
    assert cost.lost_steps == 0
    assert cost.lost_s == pytest.approx(0.01 + 0.3 + 4.0 + 0.2, abs=0.02)


def test_what_only_holds_the_job_up_costs_that_time() -> None:
    stall, disk, slow = predicted(
        Injection("stall", 17), Injection("full-disk", 37), Injection("slow-writes", 55)
    ).costs
    assert (stall.lost_steps, disk.lost_steps, slow.lost_steps) == (0, 0, 0)
    assert stall.lost_s == rehearsal.STALL_S
    assert rehearsal.FULL_DISK_S <= disk.lost_s <= rehearsal.FULL_DISK_S + 1
    # The write takes 1.5 intervals of 2 s longer; the next save is due after one interval.
    assert slow.lost_s == pytest.approx(0.3 + 3.0 - 2.0 - 0.01)


def test_several_incidents_add_up() -> None:
    many = predicted(Injection("kill", 37), Injection("stall", 45), Injection("kill", 68), Injection("stop", 75))
    assert [each.lost_steps for each in many.costs] == [7, 0, 8, 0]
    assert many.elapsed_s == pytest.approx(predicted().elapsed_s + sum(each.lost_s for each in many.costs))
