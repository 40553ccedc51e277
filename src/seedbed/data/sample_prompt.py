"""Choose the prompt for the sample texts of a run from the first words of the dataset's documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from seedbed.data.shards import Dataset, Split
from seedbed.text import printable
from seedbed.tokenizer.tokenizer import Tokenizer

_TOKENS_READ = 1 << 16
_DOCUMENT_TOKENS = 96
_DOCUMENTS = 200
_WORDS, _CHARACTERS = 6, 40
_COMMON_WORDS = 4
_COMMON = 0.1
"""An opening (first words of a document) is common if at least this share of the documents begin with it."""


def sample_prompt(dataset: Dataset) -> str:
    """A prompt: words that many documents begin with, such as `Once upon a time`, in one line without control characters.

    If none are frequent, the first words of a document, or "" without any. Validation documents come first, because the
    model has not memorised them. Of a dataset of conversations, the question that its manifest names.
    """
    if dataset.manifest.get("opening"):
        return printable(dataset.manifest["opening"])
    openings = [words for split in (dataset.validation, dataset.train) for words in _openings(split, dataset.tokenizer)]
    common = Counter(" ".join(words[:_COMMON_WORDS]) for words in openings if len(words) > _COMMON_WORDS)
    for text, count in common.most_common(1):
        if count >= max(5, _COMMON * len(openings)):
            return text.rstrip(" ,;:")
    good = next((words for words in openings if _is_good(words)), openings[0] if openings else [])
    return " ".join(good)


def _openings(split: Split, tokenizer: Tokenizer) -> Iterator[list[str]]:
    """Yield the first words of each of the first _DOCUMENTS documents."""
    ids = split.read(0, min(_TOKENS_READ, split.num_tokens)).tolist()
    begin = documents = 0
    while begin < len(ids) and documents < _DOCUMENTS:
        try:
            end = ids.index(tokenizer.eot_id, begin)
        except ValueError:
            end = len(ids)
        words = _first_words(tokenizer.decode(ids[begin : min(end, begin + _DOCUMENT_TOKENS)]))
        if words:
            yield words
        begin, documents = end + 1, documents + 1


def _first_words(text: str) -> list[str]:
    """The first words of the first line that is not blank: at most _WORDS words and _CHARACTERS characters."""
    whole = text.partition("\ufffd")[0]  # U+FFFD: a character that was cut, or that the vocabulary lacks
    line = next((clean for each in whole.splitlines() if (clean := printable(each).strip())), "")
    words: list[str] = []
    for word in line.split()[:_WORDS]:
        if len(" ".join([*words, word])) > _CHARACTERS:
            break
        words.append(word)
    return words or [line[: _CHARACTERS // 2]] if line else []


def _is_good(words: list[str]) -> bool:
    """Whether the words look like the beginning of a sentence or heading: letters, and no lower-case start."""
    text = " ".join(words)
    return len(text) >= 8 and any(char.isalpha() for char in text) and not text[0].islower()
