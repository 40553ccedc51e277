"""Small datasets of rows of all kinds, as `seedbed data merge` writes them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from seedbed.curation.folder import EVAL, RECORDS, TRAIN, Description, fingerprint_of, write_description, write_rows
from seedbed.curation.record import Message, Provenance, Record, content_id

_WORDS = (
    "the",
    "fox",
    "and",
    "a hen",
    "sat by",
    "red",
    "barns",
    "while",
    "rain",
    "fell",
    "on",
    "old",
    "stone",
    "walls",
    "near",
)


def words(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(least, most)))


def text_row(number: int, least: int = 3, most: int = 30) -> Record:
    rng = random.Random(f"text {number}")
    lines = [words(rng, least, most) + f" {number}.\n" for _ in range(rng.randint(1, 3))]
    return Record(kind="text", text="".join(lines), provenance=Provenance(source="files", path=f"{number}.txt"))


def fim_row(number: int) -> Record:
    rng = random.Random(f"fim {number}")
    whole = f"def f{number}(x):\n    # {words(rng, 2, 6)}\n    y = x + {number}\n    return y\n"
    begin, end = sorted(rng.sample(range(1, len(whole)), 2))
    return Record(
        kind="fim",
        prefix=whole[:begin],
        middle=whole[begin:end],
        suffix=whole[end:],
        span="character",
        order=rng.choice(["psm", "spm"]),
        provenance=Provenance(source="git", repository="app", path=f"f{number}.py"),
    )


def chat_row(number: int) -> Record:
    rng = random.Random(f"chat {number}")
    messages = [
        Message(role="user", content=f"Where did the fox sit on day {number}?"),
        Message(role="assistant", content=f"It sat {words(rng, 2, 6)}."),
        Message(role="user", content="And then?"),
        Message(role="assistant", content=f"Then {words(rng, 2, 6)}."),
    ]
    return Record(kind="chat", messages=messages, provenance=Provenance(source="codex", session=str(number)))


MAKERS = {"text": text_row, "fim": fim_row, "chat": chat_row}


def rows(kinds: Iterable[str], count: int, first: int = 0) -> Iterator[Record]:
    """`count` rows, the kinds in turn."""
    makers = [MAKERS[kind] for kind in kinds]
    for number in range(first, first + count):
        record = makers[number % len(makers)](number)
        record.id = content_id(record)
        yield record


def dataset(
    folder: Path, train: list[Record], evaluation: list[Record] | None, settings: dict[str, object] | None = None
) -> Path:
    """A dataset with these rows; not split if there is no evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {RECORDS: train} if evaluation is None else {TRAIN: train, EVAL: evaluation}
    facts = {name: write_rows(folder / name, lambda part=part: part) for name, part in parts.items()}
    description = Description(
        name=folder.name, made="merge", fingerprint=fingerprint_of(facts), files=facts, settings=settings or {}
    )
    write_description(folder, description)
    return folder


def mixed(folder: Path, *kinds: str, count: int = 60) -> Path:
    """A split dataset of rows of these kinds; by default of all."""
    kinds = kinds or tuple(MAKERS)
    return dataset(folder, list(rows(kinds, count)), list(rows(kinds, count // 4, first=1000)))
