"""The text of an evaluation: which documents of a source are evaluated, and the copy of them in the task's folder.

    documents.jsonl   one document per line, as a JSON string; removed when the evaluation is complete
    text.json         what was chosen, and the units; written last

All models and every resume read the copy, so they evaluate the same text even if the source changes meanwhile.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from seedbed import files
from seedbed.config.evaluation import EvaluateConfig, Evaluation, settled_split
from seedbed.curation.folder import PRIVATE_FILE
from seedbed.data.build import prepared_folder
from seedbed.data.holdout import nearest_border
from seedbed.data.interruption import Check, run_interruptibly
from seedbed.data.shards import Dataset
from seedbed.data.source import WholeSource, open_source
from seedbed.errors import SeedbedError
from seedbed.evaluation.row_source import Rendering, rows_of
from seedbed.events import Emit
from seedbed.text import quoted
from seedbed.tokenizer.tokenizer import well_formed

DOCUMENTS, TEXT = "documents.jsonl", "text.json"
_SOURCE = "source.jsonl"
"""All documents of the split, from which a sample is taken; removed afterwards."""
FEWEST_DOCUMENTS = 30
"""With fewer documents, the units that are resampled are blocks of the documents, since intervals need many units."""
_BLOCKS = 200
"""About how many blocks a text of few documents is divided into."""
_SHORTEST_BLOCK = 1024
_SLACK = 200
"""By how many characters the end of a document that is cut may differ from the place that was computed."""
_SMALLEST_CUT = 0.1
"""A document is not cut for a last part that is smaller than this share of the wanted tokens."""

Count = Callable[[str], int]
"""A function that counts the tokens of a text."""


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: the content of text.json. Sizes are of the chosen documents, in characters and UTF-8 bytes."""

    name: str
    split: str
    source_documents: int
    """The number of documents of the split, of which `documents` were chosen."""
    documents: int
    characters: int
    size_bytes: int
    block_characters: int
    """About the number of characters in a unit, if the units are blocks of documents; 0 if they are whole documents."""
    units: int
    digest: str
    """SHA-256 of documents.jsonl."""
    was_cut: bool = False
    """Whether one document was cut so that the sample has the wanted number of tokens."""
    rows: Rendering | None = None
    """How the documents, which are rows of a dataset, become samples; None: the documents are text."""


class _Written(NamedTuple):
    """What was written into a file of documents: where each line begins, the lengths in characters, bytes, and the digest."""

    offsets: list[int]
    lengths: list[int]
    size_bytes: int
    digest: str


