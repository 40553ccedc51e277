"""The time dial: does `seedbed train --for TIME` end in time, and is its model as good as that of the presets?

For each time, whole commands from nothing but a warm interpreter: `--for TIME`, and each preset for the same time with its own
size and schedule (`--preset NAME --for TIME --set schedule.decay=...`). Bits per byte over the whole validation text compare
models with different vocabularies. Prints a table; rows are also appended to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PRESET_DECAY = {"nano": 0.6, "tiny": 0.4}
"""The decay share of each preset that is compared, as in its file."""


def train(folder: Path, words: list[str], name: str) -> dict[str, Any]:
    """Run one whole command; its seconds, and what its log says about the model."""
    environment = {**os.environ, "SEEDBED_CACHE": str(folder / f"cache-{name}")}
    command = [sys.executable, "-m", "seedbed", "train", *words, "--name", name, "--runs", str(folder / "runs")]
    begun = time.perf_counter()
    done = subprocess.run(
        command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    elapsed_s = time.perf_counter() - begun
    if done.returncode:
        return {"elapsed_s": elapsed_s, "failed": done.stderr.strip().splitlines()[0]}
    (run,) = (path for path in (folder / "runs").iterdir() if path.name.endswith(f"-{name}"))
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    final = [each for each in events if each["kind"] == "eval"][-1]
    began = next(each for each in events if each["kind"] == "run" and "parameters" in each)
    said = next((each["text"] for each in events if each["kind"] == "message" and each["code"] == "size"), "")
    steps = [each for each in events if each["kind"] == "step"]
    return {
        "elapsed_s": elapsed_s,
        "loss": final["loss"],
        "bits_per_byte": final["bits_per_byte"],
        "validated_tokens": final["tokens"],
        "parameters": began["parameters"],
        "steps": steps[-1]["step"],
        "tokens": steps[-1]["tokens"],
        "said": said,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", default="2m,5m,15m")
    parser.add_argument("--presets", default="nano,tiny")
    parser.add_argument("--data", help="a data source for all runs (default: the stories, as many as each config says)")
    parser.add_argument("--seed", default="1337")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    options = parser.parse_args()
    common = ["--seed", options.seed, *(["--data", options.data] if options.data else [])]
    common += [word for each in options.sets for word in ("--set", each)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for wanted in options.times.split(","):
            runs = {"chosen": ["--for", wanted]}
            for preset in filter(None, options.presets.split(",")):
                runs[preset] = ["--preset", preset, "--for", wanted, "--set", f"schedule.decay={PRESET_DECAY[preset]}"]
            for label, words in runs.items():
                row = {"for": wanted, "model": label, **train(folder, [*words, *common], f"{label}-{wanted}")}
                if "failed" in row:
                    print(f"--for {wanted:<4} {label:<7} {row['elapsed_s']:7.1f} s  {row['failed']}", flush=True)
                    continue
                print(
                    f"--for {wanted:<4} {label:<7} {row['elapsed_s']:7.1f} s  {row['parameters']:>10,} parameters  "
                    f"{row['tokens']:>11,} tokens  loss {row['loss']:.4f}  {row['bits_per_byte']:.4f} bits per byte  "
                    f"load {row['load']:.1f}",
                    flush=True,
                )
                if row["said"]:
                    print(f"            {row['said']}", flush=True)
                if options.results:
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
