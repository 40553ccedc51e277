"""Token ids of a row for fill in the middle, or of plain text, with a mask of the tokens that are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from seedbed.curation.fim.families import Markers
from seedbed.curation.fim.family_table import PARTS
from seedbed.curation.record import ContextFile, Record

Loss = Literal["all", "middle"]
"""Which tokens of a row are trained: all, as in pre-training, or the middle and its end only."""

_JOINT = "☺"
"""Stands before a text that is encoded without the space that SentencePiece puts first; from Code Llama's encode_infilling."""


class Rendered(NamedTuple):
    """The ids of a row, and for each whether the loss counts it (1) or not (0)."""

    ids: list[int]
    trained: bytes


def render_fim(
    record: Record, markers: Markers, encode: Callable[[str], list[int]], *, loss: Loss = "middle"
) -> Rendered:
    """The ids and the mask of a row of kind `fim`: markers by id, the parts as text, and the end, which is always trained.

    `encode` gives the ids of a text in which control tokens are text (`Tokenizer.encode`). Each part is encoded by itself, as
    the models were trained (`permute()` in bigcode-project/Megatron-LM). A family that lacks the order of the record has
    the other one. Files of the repository come first, if the record has some and the family shows them.
    """
    order = (markers.psm or markers.spm) if record.order == "psm" else (markers.spm or markers.psm)
    parts = dict(zip(PARTS, (record.prefix or "", record.suffix or "", record.middle or ""), strict=True))
    ids = [*markers.begin_ids, *_context_ids(record, markers, encode)]
    target = len(ids)
    for each in order:
        if each == "middle":
            target = len(ids)
        if each.startswith("@"):
            ids.append(markers.ids[each[1:]])
        else:
            ids += _part_ids(parts[each], markers, encode, joined=each != "prefix")
    ids.append(markers.end_id)
    start = target if loss == "middle" else len(markers.begin_ids)
    return Rendered(ids, bytes(start) + b"\x01" * (len(ids) - start))


def render_text(
    text: str, markers_or_ids: Markers | tuple[tuple[int, ...], int], encode: Callable[[str], list[int]]
) -> Rendered:
    """The ids and the mask of plain text: what the tokenizer puts before a text, the text, and the end of a document.

    Instead of markers, for a tokenizer without: the ids that come first, and the id of the end. All but the first are trained.
    """
    begin, end = (
        (markers_or_ids.begin_ids, markers_or_ids.text_end_id)
        if isinstance(markers_or_ids, Markers)
        else markers_or_ids
    )
    ids = [*begin, *encode(text), end]
    return Rendered(ids, bytes(len(begin)) + b"\x01" * (len(ids) - len(begin)))


def _context_ids(record: Record, markers: Markers, encode: Callable[[str], list[int]]) -> list[int]:
    """The ids of the other files of the repository, and of the path of the row's own file after them."""
    if not record.context or not markers.file:
        return []
    own = ContextFile(path=record.provenance.path or "", text="")
    ids = _filled(markers.header, markers, encode, repository=record.provenance.repository or "")
    for number, file in enumerate([*record.context, own], start=1):
        ids += _filled(markers.file, markers, encode, path=file.path)
        if file.text:
            ids += encode(file.text)
            if number <= len(record.context) and not file.text.endswith("\n"):
                ids += encode("\n")
    return ids


def _filled(
    form: tuple[str, ...], markers: Markers, encode: Callable[[str], list[int]], *, repository: str = "", path: str = ""
) -> list[int]:
    """The ids of a form of families.toml: markers by id, names as text."""
    ids: list[int] = []
    for each in form:
        if each.startswith("@"):
            ids.append(markers.ids[each[1:]])
        else:
            ids += encode(each.replace("{repository}", repository).replace("{path}", path))
    return ids


def _part_ids(text: str, markers: Markers, encode: Callable[[str], list[int]], *, joined: bool) -> list[int]:
    """The ids of a part; `joined`: without the space that the tokenizer puts before a text."""
    if not text:
        return []
    if not (joined and markers.adds_space):
        return encode(text)
    start = encode(_JOINT)
    ids = encode(_JOINT + text)
    return ids[len(start) :] if ids[: len(start)] == start else encode(text)
