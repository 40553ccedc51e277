"""Find out how a chat template writes the turns of the assistant, and check it by three strategies that must agree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from seedbed import files
from seedbed.curation.rendering.encoding import CannotStayTextError, Sample, SpanEncoder
from seedbed.curation.rendering.probes import (
    ARGUMENT,
    PLACE,
    REASONING,
    TOOL_MEANING,
    TOOL_NAME,
    Arguments,
    Feature,
    Probe,
    probes,
)
from seedbed.curation.rendering.protocol import (
    CONTROL_BEGIN,
    STRATEGIES,
    TURN_BEGIN,
    TURN_END,
    Answer,
    Chat,
    ProbedTurn,
    Setup,
    Span,
    Strategy,
)
from seedbed.curation.rendering.template_process import TemplateProcess
from seedbed.errors import SeedbedError, StorageError
from seedbed.text import listed, printable, quoted, shorten
from seedbed.tokenizer.template_rendering import MARK_SIGNS
from seedbed.tokenizer.tokenizer import Tokenizer

VERSION = 1
"""Raised when the same template is found to behave in another way."""
_MARKED_NUMBER = re.compile(f"[{TURN_BEGIN}{TURN_END}]\\d+[{TURN_BEGIN}{TURN_END}]")
MOST_ENDS = 2
"""The most control tokens, one right after the other, that end a turn."""
_CORRECT = "Use another template: give a file with one, such as the model's training template."
_HOW: dict[Strategy, str] = {
    "generation": "by its {% generation %} marks",
    "markers": "by markers in place of the texts",
    "prefix": "by comparing it with the chat before the turn",
}


class TemplateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How a chat template behaves, as verified on the probes."""

    header: str
    leads: dict[str, str]
    ends: list[str]
    strategy: Strategy
    strategies: list[Strategy]
    """The strategies that found every turn of the probes, and agreed."""
    per_turn: bool
    """Whether turns need samples of their own, because the template writes a turn differently once others follow."""
    arguments: Arguments
    writes_calls: bool
    writes_tools: bool
    writes_reasoning: bool
    uncertain: list[Feature]
    """What chats may not have, because their turns cannot be told for certain: fewer than two strategies find them."""
    refused: dict[str, str]
    """The probes that the template refuses, and why."""


def verified(
    setup: Setup,
    tokenizer: Tokenizer,
    encoder: SpanEncoder,
    process: TemplateProcess,
    where: str,
    cache: Path | None = None,
) -> TemplateFacts:
    """The facts about the template of a setup. `where`: whose template it is, for messages.

    `cache`: a folder that keeps them for the same template and tokenizer. Raises SeedbedError if the template fails, or if the
    strategies do not find the same tokens.
    """
    path = cache / f"{_key(setup, tokenizer)}.json" if cache else None
    known = _read(path)
    if known is None:
        known = _Verification(setup, tokenizer, encoder, process, where).facts()
        if path is not None:
            with suppress(StorageError):  # a cache that cannot be written: they are found out again the next time
                files.make_dir(path.parent)
                files.write_atomic(path, msgspec.json.encode(known), durable=False)
    return known


def with_facts(setup: Setup, facts: TemplateFacts) -> Setup:
    """The setup, with what is known about its template."""
    return msgspec.structs.replace(
        setup,
        header=facts.header,
        leads=facts.leads,
        ends=facts.ends,
        strategy=facts.strategy,
        per_turn=facts.per_turn,
    )


def template_problem(answer: Answer, where: str) -> SeedbedError:
    """The error for a template that cannot render a chat."""
    reasons = {
        "syntax": "has a mistake in",
        "refused": "refuses this chat:",
        "failed": "fails:",
        "time": "was stopped: it does not seem to end.",
        "memory": "was stopped: it needs too much memory.",
        "length": "was stopped: the text that it makes is too long.",
    }
    why = f"{reasons.get(answer.problem, answer.problem)} {shorten(printable(answer.message), 400)}".strip()
    return SeedbedError(f"The chat template of {where} {why}", "Correct the template, or use another one.")


def _key(setup: Setup, tokenizer: Tokenizer) -> str:
    parts = [VERSION, tokenizer.fingerprint, sorted(tokenizer.stop_ids), setup.source, sorted(setup.variables.items())]
    parts.append(setup.for_tools)
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()


