"""Where a figure comes from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

Trust = Literal["read", "measured", "from_memory", "assumed"]
"""How reliable a figure is, best first. *read*: copied from the source named, or computed from it. *measured*: measured by
the person who added it. *from_memory*: not checked against the source named. *assumed*: an estimate; the source says why.
"""

ALL = "all"
"""Stands for all figures of a row."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The source of some figures of a row in a table of facts."""

    figures: tuple[str, ...]
    """Names of the fields that come from this source, or `all`."""
    source: str
    """A document, a table or a URL."""
    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]
    """When the source was published or read: year, year-month, or year-month-day."""
    trust: Trust


def source_of(sources: Iterable[Source], figure: str) -> Source | None:
    """The source of the figure with this name; None if no source covers it. A source that names it goes before `all`."""
    found = None
    for source in sources:
        if figure in source.figures:
            return source
        if ALL in source.figures and found is None:
            found = source
    return found
