"""Which size a time and a text allow: more time never a smaller model, a small text never a large one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.config.ladder import RUNGS, batch_for, computing_parameters, shaped, sized
from seedbed.config.resolving import defaults
from seedbed.config.roots import TRAIN
from seedbed.config.rules import check_values
from seedbed.config.scaling import Law, best, candidates, decay_share, effective_tokens, facts, law_for, speed_of
from seedbed.config.schema import ModelConfig

VOCABULARY = 1536
MODEL = ModelConfig(context=256)
speeds_of_rung_2 = st.floats(200, 5e6)
unique = st.floats(1e5, 1e11)


def chosen(useful_s: float, speed: float, unique_tokens: float, source: str = "stories") -> int:
    found = candidates(
        MODEL,
        {2: speed, 4: speed / 4.4},
        law=law_for(source),
        vocab_size=VOCABULARY,
        useful_s=useful_s,
        unique_tokens=unique_tokens,
    )
    return best(found).rung


def test_every_size_is_a_valid_config_and_larger_than_the_one_before() -> None:
    config = defaults(TRAIN)
    sizes = []
    for index in range(len(RUNGS)):
        made = sized(config, index, 1e6)
        check_values(made, {}, TRAIN)
        sizes.append(computing_parameters(made.model, VOCABULARY))
    assert sizes == sorted(set(sizes))
    assert sizes[0] == pytest.approx(0.2e6, rel=0.1)
    assert sizes[-1] > 1e9


@given(speeds_of_rung_2, unique, st.floats(10, 1e6), st.floats(1, 20), st.sampled_from(["stories", "text:a"]))
def test_more_time_never_chooses_a_smaller_model(
    speed: float, unique_tokens: float, seconds: float, factor: float, source: str
) -> None:
    assert chosen(seconds * factor, speed, unique_tokens, source) >= chosen(seconds, speed, unique_tokens, source)


@given(speeds_of_rung_2, st.floats(10, 1e7))
def test_a_small_text_does_not_get_a_large_model(speed: float, seconds: float) -> None:
    rung = chosen(seconds, speed, 300_000, "text:novel.txt")
    assert computing_parameters(shaped(MODEL, RUNGS[rung]), VOCABULARY) <= 4 * 300_000


def test_an_hour_and_much_text_choose_a_larger_model_than_a_minute() -> None:
    assert chosen(3600, 20_000, 1e8) > chosen(60, 20_000, 1e8)


def test_repeated_text_teaches_less_than_new_text_and_never_more_than_a_limit() -> None:
    assert effective_tokens(5e5, 1e6) == 5e5
    assert effective_tokens(1e6, 1e6) == 1e6
    assert 3.5e6 < effective_tokens(4e6, 1e6) < 4e6  # four passes are nearly as good as new text (arXiv 2305.16264)
    worth = float(facts()["reuse_passes"])
    assert effective_tokens(1e12, 1e6) == pytest.approx((1 + worth) * 1e6, rel=1e-3)


def test_speeds_between_measured_sizes_are_interpolated_in_logarithms() -> None:
    measured = [(1e6, 1000.0), (1e8, 10.0)]
    assert speed_of(1e7, measured) == pytest.approx(100)
    assert speed_of(1e6, measured) == pytest.approx(1000)
    assert speed_of(1e8, measured) == pytest.approx(10)
    assert speed_of(1e9, measured) < 1.0  # beyond the measured sizes the estimate is cautious
    assert 1000 < speed_of(1e5, measured) < 10_000
    assert speed_of(1e6, measured[:1]) == pytest.approx(1000)


@given(st.floats(1e4, 1e12))
def test_batches_grow_with_the_tokens_in_powers_of_two(tokens: float) -> None:
    batch = batch_for(tokens)
    assert batch & (batch - 1) == 0
    assert 8 <= batch <= 256
    assert batch_for(tokens * 2) == (min(2 * batch, 256) if tokens >= 4e6 else 8)
    if 8 < batch < 256:
        assert 1900 < tokens / (batch * 256) < 4000  # the steps of a run


def test_wide_models_take_larger_batches_except_in_short_runs() -> None:
    assert batch_for(4e6, 192) == 16
    assert batch_for(4e6, 128) == 8
    assert batch_for(1e6, 192) == 8
    assert batch_for(1e9, 1024) == 256


def test_the_law_falls_towards_its_floor() -> None:
    law = Law(floor=1.0, a=10.0, alpha=0.5, b=100.0, beta=0.5, bytes_per_token=4.0)
    assert law.loss(1e4, 1e4) == pytest.approx(1 + 0.1 + 1.0)
    assert law.loss(math.inf, math.inf) == 1.0


@pytest.mark.parametrize("text", ["stories", "text"])
def test_the_fitted_constants_are_recorded_with_their_source(text: str) -> None:
    law = law_for("stories" if text == "stories" else "text:a")
    assert 0 < law.floor < 4
    assert 0 < law.alpha < 1.5
    assert 0 < law.beta < 1.5
    found = facts()["sources"]
    assert {"fitted", "machine", "date"} <= found.keys()
    assert facts()["residuals"][text]["points"] >= 6
    assert facts()["residuals"][text]["median"] < 0.1


def test_decay_shares_are_between_a_fifth_and_three_fifths() -> None:
    assert all(0.2 <= decay_share(seconds) <= 0.6 for seconds in (30, 120, 600, 3600, 86400))


def test_no_model_is_expected_to_be_worse_than_one_that_knows_nothing() -> None:
    for useful_s in (0.0, 0.01, 1.0, 60.0):
        found = candidates(
            MODEL, {2: 2000.0}, law=law_for("stories"), vocab_size=VOCABULARY, useful_s=useful_s, unique_tokens=1e8
        )
        assert max(each.loss for each in found) <= math.log(VOCABULARY)
