"""How much two words differ, and which known words a misspelt word may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FARTHEST = 3
"""Two words that differ by more edits (see `edits`) than this are unrelated."""


def edits(a: str, b: str) -> int:
    """Number of letters to insert, delete, replace or swap to change `a` into `b` (optimal string alignment distance)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, char in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != other))
            if i > 1 and j > 1 and char == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def farthest(word: str) -> int:
    """The most edits (see `edits`) by which `word` may differ from the word that was meant."""
    return max(1, min(FARTHEST, len(word) // 2))


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The words in `known`, at most three, that are the fewest edits away from `word`. Empty if all are too different."""
    return best({name: float(edits(word.lower(), name.lower())) for name in known}, farthest(word))


def best(scores: dict[str, float], limit: float) -> list[str]:
    """The names with the lowest score, at most three. Empty if the lowest score is above `limit`."""
    least = min(scores.values(), default=limit + 1)
    return [name for name, score in scores.items() if score == least][:3] if least <= limit else []


def any_of(names: Sequence[str]) -> str:
    """The names as text: `a`, `a or b`, or `a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def did_you_mean(names: Sequence[str]) -> str:
    """The start of a hint that suggests the names: `Did you mean a or b? `; "" without names."""
    return f"Did you mean {any_of(names)}? " if names else ""
