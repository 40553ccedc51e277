"""The training loop: its events, when it stops, and which numbers it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from seedbed.data.batches import Batch
from seedbed.events import ASKED, Eval, Event, Message, Sample, Step
from seedbed.train import loop
from seedbed.train.hooks import (
    EvaluateHook,
    Interrupted,
    LossMonitorHook,
    SampleHook,
    SaveHook,
    StopHook,
    ValidationResult,
    evaluate,
)
from seedbed.train.learner import StepResult
from seedbed.train.loop import NumericsError, Progress
from seedbed.train.step import train_step


class Counting:
    """Batches that record the steps for which they were requested."""

    def __init__(self) -> None:
        self.requested: list[int] = []

    def batch(self, step: int) -> Batch:
        self.requested.append(step)
        ids = torch.full((2, 4), step)
        return Batch(ids, ids)


class Scripted:
    """A learner whose loss at a step is given."""

    device = torch.device("cpu")
    tolerates_overflow = False
    gradient = 1.0

    def __init__(self, loss: Callable[[int], float]) -> None:
        self._loss = loss
        self.weight = torch.zeros(1)

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        return torch.tensor(self._loss(int(batch.inputs[0, 0])))

    def gradients(self) -> list[Tensor]:
        return [torch.full((4,), self.gradient)]

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        update()
        return True

    def loss_sum(self, batch: Batch) -> Tensor:
        return torch.tensor(2.0 * batch.targets.numel())


class Recording:
    def __init__(self) -> None:
        self.scales: list[float] = []

    def step(self, scale: float) -> None:
        self.scales.append(scale)

    def lr(self, scale: float) -> float:
        return 0.5 * scale


class Steps:
    """A learner and an optimizer, driven by the loop."""

    def __init__(self, learner: Any, optimizer: Recording) -> None:
        self.learner, self.optimizer = learner, optimizer

    @property
    def tolerates_overflow(self) -> bool:
        return bool(self.learner.tolerates_overflow)

    def step(self, batch: Batch, scale: float) -> StepResult:
        return train_step(self.learner, batch, self.optimizer, scale, grad_clip=1.0, micro_batch=0)

    def lr(self, scale: float) -> float:
        return self.optimizer.lr(scale)


def fit(
    learner: Any, batches: Any, optimizer: Recording, schedule: Any, steps: int, emit: Any, *rest: Any, **more: Any
) -> Any:
    return loop.fit(Steps(learner, optimizer), batches, schedule, steps, emit, *rest, **more)


def test_step_events_have_learning_rate_norm_and_tokens() -> None:
    emitted: list[Event] = []
    optimizer = Recording()
    batches = Counting()
    end = fit(Scripted(lambda step: 3.0 - step), batches, optimizer, lambda step: 1 / (step + 1), 2, emitted.append)
    steps = [event for event in emitted if isinstance(event, Step)]
    assert [(each.step, each.loss, each.lr, each.tokens) for each in steps] == [(1, 3.0, 0.5, 8), (2, 2.0, 0.25, 16)]
    assert steps[0].grad_norm == pytest.approx(2.0)
    assert optimizer.scales == [1.0, 0.5]
    assert batches.requested == [0, 1]
    assert end.step == 2
    assert end.tokens == 16


def test_a_start_at_a_later_step_requests_the_batches_from_there() -> None:
    batches = Counting()
    fit(
        Scripted(lambda _: 1.0),
        batches,
        Recording(),
        lambda _: 1.0,
        5,
        lambda _: None,
        start=Progress(step=3, tokens=24),
    )
    assert batches.requested == [3, 4]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_a_broken_loss_stops_the_run_before_a_hook_can_save(bad: float) -> None:
    saved: list[int] = []
    with pytest.raises(NumericsError, match="step 3"):
        fit(
            Scripted(lambda step: bad if step == 2 else 1.0),
            Counting(),
            Recording(),
            lambda _: 1.0,
            9,
            lambda _: None,
            [lambda progress: saved.append(progress.step)],
        )
    assert saved == [1, 2]


def test_a_broken_gradient_with_a_finite_loss_stops_the_run() -> None:
    learner = Scripted(lambda _: 1.0)
    learner.gradient = math.nan
    with pytest.raises(NumericsError, match=r"gradient norm is NaN or infinite \(nan\) at step 1"):
        fit(learner, Counting(), Recording(), lambda _: 1.0, 3, lambda _: None)


def test_a_stop_request_ends_after_the_step_and_saves() -> None:
    requested = {"stop": None}
    saved: list[tuple[int, bool]] = []

    def request(progress: Progress) -> None:
        if progress.step == 2:
            requested["stop"] = "SIGTERM"

    end = fit(
        Scripted(lambda _: 1.0),
        Counting(),
        Recording(),
        lambda _: 1.0,
        9,
        lambda _: None,
        [
            request,
            StopHook(lambda: requested["stop"]),
            SaveHook(
                lambda progress, best: saved.append((progress.step, best)),
                lambda: None,
                every=0,
                keep_best=True,
                requested=lambda: False,
            ),
        ],
    )
    assert (end.step, end.stop) == (2, ASKED)
    assert saved == [(2, False)]


def validation_hook(
    losses: dict[int, float], emitted: list[Event], *, final: float = math.nan, **options: Any
) -> tuple[EvaluateHook, list[int]]:
    """Validation at every second step with these losses; `final` is the one over all of the text."""
    limits: list[int] = []
    step = {"now": 0}

    def score(limit: int) -> ValidationResult:
        limits.append(limit)
        loss = final if limit == 0 and not math.isnan(final) else losses[step["now"]]
        return ValidationResult(loss * 10, 10, 20.0)

    hook = EvaluateHook(score, emitted.append, every=2, **options)

    def counted(progress: Progress) -> None:
        step["now"] = progress.step
        hook(progress)

    return counted, limits  # type: ignore[return-value]


def train(hooks: list[Any], steps: int, emitted: list[Event], start: Progress | None = None) -> Progress:
    learner = Scripted(lambda _: 1.0)
    return fit(learner, Counting(), Recording(), lambda _: 1.0, steps, emitted.append, hooks, start=start)


def evals(emitted: list[Event]) -> list[Eval]:
    return [event for event in emitted if isinstance(event, Eval)]


def test_best_compares_only_validations_over_the_same_number_of_tokens() -> None:
    emitted: list[Event] = []
    hook, limits = validation_hook({2: 3.0, 4: 2.0, 5: 2.5}, emitted, tokens=7, final=1.5)
    end = train([hook], 5, emitted)
    assert (end.val_loss, end.best_loss, end.best_step) == (2.5, 2.0, 4)
    assert limits == [7, 7, 7, 0]
    assert [(each.step, each.loss, each.full, each.best) for each in evals(emitted)] == [
        (2, 3.0, False, True),
        (4, 2.0, False, True),
        (5, 2.5, False, False),
        (5, 1.5, True, False),
    ], "the final loss over all of the text was compared with losses over a part of it"
    assert evals(emitted)[0].perplexity == pytest.approx(math.exp(3.0))
    assert evals(emitted)[0].bits_per_byte == pytest.approx(30 / math.log(2) / 20)


def test_the_last_validation_runs_once_if_every_validation_scores_all_tokens() -> None:
    emitted: list[Event] = []
    hook, limits = validation_hook({2: 3.0, 4: 2.0}, emitted)
    train([hook], 4, emitted)
    assert limits == [0, 0]
    assert [(each.full, each.best) for each in evals(emitted)] == [(True, True), (True, True)]


def test_a_loss_above_the_loss_to_beat_is_not_the_best() -> None:
    emitted: list[Event] = []
    saved: list[tuple[int, bool]] = []
    hook, _ = validation_hook({2: 3.0, 4: 2.0, 6: 1.4}, emitted, loss_to_beat=1.5)
    saves = SaveHook(
        lambda progress, best: saved.append((progress.step, best)),
        lambda: None,
        every=0,
        keep_best=True,
        requested=lambda: False,
        loss_to_beat=1.5,
    )
    train([hook, saves], 6, emitted)
    assert [each.best for each in evals(emitted)] == [False, False, True]
    assert saved == [(6, True)]


@pytest.mark.parametrize("stopped_at", [4, 6])
def test_a_stop_at_a_validation_leaves_it_to_the_resume(stopped_at: int) -> None:
    emitted: list[Event] = []
    losses = {2: 3.0, 4: 2.0, 6: 2.5}
    hook, _ = validation_hook(losses, emitted, tokens=7, final=2.2)
    stop = StopHook(lambda: "SIGTERM")
    requests = [lambda progress: stop(progress) if progress.step == stopped_at else None, hook]
    samples = SampleHook(lambda prompt, step: "text", emitted.append, every=2, prompts=("a",))
    end = train([*requests, samples], 6, emitted)
    assert (end.step, end.stop) == (stopped_at, ASKED)
    assert stopped_at not in [each.step for each in evals(emitted)]
    # A checkpoint keeps the progress; a resume restores it.
    hook, _ = validation_hook(losses, emitted, tokens=7, final=2.2)
    end = train([hook, samples], 6, emitted, start=Progress(**vars(end)))
    assert (end.step, end.stop, end.best_loss, end.best_step) == (6, None, 2.0, 4)
    assert [(each.step, each.loss) for each in evals(emitted)] == [(2, 3.0), (4, 2.0), (6, 2.5), (6, 2.2)]
    assert [event.step for event in emitted if isinstance(event, Sample)] == [2, 4, 6]
    assert [event.step for event in emitted if isinstance(event, Step)] == [1, 2, 3, 4, 5, 6]


def test_a_stop_during_the_final_full_validation_leaves_only_that_to_the_resume() -> None:
    emitted: list[Event] = []
    requested = {"stop": True}

    def score(limit: int) -> ValidationResult:
        if limit == 0 and requested["stop"]:
            raise Interrupted("asked to stop")
        return ValidationResult(20.0, 10, 20.0)

    hook = EvaluateHook(score, emitted.append, every=2, tokens=7)
    end = train([hook], 2, emitted)
    assert (end.step, end.stop, end.best_step, end.evals_since_best) == (2, ASKED, 2, 0)
    requested["stop"] = False
    end = train([hook], 2, emitted, start=Progress(**vars(end)))
    assert (end.stop, end.best_step, end.evals_since_best, end.last_eval_step) == (None, 2, 0, 2)
    assert [(each.step, each.full, each.best) for each in evals(emitted)] == [(2, False, True), (2, True, False)]


@pytest.mark.parametrize(("elapsed_s", "said"), [(0.6, ["10m 00s"]), (0.0, [])])
def test_a_last_validation_that_takes_longer_than_the_training_is_announced(elapsed_s: float, said: list[str]) -> None:
    emitted: list[Event] = []
    hook = EvaluateHook(
        lambda limit: ValidationResult(20.0, 1000, 2000.0, elapsed_s),
        emitted.append,
        every=2,
        tokens=7,
        all_tokens=1_000_000,
        skip_hint="stop it",
    )
    train([hook], 2, emitted)
    messages = [event for event in emitted if isinstance(event, Message)]
    assert [word in message.text for word, message in zip(said, messages, strict=True)] == [True] * len(said)
    assert [message.hint for message in messages] == ["stop it"] * len(said)
    order = [type(event).__name__ for event in emitted if isinstance(event, Eval | Message)]
    assert order == ["Eval", *["Message"] * len(said), "Eval"]


def test_a_resume_at_a_validated_step_does_not_validate_it_again() -> None:
    emitted: list[Event] = []
    hook, _ = validation_hook({2: 3.0, 4: 2.0, 6: 1.0}, emitted)
    samples = SampleHook(lambda prompt, step: "text", emitted.append, every=2, prompts=("a",))
    first = train([hook, samples], 4, emitted)
    train([hook, samples], 6, emitted, start=Progress(**vars(first)))
    assert [each.step for each in evals(emitted)] == [2, 4, 6]
    assert [event.step for event in emitted if isinstance(event, Sample)] == [2, 4, 6]


def test_the_loss_monitor_counts_a_step_once_even_if_a_resume_repeats_it() -> None:
    monitor = LossMonitorHook(lambda _: None, warmup_steps=0)
    progress = Progress(step=5, loss=2.0, total=9)
    monitor(progress)
    progress.step, progress.loss = 6, 4.0
    monitor(progress)
    before = monitor.state()
    again = LossMonitorHook(lambda _: None, warmup_steps=0)
    again.load_state(before)
    again(progress)
    assert again.state() == before


def test_early_stopping_waits_for_its_patience() -> None:
    emitted: list[Event] = []
    hook, _ = validation_hook({2: 1.0, 4: 1.1, 6: 1.2, 8: 1.3}, emitted, early_stop=2)
    end = fit(Scripted(lambda _: 1.0), Counting(), Recording(), lambda _: 1.0, 20, emitted.append, [hook])
    assert end.step == 6
    assert [event.code for event in emitted if isinstance(event, Message)] == ["early-stop"]


def test_the_early_stopping_message_has_the_given_hint() -> None:
    emitted: list[Event] = []
    hook, _ = validation_hook(
        {2: 1.0, 4: 1.1}, emitted, early_stop=1, continue_hint="`seedbed resume RUN --early-stop 0`"
    )
    train([hook], 20, emitted)
    (message,) = [event for event in emitted if isinstance(event, Message)]
    assert message.text == "Stopped early: 1 validation without a better loss than 1.0000."
    assert message.hint == "`seedbed resume RUN --early-stop 0`"


def test_patience_that_starts_anew_ignores_an_older_best_loss() -> None:
    emitted: list[Event] = []
    hook, _ = validation_hook({2: 1.0, 4: 1.5, 6: 1.4, 8: 1.3, 10: 1.35, 12: 1.36, 14: 1.0}, emitted, early_stop=2)
    start = Progress(step=2, loss=1.0, best_loss=1.0, best_step=2, last_eval_step=2, last_sample_step=2)
    end = train([hook], 20, emitted, start=start)
    assert end.step == 12
    assert (end.best_loss, end.best_step) == (1.0, 2)
    assert not any(each.best for each in evals(emitted))


def test_divergence_is_reported_once() -> None:
    emitted: list[Event] = []
    monitor = LossMonitorHook(emitted.append, warmup_steps=5)
    fit(
        Scripted(lambda step: 2.0 if step < 60 else 6.0),
        Counting(),
        Recording(),
        lambda _: 1.0,
        200,
        emitted.append,
        [monitor],
    )
    messages = [event for event in emitted if isinstance(event, Message)]
    assert [message.code for message in messages] == ["divergence"]
    assert "optimizer.lr" in messages[0].hint


def test_a_falling_noisy_loss_is_not_divergence() -> None:
    emitted: list[Event] = []
    monitor = LossMonitorHook(emitted.append, warmup_steps=5)
    noisy = Scripted(lambda step: 4.0 * 0.99**step + 1.5 + 0.4 * math.sin(step * 12.9898))
    fit(noisy, Counting(), Recording(), lambda _: 1.0, 300, emitted.append, [monitor])
    assert not [event for event in emitted if isinstance(event, Message)]


def test_overfitting_is_reported_once() -> None:
    emitted: list[Event] = []
    validation = {
        step: 2.0 - 0.1 * min(step, 10) + (0.05 * (step - 10) if step > 10 else 0.0) for step in range(0, 41, 2)
    }
    hook, _ = validation_hook(validation, emitted)
    monitor = LossMonitorHook(emitted.append, warmup_steps=0)
    fit(
        Scripted(lambda step: 2.0 - 0.04 * step),
        Counting(),
        Recording(),
        lambda _: 1.0,
        40,
        emitted.append,
        [hook, monitor],
    )
    assert [event.code for event in emitted if isinstance(event, Message)] == ["overfitting"]


def test_evaluate_weights_batches_by_their_tokens() -> None:
    score = evaluate(
        Scripted(lambda _: 1.0), [Counting().batch(1), Batch(torch.zeros(1, 4), torch.tensor([[1, -100, -100, -100]]))]
    )
    assert score.tokens == 9
    assert score.loss == pytest.approx((2.0 * 8 + 2.0 * 4) / 9)


def test_a_gradient_that_stays_zero_ends_the_run_and_a_single_zero_does_not() -> None:
    zero_gradient_steps = Scripted(lambda _: 6.238)
    zero_gradient_steps.gradient = 0.0
    saved: list[int] = []
    with pytest.raises(NumericsError, match=r"exactly 0 for 10 steps at step 10 \(loss 6\.238"):
        fit(
            zero_gradient_steps,
            Counting(),
            Recording(),
            lambda _: 1.0,
            60,
            lambda _: None,
            [lambda progress: saved.append(progress.step)],
        )
    assert saved == list(range(1, 10))

    class Blinking(Scripted):
        def gradients(self) -> list[Tensor]:
            self.gradient = 1.0 - self.gradient
            return super().gradients()

    end = fit(Blinking(lambda _: 6.238), Counting(), Recording(), lambda _: 1.0, 40, lambda _: None)
    assert end.step == 40


def test_a_run_that_only_skips_steps_ends_with_the_reason() -> None:
    class Overflowing(Scripted):
        tolerates_overflow = True
        gradient = math.inf

        def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
            self.taken = getattr(self, "taken", 0) + 1
            self.tolerates_overflow = self.taken < 24
            return False

    with pytest.raises(NumericsError, match=r"overflows fp16 at step 24, .* last 24 steps were skipped") as caught:
        fit(Overflowing(lambda _: 3.0), Counting(), Recording(), lambda _: 1.0, 60, lambda _: None)
    assert "fp32" in caught.value.hint


def test_a_loss_that_stays_far_above_the_first_is_divergence_even_in_the_warm_up() -> None:
    emitted: list[Event] = []
    monitor = LossMonitorHook(emitted.append, warmup_steps=500)
    exploding = Scripted(lambda step: 6.2 if step < 3 else 3e6)
    fit(exploding, Counting(), Recording(), lambda _: 1.0, 60, emitted.append, [monitor])
    messages = [event for event in emitted if isinstance(event, Message)]
    assert [(message.code, message.step) for message in messages] == [("divergence", 23)]
    assert "6.200" in messages[0].text


def test_a_short_spike_in_the_warm_up_is_not_divergence() -> None:
    emitted: list[Event] = []
    monitor = LossMonitorHook(emitted.append, warmup_steps=500)
    spiking = Scripted(lambda step: 3e6 if 5 <= step < 15 else 6.2)
    fit(spiking, Counting(), Recording(), lambda _: 1.0, 400, emitted.append, [monitor])
    assert not [event for event in emitted if isinstance(event, Message)]
