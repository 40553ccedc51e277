"""Encode much text to token ids, as bytes for a file, faster than the tokenizers library.

The ids are equal to the library's. Words repeat, so the text is split with `re`, and each distinct word is encoded
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
    """Raised for a word with a character that only the library can classify (as letter, number, ...)."""


class BulkEncoder:
    """Encodes pieces of text to token ids with one tokenizer, as bytes of integers of one dtype."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype) -> None:
        """`dtype` of the ids: little-endian, unsigned, wide enough for `tokenizer.vocab_size`."""
        self._tokenizer, self._dtype = tokenizer, dtype
        self._words = _WordCache.of(tokenizer, dtype)

    def encode(self, pieces: Sequence[str]) -> list[bytes]:
        """The token ids of each piece, as bytes of integers of the dtype, without added tokens.

        The pieces must not contain lone surrogates (see `well_formed`).
        """
        if self._tokenizer.kind == "char":
            return [self._tokenizer.encode_characters(piece).astype(self._dtype).tobytes() for piece in pieces]
        if self._words is None:
            return self._by_library(pieces)
        encoded = [self._words.encode(piece) for piece in pieces]
        rest = [piece for piece, ids in zip(pieces, encoded, strict=True) if ids is None]
        by_library = iter(self._by_library(rest) if rest else ())
        return [next(by_library) if ids is None else ids for ids in encoded]

    def matches_library(self, pieces: Sequence[str]) -> bool:
        """Whether this encoder and the tokenizers library give the same ids for these pieces of text."""
        return self._words is None or self.encode(pieces) == self._by_library(pieces)

    @property
    def caches_words(self) -> bool:
        """Whether this encoder caches the ids of words. If not, the tokenizers library encodes all text."""
        return self._words is not None

    def use_library(self) -> None:
        """From now on, encode all text with the tokenizers library, without caching the ids of words."""
        self._words = None

    def count_unknown(self, ids: bytes) -> int:
        """How many of the token ids (bytes, as `encode` returns) stand for a character that the vocabulary lacks."""
        unknown = self._tokenizer.unknown_id
        return 0 if unknown is None else int(np.count_nonzero(np.frombuffer(ids, self._dtype) == unknown))

    def _by_library(self, pieces: Sequence[str]) -> list[bytes]:
        return [ids.astype(self._dtype).tobytes() for ids in self._tokenizer.encode_batch(pieces)]


class _WordCache(dict[str, bytes]):
    """Maps each word, as the tokenizer splits text into words, to the bytes of its ids; encodes it at the first look-up."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, split: patterns.SplitName, limit_words: bool) -> None:
        super().__init__()
        self._dtype, self._limit = dtype, patterns.WORD_LIMIT if limit_words else 0
        self._model = tokenizer.library.model
        self._composes = tokenizer.spec.get("normalizer") is not None
        self._split = split
        self._ascii = patterns.ascii_words(split)
        self._letters = dict(enumerate(patterns.byte_letters()))
        self._plain_added = tuple(
            token["content"]
            for token in tokenizer.spec.get("added_tokens") or ()
            if token["content"] not in tokenizer.control
        )

    @classmethod
    def of(cls, tokenizer: Tokenizer, dtype: np.dtype) -> _WordCache | None:
        """A cache for a tokenizer whose way to split text into words is known; None for any other tokenizer."""
        recognised = patterns.recognise(tokenizer.spec)
        if (
            recognised is None
            or not tokenizer.byte_level
            or tokenizer.spec.get("normalizer") not in (None, {"type": "NFC"})
        ):
            return None
        return cls(tokenizer, dtype, *recognised)

    def encode(self, piece: str) -> bytes | None:
        """The ids of a piece of text, as bytes; None if only the library can encode it."""
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
