"""What a new pseudo-terminal is like, for tests of what programs leave of it."""

from __future__ import annotations

import os
import pty
import termios
from typing import Any


def modes_of_a_new_terminal() -> list[Any]:
    """The modes of a pseudo-terminal before a program changes them."""
    leader, terminal = pty.openpty()
    try:
        return termios.tcgetattr(terminal)
    finally:
        os.close(leader)
        os.close(terminal)
