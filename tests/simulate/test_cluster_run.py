"""A simulated run keeps what every real run keeps: tokens, times, losses and checkpoints that agree with each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from seedbed.errors import SeedbedError
from seedbed.events import Checkpoint, Comm, Eval, Event, Hardware, Message, Node, Phase, Run, Step, decode, encode
from seedbed.runs.view import View
from seedbed.simulate.cluster_run import ClusterRun, Timed
from seedbed.simulate.failures import Reliability
from seedbed.simulate.loss import BESIROGLU
from seedbed.simulate.scenario import Scenario
from simulated import CALM, llama_3, scenario


def played(given: Scenario) -> tuple[ClusterRun, list[Timed]]:
    run = ClusterRun(given)
    return run, list(run.events())


def only(kind: type[Event], events: list[Timed]) -> Iterator[tuple[float, Any]]:
    return ((t, event) for t, event in events if isinstance(event, kind))


@pytest.fixture(scope="module", params=range(0, 80, 10))
def seeds(request: pytest.FixtureRequest) -> list[tuple[ClusterRun, list[Timed]]]:
    """Ten of eighty runs, each with another seed."""
    return [played(scenario(seed=seed)) for seed in range(request.param, request.param + 10)]


def test_eighty_runs_keep_their_promises(seeds: list[tuple[ClusterRun, list[Timed]]]) -> None:
    for run, events in seeds:
        given = run.scenario
        assert run.step == given.steps
        assert [t for t, _ in events] == sorted(t for t, _ in events)
        assert run.account.total_s() == pytest.approx(run.t)
        check_steps(given, events)
        check_validations(given, events)
        check_messages(run, events)
        for _, sample in only(Hardware, events):
            assert (sample.gpu_used_bytes or 0) <= sample.gpu_total_bytes
            assert 0 <= sample.gpu_fraction <= 1
            assert given.gpu_idle_w <= sample.gpu_power_w <= given.gpu_power_w
        assert {event.op for _, event in only(Comm, events)} == {"all_reduce"}


def check_steps(given: Scenario, events: list[Timed]) -> None:
    """Tokens, speed and loss agree; the run goes back only where a message says so."""
    last, announced = 0, -1
    for t, event in events:
        if isinstance(event, Message) and event.code == "rollback":
            announced = event.step or 0
        if not isinstance(event, Step):
            continue
        assert event.step > last or event.step == announced + 1, "went back without a word"
        last = event.step
        assert event.tokens == event.step * given.tokens_per_step
        assert event.metrics is not None
        speed = given.tokens_per_step / given.step_s * event.metrics["goodput"]
        assert speed * t == pytest.approx(event.tokens, rel=1e-5)
        assert event.metrics["samples_per_s"] == pytest.approx(given.sequences_per_step / event.step_s, rel=1e-4)
        assert 0 < event.metrics["mfu"] < 1
        assert BESIROGLU.e < event.loss <= math.log(given.vocab)
        assert 0 < event.grad_norm < 500
    assert last == given.steps
    (final,) = [event for _, event in only(Step, events) if event.step == given.steps][-1:]
    assert final.loss == pytest.approx(BESIROGLU.loss(given.parameters, given.tokens), rel=0.03)


def check_validations(given: Scenario, events: list[Timed]) -> None:
    found = [event for _, event in only(Eval, events)]
    assert {event.step for event in found} >= {*range(1000, given.steps, 1000), given.steps}
    for event in found:
        assert event.perplexity == pytest.approx(math.exp(event.loss), rel=1e-8)
    assert found[-1].step == given.steps


def check_messages(run: ClusterRun, events: list[Timed]) -> None:
    warnings = [event for _, event in only(Message, events) if event.level == "warning"]
    assert len(warnings) < 0.05 * len(events)
    failed = sum(event.code == "failure" for event in warnings)
    assert failed == run.account.failures
    assert sum(event.code == "diverged" for event in warnings) == run.account.rollbacks
    begun = Counter(event.name for _, event in only(Phase, events) if not event.done)
    ended = Counter(event.name for _, event in only(Phase, events) if event.done)
    assert begun == ended


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_run() -> None:
    def log(seed: int) -> list[bytes]:
        return [encode(event, n, t) for n, (t, event) in enumerate(played(scenario(seed=seed, steps=2000))[1])]

    assert log(3) == log(3)
    assert log(3) != log(4)


def test_a_run_without_failures_takes_the_time_of_its_steps_saves_and_validations() -> None:
    given = scenario(reliability=CALM, checkpoint_every=1000, spikes_per_step=0.0)
    run, events = played(given)
    saves = 12 * given.checkpoint_blocking_s + given.checkpoint_write_s
    start = given.reliability.init_s(given.gpus) + given.step_s  # the first step takes twice its time
    expected = given.steps * given.step_s + saves + 12 * given.eval_s + start
    assert run.t == pytest.approx(expected, rel=0.005)
    assert [event.step for _, event in only(Checkpoint, events)] == list(range(1000, 12_001, 1000))
    assert not [event for _, event in only(Message, events) if event.level == "warning"]


def test_a_failure_loses_the_work_since_the_last_complete_checkpoint() -> None:
    given = scenario(seed=5, checkpoint_every=200, spikes_per_step=0.0)
    _, events = played(given)
    complete: list[tuple[float, int]] = [(0.0, 0)]
    lost = 0
    for t, event in events:
        if isinstance(event, Checkpoint):
            complete.append((t, event.step))
        elif isinstance(event, Message) and event.code == "rollback":
            assert event.step in {step for at, step in complete if at <= t}
            complete = [each for each in complete if each[1] <= (event.step or 0)]
            lost += 1
    assert lost >= 2


def test_steps_around_a_failure_are_logged_one_by_one() -> None:
    _, events = played(scenario(seed=2, steps=50_000, log_points=100, reliability=Reliability(node_rate=20.0)))
    steps = [(number, event.step) for number, (_, event) in enumerate(events) if isinstance(event, Step)]
    for number, (_, event) in enumerate(events):
        if isinstance(event, Message) and event.code == "rollback" and event.step:
            after = [step for at, step in steps if at > number][:12]
            assert after == list(range(event.step + 1, event.step + 13))
        if isinstance(event, Message) and event.code == "failure":
            before = [step for at, step in steps if at < number][-5:]
            assert before == list(range(before[-1] - 4, before[-1] + 1))


def test_failed_nodes_are_replaced_by_spares_first_and_then_by_repaired_ones() -> None:
    run, events = played(scenario(seed=1, spare_nodes=2))
    nodes = [event for _, event in only(Node, events)]
    first = next(event for event in nodes if event.reason and event.reason.startswith("replaces"))
    assert first.node == 128, "the first spare node"
    replaced = [event for event in nodes if event.reason and event.reason.startswith("replaces")]
    left = [event for event in nodes if event.state in ("failed", "left")]
    assert len(replaced) == len(left)
    assert run.account.replacement_s > 0
    assert all(event.node < 130 for event in nodes)


def test_a_run_without_spares_waits_for_repairs() -> None:
    with_spares, _ = played(scenario(seed=1, spare_nodes=50))
    without, _ = played(scenario(seed=1, spare_nodes=0))
    assert without.account.replacement_s > 10 * with_spares.account.replacement_s


def test_a_slow_node_slows_every_step_until_it_is_found() -> None:
    slow = msgspec.structs.replace(CALM, slow_rate=500.0, slow_found_s=1800.0)
    steady = {"spikes_per_step": 0.0, "step_noise": 0.0, "day_wave": 0.0}
    run, events = played(scenario(seed=4, reliability=slow, spare_nodes=99, **steady))
    found = [event for _, event in only(Message, events) if event.code == "slow-node"]
    assert found
    assert run.account.planned == len(found)
    assert run.account.failures == run.account.lost_steps == 0
    durations = {round(event.step_s / 4.5, 3) for _, event in only(Step, events)}
    assert {1.0, 1.06} <= durations


def test_a_loss_that_diverges_is_rolled_back_and_its_data_are_skipped() -> None:
    for seed in range(60):
        given = scenario(seed=seed, steps=30_000, reliability=CALM, spikes_per_step=1 / 2000)
        run, events = played(given)
        if run.account.rollbacks:
            break
    diverged = next(event for _, event in only(Message, events) if event.code == "diverged")
    index = next(number for number, (_, event) in enumerate(events) if event is diverged)
    step = int(diverged.text.rstrip(".").rpartition(" ")[2])
    before = max(
        event.loss for event in (e for _, e in events[:index]) if isinstance(event, Step) and event.step > step
    )
    again = max(
        event.loss
        for event in (e for _, e in events[index:])
        if isinstance(event, Step) and step <= event.step < step + 8
    )
    assert before - again > 0.05
    assert run.account.lost_steps > 8


@pytest.mark.parametrize(("every", "keep_last"), [(1, 1), (2, 2), (7, 1), (400, 1)])
def test_a_run_that_diverges_goes_back_to_before_the_spike_however_often_it_saves(every: int, keep_last: int) -> None:
    rollbacks = 0
    for seed in range(12):
        given = scenario(
            seed=seed,
            steps=6_000,
            reliability=CALM,
            spikes_per_step=1 / 1100,
            checkpoint_every=every,
            checkpoint_write_s=1.0,
            keep_last=keep_last,
        )
        _, events = played(given)
        messages = [event for _, event in only(Message, events)]
        for number, message in enumerate(messages):
            if message.code == "diverged":
                spike_step = int(message.text.rstrip(".").rpartition(" ")[2])
                target = next(each.step for each in messages[number:] if each.code == "rollback")
                assert target < spike_step
                assert spike_step - target <= 2 * every + 12, "not further back than needed"
                rollbacks += 1
    assert rollbacks


def test_the_remaining_time_falls_except_at_failures() -> None:
    given = scenario(seed=6, reliability=Reliability(node_rate=20.0, slow_rate=0.0))
    view, last, rises = View(), math.inf, 0
    begin = Run(status="running", session=1, steps=given.steps, tokens_per_step=given.tokens_per_step, simulated=True)
    _, events = played(given)
    for n, (t, event) in enumerate([(0.0, begin), *events]):
        record = decode(encode(event, n, t))
        assert record is not None
        view.add(record)
        if isinstance(event, Message) and event.code in ("rollback", "failure"):
            last = math.inf
        if not isinstance(event, Step) or view.session_steps < 20:
            continue
        remaining = view.remaining_s()
        assert remaining is not None
        rises += remaining > last + 0.02 * given.steps * given.step_s
        last = remaining
        expected = given.tokens_per_step / given.step_s
        assert view.tokens_per_second() == pytest.approx(expected, rel=0.2)
    assert rises == 0
    assert view.step == given.steps


def test_54_days_of_16384_gpus_need_few_lines_and_have_about_the_published_failures() -> None:
    run = ClusterRun(llama_3())
    lines = sum(1 for _ in run.events())
    assert run.t > 54 * 86_400
    assert 5000 < lines < 60_000
    assert abs(run.account.failures - 419) / 419 < 0.4, "published: 419 unexpected interruptions in 54 days"
    assert 920_000 * 4.66 / run.t == pytest.approx(0.9, abs=0.03), 'published: "more than 90 %" effective time'


def test_the_cost_grows_with_events_not_with_gpus() -> None:
    few, many = (scenario(nodes=nodes, reliability=CALM, checkpoint_every=500) for nodes in (100, 12_500))
    assert len(played(few)[1]) == pytest.approx(len(played(many)[1]), rel=0.1)


def test_a_cluster_that_fails_faster_than_it_recovers_is_refused() -> None:
    with pytest.raises(SeedbedError, match="makes no progress"):
        played(scenario(steps=500, checkpoint_every=500, reliability=Reliability(node_rate=5000.0)))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 1},
        {"steps": 7, "warmup_steps": 0, "nodes": 1, "gpus_per_node": 1, "spare_nodes": 0},
        {"steps": 300, "checkpoint_every": 1},
        {"steps": 500, "eval_every": 0, "checkpoint_blocking_s": 0.0, "checkpoint_write_s": 0.0, "load_s": 0.0},
        {"steps": 400, "keep_last": 1, "reliability": Reliability(node_rate=2000.0, repair_s=60.0)},
        {"steps": 200, "step_s": 0.001, "peak_flops": 0.0, "gpu_power_w": 0.0, "gpu_memory_bytes": 0},
    ],
    ids=["one step", "one GPU", "saves every step", "no costs", "fails all the time", "fast"],
)
def test_unusual_runs_end(changes: dict[str, Any]) -> None:
    run, events = played(scenario(**changes))
    assert run.step == changes["steps"]
    assert run.account.total_s() == pytest.approx(run.t)
    assert [event.step for _, event in only(Step, events)][-1] == changes["steps"]
    assert [event.code for _, event in only(Message, events)][-1] == "summary"
