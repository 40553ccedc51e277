"""Whether to compile: the setting, the expected gain, the compiler, and the check of the compiled loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from seedbed.config.schema import ModelConfig
from seedbed.config.time_budget import COMPILE_PAYS_FROM_S
from seedbed.data.batches import Batch
from seedbed.errors import SeedbedError
from seedbed.events import Event, Message, Phase
from seedbed.model.decoder import Decoder
from seedbed.train import compiling
from seedbed.train.compiling import decide_compile, trial
from seedbed.train.decoder_learner import DecoderLearner
from seedbed.train.device import Device
from seedbed.train.trainer import LearnerTrainer


class Clock:
    """A clock that moves only when a learner computes."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Timed:
    """A learner whose leaves take the given seconds in turn; once compiled, it returns another loss or raises."""

    def __init__(
        self,
        clock: Clock,
        *seconds: float,
        compiled_loss: float | Exception = 5.0,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.calls: list[str] = []
        self._clock, self._seconds = clock, list(seconds)
        self._compiled_loss = compiled_loss
        self._compiled = False

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        self.calls.append(f"computed {batch.inputs.shape[0]} rows" + (" compiled" if self._compiled else ""))
        self._clock.now += self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        if self._compiled and isinstance(self._compiled_loss, Exception):
            raise self._compiled_loss
        return torch.tensor(cast("float", self._compiled_loss) if self._compiled else 5.0)

    def discard(self) -> None:
        self.calls.append("discarded")

    def compile(self) -> None:
        self._compiled = True

    def eager(self) -> None:
        self._compiled = False
        self.calls.append("eager again")


BATCH = Batch(torch.zeros(8, 4, dtype=torch.long), torch.zeros(8, 4, dtype=torch.long))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(compiling, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _restore_torch_settings() -> Iterator[None]:
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "has_compiler", lambda _: True)


def decide(learner: Timed, **options: Any) -> tuple[bool, float, list[Event]]:
    emitted: list[Event] = []
    options = {"asked": "auto", "steps": 100, "micro_batch": 0, "emit": emitted.append, **options}
    compiled, tried = decide_compile(cast("DecoderLearner", learner), BATCH, **options)
    return compiled, tried.step_s, emitted


def messages(emitted: list[Event]) -> list[tuple[str, str]]:
    return [(event.level, event.code) for event in emitted if isinstance(event, Message)]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("asked", ["on", "auto"])
def test_a_long_run_is_compiled_and_its_kernels_are_deterministic_on_a_cpu(clock: Clock, asked: str) -> None:
    learner = Timed(clock, 9.0, 4.0, compiled_loss=5.0004)
    compiled, _, emitted = decide(learner, asked=asked)
    assert compiled
    assert learner.calls[-2:] == ["computed 8 rows compiled", "discarded"]
    assert torch.are_deterministic_algorithms_enabled()
    assert [(event.name, event.done) for event in emitted if isinstance(event, Phase)] == [
        ("compile", False),
        ("compile", True),
    ]
    assert messages(emitted) == []


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("asked", "device"), [("off", "cpu"), ("on", "mps"), ("auto", "mps")])
def test_a_run_that_must_not_be_compiled_has_one_trial_and_stays_eager(clock: Clock, asked: str, device: str) -> None:
    learner = Timed(clock, 1000.0, device=device)
    assert decide(learner, asked=asked) == (False, 1000.0, [])
    assert learner.calls == ["computed 8 rows", "discarded"]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.usefixtures("compiler")
def test_a_short_run_is_compiled_only_if_compile_is_on(clock: Clock) -> None:
    steps = int(COMPILE_PAYS_FROM_S)
    assert decide(Timed(clock, 0.9), steps=steps)[0] is False
    assert decide(Timed(clock, 1.1), steps=steps)[0] is True
    assert decide(Timed(clock, 0.9), steps=steps, asked="on")[0] is True


@pytest.mark.usefixtures("compiler")
def test_a_slow_first_trial_is_ignored_and_the_fastest_of_three_decides(clock: Clock) -> None:
    """The first batch includes the start-up time of torch."""
    learner = Timed(clock, 4.0, 2.0, 1.0, 2.0)
    compiled, step_s, _ = decide(learner, steps=100)
    assert (compiled, step_s) == (False, 1.0)
    assert learner.calls.count("computed 8 rows") == 4


@pytest.mark.usefixtures("compiler")
def test_a_trial_that_takes_long_is_not_repeated(clock: Clock) -> None:
    learner = Timed(clock, 60.0)
    compiled, _, _ = decide(learner, steps=100)
    assert compiled
    assert learner.calls.count("computed 8 rows") == 1


