"""What a folder's tokenizer files say: tokens, what is put around a text, where a text ends, chat templates.

Reads files only, without the library `tokenizers` and without numpy, so it takes milliseconds.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from seedbed.checkpoint.marker import RESTORE
from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.errors import SeedbedError
from seedbed.text import quoted
from seedbed.tokenizer.model_files import (
    DEFAULT_TEMPLATE,
    ENDS_OF_DOCUMENTS,
    missing_end,
    missing_tokenizer,
    read_config,
    special_tokens,
    template_sources,
    token_ids,
    unknown_end,
)


class Token(msgspec.Struct, frozen=True):
    """A token by its id; `text` is "" if the files do not say it. `known`: whether the vocabulary has the id."""

    id: int
    text: str = ""
    known: bool = True


class TokenizerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokenizer files of a folder say."""

    kind: str
    """The algorithm: BPE, Unigram, WordPiece or WordLevel."""
    num_tokens: int
    largest_id: int
    before: tuple[Token, ...] | None
    """The tokens that are put before a text, such as a BOS token; None if the rule has a form that Seedbed does not know."""
    after: tuple[Token, ...] | None
    stops: tuple[Token, ...]
    """The tokens that end a generated text, by all of the folder's files."""
    special: dict[str, str]
    """The special tokens that the folder names, such as `bos_token`: the name and the token's text."""
    chat_templates: tuple[str, ...]
    """The names of the chat templates; the one without a name is `default`. () if one cannot be read."""


class _AddedToken(msgspec.Struct):
    id: int
    content: str
    special: bool = False


class _Model(msgspec.Struct):
    type: Literal["BPE", "Unigram", "WordPiece", "WordLevel"] | None = None
    vocab: msgspec.Raw = msgspec.Raw(b"{}")
    merges: msgspec.Raw = msgspec.Raw(b"[]")
    continuing_subword_prefix: str | None = None


class _File(msgspec.Struct):
    """The parts of tokenizer.json that are read."""

    model: _Model
    added_tokens: list[_AddedToken] = []
    post_processor: dict[str, Any] | None = None


def tokenizer_facts(folder: Path, configs: Iterable[Mapping[str, Any]] = ()) -> TokenizerFacts:
    """What the tokenizer files in `folder` say. `configs`: parsed files with `eos_token_id`, such as config.json.

    Raises SeedbedError if there is no tokenizer.json, if a file cannot be read, and for a kind of tokenizer or a merge that the
    library cannot load, and if no token ends a text. The library refuses more than that: see model_check.py.
    """
    file = _read(folder)
    try:
        tokens, ids = _vocabulary(file.model)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _unreadable(folder, str(error)) from error
    added = {token.id: token.content for token in file.added_tokens}
    config = read_config(folder)
    special = special_tokens(config)
    around = around_text(file.post_processor)
    every = {*ids, *added}
    stops = _stop_ids(special.get("eos_token"), file.added_tokens, configs)
    _refuse_without_end(special.get("eos_token"), file.added_tokens, tokens, set(stops) & every)
    return TokenizerFacts(
        kind=file.model.type or "unknown",
        num_tokens=len(every),
        largest_id=max(every, default=-1),
        before=_tokens(around[0], added, every) if around else None,
        after=_tokens(around[1], added, every) if around else None,
        stops=_tokens(stops, added, every),
        special=special,
        chat_templates=_template_names(folder, config),
    )


def around_text(processor: Mapping[str, Any] | None) -> tuple[list[int], list[int]] | None:
    """The ids that a post-processor of tokenizer.json puts before and after a text; None if its form is unknown."""
    kind = processor.get("type") if processor else None
    if processor is None or kind == "ByteLevel":
        return [], []
    try:
        if kind == "Sequence":
            return _sequence(processor["processors"])
        if kind == "TemplateProcessing":
            return _template(processor)
        if kind in ("BertProcessing", "RobertaProcessing"):
            return [int(processor["cls"][1])], [int(processor["sep"][1])]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        pass
    return None


def _sequence(processors: Iterable[Mapping[str, Any]]) -> tuple[list[int], list[int]] | None:
    """The ids of several post-processors, of which each works on the result of the one before."""
    before: list[int] = []
    after: list[int] = []
    for each in processors:
        around = around_text(each)
        if around is None:
            return None
        before, after = [*around[0], *before], [*after, *around[1]]
    return before, after


