"""Throughput: 6 layers x 384, context 256, batch 16, vocabulary 4,096, against plain loops over transformers' Qwen3.

Ours is `seedbed train benchmarks/throughput.toml`, read from its own event log: tokens/s is the median over the steps after
warm-up. The peers are throughput_peer.py's modes, those in bf16 only where the CPU is fast at it, as ours decides, too. All run
one after another, ours first and last, in one call. With --curve a run in bf16 is compared with an fp32 one over 300 steps: the
mean loss of every 20 steps must stay within 1 %. Where ours is fp32 anyway there is nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from throughput_peer import sensible_modes

HERE = Path(__file__).resolve().parent
TOKENS_PER_STEP = 16 * 256


def matmul_rate(dtype_name: str, size: int = 2048, seconds: float = 2.0) -> float:
    """FLOP/s of square matrix products of this size, the machine's own roof for what follows; in a process of its own."""
    script = f"""
import time, torch
a = torch.randn({size}, {size}, dtype=torch.{dtype_name}); b = torch.randn({size}, {size}, dtype=torch.{dtype_name})
for _ in range(3): a @ b
count, begun = 0, time.perf_counter()
while time.perf_counter() - begun < {seconds}:
    a @ b
    count += 1
print(2 * {size} ** 3 * count / (time.perf_counter() - begun))
"""
    return float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)


def ours(folder: Path, *, steps: int, sets: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train and read the steps back. `step_s` leaves out the first quarter."""
    print(f"seedbed, {steps} steps, {' '.join(sets)} ...", file=sys.stderr)
    runs = folder / f"runs-{time.monotonic_ns()}"
    environment = {**os.environ, "SEEDBED_CACHE": str(folder / "cache")}
    words = [sys.executable, "-m", "seedbed", "train", str(folder / "throughput.toml"), "--runs", str(runs)]
    for each in (f"train.steps={steps}", *sets):
        words += ["--set", each]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    run = next(path for path in runs.iterdir() if not path.name.startswith("."))
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    taken = [event for event in events if event["kind"] == "step"]
    begun = next(event for event in events if event["kind"] == "run" and "steps" in event)
    step_s = statistics.median(event["step_s"] for event in taken[len(taken) // 4 :])
    return {
        "tokens_per_s": TOKENS_PER_STEP / step_s,
        "losses": [event["loss"] for event in taken],
        "precision": begun["precision"],
        "compile": begun["compile"],
    }


def peer(mode: str, steps: int, warmup: int, corpus: Path) -> dict[str, Any]:
    """A plain loop over transformers' Qwen3ForCausalLM."""
    print(f"transformers, {steps} steps, {mode} ...", file=sys.stderr)
    words = [sys.executable, str(HERE / "throughput_peer.py"), "--mode", mode, "--steps", str(steps), "--json"]
    words += ["--warmup", str(warmup)]
    output = subprocess.run([*words, "--data", str(corpus)], check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def curve_gap(fine: list[float], coarse: list[float], window: int = 20) -> float:
    """The largest relative difference between the two curves' means over windows of steps."""
    gaps = []
    for start in range(0, len(fine) - window + 1, window):
        left, right = statistics.mean(fine[start : start + window]), statistics.mean(coarse[start : start + window])
        gaps.append(abs(right - left) / left)
    return max(gaps)


def flops_per_token(folder: Path) -> float:
    """Matrix-product FLOPs of forward and backward for one trained token, by Seedbed's arithmetic."""
    from seedbed.config.arithmetic import flops_per_step
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN

    config = resolve(TRAIN, file=folder / "throughput.toml").config
    return flops_per_step(config.model, 4096, config.train.batch_size) / TOKENS_PER_STEP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    named = Path(os.environ.get("SEEDBED_TEST_DATA", "."))
    parser.add_argument("--corpus", type=Path, default=named / "wikitext-2" / "valid.txt")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=10, help="the peers' steps that do not count")
    parser.add_argument(
        "--curve", action="store_true", help="also train 300 steps in fp32 and in bf16 and compare the losses"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.corpus.is_file():
        sys.exit(f"No corpus at {options.corpus}: set SEEDBED_TEST_DATA or give --corpus.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus.txt").write_bytes(options.corpus.read_bytes())
        (folder / "throughput.toml").write_text((HERE / "throughput.toml").read_text())
        compiled = ("train.compile=on",)
        first = ours(folder, steps=options.steps, sets=compiled)
        peers = {mode: peer(mode, options.steps, options.warmup, options.corpus) for mode in sensible_modes()}
        last = ours(folder, steps=options.steps, sets=compiled)
        eager = ours(folder, steps=options.steps, sets=("train.compile=off",))
        rate = matmul_rate("bfloat16" if last["precision"] == "bf16" else "float32")
        gap = None
        if options.curve and last["precision"] != "fp32":
            fine = ours(folder, steps=300, sets=("train.precision=fp32", "train.compile=off"))
            coarse = ours(folder, steps=300, sets=compiled)
            gap = curve_gap(fine["losses"], coarse["losses"])
        share = max(first["tokens_per_s"], last["tokens_per_s"]) * flops_per_token(folder) / rate
    own = statistics.mean((first["tokens_per_s"], last["tokens_per_s"]))
    best = max(each["tokens_per_s"] for each in peers.values())
    result = {
        "seedbed": [first["tokens_per_s"], last["tokens_per_s"]],
        "seedbed_eager": eager["tokens_per_s"],
        "precision": last["precision"],
        "transformers": {mode: each["tokens_per_s"] for mode, each in peers.items()},
        "ratio_to_fp32": own / peers["fp32"]["tokens_per_s"],
        "ratio_to_best": own / best,
        "matmul_flops": rate,
        "share_of_matmul_rate": share,
        "curve_gap": gap,
    }
    if options.json:
        print(json.dumps(result))
        return
    for mode, each in peers.items():
        print(f"transformers {mode:<13} {each['tokens_per_s']:>8,.0f} tokens/s")
    print(f"seedbed {last['precision']} eager       {eager['tokens_per_s']:>8,.0f} tokens/s")
    print(
        f"seedbed {last['precision']} compiled    {first['tokens_per_s']:>8,.0f} and {last['tokens_per_s']:,.0f} tokens/s"
    )
    print(f"ratio to fp32 {result['ratio_to_fp32']:.2f}, to the best {result['ratio_to_best']:.2f}")
    print(f"share of the machine's matmul rate ({rate / 1e9:,.0f} GFLOP/s): {share:.0%}")
    if gap is not None:
        print(f"loss curve within {gap:.2%} of fp32's over 300 steps")
    elif options.curve:
        print("no loss curve to compare: ours computes in fp32 on this CPU")


if __name__ == "__main__":
    main()
