"""The memory estimate against the measured memory of real training steps, each case in its own process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from preloaded import Server
from seedbed.config import arithmetic
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.train.device import choose_device, choose_precision

CHILD = """
import json, sys, torch
from seedbed.config import arithmetic
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.model.decoder import Decoder
from seedbed.model.weights import logical_parameters
from seedbed.optim.optimizer import build_optimizer
from seedbed.train.decoder_learner import DecoderLearner
from seedbed.data.batches import Batch
from seedbed.train.step import train_step

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

def steps(config, vocab_size, precision, count):
    model = Decoder(config.model, arithmetic.padded_vocab(config.model, vocab_size))
    model.init_weights(torch.Generator())
    learner = DecoderLearner(model, precision=precision, device=torch.device("cpu"))
    optimizer = build_optimizer(logical_parameters(model), config.optimizer)
    ids = torch.randint(0, vocab_size, (config.train.batch_size, config.model.context + 1))
    documents = torch.zeros_like(ids[:, 1:], dtype=torch.int32) if config.data.document_mask else None
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), documents)
    for _ in range(count):
        train_step(learner, batch, optimizer, 1.0, grad_clip=1.0, micro_batch=config.train.micro_batch)

torch.set_num_threads(1)
sets, vocab_size, precision = json.loads(sys.argv[1])
# A very small model first: the memory of torch's imports and threads is not part of the run's.
small = ["model.layers=1", "model.context=8", "train.batch_size=1", "train.micro_batch=0"]
steps(resolve(TRAIN, sets=[*sets, *small]).config, 64, precision, 1)
before = kilobytes("VmRSS")
steps(resolve(TRAIN, sets=sets).config, vocab_size, precision, 2)
print((kilobytes("VmHWM") - before) * 1024)
"""
IMPORTED = ("torch", "seedbed.model.weights", "seedbed.train.decoder_learner", "seedbed.train.step")
SHAPE = [
    "model.layers=4",
    "model.hidden=384",
    "model.heads=6",
    "model.kv_heads=6",
    "model.head_dim=64",
    "model.ffn=1024",
    "model.context=256",
    "model.tie_embeddings=true",
    "data.document_mask=false",
    "train.batch_size=6",
]
# Attention in blocks computes its probabilities again.
LONG = ["train.batch_size=10", "model.context=512", "model.heads=12", "model.kv_heads=12", "model.head_dim=32"]
# `auto` is what a run takes on this CPU: bf16 where it is fast, else fp32.
CASES = {
    "fp32": (SHAPE, 4096, "fp32"),
    "auto": (SHAPE, 4096, "auto"),
    "masked": ([*SHAPE, "data.document_mask=true"], 4096, "fp32"),
    "grouped": ([*SHAPE, "model.kv_heads=2", "model.tie_embeddings=false"], 4096, "auto"),
    "gpt2": ([*SHAPE, "model.layout=gpt2", "model.ffn=1536"], 4096, "auto"),
    "adamw-accumulating": ([*SHAPE, "optimizer.name=adamw", "train.micro_batch=3"], 4096, "fp32"),
    "long": ([*SHAPE, *LONG], 4096, "auto"),
    "wide-vocabulary": ([*SHAPE, "model.layers=2"], 32_768, "auto"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A process that has imported what the program needs.

    The variables make the C library return freed memory at once: freed memory that it keeps is not needed by the run.
    """
    made = Server(IMPORTED, {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"})
    yield made
    made.close()


def measured_peak(server: Server, sets: list[str], vocab_size: int, precision: str) -> int:
    """Bytes from the resident memory before training steps to its peak, in a process that has not trained before."""
    done = server.run(CHILD, json.dumps([sets, vocab_size, precision]), environment={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_memory_is_within_15_percent_of_the_measured_peak(server: Server, case: tuple[list[str], int, str]) -> None:
    sets, vocab_size, requested = case
    precision = choose_precision(requested, choose_device("cpu", True, lambda _: None))
    if requested == "auto" and precision == "fp32" and (sets, vocab_size) == CASES["fp32"][:2]:
        pytest.skip("this CPU is not fast at bf16, and the same shape is measured in fp32")
    estimate = arithmetic.memory_estimate(resolve(TRAIN, sets=sets).config, vocab_size, precision).total
    assert estimate == pytest.approx(measured_peak(server, sets, vocab_size, precision), rel=0.15)
