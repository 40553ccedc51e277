"""Random texts for comparisons with other programs."""

from __future__ import annotations

import random
from collections.abc import Sequence

_LETTERS = list("abcdefghijklmnopqrstuvwxyz" * 2 + "ABCDE '.,-!?0123456789\n\n\r\t      ()[]{}<>|_=#\"\\/")
_RARE = [
    *"éßſ½²日本語漢字аб🙂🌱ا ע",
    "\u0301",
    "\u200d",
    "\xa0",
    "\u3000",
    "\ufeff",
    "\u2028",
    "\x00",
    "\x1b",
    "\x7f",
    "\x85",
]
_RARE += ["👩‍👩‍👧", "🇫🇷"]
_WORDS = [
    "the",
    "The",
    "of",
    "and",
    "def",
    "return",
    "don't",
    "they'LL",
    "12345",
    "1.5",
    "https://a.b",
    "x=1;",
    "\n\n",
    "\t",
]
_WORDS += ["naïve", "世界", "привет", "हिन्दी"]
_WORDS += ["  ", "   ", "```python\n"]


def texts(count: int, seed: int, tokens: Sequence[str] = ()) -> list[str]:
    """Random texts of letters, words, rare characters and `tokens`, such as the special tokens of a tokenizer."""
    rng = random.Random(seed)
    return [text(rng, tokens) for _ in range(count)]


def text(rng: random.Random, tokens: Sequence[str] = ()) -> str:
    """One random text."""
    parts: list[str] = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.45:
            parts.append("".join(rng.choices(_LETTERS, k=rng.randint(1, 12))))
        elif kind < 0.75:
            parts.append(rng.choice(_WORDS))
        elif kind < 0.9 or not tokens:
            parts.append("".join(rng.choices(_RARE, k=rng.randint(1, 4))))
        else:
            parts.append(rng.choice(tokens))
        parts.append(rng.choice(("", " ", " ", "\n")))
    return "".join(parts)
