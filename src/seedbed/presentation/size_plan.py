"""The choice of a size for a time as lines of text, for `seedbed plan --for` and other front ends."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed import text
from seedbed.config.check import repetition
from seedbed.config.chosen import Chosen, Option, reason, sentence

_ROWS = 7
"""At most so many sizes are listed, those nearest to the chosen one."""


def plan_lines(chosen: Chosen) -> list[str]:
    """What would be chosen and why, with a table of the sizes beside it."""
    lines = [sentence(chosen), reason(chosen), "", "   size     parameters  tokens/s            tokens  loss"]
    place = next(i for i, each in enumerate(chosen.options) if _same(each, chosen))
    first = max(min(place - _ROWS // 2, len(chosen.options) - _ROWS), 0)
    lines += [_row(each, chosen) for each in chosen.options[first : first + _ROWS]]
    lines.append("")
    lines.append(
        f"Batches of {chosen.batch_size} x {chosen.context} tokens, vocabulary {chosen.vocab_size:,}, "
        f"{text.count(chosen.unique_tokens)} tokens of text."
    )
    if repeated := repetition(chosen.passes, is_trained=False, is_timed=True):
        lines.append(f"warning: {repeated.text} {repeated.why} {repeated.hint}")
    return lines


def as_json(chosen: Chosen) -> dict[str, Any]:
    """The choice as an object of raw numbers in SI units."""
    repeated = repetition(chosen.passes, is_trained=False, is_timed=True)
    return {
        **msgspec.to_builtins(chosen),
        "passes": chosen.passes,
        "warnings": [repeated.text] if repeated else [],
    }


def _row(option: Option, chosen: Chosen) -> str:
    mark = "->" if _same(option, chosen) else "  "
    size = f"{option.layers} x {option.hidden}"
    speed = f"{text.count(option.tokens_per_s)} {'measured' if option.measured else 'estimated'}"
    return f"{mark} {size:<9}{text.count(option.parameters):>10}  {speed:<18}{text.count(option.tokens):>8}  {option.loss:.2f}"


def _same(option: Option, chosen: Chosen) -> bool:
    return (option.layers, option.hidden) == (chosen.layers, chosen.hidden)
