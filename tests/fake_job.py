"""A training job without a model: it runs in the shared training loop, and steps, validates, saves, stops and resumes.

Run as `python fake_job.py RUN_DIR [...]`. FAKE_STEP_S, FAKE_SAVE_S, FAKE_SAVE_EVERY and FAKE_FAIL change how it behaves, and
HOLD_AT makes it wait at a step (see pacing.py). With FAKE_SAVE_S=gate a requested save waits until the run's folder contains a
file `saved`. With FAKE_FAIL=disk no file can grow from step 7 on, until the run's folder contains a file `room`; with
FAKE_FAIL=endless a child writes its process id into a file `child` beside the checkpoint and never answers; with FAKE_FAIL=deaf
the heartbeat's thread hangs, so that the job reacts to signals only; with FAKE_FAIL=overfit the validation loss rises; with
FAKE_FAIL=faults it has the faults of a rehearsal. It does not import torch, so it starts quickly.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from seedbed.checkpoint.marker import CONFIG, MODEL, OPTIMIZER, WEIGHTS
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Data, Message
from seedbed.jobs.__main__ import main
from seedbed.jobs.faults import FaultInjector
from seedbed.jobs.parts import Parts
from seedbed.jobs.restore import Start
from seedbed.jobs.training import train
from seedbed.runs.kinds import KINDS
from seedbed.runs.session import Session
from seedbed.train import hooks
from seedbed.train.learner import StepResult

sys.path.insert(0, str(Path(__file__).parent))

import pacing  # in the folder of this file, which is not always on Python's search path

STEP_S = float(os.environ.get("FAKE_STEP_S", "0.002"))
SAVE_S = os.environ.get("FAKE_SAVE_S", "0")
SAVE_EVERY = int(os.environ.get("FAKE_SAVE_EVERY", "10"))
FAIL = os.environ.get("FAKE_FAIL", "")
TOKENS, BATCH = 512, 2
if FAIL == "deaf":
    Session._beat = lambda session: session._over.wait()  # type: ignore[assignment, method-assign, misc]


class Batch(NamedTuple):
    """A batch without data: its step, and how many tokens it would have."""

    step: int
    trained: int
    processed: int


class Batches:
    """Batches without data; an epoch has 40 steps."""

    windows_per_epoch = 40 * BATCH
    steps_per_epoch = 40.0

    def batch(self, step: int) -> Batch:
        return Batch(step, TOKENS, TOKENS)

    def largest(self, step: int) -> Batch:
        return self.batch(step)


class Validation:
    """A validation split of 100 tokens, which is always used in full."""

    compared_tokens = 0
    bytes_per_token = None

    def limit(self, max_tokens: int) -> None: ...

    def batches(self, max_tokens: int) -> Iterator[Batch]:
        yield Batch(0, 100, 100)

    def tokens(self, max_tokens: int) -> int:
        return 100


class Trainer:
    """A trainer without a model: its loss is a falling function of the step."""

    tolerates_overflow = False
    artifact = MODEL

    def __init__(self, session: Session) -> None:
        self.session = session
        self.steps = 0
        self.has_warned = False

    def prepare(self, *_: object) -> None:
        pass

    def seconds_per_step(self, *_: object) -> float:
        return STEP_S

    def step(self, batch: Batch, scale: float) -> StepResult:
        if not self.has_warned:
            self.has_warned = True
            text, hint = "The text is \x1b[31mshort.", "Add some."
            self.session.emit(Message(level="warning", code="small", text=text, why="Few words.", hint=hint))
        time.sleep(STEP_S)
        self.steps = batch.step + 1
        if FAIL == "kill" and self.steps == 7:
            os.kill(os.getpid(), 9)
        if FAIL == "disk" and self.steps == 7:
            size = self.session.run.events.stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if FAIL == "numbers" and self.steps == 7:
            raise SeedbedError("The loss is no number.", "Lower optimizer.lr.")
        return StepResult(self.loss, 1.0, TOKENS, TOKENS)

    @property
    def loss(self) -> float:
        return 2 + 5 * math.exp(-self.steps / 20)

    def lr(self, scale: float) -> float:
        return 0.01

    def loss_sum(self, batch: Batch) -> float:
        return batch.trained * (self.loss + 0.1 + (0.2 * self.steps if FAIL == "overfit" else 0.0))

    def sizes_bytes(self) -> tuple[int, int]:
        return 0, 0

    def contents(self) -> Mapping[str, list[bytes]]:
        if SAVE_S == "gate":
            requested = self.session.stop_requested or self.session._saves_requested or self.session.pause_requested
            while requested and not (self.session.run.path / "saved").exists():
                time.sleep(0.005)
        else:
            time.sleep(float(SAVE_S))
        return {WEIGHTS: [b"weights"], OPTIMIZER: [b"moments"], CONFIG: [b"{}"]}

    def state(self) -> dict[str, Any]:
        return {"device_type": "cpu"}

    def restore(self, loaded: Any, emit: Any) -> None:
        self.steps = loaded.step

    def describe(self) -> Mapping[str, Any]:
        return {
            "device": "cpu",
            "device_name": "Fake CPU",
            "precision": "fp32",
            "compile": False,
            "parameters": 1_115_520,
        }


def run(run_dir: Path, session: Session) -> str:
    config = load_frozen(run_dir / "config.toml", TRAIN)
    every = {"eval_every": SAVE_EVERY, "checkpoint_every": SAVE_EVERY, "sample_every": 0, "keep_last": 1000}
    horizon = {"steps": config.train.steps or 10, "epochs": None, "tokens": None, "time": None}
    options = replace(config.train, batch_size=BATCH, early_stop=0, **every, **horizon)
    if FAIL == "faults":
        FaultInjector(session.run).start()
    return train(run_dir, session, replace(config, train=options), build)


def build(config: Config, start: Start, session: Session) -> Parts:
    if FAIL == "usage":
        raise UsageError("There is no text in the file.", "Give another file.")
    if FAIL == "crash":
        raise ZeroDivisionError("division\nby zero")
    with hooks.phase(session.emit, "prepare"):
        for done in (50, 100):
            session.emit_or_stop(Data(stage="tokens", done=done, total=100, unit="documents"))
            while FAIL == "slow-prepare":
                time.sleep(0.5)
                session.emit_or_stop(Data(stage="tokens", done=done, total=100, unit="documents"))
        opening, answers = "It was a dark night", FAIL == "chats" or None
        session.emit(Data(stage="dataset", done=100, total=100, unit="tokens", opening=opening, answers=answers))
    if FAIL == "faults":
        session.emit(Data(stage="padding", done=1, total=1, unit="x" * 20_000))  # the log may always grow to 16 KiB
    if FAIL == "disk":
        # The limit on file sizes depends on the log's size, and state.json must still fit below it.
        session.emit(Data(stage="padding", done=1, total=1, unit="x" * 8192))
        session.can_write = lambda: can_write_log(session)  # type: ignore[method-assign]
    batches: Any = Batches()
    trainer: Any = Trainer(session)
    validation: Any = Validation()
    return Parts(
        trainer=trainer,
        batches=batches,
        prefetched=nullcontext(batches),
        validation=validation,
        prompts=("Once upon a time",),
        write=lambda prompt, step: iter((", there\x07 ", "was a fox.")),
        tokens_per_window=TOKENS // BATCH,
        fingerprint="fake",
    )


def can_write_log(session: Session) -> bool:
    """Whether the log can be written. Lifts the limit on file sizes once the run's folder contains a file `room`."""
    (session.run.path / "short").touch()
    if (session.run.path / "room").exists():
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return Session.can_write(session)


