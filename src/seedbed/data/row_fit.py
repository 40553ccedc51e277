"""Say how many rows of a dataset fit the context, and which context would fit most of them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from seedbed.events import Message
from seedbed.text import plural

ALL, SHORTENED, LEFT_OUT = "all", "shortened", "left out"
"""Keys of `Fit.rows`."""
_MANY = 0.1
"""From this share of rows that do not fit, the message names the context that would fit WANTED of them."""
WANTED = 0.95


class Fit(NamedTuple):
    """How the rows of a dataset fit a context of `context` tokens."""

    context: int
    rows: Counter[str]
    """Number of rows: ALL of them; those that are SHORTENED; and those that give no sample (LEFT_OUT)."""
    longer: Counter[int]
    """Number of rows of conversations and gaps that do not fit, by the power of two that would fit them, in tokens. Texts are
    not among them: they are cut into pieces, of which none is lost."""
    drops: Counter[str]
    """What was left out, by reason: a row, or a turn of a row."""
    notes: Counter[str]
    """What was changed."""
    positions: int | None = None
    """The longest context of the model; None if it has no limit."""

    @property
    def fitting(self) -> int:
        """Number of rows that are not too long."""
        return self.rows[ALL] - self.longer.total()

    @property
    def many(self) -> bool:
        """Whether more than _MANY of the rows are too long."""
        return self.longer.total() > _MANY * self.rows[ALL]

    def needed(self) -> int | None:
        """The smallest power of two, as a context, that fits WANTED of the rows; None if this context does."""
        fitting = self.fitting
        if fitting >= WANTED * self.rows[ALL]:
            return None
        for context in sorted(self.longer):
            fitting += self.longer[context]
            if fitting >= WANTED * self.rows[ALL]:
                break
        return context

    def share_at(self, context: int) -> float:
        """The share of all rows that a longer context fits; rows are known by powers of two, so it may be a little more."""
        longer = sum(count for size, count in self.longer.items() if size > context)
        return 1 - longer / max(self.rows[ALL], 1)


def messages(fit: Fit) -> list[Message]:
    """What to say about the rows: a warning if some give no sample or many are too long, else what was changed, if anything."""
    found = []
    if fit.drops or fit.many:
        found.append(
            Message(
                level="warning",
                code="rows-dropped",
                text=" ".join(_sentences(fit)),
                why=f"A sample has at most {fit.context:,} tokens here (model.context), and needs one that the loss counts.",
                hint=_hint(fit),
            )
        )
    changed = dict(fit.notes)
    if not found and fit.rows[SHORTENED]:
        changed["conversations that are shortened"] = fit.rows[SHORTENED]
    if changed:
        listed = ", ".join(f"{what}: {count:,}" for what, count in changed.items())
        found.append(
            Message(level="info", code="rows-changed", text=f"To fit the context, rows were changed ({listed}).")
        )
    if not found and fit.rows[ALL]:
        rows = plural(fit.rows[ALL], "row")
        found.append(
            Message(level="info", code="rows-fit", text=f"All {rows} fit the context of {fit.context:,} tokens.")
        )
    return found


def _sentences(fit: Fit) -> list[str]:
    too_long, total, left_out, shortened = (
        fit.longer.total(),
        fit.rows[ALL],
        fit.rows[LEFT_OUT],
        fit.rows[SHORTENED],
    )
    found = []
    if 2 * fit.fitting < total:
        found.append(
            f"Fewer than half of the rows fit the context: only {fit.fitting:,} of {total:,} have at most "
            f"{fit.context:,} tokens."
        )
    elif too_long:
        are = "is" if too_long == 1 else "are"
        found.append(f"{plural(too_long, 'row')} of {total:,} {are} longer than the context of {fit.context:,} tokens.")
    by_row = fit.drops.total() == left_out  # else some are turns of rows
    reasons = ", ".join(f"{reason}: {count:,}" if by_row else reason for reason, count in fit.drops.most_common())
    if left_out:
        found.append(f"{plural(left_out, 'row')} of the dataset cannot be trained on ({reasons}).")
    elif fit.drops:
        found.append(f"Parts of rows cannot be trained on ({reasons}).")
    if shortened:
        are = "is" if shortened == 1 else "are"
        found.append(f"{plural(shortened, 'row')} {are} shortened: the oldest turns are left out, or outputs of tools.")
    return found


def _hint(fit: Fit) -> str:
    needed, most = fit.needed(), fit.positions
    if needed is None or not fit.many:
        return "Set a larger model.context; `seedbed data lengths` shows how long the rows are." if fit.longer else ""
    if most is not None and needed > most:
        if fit.context >= most:
            return (
                f"A context of {needed:,} tokens would fit {WANTED:.0%} of the rows, but the base has {most:,} positions. Use "
                "a base with more, or make rows that are shorter."
            )
        return (
            f"Set model.context={most}, the most that the base has: about {fit.share_at(most):.0%} of the rows fit. A step "
            "then needs more memory and time."
        )
    return (
        f"Set model.context={needed}: {fit.share_at(needed):.0%} of the rows fit. A step then needs more memory and time; a "
        "smaller train.batch_size makes up for it."
    )
