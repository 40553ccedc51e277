"""Parse the plot files: the plots of stories, and their sentence templates (lines) with slots for words.

The notation of a line: ``(a|b|)`` is a choice, ``<name>`` a choice from ``lists.toml``, ``{key}`` a slot.
``{A!}`` mentions a role as the subject: by name, or by pronoun if the previous sentence had the same subject.
``{A+}`` introduces a role, ``{A^}`` makes it the topic but always mentions it by name. ``{O}`` is short for
adjective and noun, ``{inP}`` and ``{toP}`` for a place with its preposition, ``{whoA}`` for "a kind girl". ``a`` before
a slot becomes ``an`` if necessary. Lines begin in lower case; the first letter is capitalised when a sentence is
generated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from seedbed.data.stories import world as _world

PERSONS = ("A", "B")
GENDERED = {"A": "A", "B": "B", "K": "K.n"}
"""Roles (such as A, the hero) that pronouns can refer to, and the slot whose word decides their gender."""
PAIR = "AB"

_PHRASES = {
    "inP": "{P.prep} the {P}",
    "toP": "to the {P}",
    "whoA": "(a {A.trait} {A.kind}|a {A.kind})",
    "whoB": "(a {B.trait} {B.kind}|a {B.kind})",
}
_MACROS = {"K": "{K.n}", "AB": "{A} and {B}"}
_MENTIONS = {"A": "{A}", "B": "{B}", "K": "{A.his} {K.n}", "C": "the {C.n}", PAIR: "{A} and {B}"}
_PRONOUN_MENTIONS = {"A": "{A.he}", "B": "{B.he}", "K": "{K.he}", "C": "it", PAIR: "they"}
_FULL = ("O", "P", "F", "C", "J", "G")
# After its first mention, a thing or a place may be named without its adjective.
_KNOWN = {"O": "the ({O.adj} |{O.adj} |){O.n}", "P": "the ({P.adj} |){P.n}"}
_PHRASE = re.compile(r"\{((?:in|to)P|who[AB])\}")
_DEFINITE = re.compile(r"the \{([OP])\}")
_TOKEN = re.compile(r"\{([^}]+)\}|<(\w+)>|([(|)])|([^{<(|)]+)")
_MARKED = re.compile(r"\{([\w.]+)([!+^]*)\}")
_SLOT = re.compile(r"\{([\w.]+)\}")


@dataclass(frozen=True)
class Slot:
    """A placeholder for a word in a sentence template. ``with_article``: ``a`` or ``an`` precedes the word."""

    key: str
    with_article: bool = False


@dataclass(frozen=True)
class Choice:
    """A place in a sentence template where one of several sequences of text and slots is chosen."""

    branches: tuple[Sequence, ...]


Node = str | Slot | Choice
Sequence = tuple[Node, ...]


@dataclass(frozen=True)
class Form:
    """A sentence template whose subject is a name, or a pronoun (``by_pronoun``, which refers to the sentence before)."""

    nodes: Sequence
    by_pronoun: bool


@dataclass(frozen=True)
class Line:
    """A sentence template. The next sentence may refer to its ``topic`` (a role, such as A) by a pronoun.

    ``introduces`` and ``mentions``: keys of people and things. ``starts``: whether the sentence opens a story.
    """

    source: str
    forms: tuple[Form, ...]
    subject: str | None
    topic: str | None
    introduces: frozenset[str]
    mentions: frozenset[str]
    starts: bool


@dataclass(frozen=True)
class Beat:
    """A step of a plot: its alternative sentence templates, and the probability that the step occurs."""

    lines: tuple[Line, ...]
    chance: float


@dataclass(frozen=True)
class Plot:
    """A plot: a sequence of beats (steps). ``roles``: the roles that it needs, with their allowed tags (none: all)."""

    name: str
    weight: int
    roles: tuple[tuple[str, tuple[str, ...]], ...]
    beats: tuple[Beat, ...]


@cache
def load() -> tuple[Plot, ...]:
    """All plots of the stories, sorted by name."""
    lists = _world.read("lists.toml")
    common = _beats(_world.read("plots/shared.toml"), lists)
    paths = sorted((_world.FOLDER / "plots").glob("*.toml"))
    return tuple(_plot(path.stem, common, lists) for path in paths if path.stem != "shared")


def keys(nodes: Sequence) -> Iterator[Slot]:
    """Yield every slot in ``nodes`` and in their choices, in reading order."""
    for node in nodes:
        if isinstance(node, Slot):
            yield node
        elif isinstance(node, Choice):
            for branch in node.branches:
                yield from keys(branch)


def expand(nodes: Sequence) -> Iterator[Sequence]:
    """Yield every sequence without choices that the choices in ``nodes`` allow."""
    if not nodes:
        yield ()
        return
    heads = (b for branch in nodes[0].branches for b in expand(branch)) if isinstance(nodes[0], Choice) else [nodes[:1]]
    tails = list(expand(nodes[1:]))
    for head in heads:
        for tail in tails:
            yield head + tail


def leading(nodes: Sequence) -> Iterator[Sequence]:
    """Yield the variants of ``nodes`` with the choices before the first word made."""
    if nodes and isinstance(nodes[0], Choice):
        for branch in nodes[0].branches:
            yield from leading(branch + nodes[1:])
    elif nodes and nodes[0] == "":
        yield from leading(nodes[1:])
    else:
        yield nodes


def _plot(name: str, common: dict[str, tuple[Line, ...]], lists: dict[str, str]) -> Plot:
    data = _world.read(f"plots/{name}.toml")
    lines = common | _beats(data, lists)
    roles = []
    for word in data["roles"].split():
        role, _, tags = word.partition(":")
        roles.append((role, tuple(tags.split("|")) if tags else ()))
    beats = []
    for entry in data["beats"]:
        beat, _, chance = entry.partition("?")
        beats.append(Beat(lines[beat], float(chance or 1)))
    return Plot(name, data["weight"], tuple(roles), tuple(beats))


def _beats(data: dict[str, dict[str, str]], lists: dict[str, str]) -> dict[str, tuple[Line, ...]]:
    tables = {name: beat for name, beat in data.items() if isinstance(beat, dict)}
    return {
        name: tuple(_line(text, name.startswith("start"), lists) for text in beat["lines"].strip().splitlines())
        for name, beat in tables.items()
    }


def _line(source: str, starts: bool, lists: dict[str, str]) -> Line:
    subject = topic = None
    text = _PHRASE.sub(lambda match: _PHRASES[match[1]], source)
    if not starts:
        text = _DEFINITE.sub(lambda match: _KNOWN[match[1]], text)
    introduces: set[str] = set()
    for key, marks in _MARKED.findall(source):
        role = key if key == PAIR else key.split(".")[0]
        if "!" in marks:
            subject = role
        if "+" in marks:
            introduces.add(f"{key}.n" if key in _FULL else key)
        if topic is None and ("!" in marks or "^" in marks):
            topic = role
    forms = [Form(_parse(_fill(text, _MENTIONS), lists), by_pronoun=False)]
    if subject is not None:
        forms.append(Form(_parse(_fill(text, _PRONOUN_MENTIONS), lists), by_pronoun=True))
    mentions = frozenset(slot.key for form in forms for slot in keys(form.nodes))
    return Line(source, tuple(forms), subject, topic, frozenset(introduces), mentions, starts)


def _fill(source: str, subjects: dict[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        key, marks = match.groups()
        if "!" in marks:
            return subjects[key]
        if key in _MACROS:
            return _MACROS[key]
        return f"{{{key}.adj}} {{{key}.n}}" if key in _FULL else f"{{{key}}}"

    return _MARKED.sub(replace, source)


def _parse(text: str, lists: dict[str, str]) -> Sequence:
    tokens = list(_TOKEN.finditer(text))
    nodes, end = _branches(tokens, 0, lists)
    if end != len(tokens) or len(nodes) != 1:
        raise ValueError(f"unbalanced brackets in {text!r}")
    return nodes[0]


def _branches(tokens: list[re.Match[str]], at: int, lists: dict[str, str]) -> tuple[list[Sequence], int]:
    """The branches of the choice whose tokens begin at ``at``, and the position of its closing bracket (or the end)."""
    branches: list[list[Node]] = [[]]
    while at < len(tokens) and tokens[at][0] != ")":
        slot, name, bracket, text = tokens[at].groups()
        here = branches[-1]
        if slot:
            previous = here[-1] if here else ""
            if isinstance(previous, str) and re.search(r"(^|\W)a $", previous):
                here[-1:] = [previous[:-2]] if previous[:-2] else []
                here.append(Slot(slot, with_article=True))
            else:
                here.append(Slot(slot))
        elif name:
            inner, _ = _branches(list(_TOKEN.finditer(lists[name])), 0, lists)
            here.append(Choice(tuple(inner)))
        elif bracket == "(":
            inner, at = _branches(tokens, at + 1, lists)
            here.append(Choice(tuple(inner)))
        elif bracket == "|":
            branches.append([])
        elif here and isinstance(here[-1], str):
            here[-1] += text
        else:
            here.append(text)
        at += 1
    return [tuple(branch) for branch in branches], at
