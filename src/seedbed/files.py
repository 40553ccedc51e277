"""File operations that are atomic, durable or locked, and reading of logs that grow."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from seedbed.errors import SeedbedError, StorageError, UsageError, storage_error
from seedbed.text import quoted

# hashlib, shutil and tempfile take 20 ms to import, which would slow `seedbed status`: they are imported where used.
_CHUNK = 1 << 20


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(quoted(path), error) from error


def obstacle(folder: Path, num_bytes: int, largest_bytes: int = 0) -> StorageError | None:
    """Why `num_bytes` cannot be written in a folder at the moment; None if no reason is found.

    Checks the free space and the limit on the size of a file (`largest_bytes`), and writes a small test file.
    """
    import tempfile

    try:
        with explained(folder):
            if free_bytes(folder) < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if limit != resource.RLIM_INFINITY and limit < largest_bytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            with tempfile.TemporaryFile(dir=folder, buffering=0) as handle:
                handle.write(bytes(4096))
                _sync(handle.fileno())
    except StorageError as error:
        return error
    return None


def _sync(fd: int) -> None:
    """Make a file or folder durable. macOS needs F_FULLFSYNC for that: its fsync leaves data in the drive's own cache.

    Source: Apple, fsync(2). Some file systems do not support it for folders or over a network; then plain fsync is used.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def expand_home(path: Path | str) -> Path:
    """A path with `~` and `~user` replaced. Raises UsageError if that home directory is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{quoted(Path(path).parts[0])} in {quoted(path)} names a home directory that does not exist.",
            "Write the path in full, or set HOME.",
        ) from None


def fsync_dir(path: Path) -> None:
    """Make the names in a folder durable. Does nothing on file systems (network, FUSE) that cannot sync folders."""
    fd = os.open(path, os.O_RDONLY)
    try:
        _sync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Replace the file at `path` as a whole, or leave it unchanged. `durable` fsyncs file and folder.

    Raises StorageError (DiskFullError if the disk is full); no temporary file is left over.
    """
    with replacing(path, durable=durable) as handle:
        handle.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to. It replaces the one at `path` when the `with` block ends without an error.

    `durable` fsyncs file and folder. Raises StorageError (DiskFullError if the disk is full).
    """
    import tempfile

    with explained(path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as handle:
                with suppress(PermissionError):  # FAT and SMB do not support file modes
                    os.fchmod(handle.fileno(), 0o644)
                yield handle
                handle.flush()
                if durable:
                    _sync(handle.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        if durable:
            fsync_dir(path.parent)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write JSON atomically, indented for people."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", durable=durable)


def read_json(path: Path) -> Any:
    """The JSON value in a file, or None if the file does not exist. Raises SeedbedError if it is not valid JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        raise SeedbedError(
            f"{quoted(path)} is not valid JSON ({error}).", "It may be edited or truncated; restore it or remove it."
        ) from error
    except OSError as error:
        raise SeedbedError(
            f"Cannot read {quoted(path)}: {error.strerror}.", "Check the path and its permissions."
        ) from error