def take_text(config: Evaluation, folder: Path, count: Count, emit: Emit, check: Check) -> Text:
    """Choose the documents and copy them into `folder`, unless that was done before; returns what was chosen.

    `count` counts the tokens of the first model, for evaluate.limit_tokens. `check` is called for every document; an
    exception from it ends the work, which a later call repeats. Raises SeedbedError if there is no text.
    """
    known = files.read_json(folder / TEXT)
    if known is not None:
        return msgspec.convert(known, Text)
    with files.explained(folder):
        for name in (_SOURCE, DOCUMENTS):  # what an earlier attempt left, for example on a full disk
            (folder / name).unlink(missing_ok=True)
    asked = config.evaluate
    split = settled_split(asked, config.data, was_trained_on=False)
    found = rows_of(config.data, split, emit, check)
    rendering = None
    if found is not None:
        name, rendering, documents = found
    else:
        name, documents = _open(config, split, emit, check)
    sampled = asked.limit_documents is not None or asked.limit_tokens is not None
    place = folder / (_SOURCE if sampled else DOCUMENTS)
    mode = 0o644 if rendering is None else PRIVATE_FILE  # rows may be of private logs
    written = whole = _write(documents, place, check, mode)
    was_cut = False
    if whole.offsets and sampled:
        chosen = _sample(place, whole.offsets, asked, count, check)
        was_cut = any(text is not None for text in chosen.values())
        written = _write(_chosen(place, whole.offsets, chosen), folder / DOCUMENTS, check, mode)
    if sampled:
        place.unlink()
    if not written.offsets:
        raise SeedbedError(f"{name} contains no text in its split {split}.", "Choose another --data or --split.")
    characters = sum(written.lengths)
    few = len(written.offsets) < FEWEST_DOCUMENTS and rendering is None
    block = max(_SHORTEST_BLOCK, characters // _BLOCKS) if few else 0
    units = sum(num_units(length, block) for length in written.lengths)
    text = Text(
        name=name,
        split=split,
        source_documents=len(whole.offsets),
        documents=len(written.offsets),
        characters=characters,
        size_bytes=written.size_bytes,
        block_characters=block if units > len(written.offsets) else 0,
        units=units,
        digest=written.digest,
        was_cut=was_cut,
        rows=rendering,
    )
    files.write_json(folder / TEXT, msgspec.to_builtins(text))
    return text


def num_units(length: int, block_characters: int) -> int:
    """The number of units of a document of `length` characters. `block_characters`: see Text."""
    return max(round(length / block_characters), 1) if block_characters else 1


def unit_sizes(text: str, block_characters: int) -> list[int]:
    """The UTF-8 bytes of each unit of a document. Unit i of n has the characters c with c * n // length = i."""
    count = num_units(len(text), block_characters)
    bounds = [-(-index * len(text) // count) for index in range(count + 1)]
    return [len(text[begin:end].encode()) for begin, end in itertools.pairwise(bounds)]


def read_documents(folder: Path) -> Iterator[str]:
    """Yield the chosen documents in the order of the source. Raises SeedbedError if their copy is missing or damaged."""
    place = folder / DOCUMENTS
    try:
        with place.open("rb") as handle:
            for line in handle:
                yield msgspec.json.decode(line, type=str)
    except (OSError, msgspec.DecodeError) as error:
        raise SeedbedError(
            f"The copy of the text in {quoted(place)} cannot be read ({error}).", "Start a new evaluation."
        ) from error


def remove_text(folder: Path) -> None:
    """Remove the copy of the text, when all models are evaluated."""
    (folder / DOCUMENTS).unlink(missing_ok=True)


# Sources -------------------------------------------------------------------------------------------------------------


def _open(config: Evaluation, split: str, emit: Emit, check: Check) -> tuple[str, Iterator[str]]:
    """The name of the source and an iterator of the documents of a split: validation, train or all."""
    prepared = prepared_folder(config.data.source)
    if prepared is not None:
        dataset = run_interruptibly(lambda: Dataset.open(prepared), check)
        if dataset.has_samples:
            raise SeedbedError(
                f"{dataset.name} has only samples of rows, which were made for one tokenizer.",
                "Evaluate the dataset itself: --data with the folder that `seedbed data merge` made.",
            )
        return dataset.name, _decoded(dataset, split)
    source = run_interruptibly(lambda: open_source(config.data, emit=emit), check)
    if split == "all" and isinstance(source, WholeSource):
        return source.name, source.whole_documents()
    if split == "all":
        return source.name, itertools.chain(source.documents("train"), source.documents("validation"))
    return source.name, source.documents("train" if split == "train" else "validation")


def _decoded(dataset: Dataset, split: str) -> Iterator[str]:
    """Yield the documents of a prepared dataset, which has only token ids, as text."""
    splits = (dataset.train, dataset.validation) if split == "all" else (getattr(dataset, split),)
    for each in splits:
        begin = 0
        for end in each.document_ends.tolist():
            yield dataset.tokenizer.decode(each.read(begin, end - 1 - begin).tolist())
            begin = end


def _write(documents: Iterable[str], place: Path, check: Check, mode: int) -> _Written:
    """Write documents as JSON lines to a file with these permissions. Empty ones are omitted."""
    digest = hashlib.sha256()
    offsets: list[int] = []
    lengths: list[int] = []
    size_bytes = at = 0
    with files.replacing(place, durable=False, mode=mode) as handle:
        for document in documents:
            check()
            text = well_formed(document)
            if not text:
                continue
            line = msgspec.json.encode(text) + b"\n"
            handle.write(line)
            digest.update(line)
            offsets.append(at)
            lengths.append(len(text))
            at += len(line)
            size_bytes += len(text.encode())
    return _Written(offsets, lengths, size_bytes, digest.hexdigest())


def _sample(
    place: Path, offsets: list[int], asked: EvaluateConfig, count: Count, check: Check
) -> dict[int, str | None]:
    """Choose documents at random: the number of each, with the text that is left of it if it is cut, else None."""
    order = np.random.default_rng(asked.seed).permutation(len(offsets)).tolist()
    order = order[: asked.limit_documents]
    if asked.limit_tokens is None:
        return dict.fromkeys(order)
    chosen: dict[int, str | None] = {}
    left = asked.limit_tokens
    with place.open("rb") as handle:
        for index in order:
            check()
            handle.seek(offsets[index])
            text = msgspec.json.decode(handle.readline(), type=str)
            tokens = max(count(text), 1)
            if tokens <= left:
                chosen[index] = None
            elif not chosen or left >= asked.limit_tokens * _SMALLEST_CUT:
                at = max(len(text) * left // tokens, 1)
                chosen[index] = text[: max(nearest_border(text, at, min(_SLACK, at // 2)), 1)]
            left -= tokens
            if left <= 0:
                break
    return chosen


def _chosen(place: Path, offsets: list[int], chosen: dict[int, str | None]) -> Iterator[str]:
    """Yield the chosen documents of a file, in its order."""
    with place.open("rb") as handle:
        for index in sorted(chosen):
            cut = chosen[index]
            if cut is not None:
                yield cut
                continue
            handle.seek(offsets[index])
            yield msgspec.json.decode(handle.readline(), type=str)
