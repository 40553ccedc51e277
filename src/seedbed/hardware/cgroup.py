"""Find the Linux control groups that limit this process, such as those of a container, a batch job or a service."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def groups(controller: str, root: Path = ROOT, own: Path = OWN) -> list[Path]:
    """The folders of the control groups whose limits apply to this process: its own group first, up to the root.

    `controller` (memory or cpu) is needed for version 1 of control groups, which has a separate tree for each
    controller. Inside a container, the paths may be the host's, which do not exist there; then the root is the
    container's own group. See cgroups(7).
    """
    try:
        lines = own.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        lines = []
    found: list[Path] = []
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            base = root
        elif controller in names.split(","):
            base = root / controller
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        found += [base.joinpath(*parts[:depth]) for depth in range(len(parts), 0, -1)]
    found += [root, root / controller]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def number(path: Path) -> int | None:
    """The integer in a file of a control group; None if the file contains no integer (but `max`) or does not exist."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
