"""Look up facts about GPUs, models and networks by name: the shipped ones and the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple

import msgspec

from seedbed.config.directories import facts_dir
from seedbed.config.spelling import FARTHEST, did_you_mean, edits
from seedbed.errors import UsageError
from seedbed.simulate.fact_files import Named, R, decoded, key, read_table, shipped_rows, user_files
from seedbed.simulate.hardware_facts import Gpu, Network
from seedbed.simulate.shape import Shape
from seedbed.text import quoted

if TYPE_CHECKING:
    from seedbed.config.schema import Config

DEFAULT_GPU = "H100-SXM-80GB"
MAX_GPUS = 1_000_000

_BRANDS = re.compile(r"^(?:nvidia|geforce|tesla|quadro|amd|radeon|instinct|intel|habana|google|apple)+|gpu$")
"""Words of a driver's name for a GPU (as `fact_files.key` writes it) that the catalog leaves out."""
_GPUS_HINT = "Write for example 64xH100, H100:64 or 64."

_SHORTEST_FAMILY = 3
"""Letters of the shortest first word of a name by which its family is recognised."""


class Gpus(NamedTuple):
    """A number of equal GPUs."""

    num_gpus: int
    gpu: Gpu


def gpu(name: str) -> Gpu:
    """The GPU with this name or alias, also as its driver prints it (`NVIDIA GeForce RTX 4090 Laptop GPU`).

    Case, spaces, dashes and underscores make no difference. Raises UsageError with the nearest names if it is unknown.
    """
    return _known_gpu(name) or _found(name, "GPU", "gpus", _table("gpus", Gpu))


def _known_gpu(name: str) -> Gpu | None:
    """The GPU with this name or alias, with or without its maker and brand before and `GPU` after it; None without one."""
    table = _table("gpus", Gpu)
    return table.get(name) or table.get(_BRANDS.sub("", key(name)))


def model(name: str) -> Shape:
    """The shape of the model with this name or alias, or of a training preset of Seedbed.

    Raises UsageError with the nearest names if it is unknown.
    """
    table = _table("models", Shape)
    return table.get(name) or _found(name, "model", "models", _presets(), table)


def network(name: str) -> Network:
    """The network with this name or alias. Raises UsageError with the nearest names if it is unknown."""
    return _found(name, "network", "networks", _table("networks", Network))


def gpus() -> tuple[Gpu, ...]:
    """All GPUs, the user's included, in the order of the files."""
    return _table("gpus", Gpu).rows


def models() -> tuple[Shape, ...]:
    """All models in the tables, the user's included, in the order of the files; without Seedbed's presets."""
    return _table("models", Shape).rows


def networks() -> tuple[Network, ...]:
    """All networks, the user's included, in the order of the files."""
    return _table("networks", Network).rows


def preset_shapes() -> tuple[Shape, ...]:
    """The shapes of Seedbed's own training presets, smallest first, computed from the presets."""
    return _presets().rows


def shape_of(name: str, config: Config) -> Shape:
    """The shape of the model that a training config describes, with the config's vocabulary size."""
    from seedbed.config.arithmetic import count_parameters, padded_vocab
    from seedbed.config.families.family import features

    sizes, built = config.model, features(config.model)
    vocab_size = config.tokenizer.vocab_size
    return Shape(
        name=name,
        layers=sizes.layers,
        hidden=sizes.hidden,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        ffn=sizes.ffn,
        vocab=padded_vocab(sizes, vocab_size),
        gated=built.mlp == "swiglu",
        tied=sizes.tie_embeddings,
        biases=built.qkv_bias and built.out_bias and built.mlp_bias,
        learned_positions=sizes.longest_context if built.positions == "learned" else 0,
        window=sizes.window if sizes.window_layers.strip() == "all" else 0,
        context=sizes.context,
        published_parameters=count_parameters(sizes, vocab_size),
    )


def parse_gpus(text: str, default: str = DEFAULT_GPU) -> Gpus:
    """Read a number of GPUs and their kind: `64xH100`, `H100x64`, `H100:64`, `8x H100-SXM-80GB`, `H100` (one), `64`.

    A number alone means GPUs of the kind `default`. Raises UsageError for a number that is not a whole number from 1 to
    1,000,000, and for an unknown GPU.
    """
    given = text.strip()
    if not given:
        raise UsageError("No GPUs are given.", _GPUS_HINT)
    if _is_number(given):
        return Gpus(_number(given, text), gpu(default))
    if _known_gpu(given):
        return Gpus(1, gpu(given))
    splits = _splits(given)
    for number, name in splits:
        if _known_gpu(name):
            return Gpus(_number(number, text), gpu(name))
    if splits:
        number, name = splits[0]
        _number(number, text)
        return Gpus(0, gpu(name))  # raises: the name is unknown
    return Gpus(1, gpu(given))  # raises, too


