"""What a training job does between steps, in order: stop, validate, watch the numbers, sample, save, pause."""

from __future__ import annotations

from collections.abc import Callable

from seedbed.config.schema import TrainConfig
from seedbed.jobs.breaks import Breaks
from seedbed.jobs.parts import Parts
from seedbed.jobs.saving import Saver
from seedbed.runs.session import Session
from seedbed.train import hooks
from seedbed.train.loop import Progress


def make_hooks(
    options: TrainConfig,
    parts: Parts,
    session: Session,
    saver: Saver,
    watch: hooks.WatchHook,
    beat: float | None,
    progress: Progress,
) -> list[Callable[[Progress], None]]:
    """The hooks of a training job. `beat`: the loss of a better checkpoint that this branch of steps has left behind."""
    emit = session.emit

    def save_to_pause(progress: Progress) -> None:
        session.say("pausing")
        saver.save(progress, best=False)
        saver.settle()

    def hold() -> bool:
        return session.hold("asked to pause")

    def pause() -> None:
        save_to_pause(progress)
        hold()

    breaks = Breaks(session, pause)
    go_on = (
        f"`seedbed resume {session.run.id} --more-steps N` trains N steps more, `--early-stop 0` goes on to the planned"
        " end."
    )
    return [
        hooks.StopHook(lambda: session.stop_requested),
        hooks.EvaluateHook(
            _scoring(parts, breaks),
            emit,
            every=options.eval_every,
            tokens=parts.validation.compared_tokens,
            early_stop=options.early_stop,
            beat=beat,
            go_on=go_on,
        ),
        watch,
        hooks.SampleHook(
            _writing(parts, options.sample_tokens, breaks), emit, every=options.sample_every, prompts=parts.prompts
        ),
        hooks.SaveHook(
            saver.save,
            saver.poll,
            every=options.checkpoint_every,
            keep_best=options.keep_best,
            requested=session.save_requested,
            beat=beat,
        ),
        hooks.PauseHook(lambda: session.pause_requested, save_to_pause, hold),
    ]


def _scoring(parts: Parts, breaks: Breaks) -> Callable[[int], hooks.Outcome]:
    validation = parts.validation

    def score(max_tokens: int) -> hooks.Outcome:
        total = validation.tokens(max_tokens)
        return hooks.evaluate(
            parts.trainer,
            validation.batches(max_tokens),
            bytes_per_token=validation.bytes_per_token,
            between=lambda done: breaks("validation", done, total),
        )

    return score


def _writing(parts: Parts, most: int, breaks: Breaks) -> Callable[[str, int], str]:
    def write(prompt: str, step: int) -> str:
        pieces: list[str] = []
        for piece in parts.write(prompt, step):
            pieces.append(piece)
            breaks("sample", len(pieces), most)
        return "".join(pieces)

    return write
