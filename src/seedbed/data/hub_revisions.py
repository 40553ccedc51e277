"""Say which file records the last seen revision (commit) of a Hub dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path

from seedbed.config.directories import cache_dir


def revision_file(name: str, endpoint: str) -> Path:
    """The file that records the last seen revision (commit) of the dataset `name` at `endpoint` (the URL of a Hub)."""
    key = hashlib.sha256(f"{endpoint} {name}".encode()).hexdigest()[:16]
    return cache_dir() / "hub" / f"{key}.json"
