"""The chat templates of a tokenizer, each verified once, with the process that renders it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seedbed.checkpoint.tokenizer_files import TEMPLATE, TEMPLATES, TOKENIZER_CONFIG, TOKENS_MAP
from seedbed.curation.record import Record
from seedbed.curation.rendering.conversations import UnreadableError, messages_of, tools_of, trained_turns
from seedbed.curation.rendering.encoding import SpanEncoder
from seedbed.curation.rendering.probes import features_of
from seedbed.curation.rendering.protocol import Answer, Chat, Setup
from seedbed.curation.rendering.template_process import TemplateProcess
from seedbed.curation.rendering.verification import TemplateFacts, verified, with_facts
from seedbed.errors import SeedbedError, UsageError
from seedbed.tokenizer.chat_template import TOOL_USE, ChatTemplate
from seedbed.tokenizer.chatml import CHATML, CONTROL_TOKENS
from seedbed.tokenizer.model_files import DEFAULT_TEMPLATE, special_tokens
from seedbed.tokenizer.tokenizer import Tokenizer

_DATE = "strftime_now"


class ChatProgram:
    """One chat template: what is known about it, and a process that renders it."""

    def __init__(self, setup: Setup, tokenizer: Tokenizer, encoder: SpanEncoder, cache: Path | None) -> None:
        """Raises SeedbedError if the template fails, or if what is trained cannot be told for certain."""
        self.process = TemplateProcess(setup)
        try:
            self.facts: TemplateFacts = verified(setup, tokenizer, encoder, self.process, "the tokenizer", cache)
        except BaseException:
            self.process.close()
            raise
        self._setup = with_facts(setup, self.facts)
        self.process.set_up(self._setup)
        self._aside: TemplateProcess | None = None
        self._writes_date = _DATE in setup.source

    def chat(self, record: Record, *, whole: bool = False) -> Chat:
        """What to ask for a record. `whole`: one sample without spans. Raises UnreadableError with a reason to count."""
        if not self.facts.writes_calls and any(message.tool_calls for message in record.messages or ()):
            raise UnreadableError("the chat template writes no tool calls")
        messages = messages_of(record, self.facts.arguments)
        for feature in features_of(messages) if self.facts.uncertain else ():
            if feature in self.facts.uncertain:
                raise UnreadableError(f"what is trained cannot be told for certain in chats with {feature}")
        return Chat(
            messages=messages,
            tools=tools_of(record),
            task="samples",
            turns=trained_turns(record),
            whole=whole,
            date=_day(record.provenance.time) if self._writes_date else "",
        )

    def unwritten(self, record: Record) -> list[str]:
        """What a chat has that the template does not write, as phrases to count."""
        found = [
            ("reasoning", not self.facts.writes_reasoning and any(each.reasoning for each in record.messages or ())),
            ("list of tools", not self.facts.writes_tools and bool(record.tools)),
        ]
        return [f"chats whose {what} the chat template does not write" for what, missing in found if missing]

    def ask_aside(self, chats: Sequence[Chat]) -> list[Answer]:
        """The answers to chats while others wait for theirs, from a second process."""
        if self._aside is None:
            self._aside = TemplateProcess(self._setup)
        return self._aside.ask(chats)

    def forget(self) -> None:
        """Do not wait for answers any more."""
        self.process.forget()

    def close(self) -> None:
        """End the processes."""
        self.process.close()
        if self._aside is not None:
            self._aside.close()


class ChatPrograms:
    """The chat templates of a tokenizer by name. Each is verified when it is first needed."""

    def __init__(
        self, tokenizer: Tokenizer, encoder: SpanEncoder, *, template: str | None, cache: Path | None = None
    ) -> None:
        self._tokenizer, self._encoder, self._cache = tokenizer, encoder, cache
        self._variables = _variables(tokenizer)
        self._templates = template_of(tokenizer) if template is None else ChatTemplate({DEFAULT_TEMPLATE: template})
        self._programs: dict[str, ChatProgram] = {}

    def of(self, *, has_tools: bool) -> ChatProgram:
        """The template for a chat with or without tools. Raises SeedbedError if it cannot be used, or if there is none."""
        if self._templates is None:
            raise SeedbedError(
                "The tokenizer has no chat template, so chats cannot be turned into tokens.",
                "Use the tokenizer of a chat model (such as an Instruct model), or give a file with a chat template.",
            )
        name = self._templates.chosen(has_tools=has_tools)
        if name not in self._programs:
            setup = Setup(
                source=self._templates.source(has_tools=has_tools),
                variables=self._variables,
                control=sorted(self._tokenizer.control),
                others=other_tokens(self._tokenizer),
                for_tools=name == TOOL_USE,
            )
            self._programs[name] = ChatProgram(setup, self._tokenizer, self._encoder, self._cache)
        return self._programs[name]

    @property
    def multiply(self) -> bool:
        """Whether a chat may give several samples."""
        return not self._programs or any(each.facts.per_turn for each in self._programs.values())

    @property
    def facts(self) -> dict[str, TemplateFacts]:
        """What is known about the templates that were needed so far, by name."""
        return {name: program.facts for name, program in self._programs.items()}

    def forget(self) -> None:
        """Do not wait for answers any more."""
        for each in self._programs.values():
            each.forget()

    def close(self) -> None:
        """End the processes."""
        for each in self._programs.values():
            each.close()


def other_tokens(tokenizer: Tokenizer) -> list[str]:
    """The added tokens that are not control tokens, without those that are white space."""
    added = (str(token["content"]) for token in tokenizer.spec.get("added_tokens") or ())
    return [token for token in added if token not in tokenizer.control and not token.isspace()]


def template_of(tokenizer: Tokenizer) -> ChatTemplate | None:
    """The chat templates in a tokenizer's files, else ChatML if it has its control tokens, else None."""
    contents = tokenizer.as_files()
    config = _config(contents)
    sources = dict(_sources(contents, config))
    if not sources and all(token in tokenizer.special for token in CONTROL_TOKENS):
        sources = {DEFAULT_TEMPLATE: CHATML}
    return ChatTemplate(sources, where="the tokenizer") if sources else None


