"""How long samples are, by kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rendered_chats import chat, renderer, small_tokenizer
from seedbed.curation.drops import Drops
from seedbed.curation.record import Provenance, Record
from seedbed.curation.rendering.lengths import EDGES, lengths, quantile


def texts(*values: str) -> list[Record]:
    return [Record(kind="text", text=value, provenance=Provenance(source="test")) for value in values]


def test_the_lengths_of_each_kind_and_of_all() -> None:
    talk = chat(("user", "a"), ("assistant", "b"))
    rows = [*texts("a" * 40, "\u00e9"), talk, chat(("user", "a"))]
    drops = Drops()
    with renderer() as made:
        found = lengths(rows, made, drops)
        assert set(found) == {"all", "chat", "text"}
        sizes = [len(small_tokenizer().encode(row.text or "")) + 1 for row in rows[:2]]
        own = made.count(talk) or 0
    assert (found["text"].min, found["text"].max, found["text"].samples) == (min(sizes), max(sizes), 2)
    assert found["chat"].p50 == found["chat"].max == own
    assert found["all"].tokens == sum(sizes) + own
    assert found["text"].trained_share == 1
    assert found["chat"].trained_tokens == 2, "the answer and the end of the turn"
    assert drops.total == 1
    for each in found.values():
        assert sum(each.histogram) == each.samples
        assert len(each.histogram) == len(EDGES) + 1
    low = 0
    for edge, number in zip(EDGES, found["text"].histogram, strict=False):
        assert number == sum(low < size <= edge for size in sizes)
        low = edge


def test_defect_17_no_rows_at_all_give_no_lengths_and_no_error() -> None:
    with renderer() as made:
        assert lengths([], made, Drops()) == {}


@given(st.lists(st.integers(0, 99), min_size=1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_is_the_nearest_rank(values: list[int], share: float) -> None:
    found = quantile(sorted(values), share)
    assert found in values
    assert sum(each <= found for each in values) >= share * len(values)
    assert sum(each < found for each in values) < share * len(values)
