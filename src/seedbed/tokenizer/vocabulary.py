"""Counts the ids of a tokenizer from its files, without loading it. Imports neither numpy nor the tokenizers library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from seedbed.errors import SeedbedError
from seedbed.text import quoted


class _Model(msgspec.Struct):
    vocab: dict[str, int] | list[Any] = {}


class _Added(msgspec.Struct):
    id: int


class _Spec(msgspec.Struct):
    """The parts of tokenizer.json that have ids; all others are skipped, which makes a large file quick to read."""

    model: _Model
    added_tokens: list[_Added] | None = None


def count_ids(folder: Path) -> int:
    """Number of ids of the tokenizer in a model folder, unused ones included: one more than the largest id.

    Raises SeedbedError if there is no tokenizer.json, or if it is not a tokenizer's.
    """
    path = folder / "tokenizer.json"
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=_Spec)
    except FileNotFoundError:
        raise SeedbedError(
            f"{quoted(folder)} contains no tokenizer.json.",
            "Convert an older tokenizer (vocab.txt, merges.txt, *.model) with transformers: load it as a fast tokenizer, and "
            "save it.",
        ) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SeedbedError(f"{quoted(path)} is not a usable tokenizer ({error}).", "Restore the file.") from error
    vocab = spec.model.vocab
    largest = len(vocab) - 1 if isinstance(vocab, list) else max(vocab.values(), default=-1)
    return max([largest, *(token.id for token in spec.added_tokens or ())]) + 1
