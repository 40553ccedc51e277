"""Commits: changed lines and examples of edits, against GitPython with unidiff over the same commits, in one run.

The peer works as scripts for this purpose do: for each commit it asks for the commit's statistics, lets git write its diff and
parses that with unidiff. Seedbed is measured twice: reading the messages and the texts of all files before and after; and the
whole way to examples, with their edits proved. All use one process, besides git. Each is repeated, in turn, and the best
counts. Numbers of removed and added lines of each commit must be equal.

The peer needs an environment of its own:

    python -m venv /tmp/peer && /tmp/peer/bin/pip install GitPython unidiff
    python benchmarks/commits.py REPOSITORY --peer /tmp/peer/bin/python --commits 400
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

GOAL = 5
T = TypeVar("T")
PEER = """
import json, resource, sys, time
import git, unidiff
folder, hashes = sys.argv[1], json.load(sys.stdin)
repository = git.Repo(folder)
def spent():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

began, before = time.perf_counter(), spent()
counts, characters = {}, 0
for digest in hashes:
    commit = repository.commit(digest)
    files = commit.stats.files
    subject = commit.message.splitlines()[0] if commit.message else ""
    text = repository.git.diff(commit.parents[0].hexsha, digest, "--unified=3", "--histogram", "-M", "--no-ext-diff")
    try:
        patches = unidiff.PatchSet(text)
    except Exception:
        continue
    removed = added = 0
    for patch in patches:
        for hunk in patch:
            for line in hunk:
                removed += line.is_removed
                added += line.is_added
                characters += len(line.value)
    counts[digest] = [removed, added]
seconds = time.perf_counter() - began
processor = spent() - before
json.dump({"seconds": seconds, "processor": processor, "counts": counts}, sys.stdout)
"""


def read(folder: Path, hashes: list[str]) -> dict[str, list[int]]:
    """Read messages and texts: the removed and added lines of each commit whose files are all text."""
    from seedbed.curation.repositories import git
    from seedbed.curation.repositories.history import Commit, read_commits, read_patches

    repository = git.open_repository(folder)
    messages = {each.hash: each.message for each in read_commits(repository, hashes) if isinstance(each, Commit)}
    counts: dict[str, list[int]] = {}
    for each in read_patches(repository, list(messages)):
        if isinstance(each, tuple) and not any(patch.problem for patch in each[1]):
            counts[each[0]] = [sum(sides) for sides in zip(*map(lines_of, each[1]), strict=True)] or [0, 0]
    return counts


def lines_of(patch: Any) -> tuple[int, int]:
    """The removed and added lines, without the empty line after a newline at the end where only one text has it."""
    ended = [text is None or text == "" or text.endswith("\n") for text in (patch.before, patch.after)]
    removed = sum(len(hunk.removed) for hunk in patch.hunks) - (ended[0] and not ended[1])
    added = sum(len(hunk.added) for hunk in patch.hunks) - (ended[1] and not ended[0])
    return removed, added


def examples(folder: Path, hashes: list[str]) -> int:
    """Go the whole way: the number of examples."""
    from seedbed.curation.commits.units import CommitOptions, CommitUnit
    from seedbed.curation.drops import Drops
    from seedbed.curation.repositories import git

    repository = git.open_repository(folder)
    listed = "".join(f"{digest}\n" for digest in hashes)
    unit = CommitUnit(repository=repository, repository_name="app", hashes=listed, options=CommitOptions())
    return sum(1 for _ in unit.read(Drops()))


def peer(python: str, folder: Path, hashes: list[str]) -> dict[str, Any]:
    """What the peer found, and how long it took."""
    command = [python, "-c", PEER, str(folder.resolve())]
    done = subprocess.run(command, input=json.dumps(hashes), capture_output=True, text=True, check=False)
    if "dubious ownership" in done.stderr:
        place = folder.resolve()
        raise SystemExit(
            f"git refuses {place}, which belongs to another user: git config --global --add safe.directory {place}"
        )
    if done.returncode:
        raise SystemExit(f"The peer failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def timed(function: Callable[[Path, list[str]], T], folder: Path, hashes: list[str]) -> tuple[T, float, float]:
    """The result, the seconds that it took, and those of processors, git's included."""
    began, before = time.perf_counter(), processor_s()
    result = function(folder, hashes)
    return result, time.perf_counter() - began, processor_s() - before


def processor_s() -> float:
    """Seconds of processors that this process and its children used."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def chosen(folder: Path, most: int) -> list[str]:
    """The newest commits with one parent, the oldest first."""
    from seedbed.curation.repositories import git

    repository = git.open_repository(folder)
    listed = git.run(repository, "rev-list", "--no-merges", "--min-parents=1", f"--max-count={most}", "HEAD")
    return listed.decode().split()[::-1]


def main() -> int:
    """Measure, print the figures, and compare them with the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--peer", required=True, help="the Python of an environment with GitPython and unidiff")
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    hashes = chosen(options.repository, options.commits)
    times: dict[str, list[tuple[float, float]]] = {"GitPython + unidiff": [], "messages and texts": [], "examples": []}
    counts: dict[str, list[int]] = {}
    theirs: dict[str, list[int]] = {}
    made = 0
    for _ in range(options.repeat):
        counts, *spent = timed(read, options.repository, hashes)
        times["messages and texts"].append((spent[0], spent[1]))
        made, *spent = timed(examples, options.repository, hashes)
        times["examples"].append((spent[0], spent[1]))
        found = peer(options.peer, options.repository, hashes)
        theirs = found["counts"]
        times["GitPython + unidiff"].append((found["seconds"], found["processor"]))
    both = counts.keys() & theirs.keys()
    different = [digest for digest in both if counts[digest] != theirs[digest]]
    print(f"{len(hashes)} commits of {options.repository.name}, {made} examples;", end=" ")
    print(f"lines of {len(both)} compared, {len(different)} differ {' '.join(different[:3])}")
    best = {name: [min(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    first = best["GitPython + unidiff"]
    for name, (seconds, processor) in best.items():
        print(f"{name:20} {len(hashes) / seconds:6.0f} commits/s  {first[0] / seconds:5.1f} times;", end="  ")
        print(f"processor {1000 * processor / len(hashes):6.2f} ms a commit  {first[1] / processor:5.1f} times")
    return 0 if first[0] / best["messages and texts"][0] >= GOAL and not different else 1


if __name__ == "__main__":
    sys.exit(main())
