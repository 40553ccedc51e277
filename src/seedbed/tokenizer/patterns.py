"""How tokenizers split text into words ("splits"), and where text can be cut without changing its token ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

SplitName = Literal["qwen2", "gpt-2"]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
"""Special tokens of a trained tokenizer. Their ids come after the learned ids, as in Qwen and GPT-2."""

END_OF_TEXT, PAD = SPECIAL_TOKENS[:2]

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2, Qwen2.5 and Qwen3 split text into words, exactly: exporters recognise a tokenizer by this pattern."""

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How GPT-2 splits text into words: the pattern that the library's ByteLevel(use_regex=True) applies."""

WORD_LIMIT = 64
"""Bytes at which WordPiece cuts longer words: the time of its search grows with the square of the length."""

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
_STEPS: dict[SplitName, list[dict[str, Any]]] = {
    "qwen2": [
        {"type": "Split", "pattern": {"Regex": QWEN2_PATTERN}, "behavior": "Isolated", "invert": False},
        _BYTE_LEVEL,
    ],
    "gpt-2": [{**_BYTE_LEVEL, "use_regex": True}],
}
_WORD_LIMIT_STEP = {
    "type": "Split",
    "pattern": {"Regex": f".{{1,{WORD_LIMIT}}}"},
    "behavior": "Isolated",
    "invert": False,
}


def pre_tokenizer(split: SplitName, *, limit_words: bool = False) -> dict[str, Any]:
    """The `pre_tokenizer` of a tokenizer.json, which splits text into words. `limit_words`: cut words at WORD_LIMIT bytes."""
    steps = _STEPS[split] + ([_WORD_LIMIT_STEP] if limit_words else [])
    return {"type": "Sequence", "pretokenizers": steps} if len(steps) > 1 else steps[0]


def normalizer(split: SplitName) -> dict[str, Any] | None:
    """The `normalizer` of a tokenizer.json for a split: Unicode NFC for qwen2, none for gpt-2."""
    return {"type": "NFC"} if split == "qwen2" else None


def recognise(spec: dict[str, Any]) -> tuple[SplitName, bool] | None:
    """The split (qwen2 or gpt-2) of a parsed tokenizer.json, and whether words are cut at WORD_LIMIT; None if unknown."""
    found = spec.get("pre_tokenizer")
    if not isinstance(found, dict):
        return None
    steps = found.get("pretokenizers", [found])
    steps = [{**step, "trim_offsets": False} if step.get("type") == "ByteLevel" else step for step in steps]
    limited = bool(steps) and steps[-1] == _WORD_LIMIT_STEP
    if limited:
        steps = steps[:-1]
    for split, known in _STEPS.items():
        if steps == known:
            return split, limited
    return None


# ---------------------------------------------------------------------------------------------- bytes as characters


