"""The terminal window with many runs: first paint, key to paint, idle CPU, memory; and `seedbed status` beside it.

A store is written with the session that jobs use: many short runs, and one of a million steps, which is the newest. The
window runs in a pseudo-terminal of 130 x 40 (and of 80 x 24), as a whole process from a warm disk cache. First paint is
the moment at which the terminal has received the newest run's name in the table; key to paint, for each press of an
arrow key, the moment at which it has received the row that the key leads to.

What takes time to start is also told in bare interpreters: how often `python -c pass` would have run meanwhile. Both are
measured in turns, and the shortest of each is compared, since a slow or busy machine slows both alike.

    python benchmarks/tui.py --runs 1000 --steps 1000000
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import pty
import random
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

import psutil

from seedbed.config.frozen import dump
from seedbed.config.schema import Config
from seedbed.events import Eval, Run, Step, encode
from seedbed.runs.curves.index_writer import IndexWriter
from seedbed.runs.listing import FILE
from seedbed.runs.session import Session
from seedbed.runs.store import Store

GOALS = {
    "first_paint_interpreters": 40.0,
    "status_interpreters": 10.0,
    "runs_interpreters": 15.0,
    "first_paint_s": 1.0,
    "key_p95_ms": 50.0,
    "idle_core_fraction": 0.03,
    "rss_mib": 90.0,
    "status_ms": 150.0,
}
ENDS = ("completed", "stopped", "failed")


def make_store(root: Path, runs: int, steps: int) -> Store:
    """`runs` - 1 short runs, named run-0001 onwards, and a newest of `steps` steps, named longest."""
    store = Store(root)
    meta = {"preset": "nano", "data": "stories", "device_asked": "auto"}
    for number in range(1, runs):
        run = store.create("train", f"run-{number:04d}", dump(Config()), meta)
        with Session(run.path) as session:
            session.emit(Run(status="running", session=1, steps=100, tokens_per_step=4096, device="cpu"))
            for step in range(1, 101):
                loss = 5 / step**0.3
                session.emit(Step(step=step, loss=loss, lr=1e-3, grad_norm=0.7, tokens=4096 * step, step_s=0.25))
                if step % 20 == 0:
                    session.emit(Eval(step=step, loss=loss, perplexity=math.exp(loss), tokens=100, best=True))
            session.finish(ENDS[number % len(ENDS)])
    longest = store.create("train", "longest", dump(Config()), meta)
    noise, began = random.Random(0), time.time() - steps
    with longest.events.open("wb") as log:
        log.write(encode(Run(status="running", session=1, steps=steps, tokens_per_step=512, device="cpu"), 0, began))
        for step in range(1, steps + 1):
            loss = 99.0 if step == steps * 2 // 3 else 2 + 5 * math.exp(-10 * step / steps) + noise.gauss(0, 0.1)
            event = Step(step=step, loss=loss, lr=1e-3, grad_norm=1.0, tokens=512 * step, step_s=1.0)
            log.write(encode(event, step, began + step))
    index = IndexWriter(longest)
    while not index.advance():
        pass
    index.close()
    with Session(longest.path) as session:
        session.finish("stopped")
    return store


class Terminal:
    """A pseudo-terminal with the window in it."""

    def __init__(self, words: list[str], columns: int, rows: int) -> None:
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.environ["COLUMNS"], os.environ["LINES"] = str(columns), str(rows)
            os.execvp(words[0], words)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, words: bytes, timeout_s: float = 20.0) -> float:
        """The moment at which these bytes have arrived."""
        end, held = time.perf_counter() + timeout_s, b""
        while time.perf_counter() < end:
            held = held[-len(words) :] + self._read(0.5)
            if words in held:
                return time.perf_counter()
        raise TimeoutError(f"the window never showed {words!r}")

    def drain(self, seconds: float) -> int:
        """Read whatever comes for a while; how many bytes that were."""
        end, count = time.perf_counter() + seconds, 0
        while (left := end - time.perf_counter()) > 0:
            count += len(self._read(left))
        return count

    def press(self, key: bytes) -> None:
        """Send a key."""
        os.write(self.fd, key)

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self.fd], [], [], max(seconds, 0))
        try:
            return os.read(self.fd, 1 << 16) if ready else b""
        except OSError:
            raise RuntimeError("the window ended by itself") from None


def whole_process_s(words: list[str]) -> float:
    """Wall seconds of a process, its modules compiled as after an installation."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - begun


