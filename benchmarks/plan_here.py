"""`seedbed plan` for this machine against real runs: predicted and measured steps of presets, under the same load.

In turn, the machine's operations are measured (`seedbed plan --measure`) and a run trains (`seedbed train`), several times, so
that both meet the same load. Prints tokens per second, predicted and from the mean of the run's steps, with their ratio.

    python benchmarks/plan_here.py --seconds 60
    python benchmarks/plan_here.py --presets nano --threads 1 --set train.compile=off
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

GOAL = 0.25
"""The largest error that counts as good."""
COMMAND = [sys.executable, "-m", "seedbed"]
STORIES = {"nano": 8000, "tiny": 20_000}
FIRST_STEPS = 3
"""Steps at the start of a run that are not counted."""


def config_file(folder: Path, preset: str, sets: list[str], threads: int) -> Path:
    """A config file with the preset, few validations, and the given settings."""
    path = folder / f"{preset}.toml"
    tables: dict[str, list[str]] = {
        "train": [f"threads = {threads}", "eval_every = 0", "checkpoint_every = 0", "sample_prompts = []"],
        "data": [f"stories = {STORIES.get(preset, 20_000)}"],
    }
    for each in sets:
        key, _, value = each.partition("=")
        table, _, name = key.partition(".")
        tables.setdefault(table, []).append(f"{name} = {value if value.isdigit() else json.dumps(value)}")
    lines = [f'preset = "{preset}"'] + [line for name, keys in tables.items() for line in (f"[{name}]", *keys)]
    path.write_text("\n".join(lines) + "\n")
    return path


def predicted(config: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The plan of the config, from operations that are measured now."""
    words = [*COMMAND, "plan", str(config), "--measure", "--json"]
    done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def real(config: Path, folder: Path, name: str, seconds: float, environment: dict[str, str]) -> dict[str, Any]:
    """Train for about `seconds` after the first step; the seconds of its steps, and whether it was compiled."""
    runs = folder / "runs"
    words = [*COMMAND, "train", str(config), "--runs", str(runs), "--name", name, "--background"]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (run,) = (path for path in runs.iterdir() if path.name.endswith(f"-{name}"))
    follow = [*COMMAND, "logs", "-f", run.name, "--runs", str(runs)]
    stop = [*COMMAND, "stop", run.name, "--runs", str(runs)]
    with subprocess.Popen(follow, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as followed:
        while followed.poll() is None:
            steps = [each for each in events(run) if each["kind"] == "step"]
            if len(steps) > FIRST_STEPS and sum(each["step_s"] for each in steps) >= seconds:
                subprocess.run(stop, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                followed.wait(2.0)
            except subprocess.TimeoutExpired:
                continue
    found = events(run)
    began = next(each for each in found if each["kind"] == "run" and "threads" in each)
    steps_s = [each["step_s"] for each in found if each["kind"] == "step"][FIRST_STEPS:]
    if not steps_s:
        raise SystemExit(f"The run {run} did not train: see its job.log.")
    return {"steps_s": steps_s, **{key: began[key] for key in ("compile", "threads", "precision", "tokens_per_step")}}


def events(run: Path) -> list[dict[str, Any]]:
    """The complete lines of a run's log."""
    lines = (run / "events.jsonl").read_text().split("\n")[:-1] if (run / "events.jsonl").exists() else []
    return [json.loads(line) for line in lines]


class Comparison(NamedTuple):
    """The predicted and the measured steps of a preset."""

    plans: list[dict[str, Any]]
    steps_s: list[float]
    about: dict[str, Any]

    @property
    def predicted_s(self) -> float:
        return statistics.median(each["step_s"] for each in self.plans)

    @property
    def measured_s(self) -> float:
        """The mean, since a run takes the sum of its steps. On a machine of changing speed, the median jumps."""
        return statistics.mean(self.steps_s)

    @property
    def ratio(self) -> float:
        """Predicted speed / measured speed."""
        return self.measured_s / self.predicted_s


def compare(preset: str, folder: Path, *, rounds: int, seconds: float, threads: int, sets: list[str]) -> Comparison:
    """Predict and train in turn, for about `seconds` of training in all rounds together."""
    environment = {**os.environ, "SEEDBED_CACHE": str(folder / "cache")}
    config = config_file(folder, preset, sets, threads)
    plans, steps_s, about = [], [], {}
    for number in range(rounds):
        plans.append(predicted(config, environment))
        about = real(config, folder, f"{preset}-{number}", seconds / rounds, environment)
        steps_s += about["steps_s"]
    return Comparison(plans, steps_s, about)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default="nano,tiny")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training for each preset, all rounds together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: as a run chooses)")
    parser.add_argument("--set", dest="sets", action="append", default=[])
    options = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        for preset in options.presets.split(","):
            found = compare(
                preset,
                Path(name),
                rounds=options.rounds,
                seconds=options.seconds,
                threads=options.threads,
                sets=options.sets,
            )
            worst = max(worst, abs(found.ratio - 1))
            tokens, about = found.plans[0]["tokens_per_step"], found.about
            each_round = ", ".join(f"{1000 * each['step_s']:.0f}" for each in found.plans)
            print(
                f"{preset:<5} predicted {tokens / found.predicted_s:9,.0f} tokens/s ({1000 * found.predicted_s:8.1f} ms a "
                f"step; rounds {each_round})  measured {tokens / found.measured_s:9,.0f} ({1000 * found.measured_s:8.1f} "
                f"ms, {len(found.steps_s)} steps)  predicted / measured {found.ratio:.2f}  {about['precision']}, "
                f"{about['threads']} threads, compiled: predicted {found.plans[-1]['compile']}, real {about['compile']}  "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"largest error {100 * worst:.0f} %, goal {100 * GOAL:.0f} %")
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
