"""The end of a run of the show: the export of the weights and the summary."""

from __future__ import annotations

import math
from collections.abc import Iterator

from seedbed.simulate.account import Account
from seedbed.simulate.power import power_w
from seedbed.simulate.show.items import Bar, Beat, ExportBegins, FileExported, RunEnds, Training, Validated
from seedbed.simulate.show.pace import Pace
from seedbed.simulate.show.playlist import Take

SHARD_BYTES = 5_000_000_000
"""Largest size of a shard of safetensors, the usual one of Hugging Face's tools."""
_MOST_SHARDS_SHOWN = 6
_PAUSE_S = 0.5


def exporting(take: Take, pace: Pace) -> Iterator[Beat]:
    """Convert the last checkpoint to a Hugging Face folder: the shards, and the files beside them."""
    size = 2 * take.shape.parameters
    shards = math.ceil(size / SHARD_BYTES)
    sizes = [SHARD_BYTES] * (shards - 1) + [size - SHARD_BYTES * (shards - 1)]
    others = companions(take)
    yield pace.show(
        ExportBegins(
            source=f"checkpoints/step-{take.scenario.steps:08d}",
            target=take.folder,
            format="Hugging Face safetensors",
            precision="bf16",
            files=shards + len(others) + (1 if shards > 1 else 0),
            size_bytes=size,
        ),
        _PAUSE_S,
    )
    half = _MOST_SHARDS_SHOWN // 2
    for number in range(1, shards + 1):
        finished = number == shards
        done = sum(sizes[:number])
        if shards <= _MOST_SHARDS_SHOWN or number <= half or number > shards - half:
            name = f"model-{number:05d}-of-{shards:05d}.safetensors"
            yield pace.show(FileExported(name=name, size_bytes=sizes[number - 1]), _PAUSE_S / 3)
        pause_s = min(_PAUSE_S, 4.0 / shards)
        yield pace.show(Bar(what="export", done=done, total=size, unit="B", finished=finished), pause_s)
    if shards > 1:
        others = {**others, "model.safetensors.index.json": 90 * 9 * take.shape.layers}
    for name, size_bytes in others.items():
        yield pace.show(FileExported(name=name, size_bytes=size_bytes), _PAUSE_S / 4)


def companions(take: Take) -> dict[str, int]:
    """The files beside the weights, and their sizes in bytes; those of the tokenizer grow with the vocabulary."""
    return {
        "config.json": 640 + len(take.shape.name),
        "generation_config.json": 132,
        "tokenizer.json": 53 * take.shape.vocab,
        "tokenizer_config.json": 1_180,
        "special_tokens_map.json": 301,
    }


def ending(take: Take, account: Account, last: Training, best: Validated | None, elapsed_s: float) -> RunEnds:
    """The summary. `elapsed_s`: from the start of training to its end."""
    given = take.scenario
    hours = elapsed_s / 3600 * take.num_gpus
    watts = power_w(take.gpu, take.num_gpus)
    return RunEnds(
        model=take.shape.name,
        parameters=take.shape.parameters,
        dataset=take.dataset.name,
        num_gpus=take.num_gpus,
        gpu=take.gpu.name,
        epochs=take.epochs,
        steps=given.steps,
        tokens=given.tokens,
        elapsed_s=elapsed_s,
        tokens_per_s=given.tokens / elapsed_s,
        mfu=given.mfu(elapsed_s / given.steps),
        loss=last.loss,
        perplexity=math.exp(last.loss),
        best_loss=best.loss if best else last.loss,
        goodput=min(given.steps * given.step_s / elapsed_s, 1.0),
        interruptions=account.failures,
        lost_steps=account.lost_steps,
        gpu_hours=hours,
        energy_kwh=None if watts is None else elapsed_s / 3600 * watts / 1000,
        usd=hours * take.gpu.usd_per_hour if take.gpu.usd_per_hour else None,
        target=take.folder,
    )