def generate() -> int:
    """A generate job without a model: streams fixed words and the settings of the request."""
    request = json.loads(sys.stdin.buffer.read())

    def send(**line: Any) -> None:
        print(json.dumps(line), flush=True)

    if FAIL == "generate":
        send(error="The checkpoint is cut.", hint="Name another.", exit=1)
        return 1
    if FAIL == "generate-vanish" and request["checkpoint"].endswith("30"):
        shutil.rmtree(request["checkpoint"])
        send(error="There is no model.", hint="", exit=1)
        return 1
    if FAIL == "endless":
        Path(request["checkpoint"]).with_name("child").write_text(str(os.getpid()))
        while True:
            time.sleep(1)
    if FAIL == "generate-crash":
        raise ZeroDivisionError
    chat = {"template": request["template"], "ignores_tools": "tools" in request} if "template" in request else {}
    send(ready=True, seed=7, unknown=["\x07", "é"] if "é" in request.get("prompt", "") else [], **chat)
    figures = f" T={request.get('temperature', 0.8):g}", f" k={request.get('top_k', 0)}\n"
    for sample in range(request["num_samples"]):
        for word in (" and\u200b", " then \x1b[31m", *figures, *request["stop"]):
            send(sample=sample, text=word)
            time.sleep(STEP_S)
        send(sample=sample, done=True, finish="length", tokens=4, seed=7 + sample, elapsed_s=0.5)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["generate"], ["score"]):
        sys.exit(generate())
    pacing.install()
    sys.exit(main(kinds={name: KINDS[name]._replace(job="__main__:run") for name in ("train", "rehearsal")}))
