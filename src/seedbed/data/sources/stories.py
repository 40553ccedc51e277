"""The built-in corpus of generated stories as a source: a fixed number of them, the last for validation.

Refuses to know how a story comes about.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from seedbed.config.schema import DataConfig
from seedbed.events import Emit

Generate = Callable[[int, int, int], Iterator[str]]
"""(seed, count, start) -> stories start .. start + count of that seed."""

CORPUS_SEED = 20_240_229
"""Fixed, so that the corpus depends on its size alone; `train.seed` moves weights and order, not the text."""


class Stories:
    """`count` stories, of which the last `fraction` (at least one, never all) validate."""

    name = "stories"

    def __init__(self, count: int, fraction: float, generate: Generate, version: object) -> None:
        held = min(max(round(count * fraction), 1), count - 1)
        self._train, self._validation = count - held, held
        self._generate, self._version = generate, version
        self.drops: Counter[str] = Counter()

    def fingerprint(self) -> str:
        """Digest of the generator's version, the seed, and the sizes of the two splits."""
        identity = f"stories {self._version} {CORPUS_SEED} {self._train} {self._validation}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def documents(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """The stories of a split, generated as they are asked for."""
        if split == "train":
            return self._generate(CORPUS_SEED, self._train, 0)
        return self._generate(CORPUS_SEED, self._validation, self._train)


def open_stories(_word: str, data: DataConfig, _emit: Emit) -> Stories:
    """The corpus of `data.stories` stories, or of `data.max_documents` where that is fewer."""
    from seedbed.data.stories import generator  # its lexicon is loaded only by those who train on it

    count = min(data.stories, data.max_documents) if data.max_documents else data.stories
    return Stories(max(count, 2), data.validation, generator.stories, generator.VERSION)
