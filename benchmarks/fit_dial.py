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
import math
import os
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "dial_runs.jsonl"
FACTS = HERE.parent / "src" / "seedbed" / "config" / "facts" / "dial.json"
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


class Form(NamedTuple):
    """The text on whose runs a law is fitted, and the bounds of its constants."""

    text: str
    lowest_floor: float
    """The smallest floor, as a share of the lowest loss of all runs."""
    largest_exponent: float


LAWS = {"stories": Form("stories", 0.7, 1.3), "text": Form("wikitext-2", 0.05, 0.7)}
"""The forms of the laws. The runs on Shakespeare check the law of real text.

Stories are drawn at random from a small grammar, so their loss soon levels off: 4 x 128 reached 0.60 after 1.6M tokens and 0.52
after 3.2M. The data do not fix the floor (0.03 and 0.41 fit equally well, with other exponents); 0.7 is assumed.
"""
SHARE = 0.4
"""The law is fitted on runs with this decay share; the others price the shares."""
EARLIER_RUNS: list[dict[str, Any]] = [
    # The preset nano in README.md (2026-11-24, the whole validation text). Its share of the decay was 0.6, which at this length
    # costs nothing: 4 x 128, 1.6M tokens, 0.6013 with 0.4 and 0.6003 with 0.6.
    {"text": "stories", "rung": 2, "layers": 4, "hidden": 128, "parameters": 851_968, "steps": 1350, "tokens": 2_764_800,
     "share": SHARE, "seed": 1337, "loss": 0.5542, "bits_per_byte": 0.5542 / math.log(2) / 4.0115, "train_tokens": 1_207_000},
    # `seedbed train --for 15m` (2026-11-30, benchmarks/RESULTS.md): batches of 16 and 8 sequences, and a decay of 0.3.
    {"text": "stories", "rung": 3, "layers": 5, "hidden": 192, "parameters": 2_509_504, "steps": 4977, "tokens": 20_385_792,
     "share": SHARE, "seed": 1337, "loss": 0.42728, "bits_per_byte": 0.153184, "train_tokens": 5_560_000},
    {"text": "stories", "rung": 3, "layers": 5, "hidden": 192, "parameters": 2_509_504, "steps": 8365, "tokens": 17_131_520,
     "share": SHARE, "seed": 1337, "loss": 0.43226, "bits_per_byte": 0.154823, "train_tokens": 12_600_000},
    {"text": "stories", "rung": 4, "layers": 6, "hidden": 256, "parameters": 5_214_208, "steps": 4327, "tokens": 8_861_696,
     "share": SHARE, "seed": 1337, "loss": 0.4388, "bits_per_byte": 0.1572, "train_tokens": 7_900_000},
]  # fmt: skip
"""Runs from before this script that are long enough to say where the losses level off."""


def fit_law(points: list[dict[str, Any]], reuse: float, form: Form, step: float = 0.02) -> dict[str, Any]:
    """The constants with the least squared relative errors: a grid over floor, alpha and beta, a and b by least squares.

    A run counts by the square root of its tokens: the dial is used for longer runs than most of these.
    """
    import numpy as np

    loss = np.array([row["loss"] for row in points])
    size = np.array([float(row["parameters"]) for row in points])
    unique = np.array([float(row["train_tokens"]) for row in points])
    seen = np.array([float(row["tokens"]) for row in points])
    repeats = np.maximum(seen / unique - 1, 0)
    tokens = np.minimum(seen, unique) + unique * reuse * -np.expm1(-repeats / reuse)
    weight = np.sqrt(seen / seen.max())
    best: dict[str, Any] = {"error": np.inf}
    exponents = np.arange(0.2, form.largest_exponent + 1e-9, step)
    for alpha in exponents:
        for beta in exponents:
            columns = np.stack([size**-alpha, tokens**-beta], axis=1) * (weight / loss)[:, None]
            for floor in np.linspace(form.lowest_floor, 0.95, 46) * loss.min():
                rest = weight * (1 - floor / loss)
                (a, b), *_ = np.linalg.lstsq(columns, rest, rcond=None)
                if a < 0 or b < 0:
                    continue
                error = float(np.sum((columns @ np.array([a, b]) - rest) ** 2))
                if error < best["error"]:
                    best = {
                        "floor": float(floor),
                        "a": float(a),
                        "alpha": float(alpha),
                        "b": float(b),
                        "beta": float(beta),
                        "error": error,
                    }
    fitted = best["floor"] + best["a"] * size ** -best["alpha"] + best["b"] * tokens ** -best["beta"]
    return best | {"ratios": (fitted / loss).tolist()}


