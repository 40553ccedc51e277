"""From records to samples: token ids, each with whether the loss counts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.record import Message, Record, texts_of
from seedbed.curation.rendering.clipping import USUAL_OVERHEAD, ChatClipper, Sizes, clip
from seedbed.curation.rendering.conversations import UnreadableError, trained_turns
from seedbed.curation.rendering.encoding import CannotStayTextError, Sample, SpanEncoder
from seedbed.curation.rendering.programs import ChatProgram, ChatPrograms, other_tokens
from seedbed.curation.rendering.protocol import Answer, Chat, RenderedSample
from seedbed.curation.rendering.verification import TemplateFacts
from seedbed.errors import SeedbedError, UsageError
from seedbed.tokenizer.render_request import MAX_CHARACTERS
from seedbed.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from seedbed.curation.fim.families import Markers

STEP = "render"
"""The name of this step in counts of drops."""
BATCH_RECORDS = 256
BATCH_CHARACTERS = 1 << 22
"""Records are rendered in batches of at most so many, and of about so many characters."""

CHARACTERS_PER_TOKEN = 4
"""Chats with more characters than so many for each token of the limit are taken turn by turn, if the template needs that."""

EXACT_CHARACTERS = 512
"""Of outputs of tools with more characters, or with more than half a character for each token of the limit, the tokens are
estimated before they are clipped."""

Loss = Literal["assistant", "all"]
"""What is trained: in chats the turns of the assistant and in fill in the middle the middle, or everything."""

_REASONS = {
    "refused": "the chat template refuses the chat",
    "failed": "the chat template fails",
    "time": "the chat template does not end",
    "memory": "the chat template needs too much memory",
    "length": "the rendered chat is too long",
    "unlocated": "the turns of the assistant cannot be told for certain in the rendered chat",
    "reserved": "it has characters that Unicode reserves for use inside programs",
}
_NOT_TEXT = "a control token in a message cannot stay text"
_TOO_LONG = "a turn and its task are longer than the limit"


class _Sent(NamedTuple):
    """A record, and how its samples come: from `program`; None if it is no chat, or is left out.

    `by_turns`: the chat is long, and was not sent; it is asked for turn by turn.
    """

    record: Record
    program: ChatProgram | None
    left_out: bool = False
    by_turns: bool = False


class Renderer:
    """Turns records into samples with one tokenizer and its chat template. Use it in a `with` block, or call `close`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        template: str | None,
        fim_family: str | None,
        max_tokens: int | None,
        loss: Loss,
        gap_loss: Loss | None = None,
        cache: Path | None = None,
    ) -> None:
        """`template`: a chat template (Jinja); None: the tokenizer's own, else ChatML if the tokenizer has its tokens.

        `fim_family`: whose markers the rows for fill in the middle get. `gap_loss`: what
        is trained in them, if it is not as `loss` says. `max_tokens`: the most tokens of a sample; longer records are clipped
        (see `clip`). `cache`: a folder that keeps what is found out about templates. A template is
        verified when it is first needed.
        """
        if max_tokens is not None and max_tokens < 1:
            raise UsageError(f"A sample cannot have at most {max_tokens} tokens.", "Give 1 or more.")
        self.tokenizer, self.max_tokens, self.loss = tokenizer, max_tokens, loss
        self._gap_loss = gap_loss or loss
        self.too_long: dict[str, int] = {}
        """The ids of chats and rows for fill in the middle with more than `max_tokens` tokens, and about how many they have
        at least. It grows until the caller clears it."""
        self._fim_family = fim_family
        self._markers: Markers | None = None
        self._encoder = SpanEncoder(tokenizer, other_tokens(tokenizer))
        self._programs = ChatPrograms(tokenizer, self._encoder, template=template, cache=cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that render templates."""
        self._programs.close()

    @property
    def facts(self) -> dict[str, TemplateFacts]:
        """What is known about the chat templates that were needed so far, by name."""
        return self._programs.facts

    # ------------------------------------------------------------------------------------------ samples

    def samples(self, records: Iterable[Record], drops: Drops) -> Iterator[tuple[Record, Sample]]:
        """Yield the samples of records, in order, each with its record; what gives none is counted in `drops` under `render`.

        A chat gives several samples if the template rewrites earlier turns (`TemplateFacts.per_turn`), and if it is longer than
        `max_tokens`: then each has as much before its turns as fits (see `clip`). A longer text is cut into pieces. Raises
        SeedbedError if the template or the markers of the family cannot be used. Read the samples of one call before the next.
        """
        waiting: list[list[_Sent]] = []
        try:
            for batch in self._batches(records):
                waiting.append(self._send(batch, drops))
                if len(waiting) > 1:  # the process renders this batch while the one before is encoded
                    yield from self._receive(waiting.pop(0), drops)
            while waiting:
                yield from self._receive(waiting.pop(0), drops)
        finally:
            self._programs.forget()

    def _batches(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        batch: list[Record] = []
        size = 0
        for record in records:
            batch.append(record)
            times = len(record.messages or ()) // 4 if self._programs.multiply else 0
            size += sum(map(len, texts_of(record))) * max(1, times)
            if len(batch) >= BATCH_RECORDS or size >= BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _send(self, batch: list[Record], drops: Drops) -> list[_Sent]:
        sent: list[_Sent] = []
        chats: dict[ChatProgram, list[Chat]] = {}
        for record in batch:
            if record.kind != "chat":
                sent.append(_Sent(record, None))
                continue
            program = self._programs.of(has_tools=bool(record.tools))
            try:
                chat = program.chat(record, whole=self.loss == "all")
            except UnreadableError as error:
                _drop(drops, record, str(error))
                sent.append(_Sent(record, None, left_out=True))
                continue
            if not chat.whole and not chat.turns:
                _drop(drops, record, "no turn of the assistant is trained")
                sent.append(_Sent(record, None, left_out=True))
                continue
            for what in program.unwritten(record):
                drops.note(STEP, what)
            if self._goes_by_turns(record, program):
                sent.append(_Sent(record, program, by_turns=True))
                continue
            chats.setdefault(program, []).append(chat)
            sent.append(_Sent(record, program))
        for program, asked in chats.items():
            program.process.send(asked)
        return sent

    def _receive(self, sent: list[_Sent], drops: Drops) -> Iterator[tuple[Record, Sample]]:
        answers = [
            None if each.program is None or each.by_turns else each.program.process.next_answer() for each in sent
        ]
        rendered = [sample for answer in answers if answer for sample in answer.samples]
        samples = iter(self._encoded(rendered))
        for (record, program, left_out, by_turns), answer in zip(sent, answers, strict=True):
            if left_out:
                continue
            if program is None:
                yield from self._plain(record, drops)
            elif by_turns:
                yield from self._by_turns(record, program, drops)
            elif answer is not None:
                own = [next(samples) for _ in answer.samples]
                yield from self._of_answer(record, program, answer, own, drops)

    # ------------------------------------------------------------------------------------------ chats

    def _encoded(self, rendered: Sequence[RenderedSample]) -> list[Sample | None]:
        found = self._encoder.encode_batch([(each.text, each.spans) for each in rendered])
        if self.loss == "assistant":
            return found
        return [each and Sample(each.ids, b"\x01" * len(each.ids)) for each in found]

    def _of_answer(
        self, record: Record, program: ChatProgram, answer: Answer, samples: list[Sample | None], drops: Drops
    ) -> Iterator[tuple[Record, Sample]]:
        """The samples of an answer, and of the turns that it has no room for."""
        if answer.problem:
            _drop(drops, record, _REASONS.get(answer.problem, answer.problem), answer.message)
        for rendered, sample in zip(answer.samples, samples, strict=True):
            yield from self._checked(record, program, rendered, sample, drops)
        if answer.left:
            chat = program.chat(record)
            chat.turns = answer.left
            (more,) = program.ask_aside([chat])
            yield from self._of_answer(record, program, more, self._encoded(more.samples), drops)

    def _checked(
        self, record: Record, program: ChatProgram, rendered: RenderedSample, sample: Sample | None, drops: Drops
    ) -> Iterator[tuple[Record, Sample]]:
        """The sample of a chat, or, if it is too long, samples of its turns with as much before them as fits."""
        if sample is None:
            _drop(drops, record, _NOT_TEXT)
        elif self.max_tokens is not None and len(sample.ids) > self.max_tokens:
            part = _upto(record, rendered)
            self._note_length(record, len(sample.ids))
            if self.loss == "all":
                yield from self._clipped(part, program, len(sample.ids), drops)
            else:
                yield from self._by_turns(part, program, drops)
        elif 1 not in sample.trained:
            _drop(drops, record, "no trained token")
        else:
            yield record, sample

    def _clipped(
        self, record: Record, program: ChatProgram, length: int, drops: Drops
    ) -> Iterator[tuple[Record, Sample]]:
        """The samples of a chat that is too long, after it is clipped."""
        assert self.max_tokens is not None
        found = clip(record, self.max_tokens, self, length=length)
        if not found.records:
            _drop(drops, record, found.reason)
            return
        for each in found.records:
            (answer,) = program.ask_aside([program.chat(each, whole=self.loss == "all")])
            if answer.problem:
                _drop(drops, record, _REASONS.get(answer.problem, answer.problem), answer.message)
            for sample in self._encoded(answer.samples):
                if sample is None or len(sample.ids) > self.max_tokens:
                    _drop(drops, record, _TOO_LONG)
                elif 1 not in sample.trained:
                    _drop(drops, record, "no trained token")
                else:
                    yield each, sample

    def _goes_by_turns(self, record: Record, program: ChatProgram) -> bool:
        """Whether the turns of a chat are clipped before they are rendered: if it is too long to be rendered as a whole.

        It is so much sooner if turns have samples of their own.
        """
        if self.max_tokens is None or self.loss == "all":
            return False
        times = 1 if program.facts.per_turn else 2  # with so many characters, it is too long for certain
        limit = min(CHARACTERS_PER_TOKEN * times * self.max_tokens, MAX_CHARACTERS // 2)
        return sum(map(len, texts_of(record))) > limit

    def _by_turns(self, record: Record, program: ChatProgram, drops: Drops) -> Iterator[tuple[Record, Sample]]:
        """The samples of a long chat, the last turn first: each turn with as much before it as fits, and trained once.

        Earlier turns that are in a sample are trained there, if the template writes them as it writes them for themselves.
        """
        assert self.max_tokens is not None
        messages = record.messages or []
        sizes = Sizes(self.encode, max(EXACT_CHARACTERS, self.max_tokens // 2))
        untrained: dict[int, Message] = {}
        numbers = {id(each): number for number, each in enumerate(messages)}
        refused: set[str] = set()
        left = trained_turns(record)
        upto_last = messages[: left[-1] + 1] if left else []
        length = sum(map(sizes.of, upto_last))
        if length > self.max_tokens:
            self._note_length(record, length)
        while left:
            upto, trained = messages[: left[-1] + 1], set(left)
            for number, each in enumerate(upto):
                if each.role == "assistant" and number not in trained:
                    if number not in untrained:
                        untrained[number] = msgspec.structs.replace(each, trained=False)
                    upto[number] = untrained[number]
            part = msgspec.structs.replace(record, messages=upto)
            sample, turns = self._fitting(record, part, program, sizes, drops, refused)
            if sample is not None:
                yield sample
            covered = {left[-1], *(numbers.get(id(each), -1) for each in turns)}
            left = [turn for turn in left if turn not in covered]
        if record.id in self.too_long:
            self._note_length(record, sizes.rendered(upto_last))

    def _fitting(
        self, record: Record, part: Record, program: ChatProgram, sizes: Sizes, drops: Drops, refused: set[str]
    ) -> tuple[tuple[Record, Sample] | None, list[Message]]:
        """The sample of the last turn of a part of a record, with as much before it as fits, and the turns it trains.

        `refused`: the reasons for which the template refused turns of this record; each is counted once.
        """
        assert self.max_tokens is not None
        length = sum(map(sizes.of, part.messages or ()))
        clipper = ChatClipper(part, length, self.max_tokens, sizes)
        written = USUAL_OVERHEAD * len(
            part.messages or ()
        )  # by the template; more of it is found when a sample is made
        made = part if length <= self.max_tokens else clipper.shorter(length + written)
        while made is not None:
            chat = program.chat(made)
            chat.only_last = True
            (answer,) = program.ask_aside([chat])
            if not answer.samples:
                problem = answer.problem or "unlocated"
                if problem not in refused:
                    refused.add(problem)
                    _drop(drops, record, _REASONS.get(problem, problem), answer.message)
                return None, []
            (sample,) = self._encoded(answer.samples)
            if sample is None or 1 not in sample.trained:
                _drop(drops, record, _NOT_TEXT if sample is None else "no trained token")
                return None, []
            if made is not part:
                self._note_length(record, self.max_tokens + 1)
            if len(sample.ids) <= self.max_tokens:
                sizes.note_rendered(made.messages or [], len(sample.ids))
                return (made, sample), [(made.messages or [])[turn] for turn in answer.samples[0].turns]
            made = clipper.shorter(len(sample.ids))
        _drop(drops, record, _TOO_LONG)
        return None, []

    def _note_length(self, record: Record, tokens: int) -> None:
        self.too_long[record.id] = max(tokens, self.too_long.get(record.id, 0))

    def count(self, record: Record) -> int | None:
        """How many tokens a chat has when it is rendered as a whole; None if the template cannot render it."""
        program = self._programs.of(has_tools=bool(record.tools))
        try:
            (answer,) = program.ask_aside([program.chat(record, whole=True)])
            return self._encoder.count(answer.samples[0].text) if answer.samples else None
        except (UnreadableError, CannotStayTextError):
            return None

    def encode(self, text: str) -> list[int]:
        """The ids of a text in which control tokens stay text, without added tokens."""
        return self._encoder.plain(text)

    # ------------------------------------------------------------------------------------------ text, fill in the middle

    def _plain(self, record: Record, drops: Drops) -> Iterator[tuple[Record, Sample]]:
        if record.kind == "fim":
            from seedbed.curation.fim.rendering import render_fim

            loss: Literal["all", "middle"] = "all" if self._gap_loss == "all" else "middle"
            ids, trained = render_fim(record, self._family(), self.encode, loss=loss)
            if self.max_tokens is not None and len(ids) > self.max_tokens:
                self._note_length(record, len(ids))
                _drop(drops, record, "a row for fill in the middle is longer than the limit")
            else:
                yield record, Sample(ids, trained)
            return
        if not record.text:
            _drop(drops, record, "an empty text")
            return
        ends = [self.tokenizer.eot_id]
        begin = list(self.tokenizer.prefix_ids)
        ids = self.encode(record.text)
        room = None if self.max_tokens is None else self.max_tokens - len(begin)
        if room is None or len(ids) + 1 <= room:
            yield record, _text_sample(begin, [*ids, *ends])
            return
        pieces = clip(record, max(2, room), self).records
        if not pieces:
            _drop(drops, record, _TOO_LONG)
            return
        drops.note(STEP, "texts that were cut into pieces")
        for number, piece in enumerate(pieces, 1):
            yield piece, _text_sample(begin, self.encode(piece.text or "") + (ends if number == len(pieces) else []))

    def _family(self) -> Markers:
        from seedbed.curation.fim.families import markers

        if self._markers is None:
            if self._fim_family is None:
                raise SeedbedError(
                    "The data has rows for fill in the middle, and no model family says which markers they get.",
                    "Name the family, such as qwen2.5-coder.",
                )
            self._markers = markers(self._fim_family, self.tokenizer)
        return self._markers


def _text_sample(begin: list[int], ids: list[int]) -> Sample:
    return Sample([*begin, *ids], bytes(len(begin)) + b"\x01" * len(ids))


def _upto(record: Record, rendered: RenderedSample) -> Record:
    """The part of a chat that a sample has, in which only the turns of the sample are trained."""
    turns = set(rendered.turns)
    messages = [
        msgspec.structs.replace(message, trained=number in turns) if message.role == "assistant" else message
        for number, message in enumerate((record.messages or [])[: rendered.length])
    ]
    return msgspec.structs.replace(record, messages=messages)


def _drop(drops: Drops, record: Record, reason: str, detail: str = "") -> None:
    source = record.provenance
    where = ":".join(each for each in (source.file or source.path, source.session, record.id) if each)
    text = next(iter(texts_of(record)), "")
    drops.drop(STEP, reason, f"{where} ({detail})" if detail else where, text)
