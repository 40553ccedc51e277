"""Time to quality: Tiny Shakespeare by characters to a full-validation loss of 1.88, as whole processes.

Ours is `seedbed train benchmarks/shakespeare.toml` from an empty cache: interpreter start, imports, tokenizer, shards,
training, full validation and checkpoints. The baseline is nanoGPT's published CPU recipe (nanogpt_baseline.py).
The checkpoint that ours leaves is then scored once more through `transformers`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOAL = 1.88


def prepare(folder: Path, corpus: Path) -> None:
    """The first 90 % of the characters to train on, the rest to validate on."""
    text = corpus.read_text(encoding="utf-8")
    cut = int(len(text) * 0.9)
    (folder / "train.txt").write_text(text[:cut], encoding="utf-8")
    (folder / "validation.txt").write_text(text[cut:], encoding="utf-8")
    (folder / "shakespeare.toml").write_text((HERE / "shakespeare.toml").read_text())


def ours(folder: Path, seed: int) -> dict[str, float]:
    """One whole process from nothing; seconds, full-validation loss, trained tokens."""
    runs, cache = folder / f"runs-{seed}", folder / f"cache-{seed}"
    environment = {**os.environ, "SEEDBED_CACHE": str(cache)}
    command = [sys.executable, "-m", "seedbed", "train", str(folder / "shakespeare.toml"), "--runs", str(runs)]
    begun = time.perf_counter()
    subprocess.run([*command, "--set", f"train.seed={seed}"], env=environment, check=True, stdout=subprocess.DEVNULL)
    elapsed = time.perf_counter() - begun
    status = subprocess.run(
        [sys.executable, "-m", "seedbed", "status", "--runs", str(runs), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    state = json.loads(status.stdout)
    return {"seed": seed, "seconds": elapsed, "loss": state["val_loss"], "tokens": state["tokens"]}


def loss_in_transformers(run: Path, validation: Path, context: int = 64) -> float:
    """The full-validation loss of the run's last checkpoint as `transformers` computes it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = max((run / "checkpoints").glob("step-*"))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(
        validation.read_text(encoding="utf-8"), add_special_tokens=False
    ).input_ids
    total, count = 0.0, 0
    windows = [ids[start : start + context + 1] for start in range(0, len(ids) - 1, context)]
    with torch.no_grad():
        for length in {len(window) for window in windows}:
            same = torch.tensor([window for window in windows if len(window) == length])
            for rows in same.split(256):
                logits = model(rows[:, :-1]).logits
                total += float(
                    torch.nn.functional.cross_entropy(
                        logits.flatten(0, 1).float(), rows[:, 1:].flatten(), reduction="sum"
                    )
                )
                count += rows[:, 1:].numel()
    return total / count


def baseline(corpus: Path) -> dict[str, float]:
    """nanoGPT's CPU recipe as a whole process."""
    output = subprocess.run(
        [sys.executable, str(HERE / "nanogpt_baseline.py"), "--data", str(corpus), "--json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(output.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, default=Path(os.environ.get("SEEDBED_TEST_DATA", ".")) / "tinyshakespeare.txt"
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to N of ours")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.corpus.is_file():
        sys.exit(f"No corpus at {options.corpus}: set SEEDBED_TEST_DATA or give --corpus.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options.corpus)
        half = options.seeds // 2
        rows = [ours(folder, seed) for seed in range(1, half + 1)]
        peer = None if options.no_baseline else baseline(options.corpus)
        rows += [ours(folder, seed) for seed in range(half + 1, options.seeds + 1)]
        run = next(path for path in (folder / f"runs-{options.seeds}").iterdir() if not path.name.startswith("."))
        elsewhere = loss_in_transformers(run, folder / "validation.txt")
    seconds = statistics.median(row["seconds"] for row in rows)
    result = {
        "ours": rows,
        "median_s": seconds,
        "worst_loss": max(row["loss"] for row in rows),
        "reached": all(row["loss"] <= GOAL for row in rows),
        "loss_in_transformers": elsewhere,
        "baseline": peer,
        "ratio": peer["seconds"] / seconds if peer else math.nan,
    }
    if options.json:
        print(json.dumps(result))
        return
    for row in rows:
        print(
            f"seedbed seed {row['seed']}: loss {row['loss']:.4f} after {row['tokens']} tokens in {row['seconds']:.1f} s"
        )
    print(f"last checkpoint in transformers: loss {elsewhere:.4f} (the run said {rows[-1]['loss']:.4f})")
    if peer:
        print(f"nanoGPT's CPU recipe: loss {peer['loss']:.4f} after {peer['tokens']} tokens in {peer['seconds']:.1f} s")
        print(
            f"median {seconds:.1f} s, {result['ratio']:.2f} times faster; goal reached by all seeds: {result['reached']}"
        )


if __name__ == "__main__":
    main()
