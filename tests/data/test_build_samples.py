"""Datasets of rows become shards of samples: every kind, masks, interruptions, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patience
import row_datasets
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.curation.record import Message, Provenance, Record, content_id
from seedbed.data import build_samples, rendering, row_shards
from seedbed.data.build import build_dataset
from seedbed.data.building import Base
from seedbed.data.samples import Samples
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import discard
from seedbed.tokenizer.chatml import CHATML
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

CONTEXT = 96
SMALL = TokenizerConfig(vocab_size=400)


def built(folder: Path, cache: Path, **changes: Any):
    arguments = {"context": CONTEXT, "emit": discard, **changes}
    data = DataConfig(source=str(folder), workers=arguments.pop("workers", 1), **arguments.pop("data", {}))
    return build_dataset(data, arguments.pop("tokenizer", SMALL), cache=cache, **arguments)


def sample_texts(dataset, name="train") -> list[tuple[str, str]]:
    """For each sample its whole text and its trained text; control tokens are written out."""
    samples, library = Samples.of(dataset, name), dataset.tokenizer.library
    found = []
    for number in range(samples.num_documents):
        ids, trained = samples.tokens(np.array([number]))
        texts = [library.decode(part.tolist(), skip_special_tokens=False) for part in (ids, ids[trained])]
        found.append((texts[0], texts[1]))
    return found


def test_rows_of_every_kind_become_samples_with_their_mask(tmp_path: Path) -> None:
    made = built(row_datasets.mixed(tmp_path / "full"), tmp_path / "cache")
    train = sample_texts(made)
    kinds = made.manifest["samples"]
    assert (kinds["chat"], kinds["fim"]) == (25, 25)
    assert kinds["text"] >= 25  # a long text is cut into several
    chats = [each for each in train if each[0].startswith("<|im_start|>")]
    record = row_datasets.chat_row(2)
    said = [each.content for each in record.messages]
    whole = "".join(
        f"<|im_start|>{role}\n{content}<|im_end|>\n"
        for role, content in zip(["user", "assistant"] * 2, said, strict=True)
    )
    assert (whole, f"{said[1]}<|im_end|>{said[3]}<|im_end|>") in chats
    fim = row_datasets.fim_row(1)
    orders = {"psm": "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>{m}<|endoftext|>"}
    code = [each for each in train if "<|fim_middle|>" in each[0]]
    assert all(whole == trained for whole, trained in code)  # all of it is trained, as in pre-training
    if fim.order == "psm":
        assert orders["psm"].format(p=fim.prefix, s=fim.suffix, m=fim.middle) in [whole for whole, _ in code]
    text = row_datasets.text_row(0).text
    assert (f"<|endoftext|>{text}<|endoftext|>", f"{text}<|endoftext|>") in train


def test_only_the_owner_can_read_the_shards_of_rows(tmp_path: Path) -> None:
    made = built(row_datasets.mixed(tmp_path / "full"), tmp_path / "cache")
    assert made.folder.stat().st_mode & 0o777 == 0o700


def test_the_loss_may_count_only_targets_or_everything(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full", "fim", "chat")
    targets = sample_texts(built(folder, tmp_path / "cache", data={"loss": "targets"}))
    record = next(row_datasets.fim_row(number) for number in range(0, 60, 2))
    assert f"{record.middle}<|endoftext|>" in [trained for whole, trained in targets if "<|fim_middle|>" in whole]
    everything = sample_texts(built(folder, tmp_path / "cache", data={"loss": "all"}))
    assert all(whole == trained for whole, trained in everything)


def test_bytes_are_those_of_the_trained_text(tmp_path: Path) -> None:
    made = built(row_datasets.mixed(tmp_path / "full"), tmp_path / "cache")
    plain = [
        trained.replace("<|endoftext|>", "").replace("<|im_end|>", "")
        for whole, trained in sample_texts(made, "validation")
        if "<|fim_" not in whole
    ]
    fim = [row_datasets.fim_row(number) for number in range(1000, 1015) if number % 3 == 1]
    code = "".join(part or "" for each in fim for part in (each.prefix, each.middle, each.suffix))
    assert made.validation.num_bytes == len("".join(plain).encode()) + len(code.encode())
    assert made.validation.bytes_per_token == made.validation.num_bytes / made.validation.num_trained


def test_long_text_is_cut_into_pieces_and_long_rows_are_counted(tmp_path: Path) -> None:
    long = "".join(f"line {number} of a long text\n" for number in range(100))
    answer = Record(
        kind="chat",
        messages=[Message(role="user", content="Say it."), Message(role="assistant", content=long)],
        provenance=Provenance(source="codex"),
    )
    record = Record(kind="text", text=long, provenance=Provenance(source="files"))
    for each in (answer, record):
        each.id = content_id(each)
    folder = row_datasets.dataset(tmp_path / "long", [record, answer], list(row_datasets.rows(["chat"], 3)))
    said: list[Any] = []
    made = built(folder, tmp_path / "cache", emit=said.append)
    pieces = [trained for _, trained in sample_texts(made)]
    assert "".join(pieces) == long + "<|endoftext|>"
    assert len(pieces) > 5
    assert all(Samples.of(made, "train").positions <= CONTEXT)
    assert sum(made.manifest["drops"].values()) == 1
    warned = [each for each in said if getattr(each, "code", "") == "rows-dropped"]
    assert len(warned) == 1
    assert "1 row of the dataset cannot be trained on" in warned[0].text
    (counted,) = [each.counts for each in said if getattr(each, "stage", "") == "dataset"]
    assert sum(value for key, value in counted.items() if key.startswith("dropped: ")) == 1


def digest(dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(dataset.folder.glob("*.ds*"))}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_shards, "SHARD_BYTES", 9000)
    monkeypatch.setattr(build_samples, "BLOCK_BYTES", 2500)


def test_workers_give_the_same_bytes(tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = row_datasets.mixed(tmp_path / "full")
    alone = built(folder, tmp_path / "a")
    monkeypatch.setattr(rendering, "SINGLE_PROCESS_BYTES", 3000)
    together = built(folder, tmp_path / "b", workers=2)
    assert len(digest(alone)) > 9
    assert digest(alone) == digest(together)
    assert alone.fingerprint == together.fingerprint
    assert alone.manifest["splits"] == together.manifest["splits"]


def test_an_interrupted_build_continues_and_ends_with_the_same_bytes(tmp_path: Path, small_blocks: None) -> None:
    long = row_datasets.text_row(7, 300, 400)
    train = [*row_datasets.rows(["text", "fim", "chat"], 60), *row_datasets.rows(["chat"], 1, first=5000)]
    train.insert(3, Record(kind="fim", prefix=long.text, middle="x", suffix="", provenance=long.provenance))
    folder = row_datasets.dataset(tmp_path / "full", train, list(row_datasets.rows(["text"], 8, first=1000)))
    whole = built(folder, tmp_path / "a")
    assert whole.manifest["drops"] == {"a row for fill in the middle is longer than the limit": 1}

    class StopError(Exception):
        pass

    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls % 30 == 0:
            raise StopError

    for _ in range(40):
        try:
            made = built(folder, tmp_path / "b", check=check)
            break
        except StopError:
            continue
    else:
        pytest.fail("the build makes no progress")
    assert calls > 60
    assert digest(made) == digest(whole)
    assert made.manifest["drops"] == whole.manifest["drops"]
    assert made.fingerprint == whole.fingerprint


def test_what_was_rendered_before_is_used_again_when_rows_are_added(tmp_path: Path, small_blocks: None) -> None:
    tokenizer = train_tokenizer([row_datasets.text_row(0, 300, 400).text], SMALL, discard)
    base = Base(tokenizer, CHATML)
    train, held_out = list(row_datasets.rows(["text", "chat"], 200)), list(row_datasets.rows(["text"], 8, first=1000))
    before = built(row_datasets.dataset(tmp_path / "before", train, held_out), tmp_path / "cache", base=base)
    train[70:70] = row_datasets.rows(["text"], 2, first=5000)
    for record in train:
        record.group, record.cluster = "another", "another"  # they decide nothing
    folder = row_datasets.dataset(tmp_path / "after", train, held_out)
    after, alone = built(folder, tmp_path / "cache", base=base), built(folder, tmp_path / "alone", base=base)
    assert digest(after) == digest(alone)
    assert after.manifest["splits"] == alone.manifest["splits"]
    own = {path.stat().st_ino for path in before.folder.glob("*.ds*")}
    shared = [path for path in after.folder.glob("*.ds*") if path.stat().st_ino in own]
    assert len(digest(after)) > 30
    assert len(digest(after)) - len(shared) in range(3, 16)  # one to five shards of three files
    other = built(folder, tmp_path / "cache", base=base, data={"loss": "all"})
    assert not own & {path.stat().st_ino for path in other.folder.glob("*.ds*")}


def test_a_damaged_shard_is_not_used_again(tmp_path: Path, small_blocks: None) -> None:
    tokenizer = train_tokenizer([row_datasets.text_row(0, 300, 400).text], SMALL, discard)
    train, held_out = list(row_datasets.rows(["text"], 100)), list(row_datasets.rows(["text"], 8, first=1000))
    folder = row_datasets.dataset(tmp_path / "before", train, held_out)
    before = built(folder, tmp_path / "cache", base=Base(tokenizer))
    for path in before.folder.glob("train-*.ds"):
        path.write_bytes(b"\0" * path.stat().st_size)
    folder = row_datasets.dataset(tmp_path / "after", [*train, row_datasets.text_row(5000)], held_out)
    after, alone = [built(folder, tmp_path / name, base=Base(tokenizer)) for name in ("cache", "alone")]
    assert digest(after) == digest(alone)


PROGRAM = """
import sys
from pathlib import Path
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data import build_samples, row_shards
from seedbed.data.build import build_dataset
row_shards.SHARD_BYTES, build_samples.BLOCK_BYTES = 9000, 2500
def emit(event):
    print(event.kind, flush=True)
    if getattr(event, "stage", "") == "tokenize":
        sys.stdin.readline()
