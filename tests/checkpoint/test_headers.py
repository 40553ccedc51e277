"""The headers of safetensors files: what is found, and which files are refused with the reason."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from seedbed.checkpoint.headers import INDEX, WEIGHTS, read_header, shard_names, tensor_headers, weight_files
from seedbed.errors import SeedbedError

TENSORS = {
    "b": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
    "a": torch.arange(5.0),
    "scalar": torch.tensor(1, dtype=torch.int64),
    "none": torch.zeros(0, 4),
}


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def sharded(folder: Path) -> dict[str, Any]:
    """Two shards, and their index as it is parsed."""
    save_file({"a": torch.zeros(2)}, folder / "model-1.safetensors")
    save_file({"b": torch.zeros(3)}, folder / "model-2.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / INDEX).write_text(json.dumps(index))
    return index


def test_every_tensor_is_found_where_its_numbers_are(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / WEIGHTS, metadata={"format": "pt"})
    content = (tmp_path / WEIGHTS).read_bytes()
    found = tensor_headers(tmp_path)
    with safe_open(tmp_path / WEIGHTS, framework="pt") as opened:
        assert set(found) == set(opened.keys())
        for name, info in found.items():
            tensor = opened.get_tensor(name)
            assert info.shape == tuple(tensor.shape)
            stored = content[info.offset : info.offset + info.num_bytes]
            assert stored == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    assert found["b"].dtype == "BF16"


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    sharded(tmp_path)
    found = tensor_headers(tmp_path)
    assert {name: info.file.name for name, info in found.items()} == {
        "a": "model-1.safetensors",
        "b": "model-2.safetensors",
    }


def moved(index: dict[str, Any]) -> None:
    index["weight_map"]["a"] = "model-2.safetensors"


def invented(index: dict[str, Any]) -> None:
    index["weight_map"]["c"] = "model-2.safetensors"


def outside(index: dict[str, Any]) -> None:
    index["weight_map"]["a"] = "../model-1.safetensors"


def missing(index: dict[str, Any]) -> None:
    index["weight_map"]["a"] = "model-3.safetensors"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (moved, '"a" is in "model-2.safetensors", but it is not there'),
        (invented, '"c" is in "model-2.safetensors"'),
        (outside, "no name of a file in the folder"),
        (missing, "Shards of the weights are missing: model-3.safetensors"),
    ],
)
def test_an_index_that_contradicts_the_shards_is_refused(
    change: Callable[[dict[str, Any]], None], named: str, tmp_path: Path
) -> None:
    index = sharded(tmp_path)
    change(index)
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(SeedbedError, match=named):
        tensor_headers(tmp_path)


def test_the_shards_of_an_index_are_named_once_and_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "x.safetensors", "b": "y.safetensors", "c": "x.safetensors"}}')
    assert shard_names(tmp_path) == ["x.safetensors", "y.safetensors"]


@pytest.mark.parametrize(
    ("index", "named"),
    [
        *(
            (json.dumps({"weight_map": {"a": name}}), "no name of a file")
            for name in ("..", ".", "", "b/c", "/c", "c/", 3, None)
        ),
        ('{"weight_map": {}}', "lists no tensors"),
        ('{"weight_map": 3}', "lists no tensors"),
        ("[]", "lists no tensors"),
        ("{", "not valid JSON"),
    ],
)
def test_a_wrong_index_is_refused_by_all_that_read_it(index: str, named: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(index)
    for read in (shard_names, weight_files, tensor_headers):
        with pytest.raises(SeedbedError, match=named):
            read(tmp_path)


def test_an_index_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / INDEX).open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(SeedbedError, match="too large"):
        shard_names(tmp_path)


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match=r"index\.json"):
        shard_names(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path)
    save_file({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "model-2.safetensors")
    with pytest.raises(SeedbedError, match='"a" is in two shards'):
        tensor_headers(tmp_path)


@pytest.mark.parametrize("end", [0, 3, 8, 40, -1])
def test_a_truncated_file_is_refused(end: int, tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / WEIGHTS)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[:end])
    with pytest.raises(
        SeedbedError, match=r'"model\.safetensors" cannot be read: it (is truncated|has no complete header)'
    ):
        tensor_headers(tmp_path)


FLOATS = entry("F32", [2], 0, 8)


@pytest.mark.parametrize(
    ("header", "data", "named"),
    [
        (b"{not json", b"", "header is damaged"),
        (b"[]", b"", "header is damaged"),
        (b"[" * 100_000, b"", "header is damaged"),
        (b'{"a": {"dtype": "F32"}}', b"", "header is damaged"),
        (b'{"a": 1, "a": 2}', b"", "a name occurs twice"),
        ({"a": entry("F32", [3], 0, 8)}, bytes(8), "of shape .3. and type F32 has 8 bytes"),
        ({"a": entry("F32", [-2], 0, 8)}, bytes(8), "makes no sense"),
        ({"a": entry("F32", [True, 2], 0, 8)}, bytes(8), "makes no sense"),
        ({"a": entry("F32", [2], 8, 0)}, bytes(8), "makes no sense"),
        ({"a": FLOATS, "b": entry("F32", [2], 4, 12)}, bytes(12), '"b" overlaps'),
        ({"a": FLOATS, "b": entry("F32", [2], 0, 8)}, bytes(8), "overlaps"),
        ({"a": FLOATS, "b": entry("F32", [2], 12, 20)}, bytes(20), '"b" begins after a gap'),
        ({"a": FLOATS}, bytes(9), "goes on after its last tensor"),
        ({"a": entry("F32", [2**60], 0, 2**62)}, bytes(8), "truncated"),
    ],
)
def test_a_damaged_header_is_refused(header: object, data: bytes, named: str, tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match=named):
        read_header(write(tmp_path / WEIGHTS, header, data))


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match="no complete header"):
        read_header(write(tmp_path / WEIGHTS, {"a": FLOATS}, bytes(8), length=2**63))


@pytest.mark.parametrize(
    ("name", "named"),
    [("pytorch_model.bin", "pickle"), ("model-Q4.gguf", "GGUF"), ("notes.txt", "no model.safetensors")],
)
def test_a_folder_without_safetensors_is_refused_with_what_it_has(name: str, named: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cposix\nsystem\n")
    with pytest.raises(SeedbedError, match=named):
        tensor_headers(tmp_path)
