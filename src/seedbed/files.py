"""File operations that are atomic (a file is replaced as a whole) and durable (written through to the disk)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from seedbed.errors import SeedbedError, UsageError, storage_error
from seedbed.text import quoted

# hashlib, shutil and tempfile take 20 ms to import, which would slow `seedbed status`: they are imported where used.
_CHUNK = 1 << 20
_REMEDY = "The file may have been edited or truncated. Restore it or remove it."


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Context manager: turn an OSError in the `with` block into a StorageError about `path` that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(quoted(path), error) from error


def sync(fd: int) -> None:
    """Write an open file or folder through to the disk (fsync), so that it survives a power failure.

    macOS needs F_FULLFSYNC: its fsync leaves data in the drive's own cache. Source: Apple, fsync(2). Some file systems
    do not support F_FULLFSYNC for folders or over a network; plain fsync is used there.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def expand_home(path: Path | str) -> Path:
    """The path with `~` or `~user` at its start replaced. Raises UsageError if that home directory is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{quoted(Path(path).parts[0])} in {quoted(path)} names a home directory that does not exist.",
            "Write the full path, or set HOME.",
        ) from None


def normal_path(path: Path | str) -> Path:
    """The absolute path without `.`, `..` and repeated or trailing slashes; `~` or `~user` at its start is replaced.

    Symbolic links stay, unless a `..` after a link leads elsewhere than the same path without it; then they are resolved.
    Raises UsageError if the home directory is unknown.
    """
    absolute = expand_home(path).absolute()
    if ".." not in absolute.parts:
        return absolute
    plain = Path(os.path.normpath(absolute))
    try:
        return plain if plain.samefile(absolute) else absolute.resolve()
    except (OSError, ValueError):  # one of them does not exist, or cannot be looked up
        return absolute.resolve()


def fsync_dir(path: Path) -> None:
    """Write the file names in a folder through to the disk (fsync).

    Does nothing on file systems (network, FUSE) that cannot sync folders.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        sync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True, mode: int = 0o644) -> None:
    """Write `data` to the file at `path`: replace it as a whole, or leave it unchanged.

    `durable`: also fsync the file and its folder. `mode`: its permissions. Raises StorageError (DiskFullError if full). The
    temporary file is removed in any case.
    """
    with replacing(path, durable=durable, mode=mode) as handle:
        handle.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path, *, durable: bool = True, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Context manager: open a new file, which replaces that at `path` when the `with` block ends without an error.

    `durable`: also fsync the file and its folder. Raises StorageError (DiskFullError if the disk is full).
    """
    import tempfile

    with explained(path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as handle:
                with suppress(PermissionError):  # FAT and SMB do not support file modes
                    os.fchmod(handle.fileno(), mode)
                yield handle
                handle.flush()
                if durable:
                    sync(handle.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        if durable:
            fsync_dir(path.parent)


def write_json(path: Path, value: Any, *, durable: bool = True, mode: int = 0o644) -> None:
    """Write a value as JSON, indented for people, and replace the file as a whole; `durable` and `mode` as in `write_atomic`."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", durable=durable, mode=mode)


def read_json(path: Path, remedy: str = _REMEDY) -> Any:
    """The JSON value in a file, or None if the file does not exist.

    Raises SeedbedError if it is not valid JSON; `remedy` says what to do then.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise SeedbedError(f"{quoted(path)} is not valid JSON ({error}).", remedy) from error
    except OSError as error:
        raise SeedbedError(
            f"Cannot read {quoted(path)}: {error.strerror}.", "Check the path and its permissions."
        ) from error


def make_dir(path: Path, mode: int = 0o777) -> Path:
    """Create a folder and its parents, if they do not exist, and return it. Raises StorageError if that fails.

    `mode`: the permissions of a new folder, less those that the user's umask forbids; its parents have the usual ones.
    """
    with explained(path):
        path.mkdir(mode, parents=True, exist_ok=True)
    return path


def temporary_dir(parent: Path, name: str) -> Path:
    """Create a hidden folder `.NAME.RANDOM` in `parent`. The caller must rename it with `publish_dir`, or remove it."""
    import tempfile

    with explained(parent):
        return Path(tempfile.mkdtemp(prefix=f".{name}.", dir=parent))


def fsync_tree(folder: Path) -> None:
    """Write all files and file names below a folder through to the disk (fsync)."""
    for root, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                sync(fd)
            finally:
                os.close(fd)
        fsync_dir(Path(root))


def publish_dir(prepared: Path, final: Path, *, durable: bool = True, mode: int = 0o755) -> None:
    """Rename the finished folder `prepared` to `final`, which must not exist or must be empty.

    `durable`: fsync all its contents before, and its new name after. `mode`: its permissions.
    """
    with explained(final):
        if durable:
            fsync_tree(prepared)
        with suppress(PermissionError):
            os.chmod(prepared, mode)
        os.rename(prepared, final)
        if durable:
            fsync_dir(final.parent)


def set_modes(folder: Path, mode: int) -> None:
    """Give a folder, and all folders in it, these permissions; and all files in it the same without the right to execute."""
    with explained(folder), suppress(PermissionError):  # FAT and SMB do not support file modes
        for root, _, names in os.walk(folder):
            os.chmod(root, mode)
            for name in names:
                os.chmod(os.path.join(root, name), mode & 0o666)


def replace_dir(prepared: Path, final: Path, mode: int = 0o755) -> None:
    """Put the finished folder `prepared` in the place of the folder `final`, if there is one: as a whole or not at all.

    The old folder is kept until the new one is there. After a kill between the two renames it has a hidden name. `mode`: the
    permissions of the folder, and of all in it (see `set_modes`); those of the old folder, if that has any content, stay.
    """
    import tempfile

    old = None
    with explained(final):
        if final.exists():
            mode = stat.S_IMODE(final.stat().st_mode) & 0o777 if any(final.iterdir()) else mode
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".old", dir=final.parent))
            os.rename(final, old)
    try:
        set_modes(prepared, mode)
        publish_dir(prepared, final, mode=mode)
    except SeedbedError:
        if old is not None:
            with suppress(OSError):
                os.rename(old, final)
        raise
    if old is not None:
        with suppress(OSError):
            for root, _, _ in os.walk(old):
                os.chmod(root, 0o700)  # what is in a folder that cannot be written cannot be removed
        remove_tree(old)


def publish_file(prepared: Path, final: Path) -> None:
    """Rename the finished file `prepared` to `final` in the same file system, after an fsync; replaces a file there."""
    with explained(final):
        fd = os.open(prepared, os.O_RDONLY)
        try:
            sync(fd)
        finally:
            os.close(fd)
        os.replace(prepared, final)
        fsync_dir(final.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder: rename it to a hidden name, then delete its contents, so that no reader finds half of it at its path."""
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


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
