"""Names of repositories and files for provenance and links, without absolute paths; times in UTC."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

_HOMES = ("home", "Users")


def repository_of(folder: str | None) -> str | None:
    """The last part of a working directory, of Unix or Windows; None if it has none, or if it is a home: a user's name."""
    parts = _parts(folder or "")
    if not parts or parts[-1].endswith(":") or (len(parts) > 1 and parts[-2] in _HOMES and len(parts) <= 3):
        return None
    return parts[-1] if parts != ["root"] else None


def path_within(path: str, folder: str | None) -> str | None:
    """A file's path relative to a working directory; None if it is outside of it."""
    parts, above = _parts(path), _parts(folder or "")
    if not is_absolute(path):
        return None if ".." in parts or not parts else "/".join(parts)
    if not above or parts[: len(above)] != above or len(parts) == len(above) or ".." in parts:
        return None
    return "/".join(parts[len(above) :])


def is_absolute(path: str) -> bool:
    """Whether a path of Unix or Windows is absolute."""
    return path.startswith(("/", "\\", "~")) or path[1:2] == ":"


def links_of(sessions: Iterable[str], files: Iterable[str], repository: str | None) -> list[str]:
    """Links to other records: of the same session family, or that changed the same file of the same repository."""
    made = [f"session:{each}" for each in sorted(set(sessions))]
    if repository:
        made += [f"file:{repository}/{each}" for each in sorted(set(files))]
    return made


def seconds(time: str) -> float:
    """Seconds since 1970 of a time as logs write it: ISO 8601, or a number of seconds or milliseconds; 0 if it is neither."""
    try:
        stamp = datetime.fromisoformat(time)
    except ValueError:
        try:
            number = float(time)
        except ValueError:
            return 0.0
        if not abs(number) < 1e17:
            return 0.0
        return number / 1000 if number > 1e11 else number
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


def utc(time: str | float | None) -> str | None:
    """A time as provenance has it, 2026-11-21T10:15:00Z; None if it cannot be read."""
    if not time or not (value := seconds(str(time))):
        return None
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
