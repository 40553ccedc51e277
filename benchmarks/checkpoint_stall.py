"""How long training waits for a checkpoint, against the time of one step.

    python benchmarks/checkpoint_stall.py [--sizes nano medium large] [--saves 5] [--folder DIR]

Trains real steps (fp32, eager), saves some of them through the product's writer, and prints one line per size: the median
step without a write, the median stall of a save (copying weights and optimizer state, and handing them over), their ratio,
the rate of the copy, the time of the write beside training, and how long a step takes while it goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from seedbed.checkpoint.marker import OPTIMIZER, TRAINER, WEIGHTS
from seedbed.checkpoint.tensors import encoded, take
from seedbed.checkpoint.writer import Writer
from seedbed.checkpoint.writing import Snapshot, json_content
from seedbed.config.schema import ModelConfig, OptimizerConfig
from seedbed.model.decoder import Decoder
from seedbed.model.weights import export_state, logical_parameters
from seedbed.optim.optimizer import Optimizer, build_optimizer

# name: (layers, hidden, heads, ffn, context, vocabulary rows, sequences in a batch)
SIZES = {
    "nano": (4, 128, 4, 384, 256, 2048, 16),
    "medium": (6, 384, 6, 1024, 256, 4096, 16),
    "large": (12, 768, 12, 2048, 256, 16384, 2),
}


def build(size: str, optimizer: str) -> tuple[Decoder, Optimizer, torch.Tensor]:
    layers, hidden, heads, ffn, context, rows, batch = SIZES[size]
    config = ModelConfig(
        layers=layers, hidden=hidden, heads=heads, kv_heads=heads, head_dim=hidden // heads, ffn=ffn, context=context
    )
    model = Decoder(config, rows)
    model.init_weights(torch.Generator().manual_seed(0))
    ids = torch.randint(rows, (batch, context + 1), generator=torch.Generator().manual_seed(1))
    return model, build_optimizer(logical_parameters(model), OptimizerConfig(name=optimizer)), ids


def step(model: Decoder, optimizer: Optimizer, ids: torch.Tensor) -> float:
    begun = time.perf_counter()
    (model.loss(ids[:, :-1], ids[:, 1:]) / ids[:, 1:].numel()).backward()
    optimizer.step(0.01)
    optimizer.zero_grad()
    return time.perf_counter() - begun


def measure(size: str, optimizer_name: str, saves: int, folder: Path) -> dict[str, Any]:
    """Figures of one size, seconds and bytes."""
    model, optimizer, ids = build(size, optimizer_name)
    writer = Writer(folder / "checkpoints", keep_last=1)
    for _ in range(2):
        step(model, optimizer, ids)
    quiet = [step(model, optimizer, ids) for _ in range(5)]
    copies: list[float] = []
    busy: list[float] = []
    told = []
    for number in range(1, saves + 1):
        begun = time.perf_counter()
        weights, state = take(export_state(model)), take(optimizer.state())
        copies.append(time.perf_counter() - begun)
        files = {WEIGHTS: encoded(weights), OPTIMIZER: encoded(state), TRAINER: json_content({"step": number})}
        snapshot = Snapshot(number, files)
        writer.submit(snapshot, begun=begun)
        del snapshot, files, weights, state
        busy.append(step(model, optimizer, ids))
        while not (events := writer.poll()):
            step(model, optimizer, ids)
        told += events
        quiet.append(step(model, optimizer, ids))
    writer.close()
    step_s, stall_s = statistics.median(quiet), statistics.median([event.stall_s for event in told])
    return {
        "size": size,
        "optimizer": optimizer_name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checkpoint_bytes": told[-1].size_bytes,
        "step_s": step_s,
        "stall_s": stall_s,
        "stall_steps": stall_s / step_s,
        "copy_bytes_per_s": told[-1].size_bytes / statistics.median(copies),
        "write_s": statistics.median([event.write_s for event in told]),
        "step_while_writing_s": statistics.median(busy),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["nano", "medium"])
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw", help="adamw has the larger state")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; its disk is what is measured")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            seen = measure(size, arguments.optimizer, arguments.saves, Path(folder))
        if arguments.json:
            print(json.dumps(seen), flush=True)
            continue
        print(
            f"{size:7} {seen['parameters'] / 1e6:6.1f}M parameters, {seen['checkpoint_bytes'] / 1e6:7.1f} MB:"
            f" step {seen['step_s'] * 1e3:8.1f} ms, stall {seen['stall_s'] * 1e3:6.1f} ms"
            f" = {seen['stall_steps']:.3f} steps (copied at {seen['copy_bytes_per_s'] / 1e9:.1f} GB/s);"
            f" written in {seen['write_s']:.2f} s, a step meanwhile {seen['step_while_writing_s'] * 1e3:.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
