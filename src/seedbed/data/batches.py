"""Make the training batch of a step: a pure function of (data fingerprint, seed, step).

Training text is one circular stream of documents, each followed by an end-of-text token. Each epoch divides the stream
into windows (`context` tokens each), starting at a random offset, and uses every window once in random order. Tokens left
over after the last window (less than a window) are covered by the offsets of other epochs. There is no state: to resume at
step s, request batch s.

The target of a document's last token is end-of-text, and the target of end-of-text is the first token of the next
document; both are trained. With `document_mask` the end-of-text token belongs to the document after it: generation from
end-of-text alone then matches training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch

from seedbed.data.permutation import key_of, permute, uniform_below
from seedbed.errors import SeedbedError, UsageError

_CHUNK = 1024
_CACHED_CHUNKS = 8
IGNORED = -100
"""Target of a position that is neither trained nor evaluated."""


class TokenStream(Protocol):
    """The attributes and methods of a dataset split that making batches uses (a Protocol)."""

    @property
    def num_tokens(self) -> int:
        """Number of tokens in the split."""
        ...

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """`length` token ids from each position in `starts`: int64 [B, length]. After the last token comes the first."""
        ...

    def document_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """The document of each token of `rows`: int32 [B, length], equal numbers in a row for tokens of the same document."""
        ...


class Batch(NamedTuple):
    """The tensors for one training step or validation step: B sequences of T tokens."""

    inputs: torch.Tensor
    """int64 [B, T]"""
    targets: torch.Tensor
    """int64 [B, T]: the token after each input; -100 at positions that are not trained."""
    documents: torch.Tensor | None = None
    """int32 [B, T] with document_mask: a token attends only to tokens with the same number in its row."""
    positions: torch.Tensor | None = None
    """int64 [B, T]: the position of each token; None if positions count from 0 in every row."""

    @property
    def processed(self) -> int:
        """Number of tokens in the batch. Speeds (tokens per second) count these tokens."""
        return self.inputs.numel()

    @property
    def trained(self) -> int:
        """Number of targets that are trained or evaluated (not -100). The mean loss is the sum divided by this number."""
        return int((self.targets >= 0).sum())

    def leaves(self, rows: int) -> Iterator[Batch]:
        """Yield the micro-batches: the batch in parts of `rows` sequences, in order. 0 yields the whole batch at once."""
        total = self.inputs.shape[0]
        size = rows or total
        for start in range(0, total, size):
            yield Batch(*(None if each is None else each[start : start + size] for each in self))  # type: ignore[arg-type]


class Batches:
    """Makes the training batches of a run; `batch(step)` is the same at every call."""

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
        """Raises SeedbedError if `split` is shorter than one window: `context` tokens and the target after the last one."""
        if context < 1 or batch_size < 1:
            raise UsageError(f"context {context} and batch size {batch_size} must be 1 or more.")
        if split.num_tokens <= context:
            raise SeedbedError(
                f"The training text is too short: it has {split.num_tokens} tokens, and one window needs {context + 1}.",
                f"Use more text, or set model.context to {max(split.num_tokens - 1, 1)} or less.",
            )
        self._split, self._context, self._batch_size = split, context, batch_size
        self._key, self._document_mask = (fingerprint, seed), document_mask
        self._chunks: dict[int, np.ndarray] = {}
        self.windows_per_epoch = split.num_tokens // context

    @property
    def steps_per_epoch(self) -> float:
        """Number of steps that use the training text once, such as 12.5 (a batch can cross the end of an epoch)."""
        return self.windows_per_epoch / self._batch_size

    def batch(self, step: int, rows: slice = slice(None)) -> Batch:
        """The batch of the 0-based `step`, or only the given rows of it (for processes that share a step)."""
        samples = np.arange(step * self._batch_size, (step + 1) * self._batch_size, dtype=np.int64)[rows]
        starts = self._cached_starts(samples)
        tokens = self._split.rows(starts, self._context + 1)
        documents = None
        if self._document_mask:
            documents = torch.from_numpy(self._split.document_rows(starts, self._context))
        return Batch(*inputs_and_targets(tokens), documents)

    def largest(self, step: int) -> Batch:
        """A batch of the largest size that can occur, to try before training starts at `step` whether memory suffices.

        All batches have the same size, so this is the batch of `step`.
        """
        return self.batch(step)

    def _cached_starts(self, samples: np.ndarray) -> np.ndarray:
        """The same as `starts`, from a cache that is filled for many samples at once, which is much faster."""
        if not samples.size:
            return samples
        first, last = int(samples.min()) // _CHUNK, int(samples.max()) // _CHUNK
        chunks = [self._chunk(number) for number in range(first, last + 1)]
        starts: np.ndarray = np.concatenate(chunks)[samples - first * _CHUNK]
        return starts

    def _chunk(self, number: int) -> np.ndarray:
        if number not in self._chunks:
            if len(self._chunks) > _CACHED_CHUNKS:
                self._chunks.clear()
            self._chunks[number] = self.starts(np.arange(number * _CHUNK, (number + 1) * _CHUNK, dtype=np.int64))
        return self._chunks[number]

    def starts(self, samples: np.ndarray) -> np.ndarray:
        """Where the sequence of each sample begins in the stream, in tokens; int64, same shape as `samples`.

        The number of a sample is step * batch size + row.
        """
        windows, epochs = self.windows_per_epoch, samples // self.windows_per_epoch
        starts = np.empty_like(samples)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            order = permute(samples[here] % windows, windows, key_of("order", *self._key, epoch))
            offset = uniform_below(self._split.num_tokens, key_of("offset", *self._key, epoch))
            starts[here] = (offset + order * self._context) % self._split.num_tokens
        return starts


def inputs_and_targets(tokens: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, int64 [B, T] each, from tokens [B, T + 1]. The target of a token is the token after it.

    Both are contiguous copies, because views of `tokens` would overlap.
    """
    return torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(tokens[:, 1:].copy())