def _template(processor: Mapping[str, Any]) -> tuple[list[int], list[int]] | None:
    before: list[int] = []
    after: list[int] = []
    texts = 0
    for piece in processor["single"]:
        if "Sequence" in piece:
            texts += 1
            continue
        ids = processor["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
        (after if texts else before).extend(map(int, ids))
    return (before, after) if texts == 1 else None


def _read(folder: Path) -> _File:
    try:
        whole = (folder / TOKENIZER_JSON).read_bytes()
        return msgspec.json.decode(whole.removeprefix(codecs.BOM_UTF8), type=_File)
    except FileNotFoundError:
        raise missing_tokenizer(folder) from None
    except OSError as error:
        raise _unreadable(folder, str(error.strerror)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(folder, str(error)) from error


def _unreadable(folder: Path, reason: str) -> SeedbedError:
    return SeedbedError(f"{quoted(folder / TOKENIZER_JSON)} cannot be read: {reason}.", RESTORE)


def _vocabulary(model: _Model) -> tuple[Collection[str], Collection[int]]:
    """The tokens and the ids of a vocabulary. A file has a table of both, or (Unigram) a list of tokens with their scores.

    Raises ValueError for a merge with a token that the vocabulary does not have.
    """
    vocab = model.vocab
    if bytes(vocab).lstrip()[:1] == b"[":
        pieces = msgspec.json.decode(vocab, type=list[tuple[str, float]])
        return {piece for piece, _ in pieces}, range(len(pieces))
    known = msgspec.json.decode(vocab, type=dict[str, int])
    if model.type not in (None, "BPE"):
        return known, known.values()
    start = len(model.continuing_subword_prefix or "")
    for first, second in _merges(model.merges):
        merged = first + second[start:]
        if merged not in known or first not in known or second not in known:
            raise ValueError(
                f"it merges {quoted(first)} and {quoted(second)} into {quoted(merged)}, but not all of them are in its vocabulary"
            )
    return known, known.values()


def _merges(merges: msgspec.Raw) -> Iterable[Sequence[str]]:
    """The two tokens of each merge, which a file has as a list of two or, if it is older, as a text with a space.

    Raises ValueError or msgspec.ValidationError for anything else.
    """
    try:
        return msgspec.json.decode(merges, type=list[tuple[str, str]])
    except msgspec.ValidationError:
        older = msgspec.json.decode(merges, type=list[str])
    found = [merge.split(" ") for merge in older if not merge.startswith("#version")]
    if any(len(merge) != 2 for merge in found):
        raise ValueError("a merge does not have two tokens")
    return found


def _refuse_without_end(
    eos: str | None, added: Iterable[_AddedToken], vocabulary: Container[str], stops: Collection[int]
) -> None:
    """Raise SeedbedError if no token ends a document, as `end_of_document` does. `stops`: the stop ids that exist."""
    if any(token.special and token.content in ENDS_OF_DOCUMENTS for token in added):
        return
    if not eos:
        if not stops:
            raise missing_end()
    elif eos not in vocabulary and all(token.content != eos for token in added):
        raise unknown_end(eos)


def _stop_ids(eos: str | None, added: Iterable[_AddedToken], configs: Iterable[Mapping[str, Any]]) -> list[int]:
    """The ids at which generation stops: `eos_token_id` of the configs, the `eos_token`, and the end of a document."""
    found = {id_ for config in configs for id_ in token_ids(config.get("eos_token_id"))}
    found.update(token.id for token in added if token.content == eos)
    ends = {token.content: token.id for token in added if token.special}
    found.update([next((ends[text] for text in ENDS_OF_DOCUMENTS if text in ends), -1)])
    return sorted(found - {-1})


def _tokens(ids: Iterable[int], added: Mapping[int, str], every: Container[int]) -> tuple[Token, ...]:
    return tuple(Token(id_, added.get(id_, ""), id_ in every) for id_ in ids)


def _template_names(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the chat templates, the default one first; () if one cannot be read."""
    try:
        return tuple(sorted(template_sources(folder, config), key=lambda name: name != DEFAULT_TEMPLATE))
    except SeedbedError:
        return ()
