"""The loader: what finding and reading a batch costs, as a share of a training step.

A stream of random tokens is written in several shards and read as a run reads it: step after step, and at random steps
(a resume is nothing else). The share is of a step of 100 ms; `--step-ms` takes another.

    python benchmarks/loader.py --tokens 50000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.data import shards
from seedbed.data.batches import Batches
from seedbed.data.shards import Dataset

GOAL = 0.02
SHAPES = ((24, 64), (16, 256), (64, 1024))
SHARDS = 4


def write(folder: Path, num_tokens: int) -> None:
    """A prepared dataset of random ids in documents of some 300."""
    rng = np.random.default_rng(0)
    entries = []
    for number in range(SHARDS):
        ids = rng.integers(0, 4096, num_tokens // SHARDS, dtype=np.uint16)
        ends = np.append(np.arange(300, len(ids), 300), len(ids)).astype("<u8")
        name = f"train-{number:05d}.ds"
        (folder / name).write_bytes(ids.tobytes())
        (folder / f"{name}.index").write_bytes(ends.tobytes())
        entries.append(
            {
                "file": name,
                "tokens": len(ids),
                "size_bytes": ids.nbytes,
                "sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
                "index_size_bytes": ends.nbytes,
                "index_sha256": hashlib.sha256(ends.tobytes()).hexdigest(),
            }
        )
    split = {"tokens": num_tokens // SHARDS * SHARDS, "documents": 0, "bytes": 0, "shards": entries}
    empty = {"tokens": 0, "documents": 0, "bytes": 0, "shards": []}
    manifest = {
        "kind": shards.KIND,
        "format": shards.FORMAT,
        "name": "random",
        "dtype": "<u2",
        "tokenizer": "none",
        "splits": {"train": split, "validation": empty},
    }
    (folder / shards.MANIFEST).write_text(json.dumps(shards.seal(manifest)))


def per_batch(batches: Batches, steps: list[int]) -> float:
    """Median seconds of a batch."""
    taken = []
    for step in steps:
        begun = time.perf_counter()
        batches.batch(step)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def mean_per_batch(batches: Batches, steps: list[int]) -> float:
    """Mean seconds of a batch, the rarer costs (a new stretch of the order, a cold page) spread over all."""
    begun = time.perf_counter()
    for step in steps:
        batches.batch(step)
    return (time.perf_counter() - begun) / len(steps)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.tokens)
        begun = time.perf_counter()
        dataset = Dataset.open(Path(folder))
        first_open_s = time.perf_counter() - begun
        begun = time.perf_counter()
        dataset = Dataset.open(Path(folder))
        open_s = time.perf_counter() - begun
        for batch_size, context in SHAPES:
            for document_mask in (False, True):
                batches = Batches(
                    dataset.train,
                    context=context,
                    seed=1,
                    fingerprint=dataset.fingerprint,
                    batch_size=batch_size,
                    document_mask=document_mask,
                )
                batches.batch(0)
                ahead = list(range(options.steps))
                jumping = np.random.default_rng(1).integers(0, 10**9, options.steps).tolist()
                mean_s = min(mean_per_batch(batches, ahead) for _ in range(3))
                rows.append(
                    {
                        "batch_size": batch_size,
                        "context": context,
                        "document_mask": document_mask,
                        "batch_s": mean_s,
                        "random_batch_s": per_batch(batches, jumping),
                        "share": mean_s / (options.step_ms / 1e3),
                    }
                )
    met = all(row["share"] < GOAL for row in rows)
    return {"rows": rows, "first_open_s": first_open_s, "open_s": open_s, "step_ms": options.step_ms, "met": met}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=50_000_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--step-ms", type=float, default=100.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"opening: {result['first_open_s'] * 1e3:.1f} ms the first time (hashed), {result['open_s'] * 1e3:.1f} ms after"
    )
    for row in result["rows"]:
        mask = "with document numbers" if row["document_mask"] else ""
        print(
            f"{row['batch_size']:3} x {row['context']:4} {mask:22}{row['batch_s'] * 1e3:7.3f} ms a batch,"
            f" {row['random_batch_s'] * 1e3:7.3f} at a random step: {row['share']:.2%} of {result['step_ms']:.0f} ms"
            f" (goal {GOAL:.0%})"
        )


if __name__ == "__main__":
    main()
