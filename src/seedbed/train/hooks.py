"""Hooks that the training loop calls between steps: they validate, sample, save, stop, pause, or warn of divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, SupportsFloat

from seedbed.errors import SeedbedError
from seedbed.events import ASKED, CLEARLY_WORSE, Emit, Eval, Message, Phase, Sample
from seedbed.text import count, duration
from seedbed.train.learner import Batch
from seedbed.train.loop import Progress

EARLY_STOP = "early-stop"

_LONG_S = 30.0
"""The last validation is announced if it takes longer than this, and longer than all before it."""


class Interrupted(Exception):  # noqa: N818  # not an error: a request
    """A stop request interrupted a validation or a sample, which a resume repeats."""


class Scorer(Protocol):
    """A model that can be validated (a Protocol; learners and trainers implement it)."""

    def loss_sum(self, batch: Batch) -> SupportsFloat:
        """The loss in nats summed over the batch's targets, without gradients."""
        ...


class ValidationResult:
    """The result of a validation. `loss`: mean in nats per evaluated token; `elapsed_s`: seconds without pauses."""

    def __init__(self, loss_sum: float, tokens: int, num_bytes: float | None, elapsed_s: float | None = None) -> None:
        self.elapsed_s = elapsed_s
        self.loss = loss_sum / max(tokens, 1)
        self.tokens = tokens
        self.bits_per_byte = loss_sum / math.log(2) / num_bytes if num_bytes else None

    @property
    def perplexity(self) -> float:
        """The perplexity, e^loss; infinity if that overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def evaluate(
    scorer: Scorer,
    batches: Iterable[Batch],
    *,
    bytes_per_token: float | None = None,
    between: Callable[[int], None] = lambda _: None,
) -> ValidationResult:
    """Validate: compute the loss of every target of the batches once, without gradients. Losses are added in float64.

    `between` is called before each batch with the number of tokens evaluated so far. If it raises an exception, the
    validation stops.
    """
    loss_sum, tokens, elapsed_s = 0.0, 0, 0.0
    for batch in batches:
        between(tokens)
        begun = time.monotonic()
        loss_sum += float(scorer.loss_sum(batch))
        elapsed_s += time.monotonic() - begun
        tokens += batch.trained
    return ValidationResult(loss_sum, tokens, tokens * bytes_per_token if bytes_per_token else None, elapsed_s)


def emit_result(emit: Emit, score: ValidationResult, step: int, *, full: bool, best: bool) -> None:
    """Emit the `eval` event of a validation. `full`: over all of the text; `best`: the best of the run so far."""
    emit(
        Eval(
            step=step,
            loss=score.loss,
            perplexity=score.perplexity,
            bits_per_byte=score.bits_per_byte,
            tokens=score.tokens,
            full=full,
            best=best,
            elapsed_s=score.elapsed_s,
        )
    )


@contextmanager
def phase(emit: Emit, name: str, step: int | None = None) -> Iterator[None]:
    """Context manager: emit a `phase` event at the start and at the end of the `with` block, even if the block fails."""
    begun = time.monotonic()
    emit(Phase(name=name, step=step))
    try:
        yield
    finally:
        emit(Phase(name=name, step=step, done=True, elapsed_s=time.monotonic() - begun))


class EvaluateHook:
    """A hook that validates every `every` steps and after the last step, unless that step was already validated.

    Each validation evaluates the same `tokens` tokens (0: all), so that losses are comparable. After the last step, all
    tokens are evaluated as well; that final loss is not compared with others. `loss_to_beat` is the lowest loss of a
    superseded checkpoint, which a new best one must be below. `whole_at_end`: whether there is time to evaluate all
    tokens after the last step; if that takes long (`all_tokens`: how many there are), it is announced, and `skip_hint` says
    how to do without it. `continue_hint` says how to train an early-stopped run further. An interrupted validation has no
    result and stops the run; a resume repeats it.
    """

    def __init__(
        self,
        score: Callable[[int], ValidationResult],
        emit: Emit,
        *,
        every: int,
        tokens: int = 0,
        early_stop: int = 0,
        loss_to_beat: float | None = None,
        continue_hint: str = "",
        whole_at_end: Callable[[], bool] = lambda: True,
        all_tokens: int = 0,
        skip_hint: str = "",
    ) -> None:
        self._score = score
        self._whole_at_end = whole_at_end
        self._all_tokens = all_tokens
        self._skip_hint = skip_hint
        self._begun_s = time.monotonic()
        self._emit = emit
        self._every = every
        self._tokens = tokens
        self._early_stop = early_stop
        self._loss_to_beat = math.inf if loss_to_beat is None else loss_to_beat
        self._continue_hint = continue_hint

    def __call__(self, progress: Progress) -> None:
        if progress.stop is not None or not evaluation_due(progress, self._every):
            return
        final = progress.step >= progress.total
        try:
            with phase(self._emit, "evaluate", progress.step):
                score = self._compare(progress) if progress.last_compared_step != progress.step else None
                if final and self._tokens and self._whole_at_end():
                    self._announce(score, progress.step)
                    emit_result(self._emit, self._score(0), progress.step, full=True, best=False)
        except Interrupted:
            progress.stop = ASKED
            return
        progress.last_eval_step = progress.step
        if self._early_stop and progress.evals_since_best >= self._early_stop and not final:
            self._stop_early(progress)

    def _announce(self, score: ValidationResult | None, step: int) -> None:
        """Say how long the validation on all tokens will take if that is longer than everything before it."""
        if score is None or score.elapsed_s is None:
            return
        expected_s = self._all_tokens * score.elapsed_s / max(score.tokens, 1)
        if expected_s < max(_LONG_S, time.monotonic() - self._begun_s):
            return
        what = f"The last validation covers all {count(self._all_tokens)} tokens"
        self._emit(
            Message(
                level="info",
                code="last-validation",
                text=f"{what}, which takes about {duration(expected_s)}: longer than the training.",
                hint=self._skip_hint,
                step=step,
            )
        )

    def _compare(self, progress: Progress) -> ValidationResult:
        score = self._score(self._tokens)
        progress.val_loss = score.loss
        improved = progress.best_loss is None or score.loss < progress.best_loss
        if improved:
            progress.best_loss, progress.best_step = score.loss, progress.step
        if progress.patience_loss is None or score.loss < progress.patience_loss:
            progress.patience_loss, progress.evals_since_best = score.loss, 0
        else:
            progress.evals_since_best += 1
        progress.last_compared_step = progress.step
        best = improved and score.loss < self._loss_to_beat
        emit_result(self._emit, score, progress.step, full=not self._tokens, best=best)
        return score

    def _stop_early(self, progress: Progress) -> None:
        progress.stop = EARLY_STOP
        number = progress.evals_since_best
        many = f"{number} validations" if number > 1 else "1 validation"
        self._emit(
            Message(
                level="info",
                code=EARLY_STOP,
                text=f"Stopped early: {many} without a better loss than {progress.patience_loss:.4f}.",
                why=f"The best loss of the run was {progress.best_loss:.4f}, at step {progress.best_step}.",
                hint=self._continue_hint,
                step=progress.step,
            )
        )


def evaluation_due(progress: Progress, every: int) -> bool:
    """Whether a validation is due at the current step and has not been done yet."""
    due = progress.step >= progress.total or (every > 0 and progress.step % every == 0)
    return due and progress.last_eval_step != progress.step


class SampleHook:
    """A hook that generates samples every `every` steps and after the last step, unless that step already has samples.

    A sample that fails only causes a warning. An interrupted sample stops the run; a resume repeats it.
    """

    def __init__(self, write: Callable[[str, int], str], emit: Emit, *, every: int, prompts: tuple[str, ...]) -> None:
        self._write = write
        self._emit = emit
        self._every = every
        self._prompts = prompts

    def __call__(self, progress: Progress) -> None:
        due = progress.step >= progress.total or (self._every > 0 and progress.step % self._every == 0)
        if progress.stop is not None or not due or progress.last_sample_step == progress.step:
            return
        try:
            with phase(self._emit, "sample", progress.step):
                for prompt in self._prompts:
                    self._emit(Sample(step=progress.step, prompt=prompt, text=self._write(prompt, progress.step)))
        except Interrupted:
            progress.stop = ASKED
            return
        except (SeedbedError, RuntimeError, ValueError, MemoryError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            self._emit(
                Message(
                    level="warning",
                    code="sample",
                    text=f"The sample at step {progress.step} failed: {reason.rstrip('.')}.",
                    why="Training continues.",
                    hint="Check train.sample_prompts and train.sample_tokens.",
                    step=progress.step,
                )
            )
        progress.last_sample_step = progress.step


class SaveHook:
    """A hook that saves a checkpoint every `every` steps, at the best validation, on request, and after the last step.

    To be the best, a validation must also be below `loss_to_beat`, the lowest loss of a superseded checkpoint.
    """

    def __init__(
        self,
        save: Callable[[Progress, bool], None],
        poll: Callable[[], None],
        *,
        every: int,
        keep_best: bool,
        requested: Callable[[], bool],
        loss_to_beat: float | None = None,
    ) -> None:
        self._save = save
        self._poll = poll
        self._every = every
        self._keep_best = keep_best
        self._requested = requested
        self._loss_to_beat = math.inf if loss_to_beat is None else loss_to_beat

    def __call__(self, progress: Progress) -> None:
        best = (
            self._keep_best
            and progress.best_step == progress.step
            and progress.best_loss is not None
            and progress.best_loss < self._loss_to_beat
        )
        due = self._every > 0 and progress.step % self._every == 0
        requested = self._requested()  # clears the request even if a save is due anyway
        if requested or due or best or progress.last:
            self._save(progress, best)
        self._poll()


class StopHook:
    """A hook that ends the training loop on a stop request. It must come before the save hook, which then saves."""

    def __init__(self, requested: Callable[[], str | None]) -> None:
        self._requested = requested

    def __call__(self, progress: Progress) -> None:
        if progress.stop is None and self._requested():
            progress.stop = ASKED


class PauseHook:
    """A hook that pauses the training loop on request. It must be the last hook, and it saves before it waits.

    `wait` blocks during the pause. It returns whether to continue; False means that a stop was requested.
    """

    def __init__(
        self, requested: Callable[[], bool], save: Callable[[Progress], None], wait: Callable[[], bool]
    ) -> None:
        self._requested = requested
        self._save = save
        self._wait = wait

    def __call__(self, progress: Progress) -> None:
        if progress.last or not self._requested():
            return
        self._save(progress)
        if not self._wait():
            progress.stop = ASKED


class LossMonitorHook:
    """A hook that warns of divergence and of overfitting, once each, with a hint."""

    def __init__(self, emit: Emit, *, warmup_steps: int) -> None:
        self._emit = emit
        self._warmup = warmup_steps
        self._mean: float | None = None
        self._first: float | None = None
        self._high_since_first_steps = 0
        self._lowest = math.inf
        self._high_steps = 0
        self._lowest_at_eval: float | None = None
        self._seen_step: int | None = None
        self._seen_eval: int | None = None
        self._warned: set[str] = set()

    def state(self) -> dict[str, float | int | None]:
        """The loss statistics that a checkpoint stores for a resume."""
        return {
            "mean": self._mean,
            "first": self._first,
            "lowest": None if math.isinf(self._lowest) else self._lowest,
            "high_steps": self._high_steps,
            "lowest_at_eval": self._lowest_at_eval,
            "seen_step": self._seen_step,
            "seen_eval": self._seen_eval,
        }

    def load_state(self, state: dict[str, float | int | None]) -> None:
        """Restore the loss statistics that `state` returned."""
        self._mean = state.get("mean")
        self._first = state.get("first")
        self._lowest = math.inf if state.get("lowest") is None else float(state["lowest"] or 0.0)
        self._high_steps = int(state.get("high_steps") or 0)
        self._lowest_at_eval = state.get("lowest_at_eval")
        step, validated = state.get("seen_step"), state.get("seen_eval")
        self._seen_step = None if step is None else int(step)
        self._seen_eval = None if validated is None else int(validated)

    def __call__(self, progress: Progress) -> None:
        if self._seen_step != progress.step:
            self._seen_step = progress.step
            self._training_loss(progress)
        if progress.last_eval_step == progress.step and self._seen_eval != progress.step:
            self._seen_eval = progress.step
            self._overfitting(progress)

    def _training_loss(self, progress: Progress) -> None:
        assert progress.loss is not None
        self._mean = progress.loss if self._mean is None else 0.95 * self._mean + 0.05 * progress.loss
        if progress.step > self._warmup + 20:
            self._lowest = min(self._lowest, self._mean)
            self._high_steps = self._high_steps + 1 if self._mean > self._lowest + max(0.5, 0.2 * self._lowest) else 0
            if self._high_steps >= 20:
                self._divergence(progress, f"its moving average rose from {self._lowest:.3f} to {self._mean:.3f}")
        # A run may diverge before there is a lowest loss to compare with. Then its loss stays above the first loss.
        self._first = progress.loss if self._first is None else self._first
        lost = progress.loss > 1.2 * self._first + 0.5
        self._high_since_first_steps = self._high_since_first_steps + 1 if lost else 0
        if self._high_since_first_steps >= 20:
            self._divergence(progress, f"for 20 steps it has been far above the first loss of {self._first:.3f}")

    def _divergence(self, progress: Progress, how: str) -> None:
        self._warn_once(
            "divergence",
            f"The loss is diverging: {how}.",
            "The learning rate is usually too high for this model and batch.",
            "Try half of optimizer.lr (and optimizer.adam_lr), a longer schedule.warmup or a larger train.batch_size.",
            progress.step,
        )

    def _overfitting(self, progress: Progress) -> None:
        best, mean = progress.best_loss, self._mean
        if best is None or mean is None or progress.val_loss is None:
            return
        if progress.best_step == progress.step:
            self._lowest_at_eval = mean
            return
        rising = progress.val_loss > best * CLEARLY_WORSE and progress.evals_since_best >= 2
        if rising and self._lowest_at_eval is not None and mean < self._lowest_at_eval:
            self._warn_once(
                "overfitting",
                f"Overfitting: the validation loss rose from {best:.4f} (step {progress.best_step}) to {progress.val_loss:.4f}"
                f" while the training loss fell to {mean:.4f}.",
                "The model memorises the training text.",
                "Use more text, fewer train.epochs, a smaller model, more optimizer.weight_decay, or train.early_stop.",
                progress.step,
            )

    def _warn_once(self, code: str, text: str, why: str, hint: str, step: int) -> None:
        if code not in self._warned:
            self._warned.add(code)
            self._emit(Message(level="warning", code=code, text=text, why=why, hint=hint, step=step))
