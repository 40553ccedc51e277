"""Replaces secrets and personal data in texts by numbered placeholders, and counts them by rule."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from seedbed.curation.redaction.checks import is_assigned_secret
from seedbed.curation.redaction.escapes import hex_dump, views
from seedbed.curation.redaction.given_words import GivenWords, given_words
from seedbed.curation.redaction.personal_checks import is_author_of_book, is_in_copyright_notice
from seedbed.curation.redaction.repeats import Repeats, is_common, spellings, united
from seedbed.curation.redaction.rules import WORD_LISTS, Rule, known_words, rule_table
from seedbed.curation.redaction.scanner import Scanner, Span
from seedbed.text import is_utf_8

_PASSES = 3
"""A text is read again where something was replaced, since a secret may have hidden what stood next to it."""
ROUNDS = 3
"""How often the texts of a record are redacted at most: again after secrets were found, for those in other texts."""
_LITERAL = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OPTION = re.compile(r"--?[A-Za-z][\w-]{2,60}")
_NAME_AFTER = re.compile(
    r'\s*,\s*(?:"[^"\\]{0,40}"\s*:\s*(?:"(?:[^"\\]|\\.){0,400}"|[\w.+-]{1,20})\s*,\s*){0,4}'
    r'"(?:[Nn]ame|[Kk]ey)"\s*:\s*("(?:[^"\\]|\\.){1,200}")'
)
"""The rest of an object of JSON up to the value of its field `name` or `key`."""
_AUTHOR = "author-name"
"""The rule for authors of code."""
_FRAGMENT = "cut"
"""The check of the rule for halves of secrets, which are not looked for elsewhere."""
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_0-9]*_\d+>")
_NAME_RULES = {
    label: Rule(id=name, label=label, anchors=(), regex="", example="", near_miss="", personal=label != "SECRET")
    for name, label in (("given-name", "NAME"), ("user-name", "USER"), ("host-name", "HOST"), ("json-value", "SECRET"))
}


class RedactionOptions(msgspec.Struct, kw_only=True, frozen=True):
    """What is redacted."""

    secrets: bool = True
    personal: bool = True
    """Addresses, phone numbers, home folders and names."""
    names: tuple[str, ...] = ()
    """Names of people, such as the authors of a repository; they are replaced as whole words."""
    user: str | None = None
    """The user's own login name, replaced as a whole word wherever it stands."""
    host: str | None = None
    """The name of the user's machine."""


class Redacted(NamedTuple):
    """A text after redaction, how often each rule replaced something, and (rule, keyed hash) of each value."""

    text: str
    counts: Counter[str]
    hashes: list[tuple[str, str]]


