"""Which tokens make up a batch: a pure function of (data fingerprint, seed, i). Refuses to know models and files.

Training text is one circular stream, documents and their end-of-text tokens in order. An epoch lays a grid of windows
on it, shifted by an offset of its own, and visits each window once in an order of its own; what is left after the last
whole window (less than a window) is reached by the next epoch's shift. There is no state: resuming at step s is asking
for s.

The target of a document's last token is end-of-text, and the target of end-of-text is the first token of the next
document; both are trained. With `document_mask` the end-of-text token belongs to the document that it opens, not to
the one that it closes: a model asked to write from end-of-text alone then sees what it saw in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch

from seedbed.data.permutation import key_of, permute, uniform_below
from seedbed.errors import SeedbedError, UsageError

_STRETCH = 1024
_KEPT_STRETCHES = 8
IGNORED = -100
"""Target of a position that is not trained or scored."""


class TokenStream(Protocol):
    """What batches need of a split."""

    @property
    def num_tokens(self) -> int:
        """Tokens in the stream."""
        ...

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Ids as int64 [B, length] from each of B positions, going on at the beginning after the end."""
        ...

    def document_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """int32 [B, length]: numbers that are equal where positions of a row belong to one document."""
        ...


class Batch(NamedTuple):
    """Sequences for one step. B sequences of T tokens."""

    inputs: torch.Tensor
    """int64 [B, T]"""
    targets: torch.Tensor
    """int64 [B, T]: the token after each input; -100 where nothing is trained."""
    documents: torch.Tensor | None = None
    """int32 [B, T] with document_mask: positions of a row attend to each other only where these are equal."""
    positions: torch.Tensor | None = None
    """int64 [B, T] where positions do not count from 0 in every row."""

    @property
    def processed(self) -> int:
        """Tokens that go through the network: what speed is measured in."""
        return self.inputs.numel()

    @property
    def trained(self) -> int:
        """Targets that are trained or scored: what a loss is divided by."""
        return int((self.targets >= 0).sum())

    def leaves(self, rows: int) -> Iterator[Batch]:
        """The batch in pieces of `rows` sequences, in order; 0 takes it whole."""
        total = self.inputs.shape[0]
        size = rows or total
        for start in range(0, total, size):
            yield Batch(*(None if each is None else each[start : start + size] for each in self))  # type: ignore[arg-type]


class Batches:
    """The training batches of a run, by step number."""

    def __init__(
        self,
        split: TokenStream,
        *,
        context: int,
        seed: int,
        fingerprint: str,
        batch_size: int,
        document_mask: bool = False,
    ) -> None:
        """Raises SeedbedError where the split does not fill one window of `context` tokens and the target after it."""
        if context < 1 or batch_size < 1:
            raise UsageError(f"context {context} and batch size {batch_size} must be 1 or more.")
        if split.num_tokens <= context:
            raise SeedbedError(
                f"The training text has {split.num_tokens} tokens; a window (model.context) needs {context + 1}.",
                f"Use more text, or set model.context to {max(split.num_tokens - 1, 1)} or less.",
            )
        self._split, self._context, self._batch_size = split, context, batch_size
        self._key, self._document_mask = (fingerprint, seed), document_mask
        self._stretches: dict[int, np.ndarray] = {}
        self.windows_per_epoch = split.num_tokens // context

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every window is seen once; seldom a whole number, since batches run on across epochs."""
        return self.windows_per_epoch / self._batch_size

    def epoch_at(self, step: int) -> float:
        """Epochs done before a step."""
        return step / self.steps_per_epoch

    def batch(self, step: int, rows: slice = slice(None)) -> Batch:
        """The batch of a 0-based step, or some of its rows: processes that share a step slice the same batch."""
        samples = np.arange(step * self._batch_size, (step + 1) * self._batch_size, dtype=np.int64)[rows]
        starts = self._known_starts(samples)
        tokens = self._split.rows(starts, self._context + 1)
        documents = None
        if self._document_mask:
            documents = torch.from_numpy(self._split.document_rows(starts, self._context))
        return Batch(*inputs_and_targets(tokens), documents)

    def largest(self, step: int) -> Batch:
        """A batch as large as any that can occur, to try before `step`: windows are all of one length."""
        return self.batch(step)

    def _known_starts(self, samples: np.ndarray) -> np.ndarray:
        """`starts`, computed for many samples at once and kept for the next batches: far cheaper than each alone."""
        if not samples.size:
            return samples
        first, last = int(samples.min()) // _STRETCH, int(samples.max()) // _STRETCH
        stretches = [self._stretch(number) for number in range(first, last + 1)]
        starts: np.ndarray = np.concatenate(stretches)[samples - first * _STRETCH]
        return starts

    def _stretch(self, number: int) -> np.ndarray:
        if number not in self._stretches:
            if len(self._stretches) > _KEPT_STRETCHES:
                self._stretches.clear()
            self._stretches[number] = self.starts(np.arange(number * _STRETCH, (number + 1) * _STRETCH, dtype=np.int64))
        return self._stretches[number]

    def starts(self, samples: np.ndarray) -> np.ndarray:
        """Where the windows of global sample numbers (step x batch size + row) begin; int64, same shape."""
        windows, epochs = self.windows_per_epoch, samples // self.windows_per_epoch
        starts = np.empty_like(samples)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            order = permute(samples[here] % windows, windows, key_of("order", *self._key, epoch))
            offset = uniform_below(self._split.num_tokens, key_of("offset", *self._key, epoch))
            starts[here] = (offset + order * self._context) % self._split.num_tokens
        return starts


def inputs_and_targets(tokens: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and, for each, the one after it: int64 [B, T] twice, from [B, T + 1].

    Both are contiguous and copied: views of a single row would overlap.
    """
    return torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(tokens[:, 1:].copy())
