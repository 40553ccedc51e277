"""Reads git repositories through the `git` command, so that nothing a repository contains can start a program.

A repository is hostile input: its config and attributes can name programs (hooks, filters, textconv, external diffs,
fsmonitor, signature checks, pagers, transports). Each is switched off here, whatever the repository says: by the command
line, whose settings win over the repository's config, and by a fresh environment without the caller's GIT_ variables. Only
plumbing commands that read objects are used, and no transport is allowed, so that a partial clone fetches nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from seedbed.config.environment import env
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import printable, quoted, shorten

HARVEST_HINT = "`seedbed prepare harvest` reads every repository under a folder."
NESTED = "another repository in the folder"
"""Why a folder in a folder is not read."""
_INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("SSH_AUTH_SOCK", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE"),
)
_SETTINGS = (
    *("core.fsmonitor=false", "core.hooksPath=/dev/null", "core.attributesFile=/dev/null", "core.pager=cat"),
    *("core.askPass=", "core.sshCommand=ssh", "core.gitProxy=", "core.alternateRefsCommand=", "core.editor=false"),
    *("credential.helper=", "diff.external=", "diff.suppressBlankEmpty=false", "log.showSignature=false"),
    *("gpg.program=false", "gpg.ssh.program=false", "gpg.x509.program=false"),
    *("gc.auto=0", "maintenance.auto=false", "submodule.recurse=false", "fetch.recurseSubmodules=false"),
    *("transfer.bundleURI=false", "core.quotePath=true", "advice.detachedHead=false"),
    *("http.lowSpeedLimit=1000", "http.lowSpeedTime=60"),
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_NO_INDEX = "/seedbed-reads-no-index"
"""A file that does not exist: git then works as with an empty index."""
_STDERR_BYTES = 65536
_CHUNK = 1 << 20
_POLL_S = 0.2
_ANSWER_S = 60.0
"""Within which git tells where a repository is: one whose config names a pipe would wait for ever."""


class GitError(SeedbedError):
    """git could not do what it was asked for; the message has what git said, without control characters and credentials."""


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository on this machine."""

    git_dir: Path
    """The folder with its objects, or the `.git` file that names it."""
    top: Path | None
    """The folder of its files; None for a bare repository."""

    @property
    def place(self) -> Path:
        """The folder that a user knows it by."""
        return self.top or self.git_dir


class TrackedFile(msgspec.Struct, frozen=True):
    """A file of the index or of a commit. `path` is relative to the top; bytes that are not UTF-8 are surrogates."""

    path: str
    mode: str
    """Such as 100644 or 100755; 120000 for a symbolic link and 160000 for a submodule."""
    hash: str


def executable() -> str:
    """The path of `git`. Raises SeedbedError if it is not installed."""
    found = shutil.which("git", path=env("PATH", os.defpath))
    if found is None:
        raise SeedbedError("The program git was not found.", "Install git, and see that it is on PATH.")
    return str(Path(found).absolute())


def environment(protocol: str = "none") -> dict[str, str]:
    """The environment in which git runs. `protocol`: the only transport that git may use; "none" allows none."""
    kept = {name: value for name in _INHERITED if (value := env(name))}
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_PAGER": "cat",
    }


def command(repository: Repository | None, *arguments: str, settings: Sequence[str] = ()) -> list[str]:
    """The command line that runs git on a repository, with all that could start a program switched off.

    The git directory is named outright, so that git neither searches for it nor refuses it because it belongs to
    another user: that refusal protects from programs in its config, which cannot start here. The files of the
    repository are left out of sight, so that a `.gitattributes` there changes nothing.
    """
    line = [executable(), "--no-pager", "--no-replace-objects", "--literal-pathspecs"]
    for setting in (*_SETTINGS, *settings):
        line += ["-c", setting]
    if repository is not None:
        line += [f"--git-dir={repository.git_dir}"]
    return [*line, *arguments]