class Numbering:
    """The placeholders of one record: the same value has the same number in all its texts.

    `secrets`: those that were found so far, with the rules that found them; the ones to begin with come from elsewhere.
    Call `settle` after all texts were redacted, and redact them once more if it returns True.
    """

    def __init__(self, secrets: Mapping[str, Rule] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.hashes: list[tuple[str, str]] = []
        self.secrets: dict[str, Rule] = {}
        self.repeats: Repeats | None = None
        self._unsettled: dict[str, Rule] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self._spellings: dict[str, str] = {}
        for value, rule in (secrets or {}).items():
            self._remember(rule, value)
        self.settle()

    def settle(self) -> bool:
        """Look for all secrets that were found, from now on; whether there are any that were not looked for before."""
        if not self._unsettled:
            return False
        self.repeats = Repeats(self._unsettled, self.repeats)
        self._unsettled = {}
        return True

    def fresh(self) -> Numbering:
        """One for another record, which looks for the same secrets, and has counted and numbered nothing."""
        made = Numbering()
        made.secrets, made.repeats = dict(self.secrets), self.repeats
        made._spellings, made._unsettled = dict(self._spellings), dict(self._unsettled)
        return made

    def found(self, rule: Rule, value: str) -> str:
        """The value that a rule found, as it was spelled first; a secret is looked for in the other texts, too."""
        value = self._spellings.get(value, value)
        if not rule.personal and rule.check != _FRAGMENT and value not in self.secrets and not is_common(value):
            self._remember(rule, value)
        return value

    def _remember(self, rule: Rule, value: str) -> None:
        self.secrets[value] = rule
        for each in spellings(value):
            if each not in self._spellings:
                self._spellings[each] = value
                self._unsettled[each] = rule

    def placeholder(self, rule: Rule, value: str) -> str:
        """The placeholder of a value, such as `<EMAIL_1>`: of a secret, with the label of the rule that found it first."""
        label = rule.label if rule.personal else self.secrets.get(value, rule).label
        numbers = self._numbers.setdefault(label, {})
        return f"<{label}_{numbers.setdefault(value, len(numbers) + 1)}>"

    def without_placeholders(self, text: str) -> str:
        """What is left of a text without placeholders, blanks and punctuation."""
        return re.sub(r"[\W_]+", "", _PLACEHOLDER.sub("", text))


class Redactor:
    """Finds and replaces secrets and personal data. Nothing that it returns or keeps has a value that it found.

    `key`: at least 16 bytes, secret to the project; a hash of a value with it lets two data sets be compared. Pass
    `names` to a call for the names that matter in one text alone, such as the authors of its repository.
    """

    def __init__(self, key: bytes, options: RedactionOptions | None = None) -> None:
        if len(key) < 16:
            raise ValueError("the key of a redactor must have at least 16 bytes")
        self._key = key[:64]
        self.options = options or RedactionOptions()
        kept = [rule for rule in rule_table() if (self.options.personal if rule.personal else self.options.secrets)]
        self._scanner = Scanner(kept)
        words = [(name, "NAME") for name in self.options.names] if self.options.personal else []
        if self.options.personal:
            words += [
                (name, label) for name, label in ((self.options.user, "USER"), (self.options.host, "HOST")) if name
            ]
        self._words = tuple(words)

    @property
    def personal_rules(self) -> frozenset[str]:
        """The ids of the rules that find personal data; the others find secrets."""
        return frozenset(rule.id for rule in (*rule_table(), *_NAME_RULES.values()) if rule.personal)

    def fingerprint(self) -> str:
        """Hex digest of the rules and options, for caches: it changes when the same text would be redacted otherwise."""
        words = [sorted(known_words(name)) for name in WORD_LISTS]
        content = msgspec.json.encode((rule_table(), words, self.options))
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def redact(self, text: str, numbering: Numbering | None = None, names: Sequence[str] = ()) -> Redacted:
        """The text without secrets and personal data, the counts by rule, and the keyed hashes."""
        numbering = numbering or Numbering()
        for _ in range(ROUNDS):
            text = self.redacted(text, numbering, names)
            if not numbering.settle():
                break
        return Redacted(text, numbering.counts, numbering.hashes)

    def redact_text(self, text: str, names: Sequence[str] = (), known: Numbering | None = None) -> str:
        """The text alone, for samples of what was left out; the secrets that `known` has are replaced, too."""
        return self.redact(text, known.fresh() if known else None, names).text

    def redacted(self, text: str, numbering: Numbering, names: Sequence[str] = ()) -> str:
        """The text with the placeholders of `numbering`, which counts them. JSON stays JSON; see `redact_json`."""
        if _is_json(text):
            return self.redact_json(text, numbering, names)
        return self._plain(text, numbering, names)

    def finds(self, text: str, numbering: Numbering, names: Sequence[str] = ()) -> bool:
        """Whether something in a text would be replaced; nothing is counted."""
        return bool(self._spans(text, names, numbering.repeats))

    def _plain(self, text: str, numbering: Numbering, names: Sequence[str]) -> str:
        return self._plain_parts([text], numbering, names)[0]

    def _plain_parts(self, parts: Sequence[str], numbering: Numbering, names: Sequence[str]) -> list[str]:
        made = list(parts)
        for _ in range(_PASSES):
            replacements = self._replacements("".join(made), numbering, names)
            if not replacements:
                break
            made = _recut(made, replacements)
        return self._decoded(made, numbering, names)

    def _decoded(self, parts: list[str], numbering: Numbering, names: Sequence[str]) -> list[str]:
        """The parts of one text, redacted where escapes of JSON, colours of a terminal, or a hex dump hide something.

        Escapes stand in outputs of tools and in strings of code. Of a hex dump, whole lines are replaced.
        """
        if (dump := hex_dump("".join(parts))) is not None:
            lines = [
                (*dump.origin(start, end), new) for start, end, new in self._replacements(dump.text, numbering, names)
            ]
            parts = _recut(parts, list(_with_shared_lines(lines)))
        for _ in range(_PASSES):
            for view in views("".join(parts)):
                found = [
                    (*view.origin(start, end), new)
                    for start, end, new in self._replacements(view.text, numbering, names)
                ]
                if found:
                    parts = _recut(parts, list(_apart(found)))
                    break
            else:
                return parts
        return parts

    def redact_json(self, text: str, numbering: Numbering, names: Sequence[str] = ()) -> str:
        """A JSON text, redacted in its decoded strings, so that escapes hide nothing; the rest keeps its bytes.

        A value whose key is the name of a secret is found as well, one in the field `value` beside the field `name` or `key`
        with such a name, and one after an option in a list of arguments. A text that is no JSON is redacted as it stands.
        """
        found = self._in_json(text, numbering, names)
        return self._plain(text, numbering, names) if found is None else _replaced(text, found)

    def _in_json(self, text: str, numbering: Numbering, names: Sequence[str]) -> list[tuple[int, int, str]] | None:
        """The strings of a JSON text that change when it is redacted, with what they become; None if it is no JSON."""
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return None
        found: list[tuple[int, int, str]] = []
        end, key, name, option = 0, "", "", ""
        for match in _LITERAL.finditer(text):
            value = json.loads(match[0])
            between = text[end : match.start()]
            is_value = between.strip() == ":"
            if "{" in between or "}" in between:
                name = ""
            if is_value:
                is_author = is_author_of_book(key, text, *match.span())
                named = (name or _name_after(text, match.end()) or key) if key.lower() == "value" else key
                changed = self._value(named, value, numbering, names, is_author=is_author)
                name = changed if key.lower() in ("name", "key") else name
            elif option and between.strip() == ",":
                changed = self._value(option, value, numbering, names)
            else:
                changed = self.redacted(value, numbering, names)
            key = "" if is_value else value
            option = key.lstrip("-") if _OPTION.fullmatch(key) else ""
            if changed != value:
                found.append((*match.span(), _as_literal(changed, match[0])))
            end = match.end()
        return found

    def _value(
        self, key: str, value: str, numbering: Numbering, names: Sequence[str], *, is_author: bool = False
    ) -> str:
        """The value of a key of JSON, both decoded, redacted beside its key, since rules look at names.

        `is_author`: the value names the author of a book, which the rule for authors of code must leave alone.
        """
        if _is_json(value):
            return self.redact_json(value, numbering, names)
        before = f'"{key}": "'
        for number in range(_PASSES):
            spans = [
                Span(max(start - len(before), 0), min(end - len(before), len(value)), rule)
                for start, end, rule in self._spans(f'{before}{value}"', names, numbering.repeats)
                if end > len(before) and not (is_author and rule.id == _AUTHOR)
            ]
            general = number == 0 and all(span.rule.id == "assignment" for span in spans)
            if general and self.options.secrets and is_assigned_secret(key, value):
                spans = [Span(0, len(value), _NAME_RULES["SECRET"])]
            if not spans:
                break
            value = _replaced(value, [(s, e, self._placeholder(rule, value[s:e], numbering)) for s, e, rule in spans])
        return self._decoded([value], numbering, names)[0]

    def redact_parts(self, parts: Sequence[str], numbering: Numbering, names: Sequence[str] = ()) -> list[str]:
        """The parts of one text, redacted as a whole, so that what crosses a cut is found; joined they are the result.

        A placeholder that crosses a cut goes to the outer part: to the first parts at cuts of the first half, such as the
        prefix, and to the last at the others, such as the suffix.
        """
        text = "".join(parts)
        if _is_json(text) and (found := self._in_json(text, numbering, names)) is not None:
            return _recut(parts, found)
        return self._plain_parts(parts, numbering, names)

    def link(self, text: str, known: Numbering | None = None) -> str:
        """A text that ties records together, redacted so that equal texts stay equal: with hashes instead of numbers.

        The secrets that `known` has are replaced, too.
        """
        spans = self._spans(text, (), known.repeats if known is not None else None)
        return _replaced(text, [(s, e, f"<{rule.label}_{self._hash(text[s:e])}>") for s, e, rule in spans])

    def _replacements(self, text: str, numbering: Numbering, names: Sequence[str]) -> list[tuple[int, int, str]]:
        return [
            (start, end, self._placeholder(rule, text[start:end], numbering))
            for start, end, rule in self._spans(text, names, numbering.repeats)
        ]

    def _placeholder(self, rule: Rule, value: str, numbering: Numbering) -> str:
        numbering.counts[rule.id] += 1
        value = numbering.found(rule, value)
        numbering.hashes.append((rule.id, self._hash(value)))
        return numbering.placeholder(rule, value)

    def _hash(self, value: str) -> str:
        """A keyed hash (BLAKE2b, RFC 7693) of a value, which says nothing about it without the key."""
        return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).hexdigest()

    def _spans(self, text: str, names: Sequence[str], repeats: Repeats | None = None) -> list[Span]:
        kept = [match.span() for match in _PLACEHOLDER.finditer(text)] if "<" in text else []
        spans = _outside(kept, self._scanner.spans(text))  # what was redacted before stays
        if repeats is not None:
            spans = united(spans, _outside(kept, list(repeats.find(text))))
        if self.options.personal and (self._words or names):
            authors = set(names).difference(word for word, _ in self._words)
            spans = _outside(kept, _with_words(text, spans, given_words(self._words, tuple(names)), authors))
        return spans