@pytest.mark.usefixtures("compiler")
def test_the_time_of_a_step_is_the_time_of_a_leaf_times_the_number_of_leaves(clock: Clock) -> None:
    learner = Timed(clock, 1.0)
    compiled, step_s, _ = decide(learner, steps=76, micro_batch=2)
    assert (compiled, step_s) == (True, 4.0)
    assert learner.calls[0] == "computed 2 rows"


def test_a_long_run_without_a_compiler_gets_a_message(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "has_compiler", lambda _: False)
    learner = Timed(clock, 100.0)
    compiled, _, emitted = decide(learner)
    assert not compiled
    assert messages(emitted) == [("info", "no-compiler")]
    assert not any("compiled" in each for each in learner.calls)
    assert messages(decide(Timed(clock, 0.1))[2]) == []


FAILURES = [RuntimeError("g++: fatal error\nand a long log"), ImportError("no triton"), OSError("no such file"), 5.2]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
def test_a_compile_error_or_another_loss_is_a_warning_and_training_stays_eager(
    clock: Clock, failure: float | Exception
) -> None:
    learner = Timed(clock, 100.0, compiled_loss=failure)
    compiled, _, emitted = decide(learner)
    assert not compiled
    assert messages(emitted) == [("warning", "compile")]
    assert learner.calls[-2:] == ["eager again", "discarded"]
    assert not torch.are_deterministic_algorithms_enabled()
    text = next(event.text for event in emitted if isinstance(event, Message))
    assert "\n" not in text
    assert ("5.2" in text) == isinstance(failure, float)
    assert [event.done for event in emitted if isinstance(event, Phase)] == [False, True]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
def test_a_failure_to_compile_is_an_error_if_compile_is_on(clock: Clock, failure: float | Exception) -> None:
    learner = Timed(clock, 1.0, compiled_loss=failure)
    with pytest.raises(SeedbedError) as caught:
        decide(learner, asked="on")
    assert "train.compile = 'off'" in caught.value.hint
    assert learner.calls[-2:] == ["eager again", "discarded"]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("precision", "compiled"), [("fp32", False), ("bf16", True), ("fp16", True)])
def test_the_compiled_loss_may_differ_by_the_rounding_of_the_precision(
    clock: Clock, precision: str, compiled: bool
) -> None:
    learner = Timed(clock, 100.0, compiled_loss=5.03, precision=precision)
    assert decide(learner)[0] is compiled


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("calls", [1, 2, 4, 5, 6])
def test_a_stop_request_ends_the_trials_before_the_next_one(clock: Clock, calls: int) -> None:
    class StoppedError(Exception):
        pass

    left = [calls]

    def check() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StoppedError

    learner = Timed(clock, 4.0)
    with pytest.raises(StoppedError):
        decide(learner, check_requests=check)
    # One trial, three more for the time, then compiling: requests are checked before each, and after the last.
    assert [each for each in learner.calls if each.startswith("computed")] == (
        ["computed 8 rows"] * min(calls - 1, 4) + ["computed 8 rows compiled"] * (calls > 5)
    )


def test_a_trial_does_not_change_a_real_learner() -> None:
    decoder = Decoder(ModelConfig(layers=1, hidden=16, heads=2, kv_heads=1, head_dim=8, ffn=16, context=8), 64)
    decoder.init_weights(torch.Generator().manual_seed(0))
    learner = DecoderLearner(decoder, precision="fp32", device=torch.device("cpu"))
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    ids = torch.randint(0, 64, (4, 9), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids[:, :-1], ids[:, 1:])
    state = torch.get_rng_state()
    first, second = (trial(learner, batch, 2, repeats=2) for _ in range(2))
    assert first.loss == second.loss
    assert first.step_s > 0
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("found", "device", "has"),
    [((), "cpu", False), (("clang++",), "cpu", True), (("g++",), "cpu", True), (("c++",), "mps", True)],
)
def test_any_cpp_compiler_is_accepted(
    monkeypatch: pytest.MonkeyPatch, found: tuple[str, ...], device: str, has: bool
) -> None:
    which: Callable[[str], str | None] = lambda name: f"/bin/{name}" if name in found else None  # noqa: E731
    monkeypatch.setattr(compiling.shutil, "which", which)
    assert compiling.has_compiler(torch.device(device)) is has


@pytest.mark.parametrize(("seconds", "passes"), [(9.0, 1), (0.5, 2)])
def test_a_step_that_took_long_in_its_trial_is_not_timed_again(clock: Clock, seconds: float, passes: int) -> None:
    learner: Any = Timed(clock, seconds)
    device = Device(torch.device("cpu"), "a CPU", "cpu")
    trainer = LearnerTrainer(learner, cast("Any", None), device, grad_clip=1.0)
    trainer.prepare(BATCH, 1, lambda *_: None, lambda: None)
    assert trainer.seconds_per_step(BATCH, lambda: None) == seconds
    assert learner.calls.count("computed 8 rows") == passes
