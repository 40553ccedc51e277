"""The models and datasets of the show: names and sizes agree, and each row has a source."""

from __future__ import annotations

import re

import pytest

from seedbed.errors import UsageError
from seedbed.simulate import catalog
from seedbed.simulate.shape import Shape
from seedbed.simulate.show import cast


@pytest.mark.parametrize("shape", cast.facts().models, ids=lambda each: each.name)
def test_the_size_in_the_name_of_a_fictional_model_is_its_true_size(shape: Shape) -> None:
    found = re.search(r"-(?:(\d+)x)?(\d+)([BM])$", shape.name) or re.search(r"()(\d+)([BM])$", shape.name)
    assert found is not None
    experts, number, unit = int(found[1] or 1), int(found[2]), {"B": 1e9, "M": 1e6}[found[3]]
    # Experts share the attention layers, so 8x7B is less than 56 B, as in Mixtral (46.7 B).
    low = 0.8 if experts > 1 else 0.92
    assert low * experts * number * unit <= shape.parameters <= 1.08 * experts * number * unit


def test_each_fictional_model_can_be_planned_and_has_a_name_of_its_own() -> None:
    for shape in cast.facts().models:
        assert shape.heads % shape.kv_heads == 0
        assert shape.heads * shape.head_dim == shape.hidden
        assert shape.name not in {each.name for each in catalog.models()}


def test_every_row_has_a_source() -> None:
    for row in (*cast.facts().models, *cast.facts().datasets):
        assert row.sources


def test_the_shares_of_a_mixture_add_up() -> None:
    for data in cast.facts().datasets:
        assert not data.domains or sum(data.domains.values()) == pytest.approx(1)


def test_a_model_is_found_by_its_name_in_the_show_and_in_the_catalog() -> None:
    assert cast.model("hal_9000m").name == "HAL-9000M"
    assert cast.model("llama3-8b") == catalog.model("llama3-8b")
    with pytest.raises(UsageError, match="no model"):
        cast.model("nothing-like-this")


def test_the_gpus_of_the_show_are_in_the_catalog() -> None:
    assert len(cast.gpus()) >= 6
