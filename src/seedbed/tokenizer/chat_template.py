"""The chat template of a model folder: from messages to the text and the token ids that the model was trained on.

A folder has its template in chat_template.jinja (and named ones in additional_chat_templates/), or in tokenizer_config.json.
A template is a program from whoever made the model, so it runs in a sandbox in a process of its own, with limits of time,
memory and length (tokenizer/template_rendering.py).

Control tokens that stand in the text of a user, the system or a tool stay text: they are marked before the template is
rendered, and what is marked is encoded apart. This is the method of transformers' `sanitize_control_tokens`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from seedbed.errors import SeedbedError, UsageError
from seedbed.text import listed, printable, quoted, shorten
from seedbed.tokenizer.model_files import (
    DEFAULT_TEMPLATE,
    read_config,
    special_tokens,
    template_place,
    template_sources,
)
from seedbed.tokenizer.render_request import CPU_LIMIT_S, MEMORY_LIMIT_BYTES, Rendered, RenderRequest

TOOL_USE = "tool_use"
WAIT_LIMIT_S = 60.0
"""How long to wait for a rendered chat in all; on a busy machine, CPU_LIMIT_S of processor time can take so long."""
_COMMAND = (sys.executable, "-P", "-m", "seedbed.tokenizer.template_rendering")
_READS_TOOLS = re.compile(r"\btools\b")

Message = Mapping[str, Any]
"""A message of a chat: `role` (system, user, assistant or tool), `content`, and what else the template reads."""


class ChatTokens(Protocol):
    """The attributes and methods of a tokenizer that a chat needs (a Protocol)."""

    @property
    def control(self) -> frozenset[str]: ...
    @property
    def spec(self) -> dict[str, Any]: ...
    def encode(self, text: str) -> list[int]: ...
    def encode_with_control_tokens(self, text: str) -> list[int]: ...


class ChatTemplate:
    """The chat templates of a model folder, by name. `now` fixes the date that some templates write (default: today)."""

    def __init__(
        self,
        sources: Mapping[str, str],
        variables: Mapping[str, Any] | None = None,
        *,
        where: str = "the model",
        folder: Path | None = None,
        now: datetime | None = None,
    ) -> None:
        """`variables`: the special tokens by name, such as `bos_token`. `where`: the name of the model in messages.

        `folder`: where the templates are.
        """
        self._sources, self._variables = dict(sources), dict(variables or {})
        self._where, self._folder, self._now = where, folder, now

    @classmethod
    def of(cls, folder: Path, *, now: datetime | None = None) -> ChatTemplate | None:
        """The chat templates of a model folder; None if it has none. Raises SeedbedError if one cannot be read."""
        config = read_config(folder)
        sources = template_sources(folder, config)
        if not sources:
            return None
        return cls(sources, special_tokens(config), where=quoted(folder), folder=folder, now=now)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the templates; most folders have only `default`."""
        return tuple(self._sources)

    def chosen(self, *, has_tools: bool = False, name: str | None = None) -> str:
        """The name of the template to use: `name`, else `tool_use` for a chat with tools, else `default`.

        These are the rules of transformers' `get_chat_template`; a single template is used whatever its name is. Raises
        UsageError if there is no such template.
        """
        usual = TOOL_USE if has_tools and TOOL_USE in self._sources else DEFAULT_TEMPLATE
        wanted = usual if name is None else name
        if wanted in self._sources:
            return wanted
        if name is None and len(self._sources) == 1:
            return self.names[0]
        names = listed([quoted(each) for each in self.names])
        if name is None:
            raise UsageError(
                f"{self._where} has several chat templates, and none is named {quoted(wanted)}.",
                f"Choose one with --template: {names}.",
            )
        raise UsageError(
            f"{self._where} has no chat template named {quoted(wanted)}.",
            f"Its only template is named {names}." if len(self._sources) == 1 else f"Its templates are named {names}.",
        )

    def source(self, *, has_tools: bool = False, name: str | None = None) -> str:
        """The text of the template that `chosen` names. Raises UsageError if there is no such template."""
        return self._sources[self.chosen(has_tools=has_tools, name=name)]

    def ignores_tools(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], name: str | None = None
    ) -> bool:
        """Whether the template writes the same text for this chat with the tools as without them.

        One that cannot do without tools does not ignore them. Raises SeedbedError if the template fails with the tools.
        """
        chosen = self.chosen(has_tools=True, name=name)
        text = self.render(messages, tools, name=chosen)
        try:
            return text == self.render(messages, name=chosen)
        except SeedbedError:
            return False

    def problems(self) -> list[tuple[str, SeedbedError]]:
        """Why templates cannot be used: those that are empty, or that Jinja cannot read, by their names. Renders nothing."""
        found = []
        for name, source in self._sources.items():
            if not source.strip():
                found.append((name, SeedbedError(f"The {self._named(name)} is empty.", _correct(self._place(name)))))
                continue
            answer = _ask(RenderRequest(source=source, messages=[], only_read=True))
            if answer.problem:
                found.append((name, _problem(answer, self._named(name), self._place(name), lacks_tools=False)))
        return found

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        name: str | None = None,
        **variables: Any,
    ) -> str:
        """The text of a chat, which equals that of transformers' `apply_chat_template`.

        `tools`: JSON schemas of functions. `add_generation_prompt`: end where the assistant begins to write. `name`: the
        template (see `chosen`). `variables` are variables of the template, such as `enable_thinking`. Raises SeedbedError if
        the template fails or does not end, UsageError if it refuses the chat, or fails and may need tools.
        """
        return self._rendered(messages, tools, add_generation_prompt, name, variables, (), ()).text

    def encode(
        self,
        tokenizer: ChatTokens,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        name: str | None = None,
        **variables: Any,
    ) -> list[int]:
        """The token ids of a chat; control tokens in the texts of users, system and tools stay text.

        Raises as `render` does, and SeedbedError if the template writes nothing.
        """
        added = [str(token["content"]) for token in tokenizer.spec.get("added_tokens") or ()]
        others = [token for token in added if token not in tokenizer.control]
        found = self._rendered(
            messages, tools, add_generation_prompt, name, variables, sorted(tokenizer.control), others
        )
        if not found.text.strip():
            chosen = self.chosen(has_tools=tools is not None, name=name)
            raise SeedbedError(
                f"The {self._named(chosen)} writes nothing for this chat.", _correct(self._place(chosen))
            )
        return list(_encoded(found, tokenizer, added))

    def _rendered(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        name: str | None,
        variables: Mapping[str, Any],
        control: Sequence[str],
        others: Sequence[str],
    ) -> Rendered:
        if not messages:
            raise UsageError("A chat without messages cannot be rendered.", "Give at least one message.")
        chosen = self.chosen(has_tools=tools is not None, name=name)
        source = self._sources[chosen]
        request = RenderRequest(
            source=source,
            messages=[dict(message) for message in messages],
            tools=None if tools is None else [dict(tool) for tool in tools],
            add_generation_prompt=add_generation_prompt,
            variables={**self._variables, **variables},
            control=list(control),
            others=list(others),
            now=self._now.isoformat() if self._now else "",
        )
        answer = _ask(request)
        if answer.problem:
            lacks_tools = tools is None and _READS_TOOLS.search(source) is not None
            raise _problem(answer, self._named(chosen), self._place(chosen), lacks_tools=lacks_tools)
        return answer

    def _named(self, name: str) -> str:
        """A template in words: with its name, unless it is the only one."""
        return (
            f"chat template {quoted(name)} of {self._where}"
            if len(self._sources) > 1
            else f"chat template of {self._where}"
        )

    def _place(self, name: str) -> str:
        return template_place(self._folder, name) if self._folder is not None else ""


