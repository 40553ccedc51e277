"""Check which sentences of a text follow the grammar of the story world and are consistent with their story.

A sentence passes if it matches a line (sentence template) of the grammar, with an allowed word in each slot, and if it is
consistent with the story: it uses the same names, things and places, mentions nothing that was not introduced, and its
pronouns have the right gender and refer to the subject of the previous sentence.

Each sentence claims facts (such as: the ball is red). The facts of a story are what most of its sentences claim, so that
only the sentence with an error fails. If equally many sentences claim different facts, all of them fail.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from seedbed.data.stories import lines as _lines
from seedbed.data.stories import sentences as _sentences
from seedbed.data.stories import world as _world
from seedbed.data.stories.lines import Choice, Form, Line, Sequence, Slot
from seedbed.data.stories.world import GENDERS, PRONOUNS, World, article, slot_name

_WORD = re.compile(r"[A-Za-z]+")
_PRONOUN_KEY = re.compile(r"^(\w+)\.(he|him|his)$")
_MISSPACED = re.compile(r"\s\s|\s[.,!?]|[.,!?](?=\w)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking one sentence. ``reason``: "" if it passes, else kind of fault and details (`word: quasar`)."""

    text: str
    ok: bool
    reason: str = ""

    @property
    def kind(self) -> str:
        """The kind of fault of the sentence; "" if it passes.

        ``word``: not a word of the stories; ``grammar``: matches no sentence template; ``article``: a instead of an;
        ``fit``: words that do not fit together; ``fact``: contradicts the story;
        ``pronoun``: does not refer to the previous subject;
        ``unknown``: someone or something was not introduced; ``again``: introduced twice.
        """
        return self.reason.partition(":")[0]


