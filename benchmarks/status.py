"""Start-up: how long `seedbed --help`, `seedbed status` and `seedbed plan` take, what they import, and what logging a step costs.

A store of runs is written with the session that jobs use; the newest run is long and still going, which is when people
ask. The commands run as whole processes from a warm disk cache; the best and the median of several are shown beside the
bare interpreter's, since a busy machine only ever adds.

    python benchmarks/status.py --runs 20 --steps 20000
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

from seedbed.config.frozen import dump
from seedbed.config.schema import Config
from seedbed.events import Run, Step
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir, Store

GOALS_MS = {"seedbed --help": 80.0, "seedbed status": 150.0, "seedbed status --json": 150.0}
BEYOND_PASS_MS = {"seedbed plan": 100.0, "plan, layout given": 100.0}
"""Goals in addition to the time of a bare interpreter."""
PLAN = ("plan", "--model", "llama3-8b", "--gpu", "64xH100", "--tokens", "1T")
FORBIDDEN = ("torch", "numpy", "transformers", "datasets", "textual", "starlette")
_LIST_IMPORTS = """
import sys
from seedbed.cli.main import main
try:
    main(sys.argv[2:])
finally:
    print(*[name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
"""


def log_steps(session: Session, steps: int) -> float:
    """Say that `steps` steps were taken; seconds that saying one took."""
    session.emit(Run(status="running", session=session.number, steps=steps, tokens_per_step=4096, device="cpu"))
    begun = time.perf_counter()
    for step in range(1, steps + 1):
        event = Step(step=step, loss=5 / step**0.3, lr=1e-3, grad_norm=0.7, tokens=4096 * step, step_s=0.25)
        session.emit(event)
    return (time.perf_counter() - begun) / steps


def create(store: Store, name: str) -> RunDir:
    """A run as `seedbed train` makes it."""
    return store.create("train", name, dump(Config()), {})


def timed(words: list[str], repeats: int) -> dict[str, float]:
    """Wall milliseconds of a command as a whole process, its modules compiled as after an installation."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        taken.append((time.perf_counter() - begun) * 1e3)
    return {"best_ms": min(taken), "median_ms": statistics.median(taken)}


def heavy_imports(words: list[str]) -> list[str]:
    """Which of the forbidden modules a command loads."""
    command = [sys.executable, "-c", _LIST_IMPORTS, ",".join(FORBIDDEN), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stderr.split()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, of a store in a temporary folder."""
    program = Path(sys.executable).with_name("seedbed")
    start = [str(program)] if program.exists() else [sys.executable, "-m", "seedbed"]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder, "runs"))
        for number in range(options.runs - 1):
            with Session(create(store, f"earlier-{number}").path) as session:
                log_steps(session, 100)
                session.finish("completed")
        with Session(create(store, "newest").path) as session:
            event_s = log_steps(session, options.steps)
            time.sleep(1.5)  # a beat, so that the snapshot is as fresh as it is in a run
            place = ["--runs", str(store.root)]
            commands = {
                "python -c pass": [sys.executable, "-c", "pass"],
                "seedbed --help": [*start, "--help"],
                "seedbed status": [*start, "status", *place],
                "seedbed status --json": [*start, "status", "--json", *place],
                "seedbed runs": [*start, "runs", *place],
                "seedbed plan": [*start, *PLAN],
                "plan, layout given": [*start, *PLAN, "--parallel", "tp=1,pp=1,dp=64"],
            }
            for words in commands.values():
                timed(words, 1)
            rows = {name: timed(words, options.repeats) for name, words in commands.items()}
            imports = {"--help": heavy_imports(["--help"]), "status": heavy_imports(["status", *place])}
            session.finish("completed")
    bare_ms = rows["python -c pass"]["median_ms"]
    goals = GOALS_MS | {name: bare_ms + beyond for name, beyond in BEYOND_PASS_MS.items()}
    met = all(rows[name]["median_ms"] <= goal for name, goal in goals.items())
    return {"commands": rows, "goals_ms": goals, "event_us": event_s * 1e6, "forbidden_imports": imports, "met": met}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="runs in the store")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of the newest run")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'command':24}{'best':>10}{'median':>10}{'goal':>10}")
    for name, row in result["commands"].items():
        goal = f"{result['goals_ms'][name]:.0f} ms" if name in result["goals_ms"] else "-"
        print(f"{name:24}{row['best_ms']:>7.0f} ms{row['median_ms']:>7.0f} ms{goal:>10}")
    print(f"logging a step: {result['event_us']:.0f} us")
    for name, modules in result["forbidden_imports"].items():
        print(f"{name} imports {', '.join(modules) or 'none'} of {', '.join(FORBIDDEN)}")


if __name__ == "__main__":
    main()
