"""What the environment says. Imports nothing that takes time: every command asks."""

from __future__ import annotations

import os


def env(name: str, default: str = "") -> str:
    """The environment variable `name`, or `default` where it is unset."""
    return os.environ.get(name, default)
