"""Make validation batches, which evaluate every token of the validation text once, or a fixed, evenly spread part of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from seedbed.data.batches import IGNORED, Batch, TokenStream, inputs_and_targets
from seedbed.errors import SeedbedError


class ValidationText(TokenStream, Protocol):
    """The attributes and methods of the validation split that validations use (a Protocol)."""

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of the split's text."""
        ...


class Validation:
    """Selects the tokens that the validations of a run evaluate, and makes batches of them.

    `wanted_tokens`: about how many tokens each validation between steps evaluates; 0 for all.
    """

    def __init__(
        self,
        split: ValidationText,
        *,
        context: int,
        batch_size: int,
        document_mask: bool = False,
        wanted_tokens: int = 0,
    ) -> None:
        self._split, self._context = split, context
        self._batch_size, self._document_mask = batch_size, document_mask
        part = wanted_tokens if self._whole_windows(wanted_tokens) < self._everything else 0
        self.compared_tokens = part
        """About how many tokens each validation between steps evaluates, always the same ones; 0 for the whole text."""
        self.bytes_per_token = split.num_bytes / max(split.num_tokens, 1)

    def limit(self, max_tokens: int) -> None:
        """Let each validation between steps evaluate at most `max_tokens` tokens, rounded up to whole windows."""
        if self._whole_windows(max_tokens) < self.tokens(self.compared_tokens):
            self.compared_tokens = max_tokens

    def batches(self, max_tokens: int) -> Iterator[Batch]:
        """Yield batches that evaluate about `max_tokens` tokens, the same tokens at every call; 0: the whole text."""
        return validation_batches(
            self._split,
            context=self._context,
            batch_size=self._batch_size,
            document_mask=self._document_mask,
            max_tokens=max_tokens,
        )

    def tokens(self, max_tokens: int) -> int:
        """How many tokens `batches(max_tokens)` evaluates: `max_tokens` rounded up to whole windows of `context` tokens."""
        return min(self._whole_windows(max_tokens), self._everything) if max_tokens else self._everything

    @property
    def _everything(self) -> int:
        return self._split.num_tokens - 1

    def _whole_windows(self, tokens: int) -> int:
        return -(-tokens // self._context) * self._context


def validation_batches(
    split: TokenStream, *, context: int, batch_size: int, document_mask: bool = False, max_tokens: int = 0
) -> Iterator[Batch]:
    """Yield batches in which every token after the first is a target exactly once, in order.

    Each row is a window: `context` tokens of the split. The last window is padded with token 0 and targets of -100; the
    last batch has as many rows as are left. `max_tokens` above 0: only so many tokens, rounded up to whole windows, are
    evaluated, in windows spread evenly over the split, the same at every call.

    Raises SeedbedError for a split without two tokens.
    """
    targets = split.num_tokens - 1
    if targets < 1:
        raise SeedbedError(
            f"The validation text is too short: it has {split.num_tokens} tokens, and validation needs at least 2.",
            "Increase data.validation, or give a validation file with data.validation_path.",
        )
    windows = -(-targets // context)
    chosen = np.arange(windows)
    if 0 < max_tokens < targets:
        wanted = min(-(-max_tokens // context), windows)
        chosen = np.arange(wanted) * windows // wanted
    for first in range(0, len(chosen), batch_size):
        yield _validation_batch(split, chosen[first : first + batch_size] * context, context, document_mask)


def _validation_batch(split: TokenStream, starts: np.ndarray, context: int, document_mask: bool) -> Batch:
    tokens = split.rows(starts, context + 1)
    beyond = starts[:, None] + np.arange(context + 1) >= split.num_tokens
    tokens[beyond] = IGNORED
    inputs, targets = inputs_and_targets(tokens)
    inputs[inputs == IGNORED] = 0
    documents = torch.from_numpy(split.document_rows(starts, context)) if document_mask else None
    return Batch(inputs, targets, documents)