build_samples._REPORT_EVERY_S = 0.0
build_dataset(DataConfig(source=sys.argv[1], workers=1), TokenizerConfig(vocab_size=400), context=96,
              cache=Path(sys.argv[2]), emit=emit)
"""


def test_a_killed_build_continues(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full")
    command = [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    for _ in range(8):  # eight blocks, after which shards and a part of one are there
        process.stdin.write("\n")
        process.stdin.flush()
    patience.until(lambda: bool(list((tmp_path / "killed/datasets").glob(".*.partial/train-00001.ds"))))
    process.kill()
    process.wait()
    completed = subprocess.run(command, input="\n" * 500, text=True, capture_output=True, timeout=patience.HANG_S)
    assert completed.returncode == 0, completed.stderr
    (made,) = [path for path in (tmp_path / "killed/datasets").iterdir() if not path.name.startswith(".")]
    again = subprocess.run(
        [*command[:4], str(tmp_path / "whole")], input="\n" * 500, text=True, capture_output=True, check=True
    )
    assert again.returncode == 0
    for path in sorted((tmp_path / "whole/datasets" / made.name).glob("*.ds*")):
        assert (made / path.name).read_bytes() == path.read_bytes()


def test_the_same_rows_are_built_once_and_another_context_again(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full", "text")
    first = built(folder, tmp_path / "cache")
    moved = folder.rename(tmp_path / "moved")
    assert built(moved, tmp_path / "cache").folder == first.folder
    assert built(moved, tmp_path / "cache", context=40).folder != first.folder
    assert built(moved, tmp_path / "cache", data={"loss": "all"}).folder != first.folder


def test_a_dataset_that_is_not_split_is_split_by_groups_once(tmp_path: Path) -> None:
    rows = list(row_datasets.rows(["text"], 60))
    for number, record in enumerate(rows):
        record.links = [f"session:{number // 3}"]  # three rows of each session
    folder = row_datasets.dataset(tmp_path / "logs", rows, None)
    emitted: list[Any] = []
    made = built(folder, tmp_path / "cache", emit=lambda event, _=None: emitted.append(event))
    [held_out] = [each.text for each in emitted if getattr(each, "code", "") == "held-out"]
    assert "is not split" in held_out
    [split] = (tmp_path / "cache" / "records").glob("split-*")
    ids = [{json.loads(line)["id"] for line in (split / name).open()} for name in ("train.jsonl", "eval.jsonl")]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 60
    of_session = {record.id: number // 3 for number, record in enumerate(rows)}
    assert not {of_session[each] for each in ids[0]} & {of_session[each] for each in ids[1]}
    assert made.validation.num_documents > 0
    assert built(folder, tmp_path / "cache").folder == made.folder


def test_a_changed_file_of_rows_is_refused(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full")
    with (folder / "train.jsonl").open("ab") as handle:
        handle.write(b'{"kind":"text"}\n')
    with pytest.raises(SeedbedError, match=r"train\.jsonl.* has changed since the dataset was made"):
        built(folder, tmp_path / "cache")


def test_a_dataset_without_evaluation_rows_says_how_to_get_them(tmp_path: Path) -> None:
    folder = row_datasets.dataset(tmp_path / "full", list(row_datasets.rows(["text"], 20)), [])
    with pytest.raises(SeedbedError, match=r"gives no sample for validation: it has no rows") as caught:
        built(folder, tmp_path / "cache")
    assert "--eval-frac" in caught.value.hint
    assert not list((tmp_path / "cache/datasets").glob("*"))


def base_tokenizer(tmp_path: Path, markers: tuple[str, ...] = ()) -> Tokenizer:
    """The tokenizer of a model that knows no markers but `markers`."""
    from seedbed.tokenizer import patterns

    made = train_tokenizer([row_datasets.text_row(number).text or "" for number in range(9)], SMALL, discard)
    spec = json.loads(json.dumps(made.spec))
    known = {*patterns.SPECIAL_TOKENS[:1], *markers}
    spec["added_tokens"] = [each for each in spec["added_tokens"] if each["content"] in known]
    (tmp_path / "base").mkdir()
    (tmp_path / "base/tokenizer.json").write_text(json.dumps(spec))
    (tmp_path / "base/tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return Tokenizer.of_model(tmp_path / "base")


def test_conversations_are_refused_with_a_base_that_has_no_chat_template(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full", "chat")
    with pytest.raises(UsageError, match="75 conversations, but the base model has no chat template") as caught:
        built(folder, tmp_path / "cache", base=Base(base_tokenizer(tmp_path)))
    assert "Instruct" in caught.value.hint


def test_code_with_a_gap_is_refused_with_a_base_that_has_no_markers(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full", "fim")
    with pytest.raises(UsageError, match="75 rows of code with a gap to fill in, but the tokenizer has") as caught:
        built(folder, tmp_path / "cache", base=Base(base_tokenizer(tmp_path)))
    assert "Qwen2.5-Coder" in caught.value.hint


def test_the_markers_are_those_of_the_dataset_if_the_base_has_them(tmp_path: Path) -> None:
    starcoder = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
    tokenizer = base_tokenizer(tmp_path)
    spec = json.loads((tmp_path / "base/tokenizer.json").read_text())
    first = tokenizer.vocab_size
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    spec["added_tokens"] += [{"id": first + at, "content": each, **flags} for at, each in enumerate(starcoder)]
    (tmp_path / "base/tokenizer.json").write_text(json.dumps(spec))
    base = Base(Tokenizer.of_model(tmp_path / "base"))
    folder = row_datasets.dataset(
        tmp_path / "fim",
        list(row_datasets.rows(["fim"], 9)),
        list(row_datasets.rows(["fim"], 3, first=500)),
        settings={"fim": {"family": "starcoder"}},
    )
    made = built(folder, tmp_path / "cache", base=base)
    assert all("<fim_middle>" in whole for whole, _ in sample_texts(made))


def test_a_prompt_for_samples_is_a_question_of_the_evaluation_rows(tmp_path: Path) -> None:
    said: list[Any] = []
    built(row_datasets.mixed(tmp_path / "chat", "chat"), tmp_path / "cache", emit=said.append)
    (facts,) = [each for each in said if getattr(each, "opening", None)]
    assert (facts.opening, facts.answers) == ("Where did the fox sit on day 1000?", True)
    said.clear()
    built(row_datasets.mixed(tmp_path / "text", "text"), tmp_path / "cache", emit=said.append)
    (facts,) = [each for each in said if getattr(each, "opening", None)]
    assert facts.answers is None
    assert any(
        (row.text or "").startswith(facts.opening.split()[0]) for row in row_datasets.rows(["text"], 15, first=1000)
    )


def test_the_tokenizer_of_conversations_keeps_its_template_and_stops_at_the_end_of_a_turn(tmp_path: Path) -> None:
    made = built(row_datasets.mixed(tmp_path / "chat", "chat"), tmp_path / "cache")
    tokenizer = made.tokenizer
    assert "<|im_start|>" in (tokenizer.chat_template or "")
    assert tokenizer.special["<|im_end|>"] in tokenizer.stop_ids
    plain = built(row_datasets.mixed(tmp_path / "text", "text"), tmp_path / "cache").tokenizer
    assert plain.chat_template is None
    assert plain.stop_ids == {plain.eot_id}


def test_rows_that_were_changed_without_another_size_are_refused(tmp_path: Path) -> None:
    """The data in the cache are found by what dataset.json says, so other rows must not be kept under its name."""
    folder = row_datasets.mixed(tmp_path / "full")
    content = (folder / "train.jsonl").read_bytes()
    (folder / "train.jsonl").write_bytes(content.replace(b"return y", b"return x"))
    with pytest.raises(SeedbedError, match="has changed since the dataset was made"):
        built(folder, tmp_path / "cache")
