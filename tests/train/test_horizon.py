"""Horizons: steps, epochs and tokens agree; more steps add exactly that many."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.config.schema import TrainConfig
from seedbed.errors import UsageError
from seedbed.train.horizon import Segment, horizon_steps, planned_segments, segment_at

BASE = TrainConfig(batch_size=8)


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 1.0}, 13),  # 100 windows in batches of 8: 12.5 rounds up, so that every window is seen
        ({"epochs": 3.0}, 38),
        ({"epochs": 0.5}, 7),
        ({"tokens": 8 * 32 * 5}, 5),
        ({"tokens": 8 * 32 * 5 + 1}, 6),
    ],
)
def test_steps_epochs_and_tokens_give_the_number_of_steps(train: dict[str, float], steps: int) -> None:
    config = msgspec.structs.replace(BASE, **train)
    assert horizon_steps(config, windows_per_epoch=100, tokens_per_window=32) == steps


@pytest.mark.parametrize("endless", [{"steps": 10**13}, {"epochs": 1e300}, {"tokens": 10**18}])
def test_a_horizon_that_no_run_can_reach_is_a_usage_error(endless: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="maximum of a run"):
        horizon_steps(msgspec.structs.replace(BASE, **endless), windows_per_epoch=100, tokens_per_window=32)


def test_more_steps_than_any_run_can_have_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Lower"):
        planned_segments([Segment(0, 10)], 10, 10**30, 10)


def test_no_horizon_and_an_empty_one_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="The length of the training is not set"):
        horizon_steps(BASE, windows_per_epoch=10, tokens_per_window=4)
    with pytest.raises(UsageError, match="train nothing"):
        horizon_steps(msgspec.structs.replace(BASE, steps=0), windows_per_epoch=10, tokens_per_window=4)


def test_a_fresh_run_has_the_configs_horizon() -> None:
    assert planned_segments([], 0, None, 500) == [Segment(0, 500)]


def test_a_killed_run_continues_in_its_segment() -> None:
    assert planned_segments([Segment(0, 500)], 123, None, 500) == [Segment(0, 500)]


def test_more_steps_start_a_new_segment_at_the_current_step() -> None:
    segments = planned_segments([Segment(0, 500)], 500, 200, 500)
    assert segments == [Segment(0, 500), Segment(500, 700)]
    assert segment_at(segments, 499) == Segment(0, 500)
    assert segment_at(segments, 500) == Segment(500, 700)


def test_more_steps_from_an_earlier_checkpoint_end_the_old_segment_there() -> None:
    assert planned_segments([Segment(0, 500)], 300, 50, 500) == [Segment(0, 300), Segment(300, 350)]


def test_a_checkpoint_beyond_the_end_and_zero_more_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="this checkpoint is from step 600"):
        planned_segments([Segment(0, 500)], 600, None, 500)
    with pytest.raises(UsageError, match="train nothing"):
        planned_segments([Segment(0, 500)], 500, 0, 500)


def test_a_run_with_all_steps_done_keeps_its_segment_for_the_last_validation() -> None:
    assert planned_segments([Segment(0, 500)], 500, None, 500) == [Segment(0, 500)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_extensions_add_up_exactly(additions: list[int]) -> None:
    segments, done = planned_segments([], 0, None, 10), 10
    for added in additions:
        segments = planned_segments(segments, done, added, 10)
        done += added
        assert segments[-1].end == done
    assert all(left.end == right.start for left, right in itertools.pairwise(segments))
