"""Encode much text to ids, as bytes for a file, faster than the tokenizers library.

The ids are equal to those of the library. Words repeat, so the text is split with `re`, and each distinct word is encoded
once and cached as the bytes of its ids. Text with characters that Python and the library may classify differently is
encoded by the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

import numpy as np

from seedbed.tokenizer import patterns
from seedbed.tokenizer.tokenizer import Tokenizer

_CACHED_WORDS = 1 << 18
_CACHED_CHARACTERS = 24


class _UntrustedWordError(Exception):
    """A word contains a character that only the library can classify."""


class BulkEncoder:
    """Encodes pieces of text with one tokenizer into ids of one dtype."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype) -> None:
        """`dtype`: little-endian unsigned, wide enough for `tokenizer.vocab_size`."""
        self._tokenizer, self._dtype = tokenizer, dtype
        self._words = _WordCache.of(tokenizer, dtype)

    def encode(self, pieces: Sequence[str]) -> list[bytes]:
        """The ids of each well-formed piece as little-endian integers of the dtype, without added tokens."""
        if self._tokenizer.kind == "char":
            return [self._tokenizer.encode_characters(piece).astype(self._dtype).tobytes() for piece in pieces]
        if self._words is None:
            return self._by_library(pieces)
        encoded = [self._words.encode(piece) for piece in pieces]
        rest = [piece for piece, ids in zip(pieces, encoded, strict=True) if ids is None]
        by_library = iter(self._by_library(rest) if rest else ())
        return [next(by_library) if ids is None else ids for ids in encoded]

    def matches_library(self, pieces: Sequence[str]) -> bool:
        """Whether the word cache and the tokenizers library give the same ids for these pieces."""
        return self._words is None or self.encode(pieces) == self._by_library(pieces)

    @property
    def caches_words(self) -> bool:
        """Whether the ids of words are cached. If not, the tokenizers library encodes all text."""
        return self._words is not None

    def use_library(self) -> None:
        """Encode all further text with the tokenizers library, without a cache."""
        self._words = None

    def count_unknown(self, ids: bytes) -> int:
        """How many of the ids are of characters that the vocabulary lacks."""
        unknown = self._tokenizer.unknown_id
        return 0 if unknown is None else int(np.count_nonzero(np.frombuffer(ids, self._dtype) == unknown))

    def _by_library(self, pieces: Sequence[str]) -> list[bytes]:
        return [ids.astype(self._dtype).tobytes() for ids in self._tokenizer.encode_batch(pieces)]


class _WordCache(dict[str, bytes]):
    """A cache that maps each word of the split to the bytes of its ids. A word is encoded at its first look-up."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, split: patterns.SplitName, limit_words: bool) -> None:
        super().__init__()
        self._dtype, self._limit = dtype, patterns.WORD_LIMIT if limit_words else 0
        self._model = tokenizer.library.model
        self._composes = tokenizer.spec.get("normalizer") is not None
        self._split = split
        self._ascii = patterns.ascii_words(split)
        self._letters = dict(enumerate(patterns.byte_letters()))
        self._plain_added = tuple(
            token["content"] for token in tokenizer.spec.get("added_tokens", ()) if not token["special"]
        )

    @classmethod
    def of(cls, tokenizer: Tokenizer, dtype: np.dtype) -> _WordCache | None:
        """The cache for a tokenizer with a known split and normaliser; None for any other tokenizer."""
        recognised = patterns.recognise(tokenizer.spec)
        if (
            recognised is None
            or not tokenizer.byte_level
            or tokenizer.spec.get("normalizer") not in (None, {"type": "NFC"})
        ):
            return None
        return cls(tokenizer, dtype, *recognised)

    def encode(self, piece: str) -> bytes | None:
        """The bytes of the ids of a piece; None if only the library can encode it."""
        for content in self._plain_added:
            if content in piece:
                return None
        if piece.isascii():
            return b"".join(map(self.__getitem__, self._ascii.findall(piece)))
        if self._composes:
            piece = normalize("NFC", piece)
        try:
            return b"".join(map(self.__getitem__, patterns.trusted_words(self._split).findall(piece)))
        except _UntrustedWordError:
            return None

    def __missing__(self, word: str) -> bytes:
        if not word.isascii() and patterns.untrusted().search(word):
            raise _UntrustedWordError
        letters = word.encode().decode("latin-1").translate(self._letters)
        limit = self._limit or len(letters)
        if len(letters) <= limit:
            ids = [token.id for token in self._model.tokenize(letters)]
        else:
            parts = [letters[start : start + limit] for start in range(0, len(letters), limit)]
            ids = [token.id for part in parts for token in self._model.tokenize(part)]
        encoded = np.array(ids, dtype=self._dtype).tobytes()
        if len(word) <= _CACHED_CHARACTERS and len(self) < _CACHED_WORDS:
            self[word] = encoded
        return encoded