def make_dir(path: Path) -> Path:
    """Create a folder and its parents. Raises StorageError if that fails."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def temporary_dir(parent: Path, name: str) -> Path:
    """Create a hidden folder in `parent`, on the same file system, that the caller publishes or removes."""
    import tempfile

    with explained(parent):
        return Path(tempfile.mkdtemp(prefix=f".{name}.", dir=parent))


def fsync_tree(folder: Path) -> None:
    """Make every file and name under a folder durable."""
    for root, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                _sync(fd)
            finally:
                os.close(fd)
        fsync_dir(Path(root))


def publish_dir(prepared: Path, final: Path, *, durable: bool = True) -> None:
    """Make a finished folder durable and rename it to `final`, which must not exist or must be empty."""
    with explained(final):
        if durable:
            fsync_tree(prepared)
        with suppress(PermissionError):
            os.chmod(prepared, 0o755)
        os.rename(prepared, final)
        if durable:
            fsync_dir(final.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder: rename it to a hidden name, then delete its contents, so that no reader sees half of it."""
    import shutil
    import tempfile

    with explained(folder):
        if not folder.exists():
            return
        hidden = folder
        if not folder.name.startswith("."):
            hidden = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".gone", dir=folder.parent))
            os.replace(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def free_bytes(path: Path) -> int:
    """Bytes free to this user on the file system of `path` or of its nearest existing parent."""
    import shutil

    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_lines(path: Path, offset: int = 0, limit: int | None = None) -> tuple[list[bytes], int]:
    """Whole lines from byte `offset`, and the offset after them; see `read_block`."""
    block, offset = read_block(path, offset, limit)
    return block.splitlines(), offset


def read_block(path: Path, offset: int = 0, limit: int | None = None) -> tuple[bytes, int]:
    """The bytes of whole lines from byte `offset`, and the offset after them. An unfinished last line is not read.

    A missing file has no lines. A file shorter than `offset` (replaced or truncated) is read again from its start.
    `limit` bounds the bytes read in one call; a single longer line is still returned whole.
    """
    try:
        with path.open("rb") as handle:
            end = handle.seek(0, os.SEEK_END)
            if end < offset:
                offset = 0
            if end == offset:
                return b"", offset
            handle.seek(offset)
            block = handle.read(-1 if limit is None else limit)
            while limit is not None and b"\n" not in block and offset + len(block) < end:
                block += handle.read(limit)
    except FileNotFoundError:
        return b"", 0
    except OSError as error:
        raise SeedbedError(f"Cannot read {quoted(path)}: {error.strerror}.", "Check its permissions.") from error
    cut = block.rfind(b"\n") + 1
    return block[:cut], offset + cut


class AppendLog:
    """An append-only file, one line per `write()`.

    If an earlier process left an unfinished last line, it gets a newline, so that it is not merged with the next line.
    Only the owner of the run's lock may open one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cut_at: int | None = None
        """Where the whole lines end, if a line was written in part and could not be removed; else None."""
        with explained(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            end = os.lseek(self._fd, 0, os.SEEK_END)
            if end and os.pread(self._fd, 1, end - 1) != b"\n":
                os.write(self._fd, b"\n")

    def write(self, line: bytes) -> None:
        """Append one line (with its newline), whole or not at all. Raises StorageError with the reason."""
        with explained(self.path):
            if self._cut_at is not None:
                os.ftruncate(self._fd, self._cut_at)
                self._cut_at = None
            before = os.fstat(self._fd).st_size
            done = 0
            try:
                while done < len(line):  # after a partial write, the next write raises the reason
                    written = os.write(self._fd, line[done:])
                    if not written:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    done += written
            except OSError:
                self._cut_at = before
                with suppress(OSError):
                    os.ftruncate(self._fd, before)
                    self._cut_at = None
                raise

    def flush(self) -> None:
        """Make the written lines durable."""
        with explained(self.path):
            _sync(self._fd)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Ballast:
    """A file that reserves disk space. Removing it frees space for a last message when the disk is full."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path = path
        self._num_bytes = num_bytes
        self.held = False
        """Whether the space is reserved."""
        self.problem: StorageError | None = None
        """Why the last `take` failed; None if it succeeded."""

    def take(self) -> bool:
        """Reserve the space; returns whether that succeeded. Fails unless as much again stays free."""
        self.drop()  # space that a killed owner reserved counts as free
        try:
            with explained(self.path):
                if free_bytes(self.path.parent) < 2 * self._num_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                with self.path.open("wb") as handle:
                    handle.write(os.urandom(self._num_bytes))  # a file system may store zeros sparsely or compressed
        except StorageError as error:
            self.drop()
            self.problem = error
            return False
        self.held, self.problem = True, None
        return True

    def drop(self) -> None:
        """Free the space."""
        self.held = False
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Lock:
    """An advisory lock on a file (flock); the system releases it when its owner ends.

    Only the owner of a lock may remove its file. After acquiring a lock whose file may be removed, check
    `is_current()`: otherwise two processes could own locks on two files of the same path.

    Some file systems (NFS, SMB) have no locks. Without a `remedy` the lock counts as acquired there, which is enough
    where it is only a safeguard. A lock that is essential gets a `remedy`, what to do instead, and raises StorageError.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        self.path = path
        self._remedy = remedy
        self._fd = -1
        self._owner = -1

    def acquire(self) -> bool:
        """Take the lock unless another process has it; returns whether it was taken."""
        return self._take(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Take the lock; waits until its owner releases it."""
        self._take(fcntl.LOCK_EX)

    def _take(self, operation: int) -> bool:
        with explained(self.path):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, operation)
        except OSError as error:
            taken = error.errno in _TAKEN
            if taken or self._remedy:
                os.close(fd)
            if taken:
                return False
            if self._remedy:
                raise _no_locks(self.path.parent, error, self._remedy) from error
        self._fd, self._owner = fd, os.getpid()
        return True

    def release(self) -> None:
        """Release the lock; harmless if it is not held. In a forked child, closes only the child's copy."""
        if self._fd >= 0:
            if self._owner == os.getpid():
                with suppress(OSError):  # closing is not enough: forked children may have open copies
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the file of a lock that this process owns, and release it."""
        with suppress(OSError):
            self.path.unlink()
        self.release()

    def is_current(self) -> bool:
        """Whether the locked file is still the one at its path; False if somebody removed or moved it."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # the path cannot be checked at the moment, so nothing shows that it changed

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_TAKEN = (errno.EAGAIN, errno.EACCES)
"""Errors of flock if another process has the lock; some network file systems give the second."""


