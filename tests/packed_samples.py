"""Datasets of samples with known ids and masks, written as shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seedbed.data import shards
from seedbed.data.rendering import RowBlock, SampleBlock
from seedbed.data.shard_writer import ShardWriter

Sample = tuple[list[int], list[int]]
"""Ids, and for each whether it is trained."""


def some_samples(count: int, longest: int, seed: int = 0, vocab: int = 50) -> list[Sample]:
    """Samples of 2 .. `longest` tokens with random masks, each with at least one target."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = int(rng.integers(2, longest + 1))
        trained = (rng.random(size) < 0.6).astype(int)
        trained[rng.integers(1, size)] = 1
        made.append((rng.integers(1, vocab, size).tolist(), trained.tolist()))
    return made


def block_of(samples: list[Sample]) -> SampleBlock:
    ids = np.array([id_ for each, _ in samples for id_ in each], dtype="<u2")
    trained = bytes(flag for _, each in samples for flag in each)
    ends = np.cumsum([len(each) for each, _ in samples]).tolist()
    kinds = {"text": len(samples)}
    return SampleBlock(ids.tobytes(), ends, trained, sum(trained) * 3, 0, {}, {}, kinds, {}, {})


def write(
    folder: Path, train: list[Sample], validation: list[Sample], per_shard: int = 7, context: int = 16
) -> shards.Dataset:
    """A dataset of these samples, in shards of `per_shard` samples; its tokenizer is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder, np.dtype("<u2"), "none")
    for split, samples in (("train", train), ("validation", validation)):
        for first in range(0, len(samples), per_shard):
            writer.add_samples(RowBlock([b""] * per_shard, 0), block_of(samples[first : first + per_shard]))
            writer.close_shard(split)
    manifest = {
        "kind": shards.KIND,
        "format": shards.SAMPLES_FORMAT,
        "name": "test",
        "tokenizer": "none",
        "vocab_size": 50,
        "dtype": "<u2",
        "drops": {},
        "splits": {split: writer.totals(split) for split in shards.SPLITS},
    }
    shards.files.write_json(folder / shards.MANIFEST, shards.seal(manifest))
    return shards.Dataset.open(folder)
