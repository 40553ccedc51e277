"""Published vocabularies in other formats, GGUF and SentencePiece, written as tokenizer.json and tokenizer_config.json.

The formats are described in the documentation of ggml (gguf.md) and in sentencepiece_model.proto.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4
"""Types of tokens; both formats have the same."""

_DIGITS = {"type": "Digits", "individual_digits": True}
_STARCODER = [
    _DIGITS,
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
]
_DEEPSEEK_CODER = [
    *(
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+")
    ),
    _DIGITS,
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
]
_SPLITS = {"starcoder": _STARCODER, "refact": _STARCODER, "deepseek-coder": _DEEPSEEK_CODER}
"""How a text is split before the merges, by the name in a GGUF file. Whether it is right shows on the published ids."""


def from_gguf(source: Path, folder: Path) -> None:
    """Write the tokenizer in a GGUF file: BPE of bytes, or SentencePiece. What pads the vocabulary is left out."""
    from gguf import GGUFReader

    fields = GGUFReader(source).fields
    prefix = "tokenizer.ggml."

    def value(name: str) -> Any:
        return fields[prefix + name].contents() if prefix + name in fields else None

    tokens, types = value("tokens"), value("token_type")
    if value("model") == "llama":
        _write_sentencepiece(list(zip(tokens, value("scores"), types, strict=True)), folder)
        return
    # Added tokens at the end are no part of the model's vocabulary: the library numbers them on from its size.
    size = 1 + max(id_ for id_, kind in enumerate(types) if kind not in (CONTROL, USER))
    added = [
        _added(id_, token, special=types[id_] == CONTROL)
        for id_, token in enumerate(tokens)
        if types[id_] in (CONTROL, USER) and token != f"[PAD{id_}]"
    ]
    begin = tokens[value("bos_token_id")] if value("add_bos_token") else None
    spec = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _SPLITS[value("pre")]},
        "post_processor": None if begin is None else _begins_with(begin, tokens.index(begin)),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {token: id_ for id_, token in enumerate(tokens[:size])},
            "merges": [merge.split(" ") for merge in value("merges")],
            "unk_token": None,
            "byte_fallback": False,
        },
    }
    _write(folder, spec, {"bos_token": begin, "eos_token": tokens[value("eos_token_id")]})


def from_sentencepiece(content: bytes, folder: Path) -> None:
    """Write the BPE tokenizer in a SentencePiece model."""
    pieces = []
    for number, piece in _protobuf(content):
        if number == 1:
            parts = dict(_protobuf(piece))
            score = struct.unpack("<f", parts[2])[0] if 2 in parts else 0.0
            pieces.append((parts[1].decode(), score, parts.get(3, NORMAL)))
    _write_sentencepiece(pieces, folder)


def _write_sentencepiece(pieces: list[tuple[str, float, int]], folder: Path) -> None:
    """Write a tokenizer that puts <s> and a space before a text, as that of Llama 2 is published.

    `pieces`: the text, score and type of each id. A piece is made of any two others, those with the highest scores first.
    """
    vocab = {piece: id_ for id_, (piece, _, _) in enumerate(pieces)}
    scores = {piece: score for piece, score, kind in pieces if kind == NORMAL}
    merges = [
        (score, [piece[:cut], piece[cut:]])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    merges.sort(key=lambda each: (-each[0], vocab[each[1][0]], vocab[each[1][1]]))
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    spec = {
        "version": "1.0",
        "added_tokens": [
            _added(id_, piece, special=True)
            for id_, (piece, _, kind) in enumerate(pieces)
            if kind in (UNKNOWN, CONTROL)
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]},
        "pre_tokenizer": None,
        "post_processor": _begins_with("<s>", vocab["<s>"]),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": [pair for _, pair in merges],
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
        },
    }
    _write(folder, spec, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


def with_markers(folder: Path, markers: dict[int, str]) -> None:
    """Give the tokenizer in a folder markers at the given ids: unused tokens get their names, or the vocabulary grows."""
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    vocab = spec["model"]["vocab"]
    names = {id_: token for token, id_ in vocab.items()}
    for id_, marker in markers.items():
        old = names.get(id_)
        if old is not None:
            assert old.startswith("<unused"), old
            del vocab[old]
        vocab[marker] = id_
        spec["added_tokens"].append(_added(id_, marker, special=True))
    path.write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")


def _protobuf(content: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: the number, and the value as an integer or as bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(content):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            at += size
            yield number, content[at - size : at]


def _added(id_: int, content: str, *, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    return {"id": id_, "content": content, **flags, "normalized": False, "special": special}


def _begins_with(token: str, id_: int) -> dict[str, Any]:
    """The post-processor that puts a token before a text."""

    def pair(names: Iterable[str]) -> list[dict[str, Any]]:
        return [
            part
            for kind, name in enumerate(names)
            for part in ({"SpecialToken": {"id": token, "type_id": kind}}, {"Sequence": {"id": name, "type_id": kind}})
        ]

    special = {token: {"id": token, "ids": [id_], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": pair("A"), "pair": pair("AB"), "special_tokens": special}


def _write(folder: Path, spec: dict[str, Any], config: dict[str, Any]) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    given = {key: value for key, value in config.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(given), encoding="utf-8")
