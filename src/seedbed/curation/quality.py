"""Leaves out rows of low quality: data files, repetition, and conversations with nothing to learn from."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from seedbed.config.preparing import QualityConfig
from seedbed.curation.drops import Drops
from seedbed.curation.duplicates.content import is_code, place_of, whole_text
from seedbed.curation.record import Message, Record, is_trained

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_0-9]*_\d+>")
_WORD = re.compile(r"\w+", re.ASCII)
_SYMBOLS = re.compile(r"(?m)(?<=.)#(?!#)|\.{3}|…")
"""Hash signs that begin no heading, and ellipses."""
_SHORT_LINE = 10
"""Shorter lines may be repeated: fences of code blocks, brackets, entries of lists."""
_HASH_COMMENTS = re.compile(r"""(?m)^[ \t]*#.*$|"{3}[\s\S]*?"{3}|'{3}[\s\S]*?'{3}""")
_SLASH_COMMENTS = re.compile(r"(?m)^[ \t]*(?://|--|;).*$|/\*[\s\S]*?\*/")


class QualityStep:
    """Leaves out records of low quality, each with a reason. Records with a gap are judged by the whole piece, as code."""

    name = "quality"
    version = 1

    def __init__(self, options: QualityConfig | None = None) -> None:
        self.options = options or QualityConfig(filters=True)

    def __call__(self, records: Iterator[Record], drops: Drops) -> Iterator[Record]:
        """Yield the records that no filter leaves out."""
        for record in records:
            reason = reason_of(record, self.options)
            if reason is None:
                yield record
            else:
                drops.drop(self.name, reason, place_of(record), whole_text(record))


def reason_of(record: Record, options: QualityConfig) -> str | None:
    """Why a record is left out; None if it is kept."""
    if record.kind == "chat":
        return conversation_reason(record.messages or [], options)
    text = whole_text(record)
    if not text.strip():
        return "empty text"
    hidden = sum(map(len, _PLACEHOLDER.findall(text)))
    if hidden > options.max_placeholders * len(text):
        return "mostly redacted"
    if is_code(record):
        return code_reason(text, record.language, options)
    return prose_reason(text, options)


def code_reason(text: str, language: str | None, options: QualityConfig) -> str | None:
    """Why a text is no code to learn from: long lines, few letters, few characters, or mostly comments."""
    lines = text.splitlines()
    if len("".join(text.split())) < options.min_characters:
        return "too short"
    if max(map(len, lines)) > options.max_line:
        return f"line longer than {options.max_line} characters"
    if len(text) > options.max_mean_line * max(len(lines), 10):  # a short text may be one long line
        return f"lines longer than {options.max_mean_line} characters on average"
    if sum(map(str.isalnum, text)) < options.min_letters * len(text):
        return "few letters and digits"
    if options.max_comments < 1 and comment_share(text, language) > options.max_comments:
        return "mostly comments"
    return None


def comment_share(text: str, language: str | None) -> float:
    """About which share of the characters besides blanks is in comments: whole lines and blocks, by their marks."""
    hashes = language in ("Python", "Ruby", "Bash", "Shell", "Perl", "R", "YAML", "TOML", "Makefile", "Dockerfile")
    marked = sum(len("".join(found.split())) for found in (_HASH_COMMENTS if hashes else _SLASH_COMMENTS).findall(text))
    whole = len("".join(text.split()))
    return marked / whole if whole else 0.0


def prose_reason(text: str, options: QualityConfig) -> str | None:
    """Why a text is no prose to learn from: too short, repeated lines, symbols, or words that are none."""
    words = text.split()
    spaced = len(words) * 12 > len(text)
    """Whether words stand between blanks, which they do not in Chinese or Japanese."""
    if len(words) < options.min_words and len(text) < 5 * options.min_words:
        return f"fewer than {options.min_words} words"
    lines = [line for line in (each.strip() for each in text.splitlines()) if len(line) >= _SHORT_LINE]
    counted = Counter(lines)
    if len(lines) >= 5:
        again = sum(count - 1 for count in counted.values())
        characters = sum((count - 1) * len(line) for line, count in counted.items())
        if again > options.max_repeated_lines * len(lines):
            return "repeated lines"
        if characters > options.max_repeated_characters * sum(map(len, lines)):
            return "repeated text"
    marks = len(_SYMBOLS.findall(text))
    if marks > options.max_symbols * max(len(words), len(text) // 12):
        return "many symbols"
    if spaced and text.isascii():
        found = _WORD.findall(text)
        mean = sum(map(len, found)) / max(len(found), 1)
        if not options.min_word_length <= mean <= options.max_word_length:
            return "unusual words"
    return None


def conversation_reason(messages: list[Message], options: QualityConfig) -> str | None:
    """Why there is nothing to learn from a conversation: no answer, only tool output, small talk, notices, or an error."""
    answers = [message for message in messages if is_trained(message)]
    if not answers:
        return "no answer"
    said = [message.content.strip() for message in answers if message.content.strip()]
    calls = sum(len(message.tool_calls or ()) for message in answers)
    if not calls and sum(map(len, said)) < options.min_answer_characters:
        return "empty answers"
    asked = [message.content.strip() for message in messages if message.role == "user" and message.content.strip()]
    if options.drop_tool_output and not asked and not said:
        return "only tool output"
    if options.drop_notices and said and not calls and all(_whole("notices", text) for text in said):
        return "only notices"
    if options.drop_small_talk and asked and not calls and all(_whole("small_talk", text) for text in asked):
        return "small talk"
    if options.drop_errors and _ends_in_error(messages):
        return "ends in an error"
    return None


def _ends_in_error(messages: list[Message]) -> bool:
    """Whether the last output of a tool, or what the user said after it, says that the work failed."""
    for message in reversed(messages):
        if message.role in ("tool", "user"):
            text = message.content.lower()
            return any(pattern.search(text) for pattern in _patterns("errors"))
    return False


def _whole(name: str, text: str) -> bool:
    """Whether a text as a whole is one of the patterns of a list."""
    return len(text) < 400 and any(pattern.fullmatch(text.lower()) for pattern in _patterns(name))


@cache
def _patterns(name: str) -> tuple[re.Pattern[str], ...]:
    table = tomllib.loads(files("seedbed.curation").joinpath("quality.toml").read_text(encoding="utf-8"))
    return tuple(re.compile(pattern, re.DOTALL) for pattern in table[name])
