"""Markers for fill in the middle, by model family, as ids of a given tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from seedbed.curation.fim.family_table import Family, families, family_named
from seedbed.errors import SeedbedError
from seedbed.text import listed

if TYPE_CHECKING:
    from seedbed.tokenizer.tokenizer import Tokenizer


class Markers(msgspec.Struct, kw_only=True, frozen=True):
    """The markers of a family as ids of one tokenizer."""

    family: str
    ids: dict[str, int]
    """The id of each marker, by its role; those of the repository are there only if the tokenizer has them."""
    psm: tuple[str, ...]
    spm: tuple[str, ...]
    header: tuple[str, ...]
    file: tuple[str, ...]
    """What comes before a file; () if files of the repository cannot be shown."""
    begin_ids: tuple[int, ...]
    """What the tokenizer puts before each text, such as the beginning of text; it is never trained."""
    end_id: int
    """Ends the middle, and is always trained."""
    text_end_id: int
    """Ends a row of plain text: the end of a document."""
    stop_ids: frozenset[int]
    """The ids after which a generated middle is over."""
    adds_space: bool
    """Whether the tokenizer puts a space before each text, as SentencePiece does."""


def markers(family: str, tokenizer: Tokenizer) -> Markers:
    """The markers of a family as ids of a tokenizer.

    Raises SeedbedError if the tokenizer lacks one of them as a single token, with the names of what it lacks and of the
    families that it fits; UsageError if there is no such family. Tokens are never added.
    """
    name = family_named(family)
    row = families()[name]
    missing = _missing(row, tokenizer)
    if missing:
        fitting = families_of(tokenizer)
        raise SeedbedError(
            f"The tokenizer cannot be used for fill in the middle as {name}: it has no token {listed(missing)}.",
            f"Its markers are those of {listed(fitting)}: name one of these."
            if fitting
            else "It has the markers of no known family. Use a model that was trained to fill in the middle, such as "
            "Qwen2.5-Coder, or train a tokenizer with these markers; rows of plain text need none.",
        )
    ids = {role: found for role, text in row.markers.items() if (found := _id(tokenizer, text)) is not None}
    _check(name, row, ids, tokenizer)
    context = all(each[1:] in ids for each in (*row.header, *row.file) if each.startswith("@"))
    end_id = tokenizer.eot_id if row.end is None else _id(tokenizer, row.end)
    assert end_id is not None
    stops = {id_ for text in row.stops if (id_ := _id(tokenizer, text)) is not None}
    return Markers(
        family=name,
        ids=ids,
        psm=tuple(row.psm),
        spm=tuple(row.spm),
        header=tuple(row.header) if context else (),
        file=tuple(row.file) if context else (),
        begin_ids=tuple(tokenizer.prefix_ids),
        end_id=end_id,
        text_end_id=tokenizer.eot_id,
        stop_ids=frozenset({*ids.values(), *stops, end_id, *tokenizer.stop_ids}),
        adds_space=adds_space(tokenizer),
    )


def families_of(tokenizer: Tokenizer) -> list[str]:
    """The families whose markers a tokenizer has, those whose markers for repositories it has, too, first."""
    fitting = [name for name, row in families().items() if not _missing(row, tokenizer)]
    lacking = {
        name: sum(_id(tokenizer, text) is None for text in families()[name].markers.values()) for name in fitting
    }
    return sorted(fitting, key=lambda name: lacking[name])


def adds_space(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts a space before each text, so that two texts encoded apart do not join."""
    return tokenizer.decode([*tokenizer.encode("a"), *tokenizer.encode("a")]) != "aa"


def _missing(row: Family, tokenizer: Tokenizer) -> list[str]:
    """The texts of the markers of a family that a tokenizer does not have, and that every row needs."""
    needed = {each[1:] for order in (row.psm, row.spm) for each in order if each.startswith("@")}
    texts = [*(text for role, text in row.markers.items() if role in needed), *row.stops]
    if row.end is not None:
        texts.append(row.end)
    return [text for text in texts if _id(tokenizer, text) is None]


def _id(tokenizer: Tokenizer, text: str) -> int | None:
    """The id of a marker; None if the tokenizer has no token of exactly this text."""
    from seedbed.tokenizer.model_files import token_id

    return token_id(tokenizer.spec, text)


def _check(name: str, row: Family, ids: dict[str, int], tokenizer: Tokenizer) -> None:
    """Raise SeedbedError if two markers have one id, or if text in a file would turn into a marker."""
    by_id: dict[int, str] = {}
    for role, id_ in ids.items():
        text = row.markers[role]
        if id_ in by_id:
            raise SeedbedError(
                f"The tokenizer has one id for the markers {by_id[id_]} and {text} of {name}.",
                "Use the tokenizer of the model as it was published.",
            )
        by_id[id_] = text
        if id_ in tokenizer.encode(text) or id_ in tokenizer.encode(text.replace("▁", " ")):
            raise SeedbedError(
                f"The tokenizer turns the text {text} in a file into the marker of {name}.",
                f"Make {text} a special token in tokenizer.json.",
            )