@dataclass(frozen=True)
class Report:
    """The result of checking a text. ``num_fragments``: incomplete sentences at its start and end, which are not checked."""

    verdicts: tuple[Verdict, ...]
    num_fragments: int = 0

    @cached_property
    def num_ok(self) -> int:
        """Number of sentences that pass."""
        return sum(verdict.ok for verdict in self.verdicts)

    @property
    def pass_rate(self) -> float:
        """The share of sentences that pass, from 0 to 1; 0 for a text without sentences."""
        return self.num_ok / len(self.verdicts) if self.verdicts else 0.0

    @cached_property
    def reasons(self) -> Counter[str]:
        """Number of faulty sentences for each kind of fault (see `Verdict.kind`)."""
        return Counter(verdict.kind for verdict in self.verdicts if not verdict.ok)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A sentence template as a regular expression.

    ``keys``: for each group, the key of the slot that it matches, such as ``O.adj``; ``a`` for the article before a word.
    """

    line: Line
    by_pronoun: bool
    expression: str
    keys: tuple[str, ...]
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Parse:
    """One way to parse a sentence: the facts that it claims, as (key, value), and the line (template) that it matches."""

    claims: tuple[tuple[str, str], ...]
    line: Line
    by_pronoun: bool


def check(text: str) -> Report:
    """Check every complete sentence of ``text``: one story, several, or part of one.

    A sentence that opens a story ("Once upon a time ...") starts a new story. If the text begins inside a story,
    people and things need not be introduced there.
    """
    parts = _sentences.split(text)
    readings = [_read(sentence) for sentence in parts.sentences]
    verdicts: list[Verdict] = []
    start = 0
    for end in range(1, len(readings) + 1):
        if end == len(readings) or any(reading.line.starts for reading in readings[end][0]):
            verdicts += _judge(parts.sentences[start:end], readings[start:end])
            start = end
    return Report(tuple(verdicts), len(parts.fragments))


def _judge(sentences: list[str], understood: list[tuple[list[_Parse], str]]) -> list[Verdict]:
    """The verdicts for the sentences of one story. ``understood``: for each, its parses and its fault if it has none."""
    votes = _votes(readings for readings, _ in understood)
    known: set[str] | None = set() if any(r.line.starts for r in understood[0][0]) else None
    topic: str | None = "?"
    verdicts = []
    for sentence, (readings, fault) in zip(sentences, understood, strict=True):
        if not readings:
            # An unparsed sentence may have introduced anybody and may be about anybody.
            known, topic = None, "?"
            verdicts.append(Verdict(sentence, ok=False, reason=fault))
            continue
        faults = [_fault(reading, votes, known, topic) for reading in readings]
        best = min(range(len(readings)), key=lambda i: bool(faults[i]))
        line = readings[best].line
        if known is not None:
            known |= line.introduces
        topic = line.topic
        verdicts.append(Verdict(sentence, ok=not faults[best], reason=faults[best]))
    return verdicts


def _fault(reading: _Parse, votes: dict[str, dict[str, float]], known: set[str] | None, topic: str | None) -> str:
    """What is wrong with a parsed sentence in its story, such as `fit: ripe does not go with kite`; "" if nothing.

    ``known``: keys introduced so far (None: unknown). ``topic``: the role that a pronoun refers to ("?": unknown).
    """
    world, line = _world.load(), reading.line
    own: dict[str, str] = {}
    for key, value in reading.claims:
        if own.setdefault(key, value) != value:
            return f"fact: {slot_name(key)} is both {_shown(key, own[key])} and {_shown(key, value)}"
        rivals = votes[key]
        others = [other for other in rivals if other != value]
        if any(rivals[other] >= rivals[value] for other in others):
            elsewhere = ", ".join(_shown(key, other) for other in others)
            return f"fact: {slot_name(key)} is {_shown(key, value)} here, {elsewhere} elsewhere"
    for key, value in own.items():
        parent = world.parents.get(key)
        if parent is not None:
            basis = own.get(parent) or _winner(votes.get(parent))
            if basis is not None and not world.fits(key, value, basis):
                return f"fit: {value} does not go with {basis}"
    if reading.by_pronoun and topic not in ("?", line.subject):
        return "pronoun: it does not refer to the subject of the previous sentence"
    if known is not None:
        strangers = (line.mentions & _introducible()) - line.introduces - known
        if strangers:
            first = min(strangers)
            return f"unknown: {own.get(first) or slot_name(first)} was not introduced"
        if line.introduces & known:
            return "again: someone or something is introduced twice"
    return ""


def _shown(key: str, value: str) -> str:
    """What messages call the value of a key."""
    return GENDERS[value] if key.endswith(".gender") else value


def _votes(story: Iterable[list[_Parse]]) -> dict[str, dict[str, float]]:
    """For each key, how many sentences claim each value. A sentence with several parses divides its vote among them."""
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for readings in story:
        for reading in readings:
            for key, value in set(reading.claims):
                votes[key][value] += 1 / len(readings)
    return votes


def _winner(rivals: dict[str, float] | None) -> str | None:
    return max(rivals, key=lambda value: rivals[value]) if rivals else None


def _read(sentence: str) -> tuple[list[_Parse], str]:
    """All ways to parse a sentence and, if there are none, what is wrong with the sentence (else "")."""
    words = frozenset(_WORD.findall(sentence))
    for word in words:
        if word not in vocabulary() and word.lower() not in vocabulary():
            return [], f"word: {word}"
    if _MISSPACED.search(sentence):
        return [], "grammar: spaces"
    plain = _lowered(sentence)
    if plain is None:
        return [], "grammar: no capital at the start"
    readings, fault = [], "grammar: no such sentence"
    for pattern in _candidates(frozenset(_WORD.findall(plain))):
        match = _compiled(pattern.expression).fullmatch(plain)
        if match is None:
            continue
        claims = _claims(pattern, match)
        if isinstance(claims, str):
            fault = claims
        else:
            readings.append(_Parse(claims, pattern.line, pattern.by_pronoun))
    return readings, "" if readings else fault


def _lowered(sentence: str) -> str | None:
    """The sentence with a lower-case start, unless it starts with a name or "I"; None if it has no capital at the start."""
    at = 1 if sentence.startswith('"') else 0
    word = _WORD.match(sentence, at)
    if word is None or not word[0][0].isupper():
        return None
    if word[0] in _world.load().genders or word[0] == "I":
        return sentence
    return sentence[:at] + sentence[at].lower() + sentence[at + 1 :]


def _claims(pattern: _Pattern, match: re.Match[str]) -> tuple[tuple[str, str], ...] | str:
    """The facts that a matched sentence claims, as (key, value), or as one text what is wrong with a word in it."""
    world = _world.load()
    claims: list[tuple[str, str]] = []
    pending = ""
    for key, value in zip(pattern.keys, match.groups(), strict=True):
        if value is None:
            continue
        if key == "a":
            pending = value
            continue
        if pending and pending != article(value):
            return f"article: {pending} {value}"
        pending = ""
        pronoun = _PRONOUN_KEY.match(key)
        if pronoun:
            role, form = pronoun.groups()
            genders = [g for g, forms in PRONOUNS.items() if forms[form] == value and g != "n"]
            claims.append((f"{role}.gender", genders[0]))
            continue
        if value not in _domain(key):
            return f"fit: {value}"
        claims.append((key, value))
        if key in _lines.GENDERED.values():
            claims.append((f"{key.split('.')[0]}.gender", world.genders[value]))
    return tuple(dict.fromkeys(claims))


@cache
def vocabulary() -> frozenset[str]:
    """All words that can occur in the stories, as they are written inside a sentence."""
    world = _world.load()
    words = {word for values in world.domains.values() for value in values for word in _WORD.findall(value)}
    words |= {word for forms in PRONOUNS.values() for word in forms.values()} | {"a", "an"}
    for pattern in _patterns():
        words.update(_WORD.findall(re.sub(r"\(\[.*?\]\+\)|\(\?:|\\", " ", pattern.expression)))
    return frozenset(words)


@cache
def _domain(key: str) -> frozenset[str]:
    return frozenset(_world.load().domains[key])


@cache
def _introducible() -> frozenset[str]:
    """The keys (people and things) that some sentence template introduces; only they must be introduced first."""
    return frozenset(key for pattern in _patterns() for key in pattern.line.introduces)


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


def _candidates(words: frozenset[str]) -> list[_Pattern]:
    """The sentence patterns whose fixed words (those outside slots) all occur among ``words``."""
    index = _index()
    return [pattern for word in (*words, "") for pattern in index.get(word, ()) if pattern.words <= words]


@cache
def _index() -> dict[str, list[_Pattern]]:
    """The sentence patterns by the rarest of their fixed words (those outside slots)."""
    patterns = _patterns()
    counts = Counter(word for pattern in patterns for word in pattern.words)
    index: dict[str, list[_Pattern]] = defaultdict(list)
    for pattern in patterns:
        index[min(pattern.words, key=lambda word: (counts[word], word), default="")].append(pattern)
    return index


@cache
def _patterns() -> tuple[_Pattern, ...]:
    lines = dict.fromkeys(line for plot in _lines.load() for beat in plot.beats for line in beat.lines)
    return tuple(_pattern(line, form) for line in lines for form in line.forms)


def _pattern(line: Line, form: Form) -> _Pattern:
    keys: list[str] = []
    expression = _expression(_world.load(), form.nodes, keys)
    fixed = frozenset(word for node in form.nodes if isinstance(node, str) for word in _WORD.findall(node))
    return _Pattern(line, form.by_pronoun, expression, tuple(keys), fixed)


def _expression(world: World, nodes: Sequence, keys: list[str]) -> str:
    """A regular expression for a template's words, slots and choices; appends the key of each of its groups to ``keys``."""
    text = []
    for node in nodes:
        if isinstance(node, Slot):
            if node.with_article:
                keys.append("a")
                text.append("(an?) ")
            keys.append(node.key)
            text.append(_group(world, node.key))
        elif isinstance(node, Choice):
            # A repeated branch only changes its probability.
            branches = dict.fromkeys(node.branches)
            text.append(f"(?:{'|'.join(_expression(world, branch, keys) for branch in branches)})")
        else:
            text.append(re.escape(node).replace(r"\ ", " "))
    return "".join(text)


def _group(world: World, key: str) -> str:
    """A regular expression group for a slot: matches any value of ``key``, and any other single word, to report it."""
    pronoun = _PRONOUN_KEY.match(key)
    if pronoun:
        return f"({'|'.join(dict.fromkeys(PRONOUNS[gender][pronoun[2]] for gender in 'fm'))})"
    if key in _lines.PERSONS:
        return "([A-Z][a-z]+)"
    longer = sorted((re.escape(v).replace(r"\ ", " ") for v in world.domains[key] if " " in v), key=len, reverse=True)
    return f"({'|'.join([*longer, '[a-z]+'])})"
