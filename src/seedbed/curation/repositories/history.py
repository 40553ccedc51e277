"""Reads the history of a repository: its commits, the files that each changed, and their text before and after.

`git diff-tree --stdin` is what `git log -p` does for each commit, without the user's settings. It reads many commits in one
process. A commit that git cannot read ends that process; it is reported, and a new process goes on with the next commit.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from heapq import heappop, heappush
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from seedbed.curation.repositories import git
from seedbed.curation.repositories.branches import check_branch
from seedbed.curation.repositories.git import GitError, Repository
from seedbed.curation.repositories.patches import Change, Patch, Texts, patch_of
from seedbed.errors import UsageError
from seedbed.text import printable, quoted

_BATCH = 390
"""Commits that one process reads: their hashes (41 bytes each) fit into the buffer of a pipe, so that writing never waits."""
_CHUNK = 1 << 20
_GROUP_COMMITS = 16
_GROUP_BYTES = 2 << 20
_SINCE = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)([T ](?P<time>\d\d:\d\d(:\d\d)?)(Z|[+-]\d\d:?\d\d)?)?|\d{1,4} (day|week|month|year)s?( ago)?"
)
_LAST_SECOND = 253402300799
"""Of the year 9999, the last that dates can have."""
_MEAN_COMMITS = 512
_MOST_COMMITS = 2048
_RAW = re.compile(r":(\d{6}) (\d{6}) ([0-9a-f]+) ([0-9a-f]+) ([A-Z])(\d*)")


class HistoryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which commits of a repository are read."""

    branch: str | None = None
    """A branch, tag or hash; None: that which is checked out."""
    all_branches: bool = False
    """Also those of remotes that were fetched."""
    since: str | None = None
    """A date such as 2026-11-01, or `90 days`; see `check_since`."""
    max_commits: int | None = None
    """Only the newest ones."""


