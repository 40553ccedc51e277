"""Which documents are held out: by document, about the fraction asked for, stable, and never on both sides."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.data.holdout import HEAD_DOCUMENTS, Cut, Item, cut_pieces, nearest_border, plan, text_digest


def items_of(texts: list[str]) -> list[Item]:
    return [Item(text_digest(text), len(text)) for text in texts]


def test_a_small_source_holds_out_about_the_fraction_of_its_text() -> None:
    items = items_of([f"document {index} " + "word " * (index % 97) for index in range(400)])
    made = plan(items, False, 0.1)
    held = sum(item.length for item in items if made.side(item.digest) == "validation")
    assert 0.08 < held / sum(item.length for item in items) < 0.12
    assert made.cut is None


def test_a_large_source_decides_by_hash_so_that_added_documents_move_nothing() -> None:
    head = items_of([f"document {index}" for index in range(HEAD_DOCUMENTS)])
    before = plan(head, True, 0.05)
    later = items_of([f"later {index}" for index in range(20_000)])
    shares = [before.side(item.digest) == "validation" for item in later]
    assert 0.04 < sum(shares) / len(shares) < 0.06
    reordered = plan(list(reversed(head)), True, 0.05)
    assert [reordered.side(item.digest) for item in later] == [before.side(item.digest) for item in later]


@pytest.mark.parametrize("fraction", [0.000001, 0.999999])
def test_a_large_source_has_a_document_on_each_side_however_small_the_fraction(fraction: float) -> None:
    head = items_of([f"document {index}" for index in range(50)])
    sides = {plan(head, True, fraction).side(item.digest) for item in head}
    assert sides == {"train", "validation"}


def test_copies_of_a_document_stay_on_one_side() -> None:
    texts = [f"document {index % 20} " * 5 for index in range(200)]
    made = plan(items_of(texts), False, 0.1)
    sides = {text: made.side(text_digest(text)) for text in texts}
    assert set(sides.values()) == {"train", "validation"}


def test_a_single_document_is_cut_near_its_end() -> None:
    text = "".join(f"Paragraph {index}.\n\n" for index in range(1000))
    made = plan(items_of([text]), False, 0.1)
    assert made.cut is not None
    train = "".join(cut_pieces([text], made.cut, "train"))
    validation = "".join(cut_pieces([text], made.cut, "validation"))
    assert train + validation == text
    assert train.endswith(".\n\n")
    assert validation.startswith("Paragraph")
    assert len(validation) / len(text) == pytest.approx(0.1, abs=0.005)


def test_three_novels_are_not_split_a_third_to_validation() -> None:
    novels = [(f"novel {index} " * 1000) for index in range(3)]
    made = plan(items_of(novels), False, 0.05)
    assert made.cut is not None
    assert [made.side(text_digest(novel)) for novel in novels].count("train") == 2


def test_a_giant_among_small_documents_does_not_go_to_validation() -> None:
    giant = "giant " * 100_000
    small = [f"small {index}" for index in range(300)]
    made = plan(items_of([giant, *small]), False, 0.05)
    assert made.side(text_digest(giant)) in ("train", "cut")
    validation = sum(len(text) for text in small if made.side(text_digest(text)) == "validation")
    if made.cut is not None:
        validation += made.cut.tail
    assert validation / (len(giant) + sum(map(len, small))) < 0.1


@given(
    texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=40),
    fraction=st.floats(0.01, 0.9),
)
def test_every_character_lands_on_exactly_one_side(texts: list[str], fraction: float) -> None:
    made = plan(items_of(texts), False, fraction)
    for text in texts:
        if made.side(text_digest(text)) == "cut":
            assert made.cut is not None
            assert (
                "".join([*cut_pieces([text], made.cut, "train"), *cut_pieces([text], made.cut, "validation")]) == text
            )


@given(cuts=st.lists(st.integers(0, 300), max_size=6), tail=st.integers(1, 200))
def test_a_cut_does_not_depend_on_where_pieces_end_beyond_their_borders(cuts: list[int], tail: int) -> None:
    text = "word and word\n" * 20
    borders = sorted({0, len(text), *(min(at, len(text)) for at in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(borders)]
    cut = Cut(b"", len(text), tail)
    train, validation = (list(cut_pieces(pieces, cut, side)) for side in ("train", "validation"))
    assert "".join(train) + "".join(validation) == text
    assert abs(len("".join(validation)) - tail) <= cut.slack


def test_the_nearest_border_prefers_paragraphs_to_lines_to_words() -> None:
    assert nearest_border("one two\n\nthree\nfour five", 12, 10) == 9
    assert nearest_border("one two three\nfour five", 12, 10) == 14
    assert nearest_border("one two three", 6, 5) in (4, 8)
    assert nearest_border("x" * 20, 7, 5) == 7
