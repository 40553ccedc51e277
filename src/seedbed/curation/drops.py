"""Counts what steps leave out, by reason, with samples to look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

SAMPLES = 20
"""The most samples that are kept of one reason."""
SAMPLE_CHARACTERS = 2000
_MARGIN = 4000
"""Further characters that are kept until the samples are redacted, so that no half of a secret remains at the end."""


class Dropped(msgspec.Struct, kw_only=True, frozen=True):
    """A sample of what was left out: where it was, and how its text begins (redacted before it is written)."""

    step: str
    reason: str
    where: str
    text: str


class Drops:
    """What was left out so far: `counts` by (step, reason), and the first samples of each.

    Reasons are short plain phrases that can be counted, such as `generated file`; details belong to `where`.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.notes: Counter[tuple[str, str]] = Counter()
        """Other facts to count, which drop nothing, by (step, what), such as ("logs", "unknown record type: progress")."""
        self.samples: list[Dropped] = []

    def drop(self, step: str, reason: str, where: str, text: str = "") -> None:
        """Count something that is left out. `where`: file and line, path or id; `text`: its content, as a sample."""
        self.counts[step, reason] += 1
        if self.counts[step, reason] <= SAMPLES:
            kept = text[: SAMPLE_CHARACTERS + _MARGIN]
            if len(kept) < len(text):  # the word that is cut may be the beginning of a secret
                kept = re.sub(r"\S{1,400}\Z", "", kept)
            self.samples.append(Dropped(step=step, reason=reason, where=where, text=kept))

    def note(self, step: str, what: str, count: int = 1) -> None:
        """Count a fact that drops nothing."""
        self.notes[step, what] += count

    def add(self, other: Drops) -> None:
        """Add what another counted, in order."""
        before = Counter(self.counts)
        self.counts.update(other.counts)
        self.notes.update(other.notes)
        for sample in other.samples:
            key = (sample.step, sample.reason)
            if before[key] < SAMPLES:
                before[key] += 1
                self.samples.append(sample)

    def mask(self, redact: Callable[[str], str]) -> None:
        """Redact the samples, reasons and notes. Call it before they are written anywhere."""
        self.samples = [
            msgspec.structs.replace(
                sample,
                reason=redact(sample.reason),
                where=redact(sample.where),
                text=redact(sample.text)[:SAMPLE_CHARACTERS],
            )
            for sample in self.samples
        ]
        for counted in (self.counts, self.notes):
            changed = [((step, redact(what)), count) for (step, what), count in counted.items()]
            counted.clear()
            for key, count in changed:
                counted[key] += count

    @property
    def total(self) -> int:
        """How much was left out in all."""
        return self.counts.total()

    def as_json(self) -> dict[str, object]:
        """A JSON value, from which `from_json` makes it again."""
        return {
            "counts": _rows(self.counts.items()),
            "notes": _rows(self.notes.items()),
            "samples": msgspec.to_builtins(self.samples),
        }

    @classmethod
    def from_json(cls, value: dict[str, list[object]]) -> Drops:
        """The counts that `as_json` wrote. Raises msgspec.ValidationError for anything else."""
        made = cls()
        rows = msgspec.convert(value, dict[str, list[object]])
        for into, name in ((made.counts, "counts"), (made.notes, "notes")):
            for step, what, count in msgspec.convert(rows.get(name, []), list[tuple[str, str, int]]):
                into[step, what] += count
        made.samples = msgspec.convert(rows.get("samples", []), list[Dropped])
        return made


def _rows(counts: Iterable[tuple[tuple[str, str], int]]) -> list[list[object]]:
    return [[step, what, count] for (step, what), count in sorted(counts)]
