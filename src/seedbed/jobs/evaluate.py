"""The job that evaluates models on a text: it copies the text, scores one model after the other, and writes the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import torch

from seedbed import files
from seedbed.config.evaluation import EvaluateConfig, Evaluation
from seedbed.errors import SeedbedError, UsageError
from seedbed.evaluation.corpus import Text, read_documents, remove_text, take_text
from seedbed.evaluation.identity import MeasuredFolder
from seedbed.evaluation.progress import ModelProgress
from seedbed.evaluation.results import Scored, results, sentence
from seedbed.events import EVALUATED, RESULT, Data, Message
from seedbed.jobs.model_losses import ModelLosses
from seedbed.jobs.waiting import until_written
from seedbed.runs.kinds import frozen_config
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.tasks import output_of
from seedbed.text import plural, size
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.device import Device, choose_device, choose_precision, default_threads, warn_of_software_bf16
from seedbed.train.hooks import phase

T = TypeVar("T")
REPORT_EVERY_S = 1.0


def run(task_dir: Path, lifecycle: Lifecycle) -> str:
    """Evaluate what is not evaluated yet, and write the results into the task's output; returns the final status."""
    config: Evaluation = frozen_config(lifecycle.run)
    asked, output = config.evaluate, output_of(lifecycle.run)
    assert output is not None
    device = _device(asked, lifecycle)
    with phase(lifecycle.emit, "prepare"):
        count = _counter(asked)
        text = _keep(lifecycle, lambda: take_text(config, task_dir, count, lifecycle.emit, lifecycle.check_requests))
    lifecycle.emit(
        Message(
            level="info",
            code="text",
            text=f"Evaluating {plural(len(asked.models), 'model')} on {plural(text.documents, _unit(text))} of {text.name} "
            f"({text.split}), {size(text.size_bytes)}.",
        )
    )
    with phase(lifecycle.emit, "score"):
        for number in range(len(asked.models)):
            _score(number, config, text, device, lifecycle)
    _write(config, text, lifecycle, output)
    remove_text(task_dir)
    return "completed"


def _unit(text: Text) -> str:
    return "document" if text.rows is None else "row"


def _device(asked: EvaluateConfig, lifecycle: Lifecycle) -> Device:
    """The device of an evaluation. Raises SeedbedError if this machine lacks it, or if it lacks the precision."""
    try:
        device = choose_device(asked.device, True, lifecycle.emit)
    except UsageError:
        raise
    except SeedbedError as error:
        raise SeedbedError(error.message, "Choose one of these with --device.") from error
    if device.kind == "cpu" and asked.precision == "fp16":
        raise SeedbedError("fp16 needs a GPU, and this evaluation is on a CPU.", "Use --precision fp32 or bf16.")
    try:
        choose_precision(asked.precision, device)
    except SeedbedError as error:
        raise SeedbedError(error.message, "Use --precision fp32.") from error
    warn_of_software_bf16(asked.precision, device, lifecycle.emit)
    torch.set_num_threads(asked.threads or default_threads())
    return device


def _counter(asked: EvaluateConfig) -> Callable[[str], int]:
    """A function that counts the tokens of a text with the tokenizer of the first model, loaded at the first call."""
    tokenizer = cache(lambda: Tokenizer.of_model(Path(asked.models[0])))
    return lambda text: len(tokenizer().encode(text))


def _score(number: int, config: Evaluation, text: Text, device: Device, lifecycle: Lifecycle) -> None:
    """Score one model on the text, unless that is done.

    Raises SeedbedError if its folder has another model than the one that was scored before.
    """
    asked, folder = config.evaluate, lifecycle.run.path
    progress = ModelProgress(folder, number)
    if progress.facts() is not None:
        return
    name, count = asked.names[number], len(asked.models)
    stage = f"evaluating {name}" + (f" ({number + 1} of {count})" if count > 1 else "")
    report = _Report(lifecycle, stage, number * text.size_bytes, count * text.size_bytes)
    keep = partial(_keep, lifecycle)
    model = MeasuredFolder(name, Path(asked.models[number]))
    known = progress.identity()
    if known is not None:
        model.refuse_unless(known)
    losses = ModelLosses(model, asked, device, lifecycle.emit, report, keep)
    if known is None:
        keep(lambda: progress.begin(model.identity))
    losses.score(read_documents(folder), text, progress)
    keep(lambda: progress.finish(losses.facts()))
    nats, tokens, _ = progress.scores()
    lifecycle.emit(
        Message(
            level="info",
            code=EVALUATED,
            text=f"{name}: loss {nats.sum() / max(tokens.sum(), 1):.4f} over {plural(int(tokens.sum()), 'token')}.",
        )
    )


class _Report:
    """Logs the bytes that are done of all models, at most once a second, and handles requests to pause and stop."""

    def __init__(self, lifecycle: Lifecycle, stage: str, before: int, total: int) -> None:
        self._lifecycle, self._stage, self._before, self._total = lifecycle, stage, before, total
        self._next_s = 0.0

    def __call__(self, done_bytes: float) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + REPORT_EVERY_S
            done = self._before + int(done_bytes)
            self._lifecycle.emit(Data(stage=self._stage, done=done, total=self._total, unit="bytes", whole=True))
        blocked = self._lifecycle.blocked
        if blocked is not None and self._lifecycle.stop_requested is None:
            self._lifecycle.wait_paused(blocked.reason, blocked.hint, self._lifecycle.can_write)
        self._lifecycle.check_requests()


def _keep(lifecycle: Lifecycle, write: Callable[[], T]) -> T:
    """Call `write` and return its value; while its file cannot be written, as on a full disk, wait and call it again.

    Raises StopRequested on a stop request, StorageError if waiting does not help.
    """
    return until_written(lifecycle, lifecycle.run.path, write, "the evaluation")


def _write(config: Evaluation, text: Text, lifecycle: Lifecycle, output: Path) -> None:
    """Compute the results from the scores of all models, log them, and write them into the output."""
    scored = []
    for number in range(len(config.evaluate.models)):
        progress = ModelProgress(lifecycle.run.path, number)
        facts = progress.facts()
        assert facts is not None
        scored.append(Scored(facts, progress.scores(), progress.elapsed_s))
    found = results(lifecycle.run.id, config, text, scored)
    for model in found["models"]:
        lifecycle.emit(Message(level="info", code=RESULT, text=sentence(model)))

    def write() -> None:
        files.make_dir(output.parent)
        files.write_json(output, found)

    _keep(lifecycle, write)