def refuse_without_locks(folder: Path, remedy: str) -> None:
    """Raise StorageError, with `remedy` as its hint, if the file system of a folder has no locks."""
    import tempfile

    with explained(folder), tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _no_locks(folder, error, remedy) from error


def _no_locks(folder: Path, error: OSError, remedy: str) -> StorageError:
    reason = f"{_file_system(folder)} has no file locks ({error.strerror})"
    message = f"Two processes could write in {quoted(folder)} at once: its file system, {reason}."
    return StorageError(message, remedy, f"its file system, {reason}", passing=False)


def _file_system(folder: Path) -> str:
    """The type of the file system of a folder, and where it is mounted."""
    import psutil

    path, found = folder.resolve(), ("of an unknown kind,", "")
    for part in psutil.disk_partitions(all=True):
        if path.is_relative_to(part.mountpoint) and len(part.mountpoint) >= len(found[1]):
            found = (f"{part.fstype} mounted at {quoted(part.mountpoint)},", part.mountpoint)
    return found[0]


def share_lock(path: Path) -> Callable[[], None] | None:
    """Take a shared lock on a file, so that no process removes it; returns the function that releases the lock.

    None if the file does not exist. Sets the file's modification time to now: that is when it was last used. Waits for
    a process that is about to remove the file. On a file system without locks, nothing protects the file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return lambda: None  # the caller gets the same error, with a path, when it reads the file
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(fd)
    try:
        still_there = os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        still_there = False
    if still_there:
        return partial(os.close, fd)
    os.close(fd)
    return None


def is_locked(path: Path | str, *, shared: bool = False) -> bool:
    """Whether a process has the lock at `path` at the moment. Creates no file; simultaneous checks do not interfere.

    With `shared`, a shared lock (see `share_lock`) counts too. Then simultaneous checks can mistake each other for a
    lock, and a check that fails counts as a lock. False on a file system without locks.
    """
    try:
        try:
            fd = os.open(
                path, (os.O_RDWR if shared else os.O_RDONLY) | os.O_CLOEXEC
            )  # NFS: LOCK_EX needs a writable file
        except PermissionError:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return shared or error.errno in _TAKEN
    finally:
        os.close(fd)
    return False
