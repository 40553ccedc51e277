"""Render a chat template (Jinja, from a model folder, so from anybody) in a sandbox and under limits.

`python -P -m seedbed.tokenizer.template_rendering SECONDS` is a process that reads one RenderRequest from stdin and writes one
answer to stdout. It limits its own memory and processor time (SECONDS), because a template may loop or grow without end,
which the sandbox does not prevent. The result equals that of `apply_chat_template` of transformers.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from seedbed.tokenizer.render_request import MAX_CHARACTERS, MEMORY_LIMIT_BYTES, Rendered, RenderRequest

MARK_SIGNS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Characters that Unicode reserves for use inside a program. Two that no text of the chat contains mark control tokens."""
_REASONING = ("reasoning_content", "thinking", "reasoning")


class TooLongError(Exception):
    """A rendered chat has more than MAX_CHARACTERS."""


def rendered(request: RenderRequest) -> Rendered:
    """Render the chat of a request, in this process. A template that fails gives an answer with `problem`."""
    try:
        template = _compiled(request.source, request.now)
        if request.only_read:
            return Rendered()
        messages, tools, marks = list(map(normalised, request.messages)), request.tools, ""
        control = [*request.control, *written_tokens(template.environment, request.source, request.others)]
        if control:
            messages, tools, marks = _marked(messages, tools, control)
        parts = template.generate(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=request.add_generation_prompt,
            **request.variables,
        )
        return Rendered(text="".join(limited(parts)), marks=marks)
    except Exception as error:  # a template's expressions can raise anything that Python's operators raise
        return problem_of(error)


def problem_of(error: Exception) -> Rendered:
    """The answer for a template that raised an error while it was compiled or rendered."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return Rendered(problem="syntax", message=f"line {error.lineno}: {error.message}")
    if isinstance(error, MemoryError):
        return Rendered(problem="memory")
    if isinstance(error, TooLongError):
        return Rendered(problem="length")
    if isinstance(error, jinja2.TemplateError):
        return Rendered(problem="refused" if type(error) is jinja2.TemplateError else "failed", message=str(error))
    return Rendered(problem="failed", message=f"{type(error).__name__}: {error}")


def limited(parts: Iterator[str]) -> Iterator[str]:
    """The parts of a rendered chat. Raises TooLongError after MAX_CHARACTERS."""
    length = 0
    for part in parts:
        length += len(part)
        if length > MAX_CHARACTERS:
            raise TooLongError
        yield part


# ---------------------------------------------------------------------------------------------- messages and marks


def normalised(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without keys whose value is None, which many templates would print, and with the names of its reasoning."""
    kept = {key: value for key, value in message.items() if value is not None}
    reasoning = next((kept[key] for key in _REASONING if key in kept), None)
    return kept if reasoning is None else {"thinking": reasoning, **kept, "reasoning_content": reasoning}


def written_tokens(environment: jinja2.Environment, source: str, tokens: Sequence[str]) -> list[str]:
    """Those of the tokens that occur in the literal text of a template, so that it writes them itself."""
    if not tokens:
        return []
    tree = environment.parse(source)
    literal = [node.data for node in tree.find_all(nodes.TemplateData)]
    literal += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    return [token for token in tokens if not token.isspace() and any(token in text for text in literal)]


def _marked(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, control: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None, str]:
    """The messages and tools with each control token between two marks, in keys such as names of parameters, too; and the marks.

    What the assistant wrote is not marked: its control tokens are its own.
    """
    everything = json.dumps([messages, tools], ensure_ascii=False)
    free = [sign for sign in MARK_SIGNS if sign not in everything]
    begin, end = free[:2] if len(free) >= 2 else MARK_SIGNS[:2]
    drop = str.maketrans(dict.fromkeys((begin, end)))
    pattern = re.compile("|".join(re.escape(token) for token in sorted(control, key=len, reverse=True)))

    def mark(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda found: f"{begin}{found[0]}{end}", value.translate(drop))
        if isinstance(value, dict):
            return {mark(key): mark(each) for key, each in value.items()}
        return [mark(each) for each in value] if isinstance(value, list) else value

    own = [message if message.get("role") == "assistant" else mark(message) for message in messages]
    return own, mark(tools), begin + end


# ---------------------------------------------------------------------------------------------- the environment


@lru_cache(maxsize=4)
def _compiled(source: str, now: str) -> jinja2.Template:
    return environment(datetime.fromisoformat(now) if now else None).from_string(source)


def environment(now: datetime | None, generation_marks: tuple[str, str] | None = None) -> ImmutableSandboxedEnvironment:
    """The environment of a chat template, as transformers defines it: sandboxed, with a few functions of its own.

    `generation_marks`: texts to write at the beginning and the end of each `{% generation %}` block.
    """
    made = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, "jinja2.ext.loopcontrols"])
    made.extend(generation_marks=generation_marks)
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = lambda form: (now or datetime.now().astimezone()).strftime(form)
    made.globals["dict"] = _Dict()
    made.globals["namespace"] = _GuardedNamespace
    return made


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with a short way for what templates do most: keys of dictionaries and plain methods of texts."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As in the sandbox; it is asked only about what could be unsafe."""
        kind = type(obj)
        if kind is dict and attribute not in _DICT_NAMES:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if (kind is str and attribute in _TEXT_METHODS) or (kind is LoopContext and attribute in _LOOP_NAMES):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


_DICT_NAMES = frozenset(dir(dict))
_LOOP_NAMES = frozenset(("first", "last", "index", "index0", "length", "previtem", "nextitem"))
_TEXT_METHODS = frozenset(("startswith", "endswith", "strip", "lstrip", "rstrip", "split", "replace", "lower", "upper"))


class _GenerationTag(Extension):
    """The block `{% generation %} ... {% endgeneration %}` around what the assistant writes. Its content is rendered as usual."""

    tags: set[str] = {"generation"}  # noqa: RUF012  # the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        marks: tuple[str, str] | None = getattr(self.environment, "generation_marks", None)
        if marks:
            begin, end = (nodes.Output([nodes.TemplateData(mark)]) for mark in marks)
            body = [begin, *body, end]
        return nodes.Scope(body, lineno=line)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without the HTML escapes of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


class _Dict:
    """`dict` in templates: makes dictionaries, and gives no access to the class."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        """As dict.fromkeys."""
        return dict.fromkeys(keys, value)


class _GuardedNamespace(Namespace):
    """`namespace` in templates, without names that start with an underscore, which could reach into Python."""

    def __init__(self, /, *args: Any, **values: Any) -> None:
        given = dict(*args, **values)
        for name in given:
            _refuse_private(name)
        super().__init__(given)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"A template may not set {name!r}.")


# ---------------------------------------------------------------------------------------------- the process


def _limit_resources(cpu_s: int) -> None:
    """Limit the memory and the processor time of this process. Some systems do not know all limits."""
    for which, limit in ((resource.RLIMIT_AS, MEMORY_LIMIT_BYTES), (resource.RLIMIT_CPU, cpu_s)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (limit, limit))


def main(cpu_s: int) -> int:
    """Answer the request on stdin, in at most `cpu_s` seconds of processor time."""
    _limit_resources(cpu_s)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=RenderRequest)
    sys.stdout.buffer.write(msgspec.json.encode(rendered(request)))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
