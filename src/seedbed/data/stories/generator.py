"""Generate short stories; each is a pure function of a seed and its index."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

from seedbed.data.stories import lines as _lines
from seedbed.data.stories import world as _world
from seedbed.data.stories.lines import Form, Line, Plot, Sequence, Slot
from seedbed.data.stories.world import PRONOUNS, World, article

VERSION = "5"
"""Change this when a change of the code or word lists gives different stories: it is part of dataset fingerprints."""

_PRONOUN_SHARE = 0.35
_HUMAN_SHARES = {"A": 0.8, "B": 0.5}
_MAX_VARIANTS = 96
# Powers of a uniform draw: a few names, plots and lines are frequent, as in children's books, and many are rare.
_NAME_SKEW, _PLOT_SKEW, _LINE_SKEW = 1.1, 4.5, 3

Part = str | tuple[str, ...]
_Draw = tuple[str, str | None, dict[str, tuple[str, ...]], int]


@dataclass(frozen=True)
class _PreparedLine:
    """A line (sentence template) prepared for generation: its variants with the subject by name, and by pronoun."""

    by_name: tuple[tuple[Part, ...], ...]
    by_pronoun: tuple[tuple[Part, ...], ...]
    subject: str | None
    topic: str | None


@dataclass(frozen=True)
class _PreparedPlot:
    """A plot prepared for generation: its beats, and how its facts (who, what, where) are drawn.

    Each of ``draws`` is (key, key that it depends on or None, options, preference for the first options).
    """

    people: tuple[str, ...]
    draws: tuple[_Draw, ...]
    articles: tuple[str, ...]
    capitalised: tuple[str, ...]
    beats: tuple[tuple[float, tuple[_PreparedLine, ...]], ...]


def story(seed: int, index: int) -> str:
    """The story with number ``index`` of the corpus that ``seed`` selects: one paragraph, without a newline.

    Independent of earlier calls. Negative numbers raise ValueError.
    """
    return next(stories(seed, 1, index))


def stories(seed: int, count: int, start: int = 0) -> Iterator[str]:
    """Yield the stories ``start`` to ``start + count - 1`` of the corpus that ``seed`` selects."""
    if seed < 0 or start < 0 or count < 0:
        raise ValueError("seed, start and count must not be negative")
    rng = random.Random(0)
    for index in range(start, start + count):
        rng.seed((seed << 64) | index)
        yield _generate(rng.random)


def _generate(draw: Callable[[], float]) -> str:
    plots = _prepared_plots()
    prepared = plots[int(draw() ** _PLOT_SKEW * len(plots))]
    facts = _draw_facts(prepared, draw)
    text: list[str] = []
    topic: str | None = None
    for chance, lines in prepared.beats:
        if chance < 1 and draw() >= chance:
            continue
        line = lines[int(draw() ** _LINE_SKEW * len(lines))]
        pronoun = line.subject is not None and line.subject == topic and draw() < _PRONOUN_SHARE
        variants = line.by_pronoun if pronoun else line.by_name
        text += [
            part if isinstance(part, str) else part[int(draw() * len(part))]
            for part in variants[int(draw() * len(variants))]
        ]
        topic = line.topic
    return ("".join(text) % facts)[:-1]


def _draw_facts(prepared: _PreparedPlot, draw: Callable[[], float]) -> dict[str, str]:
    """Draw the facts of a story by key: people, things and places. ``draw`` returns uniform numbers in [0, 1).

    The first options are more frequent, because the uniform numbers are raised to a power.
    """
    people, kin = _people()
    facts: dict[str, str] = {}
    for role in prepared.people:
        group = people[role][draw() < _HUMAN_SHARES[role]]
        facts |= group[int(len(group) * draw() ** _NAME_SKEW)]
    for key, parent, options, skew in prepared.draws:
        values = options[facts[parent] if parent else ""]
        facts[key] = values[int(len(values) * draw() ** skew)]
    if "K.n" in facts:
        facts |= kin[facts["K.n"]]
    for key in prepared.articles:
        word = facts[key]
        facts[f"a {key}"] = f"{article(word)} {word}"
        facts[f"^a {key}"] = f"{article(word).capitalize()} {word}"
    for key in prepared.capitalised:
        facts[f"^{key}"] = facts[key].capitalize()
    return facts


@cache
def _people() -> tuple[dict[str, tuple[list[dict[str, str]], list[dict[str, str]]]], dict[str, dict[str, str]]]:
    """The facts that follow from a character, such as pronouns: for each role (of animals, of humans); for each relative."""
    world = _world.load()

    def facts(role: str, noun: str) -> dict[str, str]:
        pronouns = PRONOUNS[world.genders[noun]]
        forms = {f"{role}.{form}": word for form, word in pronouns.items()}
        return forms | {f"^{key}": word.capitalize() for key, word in forms.items()}

    def group(role: str, *tags: str) -> list[dict[str, str]]:
        return [{role: name} | facts(role, name) for tag in tags for name in world.tagged[role][tag]]

    people = {r: (group(r, "she_animal", "he_animal"), group(r, "girl", "boy")) for r in _lines.PERSONS}
    return people, {noun: facts("K", noun) for noun in world.domains["K.n"]}


@cache
def _prepared_plots() -> tuple[_PreparedPlot, ...]:
    """The prepared plots, each repeated as often as its weight says."""
    world = _world.load()
    return tuple(prepared for plot in _lines.load() for prepared in [_prepare_plot(world, plot)] * plot.weight)


def _prepare_plot(world: World, plot: Plot) -> _PreparedPlot:
    slots = [s for beat in plot.beats for line in beat.lines for form in line.forms for s in _lines.keys(form.nodes)]
    wanted = {slot.key for slot in slots}
    for key in list(wanted):
        while key in world.parents:
            key = world.parents[key]
            wanted.add(key)
    roles = [role for role, _ in plot.roles]
    without_role = {key for key in wanted if key.split(".")[0] not in roles}
    if without_role:
        raise ValueError(f"plot {plot.name} has no role for {', '.join(sorted(without_role))}")
    draws: list[_Draw] = []
    for role, tags in plot.roles:
        keys = [key for key in world.domains if key in wanted and "." in key and key.split(".")[0] == role]
        for key in sorted(keys, key=lambda key: _depth(world, key)):
            if not world.root(key):
                draws.append((key, world.parents[key], world.options[key], 7))
            elif tags:
                ranks = zip_longest(*(world.tagged[role][tag] for tag in tags))
                nouns = dict.fromkeys(noun for rank in ranks for noun in rank if noun is not None)
                draws.append((key, None, {"": tuple(nouns)}, 9))
            else:
                draws.append((key, None, {"": world.domains[key]}, 7))
    articles = dict.fromkeys(slot.key for slot in slots if slot.with_article)
    firsts = [v[0] for beat in plot.beats for line in beat.lines for f in line.forms for v in _lines.leading(f.nodes)]
    capitalised = dict.fromkeys(
        n.key for n in firsts if isinstance(n, Slot) and n.key in world.domains and "." in n.key
    )
    beats = tuple((beat.chance, tuple(_prepare_line(line) for line in beat.lines)) for beat in plot.beats)
    return _PreparedPlot(
        tuple(r for r in roles if r in _lines.PERSONS), tuple(draws), tuple(articles), tuple(capitalised), beats
    )


def _depth(world: World, key: str) -> int:
    return 1 + _depth(world, world.parents[key]) if key in world.parents else 0


@cache
def _prepare_line(line: Line) -> _PreparedLine:
    named = _variants(line.forms[0])
    return _PreparedLine(named, _variants(line.forms[1]) if line.subject else (), line.subject, line.topic)


def _variants(form: Form) -> tuple[tuple[Part, ...], ...]:
    """The variants of a sentence, capitalised: each a sequence of parts, a part being a text or several to choose from."""
    variants = []
    for nodes in _lines.leading(form.nodes):
        parts: list[Part] = []
        for node in (*_capitalised(nodes), " "):
            options = tuple(_pattern(n) for n in _lines.expand((node,)))
            if parts and _count(parts[-1]) * len(options) <= _MAX_VARIANTS:
                heads = (parts[-1],) if isinstance(parts[-1], str) else parts[-1]
                options = tuple(head + option for head in heads for option in options)
                parts.pop()
            parts.append(options[0] if len(options) == 1 else options)
        variants.append(tuple(parts))
    return tuple(variants)


def _count(part: Part) -> int:
    return 1 if isinstance(part, str) else len(part)


def _capitalised(nodes: Sequence) -> Sequence:
    """The template ``nodes`` with a capital first letter (after a quotation mark, if there is one)."""
    first = nodes[0]
    if isinstance(first, Slot):
        return nodes if first.key in _lines.PERSONS else (Slot(f"^{first.key}", first.with_article), *nodes[1:])
    assert isinstance(first, str), "lines.leading resolves the choices before the first word"
    if first == '"':
        return (first, *_capitalised(nodes[1:]))
    at = 1 if first.startswith('"') else 0
    return (first[:at] + first[at].upper() + first[at + 1 :], *nodes[1:])


def _pattern(nodes: Sequence) -> str:
    """Text and slots without choices as a %-pattern for the facts, such as `the %(O.n)s`."""
    text = []
    for node in nodes:
        if isinstance(node, Slot):
            capitalised = "^" if node.key.startswith("^") else ""
            key = node.key.removeprefix("^")
            text.append(f"%({capitalised}{'a ' if node.with_article else ''}{key})s")
        else:
            assert isinstance(node, str), "lines.expand resolves all choices"
            text.append(node.replace("%", "%%"))
    return "".join(text)
