"""The choice of a size for a time as sentences and a table, for `seedbed plan --for` and other front ends."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed import text
from seedbed.config.check import repetition
from seedbed.config.chosen import Chosen, Option, reason, sentence
from seedbed.config.scaling import is_predictable

COLUMNS = ("   size", "parameters", "tokens/s", "tokens", "loss")
RIGHT = ("parameters", "tokens", "loss")
_ROWS = 7
"""At most so many sizes are listed, those nearest to the chosen one."""


def opening(chosen: Chosen) -> list[str]:
    """What would be chosen and why, as sentences."""
    return [sentence(chosen), reason(chosen)]


def table_of_sizes(chosen: Chosen) -> list[list[str]]:
    """The cells of the sizes beside the chosen one, which is marked, in COLUMNS."""
    place = next(i for i, each in enumerate(chosen.options) if _same(each, chosen))
    first = max(min(place - _ROWS // 2, len(chosen.options) - _ROWS), 0)
    return [_cells(each, chosen) for each in chosen.options[first : first + _ROWS]]


def closing(chosen: Chosen) -> list[str]:
    """The batch, the vocabulary and the text, and a warning if the text is too small for the time, as sentences."""
    found = [
        f"Batches of {chosen.batch_size} x {chosen.context} tokens, vocabulary {chosen.vocab_size:,}, "
        f"{text.count(chosen.unique_tokens)} tokens of text."
    ]
    if repeated := repetition(chosen.passes, is_trained=False, is_timed=True):
        found.append(f"warning: {repeated.text} {repeated.why} {repeated.hint}")
    return found


def as_json(chosen: Chosen) -> dict[str, Any]:
    """The choice as an object of raw numbers in SI units. Without a loss if it cannot be predicted."""
    repeated = repetition(chosen.passes, is_trained=False, is_timed=True)
    unknown = {} if is_predictable(chosen.passes) else {"loss": None, "bits_per_byte": None}
    return {
        **msgspec.to_builtins(chosen),
        **unknown,
        "passes": chosen.passes,
        "warnings": [repeated.text] if repeated else [],
    }


def _cells(option: Option, chosen: Chosen) -> list[str]:
    return [
        f"{'->' if _same(option, chosen) else '  '} {option.layers} x {option.hidden}",
        text.count(option.parameters),
        f"{text.count(option.tokens_per_s)} {'measured' if option.measured else 'estimated'}",
        text.count(option.tokens),
        f"{option.loss:.2f}" if is_predictable(option.tokens / max(chosen.unique_tokens, 1)) else "-",
    ]


def _same(option: Option, chosen: Chosen) -> bool:
    return (option.layers, option.hidden) == (chosen.layers, chosen.hidden)
