"""Training on from a real model: Seedbed against a plain loop over transformers, in tokens/s and peak memory.

The model is a folder such as SmolLM2-135M; each step trains 4 sequences of 512 tokens with AdamW. The loop over transformers
uses sdpa attention and PyTorch's fused AdamW, in fp32, under bf16 autocast, and with weights, gradients and moments in bf16
(which loses small updates). bf16 is left out where the CPU is not fast at it. Ours is the learner that the job uses. Every
case runs in a process of its own; the peak counts everything after the imports, loading included.

    python benchmarks/train_from.py ~/models/SmolLM2-135M --steps 8
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from throughput_peer import forget_peak, peak_bytes, resident_bytes

OURS, THEIRS = "seedbed", "transformers"
CASES = (
    (OURS, "fp32"),
    (OURS, "bf16"),
    (OURS, "fp32-compile"),
    (OURS, "bf16-compile"),
    (THEIRS, "fp32"),
    (THEIRS, "bf16-autocast"),
    (THEIRS, "bf16-weights"),
)
SPEED_GOAL = {"fp32": 1.0, "bf16": 1.3}
MEMORY_GOAL = 0.8
RATE = 2e-5


def ours(folder: Path, mode: str, options: argparse.Namespace) -> Callable[[Any], float]:
    """A function that trains one batch of ids [B, T + 1] as the job does, and returns its loss."""
    import torch

    from seedbed.config.schema import OptimizerConfig
    from seedbed.data.batches import Batch
    from seedbed.model.load import load_folder
    from seedbed.optim.optimizer import build_optimizer
    from seedbed.train.decoder_learner import DecoderLearner
    from seedbed.train.device import reuse_freed_memory
    from seedbed.train.step import train_step

    device = torch.device(options.device)
    if device.type == "cpu":
        reuse_freed_memory()
    model = load_folder(folder, device=device)
    learner = DecoderLearner(model, precision=mode.removesuffix("-compile"), device=device)
    if mode.endswith("-compile"):
        learner.compile()
    optimizer = build_optimizer(learner.trainable(), OptimizerConfig(name="adamw", lr=RATE))

    def step(ids: Any) -> float:
        batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        return train_step(learner, batch, optimizer, 1.0, grad_clip=1.0, micro_batch=0).loss

    return step


def theirs(folder: Path, mode: str, options: argparse.Namespace) -> Callable[[Any], float]:
    """The same with a plain loop over transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if mode == "bf16-weights" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    model = model.to(options.device).train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def step(ids: Any) -> float:
        batch = ids[:, :-1].to(options.device)
        is_cast = mode == "bf16-autocast"
        with torch.autocast(options.device, torch.bfloat16) if is_cast else contextlib.nullcontext():
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step


def measure(who: str, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train in this process and say how fast it went and how much memory it took."""
    import torch
    import transformers  # noqa: F401 - both have it among their imports, so that the peaks are comparable

    if options.threads:
        torch.set_num_threads(options.threads)
    vocabulary = json.loads((options.folder / "config.json").read_bytes())["vocab_size"]
    torch.manual_seed(1)
    batches = torch.randint(vocabulary, (options.steps + options.warmup, options.batch, options.context + 1))
    imports_bytes = resident_bytes()
    forget_peak()
    step = (ours if who == OURS else theirs)(options.folder, mode, options)
    seconds, losses = [], []
    for ids in batches:
        begun = time.perf_counter()
        losses.append(step(ids))
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    on_gpu = torch.cuda.max_memory_allocated() if options.device == "cuda" else None
    return {
        "who": who,
        "mode": mode,
        "tokens_per_s": options.batch * options.context / statistics.median(seconds[options.warmup :]),
        "peak_bytes": on_gpu or peak_bytes() - imports_bytes,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "threads": torch.get_num_threads(),
    }


def in_own_process(who: str, mode: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """A case measured in a fresh process; None if it fails, for example because memory is short."""
    words = [sys.executable, __file__, str(options.folder), "--one", f"{who}/{mode}"]
    for name in ("steps", "warmup", "batch", "context", "threads", "device"):
        words += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        print(f"{who} {mode} failed: {(done.stderr.strip().splitlines() or ['killed'])[-1]}", flush=True)
        return None
    each: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        f"{each['who']:13}{each['mode']:15}{each['tokens_per_s']:>10,.1f} tokens/s{each['peak_bytes'] / 2**20:>9,.0f} MiB"
        f"   loss {each['first_loss']:.4f} -> {each['last_loss']:.4f}",
        flush=True,
    )
    return each


def wanted_cases(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The cases that somebody would train in on this device."""
    from seedbed.hardware import cpu

    is_fast = options.device == "cuda" or cpu.probe().fast_bf16
    modes = [(who, mode) for who, mode in CASES if is_fast or mode.startswith("fp32")]
    return [(who, mode) for who, mode in modes if options.compile or not mode.endswith("-compile")]


def report(found: list[dict[str, Any]]) -> None:
    """Print our best against theirs."""
    mine = [each for each in found if each["who"] == OURS]
    their = [each for each in found if each["who"] == THEIRS]
    if not mine or not their:
        return
    best, peer = (max(each, key=lambda case: case["tokens_per_s"]) for each in (mine, their))
    goal = SPEED_GOAL["bf16" if any(each["mode"].startswith("bf16") for each in their) else "fp32"]
    speed, memory = best["tokens_per_s"] / peer["tokens_per_s"], best["peak_bytes"] / peer["peak_bytes"]
    print(f"speed  {speed:.2f} (goal {goal}): {OURS} {best['mode']} against {THEIRS} {peer['mode']}")
    print(f"memory {memory:.2f} (goal {MEMORY_GOAL}) for the same two")


def main() -> None:
    """Measure all cases, each in a process of its own, or one of them here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument("--steps", type=int, default=6, help="measured steps")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them that do not count")
    parser.add_argument("--batch", type=int, default=4, help="sequences")
    parser.add_argument("--context", type=int, default=512, help="tokens of a sequence")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves PyTorch's choice")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compile", action="store_true", help="measure ours with torch.compile, too")
    parser.add_argument("--one", help="measure one case here, such as seedbed/fp32, and print JSON")
    options = parser.parse_args()
    if options.one:
        who, _, mode = options.one.partition("/")
        print(json.dumps(measure(who, mode, options)))
        return
    report([each for case in wanted_cases(options) if (each := in_own_process(*case, options)) is not None])


if __name__ == "__main__":
    main()
