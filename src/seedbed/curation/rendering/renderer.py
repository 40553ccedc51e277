"""From records to samples: token ids, each with whether the loss counts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.record import Record, texts_of
from seedbed.curation.rendering.clipping import clip
from seedbed.curation.rendering.conversations import UnreadableError
from seedbed.curation.rendering.encoding import CannotStayTextError, Sample, SpanEncoder
from seedbed.curation.rendering.programs import ChatProgram, ChatPrograms, other_tokens
from seedbed.curation.rendering.protocol import Chat, RenderedSample
from seedbed.curation.rendering.verification import TemplateFacts
from seedbed.errors import SeedbedError, UsageError
from seedbed.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from seedbed.curation.fim.families import Markers

STEP = "render"
"""The name of this step in counts of drops."""
BATCH_RECORDS = 256
BATCH_CHARACTERS = 1 << 22
"""Records are rendered in batches of at most so many, and of about so many characters."""

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
_TOO_LONG = "a single turn is longer than the limit"


class _Sent(NamedTuple):
    """A record, and how its answer comes: from `program`; None if it is no chat, or is left out."""

    record: Record
    program: ChatProgram | None
    left_out: bool = False


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
        cache: Path | None = None,
    ) -> None:
        """`template`: a chat template (Jinja); None: the tokenizer's own, else ChatML if the tokenizer has its tokens.

        `fim_family`: whose markers the rows for fill in the middle get. `max_tokens`: the most tokens of a sample; longer
        records are clipped (see `clip`). `cache`: a folder that keeps what is found out about templates. A template is
        verified when it is first needed.
        """
        if max_tokens is not None and max_tokens < 1:
            raise UsageError(f"A sample cannot have at most {max_tokens} tokens.", "Give 1 or more.")
        self.tokenizer, self.max_tokens, self.loss = tokenizer, max_tokens, loss
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

        A chat gives several samples if the template rewrites earlier turns (`TemplateFacts.per_turn`), a text if it is longer
        than `max_tokens`. Raises SeedbedError if the template or the markers of the family cannot be used.
        """
        waiting: list[list[_Sent]] = []
        for batch in _batches(records):
            waiting.append(self._send(batch, drops))
            if len(waiting) > 1:  # the process renders this batch while the one before is encoded
                yield from self._receive(waiting.pop(0), drops)
        for each in waiting:
            yield from self._receive(each, drops)

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
            chats.setdefault(program, []).append(chat)
            sent.append(_Sent(record, program))
        for program, asked in chats.items():
            program.process.send(asked)
        return sent

    def _receive(self, sent: list[_Sent], drops: Drops) -> Iterator[tuple[Record, Sample]]:
        answers = [None if each.program is None else each.program.process.next_answer() for each in sent]
        rendered = [sample for answer in answers if answer for sample in answer.samples]
        samples = iter(self._encoded(rendered))
        for (record, program, left_out), answer in zip(sent, answers, strict=True):
            if left_out:
                continue
            if program is None or answer is None:
                yield from self._plain(record, drops)
                continue
            if answer.problem:
                _drop(drops, record, _REASONS.get(answer.problem, answer.problem), answer.message)
            for each in answer.samples:
                yield from self._checked(record, program, each, next(samples), drops)

    # ------------------------------------------------------------------------------------------ chats

    def _encoded(self, rendered: Sequence[RenderedSample]) -> list[Sample | None]:
        found = self._encoder.encode_batch([(each.text, each.spans) for each in rendered])
        if self.loss == "assistant":
            return found
        return [each and Sample(each.ids, b"\x01" * len(each.ids)) for each in found]

    def _checked(
        self, record: Record, program: ChatProgram, rendered: RenderedSample, sample: Sample | None, drops: Drops
    ) -> Iterator[tuple[Record, Sample]]:
        """The sample of a chat, or, if it is too long, those of the chat after it is clipped."""
        if sample is None:
            _drop(drops, record, "a control token in a message cannot stay text")
        elif self.max_tokens is not None and len(sample.ids) > self.max_tokens:
            yield from self._clipped(_upto(record, rendered), program, len(sample.ids), drops)
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
        drops.note(STEP, "tokens left out of chats that were too long", found.lost_tokens)
        drops.note(STEP, "chats that were shortened")
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

            ids, trained = render_fim(
                record, self._family(), self.encode, loss="all" if self.loss == "all" else "middle"
            )
            if self.max_tokens is not None and len(ids) > self.max_tokens:
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
        pieces = clip(record, self.max_tokens or 0, self).records
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


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(map(len, texts_of(record)))
        if len(batch) >= BATCH_RECORDS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _drop(drops: Drops, record: Record, reason: str, detail: str = "") -> None:
    source = record.provenance
    where = ":".join(each for each in (source.file or source.path, source.session, record.id) if each)
    text = next(iter(texts_of(record)), "")
    drops.drop(STEP, reason, f"{where} ({detail})" if detail else where, text)
