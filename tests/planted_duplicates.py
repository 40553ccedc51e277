"""Records of words in random order, near duplicates of them with a known similarity, and exact Jaccard similarities."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from seedbed.curation.record import Licence, Message, Provenance, Record, content_id, encode


def words(seed: int, count: int = 200) -> list[str]:
    chosen = random.Random(seed)
    return [f"w{chosen.randrange(5000)}" for _ in range(count)]


def edited(original: Sequence[str], edits: int, seed: int) -> list[str]:
    """The words with some of them replaced, at places apart from each other."""
    chosen = random.Random(seed)
    changed = list(original)
    for place in chosen.sample(range(len(changed)), edits):
        changed[place] = f"new{chosen.randrange(10**6)}"
    return changed


def jaccard(one: Sequence[str], other: Sequence[str], run: int = 5) -> float:
    left, right = ({tuple(each[i : i + run]) for i in range(len(each) - run + 1)} for each in (one, other))
    return len(left & right) / len(left | right)


def identified(record: Record) -> Record:
    record.id = content_id(record)
    return record


def prose(text: str, **provenance: str) -> Record:
    return identified(Record(kind="text", text=text, provenance=Provenance(source="files", **provenance)))


def code(text: str, path: str, repository: str = "app", licence: str | None = None, time: str | None = None) -> Record:
    where = Provenance(source="git", repository=repository, path=path, time=time)
    found = Licence(spdx=licence, found_in="LICENSE") if licence else None
    return identified(Record(kind="text", text=text, provenance=where, licence=found))


def gap(text: str, begin: int, end: int, path: str, repository: str = "app", licence: str | None = None) -> Record:
    found = Licence(spdx=licence, found_in="LICENSE") if licence else None
    return identified(
        Record(
            kind="fim",
            prefix=text[:begin],
            middle=text[begin:end],
            suffix=text[end:],
            provenance=Provenance(source="git", repository=repository, path=path),
            licence=found,
        )
    )


def chat(*turns: str, session: str = "s1") -> Record:
    messages = [Message(role="assistant" if n % 2 else "user", content=turn) for n, turn in enumerate(turns)]
    return identified(Record(kind="chat", messages=messages, provenance=Provenance(source="codex", session=session)))


def written(folder: Path, records: Sequence[Record], name: str = "records.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return path
