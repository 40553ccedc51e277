"""A kind of run that trains a small adapter on a frozen base in 8 bits; checkpoints hold the adapter alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.checkpoint.writing import Content, json_content
from seedbed.data.batches import Batch, Batches
from seedbed.data.shards import Dataset
from seedbed.data.validation import Validation
from seedbed.jobs.dataset import open_data
from seedbed.jobs.parts import Parts
from seedbed.jobs.restore import Start
from seedbed.jobs.training import train
from seedbed.optim.optimizer import build_optimizer
from seedbed.runs.kinds import frozen_config
from seedbed.runs.session import Session
from seedbed.train import hooks
from seedbed.train.device import decide_device
from seedbed.train.learner import Description
from seedbed.train.masters import Masters
from seedbed.train.trainer import LearnerTrainer

WIDTH, RANK, STEP = 64, 2, 1 / 127


class Parameter(NamedTuple):
    name: str
    parameter: Tensor
    rows: slice | None = None
    role: str = "matrix"
    transposed: bool = False


class Adapter:
    """Predicts the next token from the last one: logits = base[id] @ (base + up @ down).T, base in int8."""

    device, precision, compiled, artifact = torch.device("cpu"), "bf16", False, "adapter"

    def __init__(self, vocabulary: int) -> None:
        seeded = torch.Generator().manual_seed(0)
        self.base = torch.randint(-127, 128, (vocabulary, WIDTH), generator=seeded, dtype=torch.int8)
        down = torch.randn(RANK, WIDTH, generator=seeded).to(torch.bfloat16).requires_grad_()
        up = torch.zeros(vocabulary, RANK, dtype=torch.bfloat16).requires_grad_()
        self.masters = Masters.of([down, up], precision=self.precision)

    @property
    def tolerates_overflow(self) -> bool:
        return self.masters.tolerates_overflow

    def _loss(self, batch: Batch) -> Tensor:
        down, up = self.masters.working
        x_NC = (self.base[batch.inputs.flatten()].to(torch.bfloat16) * STEP).detach()
        logits_NV = x_NC @ (self.base.to(torch.bfloat16) * STEP).T + (x_NC @ down.T) @ up.T
        return F.cross_entropy(logits_NV.float(), batch.targets.flatten(), reduction="sum")

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        loss = self._loss(batch) / divisor
        loss.backward()
        self.masters.collect()
        return loss.detach()

    def gradients(self) -> list[Tensor]:
        return self.masters.gradients()

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        return self.masters.finish_step(norm, update)

    @torch.no_grad()
    def loss_sum(self, batch: Batch) -> Tensor:
        return self._loss(batch)

    def discard(self) -> None:
        self.masters.discard()

    def compile(self) -> None:
        self.compiled = True

    def eager(self) -> None:
        self.compiled = False

    def trainable(self) -> Sequence[Parameter]:
        return [Parameter(name, each) for name, each in zip(("down", "up"), self.masters.masters, strict=True)]

    def weights(self) -> dict[str, Tensor]:
        return {each.name: each.parameter.detach() for each in self.trainable()}

    @torch.no_grad()
    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        for each in self.trainable():
            each.parameter.copy_(tensors[each.name])
        self.masters.update_working()

    def state(self) -> dict[str, Any]:
        return self.masters.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.masters.load_state(state)

    def files(self) -> Mapping[str, Content]:
        return {"adapter_config.json": json_content({"peft_type": "LORA", "r": RANK})}

    def describe(self) -> Description:
        trained = sum(each.numel() for each in self.masters.masters)
        return Description(self.base.numel() + trained, trained, self.precision)


def run(run_dir: Path, session: Session) -> str:
    return train(run_dir, session, frozen_config(session.run), build)


def build(config: Any, start: Start, session: Session) -> Parts:
    with hooks.phase(session.emit, "prepare"):
        dataset = open_data(config, start.fingerprint, session, started=start.loaded is not None)
    device, _ = decide_device(config.train, start.recorded, session.emit)
    return assemble(config, dataset, device)


def assemble(config: Any, dataset: Dataset, device: Any) -> Parts:
    learner: Any = Adapter(dataset.tokenizer.vocab_size)
    context, rows = config.model.context, config.train.batch_size
    fingerprint = dataset.fingerprint
    batches = Batches(dataset.train, context=context, batch_size=rows, seed=config.train.seed, fingerprint=fingerprint)
    return Parts(
        trainer=LearnerTrainer(
            learner, build_optimizer(learner.trainable(), config.optimizer), device, grad_clip=1.0, micro_batch=2
        ),
        batches=batches,
        prefetched=nullcontext(batches),
        validation=Validation(dataset.validation, context=context, batch_size=rows),
        prompts=(),
        write=lambda prompt, step: iter(()),
        tokens_per_window=context,
        fingerprint=fingerprint,
    )
