"""The only hands that rename, fsync, lock and tail. Knows nothing of what the bytes mean."""

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

# hashlib, shutil and tempfile cost 20 ms to load, which a quick look at a run would pay: they are imported where used.
_CHUNK = 1 << 20


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of work on `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(quoted(path), error) from error


def obstacle(folder: Path, num_bytes: int, largest_bytes: int = 0) -> StorageError | None:
    """What stands against writing `num_bytes` in a folder right now; None if nothing is known to.

    Looks at the free space and at the limit on the size of a file (`largest_bytes`), and writes a small file for trial.
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

    Source: Apple, fsync(2). Where a file system does not know it (a network's, a folder's), fsync is the most there is.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def expand_home(path: Path | str) -> Path:
    """A path with `~` and `~user` replaced. Raises UsageError where that user, or our own home directory, is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"Cannot tell which folder {quoted(Path(path).parts[0])} in {quoted(path)} means: there is no such home directory.",
            "Write the path in full, or set HOME.",
        ) from None


def fsync_dir(path: Path) -> None:
    """Make the names in a folder durable, where the file system can: some of a network or of FUSE sync no folders."""
    fd = os.open(path, os.O_RDONLY)
    try:
        _sync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Replace the file at `path` whole, or leave it as it was. `durable` fsyncs file and folder.

    Raises StorageError (DiskFullError where space ran out); no temporary file stays behind.
    """
    with replacing(path, durable=durable) as handle:
        handle.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of the one at `path` when the `with` ends well; else nothing changes.

    `durable` fsyncs file and folder. Raises StorageError (DiskFullError where space ran out).
    """
    import tempfile

    with explained(path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as handle:
                with suppress(PermissionError):  # FAT and SMB have no such modes
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
    """The JSON value in a file, or None where there is no such file. Raises SeedbedError for a broken one."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        raise SeedbedError(
            f"{quoted(path)} is not valid JSON ({error}).", "It may have been edited or cut; restore it or remove it."
        ) from error
    except OSError as error:
        raise SeedbedError(
            f"Cannot read {quoted(path)}: {error.strerror}.", "Check the path and its permissions."
        ) from error


def make_dir(path: Path) -> Path:
    """Create a folder and its parents; a SeedbedError says why it could not be made."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def temporary_dir(parent: Path, name: str) -> Path:
    """A fresh hidden folder in `parent`, on the same file system, to be published or removed."""
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
    """Rename a finished folder into place, its contents durable first. `final` must not exist or be empty."""
    with explained(final):
        if durable:
            fsync_tree(prepared)
        with suppress(PermissionError):
            os.chmod(prepared, 0o755)
        os.rename(prepared, final)
        if durable:
            fsync_dir(final.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder: first out of sight under a hidden name, then its contents, so that no reader sees half of it."""
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

    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_lines(path: Path, offset: int = 0, limit: int | None = None) -> tuple[list[bytes], int]:
    """Whole lines from byte `offset` and the offset after them, as `read_block` finds them."""
    block, offset = read_block(path, offset, limit)
    return block.splitlines(), offset


def read_block(path: Path, offset: int = 0, limit: int | None = None) -> tuple[bytes, int]:
    """The bytes of whole lines from byte `offset`, and the offset after them; an unfinished last line is left for later.

    A missing file has no lines. A file shorter than `offset` (replaced or cut) is read again from its start.
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
    """A file that only grows, a line per `write()`. A torn last line from an earlier owner is ended first, never merged.

    Only the holder of the run's lock may open one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cut_at: int | None = None
        """Where the log ends that is whole, after a line that was written in part and could not be taken back."""
        with explained(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            end = os.lseek(self._fd, 0, os.SEEK_END)
            if end and os.pread(self._fd, 1, end - 1) != b"\n":
                os.write(self._fd, b"\n")

    def write(self, line: bytes) -> None:
        """Append one line (newline included), whole or not at all. Raises StorageError with the reason."""
        with explained(self.path):
            if self._cut_at is not None:
                os.ftruncate(self._fd, self._cut_at)
                self._cut_at = None
            before = os.fstat(self._fd).st_size
            done = 0
            try:
                while done < len(line):  # once, but for a write that was cut short: the next one tells the reason
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
        """Make what was written durable."""
        with explained(self.path):
            _sync(self._fd)

    def close(self) -> None:
        """Flush and close; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Ballast:
    """Disk space kept occupied by a file, to be let go when the disk is full and something must still be written."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path = path
        self._num_bytes = num_bytes
        self.held = False
        """Whether the space is occupied."""
        self.problem: StorageError | None = None
        """Why the space could not be had the last time; None where it could."""

    def take(self) -> bool:
        """Occupy the space; whether it could be had. Leaves as much free again, so as not to be what fills the disk."""
        self.drop()  # what a killed owner left counts as free
        try:
            with explained(self.path):
                if free_bytes(self.path.parent) < 2 * self._num_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                with self.path.open("wb") as handle:
                    handle.write(os.urandom(self._num_bytes))  # zeros might be stored as a hole, or compressed away
        except StorageError as error:
            self.drop()
            self.problem = error
            return False
        self.held, self.problem = True, None
        return True

    def drop(self) -> None:
        """Let the space go."""
        self.held = False
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Lock:
    """An advisory lock on a file that dies with its owner (flock).

    Only the owner of a lock may remove its file, and whoever takes such a lock looks whether it `stands`, so that two
    owners cannot hold two files.

    Some file systems (NFS, SMB) have no locks. A lock that only keeps two windows out of each other's way is taken for
    granted there; one that must hold is given `remedy`, what to do instead, and raises StorageError.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        self.path = path
        self._remedy = remedy
        self._fd = -1
        self._owner = -1

    def acquire(self) -> bool:
        """Take the lock if nobody has it; False if somebody does."""
        return self._take(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Take the lock, however long its owner keeps it."""
        self._take(fcntl.LOCK_EX)

    def _take(self, how: int) -> bool:
        with explained(self.path):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, how)
        except OSError as error:
            held = error.errno in _HELD
            if held or self._remedy:
                os.close(fd)
            if held:
                return False
            if self._remedy:
                raise _lockless(self.path.parent, error, self._remedy) from error
        self._fd, self._owner = fd, os.getpid()
        return True

    def release(self) -> None:
        """Give the lock back; harmless where it is not held. In a forked child it lets go of its copy alone."""
        if self._fd >= 0:
            if self._owner == os.getpid():
                with suppress(OSError):  # at once, whatever copies forked children have not closed yet
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the file of a lock that is held, and give it back."""
        with suppress(OSError):
            self.path.unlink()
        self.release()

    def stands(self) -> bool:
        """Whether the file that is held is still the one at its path: not where somebody removed or moved it."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # it cannot be looked at now, which says nothing

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_HELD = (errno.EAGAIN, errno.EACCES)
"""What flock says where somebody else has the lock; some network file systems say the second."""


def refuse_without_locks(folder: Path, remedy: str) -> None:
    """Raise StorageError, with `remedy` as what to do, where the file system of a folder has no locks."""
    import tempfile

    with explained(folder), tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _lockless(folder, error, remedy) from error


def _lockless(folder: Path, error: OSError, remedy: str) -> StorageError:
    reason = f"{_file_system(folder)} has no file locks ({error.strerror})"
    message = f"Two processes could write in {quoted(folder)} at once: its file system, {reason}."
    return StorageError(message, remedy, f"its file system, {reason}", passing=False)


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on and where it is mounted."""
    import psutil

    place, found = folder.resolve(), ("of an unknown kind,", "")
    for part in psutil.disk_partitions(all=True):
        if place.is_relative_to(part.mountpoint) and len(part.mountpoint) >= len(found[1]):
            found = (f"{part.fstype} mounted at {quoted(part.mountpoint)},", part.mountpoint)
    return found[0]


def hold(path: Path) -> Callable[[], None] | None:
    """Share a lock on a file, so that nobody removes it, until the function that is returned is called, or we end.

    None where there is no such file. It also gets the time of now, as when it was last used. Waits for one who is about
    to remove it; on a file system without locks it is held by nothing.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return lambda: None  # it cannot be read: for who reads it to say
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
    """Whether somebody holds the lock at `path` right now. Creates nothing; askers do not take each other for owners.

    With `shared`, one who only shares it (see `hold`) counts too, and two askers may take each other for one; where that
    cannot be told, it counts as shared. Without locks nobody holds any.
    """
    try:
        try:
            fd = os.open(path, (os.O_RDWR if shared else os.O_RDONLY) | os.O_CLOEXEC)  # NFS locks by how a file is open
        except PermissionError:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return shared or error.errno in _HELD
    finally:
        os.close(fd)
    return False
