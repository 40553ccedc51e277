"""The tokenizer of a base model in the data pipeline: loaded as its folder has it, with what it puts before a text."""

from __future__ import annotations

from pathlib import Path

from seedbed.tokenizer.tokenizer import Tokenizer


def load_tokenizer(folder: Path, *, as_is: bool) -> Tokenizer:
    """The tokenizer in a folder. `as_is`: exactly as the folder has it, for a base model, which was trained with it."""
    return Tokenizer.load(folder)


def prefix_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that the tokenizer puts before a text, such as begin-of-text; usually none."""
    return tuple(getattr(tokenizer, "prefix_ids", ()))
