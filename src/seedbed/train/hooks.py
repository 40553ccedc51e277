"""What happens between steps: evaluate, sample, save, watch the numbers, stop. Each is called with the progress after a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from seedbed.events import Emit, Eval, Message, Phase, Sample
from seedbed.train.learner import Batch, Learner
from seedbed.train.loop import Progress

EARLY_STOP = "early stop"


class Score:
    """A validation's outcome. `loss` is the mean in nats per scored token."""

    def __init__(self, loss_sum: float, tokens: int, num_bytes: float | None) -> None:
        self.loss = loss_sum / max(tokens, 1)
        self.tokens = tokens
        self.bits_per_byte = loss_sum / math.log(2) / num_bytes if num_bytes else None

    @property
    def perplexity(self) -> float:
        """e^loss; infinite where that overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def evaluate(learner: Learner, batches: Iterable[Batch], *, bytes_per_token: float | None = None) -> Score:
    """Score every target of the batches once, without gradients. Sums run in float64 over batches, in order."""
    loss_sum, tokens = 0.0, 0
    for batch in batches:
        loss_sum += float(learner.loss_sum(batch))
        tokens += int((batch.targets >= 0).sum())
    return Score(loss_sum, tokens, tokens * bytes_per_token if bytes_per_token else None)


@contextmanager
def phase(emit: Emit, name: str, step: int | None = None) -> Iterator[None]:
    """Say that a stretch of work begins, and that it ended, even when it fails."""
    begun = time.monotonic()
    emit(Phase(name=name, step=step))
    try:
        yield
    finally:
        emit(Phase(name=name, step=step, done=True, elapsed_s=time.monotonic() - begun))


class EvaluateHook:
    """Validation every `every` steps and after the last one, which always scores everything."""

    def __init__(
        self,
        score: Callable[[int], Score],
        emit: Emit,
        *,
        every: int,
        tokens: int = 0,
        early_stop: int = 0,
    ) -> None:
        self._score = score
        self._emit = emit
        self._every = every
        self._tokens = tokens
        self._early_stop = early_stop

    def __call__(self, progress: Progress) -> None:
        final = progress.step >= progress.total
        due = self._every > 0 and progress.step % self._every == 0
        if progress.stop is not None or not (due or final) or progress.last_eval_step == progress.step:
            return
        limit = 0 if final else self._tokens
        begun = time.monotonic()
        with phase(self._emit, "evaluate", progress.step):
            score = self._score(limit)
        improved = progress.best_loss is None or score.loss < progress.best_loss
        progress.val_loss = score.loss
        progress.last_eval_step = progress.step
        if improved:
            progress.best_loss, progress.best_step, progress.evals_since_best = score.loss, progress.step, 0
        else:
            progress.evals_since_best += 1
        self._emit(
            Eval(
                step=progress.step,
                loss=score.loss,
                perplexity=score.perplexity,
                bits_per_byte=score.bits_per_byte,
                tokens=score.tokens,
                full=limit == 0,
                best=improved,
                elapsed_s=time.monotonic() - begun,
            )
        )
        if self._early_stop and progress.evals_since_best >= self._early_stop and not final:
            progress.stop = EARLY_STOP
            self._emit(
                Message(
                    level="info",
                    code="early-stop",
                    text=f"Stopped: {progress.evals_since_best} validations without a better loss than {progress.best_loss:.4f}.",
                    why=f"The best was at step {progress.best_step}; train.early_stop = {self._early_stop}.",
                    hint="Raise train.early_stop or set it to 0 to go on.",
                    step=progress.step,
                )
            )


class SampleHook:
    """Text from the model every `every` steps and after the last one."""

    def __init__(self, write: Callable[[str, int], str], emit: Emit, *, every: int, prompts: tuple[str, ...]) -> None:
        self._write = write
        self._emit = emit
        self._every = every
        self._prompts = prompts

    def __call__(self, progress: Progress) -> None:
        due = self._every > 0 and progress.step % self._every == 0
        if progress.stop is not None or not (due or progress.step >= progress.total):
            return
        with phase(self._emit, "sample", progress.step):
            for prompt in self._prompts:
                self._emit(Sample(step=progress.step, prompt=prompt, text=self._write(prompt, progress.step)))


class SaveHook:
    """A checkpoint every `every` steps, at a better validation, on request, and when no step will follow."""

    def __init__(
        self,
        save: Callable[[Progress, bool], None],
        poll: Callable[[], None],
        *,
        every: int,
        keep_best: bool,
        requested: Callable[[], bool],
    ) -> None:
        self._save = save
        self._poll = poll
        self._every = every
        self._keep_best = keep_best
        self._requested = requested

    def __call__(self, progress: Progress) -> None:
        best = self._keep_best and progress.best_step == progress.step
        due = self._every > 0 and progress.step % self._every == 0
        requested = self._requested()  # taken in even where one is due anyway
        if requested or due or best or progress.last:
            self._save(progress, best)
        self._poll()


class StopHook:
    """Turns a request to stop into the end of the loop. It runs before the save hook, which then saves."""

    def __init__(self, requested: Callable[[], str | None]) -> None:
        self._requested = requested

    def __call__(self, progress: Progress) -> None:
        if progress.stop is None and (reason := self._requested()):
            progress.stop = reason


class PauseHook:
    """Holds the loop between two steps for as long as somebody wants. It runs last, and saves before it holds.

    `hold` returns whether to go on; what is not to go on has been asked to stop.
    """

    def __init__(
        self, requested: Callable[[], bool], save: Callable[[Progress], None], hold: Callable[[], bool]
    ) -> None:
        self._requested = requested
        self._save = save
        self._hold = hold

    def __call__(self, progress: Progress) -> None:
        if progress.last or not self._requested():
            return
        self._save(progress)
        if not self._hold():
            progress.stop = "asked to stop while it was paused"


class WatchHook:
    """Calls out divergence and overfitting once each, with what to try."""

    def __init__(self, emit: Emit, *, warmup_steps: int) -> None:
        self._emit = emit
        self._warmup = warmup_steps
        self._mean: float | None = None
        self._first: float | None = None
        self._lost_steps = 0
        self._lowest = math.inf
        self._high_steps = 0
        self._lowest_at_eval: float | None = None
        self._seen_eval: int | None = None
        self._told: set[str] = set()

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps, so that a resumed run remembers what its loss was."""
        return {
            "mean": self._mean,
            "first": self._first,
            "lowest": None if math.isinf(self._lowest) else self._lowest,
            "high_steps": self._high_steps,
            "lowest_at_eval": self._lowest_at_eval,
        }

    def load_state(self, state: dict[str, float | int | None]) -> None:
        """Put back what `state` gave."""
        self._mean = state.get("mean")
        self._first = state.get("first")
        self._lowest = math.inf if state.get("lowest") is None else float(state["lowest"] or 0.0)
        self._high_steps = int(state.get("high_steps") or 0)
        self._lowest_at_eval = state.get("lowest_at_eval")

    def __call__(self, progress: Progress) -> None:
        assert progress.loss is not None
        self._mean = progress.loss if self._mean is None else 0.95 * self._mean + 0.05 * progress.loss
        if progress.step > self._warmup + 20:
            self._lowest = min(self._lowest, self._mean)
            self._high_steps = self._high_steps + 1 if self._mean > self._lowest + max(0.5, 0.2 * self._lowest) else 0
            if self._high_steps >= 20:
                self._divergence(progress, f"its mean rose from {self._lowest:.3f} to {self._mean:.3f}")
        # A run may be lost before there is a low to compare with: then its loss stays above the one that it began with.
        self._first = progress.loss if self._first is None else self._first
        lost = progress.loss > 1.2 * self._first + 0.5
        self._lost_steps = self._lost_steps + 1 if lost else 0
        if self._lost_steps >= 20:
            self._divergence(progress, f"for 20 steps it has been far above the {self._first:.3f} of the first step")
        if progress.last_eval_step == progress.step and self._seen_eval != progress.step:
            self._seen_eval = progress.step
            self._overfitting(progress)

    def _divergence(self, progress: Progress, how: str) -> None:
        self._tell(
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
        rising = progress.val_loss > best * 1.01 and progress.evals_since_best >= 2
        if rising and self._lowest_at_eval is not None and mean < self._lowest_at_eval:
            self._tell(
                "overfitting",
                f"Overfitting: the validation loss rose from {best:.4f} (step {progress.best_step}) to {progress.val_loss:.4f}"
                f" while the training loss fell to {mean:.4f}.",
                "The model is learning its training text by heart.",
                "Use more text, fewer train.epochs, a smaller model, more optimizer.weight_decay, or train.early_stop.",
                progress.step,
            )

    def _tell(self, code: str, text: str, why: str, hint: str, step: int) -> None:
        if code not in self._told:
            self._told.add(code)
            self._emit(Message(level="warning", code=code, text=text, why=why, hint=hint, step=step))
