"""Rows for the tests of the split, and a measure of leaks that shares no code with it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from seedbed.curation.drops import Drops
from seedbed.curation.record import Message, Provenance, Record, content_id, encode, targets_of, texts_of
from seedbed.curation.splitting.split import SplitOptions, SplitResult, split

_TOKEN = re.compile(r"\w+|[^\w\s]")
WORDS = [a + b + c for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("lan", "mer", "tos", "vik")]


def prose(rng: random.Random, words: int) -> str:
    """Text whose runs of 13 words do not repeat."""
    return " ".join(rng.choice(WORDS) for _ in range(words))


def named(record: Record) -> Record:
    record.id = content_id(record)
    return record


def text_row(text: str, **provenance: str) -> Record:
    return named(Record(kind="text", text=text, provenance=Provenance(source="files", **provenance)))


def chat(*turns: str, links: Sequence[str] = (), time: str | None = None, source: str = "claude-code") -> Record:
    """A conversation in which the user and the assistant take turns."""
    messages = [Message(role="assistant" if n % 2 else "user", content=turn) for n, turn in enumerate(turns)]
    origin = Provenance(source=source, time=time, session=next(iter(links), None))
    return named(Record(kind="chat", messages=messages, provenance=origin, links=list(links) or None))


def fim(piece: str, start: int, end: int, path: str, repository: str = "app") -> Record:
    return named(
        Record(
            kind="fim",
            prefix=piece[:start],
            middle=piece[start:end],
            suffix=piece[end:],
            provenance=Provenance(source="git", repository=repository, path=path),
            links=[f"path:{repository}/{path}"],
        )
    )


def windows(text: str, path: str, rng: random.Random, count: int = 6, size: int = 1600) -> list[Record]:
    """Random windows of a file with a gap of 20 to 40 %, which overlap: the rows of the scripts that leak."""
    made = []
    for _ in range(count):
        length = min(len(text), size)
        at = rng.randint(0, len(text) - length)
        gap = int(length * rng.uniform(0.2, 0.4))
        start = rng.randint(0, length - gap)
        made.append(fim(text[at : at + length], start, start + gap, path))
    return made


def write(path: Path, records: Iterable[Record]) -> Path:
    path.write_bytes(b"".join(encode(each) + b"\n" for each in records))
    return path


def split_of(
    folder: Path, records: Sequence[Record], drops: Drops | None = None, **options: object
) -> tuple[SplitResult, dict[str, int]]:
    """The split of records in one file, and that of each id: 0 training, 1 evaluation, 2 left out."""
    part = write(folder / "rows.jsonl", records)
    chosen = SplitOptions(**{"eval_fraction": 0.15, **options})  # type: ignore[arg-type]
    result = split([part], chosen, drops or Drops(), lambda _: None)
    return result, {each.id: int(where) for each, where in zip(records, result.split, strict=True)}


def with_other_markup(text: str) -> str:
    """The same words with other punctuation and lines, as if a document had been converted."""
    return re.sub(r"(\w+) (\w+) (\w+)", r"`\1`: *\2*,\n- \3", text)


def runs(text: str) -> list[tuple[str, ...]]:
    tokens = _TOKEN.findall(text.lower())
    return [tuple(tokens[at : at + 13]) for at in range(len(tokens) - 12)]


def leaked(evaluated: Iterable[Record], trained: Iterable[Record]) -> tuple[int, int]:
    """How many answers of 13 tokens or more are more than half seen in training texts, and how many answers there are."""
    seen: set[tuple[str, ...]] = set()
    for record in trained:
        whole = [(record.prefix or "") + (record.middle or "") + (record.suffix or "")]
        for text in [*whole, *texts_of(record)]:
            seen.update(runs(text))
    bad = total = 0
    for record in evaluated:
        for answer in targets_of(record):
            here = runs(answer)
            total += bool(here)
            bad += bool(here) and sum(run in seen for run in here) * 2 > len(here)
    return bad, total


def by_split(records: Iterable[Record], where: dict[str, int], number: int) -> list[Record]:
    return [each for each in records if where[each.id] == number]
