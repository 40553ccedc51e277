"""Prints a plan of a training: its lines, and where time and memory go."""

from __future__ import annotations

from collections.abc import Sequence

from seedbed.cli.console import folded, paint, say, table


def print_plan(
    title: str,
    rows: Sequence[tuple[str, str]],
    explanation: Sequence[tuple[str, list[tuple[str, str, str]]]] = (),
    basis: Sequence[str] = (),
) -> None:
    """Print a plan, then the tables and sentences of its explanation, as wide as the terminal."""
    say(paint(title, "bold"))
    say()
    for label, words in rows:
        first, *others = folded(words, 12)
        say(f"  {paint(f'{label:9}', 'dim')} {first}")
        for line in others:
            say(f"  {'':9} {line}")
    for heading, parts in explanation:
        say()
        say(paint(heading, "bold"))
        for line in table(parts, ("part", "amount", "share"), right=("amount", "share"))[1:]:
            say("  " + line)
    if basis:
        say()
    for sentence in basis:
        for line in folded(sentence):
            say(line)