def _read(path: Path | None) -> TemplateFacts | None:
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=TemplateFacts)
    except (OSError, msgspec.MsgspecError):
        return None


class _Verification:
    """One verification of a template."""

    def __init__(
        self, setup: Setup, tokenizer: Tokenizer, encoder: SpanEncoder, process: TemplateProcess, where: str
    ) -> None:
        self._setup, self._tokenizer, self._encoder = setup, tokenizer, encoder
        self._process, self._where = process, where

    def facts(self) -> TemplateFacts:
        """Try the template on the probes. Raises SeedbedError."""
        self._process.set_up(self._setup)
        arguments, tried, texts, refused = self._tried()
        every = "\n".join(texts)
        writes_calls = any(TOOL_NAME in text and ARGUMENT in text for text in texts)
        if not writes_calls:  # then chats with tool calls are left out
            tried = [probe for probe in tried if not any("tool_calls" in message for message in probe.messages)]
        header, leads = self._headers(tried)
        ends = self._turn_ends(tried, header, leads)
        setup = msgspec.structs.replace(self._setup, header=header, leads=leads, ends=ends)
        self._process.set_up(setup)
        answers = self._process.ask([Chat(messages=each.messages, tools=each.tools, task="probe") for each in tried])
        for answer in answers:
            if answer.problem:
                raise template_problem(answer, self._where)
        per_turn = any(not turn.lasts for answer in answers for turn in answer.probed)
        for probe, answer in zip(tried, answers, strict=True):
            self._compare(probe, answer, whole=not per_turn)
        uncertain = self._uncertain(tried, answers)
        certain = [
            answer for probe, answer in zip(tried, answers, strict=True) if not set(probe.features) & set(uncertain)
        ]
        agreeing = [each for each in STRATEGIES if self._finds(each, certain)]
        if len(agreeing) < 2:
            raise SeedbedError(
                f"The turns of the assistant cannot be told for certain in the chat template of {self._where}: no two of the 3 "
                "strategies find all of them.",
                _CORRECT,
            )
        return TemplateFacts(
            header=header,
            leads=leads,
            ends=ends,
            strategy=agreeing[0],
            strategies=agreeing,
            per_turn=per_turn,
            arguments=arguments,
            writes_calls=writes_calls,
            uncertain=uncertain,
            writes_tools=TOOL_MEANING in every,
            writes_reasoning=REASONING in every,
            refused=refused,
        )

    def _tried(self) -> tuple[Arguments, list[Probe], list[str], dict[str, str]]:
        """The form of arguments that the template takes, the probes that it renders, their texts, and those that it refuses."""
        found: dict[Arguments, tuple[list[Probe], list[str], dict[str, str]]] = {}
        order: tuple[Arguments, ...] = ("object", "text")
        for arguments in order:
            every = probes(self._signs(), arguments, with_tools=self._setup.for_tools)
            asked = [Chat(messages=each.messages, tools=each.tools) for each in every]
            answers = self._process.ask(asked[:1])
            if answers[0].problem:
                raise template_problem(answers[0], self._where)
            answers += self._process.ask(asked[1:])
            rendered = [(probe, answer) for probe, answer in zip(every, answers, strict=True) if not answer.problem]
            refused = {
                probe.name: answer.message or answer.problem
                for probe, answer in zip(every, answers, strict=True)
                if answer.problem
            }
            found[arguments] = [probe for probe, _ in rendered], [answer.text for _, answer in rendered], refused
        return max(((each, *found[each]) for each in order), key=lambda one: (len(one[1]), _as_json(one[2])))

    def _signs(self) -> list[str]:
        """Control tokens for the probe that has them as text: at most eight, those that the template writes first."""
        control = self._setup.control
        return sorted(control, key=lambda token: (token not in self._setup.source, token))[:8]

    def _ask(self, chats: list[Chat]) -> list[str]:
        """The texts of chats; "" for those that the template refuses."""
        return [answer.text for answer in self._process.ask(chats)]

    def _headers(self, tried: list[Probe]) -> tuple[str, dict[str, str]]:
        """What the template writes before a turn of the assistant: always, or by the role of the message before."""
        before = [(probe, turn) for probe in tried for turn in _turns(probe) if turn]
        chats = [Chat(messages=probe.messages[:turn], tools=probe.tools) for probe, turn in before]
        plain = self._ask(chats)
        prompts = self._ask([msgspec.structs.replace(chat, prompt=True) for chat in chats])
        headers = {prompt[len(text) :] for text, prompt in zip(plain, prompts, strict=True) if prompt.startswith(text)}
        headers.discard("")
        if len(headers) == 1:
            return headers.pop(), {}
        wrapped = self._ask([msgspec.structs.replace(chat, prompt=True, wrapped=True) for chat in chats])
        leads: dict[str, str] = {}
        for (probe, turn), text in zip(before, wrapped, strict=True):
            role = probe.messages[turn - 1]["role"]
            lead = text.rpartition(TURN_END)[2]
            leads[role] = _common_end(leads.get(role, lead), lead)
        return "", leads

    def _turn_ends(self, tried: list[Probe], header: str, leads: dict[str, str]) -> list[str]:
        """The control tokens that end the turns of the probes: the first after the text of a turn, the last after tool calls.

        Some templates write two, one right after the other; they are one end. Raises SeedbedError if a turn has
        none.
        """
        before = [(probe, turn) for probe in tried for turn in _turns(probe)]
        texts = self._ask(
            [Chat(messages=probe.messages[: turn + 1], tools=probe.tools, wrapped=True) for probe, turn in before]
        )
        ending = {each for each in self._setup.control if each in self._tokenizer.special} | self._stops()
        one = "|".join(map(re.escape, sorted(ending, key=len, reverse=True)))
        begins = set(re.findall(one, header)) | {
            token for lead in leads.values() for token in re.findall(one, lead)[1:]
        }
        ending -= begins  # some templates always write the header of the next turn, too
        one = "|".join(map(re.escape, sorted(ending, key=len, reverse=True))) or "(?!)"
        pattern = re.compile(f"(?<!{CONTROL_BEGIN})(?:{one})+")
        ends: set[str] = set()
        for (probe, turn), text in zip(before, texts, strict=True):
            calls = "tool_calls" in probe.messages[turn]
            found = [each[0] for each in pattern.finditer(text.rpartition(TURN_END)[2])]
            if calls:  # others, such as one at the end of a call, may stand before it
                ends.update(each for each in found[-1:] if each in self._stops())
            elif found and len(re.findall(one, found[0])) <= MOST_ENDS:
                ends.add(found[0])
            else:
                raise SeedbedError(
                    f"The chat template of {self._where} does not end a turn of the assistant with one or two control tokens, "
                    f"so a model could not learn to stop (probe {quoted(probe.name)}: {_shown(text[-60:])}).",
                    _CORRECT,
                )
        return sorted(ends)

    def _stops(self) -> set[str]:
        """The control tokens at which generation stops."""
        added = self._tokenizer.spec.get("added_tokens") or ()
        return {str(each["content"]) for each in added if each["id"] in self._tokenizer.stop_ids} & set(
            self._setup.control
        )

    def _finds(self, strategy: Strategy, answers: list[Answer]) -> bool:
        return all(turn.spans[strategy] for answer in answers for turn in answer.probed)

    def _uncertain(self, tried: list[Probe], answers: list[Answer]) -> list[Feature]:
        """The features of the probes in which fewer than two strategies find a turn. Raises SeedbedError for one without."""
        found: list[Feature] = []
        for probe, answer in zip(tried, answers, strict=True):
            for number, turn in enumerate(answer.probed, 1):
                finding = [each for each in STRATEGIES if turn.spans[each]]
                if len(finding) >= 2:
                    continue
                if not probe.features:
                    who = f"only {listed(list(finding))}" if finding else "none"
                    raise SeedbedError(
                        f"The turns of the assistant cannot be told for certain in the chat template of {self._where}: "
                        f"{who} of the 3 strategies finds turn {number} of the probe {quoted(probe.name)}.",
                        _CORRECT,
                    )
                found += [each for each in probe.features[-1:] if each not in found]
        return found

    def _compare(self, probe: Probe, answer: Answer, *, whole: bool) -> None:
        """Raise SeedbedError if the strategies find other tokens in a turn, or if its prompt has other tokens than it alone."""
        for number, turn in enumerate(answer.probed, 1):
            place = f"probe {quoted(probe.name)}, turn {number} of the assistant"
            spans = {each: span for each, span in turn.spans.items() if span}
            if whole and turn.lasts:
                spans |= {f"{each} in the whole chat": span for each, span in turn.whole_spans.items() if span}
            if not spans:
                continue  # see `_uncertain`
            masks = {name: self._encoded(turn, span) for name, span in spans.items()}
            (first, expected), *others = masks.items()
            for name, found in others:
                if found != expected:
                    raise SeedbedError(
                        f"Two ways to find what is trained disagree for the chat template of {self._where} ({place}). "
                        f"{_difference(self._tokenizer, first, expected, name, found)}",
                        _CORRECT,
                    )
            if turn.spans["prefix"]:
                self._check_prompt(turn, turn.spans["prefix"], expected, place)

    def _encoded(self, turn: ProbedTurn, span: Span) -> Sample:
        try:
            return self._encoder.encode(turn.text, [span])
        except CannotStayTextError:
            return Sample([], b"")

    def _check_prompt(self, turn: ProbedTurn, span: Span, sample: Sample, place: str) -> None:
        """Raise SeedbedError unless the ids before the turn are those that a model gets as its prompt."""
        try:
            prompt = self._encoder.encode(turn.text[: span[0]], []).ids
        except CannotStayTextError:
            return
        begins = turn.text[span[0] : span[0] + 1]
        if sample.ids[: len(prompt)] != prompt and not begins.isspace():
            raise SeedbedError(
                f"The prompt of a turn has other tokens alone than in the whole chat, with the chat template of {self._where} "
                f"({place}).",
                _CORRECT,
            )


