"""Read and set environment variables. Imports nothing slow, because every command reads some."""

from __future__ import annotations

import os


def env(name: str, default: str = "") -> str:
    """The environment variable `name`, or `default` if it is not set."""
    return os.environ.get(name, default)


def set_env(name: str, value: str) -> None:
    """Set an environment variable of this process and of the processes that it starts."""
    os.environ[name] = value