def _variables(tokenizer: Tokenizer) -> dict[str, Any]:
    return dict(special_tokens(_config(tokenizer.as_files())))


def _config(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """tokenizer_config.json, with what only special_tokens_map.json names."""
    found: dict[str, Any] = {}
    for name in (TOKENS_MAP, TOKENIZER_CONFIG):
        value = json.loads(contents.get(name) or b"{}")
        found |= {key: each for key, each in value.items() if each is not None}
    return found


def _sources(contents: Mapping[str, bytes], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names and texts of the templates: those in files of their own, else those in tokenizer_config.json."""
    if TEMPLATE in contents:
        yield DEFAULT_TEMPLATE, contents[TEMPLATE].decode("utf-8")
    for path, content in sorted(contents.items()):
        if path.startswith(TEMPLATES + "/"):
            yield Path(path).stem, content.decode("utf-8")
    found = config.get("chat_template")
    if TEMPLATE in contents or found is None:
        return
    if isinstance(found, str):
        yield DEFAULT_TEMPLATE, found
        return
    try:
        pairs = found.items() if isinstance(found, dict) else [(each["name"], each["template"]) for each in found]
        yield from msgspec.convert(list(pairs), list[tuple[str, str]])
    except (TypeError, KeyError, ValueError, msgspec.ValidationError):
        raise UsageError(
            "The chat_template of the tokenizer is neither a text nor a list of named texts.",
            f"Correct {TOKENIZER_CONFIG}, or put the template into a file {TEMPLATE}.",
        ) from None


def _day(time: str | None) -> str:
    """The day of a time such as 2026-11-21T10:15:00Z; "" if there is none."""
    from datetime import date

    try:
        return date.fromisoformat((time or "")[:10]).isoformat()
    except ValueError:
        return ""
