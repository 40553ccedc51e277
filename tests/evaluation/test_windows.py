"""Windows of long documents: every token is predicted once, with enough context; batches lose and add nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from seedbed.evaluation.windows import IGNORED, Window, batches, longest_first, windows_of


@pytest.mark.parametrize("context", [2, 7, 16])
@pytest.mark.parametrize("overlap", [0, 1, 3, 6])
@pytest.mark.parametrize("first", [0, 2])
def test_every_token_is_predicted_once_and_with_enough_context(context: int, overlap: int, first: int) -> None:
    stride = max(context - overlap, 1)
    for num_ids in range(1, 60):
        counts: Counter[int] = Counter()
        for start, length, scored in windows_of(100, num_ids, first, context, stride):
            assert 0 <= scored < length <= context
            assert start + length < 100 + num_ids, "a window reads the last id, which is only a target"
            for place in range(start + scored, start + length):
                counts[place + 1 - 100] += 1
                assert start == 100 or place - start >= context - stride, "too little context"
        assert counts == Counter(range(first + 1, num_ids)), num_ids


def test_a_document_that_fits_the_context_is_one_window() -> None:
    assert list(windows_of(0, 17, 0, 16, 8)) == [Window(0, 16, 0)]
    assert list(windows_of(0, 18, 0, 16, 8)) == [Window(0, 16, 0), Window(8, 9, 8)]


def test_windows_are_read_as_a_reference_implementation_reads_them() -> None:
    """The strided loop of the page "Perplexity of fixed-length models" of the transformers documentation."""
    num_ids, context, stride = 103, 16, 6
    expected, previous = [], 0
    for begin in range(0, num_ids - 1, stride):
        end = min(begin + context, num_ids - 1)
        expected.append((begin, end - begin, previous - begin))
        previous = end
        if end == num_ids - 1:
            break
    assert [tuple(each) for each in windows_of(0, num_ids, 0, context, stride)] == expected


@pytest.mark.parametrize("batch_tokens", [1, 20, 64, 10_000])
def test_batches_have_every_target_once_whatever_their_size(batch_tokens: int) -> None:
    lengths = (3, 50, 1, 17, 17, 31)
    ids = np.arange(sum(lengths)) * 10
    windows: list[Window] = []
    begin = 0
    for length in lengths:
        windows += windows_of(begin, length, 0, 16, 8)
        begin += length
    seen: Counter[int] = Counter()
    for count, (inputs, targets, places) in batches(longest_first(windows), ids, batch_tokens):
        assert count == len(inputs)
        assert count == 1 or inputs.size <= batch_tokens
        scored = targets != IGNORED
        assert targets[scored].tolist() == ids[places].tolist(), "places do not belong to the targets"
        assert (inputs[scored] == targets[scored] - 10).all(), "a target is not the id after its input"
        seen.update(places.tolist())
    begins = {0, *np.cumsum(lengths).tolist()}
    assert seen == Counter(place for place in range(sum(lengths)) if place not in begins)
