"""How fast logs of Claude Code are read, against reading each line with json.loads.

    python benchmarks/log_parsing.py [--megabytes 200] [--runs 3] [--profile]

Writes a log with the mix of records that long sessions have: short questions, answers, file reads and edits whose content
is repeated in `toolUseResult`, commands, progress, pictures; the texts are Python's standard library. Prints MB/s of the
reader, of json.loads for each line, and of a loop over the lines alone, the time of `python -c pass`, and peak memory.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import random
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seedbed.curation.drops import Drops
from seedbed.curation.logs.units import find_units


class Writer:
    """Writes sessions of one project."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        library = Path(sysconfig.get_paths()["stdlib"])
        self.sources = [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.py"))[:120]]
        self.session = ""
        self.parent: str | None = None
        self.seconds = 0

    def uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def record(self, kind: str, **fields: Any) -> dict[str, Any]:
        self.seconds += 3
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_770_000_000 + self.seconds))
        own = self.uuid()
        made = {
            "parentUuid": self.parent, "isSidechain": False, "userType": "external", "cwd": "/home/ana/app",
            "sessionId": self.session, "version": "2.1.47", "gitBranch": "main", "slug": "calm-river", "type": kind,
            **fields, "uuid": own, "timestamp": f"{stamp}.123Z",
        }  # fmt: skip
        self.parent = own
        return made

    def assistant(self, message_id: str, block: dict[str, Any]) -> dict[str, Any]:
        usage = {
            "input_tokens": 5,
            "cache_creation_input_tokens": 1200,
            "cache_read_input_tokens": 90210,
            "output_tokens": 87,
        }
        message = {"model": "claude-opus-4-5-20251101", "id": message_id, "type": "message", "role": "assistant"}
        return self.record(
            "assistant", message={**message, "content": [block], "stop_reason": None, "usage": usage}, requestId="req_1"
        )

    def result(self, call: str, text: str, structured: Any) -> dict[str, Any]:
        block = {"tool_use_id": call, "type": "tool_result", "content": text}
        return self.record("user", message={"role": "user", "content": [block]}, toolUseResult=structured)

    def lines(self) -> Iterator[dict[str, Any]]:
        """One session: a question, then steps of the agent, then its answer."""
        self.session, self.parent = self.uuid(), None
        for _ in range(self.random.randint(3, 12)):
            yield self.record("user", message={"role": "user", "content": self.piece(200)})
            for _ in range(self.random.randint(2, 30)):
                yield from self.step()
            yield self.assistant(self.uuid(), {"type": "text", "text": self.piece(900)})

    def piece(self, size: int) -> str:
        source = self.random.choice(self.sources)
        start = self.random.randrange(max(len(source) - size, 1))
        return source[start : start + self.random.randint(size // 2, size)]

    def step(self) -> Iterator[dict[str, Any]]:
        message, call = self.uuid(), f"toolu_{self.random.getrandbits(64):016x}"
        if self.random.random() < 0.4:
            yield self.assistant(message, {"type": "text", "text": self.piece(300)})
        kind = self.random.choices(("Read", "Bash", "Edit", "image"), (40, 40, 19, 1))[0]
        path = f"/home/ana/app/{self.random.randrange(300)}.py"
        content = self.piece(self.random.choice((400, 4000, 12000)))
        if kind == "Read":
            yield self.assistant(message, _call(call, "Read", {"file_path": path}))
            numbered = "\n".join(f"{i:6}\t{line}" for i, line in enumerate(content.split("\n"), 1))
            yield self.result(call, numbered, {"type": "text", "file": {"filePath": path, "content": content}})
        elif kind == "Bash":
            yield self.assistant(message, _call(call, "Bash", {"command": "pytest -q", "description": "Run tests"}))
            yield self.record("progress", data={"type": "bash_progress", "output": content[:300]}, parentToolUseID=call)
            yield self.result(call, content[:3000], {"stdout": content[:3000], "stderr": "", "interrupted": False})
        elif kind == "Edit":
            old, new = content[:200], content[100:500]
            yield self.assistant(
                message, _call(call, "Edit", {"file_path": path, "old_string": old, "new_string": new})
            )
            whole = self.random.choice(self.sources)[:40_000]
            patch = [{"oldStart": 1, "oldLines": 9, "newStart": 1, "newLines": 9, "lines": content[:600].split("\n")}]
            yield self.result(
                call, f"The file {path} has been updated.", {"originalFile": whole, "structuredPatch": patch}
            )
        else:
            yield self.assistant(message, _call(call, "Read", {"file_path": "/home/ana/app/screen.png"}))
            data = "iVBORw0K" * self.random.randint(2_000, 30_000)
            yield self.result(call, "", {"type": "image", "file": {"base64": data, "type": "image/png"}})


def _call(call: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


def write_log(folder: Path, megabytes: float) -> int:
    """Write sessions to a project folder until they have this size; returns the bytes."""
    folder.mkdir(parents=True)
    writer = Writer(folder)
    size = 0
    while size < megabytes * 1e6:
        lines = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in writer.lines()]
        data = ("\n".join(lines) + "\n").encode("utf-8", "replace")
        (folder / f"{writer.session}.jsonl").write_bytes(data)
        size += len(data)
    return size


def read_all(root: Path) -> int:
    """Read the records; returns how many there are."""
    drops = Drops()
    return sum(1 for unit in find_units(root) for _ in unit.read(drops))


def load_lines(root: Path, parse: Callable[[bytes], Any]) -> int:
    """Read every line, one after the other."""
    number = 0
    for path in sorted(root.rglob("*.jsonl")):
        with path.open("rb") as handle:
            for line in handle:
                parse(line)
                number += 1
    return number


def seconds_of(work: Callable[[], Any], runs: int) -> float:
    """The median CPU time of a piece of work."""
    taken = []
    for _ in range(runs):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def start_seconds() -> float:
    """The least CPU time of `python -c pass`, of ten: other work on the machine only adds to it."""
    taken = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "projects"
        size = write_log(root / "-home-ana-app", args.megabytes) / 1e6
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if args.profile:
            cProfile.runctx("read_all(root)", globals(), {"root": root}, sort="tottime")
            return
        ours = seconds_of(lambda: read_all(root), args.runs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        loads = seconds_of(lambda: load_lines(root, json.loads), args.runs)
        loop = seconds_of(lambda: load_lines(root, len), args.runs)
        lines = load_lines(root, len)
        start = start_seconds()
    print(f"log: {size:.0f} MB, {lines:,} lines; seconds are CPU time of one process, medians of {args.runs}")
    print(f"reader        {size / ours:8.1f} MB/s")
    print(f"json.loads    {size / loads:8.1f} MB/s for each line, without making conversations")
    print(f"lines alone   {size / loop:8.1f} MB/s")
    print(f"python -c pass {start * 1000:.1f} ms: {size / ours * start / 0.010:.1f} MB/s at 10 ms")
    print(f"peak memory   {peak / 1024:.0f} MB ({before / 1024:.0f} MB before)")


if __name__ == "__main__":
    main()
