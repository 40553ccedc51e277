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
import subprocess
import sys
import time
from pathlib import Path

GOAL = 5
PEER = """
import json, sys, time
import git, unidiff
folder, hashes = sys.argv[1], json.load(sys.stdin)
repository = git.Repo(folder)
began = time.perf_counter()
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
json.dump({"seconds": time.perf_counter() - began, "counts": counts}, sys.stdout)
"""


def by_seedbed(folder: Path, hashes: list[str]) -> tuple[float, dict[str, list[int]]]:
    """Seconds to read messages and texts, and the removed and added lines of each commit whose files are all text."""
    from seedbed.curation.repositories import git
    from seedbed.curation.repositories.history import Commit, read_commits, read_patches

    repository = git.open_repository(folder)
    began = time.perf_counter()
    messages = {each.hash: each.message for each in read_commits(repository, hashes) if isinstance(each, Commit)}
    counts: dict[str, list[int]] = {}
    for each in read_patches(repository, list(messages)):
        if isinstance(each, tuple):
            digest, patches = each
            if any(patch.problem for patch in patches):
                continue
            hunks = [hunk for patch in patches for hunk in patch.hunks]
            counts[digest] = [sum(len(hunk.removed) for hunk in hunks), sum(len(hunk.added) for hunk in hunks)]
    return time.perf_counter() - began, counts


def to_examples(folder: Path, hashes: list[str]) -> tuple[float, int]:
    """Seconds for the whole way, and the number of examples."""
    from seedbed.curation.commits.units import CommitOptions, CommitUnit
    from seedbed.curation.drops import Drops
    from seedbed.curation.repositories import git

    repository = git.open_repository(folder)
    listed = "".join(f"{digest}\n" for digest in hashes)
    unit = CommitUnit(repository=repository, repository_name="app", hashes=listed, options=CommitOptions())
    began = time.perf_counter()
    made = sum(1 for _ in unit.read(Drops()))
    return time.perf_counter() - began, made


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
    reading, making, peer = [], [], []
    made = 0
    for _ in range(options.repeat):
        seconds, counts = by_seedbed(options.repository, hashes)
        reading.append(seconds)
        seconds, made = to_examples(options.repository, hashes)
        making.append(seconds)
        done = subprocess.run(
            [options.peer, "-c", PEER, str(options.repository.resolve())],
            input=json.dumps(hashes),
            capture_output=True,
            text=True,
            check=True,
        )
        theirs = json.loads(done.stdout)
        peer.append(theirs["seconds"])
    both = counts.keys() & theirs["counts"].keys()
    different = [digest for digest in both if _differs(counts[digest], theirs["counts"][digest])]
    best = min(peer)
    print(
        f"{len(hashes)} commits of {options.repository.name}; {len(both)} compared, {len(different)} with other counts of lines"
    )
    print(f"GitPython + unidiff   {len(hashes) / best:8.0f} commits/s")
    print(f"messages and texts    {len(hashes) / min(reading):8.0f} commits/s   {best / min(reading):5.1f} times")
    print(f"examples ({made:5})      {len(hashes) / min(making):8.0f} commits/s   {best / min(making):5.1f} times")
    return 0 if best / min(making) >= GOAL and not different else 1


def _differs(ours: list[int], theirs: list[int]) -> bool:
    """Ours may have one line more on a side: the empty line after a newline at the end of a file, where only one has it."""
    return ours[1] - ours[0] != theirs[1] - theirs[0] and max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > 2


if __name__ == "__main__":
    sys.exit(main())
