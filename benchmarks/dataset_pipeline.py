"""How long it takes from repositories and logs to shards, stage by stage, and how much memory that needs.

    python benchmarks/dataset_pipeline.py REPOSITORIES [...] [--megabytes 1000] [--workers 2] [--keep DIR] [--rebuild]

REPOSITORIES are folders of repositories, which are harvested; Python's standard library is prepared as files; the rest of the
megabytes are conversations from generated logs of Claude Code, whose texts are lines of the standard library in random order.
The megabytes (of 1e6 bytes) are the rows that reach the merge; the source code of repositories and the logs have about
three times as many. Each stage is the command that a user types, and the last is what `seedbed train --data` does before it
trains: it trains a tokenizer of 8,192 tokens, and renders all rows to shards of at most `--context` tokens a sample. Of
a conversation with more tokens, each sample has the last turns that fit (see docs/datasets.md), so not all of it is encoded.

`--rebuild` then adds conversations of 1 % of the megabytes and runs all commands again, the last with the same tokenizer.

Memory is the proportional set size, summed over all processes of a stage, and sampled four times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from log_parsing import Writer

LOG_BYTES_PER_ROW_BYTE = 4.5
"""Of the logs that `Writer` makes; the first project is measured, and the others are made to fit."""
PROJECT_MB = 25.0


class Stage(NamedTuple):
    """What a stage took."""

    name: str
    seconds: float
    cpu_s: float
    peak_mb: float


class MixedWriter(Writer):
    """Writes sessions whose texts are lines in random order, so that sessions do not show each other's answers."""

    def __init__(self, folder: Path, seed: int, lines: list[str]) -> None:
        super().__init__(folder, seed)
        self.all_lines = lines
        self.sources = [self.piece(60_000) for _ in range(20)]

    def piece(self, size: int) -> str:
        size = self.random.randint(size // 2, size)
        return "".join(self.random.choices(self.all_lines, k=size // 36 + 1))[:size]


def library_lines() -> list[str]:
    """The lines of the standard library that say something."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    lines = [line for path in files for line in path.read_text("utf-8", "replace").splitlines(keepends=True)]
    return [line for line in dict.fromkeys(lines) if len(line) > 12]


def write_logs(root: Path, megabytes: float, first: int, lines: list[str]) -> int:
    """Write projects with sessions until they have this size; returns how many projects there are then."""
    number = first
    while megabytes > 0:
        folder = root / f"-home-ana-app-{number}"
        folder.mkdir(parents=True)
        writer = MixedWriter(folder, number, lines)
        size = 0
        while size < min(megabytes, PROJECT_MB) * 1e6:
            data = "".join(
                json.dumps(each, ensure_ascii=False, separators=(",", ":")) + "\n" for each in writer.lines()
            ).encode("utf-8", "replace")
            (folder / f"{writer.session}.jsonl").write_bytes(data)
            size += len(data)
        megabytes -= PROJECT_MB
        number += 1
    return number


def tree_of(root: int) -> set[int]:
    """A process and all that it started, directly or not."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
    found = {root}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory_mb(root: int) -> float:
    """The proportional set size of a process and all that it started."""
    total = 0
    for process in tree_of(root):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1e3


def run(name: str, command: list[str], environment: dict[str, str]) -> Stage:
    """Run a command, and measure it with all processes that it starts."""
    peak, ended = 0.0, threading.Event()
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.25):
            peak = max(peak, memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate()[0]
    ended.set()
    watcher.join()
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode:
        sys.exit(f"{name} failed:\n{output[-3000:]}")
    stage = Stage(name, seconds, cpu_s, peak)
    print(f"{name:<28}{seconds:8.1f} s {cpu_s:8.1f} s of processors {peak:8.0f} MB", flush=True)
    print(
        "    " + "\n    ".join(line for line in output.splitlines() if "rows" in line or "Left out" in line), flush=True
    )
    return stage


def size_mb(folder: Path) -> float:
    """The rows of a dataset."""
    described = json.loads((folder / "dataset.json").read_text())
    return float(sum(each["size_bytes"] for each in described["files"].values())) / 1e6


def shards(folder: str, cache: str, context: int, workers: int, tokenizer: str) -> None:
    """Make the shards of a dataset: the last stage, in a process of its own. `tokenizer`: a folder; "" trains one."""
    import msgspec

    from seedbed.config.schema import DataConfig, TokenizerConfig
    from seedbed.data.build import build_dataset

    data = msgspec.structs.replace(DataConfig(), source=folder, workers=workers)
    config = msgspec.structs.replace(TokenizerConfig(), kind="bpe", vocab_size=8192, path=tokenizer)
    made = build_dataset(data, config, cache=Path(cache), emit=lambda event: None, context=context)
    print(f"{made.train.num_documents:,} samples for training, {made.train.num_tokens:,} tokens of rows")


class Pipeline:
    """All stages, in a folder."""

    def __init__(self, repositories: list[str], workers: int, context: int, work: Path) -> None:
        self.work, self._repositories, self._context = work, repositories, context
        self._environment = {**os.environ, "SEEDBED_CACHE": str(work / "cache"), "SEEDBED_RUNS": str(work / "runs")}
        self._spread = ["--workers", str(workers)]
        self._lines, self._projects = library_lines(), 0

    def prepare(self, name: str, *words: str) -> Stage:
        """Prepare a dataset."""
        command = [sys.executable, "-m", "seedbed", "prepare", *words, "--out", str(self.work / "data" / name)]
        return run(f"prepare {words[0]} ({name})", [*command, *self._spread], self._environment)

    def add_logs(self, megabytes: float) -> None:
        """Write logs that give about so many megabytes of rows."""
        self._projects = write_logs(self.work / "logs", megabytes * LOG_BYTES_PER_ROW_BYTE, self._projects, self._lines)

    def size_mb(self, *names: str) -> float:
        """The rows of datasets that were prepared."""
        return sum(size_mb(self.work / "data" / name) for name in names)

    def code(self, *more: str) -> list[Stage]:
        """Prepare the repositories and the standard library."""
        harvested = self.prepare("code", "harvest", *self._repositories, *more)
        return [harvested, self.prepare("library", "fim", sysconfig.get_paths()["stdlib"], *more)]

    def rest(self, *more: str, tokenizer: str = "") -> list[Stage]:
        """Prepare the logs, merge everything and make shards."""
        stages = [self.prepare("logs", "logs", str(self.work / "logs"), "--yes", *more)]
        names = ("code", "library", "logs")
        print(f"rows that reach the merge: {self.size_mb(*names):,.0f} MB", flush=True)
        inputs = [str(self.work / "data" / name) for name in names]
        full = str(self.work / "data" / "full")
        merge = [sys.executable, "-m", "seedbed", "data", "merge", *inputs, "--out", full, *more, *self._spread]
        stages.append(run("data merge", merge, self._environment))
        own = [sys.executable, __file__, "--shards", full, "--context", str(self._context), "--keep", str(self.work)]
        stages.append(run("shards", [*own, "--tokenizer", tokenizer, *self._spread], self._environment))
        return stages

    def tokenizer(self) -> str:
        """The folder of the tokenizer of the shards."""
        (found,) = (self.work / "cache" / "datasets").glob("*/tokenizer")
        return str(found)


def show_total(name: str, stages: list[Stage]) -> None:
    """Print what stages took together."""
    total, cpu_s = sum(each.seconds for each in stages), sum(each.cpu_s for each in stages)
    peak = max(each.peak_mb for each in stages)
    print(f"{name:<28}{total:8.1f} s {cpu_s:8.1f} s of processors {peak:8.0f} MB at most", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="*")
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--keep", help="a folder for all files, which stay; one that does not exist")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--shards", help=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    random.seed(0)
    if args.shards:
        shards(args.shards, f"{args.keep}/cache", args.context, args.workers, args.tokenizer)
        return
    if not args.repositories:
        parser.error("give a folder of repositories")
    with tempfile.TemporaryDirectory() as place:
        work = Path(args.keep or place)
        work.mkdir(parents=True, exist_ok=True)
        pipeline = Pipeline(args.repositories, args.workers, args.context, work)
        stages = pipeline.code()
        pipeline.add_logs(max(args.megabytes - pipeline.size_mb("code", "library"), 1))
        stages += pipeline.rest()
        show_total("all", stages)
        if args.rebuild:
            pipeline.add_logs(args.megabytes / 100)
            print("\nafter 1 % more:", flush=True)
            show_total("all", [*pipeline.code("--force"), *pipeline.rest("--force", tokenizer=pipeline.tokenizer())])


if __name__ == "__main__":
    main()
