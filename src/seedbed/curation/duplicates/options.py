"""How duplicates are found, and what was found: without NumPy, for the command line and for reports."""

from __future__ import annotations

from typing import Literal

import msgspec

from seedbed.errors import UsageError

CODE_SIMILARITY, PROSE_SIMILARITY = 0.7, 0.8
"""From these estimated Jaccard similarities on, two texts are near duplicates; for code and prose, that of prose counts."""


class DuplicateOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How near duplicates are found, and what becomes of them. Exact duplicates are always left out.

    Conversations, which include examples from commits, are never left out as near duplicates: two edits of a file show nearly
    the same text and teach different things. They are marked, so that the split keeps them together.
    """

    near: Literal["drop", "mark", "off"] = "drop"
    """Keep one of each cluster of near-duplicate texts and pieces of files; or only mark clusters; or ignore them."""
    code_similarity: float = CODE_SIMILARITY
    prose_similarity: float = PROSE_SIMILARITY
    signatures: str = "auto"
    """Who makes signatures: rensa, numpy, or auto."""
    workers: int | None = None
    """How many processes read; None: one for little data, else as many as there are cores, up to 8."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing. Raises UsageError."""
        for name in ("code_similarity", "prose_similarity"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} is {getattr(self, name)}.", "Choose a similarity above 0 and at most 1, such as 0.8."
                )
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers is {self.workers}.", "Choose at least one process.")


class LargestCluster(msgspec.Struct, kw_only=True, frozen=True):
    """One of the largest clusters: its name, how many documents it has, and where one of them came from."""

    name: str
    size: int
    example: str


class DuplicateSummary(msgspec.Struct, kw_only=True):
    """What was found among all records, before any was left out."""

    records: int
    exact: int
    """Records that are exact duplicates of a better one."""
    near: int
    """Texts and pieces of files that are left out, or would be, as near duplicates of a better one."""
    clusters: int
    clustered: int
    """Records in clusters of near duplicates."""
    signatures: str
    """Who made the signatures, such as `rensa-2`; others may find slightly other clusters."""
    largest: list[LargestCluster]
    """The ten largest clusters, once all records were read."""