@contextmanager
def started(
    repository: Repository | None,
    *arguments: str,
    settings: Sequence[str] = (),
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Context manager: git in a process of its own, whose output is read from `stdout`; it ends with the `with` block.

    What git says of errors is lost; see `run` for short commands. It gets no terminal and no Ctrl-C. It does not see the
    index: with it, a `.gitattributes` that is staged today would change the diffs of all commits.
    """
    process = subprocess.Popen(
        command(repository, *arguments, settings=settings),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment() | {"GIT_INDEX_FILE": _NO_INDEX},
        cwd=cwd or "/",
        start_new_session=True,
        bufsize=_CHUNK,
    )
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.wait()


def run(
    repository: Repository | None,
    *arguments: str,
    protocol: str = "none",
    cwd: Path | None = None,
    settings: Sequence[str] = (),
    check: Callable[[], None] | None = None,
) -> bytes:
    """The whole output of a git command. Raises GitError with git's message if it fails.

    `check` is called several times a second while git works; what it raises ends git, with all that git has started.
    """
    process = subprocess.Popen(
        command(repository, *arguments, settings=settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(protocol),
        cwd=cwd or "/",
        start_new_session=True,
    )
    try:
        stdout, stderr = _output(process, check)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the group of its own session
        process.communicate()
        raise
    if process.returncode != 0:
        where = f" in {quoted(printable(str(repository.place)))}" if repository else ""
        raise GitError(f"`git {arguments[0]}` failed{where}: {message(stderr)}")
    return stdout


def _output(process: subprocess.Popen[bytes], check: Callable[[], None] | None) -> tuple[bytes, bytes]:
    while check is not None:
        try:
            return process.communicate(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            check()
    return process.communicate()


def message(stderr: bytes) -> str:
    """What git said, in one printable line without credentials."""
    text = stderr[-_STDERR_BYTES:].decode("utf-8", "replace").strip()
    return shorten(without_credentials(printable(text)), 500) or "git gave no reason."


def without_credentials(text: str) -> str:
    """The text without user names and passwords in URLs."""
    return _CREDENTIALS.sub("", text)


def _is_git_dir(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def repository_at(path: Path) -> Repository | None:
    """The repository whose top, or whose bare folder, is exactly `path`; None if it is neither."""
    path = path.absolute()
    try:
        inner = path / ".git"
        if inner.is_file() or _is_git_dir(inner):
            return Repository(git_dir=inner, top=path)
        if _is_git_dir(path):
            return Repository(git_dir=path, top=path.parent if path.name == ".git" else None)
    except (OSError, ValueError):  # no permission, or a name that the system refuses
        pass
    return None


def open_repository(path: Path) -> Repository:
    """The repository that has `path`, which may be a folder within it. Raises UsageError if there is none.

    Raises GitError for a repository that git cannot read.
    """
    start = path.absolute()
    for folder in (start, *start.parents):
        if (found := repository_at(folder)) is not None:
            _told(found, "--git-dir")  # a broken config, or a format of a newer git, is told here
            return found
    damaged = next((folder for folder in (start, *start.parents) if os.path.lexists(folder / ".git")), None)
    if damaged is not None:
        where = quoted(printable(str(damaged / ".git")))
        raise UsageError(
            f"{where} is damaged, or you may not read it.",
            "Check its owner and permissions: its files and folders must be readable for you.",
        )
    raise UsageError(
        f"{quoted(printable(str(path)))} is not in a git repository.",
        HARVEST_HINT if _has_repositories(start) else "Check the path.",
    )


def _has_repositories(folder: Path) -> bool:
    """Whether folders in this one are repositories."""
    try:
        return any(repository_at(each) is not None for each in folder.iterdir())
    except OSError:
        return False


def _told(repository: Repository, what: str) -> bytes:
    """What `git rev-parse` says of a repository. Raises GitError also if that takes too long."""
    end_s = time.monotonic() + _ANSWER_S

    def check() -> None:
        if time.monotonic() > end_s:
            where = quoted(printable(str(repository.place)))
            raise GitError(f"git cannot read {where}: it waits for a file of its config.", "Look at its config.")

    return run(repository, "rev-parse", what, check=check)


def common_dir(repository: Repository) -> Path:
    """The folder of the objects and branches, resolved: all worktrees of one repository share it."""
    found = os.fsdecode(_told(repository, "--git-common-dir").rstrip(b"\n"))
    return Path("/", found).resolve()


def is_shallow(repository: Repository) -> bool:
    """Whether its history was cut when it was cloned."""
    return bool(shallow_commits(repository))


def shallow_commits(repository: Repository) -> frozenset[str]:
    """The hashes of the commits whose parents were cut off when it was cloned (`--depth`)."""
    try:
        lines = (common_dir(repository) / "shallow").read_text("ascii", "replace").split()
    except FileNotFoundError:
        return frozenset()
    return frozenset(lines)


def is_partial(repository: Repository) -> bool:
    """Whether files or folders of its history were left out when it was cloned (`--filter`); git would fetch them later."""
    pattern = r"^(extensions\.partialclone|remote\..*\.(promisor|partialclonefilter))$"
    try:
        return bool(run(repository, "config", "--local", "--get-regexp", pattern).strip())
    except GitError:
        return False


def commit_hash(repository: Repository, revision: str = "HEAD") -> str | None:
    """The hash of the commit that a revision names; None if there is none, such as in an empty repository."""
    try:
        found = run(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except GitError:
        return None
    return found.decode("ascii", "replace").strip()


def tracked_files(repository: Repository, commit: str | None = None) -> Iterator[TrackedFile]:
    """The files of the index, or of a commit, in order of their paths' bytes. Of a conflict, our side is listed.

    Raises GitError if they cannot be read. An empty index, or a repository without commits, has none.
    """
    if commit is None:
        listed = run(repository, "ls-files", "--stage", "-z", "--full-name")
        for entry in listed.split(b"\0"):
            facts, _, path = entry.partition(b"\t")
            if path:
                mode, digest, stage = facts.decode("ascii").split(" ")
                if stage in "02":
                    yield TrackedFile(os.fsdecode(path), mode, digest)
        return
    for entry in run(repository, "ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit).split(b"\0"):
        facts, _, path = entry.partition(b"\t")
        if path:
            mode, _kind, digest = facts.decode("ascii").split(" ")
            yield TrackedFile(os.fsdecode(path), mode, digest)


def untracked_files(repository: Repository) -> list[str]:
    """The files below the top that are neither tracked nor ignored. Raises GitError for a bare repository."""
    if repository.top is None:
        raise GitError(f"{quoted(printable(str(repository.place)))} is bare, so it has no files of its own.")
    top = repository.top
    listed = run(
        repository, f"--work-tree={top}", "ls-files", "-z", "--others", "--exclude-standard", "--full-name", cwd=top
    )
    return [os.fsdecode(path) for path in listed.split(b"\0") if path]


@cache
def authors(repository: Repository) -> tuple[str, ...]:
    """The names of all authors and committers in the history of a repository, sorted, as far as it can be read."""
    try:
        named = set(run(repository, "log", "--all", "--encoding=UTF-8", "--format=%an%n%cn").splitlines())
    except GitError:  # a part of the history is missing: the commits that are there are read one by one
        named = _names_in_commits(repository)
    return tuple(sorted({name.decode("utf-8", "replace") for name in named} - {""}))


def _names_in_commits(repository: Repository) -> set[bytes]:
    named: set[bytes] = set()
    form = "--batch-check=%(objecttype) %(objectname)"
    with started(repository, "cat-file", "--batch-all-objects", form) as process, Objects(repository) as objects:
        assert process.stdout is not None
        for line in process.stdout:
            kind, _, digest = line.decode("ascii", "replace").strip().partition(" ")
            if kind == "commit":
                with suppress(GitError):
                    header = (objects.read(digest, _CHUNK)[0] or b"").partition(b"\n\n")[0]
                    found = re.findall(rb"(?m)^(?:author|committer) (.*?) <", header)
                    named.update(_as_utf_8(name, header) for name in found)
    return named


def _as_utf_8(name: bytes, header: bytes) -> bytes:
    """A name from the header of a commit, which says its encoding."""
    encoding = re.search(rb"(?m)^encoding ([\w.:-]+)$", header)
    if encoding is None:
        return name
    try:
        return name.decode(encoding[1].decode("ascii")).encode()
    except (LookupError, UnicodeError):
        return name


class Objects:
    """Reads objects by their hashes through one `git cat-file --batch` process. Use it as a context manager."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._started: AbstractContextManager[subprocess.Popen[bytes]] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._started is not None:
            self._started.__exit__(None, None, None)
        self._started = self._process = None

    def read(self, digest: str, most_bytes: int) -> tuple[bytes | None, int]:
        """The content and the size of an object. The content is None if it has more than `most_bytes`.

        Raises GitError if it is missing or unreadable; others can be read afterwards.
        """
        self._ask([digest])
        return self._answer(digest, most_bytes)

    def read_ahead(self, digests: Sequence[str], most_bytes: int) -> dict[str, bytes]:
        """The contents of at most 300 objects, all asked for at once, so that git works while they are read.

        What is missing, unreadable or has more than `most_bytes` is left out.
        """
        self._ask(digests)
        found = {}
        for digest in digests:
            try:
                content, _ = self._answer(digest, most_bytes)
            except GitError:
                if self._process is None:
                    break
            else:
                if content is not None:
                    found[digest] = content
        return found

    def _ask(self, digests: Sequence[str]) -> None:
        for digest in digests:
            if not re.fullmatch("[0-9a-f]{40,64}", digest):
                raise GitError(f"{quoted(printable(digest))} is not the hash of an object.")
        if self._process is None:
            self._started = started(self._repository, "cat-file", "--batch", stdin=subprocess.PIPE)
            self._process = self._started.__enter__()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # told by the answer
            self._process.stdin.write("".join(f"{digest}\n" for digest in digests).encode())
            self._process.stdin.flush()

    def _answer(self, digest: str, most_bytes: int) -> tuple[bytes | None, int]:
        assert self._process is not None
        stdout = self._process.stdout
        assert stdout is not None
        try:
            header = stdout.readline().split()
            if len(header) == 2:  # HASH missing
                raise GitError(f"The object {digest} is missing.")
            size = int(header[2])
            content = stdout.read(size) if size <= most_bytes else None
            if content is None:
                left = size
                while left and (skipped := len(stdout.read(min(left, _CHUNK)))):
                    left -= skipped
            if stdout.read(1) != b"\n" or (content is not None and len(content) != size):
                raise BrokenPipeError
        except (BrokenPipeError, IndexError, ValueError):
            self._end()
            raise GitError(f"The object {digest} cannot be read.", "Run `git fsck` in the repository.") from None
        return content, size
