"""Makes the hooks of a training job, in calling order: stop, validate, check the loss, sample, save, pause."""

from __future__ import annotations

import math
from collections.abc import Callable

from seedbed.config.schema import TrainConfig
from seedbed.errors import SeedbedError
from seedbed.jobs.parts import Parts
from seedbed.jobs.progress_check import ProgressCheck
from seedbed.jobs.saving import Saver
from seedbed.jobs.timing import Length
from seedbed.runs.session import Session
from seedbed.train import hooks
from seedbed.train.loop import Progress


def make_hooks(
    options: TrainConfig,
    parts: Parts,
    session: Session,
    saver: Saver,
    monitor: hooks.LossMonitorHook,
    loss_to_beat: float | None,
    progress: Progress,
    length: Length,
) -> list[Callable[[Progress], None]]:
    """Make the hooks of a training job, which the loop calls between two steps.

    `loss_to_beat`: the lowest validation loss of the superseded checkpoints, which a new best checkpoint must be below.
    `length`: how long the run trains.
    """
    emit = session.emit

    def save_to_pause(progress: Progress) -> None:
        session.emit_status("pausing")
        saver.save(progress, best=False)
        saver.settle()

    def wait_while_paused() -> bool:
        return session.wait_paused("asked to pause")

    def pause() -> None:
        save_to_pause(progress)
        wait_while_paused()

    check = ProgressCheck(session, pause)
    how_to_resume = (
        f"`seedbed resume {session.run.id} --more-steps N` trains N more steps, `--early-stop 0` trains all"
        " planned steps."
    )
    return [
        hooks.StopHook(lambda: session.stop_requested),
        *length.first_hooks(),
        hooks.EvaluateHook(
            _validator(parts, check),
            emit,
            every=options.eval_every,
            tokens=parts.validation.compared_tokens,
            early_stop=options.early_stop,
            loss_to_beat=loss_to_beat,
            continue_hint=how_to_resume,
            whole_at_end=length.validates_all,
            all_tokens=parts.validation.tokens(0),
            skip_hint=f"`seedbed stop {session.run.id}` saves the model without it.",
        ),
        monitor,
        hooks.SampleHook(
            _sampler(parts, options.sample_tokens, check), emit, every=options.sample_every, prompts=parts.prompts
        ),
        hooks.SaveHook(
            saver.save,
            saver.poll,
            every=options.checkpoint_every,
            keep_best=options.keep_best,
            requested=session.save_requested,
            loss_to_beat=loss_to_beat,
        ),
        hooks.PauseHook(lambda: session.pause_requested, save_to_pause, wait_while_paused),
        *length.last_hooks(),
    ]


def validate_before(parts: Parts, session: Session) -> None:
    """Validate the weights with which a training on from a model begins, and emit the result as that of step 0.

    It is no best loss of the run: no checkpoint has these weights. A stop request ends the validation without a result.
    Raises SeedbedError if the loss is not a finite number.
    """
    tokens = parts.validation.compared_tokens
    check = ProgressCheck(session, lambda: session.wait_paused("asked to pause"))

    try:
        with hooks.phase(session.emit, "evaluate", 0):
            result = _validator(parts, check)(tokens)
    except hooks.Interrupted:
        return
    if not math.isfinite(result.loss):
        raise SeedbedError(
            f"The loss of the base model is {result.loss} before any training: its weights are damaged.",
            "Download or copy the model again. Weights that need bf16 may overflow in fp16: try --precision fp32.",
        )
    hooks.emit_result(session.emit, result, 0, full=not tokens, best=False)


def _validator(parts: Parts, check: ProgressCheck) -> Callable[[int], hooks.ValidationResult]:
    validation = parts.validation

    def validate(max_tokens: int) -> hooks.ValidationResult:
        total = validation.tokens(max_tokens)
        return hooks.evaluate(
            parts.trainer,
            validation.batches(max_tokens),
            bytes_per_token=validation.bytes_per_token,
            between=lambda done: check("validation", done, total),
        )

    return validate


def _sampler(parts: Parts, max_tokens: int, check: ProgressCheck) -> Callable[[str, int], str]:
    def sample(prompt: str, step: int) -> str:
        pieces: list[str] = []
        for piece in parts.write(prompt, step):
            pieces.append(piece)
            check("sample", len(pieces), max_tokens)
        return "".join(pieces)

    return sample
