"""A prepared dataset: reading gives what was written, and changed files are detected."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seedbed.config.schema import TokenizerConfig
from seedbed.data import build
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError

WORDS = ["the", "tall", "tree", "saw", "a", "small", "fox", "and", "it's", "12", "naïve", "日本", "\n"]


class Corpus:
    """Documents in memory."""

    name = "corpus"

    def __init__(self, train: list[str], validation: list[str]) -> None:
        self.texts = {"train": train, "validation": validation}
        self.drops: Counter[str] = Counter({"binary": 2})

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.texts).encode()).hexdigest()

    def documents(self, split: str) -> Iterator[str]:
        yield from self.texts[split]


def documents(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(count)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a dataset with several shards."""
    patch = pytest.MonkeyPatch()
    patch.setattr(build, "SHARD_BYTES", 3000)
    patch.setattr(build, "BLOCK_BYTES", 500)
    corpus = Corpus(documents(120, 1), documents(20, 2))
    dataset = build.build_from(
        corpus, TokenizerConfig(vocab_size=400), workers=1, cache=tmp_path_factory.mktemp("cache"), emit=lambda _: None
    )
    patch.undo()
    return dataset.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def stream(dataset: Dataset, texts: list[str]) -> list[int]:
    return [id_ for text in texts for id_ in [*dataset.tokenizer.encode(text), dataset.tokenizer.eot_id]]


def test_tokens_are_those_of_the_documents_with_end_of_text_after_each(folder):
    dataset = Dataset.open(folder)
    for split, texts in ((dataset.train, documents(120, 1)), (dataset.validation, documents(20, 2))):
        expected = stream(dataset, texts)
        assert split.num_tokens == len(expected)
        assert split.num_documents == len(texts)
        assert split.num_bytes == sum(len(text.encode()) for text in texts)
        ids = split.read(0, split.num_tokens)
        assert ids.dtype == np.int64
        assert ids.tolist() == expected
        assert (split.document_ends - 1).tolist() == [
            i for i, id_ in enumerate(expected) if id_ == dataset.tokenizer.eot_id
        ]
    assert len(list(folder.glob("train-*.ds"))) > 2


def test_reading_past_the_end_continues_at_the_start(folder):
    split = Dataset.open(folder).train
    whole = split.read(0, split.num_tokens).tolist()
    rng = random.Random(3)
    for _ in range(200):
        start, length = rng.randrange(3 * len(whole)), rng.randint(0, 2 * len(whole))
        assert split.read(start, length).tolist() == [whole[(start + i) % len(whole)] for i in range(length)]


def test_document_numbers_increase_at_each_end_of_text(folder):
    split = Dataset.open(folder).train
    whole, eot = split.read(0, split.num_tokens), Dataset.open(folder).tokenizer.eot_id
    starts = np.array([0, 5, split.num_tokens - 3, split.num_tokens - 1, 777])
    numbers = split.document_rows(starts, 200)
    assert numbers.dtype == np.int32
    for start, row in zip(starts.tolist(), numbers.tolist(), strict=True):
        tokens = [int(whole[(start + i) % len(whole)]) for i in range(200)]
        assert row == [sum(token == eot for token in tokens[1 : i + 1]) for i in range(200)]


def test_files_have_the_layout_of_datatrove(folder):
    """Raw little-endian ids in .ds, little-endian uint64 document ends in .ds.index."""
    dataset = Dataset.open(folder)
    ids = np.fromfile(folder / "train-00000.ds", dtype="<u2")
    ends = np.fromfile(folder / "train-00000.ds.index", dtype="<u8")
    assert set(ids[ends - 1].tolist()) == {dataset.tokenizer.eot_id}
    assert ends[-1] == len(ids)


