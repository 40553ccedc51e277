"""Which Hugging Face tensor stores which rows of which parameter of the decoder, with all shapes. Imports no torch.

The decoder fuses some matrices into one parameter (such as q, k and v into qkv), which Hugging Face may store as several
tensors. A `Piece` says which rows of which parameter belong to which tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from seedbed.checkpoint.headers import TensorInfo
from seedbed.config.families.family import family, features
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.text import plural, quoted

Role = Literal["matrix", "embedding", "head", "vector"]
_MOST_SHOWN = 8
READ_DTYPES = ("F64", "F32", "F16", "BF16")
"""The dtypes, as safetensors names them, in which weights are read."""


class Piece(NamedTuple):
    """Rows of a decoder parameter (its name is `ours`), and the Hugging Face tensor (`theirs`) that stores these rows.

    `shape` is that of the rows here, [out, in] or [n]. `rows` None means all rows. Pieces with the same `theirs` are
    concatenated in that tensor, in order; with `heads`, the tensor has for each of so many heads its rows of every piece.
    """

    ours: str
    theirs: str
    role: Role
    shape: tuple[int, ...]
    rows: slice | None = None
    part: str = ""  # q, k or v if the Hugging Face tensor is fused, too
    transposed: bool = False
    heads: int = 0


class Segment(NamedTuple):
    """`rows` rows that follow one another both in a piece (from row `ours`) and in the tensor (from row `theirs`)."""

    piece: Piece
    ours: int
    theirs: int
    rows: int


def by_tensor(model: ModelConfig, vocab_rows: int) -> dict[str, list[Piece]]:
    """The pieces of each tensor of a model, by the tensor's Hugging Face name, in the order of the forward pass."""
    found: dict[str, list[Piece]] = {}
    for piece in pieces(model, vocab_rows):
        found.setdefault(piece.theirs, []).append(piece)
    return found


def segments(parts: Sequence[Piece]) -> Iterator[Segment]:
    """The rows of a tensor with these pieces, in the order in which it stores them."""
    at = 0
    for head in range(parts[0].heads or 1):
        for piece in parts:
            count = piece.shape[0] // (piece.heads or 1)
            yield Segment(piece, head * count, at, count)
            at += count


def stored_shape(parts: Sequence[Piece]) -> tuple[int, ...]:
    """The shape of the tensor with these pieces."""
    shape = (sum(piece.shape[0] for piece in parts), *parts[0].shape[1:])
    return shape[::-1] if parts[0].transposed else shape


