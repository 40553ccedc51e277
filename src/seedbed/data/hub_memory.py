"""Where it is remembered which revision of a Hub dataset was last seen here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from seedbed.config.directories import cache_dir


def memory_of(name: str, endpoint: str) -> Path:
    """The file that remembers the last revision seen of a dataset at an endpoint."""
    key = hashlib.sha256(f"{endpoint} {name}".encode()).hexdigest()[:16]
    return cache_dir() / "hub" / f"{key}.json"
