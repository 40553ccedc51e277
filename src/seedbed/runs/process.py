"""Identifies processes, checks whether they are alive, signals them, and starts detached ones."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seedbed.files import explained

if TYPE_CHECKING:
    import subprocess

_SYSTEM = sys.platform


class Identity(NamedTuple):
    """Identifies a process, even if other processes had or will have the same pid.

    `start` is in seconds: since boot on Linux (unaffected by clock changes), since 1970 elsewhere. `boot_id` is empty if the
    system has none.
    """

    pid: int
    start: float
    boot_id: str


def own_identity() -> Identity:
    """The identity of this process."""
    pid = os.getpid()
    return Identity(pid, start_time(pid) or 0.0, boot_id())


def is_alive(identity: Identity) -> bool:
    """Whether the process runs on this machine: False for a reused pid, a zombie, or an earlier boot."""
    here = boot_id()
    if identity.boot_id and here and identity.boot_id != here:
        return False
    started = start_time(identity.pid)
    return started is not None and abs(started - identity.start) < 0.02


def send_signal(identity: Identity, number: int) -> bool:
    """Send the signal `number` to a process, never to another that has reused its pid; returns whether it was sent."""
    if not is_alive(identity):
        return False
    try:
        os.kill(identity.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def start_time(pid: int) -> float | None:
    """When the process started, on the clock of `Identity.start`; None if it does not exist or is a zombie."""
    if _SYSTEM == "linux":
        return _linux_start_time(pid)
    return _psutil_start_time(pid)


def _linux_start_time(pid: int) -> float | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the command in parentheses, which may itself contain spaces and parentheses (proc(5)).
    fields = stat[stat.rfind(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X", b"x"):
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _psutil_start_time(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.AccessDenied:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


@functools.cache
def boot_id() -> str:
    """An id that changes at every boot of this machine; "" if the system has none."""
    if _SYSTEM == "linux":
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""
    if _SYSTEM == "darwin":
        return _darwin_boot_id()
    return ""


def _darwin_boot_id() -> str:
    import ctypes

    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(buffer))
    failed = libc.sysctlbyname(b"kern.bootsessionuuid", buffer, ctypes.byref(size), None, ctypes.c_size_t(0))
    return "" if failed else buffer.value.decode("ascii", "replace")


def spawn_detached(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command detached from the terminal: empty stdin, stdout and stderr appended to `log`.

    The process outlives the caller and its shell. Raises SeedbedError if the log cannot be written.
    """
    import subprocess

    with explained(log), log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def git_commit(folder: Path) -> str | None:
    """The commit of the git checkout that contains `folder`, with `+` if files have changed; None outside a checkout."""
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
