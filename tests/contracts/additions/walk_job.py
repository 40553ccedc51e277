"""A kind of run that walks towards a number: steps, validations, checkpoints and samples without a network."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.checkpoint.marker import CONFIG, MODEL, OPTIMIZER, WEIGHTS
from seedbed.jobs.parts import Parts
from seedbed.jobs.restore import Start
from seedbed.jobs.training import train
from seedbed.runs.kinds import frozen_config
from seedbed.runs.session import Session
from seedbed.train.learner import StepResult


class Batch(NamedTuple):
    step: int
    trained: int = 8
    processed: int = 8


class Batches:
    windows_per_epoch, steps_per_epoch = 40, 10.0

    def batch(self, step: int) -> Batch:
        return Batch(step)

    def largest(self, step: int) -> Batch:
        return Batch(step)


class Validation:
    compared_tokens, bytes_per_token = 0, None

    def limit(self, max_tokens: int) -> None: ...

    def batches(self, max_tokens: int) -> Iterator[Batch]:
        yield Batch(0)

    def tokens(self, max_tokens: int) -> int:
        return 8


class Walker:
    """Halves its distance to 1 in every step, and waits after step 6 until its run's folder contains a file `go`."""

    tolerates_overflow, artifact = False, MODEL

    def __init__(self, session: Session) -> None:
        self.session, self.distance = session, 4.0

    def prepare(self, *_: object) -> None:
        pass

    def step(self, batch: Batch, scale: float) -> StepResult:
        while batch.step == 6 and not (self.session.run.path / "go").exists() and not self.session.stop_requested:
            time.sleep(0.005)
        self.distance /= 2
        return StepResult(1 + self.distance, 1.0, batch.trained, batch.processed)

    def lr(self, scale: float) -> float:
        return scale

    def loss_sum(self, batch: Batch) -> float:
        return batch.trained * (1 + self.distance)

    def sizes_bytes(self) -> tuple[int, int]:
        return 0, 0

    def contents(self) -> Mapping[str, list[bytes]]:
        return {WEIGHTS: [b""], OPTIMIZER: [b""], CONFIG: [b"{}"]}

    def state(self) -> dict[str, Any]:
        return {"distance": self.distance}

    def restore(self, loaded: Any, emit: Any) -> None:
        self.distance = loaded.trainer["distance"]

    def describe(self) -> Mapping[str, Any]:
        return {"device": "cpu", "device_name": "Legs", "precision": "fp32", "parameters": 1}


def run(run_dir: Path, session: Session) -> str:
    return train(run_dir, session, frozen_config(session.run), build)


def build(config: Any, start: Start, session: Session) -> Parts:
    parts: Any = (Walker(session), Batches(), nullcontext(Batches()), Validation())
    return Parts(*parts, ("Where to?",), lambda prompt, step: iter((" There.",)), 8, "the way")
