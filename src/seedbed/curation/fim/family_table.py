"""The table of model families that fill in the middle, read from families.toml."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files

import msgspec

from seedbed.errors import UsageError
from seedbed.text import listed, quoted

LEAST_TOKENS = 64
"""The fewest tokens that a row of code may be cut to: its markers, its end and what is kept free need up to half of them."""
PARTS = ("prefix", "suffix", "middle")


class Family(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A row of families.toml, which says what the fields mean."""

    markers: dict[str, str]
    psm: list[str] = []
    spm: list[str] = []
    end: str | None = None
    header: list[str] = []
    file: list[str] = []
    stops: list[str] = []
    names: list[str] = []
    source: str

    @property
    def orders(self) -> tuple[str, ...]:
        """The orders of the parts that the family knows: psm, spm or both."""
        return tuple(name for name, order in (("psm", self.psm), ("spm", self.spm)) if order)

    @property
    def has_context(self) -> bool:
        """Whether the family has markers for other files of the repository."""
        return bool(self.file)

    @property
    def most_markers(self) -> int:
        """The most ids that a row without other files has beside its text: markers, the end and one beginning."""
        return max(sum(each.startswith("@") for each in order) for order in (self.psm, self.spm)) + 2


@cache
def families() -> dict[str, Family]:
    """The table of families, by name."""
    import tomllib

    text = package_files("seedbed.curation.fim").joinpath("families.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Family])


def check_context(family: str | None) -> None:
    """Raise UsageError if a family, by its own name, has no markers for other files of the repository; None has none."""
    if family is None or not families()[family].has_context:
        raise UsageError(
            "Other files of a repository can be shown only with the markers of a family that has some.",
            f"Name one with --for: {listed([name for name, row in families().items() if row.has_context])}.",
        )


def family_named(name: str) -> str:
    """The family that a name means: its own name, another one, or that of a model, such as Qwen/Qwen2.5-Coder-1.5B.

    Raises UsageError with the names of the families.
    """
    wanted = name.strip().lower().rsplit("/", 1)[-1].removeprefix("hub:")
    known = {each: family for family, row in families().items() for each in (family, *row.names)}
    fitting = [each for each in known if wanted == each or wanted.startswith((each + "-", each + "_", each + ":"))]
    if not fitting:
        raise UsageError(
            f"There is no model family {quoted(name)} with markers for fill in the middle.",
            f"Families: {listed(sorted(families()))}.",
        )
    return known[max(fitting, key=len)]