class Commit(msgspec.Struct, frozen=True):
    """A commit. `changes` is None if they are more than `most_bytes` of listing; a merge has none."""

    hash: str
    parents: tuple[str, ...]
    time_s: int
    """When it was committed, in seconds since 1970."""
    message: str
    changes: list[Change] | None

    @property
    def time(self) -> str:
        """When it was committed, in UTC: 2026-11-21T10:15:00Z."""
        return datetime.fromtimestamp(min(self.time_s, _LAST_SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Unreadable(msgspec.Struct, frozen=True):
    """A commit that git cannot read, such as one whose objects are missing."""

    hash: str


class TooLarge(msgspec.Struct, frozen=True):
    """A commit whose changes have more than the permitted number of bytes."""

    hash: str


_Listed: TypeAlias = tuple[str, tuple[list[Change], bytes] | Unreadable | TooLarge]


def check_since(since: str) -> None:
    """Raise UsageError if a text is neither a date nor a span of time."""
    match = _SINCE.fullmatch(since)
    try:
        if match is None:
            raise ValueError
        if match["date"]:
            datetime.fromisoformat(f"{match['date']} {match['time'] or '00:00'}")
    except ValueError:
        raise UsageError(
            f"{quoted(printable(since))} is not a date.",
            "Write a date such as 2026-11-01, a date with a time such as 2026-11-01 18:30, or how long ago: 90 days, "
            "6 weeks, 3 months, 1 year.",
        ) from None


def _as_git_reads(since: str) -> str:
    """A date with its first second: without a time, git takes that of now."""
    return f"{since} 00:00:00" if re.fullmatch(r"\d{4}-\d\d-\d\d", since) else since


def list_commits(repository: Repository, options: HistoryOptions, below: str = "") -> tuple[list[str], int]:
    """The hashes of the commits that the options select, the oldest first, and how many commits git could not read.

    `below`: only commits that change something in this folder of the repository, if all commits can be read. Raises
    UsageError for an unknown branch or date, and GitError if the commit that is checked out is missing. A repository without
    commits has none.
    """
    if options.since is not None:
        check_since(options.since)
    if options.branch is not None:
        check_branch(repository, options.branch)
    tip = git.commit_hash(repository, options.branch or "HEAD")
    selection = ["--branches", "--remotes"] if options.all_branches else []
    selection += [tip] if tip else []
    if not selection:
        _check_head(repository)
        return [], 0
    limits = [f"--since={_as_git_reads(options.since)}"] if options.since else []
    limits += [f"--max-count={options.max_commits}"] if options.max_commits is not None else []
    try:
        folder = ("--", below) if below else ()
        tips = _tips(repository, selection)
        newest_first = git.run(repository, "rev-list", *limits, "--end-of-options", *tips, *folder)
    except GitError:
        return _walk(repository, _tips(repository, selection), options)
    return newest_first.decode("ascii").split()[::-1], 0


def _check_head(repository: Repository) -> None:
    """Raise GitError if HEAD names a commit, which then cannot be read: a repository without commits has no hash there."""
    try:
        named = git.run(repository, "rev-parse", "--verify", "--quiet", "HEAD").decode("ascii", "replace").strip()
    except GitError:
        return
    raise GitError(
        f"The newest commit of {quoted(printable(str(repository.place)))} cannot be read: {named[:12]}.",
        "Run `git fsck` in the repository.",
    )


def folder_within(repository: Repository, path: Path) -> str:
    """The path of a folder in its repository, with a slash at its end; empty for the top, and for a bare repository."""
    folder = "" if repository.top is None else os.path.relpath(path.resolve(), repository.top.resolve())
    within = folder not in ("", ".") and folder.split("/")[0] not in ("..", ".git")
    return f"{folder}/" if within else ""


def commit_ranges(hashes: Sequence[str]) -> list[list[str]]:
    """The commits cut after each whose hash is a multiple of the mean length, and where a range would be too long.

    New commits so change the last range, and others stay as they are.
    """
    ranges: list[list[str]] = []
    part: list[str] = []
    for digest in hashes:
        part.append(digest)
        if int(digest[:8], 16) % _MEAN_COMMITS == 0 or len(part) == _MOST_COMMITS:
            ranges.append(part)
            part = []
    return [*ranges, part] if part else ranges


def _tips(repository: Repository, selection: list[str]) -> list[str]:
    """The commits at which the walk begins. Branches that name a missing commit are among them."""
    if "--branches" not in selection:
        return selection
    listed = git.run(repository, "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/remotes")
    return sorted({*listed.decode("ascii").split(), *selection[2:]})


def _walk(repository: Repository, tips: Sequence[str], options: HistoryOptions) -> tuple[list[str], int]:
    """What `rev-list` gives, for a history with unreadable commits: they and what only they lead to are left out."""
    newest_first: list[str] = []
    bad = 0
    since_s = _since_s(repository, options.since) if options.since else None
    cut = git.shallow_commits(repository)
    waiting: list[tuple[int, str, tuple[str, ...]]] = []
    seen: set[str] = set()
    with git.Objects(repository) as objects:

        def visit(digest: str) -> bool:
            if digest in seen:
                return True
            seen.add(digest)
            try:
                content, _size = objects.read(digest, 1 << 20)
            except GitError:
                return False
            header = (content or b"").partition(b"\n\n")[0].decode("utf-8", "replace")
            parents = () if digest in cut else tuple(re.findall(r"(?m)^parent ([0-9a-f]+)$", header))
            time = re.search(r"(?m)^committer .*> (\d{1,15}) ", header)
            heappush(waiting, (-int(time[1]) if time else 0, digest, parents))
            return True

        bad += sum(not visit(tip) for tip in tips)
        while waiting and (options.max_commits is None or len(newest_first) < options.max_commits):
            negative_time_s, digest, parents = heappop(waiting)
            if since_s is not None and -negative_time_s < since_s:
                continue
            newest_first.append(digest)
            bad += sum(not visit(parent) for parent in parents)
    return newest_first[::-1], bad


def _since_s(repository: Repository, since: str) -> int:
    found = git.run(repository, "rev-parse", f"--since={_as_git_reads(since)}").decode("ascii")
    return int(found.strip().removeprefix("--max-age="))


def read_commits(
    repository: Repository, hashes: Sequence[str], most_bytes: int = 1 << 20
) -> Iterator[Commit | Unreadable | TooLarge]:
    """The commits with their messages and the names of what they changed against their parent, in the given order.

    Renames are a deletion and an addition here. `most_bytes`: of the message and the names of one commit.
    """
    arguments = ("--raw", "--no-renames", "--encoding=UTF-8")
    for digest, payload in _payloads(repository, hashes, arguments, "%P%x00%ct%x00%B%x00", most_bytes, ()):
        if isinstance(payload, Unreadable | TooLarge):
            yield payload
            continue
        parents, time, message, rest = payload.split(b"\0", 3)
        names = rest.removeprefix(b"\0").removeprefix(b"\n")
        yield Commit(
            digest,
            tuple(parents.decode("ascii").split()),
            int(time or b"0"),
            message.decode("utf-8", "replace"),
            _changes(names)[0],
        )


def read_patches(
    repository: Repository,
    hashes: Sequence[str],
    most_bytes: int = 8 << 20,
    most_bytes_of_file: int = 1 << 20,
    unwanted: Callable[[Change], str | None] = lambda change: None,
) -> Iterator[tuple[str, list[Patch]] | Unreadable | TooLarge]:
    """The hash of each commit and the texts of all files that it changed, in the given order.

    `most_bytes`: of the texts of one commit together. Files above `most_bytes_of_file` have a problem instead of texts, and
    so have those for which `unwanted` gives one.
    """
    arguments = ("--raw", "-p", "-M", "-U0", "--full-index", "--histogram", "--submodule=short", "--no-relative")
    settings = (f"core.bigFileThreshold={most_bytes_of_file}", "diff.renameLimit=400")
    with git.Objects(repository) as objects:
        texts = Texts(objects, most_bytes_of_file)
        payloads = _payloads(repository, hashes, arguments, "", most_bytes, settings)
        for group in _groups(payloads):
            texts.read_ahead(_needed(group, unwanted))
            for digest, listed in group:
                if isinstance(listed, Unreadable | TooLarge):
                    yield listed
                    continue
                try:
                    found = _patches(*listed, texts, most_bytes, unwanted)
                except GitError:
                    yield Unreadable(digest)
                else:
                    yield TooLarge(digest) if found is None else (digest, found)


def _groups(payloads: Iterable[tuple[str, bytes | Unreadable | TooLarge]]) -> Iterator[list[_Listed]]:
    """Commits with their changes and diffs, in groups whose texts are read together."""
    group: list[_Listed] = []
    size = 0
    for digest, payload in payloads:
        if isinstance(payload, bytes):
            group.append((digest, _changes(payload.removeprefix(b"\0").removeprefix(b"\n"))))
            size += len(payload)
        else:
            group.append((digest, payload))
        if len(group) == _GROUP_COMMITS or size > _GROUP_BYTES:
            yield group
            group, size = [], 0
    yield group


def _needed(group: Sequence[_Listed], unwanted: Callable[[Change], str | None]) -> Iterator[str]:
    """The hashes of the texts before the commits of a group that are not those after an earlier one of it."""
    made: set[str] = set()
    for _, listed in group:
        for change in () if isinstance(listed, Unreadable | TooLarge) else listed[0]:
            regular = {change.old_mode, change.mode} <= {"100644", "100755"}
            if change.status in "MR" and regular and change.old_hash not in made and unwanted(change) is None:
                yield change.old_hash
            made.add(change.hash)


def _payloads(
    repository: Repository,
    hashes: Sequence[str],
    arguments: Sequence[str],
    form: str,
    most_bytes: int,
    settings: Sequence[str],
) -> Iterator[tuple[str, bytes | Unreadable | TooLarge]]:
    """Each commit with what `git diff-tree` says of it, through one process for each batch of commits."""
    # No path or message can contain this, so that each marks the beginning of a commit.
    mark = b"\x01" + secrets.token_hex(16).encode()
    line = (
        *("diff-tree", "--stdin", "-z", "-r", "--root", "--always", "--no-color", "--no-ext-diff", "--no-textconv"),
        *("--ignore-submodules=none", f"--format=%x01{mark[1:].decode()}%H%x00{form}", *arguments),
    )
    waiting = list(hashes)
    batch_size = _BATCH
    while waiting:
        batch, waiting = waiting[:batch_size], waiting[batch_size:]
        done = 0
        with git.started(repository, *line, settings=settings, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write("".join(f"{digest}\n" for digest in batch).encode())
                process.stdin.close()
            held: tuple[str, bytes | TooLarge] | None = None  # given only when the next one shows that it is whole
            for digest, payload in _split(process.stdout, mark, most_bytes):
                if held is not None:
                    yield held
                    done += 1
                while done < len(batch) and batch[done] != digest:  # git passes over a commit that it cannot parse
                    yield batch[done], Unreadable(batch[done])
                    done += 1
                held = digest, payload
            whole = process.wait() == 0
        if whole and held is not None:
            yield held
            done += 1
        left = batch[done:]
        if whole or len(batch) == 1:
            yield from ((digest, Unreadable(digest)) for digest in left)
            batch_size = _BATCH
        else:  # git failed within left[0], or crashed a little later: try that alone
            waiting = left + waiting
            batch_size = 1


def _split(stream: IO[bytes], mark: bytes, most_bytes: int) -> Iterator[tuple[str, bytes | TooLarge]]:
    """The parts of a stream that begin with the mark, as the hash after it and the rest; `TooLarge` without keeping it."""
    held = bytearray()
    dropping: str | None = None  # the commit whose rest is passed over
    while True:
        chunk = os.read(stream.fileno(), _CHUNK)
        start = max(len(held) - len(mark), 0) if dropping is None else 0
        held += chunk
        while (end := held.find(mark, max(start, len(mark) if dropping is None else 0))) >= 0:
            yield _part(held[:end], mark, dropping, most_bytes)
            del held[:end]
            dropping, start = None, len(mark)
        if not chunk:
            if held or dropping is not None:
                yield _part(held, mark, dropping, most_bytes)
            return
        if dropping is None and len(held) > most_bytes + len(mark) + 66:
            dropping = bytes(held[len(mark) :]).partition(b"\0")[0].decode("ascii", "replace")
        if dropping is not None:
            del held[: max(len(held) - len(mark), 0)]


def _part(part: bytearray, mark: bytes, dropping: str | None, most_bytes: int) -> tuple[str, bytes | TooLarge]:
    if dropping is not None:
        return dropping, TooLarge(dropping)
    digest, _, payload = bytes(part[len(mark) :]).partition(b"\0")
    commit = digest.decode("ascii", "replace")
    return commit, payload if len(payload) <= most_bytes else TooLarge(commit)


def _changes(listed: bytes) -> tuple[list[Change], bytes]:
    """The changes that `--raw -z` lists, and what follows after them."""
    found: list[Change] = []
    at = 0
    while listed[at : at + 1] == b":":
        end = listed.index(b"\0", at)
        facts = _RAW.fullmatch(listed[at:end].decode("ascii"))
        assert facts is not None
        paths = []
        for _ in range(2 if facts[5] in "RC" else 1):
            at, end = end + 1, listed.index(b"\0", end + 1)
            paths.append(os.fsdecode(listed[at:end]))
        at = end + 1
        found.append(Change(facts[5], paths[-1], paths[0], facts[1], facts[2], facts[3], facts[4]))
    return found, listed[at:].removeprefix(b"\0")


def _patches(
    changes: Sequence[Change], patch: bytes, texts: Texts, most_bytes: int, unwanted: Callable[[Change], str | None]
) -> list[Patch] | None:
    """The patch of each change; None if their texts are larger than `most_bytes` together.

    Every line of a file has a sign before it in a diff, so that only headers begin with `diff`.
    """
    sections = patch.split(b"\ndiff --git ")
    made = []
    at = size = 0
    for change in changes:
        section = sections[at] if at < len(sections) else b""
        at += 2 if change.status == "T" else 1
        problem = unwanted(change)
        made.append(Patch(change, problem=problem) if problem is not None else patch_of(change, section, texts))
        size += len(made[-1].before or "") + len(made[-1].after or "")
        if size > most_bytes:
            return None
    return made