def bare_interpreter_s() -> float:
    """Wall seconds of an interpreter that does nothing."""
    return whole_process_s([sys.executable, "-c", "pass"])


def measure_window(store: Store, runs: int, columns: int, rows: int, keys: int) -> dict[str, float]:
    """First paint, key to paint, idle CPU and memory of one window."""
    words = [sys.executable, "-m", "seedbed", "tui", "--runs", str(store.root)]
    paints, bare = [], []
    for _ in range(7):
        bare.append(bare_interpreter_s())
        window = Terminal(words, columns, rows)
        paints.append(window.wait_for(b"longest") - window.began)
        window.close()
    window = Terminal(words, columns, rows)
    window.wait_for(b"longest")
    window.drain(4.0)
    times = []
    for number in range(1, keys + 1):
        begun = time.perf_counter()
        window.press(b"\x1b[B")
        times.append((window.wait_for(f"run-{runs - number:04d}".encode()) - begun) * 1e3)
        window.drain(0.15)
    back = []
    for number in range(keys - 1, 0, -1):
        begun = time.perf_counter()
        window.press(b"\x1b[A")
        back.append((window.wait_for(f"run-{runs - number:04d}".encode()) - begun) * 1e3)
        window.drain(0.15)
    window.press(b"\x1b[A")  # to the run of a million steps
    window.drain(3.0)
    process = psutil.Process(window.pid)
    before, begun = process.cpu_times(), time.perf_counter()
    window.drain(10.0)
    after, seconds = process.cpu_times(), time.perf_counter() - begun
    used = (after.user + after.system - before.user - before.system) / seconds
    rss = process.memory_info().rss
    window.close()
    times += back
    return {
        "first_paint_interpreters": min(paints) / min(bare),
        "first_paint_s": statistics.median(paints),
        "first_paint_worst_s": max(paints),
        "key_median_ms": statistics.median(times),
        "key_p95_ms": statistics.quantiles(times, n=20)[-1],
        "idle_core_fraction": used,
        "rss_mib": rss / 2**20,
    }


def measure_status(store: Store) -> dict[str, float]:
    """`seedbed status` and `seedbed runs` as whole processes: in bare interpreters, and their median in milliseconds.

    The first listing of runs, which reads all of them, is told too; the later ones read what it has kept.
    """
    words = {name: [sys.executable, "-m", "seedbed", name, "--runs", str(store.root)] for name in ("status", "runs")}
    (store.root / FILE).unlink(missing_ok=True)
    found = {"runs_first_ms": whole_process_s(words["runs"]) * 1e3}
    taken: dict[str, list[float]] = {"bare": [], "status": [], "runs": []}
    for _ in range(9):
        taken["bare"].append(bare_interpreter_s())
        for name, command in words.items():
            taken[name].append(whole_process_s(command))
    for name in words:
        found[f"{name}_interpreters"] = min(taken[name]) / min(taken["bare"])
        found[f"{name}_ms"] = statistics.median(taken[name]) * 1e3
    return found


def main() -> int:
    """Make the store, measure, print; 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="runs in the store")
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps of the newest run")
    parser.add_argument("--keys", type=int, default=40, help="presses of an arrow key, each way")
    parser.add_argument("--store", type=Path, help="keep the store here, and use it again")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.store or Path(folder, "runs")
        store = Store(root) if root.is_dir() else make_store(root, options.runs, options.steps)
        results: dict[str, dict[str, Any]] = {
            f"{columns}x{rows}": measure_window(store, options.runs, columns, rows, options.keys)
            for columns, rows in ((80, 24), (130, 40))
        }
        results["commands"] = measure_status(store)
    met = all(row[name] <= goal for row in results.values() for name, goal in GOALS.items() if name in row)
    if options.json:
        print(json.dumps({**results, "met": met}))
        return not met
    for place, row in results.items():
        for name, value in row.items():
            goal = f"goal {GOALS[name]:g}" if name in GOALS else ""
            print(f"{place:10}{name:24}{value:>10.3f}   {goal}")
    return not met


if __name__ == "__main__":
    sys.exit(main())