def _splits(given: str) -> list[tuple[str, str]]:
    """The ways to read a text as a number and a name, the number first or last."""
    number = r"[-+]?\d[\d_,.]*"
    first = re.fullmatch(rf"({number})\s*(?:[x×*:]\s*|\s)(.+)", given, re.IGNORECASE)
    last = re.fullmatch(rf"(.+?)\s*[x×*:]\s*({number})", given, re.IGNORECASE)
    found = [(first[1], first[2].strip())] if first else []
    return found + ([(last[2], last[1].strip())] if last else [])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d[\d_,.]*", text) is not None


def _number(number: str, text: str) -> int:
    """The number of GPUs in `text`."""
    plain = re.sub(r"(?<=\d)[_,](?=\d{3}(?!\d))", "", number)
    if not re.fullmatch(r"[-+]?\d+", plain):
        raise UsageError(f"{quoted(text)}: {number} is not a whole number of GPUs.", _GPUS_HINT)
    if not 1 <= int(plain) <= MAX_GPUS:
        raise UsageError(
            f"{quoted(text)}: the number of GPUs must be from 1 to {MAX_GPUS:,}, not {number}.", _GPUS_HINT
        )
    return int(plain)


class _Table(Generic[R]):
    """Rows, found by the keys of their names and aliases. A shipped row is decoded when it is first asked for."""

    def __init__(self, kind: type[R], rows: Sequence[R | msgspec.Raw]) -> None:
        self._kind: type[R] = kind
        self._rows: list[R | msgspec.Raw] = list(rows)
        names = [decoded(row, Named) if isinstance(row, msgspec.Raw) else row for row in rows]
        # A name goes before an alias, and a later row before an earlier one.
        self._places = {key(alias): place for place, row in enumerate(names) for alias in row.aliases}
        self._places |= {key(row.name): place for place, row in enumerate(names)}

    @property
    def rows(self) -> tuple[R, ...]:
        """All rows in the order of the files."""
        return tuple(map(self._row, range(len(self._rows))))

    def get(self, name: str) -> R | None:
        """The row with this name or alias; None if there is none."""
        place = self._places.get(key(name))
        return None if place is None else self._row(place)

    def _row(self, place: int) -> R:
        row = self._rows[place]
        if isinstance(row, msgspec.Raw):
            read: R = decoded(row, self._kind)
            self._rows[place] = read
            return read
        return row


def _table(table: str, kind: type[R]) -> _Table[R]:
    """The rows of a table. The files are read once in a process."""
    found: _Table[R] = _read(table, kind, facts_dir())
    return found


@cache
def _read(table: str, kind: type[R], user_dir: Path | None) -> _Table[R]:
    rows = read_table(table, kind, user_dir).values() if user_files(user_dir) else shipped_rows(table)
    return _Table(kind, list(rows))


@cache
def _presets() -> _Table[Shape]:
    from seedbed.config.preset import preset_names
    from seedbed.config.resolving import defaults
    from seedbed.config.roots import TRAIN

    return _Table(Shape, [shape_of(name, defaults(TRAIN, name)) for name in preset_names(TRAIN)])


def _found(name: str, noun: str, where: str, *tables: _Table[R]) -> R:
    """The row with this name or alias in one of the tables; raises UsageError if there is none."""
    for table in tables:
        row = table.get(name)
        if row is not None:
            return row
    close = did_you_mean(_nearest(name, [row for table in tables for row in table.rows]))
    hint = f"`seedbed plan --list {where}` lists all; docs/facts.md says how to add your own."
    raise UsageError(f"There is no {noun} {quoted(name)}.", f"{close}{hint}")


def _nearest(name: str, rows: Sequence[Gpu | Shape | Network]) -> list[str]:
    """The names, at most three, of the rows that the user may have meant, best first.

    First the names that continue the given one (`llama3` -> `Llama-3-8B`), or are its start, then the fewest edits. If
    there is none, names of the same family (`qwen-8` -> `Qwen3-8B`): their first word is the given one or like it.
    """
    given, words = key(name), _words(name)
    scores: dict[str, float] = {}
    for row in rows:
        for each in (row.name, *row.aliases):
            other, other_words = key(each), _words(each)
            shared = min(len(words), len(other_words))
            if shared and words[:shared] == other_words[:shared]:
                score = (len(other_words) - shared) / 100 + (len(words) - shared) / 10
            elif abs(len(other) - len(given)) <= FARTHEST:
                score = float(edits(given, other))
            else:
                continue
            if score <= min(FARTHEST, len(given) // 3):
                scores[row.name] = min(score, scores.get(row.name, score))
    if not scores and words and len(words[0]) >= _SHORTEST_FAMILY:
        for row in rows:
            first = _words(row.name)[:1]
            if first and edits(words[0], first[0]) <= 1:
                scores[row.name] = edits(given, key(row.name))
    return sorted(scores, key=lambda each: scores[each])[:3]


def _words(name: str) -> list[str]:
    """The words and numbers of a name: `Llama-3.1-8B` -> llama, 3.1, 8, b."""
    return re.findall(r"[a-z]+|\d+(?:\.\d+)*", name.casefold())
