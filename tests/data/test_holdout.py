"""Which documents are held out: whole documents, about the requested fraction, stable, and never on both sides."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.data.holdout import (
    HEAD_DOCUMENTS,
    DocumentCut,
    DocumentSize,
    HoldoutPlan,
    OversizeCounter,
    cut_message,
    cut_pieces,
    nearest_border,
    plan_holdout,
    text_digest,
)


def items_of(texts: list[str]) -> list[DocumentSize]:
    return [DocumentSize(text_digest(text), len(text)) for text in texts]


def test_a_small_source_holds_out_about_the_fraction_of_its_text() -> None:
    items = items_of([f"document {index} " + "word " * (index % 97) for index in range(400)])
    plan = plan_holdout(items, False, 0.1)
    held = sum(item.length for item in items if plan.side(item.digest, item.length) == "validation")
    assert 0.08 < held / sum(item.length for item in items) < 0.12
    assert plan.cut is None


def test_a_large_source_is_split_by_hash_independent_of_the_document_order() -> None:
    head = items_of([f"document {index}" for index in range(HEAD_DOCUMENTS)])
    before = plan_holdout(head, True, 0.05)
    later = items_of([f"later {index}" for index in range(20_000)])
    shares = [before.side(item.digest, item.length) == "validation" for item in later]
    assert 0.04 < sum(shares) / len(shares) < 0.06
    reordered = plan_holdout(list(reversed(head)), True, 0.05)
    assert [reordered.side(item.digest, item.length) for item in later] == [
        before.side(item.digest, item.length) for item in later
    ]


@pytest.mark.parametrize("fraction", [0.000001, 0.999999])
def test_a_large_source_has_a_document_on_each_side_for_any_fraction(fraction: float) -> None:
    head = items_of([f"document {index}" for index in range(50)])
    sides = {plan_holdout(head, True, fraction).side(item.digest, item.length) for item in head}
    assert sides == {"train", "validation"}


def test_copies_of_a_document_stay_on_one_side() -> None:
    texts = [f"document {index % 20} " * 5 for index in range(200)]
    plan = plan_holdout(items_of(texts), False, 0.1)
    sides = {text: plan.side(text_digest(text), len(text)) for text in texts}
    assert set(sides.values()) == {"train", "validation"}


def test_a_single_document_is_cut_near_its_end() -> None:
    text = "".join(f"Paragraph {index}.\n\n" for index in range(1000))
    plan = plan_holdout(items_of([text]), False, 0.1)
    assert plan.cut is not None
    train = "".join(cut_pieces([text], plan.cut, "train"))
    validation = "".join(cut_pieces([text], plan.cut, "validation"))
    assert train + validation == text
    assert train.endswith(".\n\n")
    assert validation.startswith("Paragraph")
    assert len(validation) / len(text) == pytest.approx(0.1, abs=0.005)


def test_one_of_three_long_documents_is_cut_and_the_others_are_training_text() -> None:
    novels = [(f"novel {index} " * 1000) for index in range(3)]
    plan = plan_holdout(items_of(novels), False, 0.05)
    assert plan.cut is not None
    assert [plan.side(text_digest(novel), len(novel)) for novel in novels].count("train") == 2


def test_a_huge_document_among_small_ones_is_never_held_out_whole() -> None:
    giant = "giant " * 100_000
    small = [f"small {index}" for index in range(300)]
    plan = plan_holdout(items_of([giant, *small]), False, 0.05)
    assert plan.side(text_digest(giant), len(giant)) in ("train", "cut")
    validation = sum(len(text) for text in small if plan.side(text_digest(text), len(text)) == "validation")
    if plan.cut is not None:
        validation += plan.cut.tail
    assert validation / (len(giant) + sum(map(len, small))) < 0.1


@given(
    texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=40),
    fraction=st.floats(0.01, 0.9),
)
def test_the_two_parts_of_a_cut_document_form_its_whole_text(texts: list[str], fraction: float) -> None:
    plan = plan_holdout(items_of(texts), False, fraction)
    for text in texts:
        if plan.side(text_digest(text), len(text)) == "cut":
            assert plan.cut is not None
            assert (
                "".join([*cut_pieces([text], plan.cut, "train"), *cut_pieces([text], plan.cut, "validation")]) == text
            )


@given(cuts=st.lists(st.integers(0, 300), max_size=6), tail=st.integers(1, 200))
def test_a_cut_is_near_its_target_wherever_the_pieces_end(cuts: list[int], tail: int) -> None:
    text = "word and word\n" * 20
    borders = sorted({0, len(text), *(min(at, len(text)) for at in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(borders)]
    cut = DocumentCut(b"", len(text), tail)
    train, validation = (list(cut_pieces(pieces, cut, side)) for side in ("train", "validation"))
    assert "".join(train) + "".join(validation) == text
    assert abs(len("".join(validation)) - tail) <= cut.slack


def test_the_nearest_border_prefers_paragraphs_to_lines_to_words() -> None:
    assert nearest_border("one two\n\nthree\nfour five", 12, 10) == 9
    assert nearest_border("one two three\nfour five", 12, 10) == 14
    assert nearest_border("one two three", 6, 5) in (4, 8)
    assert nearest_border("x" * 20, 7, 5) == 7


# ---------------------------------------------------------------------------------------------- large documents


def held_share(items: list[DocumentSize], plan: HoldoutPlan) -> float:
    """The share of the text that is held out."""
    held = sum(item.length for item in items if plan.side(item.digest, item.length) == "validation")
    if plan.cut is not None:
        held += plan.cut.tail * sum(item.digest == plan.cut.digest for item in items)
    return held / sum(item.length for item in items)


def document_chosen_by_hash(length: int, fraction: float) -> DocumentSize:
    """A document whose hash selects it for validation."""
    for number in itertools.count():
        digest = text_digest(f"candidate {number}")
        if HoldoutPlan(fraction, None).side(digest, length) == "validation":
            return DocumentSize(digest, length)
    raise AssertionError


@pytest.mark.parametrize("place", [0, HEAD_DOCUMENTS + 500])
def test_a_document_that_is_most_of_a_large_source_is_training_text(place: int) -> None:
    items = items_of([f"document {index} " + "word " * (index % 40) for index in range(HEAD_DOCUMENTS + 1000)])
    giant = document_chosen_by_hash(2 * sum(item.length for item in items), 0.05)
    items.insert(place, giant)
    plan = plan_holdout(items[:HEAD_DOCUMENTS], True, 0.05)
    assert plan.side(*giant) == "train"
    assert 0.005 < held_share(items, plan) < 0.05
    rest = [item for item in items if item is not giant]
    assert 0.03 < held_share(rest, plan) < 0.07


def test_a_message_reports_documents_that_are_too_long_to_hold_out() -> None:
    items = items_of([f"document {index}" for index in range(HEAD_DOCUMENTS)])
    giant = document_chosen_by_hash(2 * sum(item.length for item in items), 0.05)
    plan = plan_holdout(items, True, 0.05)
    oversize = OversizeCounter(plan)
    for item in [*items, giant]:
        oversize.count(*item)
    (message,) = oversize.messages("'text:books'")
    assert message.text.startswith(
        "1 document of 'text:books', 66.7% of the text, is used for training instead of validation."
    )
    assert "validation_path" in message.hint
    without_giant = OversizeCounter(plan)
    for item in items:
        without_giant.count(*item)
    assert not list(without_giant.messages("'text:books'"))


def test_the_document_that_is_always_held_out_is_not_a_huge_one() -> None:
    """At any fraction, at least one document of the head is held out; the one with the lowest hash may be huge."""
    items = items_of([f"document {index}" for index in range(HEAD_DOCUMENTS)])
    lowest = plan_holdout(items, True, 1e-9).always_validation
    grown = [DocumentSize(item.digest, 10_000_000) if item.digest == lowest else item for item in items]
    assert held_share(grown, plan_holdout(grown, True, 1e-9)) < 0.01


@pytest.mark.parametrize("count", [300, 5000])
@pytest.mark.parametrize("texts", [1, 2, 20])
def test_many_copies_of_few_texts_hold_out_about_the_fraction(count: int, texts: int) -> None:
    text = "Some sentence that is long enough to be cut somewhere.\n" * 20
    items = items_of([f"{index % texts} {text}" for index in range(count)])
    plan = plan_holdout(items[:HEAD_DOCUMENTS], count > HEAD_DOCUMENTS, 0.05)
    assert 0.01 < held_share(items, plan) < 0.08
    if plan.cut is not None:
        assert plan.cut.copies > 1
        assert f"{plan.cut.copies:,} times" in cut_message("x", plan.cut, 0.05).text


@given(
    lengths=st.lists(st.integers(1, 2000), min_size=2, max_size=60),
    kinds=st.integers(1, 60),
    fraction=st.floats(0.01, 0.5),
)
def test_a_plan_by_hash_has_text_on_both_sides(lengths: list[int], kinds: int, fraction: float) -> None:
    items = [
        DocumentSize(text_digest(str(number % kinds)), lengths[number % kinds % len(lengths)]) for number in range(120)
    ]
    plan = plan_holdout(items, True, fraction)
    sides = {plan.side(*item) for item in items}
    assert sides & {"train", "cut"}
    assert sides & {"validation", "cut"}
