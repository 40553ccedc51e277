"""The files that record the last seen revision of each Hub dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path

from seedbed.config.directories import cache_dir


def revision_file(name: str, endpoint: str) -> Path:
    """The file that records the last seen revision of a dataset at an endpoint (a URL of a Hub)."""
    key = hashlib.sha256(f"{endpoint} {name}".encode()).hexdigest()[:16]
    return cache_dir() / "hub" / f"{key}.json"
