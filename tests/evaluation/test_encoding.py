"""The ids of documents, and the units and bytes to which their tokens belong."""

from __future__ import annotations

import numpy as np
import pytest

from evaluated import tokenizer
from seedbed.evaluation.encoding import encode_documents, prefix_of

TEXTS = ["Once upon a time, a fox lived in Été.", "x", "日本 " + "The kite flew over the barn. " * 90]


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_each_document_begins_with_end_of_text_and_all_bytes_count(kind: str) -> None:
    its = tokenizer(kind)
    assert prefix_of(its) == [its.eot_id]
    encoded = encode_documents(TEXTS, its, prefix_of(its), 0)
    for text, begin, end in zip(TEXTS, encoded.begins, encoded.begins[1:], strict=False):
        assert encoded.ids[begin:end].tolist() == [its.eot_id, *its.encode(text)]
    assert encoded.unit_bytes.tolist() == [len(text.encode()) for text in TEXTS]
    assert encoded.documents.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_tokens_belong_to_the_block_of_their_first_character(kind: str) -> None:
    its = tokenizer(kind)
    encoded = encode_documents(TEXTS, its, prefix_of(its), 500)
    begin = encoded.begins[2]
    units = encoded.units[begin + 1 :]
    blocks = len(encoded.unit_bytes) - 2
    assert blocks == round(len(TEXTS[2]) / 500) > 3
    assert set(units.tolist()) == set(range(2, 2 + blocks))
    assert (np.diff(units) >= 0).all()
    text = TEXTS[2]
    for unit in range(blocks):
        piece = its.decode(encoded.ids[begin + 1 :][units == unit + 2].tolist())
        exact = text[-(-unit * len(text) // blocks) : -(-(unit + 1) * len(text) // blocks)]
        assert abs(len(piece) - len(exact)) < 20
        assert exact[20:-20] in piece
    assert encoded.unit_bytes[2:].sum() == len(text.encode())