def missing_template(folder: Path) -> UsageError:
    """The error for a chat with a model that has no chat template."""
    return UsageError(
        f"{quoted(folder)} has no chat template, so it cannot be used for a chat.",
        "Leave out --chat, so that the model continues the prompt as plain text, or use a model with a chat template, such as an "
        "Instruct model.",
    )


# ---------------------------------------------------------------------------------------------- rendering and encoding


def _ask(request: RenderRequest) -> Rendered:
    """The answer of a new process to a request."""
    try:
        encoded = msgspec.json.encode(request)
    except UnicodeEncodeError:
        return Rendered(problem="failed", message="it, or the chat, has characters that are not valid Unicode")
    try:
        done = subprocess.run(
            [*_COMMAND, str(CPU_LIMIT_S)],
            input=encoded,
            capture_output=True,
            timeout=WAIT_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Rendered(problem="time")
    if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return Rendered(problem="time")
    try:
        return msgspec.json.decode(done.stdout, type=Rendered)
    except msgspec.DecodeError:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if any("MemoryError" in line for line in lines):
            return Rendered(problem="memory")
        return Rendered(problem="failed", message=lines[-1] if lines else f"exit status {done.returncode}")


def _correct(place: str) -> str:
    return f"Correct the template: {place}" if place else "Correct the template."


def _problem(answer: Rendered, template: str, place: str, *, lacks_tools: bool) -> SeedbedError:
    """The error for a chat that could not be rendered by `template` (in words), which is at `place`.

    `lacks_tools`: the template reads tools, and none were given.
    """
    message = shorten(printable(answer.message), 400)
    refused = answer.problem == "refused"
    lacks_tools = lacks_tools and (answer.problem == "failed" or (refused and "tool" in message.lower()))
    correct = _correct(place)
    texts = {
        "syntax": (f"The {template} has a mistake in {message}", correct),
        "refused": (
            f"The {template} refuses this chat: {message}",
            "Change the chat as the message says; some models know no system prompt (--system), for example.",
        ),
        "failed": (f"The {template} fails: {message}", correct),
        "time": (
            f"The {template} was stopped after {CPU_LIMIT_S} seconds: it does not seem to end.",
            correct,
        ),
        "memory": (
            f"The {template} was stopped: it needs more than {MEMORY_LIMIT_BYTES >> 20} MiB of memory.",
            correct,
        ),
        "length": (f"The {template} was stopped: the text that it makes is too long.", correct),
    }
    text, hint = texts[answer.problem]
    if lacks_tools:
        hint = f"The template reads tools, and this chat has none. If it needs them, give them with --tools FILE.json. {hint}"
    kind = UsageError if lacks_tools or refused else SeedbedError
    return kind(text, hint)


def _encoded(found: Rendered, tokenizer: ChatTokens, added: Sequence[str]) -> Iterator[int]:
    """The ids of a rendered chat: those of marked control tokens as text, and of the rest with control tokens.

    A template may part the marks of a token, for example with `split`. A token beside a lone mark stays text, too; a mark
    without a token is left out, but still parts the text, so that no control token forms across it.
    """
    if not found.marks:
        yield from tokenizer.encode_with_control_tokens(found.text)
        return
    begin, end = found.marks[0], found.marks[1]
    tokens = "|".join(re.escape(token) for token in sorted(added, key=len, reverse=True))
    pieces = re.split(f"(?:{begin}({tokens}){end}?|({tokens}){end}|[{begin}{end}])", found.text)
    for index, piece in enumerate(pieces):
        if not piece:
            continue
        is_text = index % 3 != 0
        encode = tokenizer.encode if is_text else tokenizer.encode_with_control_tokens
        ids = _without_start(encode, piece) if index else encode(piece)
        if is_text and any(id_ in ids for id_ in tokenizer.encode_with_control_tokens(piece)[:1]):
            raise SeedbedError(
                f"{quoted(piece)} cannot stay text: this tokenizer makes the same token of it.",
                "Leave it out of the message.",
            )
        yield from ids


def _without_start(encode: Any, piece: str) -> list[int]:
    """The ids of a piece from inside a text: without the space that some tokenizers add at the start of a text.

    It is encoded after a newline, whose ids are then removed.
    """
    newline: list[int] = encode("\n")
    ids: list[int] = encode("\n" + piece)
    if newline and ids[: len(newline)] == newline:
        return ids[len(newline) :]
    alone: list[int] = encode(piece)
    return alone