@cache
def byte_letters() -> tuple[str, ...]:
    """The visible character that stands for each byte 0 .. 255 in byte-level vocabularies (byte-to-unicode mapping).

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2), `bytes_to_unicode`.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters, spare = {byte: chr(byte) for byte in plain}, 256
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(spare)
            spare += 1
    return tuple(letters[byte] for byte in range(256))


@cache
def letter_bytes() -> dict[str, int]:
    """The byte that each character of `byte_letters` stands for."""
    return {letter: byte for byte, letter in enumerate(byte_letters())}


# ---------------------------------------------------------------------------------------------- the same split, in `re`

_FIRST_UNSAFE = 0x3000
_LONG_S = 0x17F  # case-folds to "s", so qwen2's contractions match it; left to the library


def _major(category: str) -> str:
    return category[0] if category[0] in "LN" else ""


@cache
def _classes() -> tuple[str, str, str]:
    """Character ranges for `re` without ASCII: letters, numbers, and all characters whose class is certain.

    Python and the library have Unicode tables of different versions. They agree on characters of Unicode 3.2 whose category
    has not changed since. Text with any other character is left to the library.
    """
    old = unicodedata.ucd_3_2_0
    letters: list[int] = []
    numbers: list[int] = []
    trusted: list[int] = []
    for code in range(0x80, _FIRST_UNSAFE):
        char = chr(code)
        was, now = old.category(char), unicodedata.category(char)
        if was == "Cn" or _major(was) != _major(now) or code == _LONG_S:
            continue
        if char.isspace() != (was in ("Zs", "Zl", "Zp") or code == 0x85):
            continue
        trusted.append(code)
        if was[0] == "L":
            letters.append(code)
        elif was[0] == "N":
            numbers.append(code)
    return _ranges(letters), _ranges(numbers), _ranges(trusted)


def _ranges(codes: list[int]) -> str:
    parts, start = [], None
    for here, following in zip(codes, [*codes[1:], None], strict=True):
        start = here if start is None else start
        if following != here + 1:
            parts.append(f"\\u{start:04x}-\\u{here:04x}" if start != here else f"\\u{here:04x}")
            start = None
    return "".join(parts)


@cache
def ascii_words(split: SplitName) -> re.Pattern[str]:
    """A pattern for `re` that matches the words into which a split divides ASCII text."""
    return re.compile(_in_re(split, "A-Za-z", "0-9", r" \t\n\r\f\v"))


@cache
def trusted_words(split: SplitName) -> re.Pattern[str]:
    """A pattern for `re` that matches the words of a split, in text in which `untrusted()` finds nothing."""
    letters, numbers, _ = _classes()
    spaces = r" \t\n\r\f\v\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f"
    return re.compile(_in_re(split, "A-Za-z" + letters, "0-9" + numbers, spaces))


@cache
def untrusted() -> re.Pattern[str]:
    """A pattern that matches a character that Python and the tokenizers library may classify differently."""
    return re.compile(f"[^\\x00-\\x7f{_classes()[2]}]")


def _in_re(split: SplitName, letters: str, numbers: str, spaces: str) -> str:
    pattern = QWEN2_PATTERN if split == "qwen2" else GPT2_PATTERN
    pattern = pattern.replace(r"\s\p{L}\p{N}", spaces + letters + numbers).replace(r"\p{L}\p{N}", letters + numbers)
    pattern = pattern.replace(r"\p{L}", f"[{letters}]").replace(r"\p{N}", f"[{numbers}]")
    return pattern.replace(r"\s", f"[{spaces}]").replace(r"\S", f"[^{spaces}]")


# ---------------------------------------------------------------------------------------------- long words

LONG_WORD = 256
"""Characters at which longer words are cut for training: the cost grows with the square of the length."""

_MAYBE_LONG = re.compile(rf"\S{{{LONG_WORD + 1}}}|\s{{{LONG_WORD + 1}}}")


@cache
def _long_word(split: SplitName) -> re.Pattern[str]:
    """A pattern that matches a word (by this split, with Python's Unicode tables) longer than LONG_WORD characters."""
    more = rf"{{{LONG_WORD + 1},}}"
    kinds = [rf"[^\W\d_]{more}", rf"(?:[^\w\s]|_){more}", rf"\s{more}"]
    if split == "gpt-2":
        kinds.append(rf"\d{more}")
    return re.compile("|".join(kinds))


@cache
def unspaced() -> re.Pattern[str]:
    """A pattern that matches text in scripts without spaces: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
    return re.compile(
        "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]{5,}"
    )


def without_long_words(text: str, split: SplitName) -> Iterator[tuple[str, bool]]:
    """Yield a text in parts, each with a flag: True for a part (at most LONG_WORD characters) of a long word.

    Adjacent characters of a part are also adjacent in the text, so merges trained on the parts are correct. Only pairs
    across the border between two parts are not counted.
    """
    start = 0
    if _MAYBE_LONG.search(text) is not None:
        for match in _long_word(split).finditer(text):
            if match.start() > start:
                yield text[start : match.start()], False
            for begin in range(match.start(), match.end(), LONG_WORD):
                yield text[begin : min(begin + LONG_WORD, match.end())], True
            start = match.end()
    if start < len(text):
        yield text[start:] if start else text, False


# ---------------------------------------------------------------------------------------------- cutting long text

_LINE_END = re.compile(r"(?<=\S)\n(?=\S)")
_WORD_GAP = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")


def cut(text: str, limit: int) -> Iterator[str]:
    """Yield pieces of at most `limit` characters that join to `text`.

    A cut is made after a newline between two lines of text, else before a space between two words. Then the pieces have the
    same ids as the whole text, with either split. If neither occurs within `limit` characters, the cut may split a word.
    """
    start = 0
    while len(text) - start > limit:
        end = _last_match(_LINE_END, text, start, limit, 1) or _last_match(_WORD_GAP, text, start, limit, 0)
        end = end or start + limit
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def parts(text: str, about: int) -> Iterator[str]:
    """Yield parts of about `about` characters that join to `text` and have the same token ids as the whole (see `cut`).

    A part is longer if the text has no border of lines or words where it can be cut.
    """
    start = 0
    while len(text) - start > about:
        end = _last_match(_LINE_END, text, start, about, 1) or _last_match(_WORD_GAP, text, start, about, 0)
        if end is None:
            line, word = _LINE_END.search(text, start + about), _WORD_GAP.search(text, start + about)
            ends = [match.start() + offset for match, offset in ((line, 1), (word, 0)) if match is not None]
            if not ends:
                break
            end = min(ends)
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _last_match(pattern: re.Pattern[str], text: str, start: int, limit: int, offset: int) -> int | None:
    """The last position, at most `limit` after `start`, where `pattern` allows a cut: a match plus `offset`; None if none."""
    end, reach = start + limit, 256
    while True:
        begin = max(start + 1, end - reach)
        found = [match.start() + offset for match in pattern.finditer(text, begin, min(end + 1, len(text)))]
        within = [place for place in found if place <= end]
        if within:
            return within[-1]
        if begin == start + 1:
            return None
        reach *= 8
