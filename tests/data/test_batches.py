"""Batches are a pure function of data, seed and step; validation scores each token once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.data.batches import Batches
from seedbed.data.validation import validation_batches
from seedbed.errors import SeedbedError, UsageError


class Stream:
    """Tokens whose ids are their positions, in documents of given lengths. A simple reference implementation."""

    def __init__(self, num_tokens: int, lengths: list[int] | None = None) -> None:
        self.num_tokens = num_tokens
        sizes = lengths or [num_tokens]
        assert sum(sizes) == num_tokens
        self.ends = list(itertools.accumulate(sizes))

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        return (starts[:, None] + np.arange(length)) % self.num_tokens

    def document_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        rows = []
        for start in starts.tolist():
            number, row = 0, []
            for position in range(start, start + length):
                if position != start and position % self.num_tokens + 1 in self.ends:
                    number += 1
                row.append(number)
            rows.append(row)
        return np.array(rows, dtype=np.int32)


def batches_of(num_tokens: int = 1003, **changes: object) -> Batches:
    arguments = {"context": 10, "seed": 1, "fingerprint": "f", "batch_size": 7, **changes}
    return Batches(Stream(num_tokens), **arguments)  # type: ignore[arg-type]


def test_a_batch_has_int64_inputs_and_targets_shifted_by_one():
    batch = batches_of().batch(0)
    assert batch.inputs.shape == batch.targets.shape == (7, 10)
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert batch.inputs.is_contiguous()
    assert batch.targets.is_contiguous()
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert torch.equal(batch.targets, (batch.inputs + 1) % 1003)
    assert batch.documents is None


@settings(max_examples=60, deadline=None)
@given(
    num_tokens=st.integers(2, 400),
    context=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**63 - 1),
)
def test_an_epoch_visits_each_window_of_its_grid_once(num_tokens, context, batch_size, seed):
    if num_tokens <= context:
        return
    batches = Batches(Stream(num_tokens), context=context, seed=seed, fingerprint="f", batch_size=batch_size)
    windows = num_tokens // context
    assert batches.windows_per_epoch == windows
    for epoch in (0, 1, 5):
        starts = batches.starts(np.arange(epoch * windows, (epoch + 1) * windows))
        steps = np.sort((starts - starts[0]) % num_tokens)
        seen = np.bincount(((starts[:, None] + np.arange(context)) % num_tokens).ravel(), minlength=num_tokens)
        assert seen.max() == 1
        assert seen.sum() == windows * context
        assert len(set(steps.tolist())) == windows


def test_batches_are_consecutive_samples_across_epochs():
    batches = batches_of(num_tokens=105)
    assert batches.windows_per_epoch == 10
    samples = batches.starts(np.arange(7 * 30))
    for step in range(30):
        assert batches.batch(step).inputs[:, 0].tolist() == samples[7 * step : 7 * step + 7].tolist()


def test_a_batch_does_not_depend_on_earlier_calls():
    forward = [batches_of().batch(step).inputs for step in range(60)]
    again = batches_of()
    for step in np.random.default_rng(0).permutation(60).tolist():
        assert torch.equal(again.batch(step).inputs, forward[step])


def test_a_batch_of_a_distant_step_needs_no_earlier_batches():
    far, batches = 10**12, batches_of()
    inputs = batches.batch(far).inputs
    samples = np.arange(far * len(inputs), (far + 1) * len(inputs))
    assert inputs[:, 0].tolist() == batches_of().starts(samples).tolist()


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_the_slices_of_all_ranks_form_the_global_batch(world):
    whole = batches_of(batch_size=24, document_mask=True)
    for step in (0, 3, 1000):
        parts = [
            batches_of(batch_size=24, document_mask=True).batch(
                step, rows=slice(rank * 24 // world, (rank + 1) * 24 // world)
            )
            for rank in range(world)
        ]
        for field in range(3):
            assert torch.equal(torch.cat([part[field] for part in parts]), whole.batch(step)[field])


@pytest.mark.parametrize("change", [{"seed": 2}, {"fingerprint": "g"}])
def test_the_order_depends_on_the_seed_and_the_data(change):
    assert not torch.equal(batches_of().batch(0).inputs, batches_of(**change).batch(0).inputs)


def test_epochs_differ_in_order_and_in_grid():
    batches = batches_of(num_tokens=1005, batch_size=100)
    epochs = [batches.starts(np.arange(epoch * 100, (epoch + 1) * 100)) for epoch in range(6)]
    assert len({tuple((starts - starts.min()).tolist()) for starts in epochs}) == 6
    assert len({int(starts[0] % 10) for starts in epochs}) > 1
    seen = np.unique(np.concatenate([(starts[:, None] + np.arange(10)).ravel() % 1005 for starts in epochs]))
    assert len(seen) == 1005


def test_epochs_are_counted_in_windows():
    batches = batches_of(num_tokens=1003, batch_size=8)
    assert batches.windows_per_epoch == 100
    assert batches.steps_per_epoch == 12.5


def test_a_batch_may_have_more_samples_than_an_epoch():
    batch = batches_of(num_tokens=25, batch_size=64).batch(3)
    assert batch.inputs.shape == (64, 10)
    large = batches_of(num_tokens=1003, batch_size=20_000)
    assert large.batch(1).inputs[:, 0].tolist() == large.starts(np.arange(20_000, 40_000)).tolist()


def test_document_numbers_increase_at_each_end_of_text():
    stream = Stream(100, [7, 1, 1, 30, 2, 59])
    batches = Batches(stream, context=20, seed=3, fingerprint="f", batch_size=4, document_mask=True)
    for step in range(20):
        batch = batches.batch(step)
        assert batch.documents is not None
        assert batch.documents.dtype == torch.int32
        for inputs, documents in zip(batch.inputs.tolist(), batch.documents.tolist(), strict=True):
            assert documents[0] == 0
            for here, following, token in zip(documents, documents[1:], inputs[1:], strict=False):
                assert following - here == (token + 1 in stream.ends)  # end-of-text opens the next document
        assert (batch.targets >= 0).all()


@pytest.mark.parametrize("num_tokens", [0, 1, 9, 10])
def test_text_shorter_than_a_window_is_refused_with_the_setting_to_change(num_tokens):
    with pytest.raises(SeedbedError, match="needs 11") as caught:
        batches_of(num_tokens=num_tokens)
    assert "model.context" in caught.value.hint


@pytest.mark.parametrize("change", [{"context": 0}, {"batch_size": 0}])
def test_a_context_or_batch_size_of_zero_is_refused(change):
    with pytest.raises(UsageError):
        batches_of(**change)


# ---------------------------------------------------------------------------------------------- validation


@settings(max_examples=80, deadline=None)
@given(num_tokens=st.integers(2, 300), context=st.integers(1, 50), batch_size=st.integers(1, 9))
def test_validation_scores_every_token_after_the_first_once(num_tokens, context, batch_size):
    scored = []
    for batch in validation_batches(Stream(num_tokens), context=context, batch_size=batch_size):
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.shape[1] == context
        assert 1 <= batch.inputs.shape[0] <= batch_size
        here = batch.targets != -100
        assert here.any()
        assert torch.equal(batch.targets[here], batch.inputs[here] + 1)
        assert (batch.inputs >= 0).all()
        scored += batch.targets[here].tolist()
    assert scored == list(range(1, num_tokens))


def test_max_tokens_scores_windows_from_the_whole_text():
    def score() -> list[int]:
        found = []
        for batch in validation_batches(Stream(10_001), context=100, batch_size=3, max_tokens=1000):
            found += batch.targets[batch.targets != -100].tolist()
        return found

    scored = score()
    assert len(scored) == len(set(scored)) == 1000
    assert scored == score()
    assert max(scored) > 8000


def test_max_tokens_as_large_as_the_text_scores_all_of_it():
    batches = validation_batches(Stream(55), context=10, batch_size=2, max_tokens=54)
    assert sum(int((batch.targets != -100).sum()) for batch in batches) == 54


def test_validation_document_numbers_increase_at_each_end_of_text():
    stream = Stream(50, [8, 12, 30])
    for batch in validation_batches(stream, context=16, batch_size=2, document_mask=True):
        assert batch.documents is not None
        for inputs, targets, documents in zip(batch.inputs, batch.targets, batch.documents, strict=True):
            scored = targets != -100
            expected = [sum(end <= token + 1 for end in stream.ends) for token in inputs[scored].tolist()]
            assert documents[scored].tolist() == [number - expected[0] for number in expected]


@pytest.mark.parametrize("num_tokens", [0, 1])
def test_validation_text_below_two_tokens_is_refused_with_the_setting_to_change(num_tokens):
    with pytest.raises(SeedbedError, match="at least 2") as caught:
        next(validation_batches(Stream(num_tokens, [num_tokens]), context=4, batch_size=1))
    assert "data.validation" in caught.value.hint