def fit() -> dict[str, Any]:
    """Fit all laws, print every residual, and return the content of the facts file."""
    found: dict[str, Any] = {"laws": {}, "residuals": {}}
    everything = rows()
    for name, form in LAWS.items():
        points = [row for row in everything + EARLIER_RUNS if row["text"] == form.text and row["share"] == SHARE]
        if len({row["rung"] for row in points}) < 3:
            sys.exit(f"{name}: runs of fewer than 3 sizes. Run `measure` first.")
        reuse = (
            min(
                (5.0, 10.0, 15.0, 25.0),
                key=lambda each, form=form, points=points: fit_law(points, each, form, 0.06)["error"],
            )
            if name == "text"
            else 15.0
        )
        law = fit_law(points, reuse, form)
        errors = [abs(ratio - 1) for ratio in law["ratios"]]
        print(f"{name}: {len(points)} runs, reuse worth {reuse:g} passes")
        for row, ratio in zip(points, law["ratios"], strict=True):
            print(f"  {row['text']:<12}{row['layers']}x{row['hidden']:<5}{row['tokens']:>10,} tokens "
                  f"loss {row['loss']:.4f}  predicted {ratio * row['loss']:.4f} ({100 * (ratio - 1):+.1f} %)")  # fmt: skip
        by_size = leave_one_size_out(points, reuse, form)
        print(f"  error: median {statistics.median(errors):.1%}, largest {max(errors):.1%}")
        print(f"  each size left out in turn: median {statistics.median(by_size):.1%}, largest {max(by_size):.1%}")
        bytes_per_token = statistics.mean(row["loss"] / 0.6931471805599453 / row["bits_per_byte"] for row in points)
        constants = {key: round(law[key], 6) for key in ("floor", "a", "alpha", "b", "beta")}
        found["laws"][name] = constants | {"bytes_per_token": round(bytes_per_token, 4)}
        found["residuals"][name] = {
            "points": len(points), "median": round(statistics.median(errors), 4), "largest": round(max(errors), 4),
            "left_out_median": round(statistics.median(by_size), 4), "left_out_largest": round(max(by_size), 4),
        }  # fmt: skip
        if name == "text":
            found["reuse_passes"] = reuse
            print_check(law, [row for row in everything if row["text"] == "shakespeare"], reuse)
    share = best_share(everything)
    shares = json.loads(FACTS.read_text(encoding="utf-8"))["decay_share"]
    found["decay_share"] = shares | ({} if share is None else {"short": round(share, 2)})
    return found


def predicted(law: dict[str, Any], row: dict[str, Any], reuse: float) -> float:
    """The loss that a law predicts for a run."""
    repeats = max(row["tokens"] / row["train_tokens"] - 1, 0)
    tokens = min(row["tokens"], row["train_tokens"]) + row["train_tokens"] * reuse * -math.expm1(-repeats / reuse)
    return law["floor"] + law["a"] * row["parameters"] ** -law["alpha"] + law["b"] * tokens ** -law["beta"]


def print_check(law: dict[str, Any], others: list[dict[str, Any]], reuse: float) -> None:
    """Print how well a law fits the runs on another text, up to one factor for how hard that text is."""
    if not others:
        return
    factor = statistics.median(row["loss"] / predicted(law, row, reuse) for row in others)
    print(f"  on another text, up to a factor of {factor:.3f}:")
    for row in others:
        error = factor * predicted(law, row, reuse) / row["loss"] - 1
        print(f"  {row['text']:<12}{row['layers']}x{row['hidden']:<5}{row['tokens']:>10,} tokens {error:+.1%}")


def leave_one_size_out(points: list[dict[str, Any]], reuse: float, form: Form) -> list[float]:
    """The relative errors of runs predicted from the runs of all other sizes."""
    errors = []
    for rung in sorted({row["rung"] for row in points}):
        others = [row for row in points if row["rung"] != rung]
        mine = [row for row in points if row["rung"] == rung]
        if len(others) < 5:
            continue
        law = fit_law(others, reuse, form, 0.04)
        errors += [abs(predicted(law, row, reuse) / row["loss"] - 1) for row in mine]
    return errors


def best_share(everything: list[dict[str, Any]]) -> float | None:
    """Print the losses of equal runs with different shares of the decay; returns the best share.

    It is the median, over the groups with three shares, of the minimum of the parabola through them. None without such a group.
    """
    minima = []
    print("shares of the decay:")
    groups: dict[tuple[Any, ...], dict[float, float]] = {}
    for row in everything:
        groups.setdefault((row["text"], row["layers"], row["hidden"], row["tokens"], row["seed"]), {})[row["share"]] = (
            row["loss"]
        )
    for (text, layers, hidden, tokens, _), losses in groups.items():
        if len(losses) > 1:
            shares = ", ".join(f"{share}: {loss:.4f}" for share, loss in sorted(losses.items()))
            print(f"  {text} {layers}x{hidden} {tokens:,} tokens: {shares}")
        if len(losses) == 3:
            (x0, y0), (x1, y1), (x2, y2) = sorted(losses.items())
            first, second = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
            bend = (second - first) / (x2 - x0)
            if bend > 0:
                minima.append((x0 + x1) / 2 - first / (2 * bend))
    print(f"  best share (minimum of a parabola): {', '.join(f'{each:.2f}' for each in minima) or 'unknown'}")
    return statistics.median(minima) if minima else None


def write_facts(found: dict[str, Any]) -> None:
    """Write the facts file, with what was measured, fitted and assumed."""
    import datetime as dt

    from seedbed.hardware import cpu

    found["sources"] = {
        "fitted": "laws, residuals and reuse_passes: by benchmarks/fit_dial.py facts, on the runs in benchmarks/dial_runs.jsonl "
        "and its EARLIER_RUNS "
        f"(decay share {SHARE}, context {CONTEXT}, batches of 8 sequences, Muon)",
        "machine": cpu.probe().name,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "decay_share": "short: fitted on runs with shares 0.2, 0.4 and 0.6; long and short_up_to_s: assumed, since a shorter "
        "decay follows the speed of the machine for longer and the optimum is flat",
        "form": "Hoffmann et al. 2022, arXiv 2203.15556; repeated text: Muennighoff et al. 2023, arXiv 2305.16264",
    }
    FACTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


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
        return
    found = fit()
    if options.verb == "facts":
        write_facts(found)


if __name__ == "__main__":
    main()