def _turns(probe: Probe) -> Iterator[int]:
    return (number for number, message in enumerate(probe.messages) if message["role"] == "assistant")


def _as_json(texts: list[str]) -> int:
    """In how many texts the arguments of a call stand as JSON, not as a text within JSON."""
    return sum(f'"name": "{PLACE}"' in text or f'"name":"{PLACE}"' in text for text in texts)


def _common_end(first: str, second: str) -> str:
    size = 0
    while size < min(len(first), len(second)) and first[-1 - size] == second[-1 - size]:
        size += 1
    return first[len(first) - size :]


def _difference(tokenizer: Tokenizer, first: str, one: Sample, second: str, other: Sample) -> str:
    """The tokens that only one of two strategies trains, in words."""
    parts = []
    for name, own, against in ((first, one, other), (second, other, one)):
        only = [
            id_ for id_, mine, theirs in zip(own.ids, own.trained, against.trained, strict=False) if mine and not theirs
        ]
        if only:
            text = tokenizer.library.decode(only, skip_special_tokens=False)
            parts.append(f"Only {_HOW.get(name, name)}, it trains {_shown(text)} ({len(only)} tokens).")  # type: ignore[call-overload]
    return " ".join(parts) or "They give other token ids."


def _shown(text: str) -> str:
    """A text for a message: on one line, without marks, and not too long."""
    shown = re.sub(f"[{MARK_SIGNS[0]}-{MARK_SIGNS[-1]}]", "", re.sub(_MARKED_NUMBER, "", text))
    return quoted(shorten(shown.replace("\n", "\\n"), 120))


def facts_in_words(facts: TemplateFacts) -> list[str]:
    """What is known about a template, as sentences for a report."""
    found = [
        f"The trained tokens were found in {len(facts.strategies)} ways that agree: {listed(list(facts.strategies))}.",
        f"A turn of the assistant ends with {listed(facts.ends)}.",
    ]
    if facts.per_turn:
        found.append("The template writes a turn differently once others follow, so turns have samples of their own.")
    for written, what in (
        (facts.writes_reasoning, "reasoning"),
        (facts.writes_calls, "tool calls"),
        (facts.writes_tools, "the list of tools"),
    ):
        if not written:
            found.append(f"The template does not write {what}.")
    return found
