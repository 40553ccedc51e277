"""What the user can choose about the import of logs."""

from __future__ import annotations

from typing import Literal, NamedTuple

STEP = "logs"
"""The name of this step in counts of drops."""


class LogOptions(NamedTuple):
    """What is kept of a log."""

    thinking: Literal["keep", "drop"] = "drop"
    """The reasoning before answers. Dropped by default: providers often forbid its use, and many templates drop it again."""
    subagents: Literal["apart", "drop"] = "apart"
    """Conversations of sub-agents: records of their own, linked to the session that started them, or dropped."""
    rejected_branches: bool = False
    """Also make records of branches that the user abandoned by going back (rewinding)."""
    failed_sessions: bool = True
    """Keep sessions whose end is an error, an interruption or a refused tool call."""

    def text(self) -> str:
        """All choices in one line, for fingerprints."""
        return " ".join(f"{name}={value}" for name, value in zip(self._fields, self, strict=True))
