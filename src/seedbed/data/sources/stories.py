"""The source `stories`: the built-in corpus of generated stories. The last stories are for validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from seedbed.config.schema import DataConfig
from seedbed.events import Emit

Generate = Callable[[int, int, int], Iterator[str]]
"""The type of `generator.stories`: (seed, count, start) -> stories start .. start + count - 1 of that seed."""

CORPUS_SEED = 20_240_229
"""The seed of the stories: fixed, so that the text depends only on the number of stories and not on `train.seed`."""


class StoriesSource:
    """The first `count` generated stories; the last `fraction` of them (at least one, never all) are validation text."""

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
        """Yield the stories of a split, generated on demand."""
        if split == "train":
            return self._generate(CORPUS_SEED, self._train, 0)
        return self._generate(CORPUS_SEED, self._validation, self._train)


def open_stories(_word: str, data: DataConfig, _emit: Emit) -> StoriesSource:
    """Open the corpus of the first `data.stories` stories, at most `data.max_documents`."""
    from seedbed.data.stories import generator  # loads the word lists, only when needed

    count = min(data.stories, data.max_documents) if data.max_documents else data.stories
    return StoriesSource(max(count, 2), data.validation, generator.stories, generator.VERSION)