def expected_shapes(model: ModelConfig, vocab_rows: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in the files of a model, by its Hugging Face name. A tied head is not stored."""
    return {name: stored_shape(parts) for name, parts in by_tensor(model, vocab_rows).items()}


# ------------------------------------------------------------------------------------------------ names in files


def stored_names(model: ModelConfig, stored: Iterable[str]) -> dict[str, str]:
    """The names in a model's files by the names that Seedbed writes: with the family's prefix, without masks.

    A head that is tied and stored nevertheless is among them: see `head_copy`.
    """
    names = family(model.layout).names
    kept = [name for name in stored if not name.endswith(names.ignored)]
    if any(name.startswith(names.prefix) for name in kept):
        return {name: name for name in kept}
    return {name if name == f"{names.head}.weight" else names.prefix + name: name for name in kept}


def head_copy(model: ModelConfig) -> tuple[str, str] | None:
    """The names of embedding and head, if the head is tied: files that have both must have the same numbers twice."""
    names = family(model.layout).names
    return (f"{names.prefix}{names.embed}.weight", f"{names.head}.weight") if model.tie_embeddings else None


def check_tensors(model: ModelConfig, vocab_rows: int, stored: Mapping[str, tuple[int, ...]]) -> None:
    """Raise SeedbedError if the tensors in a model's files (name -> shape) are not those of its config.json.

    The message lists missing and unexpected tensors and those with a wrong shape. Does not read the weights, so it does not
    compare a tied head with the embedding.
    """
    expected = expected_shapes(model, vocab_rows)
    given = {ours: tuple(stored[theirs]) for ours, theirs in stored_names(model, stored).items()}
    tied = head_copy(model)
    if tied is not None and tied[1] in given and tied[0] in given:
        expected[tied[1]] = expected[tied[0]]
    wrong = [f"missing {name}" for name in expected if name not in given]
    wrong += [f"unexpected {name}" for name in given if name not in expected]
    wrong += [
        f"{name} has shape {list(given[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    if not wrong:
        return
    _refuse_other_layers(model, expected, given)
    more = f"; and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
    shown = "; ".join(wrong[:_MOST_SHOWN]) + more
    hint = "Use the config.json that was saved with these weights."
    if wrong == [f"missing {family(model.layout).names.head}.weight"]:
        hint = "If head and embedding are the same in this model, set tie_word_embeddings to true in config.json."
    raise SeedbedError(f"These weights do not fit a {model.layout} model of this shape: {shown}.", hint)


def _refuse_other_layers(
    model: ModelConfig, expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise SeedbedError if only whole layers at the end are missing or unexpected: the numbers of layers then say it all."""
    names = family(model.layout).names
    begin, _, end = (names.prefix + names.block).partition("{}")
    layer = re.compile(re.escape(begin) + r"(\d+)" + re.escape(end))

    def number(name: str) -> int:
        """The number of the layer of a tensor; -1 if it belongs to none."""
        found = layer.match(name)
        return int(found[1]) if found else -1

    stored = {number(name) for name in given} - {-1}
    if len(stored) == model.layers or stored != set(range(len(stored))):
        return
    least = min(len(stored), model.layers)
    if {name for name in expected if number(name) < least} == {name for name in given if number(name) < least}:
        raise SeedbedError(
            f"config.json says {plural(model.layers, 'layer')}, but the weights have {len(stored):,}.",
            "Use the config.json that was saved with these weights.",
        )


def check_files(model: ModelConfig, vocab_rows: int, headers: Mapping[str, TensorInfo]) -> None:
    """Raise SeedbedError if the tensors in a model's files do not fit its config.json, or have a dtype that is not read."""
    check_tensors(model, vocab_rows, {name: info.shape for name, info in headers.items()})
    for name in stored_names(model, headers).values():
        if headers[name].dtype not in READ_DTYPES:
            raise SeedbedError(
                f"The tensor {quoted(name)} is stored as {quoted(headers[name].dtype)}, which Seedbed does not read.",
                "Use a copy with weights in float32, bfloat16 or float16.",
            )


def not_tied_error(model: ModelConfig) -> SeedbedError:
    """The error for a tied head whose numbers in the files are not those of the embedding."""
    return SeedbedError(
        f"config.json says that head and embedding are tied, but {family(model.layout).names.head}.weight in the weights "
        "differs from the embedding.",
        'Set "tie_word_embeddings" to false in config.json.',
    )


# ------------------------------------------------------------------------------------------------ pieces


def pieces(model: ModelConfig, vocab_rows: int) -> Iterator[Piece]:
    """Yield the pieces (rows of a parameter and where they are stored) of a whole decoder, in forward order."""
    built, names = features(model), family(model.layout).names
    table = (vocab_rows, model.hidden)
    yield Piece("embed.weight", f"{names.prefix}{names.embed}.weight", "embedding", table)
    if built.positions == "learned":
        positions = (model.longest_context, model.hidden)
        yield Piece("positions.weight", f"{names.prefix}{names.positions}.weight", "embedding", positions)
    for index in range(model.layers):
        yield from _block(model, f"blocks.{index}.", names.prefix + names.block.format(index))
    yield from _norm("norm", names.prefix + names.norm, model.hidden, built.norm)
    if not model.tie_embeddings:
        yield Piece("head.weight", f"{names.head}.weight", "head", table)


def _block(model: ModelConfig, ours: str, theirs: str) -> Iterator[Piece]:
    """Yield the pieces of one transformer block. `ours` and `theirs`: the prefixes of its names here and there."""
    built, names = features(model), family(model.layout).names
    hidden, ffn, head = model.hidden, model.ffn, model.head_dim
    query, key = model.heads * head, model.kv_heads * head

    def linear(
        module: str, named: Sequence[str], inputs: int, bias: bool, heads: int = 0, **sizes: int
    ) -> Iterator[Piece]:
        layer = _Linear(ours + module, tuple(theirs + name for name in named), inputs, names.transposed, heads)
        return _linear(layer, sizes, bias)

    by_head = model.heads if names.by_head and model.kv_heads == model.heads else 0
    yield from _norm(f"{ours}norm_1", theirs + names.norm_1, hidden, built.norm)
    yield from linear("attention.qkv", names.qkv, hidden, built.qkv_bias, by_head, q=query, k=key, v=key)
    if built.qk_norm:
        for name, rows in zip(names.qk_norm, _rows(q=head, k=head).values(), strict=True):
            yield Piece(f"{ours}attention.qk_gain", f"{theirs}{name}.weight", "vector", (head,), rows)
    yield from linear("attention.out", (names.out,), query, built.out_bias, all=hidden)
    yield from _norm(f"{ours}norm_2", theirs + names.norm_2, hidden, built.norm)
    if built.mlp == "swiglu":
        yield from linear("mlp.gate_up", names.up, hidden, built.mlp_bias, gate=ffn, up=ffn)
    else:
        yield from linear("mlp.up", names.up, hidden, built.mlp_bias, all=ffn)
    yield from linear("mlp.down", (names.down,), ffn, built.mlp_bias, all=hidden)


def _rows(**sizes: int) -> dict[str, slice]:
    """The rows of each part of a fused matrix from the parts' sizes: q=4, k=2 gives slices 0 to 4 and 4 to 6."""
    found, begin = {}, 0
    for part, size in sizes.items():
        found[part] = slice(begin, begin + size)
        begin += size
    return found


def _norm(ours: str, theirs: str, width: int, norm: Literal["rms", "layer"]) -> Iterator[Piece]:
    yield Piece(f"{ours}.weight", f"{theirs}.weight", "vector", (width,))
    if norm == "layer":
        yield Piece(f"{ours}.bias", f"{theirs}.bias", "vector", (width,))


class _Linear(NamedTuple):
    """A linear layer here (`ours`) and its module or modules there; `heads`: see `Piece`."""

    ours: str
    theirs: tuple[str, ...]
    inputs: int
    transposed: bool
    heads: int


def _linear(layer: _Linear, sizes: Mapping[str, int], bias: bool) -> Iterator[Piece]:
    """Yield the pieces of a linear layer: its weights, then its bias. `sizes`: the rows of the parts that it combines."""
    modules = layer.theirs if len(layer.theirs) == len(sizes) else layer.theirs * len(sizes)
    is_fused_there = len(layer.theirs) < len(sizes)
    parts = [
        (module, rows if len(sizes) > 1 else None, part if is_fused_there else "")
        for module, (part, rows) in zip(modules, _rows(**sizes).items(), strict=True)
    ]
    for (module, rows, part), size in zip(parts, sizes.values(), strict=True):
        shape = (size, layer.inputs)
        name = f"{module}.weight"
        yield Piece(f"{layer.ours}.weight", name, "matrix", shape, rows, part, layer.transposed, layer.heads)
    if bias and is_fused_there and not layer.heads:  # one vector here and there
        yield Piece(f"{layer.ours}.bias", f"{modules[0]}.bias", "vector", (sum(sizes.values()),))
    elif bias:
        for (module, rows, part), size in zip(parts, sizes.values(), strict=True):
            yield Piece(f"{layer.ours}.bias", f"{module}.bias", "vector", (size,), rows, part, heads=layer.heads)
