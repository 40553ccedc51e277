"""Fit the scaling law of the time dial (`seedbed train --for`) on own runs, and write src/seedbed/config/facts/dial.json.

`measure` trains trunks at a constant learning rate, and branches a decay from each trunk for every horizon and every
share of the decay, so that several horizons cost little more than the longest. Each branch appends a line to the results
file; branches that the file already has are skipped, so points can be added later. `fit` fits L = E + A/N^alpha +
B/D^beta per kind of text, the price of decay shares, and prints all residuals. `facts` also writes the facts file.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "dial_runs.jsonl"
WARMUP_STEPS = 30
CONTEXT = 256


def texts(folder: Path) -> dict[str, list[str]]:
    """Kind of text -> `--set` values of its data and tokenizer. Real text only where `folder` has it."""
    found = {"stories": ["data.source=stories", "data.stories=40000", "tokenizer.vocab_size=1536"]}
    for name, path in (("shakespeare", folder / "tinyshakespeare.txt"), ("wikitext-2", folder / "wikitext-2")):
        if path.exists():
            found[name] = [f"data.source=text:{path}", "tokenizer.vocab_size=1536", "data.validation=0.06"]
    return found


def measure(
    text: str, index: int, horizons: Iterable[int], shares: Iterable[float], seed: int, deadline: float
) -> None:
    """Train one trunk of rung `index`, and a decay for each horizon (tokens) and share (of the horizon)."""
    import torch

    from seedbed.config.directories import cache_dir
    from seedbed.config.ladder import RUNGS, computing_parameters, sized
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN
    from seedbed.data.build import build_dataset
    from seedbed.events import discard
    from seedbed.jobs.assembling import assemble
    from seedbed.train.device import decide_device
    from seedbed.train.hooks import evaluate

    torch.set_num_threads(1)
    sets = texts(Path(os.environ.get("SEEDBED_TEST_DATA", ".")))[text]
    base = resolve(
        TRAIN, sets=[*sets, "data.workers=1", "train.threads=1", "train.steps=1", f"train.seed={seed}"]
    ).config
    config = sized(base, index, 0)
    dataset = build_dataset(config.data, config.tokenizer, cache=cache_dir(), emit=discard)
    device, precision = decide_device(config.train, lambda *_: None, discard)
    parts = assemble(config, dataset, device, precision)
    step_tokens = config.train.batch_size * CONTEXT
    parameters = computing_parameters(config.model, dataset.tokenizer.vocab_size)
    known = {(row["text"], row["rung"], row["steps"], row["share"], row["seed"]) for row in rows()}
    plans = {(max(h // step_tokens, 1), share) for h in horizons for share in shares}
    plans = {(steps, share) for steps, share in plans if (text, index, steps, share, seed) not in known}
    branch_at: dict[int, list[tuple[int, float]]] = {}
    for steps, share in plans:
        branch_at.setdefault(steps - round(share * steps), []).append((steps, share))
    begun, trainer = time.perf_counter(), parts.trainer
    for step in range(max(branch_at, default=-1) + 1):
        for steps, share in sorted(branch_at.get(step, [])):
            branch: Any = copy.deepcopy(trainer)
            for each in range(step, steps):
                branch.step(parts.batches.batch(each), 1 - (each - step) / (steps - step))
            result = evaluate(
                branch, parts.validation.batches(60_000), bytes_per_token=parts.validation.bytes_per_token
            )
            row = {
                "text": text, "rung": index, "layers": RUNGS[index].layers, "hidden": RUNGS[index].hidden,
                "parameters": parameters, "steps": steps, "tokens": steps * step_tokens, "share": share, "seed": seed,
                "loss": result.loss, "bits_per_byte": result.bits_per_byte, "vocab": dataset.tokenizer.vocab_size,
                "train_tokens": dataset.train.num_tokens, "precision": precision, "elapsed_s": time.perf_counter() - begun,
            }  # fmt: skip
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{text} {RUNGS[index].layers}x{RUNGS[index].hidden} {row['tokens']:,} tokens, share {share}: "
                  f"loss {result.loss:.4f} after {row['elapsed_s']:.0f} s", flush=True)  # fmt: skip
            if time.time() > deadline:
                sys.exit("The time is used up; run again to continue.")
        trainer.step(parts.batches.batch(step), min(1.0, (step + 1) / (WARMUP_STEPS + 1)))


def rows() -> list[dict[str, Any]]:
    """All results so far."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines() if line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["measure", "fit", "facts"])
    parser.add_argument("--text", default="stories")
    parser.add_argument("--rung", type=int, default=2)
    parser.add_argument("--horizons", default="400000,800000,1600000", help="tokens, separated by commas")
    parser.add_argument("--shares", default="0.4")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-s", type=float, default=3600, help="stop after this many seconds")
    options = parser.parse_args()
    if options.verb == "measure":
        horizons = [int(each) for each in options.horizons.split(",")]
        shares = [float(each) for each in options.shares.split(",")]
        measure(options.text, options.rung, horizons, shares, options.seed, time.time() + options.most_s)


if __name__ == "__main__":
    main()
