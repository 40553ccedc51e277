"""The tokenizers of real models: ids and texts equal those of transformers, files are copied as they are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import tokenizers

from real.fuzz import texts
from real.loading import Real
from seedbed.tokenizer.bulk_encoder import BulkEncoder
from seedbed.tokenizer.tokenizer import Tokenizer


def added(real: Real) -> list[str]:
    return [token["content"] for token in real.ours.spec["added_tokens"]]


def test_ids_and_texts_equal_those_of_transformers(real: Real) -> None:
    ours, theirs = real.ours, real.theirs
    for text in texts(1000, seed=1, tokens=added(real)[:40]):
        ids = [*ours.prefix_ids, *ours.encode_with_control_tokens(text)]
        assert theirs(text)["input_ids"] == ids, repr(text)
        shown = theirs.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids) == shown, repr(text)
        stream = ours.decoder()
        assert "".join(map(stream.push, ids)) + stream.flush() == shown, repr(text)


def test_any_ids_are_decoded_as_by_transformers(real: Real) -> None:
    rng = random.Random(2)
    for _ in range(300):
        ids = [rng.randrange(real.ours.vocab_size) for _ in range(rng.randint(1, 20))]
        shown = real.theirs.decode(ids, skip_special_tokens=True)
        assert real.ours.decode(ids) == shown
        stream = real.ours.decoder()
        assert "".join(map(stream.push, ids)) + stream.flush() == shown


def test_plain_text_has_no_control_tokens(real: Real) -> None:
    """Against the tokenizers library with a tokenizer.json that lists no added tokens."""
    spec = json.loads((real.folder / "tokenizer.json").read_text())
    control = {token["id"] for token in spec["added_tokens"]}
    without = tokenizers.Tokenizer.from_str(json.dumps({**spec, "added_tokens": []}))
    several = texts(500, seed=3, tokens=added(real))
    bulk = BulkEncoder(real.ours, np.dtype("<u4"))
    for text, packed in zip(several, bulk.encode(several), strict=True):
        ids = real.ours.encode(text)
        assert ids == without.encode(text, add_special_tokens=False).ids, repr(text)
        assert not control & set(ids), repr(text)
        assert np.frombuffer(packed, "<u4").tolist() == ids, repr(text)


def test_the_files_are_copied_byte_for_byte(real: Real, tmp_path: Path) -> None:
    real.ours.save(tmp_path, model_max_length=64)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    assert names == {path.name for path in real.folder.iterdir()} & (names | {"special_tokens_map.json"})
    for name in names:
        assert (tmp_path / name).read_bytes() == (real.folder / name).read_bytes()
    again = Tokenizer.of_model(tmp_path)
    assert again.fingerprint == real.ours.fingerprint


AROUND = {
    "smollm2": ([], {"<|im_end|>", "<|endoftext|>"}, "<|endoftext|>"),
    "qwen3": ([], {"<|im_end|>", "<|endoftext|>"}, "<|endoftext|>"),
    "llama3": (["<|begin_of_text|>"], {"<|eot_id|>", "<|end_of_text|>"}, "<|end_of_text|>"),
}
"""For each tokenizer: what it puts before a text, where generation stops, and what ends a document."""


def test_what_starts_and_ends_a_text(real: Real) -> None:
    ours, named = real.ours, real.ours.library.id_to_token
    found = [named(id_) for id_ in ours.prefix_ids], {named(id_) for id_ in ours.stop_ids}, named(ours.eot_id)
    assert found == AROUND[real.name]
