"""Cut token sequences into windows, and group windows into batches of similar length.

A document of at most `context` predictions is one window. A longer one is read in windows of `context` tokens that
advance by `stride` tokens: a further window predicts only the tokens that no earlier window predicted, and repeats the
others as context. So every token is predicted exactly once, with at least `context - stride` tokens before it, except at
the start of its document. Windows after the first begin in the middle of the text, without a beginning-of-text token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

IGNORED = -100
"""The target of a position whose prediction is not scored."""


class Window(NamedTuple):
    """A window of a sequence of ids: the inputs are the `length` ids from `start` on, the targets the ids after each.

    Targets are scored from the position `first` of the window on.
    """

    start: int
    length: int
    first: int


class Batch(NamedTuple):
    """Windows that go through a model together: int64 [B, T], padded at the end of each row.

    `places`: for each scored target, row by row, its index in the sequence of ids.
    """

    inputs: np.ndarray
    targets: np.ndarray
    places: np.ndarray


def windows_of(start: int, num_ids: int, first: int, context: int, stride: int) -> Iterator[Window]:
    """Yield the windows of a document whose ids are at `start` to `start + num_ids - 1` of a sequence.

    `first`: the index in the document of the first input whose prediction is scored. `stride` is at most `context`.
    """
    predictions = num_ids - 1  # the last id is only a target
    done = first
    begin = 0
    while done < predictions:
        end = min(begin + context, predictions)
        if end > done:
            yield Window(start + begin, end - begin, done - begin)
            done = end
        begin += stride


def longest_first(windows: Sequence[Window]) -> list[Window]:
    """The windows by length, the longest first, so that a batch has little padding and memory fails at once or never."""
    return sorted(windows, key=lambda window: -window.length)


def batches(
    windows: Sequence[Window], ids: np.ndarray, batch_tokens: int, scored: np.ndarray | None = None
) -> Iterator[tuple[int, Batch]]:
    """Yield consecutive windows as batches of at most `batch_tokens` tokens, padding included, but at least one window.

    Each batch comes with the number of its windows. `windows` are sorted by `longest_first`. `scored`, a bool for each id, leaves
    out the targets that do not count.
    """
    begin = 0
    while begin < len(windows):
        rows = max(batch_tokens // windows[begin].length, 1)
        part = windows[begin : begin + rows]
        yield len(part), _batch(part, ids, scored)
        begin += len(part)


def _batch(windows: Sequence[Window], ids: np.ndarray, scored: np.ndarray | None) -> Batch:
    shape = (len(windows), windows[0].length)
    inputs, targets = np.zeros(shape, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
    places = []
    for row, (start, length, first) in enumerate(windows):
        inputs[row, :length] = ids[start : start + length]
        place = np.arange(start + first + 1, start + length + 1)
        counts = scored[place] if scored is not None else np.ones(len(place), dtype=bool)
        targets[row, first:length] = np.where(counts, ids[place], IGNORED)
        places.append(place[counts])
    return Batch(inputs, targets, np.concatenate(places))