def _outside(kept: Sequence[tuple[int, int]], spans: list[Span]) -> list[Span]:
    """The spans that overlap none of the parts."""
    return [span for span in spans if not _overlaps_one_of(kept, span)] if kept else spans


def _overlaps_one_of(kept: Sequence[tuple[int, int]], span: Span) -> bool:
    """Whether a span overlaps one of the parts of a text that are sorted and do not overlap."""
    number = bisect_left(kept, (span.end, 0))  # the part before it is the last that begins before the span ends
    return number > 0 and kept[number - 1][1] > span.start


def _is_json(text: str) -> bool:
    """Whether a text may be an object or a list of JSON with strings, by its ends."""
    return text[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]") and '"' in text


def _name_after(text: str, at: int) -> str:
    """The value of the field `name` or `key` that follows in the same object of JSON; empty if there is none."""
    match = _NAME_AFTER.match(text, at)
    return str(json.loads(match[1])) if match is not None else ""


def _as_literal(value: str, before: str) -> str:
    """A string of JSON, with letters beyond ASCII as they were in the one before; half of a pair is written as an escape."""
    return json.dumps(value, ensure_ascii=before.isascii() or not is_utf_8(value))


def _replaced(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, new in replacements:
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]]) if pieces else text


def _apart(replacements: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """The replacements without those that overlap an earlier one, which may come from one run of escapes."""
    end = 0
    for each in sorted(replacements):
        if each[0] >= end:
            yield each
            end = each[1]


def _with_shared_lines(replacements: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """The replacements of lines, where those that share a line become one, with all that they put there."""
    last: tuple[int, int, str] | None = None
    for start, end, new in sorted(replacements):
        if last is not None and start < last[1]:
            last = (last[0], max(last[1], end), f"{last[2]} {new}")
            continue
        if last is not None:
            yield last
        last = (start, end, new)
    if last is not None:
        yield last


def _recut(parts: Sequence[str], replacements: list[tuple[int, int, str]]) -> list[str]:
    """The parts with their replacements; a cut within one moves to its end in the first half, else to its beginning."""
    text = "".join(parts)
    cuts: list[int] = []
    at = 0
    for number, part in enumerate(parts[:-1]):
        at += len(part)
        cut = at
        for start, end, _ in replacements:
            if start < cut < end:
                cut = end if number < (len(parts) - 1) / 2 else start
        cuts.append(max([cut, *cuts]))
    made: list[str] = []
    done = 0
    for first, last in zip([0, *cuts], [*cuts, len(text)], strict=True):
        inside = [(start - first, end - first, new) for start, end, new in replacements[done:] if end <= last]
        done += len(inside)
        made.append(_replaced(text[first:last], inside))
    return made


def _with_words(text: str, spans: list[Span], words: GivenWords, authors: Collection[str]) -> list[Span]:
    """The spans, and those of given words that overlap none of them. `authors`: words that stay in notices of copyright."""
    for label, found in groupby(words.find(text), key=lambda each: each[2]):
        taken = [(span.start, span.end) for span in spans]
        given = [
            Span(start, end, _NAME_RULES[label])
            for start, end, _ in found
            if not (text[start:end] in authors and is_in_copyright_notice(text, start))
        ]
        added = [span for span in given if not _overlaps_one_of(taken, span)]
        spans = sorted([*spans, *added], key=lambda span: span.start) if added else spans
    return spans