def test_the_manifest_describes_the_dataset(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["drops"] == {"binary": 2}
    assert manifest["dtype"] == "<u2"
    assert manifest["splits"]["validation"]["documents"] == 20
    for split in ("train", "validation"):
        for shard in manifest["splits"][split]["shards"]:
            assert hashlib.sha256((folder / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    assert Dataset.open(folder).tokenizer.fingerprint == manifest["tokenizer"]


def test_the_fingerprint_depends_on_the_content_alone(made, folder, tmp_path):
    """A copy in another folder has the same fingerprint; one more validation document changes it."""
    assert Dataset.open(folder).fingerprint == Dataset.open(made).fingerprint
    other = build.build_from(
        Corpus(documents(120, 1), documents(21, 2)),
        TokenizerConfig(vocab_size=400),
        workers=1,
        cache=tmp_path,
        emit=lambda _: None,
    )
    assert other.fingerprint != Dataset.open(made).fingerprint


# ---------------------------------------------------------------------------------------------- damaged


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["train-00001.ds", "train-00000.ds.index", "validation-00000.ds"])
@pytest.mark.parametrize("opened_before", [False, True])
def test_a_changed_file_is_named_in_the_error(folder, name, opened_before):
    if opened_before:
        Dataset.open(folder)
    flip_a_byte(folder / name)
    with pytest.raises(SeedbedError, match=f'{re.escape(name)}" was modified') as caught:
        Dataset.open(folder)
    assert str(folder) in caught.value.hint


@pytest.mark.parametrize("name", ["train-00001.ds", "train-00000.ds.index"])
def test_a_truncated_file_is_named_in_the_error(folder, name):
    os.truncate(folder / name, 10)
    with pytest.raises(SeedbedError, match=f'{re.escape(name)}" was truncated or modified: it has 10 bytes'):
        Dataset.open(folder)


def test_a_missing_file_is_named_in_the_error(folder):
    (folder / "train-00002.ds").unlink()
    with pytest.raises(SeedbedError, match=r'train-00002\.ds" cannot be read'):
        Dataset.open(folder)


def test_verify_detects_a_change_with_an_unchanged_time_stamp(folder):
    dataset = Dataset.open(folder)
    dataset.verify()
    path = folder / "train-00001.ds"
    stat = path.stat()
    flip_a_byte(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(SeedbedError, match=r'train-00001\.ds" was modified'):
        dataset.verify()


def test_an_edited_manifest_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"documents": 20', '"documents": 21'))
    with pytest.raises(SeedbedError, match="was modified after it was created") as caught:
        Dataset.open(folder)
    assert "Remove the folder" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "does not describe a dataset"),
        ('{"kind": "other"}', "does not describe a dataset"),
        ('{"kind": "seedbed-dataset", "format": 99}', "format 99"),
    ],
)
def test_an_invalid_or_unknown_manifest_is_refused(folder, content, message):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(SeedbedError, match=message):
        Dataset.open(folder)


def test_a_folder_without_a_manifest_is_refused(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(SeedbedError, match="not a prepared dataset") as caught:
        Dataset.open(folder)
    assert f"text:{folder}" in caught.value.hint


def test_a_changed_tokenizer_is_refused(folder):
    path = folder / "tokenizer" / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["normalizer"] = None
    path.write_text(json.dumps(spec))
    with pytest.raises(SeedbedError, match="not the tokenizer that made"):
        _ = Dataset.open(folder).tokenizer


def test_a_folder_that_cannot_be_written_to_is_read(folder, monkeypatch):
    """Root can write to read-only folders, so the write itself is made to fail."""

    def fail(path: Path, *_: object, **__: object) -> None:
        raise SeedbedError(f"Cannot write {path}.")

    monkeypatch.setattr("seedbed.data.shards.files.write_json", fail)
    (folder / ".verified.json").unlink()
    assert Dataset.open(folder).train.num_documents == 120


def test_large_vocabularies_use_four_bytes_per_token(folder, tmp_path):
    path = folder / "tokenizer" / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["added_tokens"].append({**spec["added_tokens"][0], "id": 70_000, "content": "<|far|>"})
    path.write_text(json.dumps(spec))
    config = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<|far|>"}))
    dataset = build.build_from(
        Corpus(["one fox", "two"], ["three"]),
        TokenizerConfig(path=str(folder / "tokenizer")),
        workers=1,
        cache=tmp_path / "cache",
        emit=lambda _: None,
    )
    assert dataset.manifest["dtype"] == "<u4"
    assert dataset.train.read(0, dataset.train.num_tokens).tolist() == stream(dataset, ["one fox", "two"])
    assert 70_000 in stream(dataset, ["two"])
