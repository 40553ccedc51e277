"""Turn documents into the ids that a model reads, and say to which unit of the statistics each token belongs.

A document begins with what the tokenizer puts before a text (BOS), or, if it adds nothing, with its end-of-text token,
after which models see a new text in training. So every token of the text is predicted, and all of its bytes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seedbed.evaluation.corpus import unit_sizes
from seedbed.tokenizer.tokenizer import Tokenizer


class Encoded(NamedTuple):
    """The ids of several documents in one sequence, and their units, counted from 0."""

    ids: np.ndarray
    """int64: for each document, the prefix and the tokens of the text."""
    units: np.ndarray
    """int64: the unit of each id."""
    begins: list[int]
    """Where each document begins in `ids`, and the end of the last."""
    unit_bytes: np.ndarray
    """int64: the UTF-8 bytes of each unit."""
    documents: np.ndarray
    """int64: the document of each unit."""
    scored: np.ndarray | None = None
    """bool: whether the prediction of each id counts; None: of all but the prefixes."""


def prefix_of(tokenizer: Tokenizer) -> list[int]:
    """The ids before the first token of each document: what the tokenizer puts before a text, else end-of-text."""
    return list(tokenizer.prefix_ids) or [tokenizer.eot_id]


def encode_documents(
    texts: Sequence[str], tokenizer: Tokenizer, prefix: Sequence[int], block_characters: int
) -> Encoded:
    """Encode documents. `prefix`: see `prefix_of`; `block_characters`: see corpus.Text."""
    ids: list[np.ndarray] = []
    units: list[np.ndarray] = []
    begins = [0]
    sizes: list[int] = []
    documents: list[int] = []
    for number, (text, tokens) in enumerate(zip(texts, tokenizer.encode_batch(texts), strict=True)):
        own = unit_sizes(text, block_characters)
        starts = _starts(tokenizer, text, tokens) if len(own) > 1 else np.zeros(len(tokens), np.int64)
        of_tokens = starts * len(own) // max(len(text), 1)
        ids += [np.array(prefix, np.int64), tokens.astype(np.int64)]
        units += [np.full(len(prefix), len(sizes), np.int64), of_tokens + len(sizes)]
        begins.append(begins[-1] + len(prefix) + len(tokens))
        sizes += own
        documents += [number] * len(own)
    return Encoded(
        np.concatenate(ids),
        np.concatenate(units),
        begins,
        np.array(sizes, np.int64),
        np.array(documents, np.int64),
    )


def _starts(tokenizer: Tokenizer, text: str, tokens: np.ndarray) -> np.ndarray:
    """The index in `text` of the first character of each token; estimated from its rank if the tokenizer does not say it."""
    if len(tokens) == len(text):
        return np.arange(len(text))
    encoded = tokenizer.library.encode(text, add_special_tokens=False)
    if np.array_equal(np.array(encoded.ids), tokens):
        return np.array([begin for begin, _ in encoded.offsets], np.int64)
    return np.arange(len(tokens)) * len(text) // max(len(tokens), 1)
