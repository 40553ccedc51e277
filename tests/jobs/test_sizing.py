"""The size that is chosen for a time: few sizes are measured, and speed, text and memory decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from msgspec.structs import replace

from seedbed.config.arithmetic import flops_per_step
from seedbed.config.chosen import reason, sentence
from seedbed.config.ladder import RUNGS
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import BaseConfig, Config
from seedbed.data.build import build_dataset
from seedbed.errors import SeedbedError
from seedbed.events import Checkpoint, Eval, Phase
from seedbed.jobs import sizing
from seedbed.jobs.sizing import Sizing, choose
from seedbed.jobs.timing import END_S, MeasuredCosts, limit_preparation
from seedbed.presentation.size_plan import as_json, closing, table_of_sizes
from seedbed.text import count
from seedbed.train.device import Device


class Text(NamedTuple):
    """The numbers of a dataset that the choice uses."""

    num_tokens: int
    num_bytes: int

    @property
    def bytes_per_token(self) -> float:
        return self.num_bytes / self.num_tokens


class FakeDataset:
    def __init__(self, tokens: int, vocab_size: int = 1536) -> None:
        self.train, self.validation = Text(tokens, 4 * tokens), Text(tokens // 20, tokens // 5)
        self.tokenizer = type("Tokenizer", (), {"vocab_size": vocab_size})()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sizing]:
    """Chooses a size for a machine of a given speed. `asked` collects the widths whose steps were timed."""
    asked: list[int] = []

    def choose_for(
        time: str,
        flops_per_s: float,
        *,
        tokens: int = 10**9,
        sets: tuple[str, ...] = (),
        used_s: float = 5.0,
        **patches: Any,
    ) -> Sizing:
        def speed(config: Config, *_: Any) -> float:
            asked.append(config.model.hidden)
            sequences = config.train.batch_size
            return flops_per_s * sequences * config.model.context / flops_per_step(config.model, 1536, sequences)

        monkeypatch.setattr(sizing, "_speed", speed)
        monkeypatch.setattr(sizing, "free_memory_bytes", lambda _: patches.get("free_bytes", 64 << 30))
        config = resolve(TRAIN, sets=sets, flags={"train.time": time}).config
        dataset: Any = FakeDataset(tokens)
        device = Device(torch.device("cpu"), "a CPU", "cpu")
        return choose(config, dataset, device, "fp32", used_s=lambda: used_s, check=lambda: None)

    choose_for.asked = asked  # type: ignore[attr-defined]
    return choose_for


def test_a_faster_machine_and_more_time_get_larger_models(measured: Callable[..., Sizing]) -> None:
    widths = [measured(time, 1e11).config.model.hidden for time in ("1m", "10m", "2h", "2d")]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert measured("10m", 1e13).config.model.hidden > measured("10m", 1e10).config.model.hidden


def test_two_to_four_sizes_are_measured_and_the_chosen_one_is_among_them(measured: Any) -> None:
    for time, flops in (("1m", 1e10), ("20m", 1e11), ("8h", 1e12)):
        measured.asked.clear()
        torch.set_num_threads(1)  # no comparison of thread counts
        found = measured(time, flops)
        assert 2 <= len(set(measured.asked)) <= 4
        assert found.config.model.hidden in measured.asked or len(measured.asked) == 4


def test_a_larger_size_whose_predicted_loss_is_near_the_lowest_is_measured_too() -> None:
    assert sizing._next_to_measure(2, {1: 9.0}, [3.0, 2.0, 1.0, 1.02]) == 2
    assert sizing._next_to_measure(2, {1: 9.0, 2: 5.0}, [3.0, 2.0, 1.0, 1.02]) == 3
    assert sizing._next_to_measure(2, {1: 9.0, 2: 5.0}, [3.0, 2.0, 1.0, 1.2]) is None
    assert sizing._next_to_measure(2, {1: 9.0, 2: 5.0, 3: 2.0}, [3.0, 2.0, 1.0, 1.02]) is None
    assert sizing._next_to_measure(1, {1: 9.0}, [2.0, 1.0]) == 0, "two are measured"


def test_a_small_text_and_a_small_memory_limit_the_size(measured: Callable[..., Sizing]) -> None:
    assert measured("8h", 1e13, tokens=200_000).chosen.parameters < 2e6
    roomy, tight = measured("8h", 1e13), measured("8h", 1e13, free_bytes=300 << 20)
    assert tight.chosen.parameters < roomy.chosen.parameters


def test_values_that_the_user_gave_are_kept(measured: Callable[..., Sizing]) -> None:
    found = measured("20m", 1e11, sets=("train.batch_size=3", "optimizer.lr=0.005", "train.eval_every=7"))
    train = found.config.train
    assert (train.batch_size, train.eval_every, found.config.optimizer.lr) == (3, 7, 0.005)
    assert (train.size, train.keep) == ("given", ())


def test_too_little_time_after_the_preparation_is_refused_with_what_to_do(measured: Callable[..., Sizing]) -> None:
    with pytest.raises(SeedbedError, match="are left to train") as caught:
        measured("1m", 1e11, used_s=55.0)
    assert "Start it again" in caught.value.hint


def test_what_was_chosen_and_why_is_said_in_words_and_as_a_table(measured: Callable[..., Sizing]) -> None:
    chosen = measured("20m", 1e11).chosen
    said = sentence(chosen)
    assert said.startswith(f"Chosen for 20m: {chosen.layers} layers x {chosen.hidden}")
    assert f"{chosen.steps:,} steps" in said
    assert f"about {chosen.loss:.2f}" in said
    why, place = reason(chosen), [option.hidden for option in chosen.options].index(chosen.hidden)
    assert "Speed measured on this machine: " in why
    smaller = chosen.options[place - 1]
    assert f"{smaller.loss:.2f} with the next smaller size ({count(smaller.parameters)} parameters)" in why
    rows = table_of_sizes(chosen)
    assert [row[-1] for row in rows if row[0].startswith("->")] == [f"{chosen.loss:.2f}"]


def test_a_text_that_is_much_too_small_for_the_time_gets_a_warning(measured: Callable[..., Sizing]) -> None:
    chosen = measured("20m", 1e11, tokens=2_000).chosen
    said = f"This run trains on the text {chosen.passes:,.0f} times."
    assert closing(chosen)[-1].startswith(f"warning: {said}")
    assert f"({chosen.passes:,.0f} passes over the text). The validation loss cannot be predicted" in sentence(chosen)
    assert "expected loss" not in reason(chosen)
    assert [row[-1] for row in table_of_sizes(chosen) if row[0].startswith("->")] == ["-"]
    assert as_json(chosen)["warnings"] == [said]
    enough = measured("20m", 1e11).chosen
    assert as_json(enough)["warnings"] == []
    assert not any(line.startswith("warning") for line in closing(enough))


def test_the_seconds_of_a_step_are_those_of_the_chosen_size(measured: Callable[..., Sizing]) -> None:
    chosen = measured("20m", 1e11).chosen
    assert chosen.step_s is not None
    assert chosen.steps * chosen.step_s == pytest.approx((1200 - 5) * 0.95 - 3, rel=0.01)


def test_checkpoints_and_validations_fit_the_length_of_the_run(measured: Callable[..., Sizing]) -> None:
    found = measured("1h", 1e11)
    steps = found.chosen.steps
    assert steps / 15 <= found.config.train.eval_every <= steps / 8
    assert found.config.train.checkpoint_every * 3600 / steps <= 360


def test_the_costs_of_the_end_follow_what_was_measured() -> None:
    costs = MeasuredCosts(1_000, 10_000, token_s=0.001, save_s=0.5)
    assert (costs.eval_s, costs.save_s) == (1.0, 0.5 + END_S)
    costs(Eval(step=1, loss=1.0, perplexity=2.7, tokens=1_000, elapsed_s=2.0))
    costs(Phase(name="sample", done=True, elapsed_s=3.0))
    costs(Checkpoint(step=1, path="step-1", write_s=4.0))
    assert costs.eval_s == pytest.approx(2.0)
    assert costs.final_s == pytest.approx(0.002 * 11_000 + 3.0)
    assert costs.save_s == 4.0 + END_S


def test_one_thread_is_taken_if_it_is_faster_or_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []
    speeds = {1: 100.0, 2: 150.0}

    def speed(*_: Any) -> float:
        timed.append(torch.get_num_threads())
        return speeds[timed[-1]]

    monkeypatch.setattr(sizing, "_speed", speed)
    config = resolve(TRAIN, flags={"train.time": "5m"}).config
    dataset: Any = FakeDataset(10**6)
    device = Device(torch.device("cpu"), "a CPU", "cpu")
    before = torch.get_num_threads()
    try:
        for load, one_thread_speed, expected, compared in ((0.1, 100.0, 2, 2), (0.1, 200.0, 1, 2), (9.0, 100.0, 1, 0)):
            torch.set_num_threads(2)
            timed.clear()
            speeds[1] = one_thread_speed
            monkeypatch.setattr(sizing.os, "getloadavg", lambda load=load: (load, load, load))
            taken = sizing.take_fastest_threads(config, dataset, device, "fp32", lambda: None)
            assert taken == torch.get_num_threads() == expected
            assert len(timed) == compared
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("context", "batch_size"), [(512, 2), (32, 8)])
def test_threads_are_compared_with_short_steps_for_a_base_with_its_large_vocabulary(
    context: int, batch_size: int
) -> None:
    config = resolve(TRAIN, sets=(f"model.context={context}", "train.micro_batch=4"), flags={"train.time": "5m"}).config
    trial = sizing._trial_config(replace(config, base=BaseConfig(model="base")), 2)
    assert (trial.train.batch_size, trial.train.micro_batch, trial.base.model) == (batch_size, 0, None)


def test_validating_the_whole_text_is_left_out_if_it_takes_too_long() -> None:
    costs = MeasuredCosts(1_000, 100_000, token_s=0.0001, save_s=0.5, most_final_s=15.0)
    assert costs.validates_all
    costs(Eval(step=1, loss=1.0, perplexity=2.7, tokens=1_000, elapsed_s=2.0))
    assert not costs.validates_all
    assert costs.final_s < 5.0
    everything = MeasuredCosts(1_000, 1_000, token_s=1.0, save_s=0.5, most_final_s=15.0)
    assert everything.validates_all  # each validation covers the whole text anyway


def test_a_preparation_that_uses_up_the_time_ends_with_what_to_do() -> None:
    class Session:
        def check_requests(self) -> None: ...

    now = [0.0]
    session: Any = Session()
    check = limit_preparation(session, 100.0, lambda: now[0])
    check()
    now[0] = 61.0
    with pytest.raises(SeedbedError, match="does not suffice") as caught:
        check()
    assert "is kept" in caught.value.hint


def test_the_speed_of_real_steps_is_measured(tmp_path: Path) -> None:
    sets = ("data.stories=40", "tokenizer.vocab_size=300", "model.context=16", "train.batch_size=2", "data.workers=1")
    config = resolve(TRAIN, preset="nano", sets=sets).config
    dataset = build_dataset(config.data, config.tokenizer, cache=tmp_path, emit=lambda *_: None)
    device = Device(torch.device("cpu"), "a CPU", "cpu")
    checks: list[int] = []
    small = sizing.shaped(config.model, RUNGS[0])
    speed = sizing._speed(replace(config, model=small), dataset, device, "fp32", 0.1, lambda: checks.append(1))
    assert speed > 0
    assert len(checks) >= 3
