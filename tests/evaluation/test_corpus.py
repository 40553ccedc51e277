"""The text of an evaluation: the documents of a split, samples of them, and their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluated import evaluation, tokenizer, write_text
from seedbed.config.evaluation import Evaluation, settled_split
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data.build import build_dataset
from seedbed.data.interruption import never_stop
from seedbed.errors import SeedbedError
from seedbed.evaluation.corpus import Text, num_units, read_documents, take_text, unit_sizes
from seedbed.events import discard


def words(text: str) -> int:
    return len(text.split())


def taken(config: Evaluation, folder: Path) -> tuple[Text, list[str]]:
    folder.mkdir(exist_ok=True)
    text = take_text(config, folder, words, discard, never_stop)
    documents = list(read_documents(folder))
    assert text.documents == len(documents)
    assert text.size_bytes == len("".join(documents).encode())
    assert sorted(path.name for path in folder.iterdir()) == ["documents.jsonl", "text.json"]
    return text, documents


def test_a_folder_is_read_whole_and_in_order(tmp_path: Path) -> None:
    texts = write_text(tmp_path / "texts")
    text, documents = taken(evaluation(tmp_path / "texts"), tmp_path / "task")
    assert documents == texts
    assert (text.units, text.block_characters, text.split) == (40, 0, "all")


def test_a_single_file_is_not_cut_into_training_and_validation_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("One sentence after the other. " * 3000)
    text, documents = taken(evaluation(tmp_path / "book.txt"), tmp_path / "task")
    assert documents == ["One sentence after the other. " * 3000]
    assert text.units == pytest.approx(90_000 / 1024, abs=1), "few documents are divided into blocks"


def test_the_validation_split_is_the_held_out_part_of_training(tmp_path: Path) -> None:
    write_text(tmp_path / "texts")
    _, held_out = taken(evaluation(tmp_path / "texts", split="validation"), tmp_path / "held")
    _, trained = taken(evaluation(tmp_path / "texts", split="train"), tmp_path / "trained")
    assert 0 < len(held_out) < len(trained)
    assert not set(held_out) & set(trained)
    assert len(held_out) + len(trained) == 40


@pytest.mark.parametrize("word", ["stories"])
def test_all_of_a_source_with_splits_is_both_of_them(word: str, tmp_path: Path) -> None:
    data = {"stories": 50}
    parts = [taken(evaluation(word, data=data, split=name), tmp_path / name)[1] for name in ("train", "validation")]
    assert taken(evaluation(word, data=data), tmp_path / "all")[1] == parts[0] + parts[1]


def test_a_prepared_dataset_is_decoded_to_its_text(tmp_path: Path) -> None:
    texts = write_text(tmp_path / "texts")
    tokenizer("bpe").save(tmp_path / "tokens")
    data = DataConfig(source=f"text:{tmp_path / 'texts'}", workers=1)
    dataset = build_dataset(
        data, TokenizerConfig(path=str(tmp_path / "tokens")), cache=tmp_path / "cache", emit=discard
    )
    _, documents = taken(evaluation(str(dataset.folder)), tmp_path / "task")
    assert sorted(documents) == sorted(texts)


def test_a_sample_is_chosen_by_the_seed_and_stays_in_order(tmp_path: Path) -> None:
    texts = write_text(tmp_path / "texts")

    def sample(name: str, **settings: int) -> list[str]:
        return taken(evaluation(tmp_path / "texts", limit_documents=9, **settings), tmp_path / name)[1]

    first = sample("a", seed=1)
    assert first == sample("b", seed=1) != sample("c", seed=2)
    assert len(first) == 9
    assert first == [text for text in texts if text in first]
    assert first != texts[:9], "the first documents are no random sample"


def test_a_sample_of_tokens_has_about_as_many(tmp_path: Path) -> None:
    write_text(tmp_path / "texts")
    text, documents = taken(evaluation(tmp_path / "texts", limit_tokens=100), tmp_path / "task")
    assert sum(map(words, documents)) == pytest.approx(100, rel=0.15)
    assert 1 < text.documents < text.source_documents == 40


def test_a_long_document_is_cut_between_words_for_a_small_sample(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("word " * 5000)
    text, documents = taken(evaluation(tmp_path / "book.txt", limit_tokens=300), tmp_path / "task")
    assert text.was_cut
    assert words(documents[0]) == pytest.approx(300, abs=1)
    assert documents[0].endswith("word ")


def test_the_copy_is_kept_when_the_source_changes(tmp_path: Path) -> None:
    texts = write_text(tmp_path / "texts")
    config = evaluation(tmp_path / "texts")
    before = taken(config, tmp_path / "task")
    (tmp_path / "texts" / "000.txt").write_text("Another text.")
    assert taken(config, tmp_path / "task") == before
    assert before[1] == texts


def test_a_source_without_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(SeedbedError, match="contains no text"):
        take_text(evaluation(tmp_path / "empty.txt"), tmp_path, words, discard, never_stop)


@pytest.mark.parametrize("text", ["a", "plain text " * 300, "日本語 é 🙂 " * 500])
def test_blocks_cover_every_byte_once(text: str) -> None:
    sizes = unit_sizes(text, 1024)
    assert len(sizes) == num_units(len(text), 1024)
    assert sum(sizes) == len(text.encode())
    assert unit_sizes(text, 0) == [len(text.encode())]


def test_a_text_without_validation_is_evaluated_whole_unless_a_model_was_trained_on_it() -> None:
    asked = evaluation("stories", split="auto").evaluate
    own, held = DataConfig(source="text:/a"), DataConfig(source="text:/a", validation_path="/b")
    assert settled_split(asked, own, was_trained_on=False) == "all"
    assert settled_split(asked, own, was_trained_on=True) == "validation"
    assert settled_split(asked, held, was_trained_on=False) == "validation"
    assert settled_split(asked, DataConfig(source="wikitext-2"), was_trained_on=False) == "validation"
