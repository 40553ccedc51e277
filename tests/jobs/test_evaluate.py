"""The evaluation job: sums equal to those of transformers, stopped and resumed, out of memory, and models that fail."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import row_datasets
from evaluated import CONTEXT, evaluation, new_task, saved_model, tokenizer, write_text
from patience import until
from seedbed import files
from seedbed.checkpoint.fingerprint import weights_fingerprint
from seedbed.config.evaluation import Evaluation
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data.build import build_dataset
from seedbed.data.building import Base
from seedbed.data.samples import Samples
from seedbed.errors import SeedbedError, UsageError
from seedbed.evaluation import corpus
from seedbed.jobs import evaluate, model_losses, waiting
from seedbed.jobs.evaluate import run
from seedbed.model.load import load_folder
from seedbed.runs.lifecycle import Lifecycle, StopRequested
from seedbed.runs.status import status
from seedbed.runs.store import RunDir
from seedbed.tokenizer.chatml import CHATML
from seedbed.tokenizer.tokenizer import Tokenizer

MEASURED = ("nats", "tokens", "bytes", "loss", "bits_per_byte", "bits_per_byte_low", "bits_per_byte_high")


def finished(task: RunDir) -> dict[str, Any]:
    """Do the work of a task to its end; returns its results."""
    with Lifecycle(task.path) as lifecycle:
        lifecycle.finish(run(task.path, lifecycle))
    results: dict[str, Any] = json.loads(Path(task.meta()["output"]).read_text())
    return results


def evaluated(folder: Path, config: Evaluation, name: str = "measured") -> dict[str, Any]:
    return finished(new_task(folder, config, name))


def measured(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The numbers of each model that do not depend on the time."""
    return [{key: model[key] for key in MEASURED} for model in results["models"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and two models, of which one reads characters."""
    place = tmp_path_factory.mktemp("evaluated")
    write_text(place / "texts")
    saved_model(place / "words", "bpe")
    saved_model(place / "characters", "char", 2)
    return place


def model(folder: Path, name: str) -> Path:
    return next((folder / name).glob("step-*"))


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    """The results of both models on the text."""
    return evaluated(folder, evaluation(folder / "texts", model(folder, "words"), model(folder, "characters")))


def reference(folder: Path, kind: str, texts: list[str], context: int, stride: int) -> tuple[float, int]:
    """The summed loss in nats and the number of tokens by transformers, with the strided loop of its documentation."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    its = tokenizer(kind)
    nats, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([[its.eot_id, *its.encode(text)]])
        previous = 0
        for begin in range(0, ids.shape[1] - 1, stride):
            end = min(begin + context, ids.shape[1] - 1)
            with torch.no_grad():
                logits = theirs(input_ids=ids[:, begin:end]).logits[0].double()
            new = range(previous, end)
            picked = logits.log_softmax(-1)[[place - begin for place in new], ids[0, previous + 1 : end + 1]]
            nats, count = nats - float(picked.sum()), count + len(new)
            previous = end
            if end == ids.shape[1] - 1:
                break
    return nats, count


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_sums_of_whole_and_strided_documents_equal_those_of_transformers(
    folder: Path, results: dict[str, Any], kind: str
) -> None:
    texts = [path.read_text() for path in sorted((folder / "texts").iterdir())]
    name = {"words": "bpe", "characters": "char"}[kind]
    lengths = [len(tokenizer(name).encode(text)) for text in texts]
    assert min(lengths) < CONTEXT < max(lengths) / 3, "the text has no short or no long documents"
    nats, tokens = reference(model(folder, kind), name, texts, CONTEXT, CONTEXT // 2)
    found = next(each for each in results["models"] if each["name"] == kind)
    assert found["tokens"] == tokens == sum(lengths)
    assert found["nats"] == pytest.approx(nats, rel=1e-5)
    assert found["bytes"] == sum(len(text.encode()) for text in texts)
    assert found["loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / found["bytes"], rel=1e-5)
    assert found["bits_per_byte_low"] < found["bits_per_byte"] < found["bits_per_byte_high"]


def test_context_and_stride_are_those_asked_for(folder: Path) -> None:
    texts = [path.read_text() for path in sorted((folder / "texts").iterdir())]
    asked = evaluation(folder / "texts", model(folder, "words"), context=16, stride=5)
    (found,) = evaluated(folder, asked, "windows")["models"]
    nats, tokens = reference(model(folder, "words"), "bpe", texts, 16, 5)
    assert (found["context"], found["stride"], found["tokens"]) == (16, 5, tokens)
    assert found["nats"] == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 100])
def test_padding_and_the_size_of_batches_do_not_change_the_sums(
    folder: Path, results: dict[str, Any], batch_tokens: int
) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), batch_tokens=batch_tokens)
    (found,) = evaluated(folder, asked, f"batches-{batch_tokens}")["models"]
    assert found["tokens"] == results["models"][0]["tokens"]
    assert found["nats"] == pytest.approx(results["models"][0]["nats"], rel=1e-6)


def test_models_are_compared_on_the_same_bytes(results: dict[str, Any]) -> None:
    words, characters = results["models"]
    assert words["bytes"] == characters["bytes"] == results["data"]["bytes"]
    assert words["tokens"] < characters["tokens"]
    (difference,) = results["differences"]
    assert (difference["a"], difference["b"]) == ("words", "characters")
    assert difference["bits_per_byte"] == pytest.approx(words["bits_per_byte"] - characters["bits_per_byte"])
    assert any("tokenizers differ" in note for note in results["notes"])


def test_a_completed_task_keeps_no_copy_of_the_text(folder: Path, results: dict[str, Any]) -> None:
    task = next(path for path in (folder / ".seedbed").iterdir() if path.name.endswith("-measured"))
    assert not any("jsonl" in path.name and "documents" in path.name for path in task.iterdir())
    found = status(RunDir(task))
    assert (found["status"], found["output"]) == ("completed", str(folder / "measured.json"))


class Interruption:
    """Ends the work at a batch: by a stop request, or by an error as sudden as a kill."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int, end: Callable[[], None]) -> None:
        self.batches = 0
        self._after, self._end, self._losses = after, end, model_losses.token_losses
        monkeypatch.setattr(model_losses, "token_losses", self)

    def __call__(self, *arguments: Any) -> np.ndarray:
        self.batches += 1
        if self.batches == self._after:
            self._end()
        return self._losses(*arguments)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of a few documents, so that the text has many."""
    monkeypatch.setattr(model_losses, "GROUP_CHARACTERS", 800)
    monkeypatch.setattr(model_losses, "SAVE_EVERY_S", 0.0)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("after", [1, 8, 40])
def test_a_stopped_task_resumes_to_the_same_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), model(folder, "characters"), batch_tokens=100)
    with monkeypatch.context() as patched:
        every = Interruption(patched, 0, lambda: None)
        whole = evaluated(folder, asked, "whole")
    task = new_task(folder, asked, f"stopped-{after}")
    with monkeypatch.context() as patched, Lifecycle(task.path) as lifecycle:
        first = Interruption(patched, after, lambda: setattr(lifecycle, "stop_requested", "asked to stop"))
        with pytest.raises(StopRequested):
            run(task.path, lifecycle)
        lifecycle.end_as_asked()
    assert status(task)["status"] == "stopped"
    rest = Interruption(monkeypatch, 0, lambda: None)
    assert measured(finished(task)) == measured(whole)
    assert first.batches + rest.batches == every.batches, "a finished batch was computed again"


@pytest.mark.usefixtures("small_groups")
def test_a_task_that_died_resumes_to_the_same_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), batch_tokens=100)
    whole = evaluated(folder, asked, "alive")

    def die() -> None:
        raise KeyboardInterrupt

    task = new_task(folder, asked, "died")
    with monkeypatch.context() as patched, Lifecycle(task.path) as lifecycle:
        Interruption(patched, 9, die)
        with pytest.raises(KeyboardInterrupt):
            run(task.path, lifecycle)
    with (task.path / "model-000.jsonl").open("ab") as log:
        log.write(b'{"group":99,"na')  # a line that the process could not finish
    assert measured(finished(task)) == measured(whole)


def overwrite(place: Path, part: str) -> None:
    """Change one part of a model folder, as a new download or a copy over it does."""
    if part == "the weights":
        tensors = load_file(place / "model.safetensors")
        save_file({name: each * 1.5 for name, each in tensors.items()}, place / "model.safetensors")
    else:
        name = {"the tokenizer": "tokenizer.json", "config.json": "config.json"}[part]
        content = json.loads((place / name).read_text())
        if part == "config.json":
            content["rope_theta"] = 123456.0
        else:
            content["model"]["merges"].pop()
        (place / name).write_text(json.dumps(content))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of a model in a folder that is no checkpoint, so it has no checksums."""
    place = shutil.copytree(model(folder, "words"), tmp_path / "model" / "oak")
    (place / "DONE").unlink()
    return place


def stopped(task: RunDir, monkeypatch: pytest.MonkeyPatch, after: int = 9) -> None:
    """Work on a task until a stop request at a batch."""
    with monkeypatch.context() as patched, Lifecycle(task.path) as lifecycle:
        Interruption(patched, after, lambda: setattr(lifecycle, "stop_requested", "asked to stop"))
        with pytest.raises(StopRequested):
            run(task.path, lifecycle)
        lifecycle.end_as_asked()


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("part", ["the weights", "the tokenizer", "config.json"])
def test_a_resume_refuses_another_model_and_goes_on_with_the_first(
    folder: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    asked = evaluation(folder / "texts", copied, batch_tokens=100)
    whole = evaluated(tmp_path, asked, "whole")
    task = new_task(tmp_path, asked, "stopped")
    stopped(task, monkeypatch)
    kept = shutil.copytree(copied, tmp_path / "kept")
    overwrite(copied, part)
    with pytest.raises(SeedbedError, match=f"model is another model than .* to score it: {part} in") as caught:
        finished(task)
    assert "new evaluation" in caught.value.hint
    shutil.copytree(kept, copied, dirs_exist_ok=True)
    assert measured(finished(task)) == measured(whole)


@pytest.mark.usefixtures("small_groups")
def test_a_model_that_changes_between_two_groups_is_refused(
    folder: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = new_task(tmp_path, evaluation(folder / "texts", copied, batch_tokens=100))
    log = task.path / "model-000.jsonl"
    before = []

    def change() -> None:
        before.append(log.read_bytes().count(b"\n"))
        overwrite(copied, "the weights")

    Interruption(monkeypatch, 40, change)
    with pytest.raises(SeedbedError, match="another model than when this evaluation began"):
        finished(task)
    assert before[0] >= 1
    assert log.read_bytes().count(b"\n") == before[0] + 1, "only the group in progress is finished"


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("change", ["the same files again", "gone"])
def test_a_folder_without_another_model_does_not_end_an_evaluation(
    folder: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    asked = evaluation(folder / "texts", copied, batch_tokens=100)
    whole = evaluated(tmp_path, asked, "whole")

    def replace() -> None:
        kept = shutil.copytree(copied, tmp_path / "kept")
        shutil.rmtree(copied)
        if change != "gone":
            shutil.copytree(kept, copied)

    Interruption(monkeypatch, 9, replace)
    assert measured(evaluated(tmp_path, asked, change)) == measured(whole)


def test_results_name_the_weights_that_were_measured(folder: Path, results: dict[str, Any]) -> None:
    names = "words", "characters"
    assert [each["weights"] for each in results["models"]] == [
        weights_fingerprint(model(folder, each)) for each in names
    ]


@pytest.mark.parametrize("full", ["source.jsonl", "documents.jsonl", "text.json"])
def test_a_full_disk_while_the_text_is_copied_only_delays_an_evaluation(
    folder: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), limit_documents=12)
    whole = evaluated(folder, asked, "before")
    task = new_task(folder, asked, f"full-{full}")
    disk = [full]
    replacing = files.replacing

    def failing(path: Path, **options: Any) -> Any:
        if path.name in disk:
            raise files.storage_error(str(path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return replacing(path, **options)

    monkeypatch.setattr(files, "replacing", failing)
    monkeypatch.setattr(waiting, "_MARGIN_BYTES", 0)
    monkeypatch.setattr(waiting, "_MAX_RETRY_S", 0.5)  # other tests fill and free the same disk

    def free() -> None:
        until(lambda: status(task)["status"] == "paused")
        disk.clear()

    thread = threading.Thread(target=free)
    thread.start()
    found = finished(task)
    thread.join()
    assert measured(found) == measured(whole)
    assert found["data"]["sha256"] == whole["data"]["sha256"]
    assert not (task.path / corpus._SOURCE).exists()
    paused = next(
        line for line in map(json.loads, task.events.read_bytes().splitlines()) if line.get("status") == "paused"
    )
    assert "the disk is full" in paused["reason"]
    assert "continues automatically" in paused["hint"]


def test_the_progress_of_a_task_is_that_of_all_models(folder: Path) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), model(folder, "words"))
    task = new_task(folder, asked, "progress")
    finished(task)
    lines = [json.loads(line) for line in task.events.read_bytes().splitlines()]
    seen = [line for line in lines if line["kind"] == "data" and line.get("whole")]
    total = 2 * sum(len(path.read_bytes()) for path in (folder / "texts").iterdir())
    assert {line["total"] for line in seen} == {total}
    assert [line["done"] for line in seen] == sorted(line["done"] for line in seen)
    assert {line["stage"] for line in seen} == {"evaluating words (1 of 2)", "evaluating words (2 of 2)"}
    messages = [line["text"] for line in lines if line["kind"] == "message"]
    assert any("bits per byte" in text for text in messages)


def test_batches_shrink_when_memory_is_full(
    folder: Path, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = model_losses.token_losses
    sizes = []

    def small_memory(network: Any, batch: Any, device: Any) -> np.ndarray:
        sizes.append(len(batch.inputs))
        if len(batch.inputs) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return compute(network, batch, device)

    monkeypatch.setattr(model_losses, "token_losses", small_memory)
    task = new_task(folder, evaluation(folder / "texts", model(folder, "words")), "memory")
    (found,) = finished(task)["models"]
    assert found["nats"] == pytest.approx(results["models"][0]["nats"], rel=1e-6)
    assert max(sizes) > 3
    assert b"smaller-batches" in task.events.read_bytes()


def test_a_window_that_does_not_fit_into_memory_is_an_error_that_names_a_shorter_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> np.ndarray:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(model_losses, "token_losses", no_memory)
    with pytest.raises(SeedbedError, match="GPU memory is full: words needs more") as caught:
        evaluated(folder, evaluation(folder / "texts", model(folder, "words")), "too-long")
    assert f"--context {CONTEXT // 2}" in caught.value.hint


def test_weights_that_overflow_are_an_error_that_names_model_and_document(tmp_path: Path) -> None:
    write_text(tmp_path / "texts", 4)
    place = saved_model(tmp_path / "broken")
    tensors = load_file(place / "model.safetensors")
    tensors["model.norm.weight"][:] = 3e38
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    (place / "DONE").unlink()
    with pytest.raises(SeedbedError, match=r'loss of broken is not a number in document \d+, which begins with "'):
        evaluated(tmp_path, evaluation(tmp_path / "texts", place))


def test_a_tokenizer_with_more_ids_than_the_embedding_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "texts", 4)
    place = saved_model(tmp_path / "short", rows=300)
    with pytest.raises(SeedbedError, match=r"tokenizer of short gives the id \d+, .* only 300 rows"):
        evaluated(tmp_path, evaluation(tmp_path / "texts", place))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": CONTEXT + 1}, "context of words is 24 tokens"),
        ({"stride": CONTEXT + 1}, "stride of 25 tokens is longer"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"device": "abacus!"}, "is not a device"),
    ],
)
def test_settings_that_cannot_work_are_refused(folder: Path, settings: dict[str, Any], message: str) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), **settings)
    with pytest.raises((SeedbedError, UsageError), match=message):
        evaluated(folder, asked, "refused")


def test_a_single_long_document_has_intervals_from_its_blocks(folder: Path) -> None:
    (folder / "book.txt").write_text("".join(path.read_text() for path in sorted((folder / "texts").iterdir())) * 4)
    models = model(folder, "words"), model(folder, "characters")
    found = evaluated(folder, evaluation(folder / "book.txt", *models), "book")
    assert (found["data"]["documents"], found["method"]["unit"]) == (1, "block")
    assert found["method"]["units"] >= 10
    assert all(
        each["bits_per_byte_low"] < each["bits_per_byte"] < each["bits_per_byte_high"] for each in found["models"]
    )
    assert [each["bytes"] for each in found["models"]] == [len((folder / "book.txt").read_bytes())] * 2
    assert any("not from text to text" in note for note in found["notes"])


def test_results_say_what_was_sampled_and_how_few_documents_there_are(folder: Path, tmp_path: Path) -> None:
    asked = evaluation(folder / "texts", model(folder, "words"), limit_documents=3, seed=4)
    notes = " ".join(evaluated(folder, asked, "few")["notes"])
    assert "A random sample: 3 of 40 documents (seed 4)" in notes
    assert "There are no intervals" in notes
    assert f"Documents of up to {CONTEXT} tokens are read whole" in notes
    (tmp_path / "one.txt").write_text((folder / "texts" / "000.txt").read_text())
    asked = evaluation(tmp_path / "one.txt", model(folder, "words"), limit_tokens=9)
    notes = " ".join(evaluated(folder, asked, "cut")["notes"])
    assert "Only the beginning of the document is evaluated." in notes
    assert "sample" not in notes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of rows and a model."""
    place = tmp_path_factory.mktemp("rows")
    row_datasets.mixed(place / "full", count=40)
    saved_model(place / "words", context=64)
    return place


class TestRows:
    """Datasets of rows: the loss on what a training counts, with each model's own tokenizer and template."""

    @pytest.mark.parametrize("loss", ["assistant", "targets"])
    def test_sums_equal_those_of_the_samples_of_a_training(self, place: Path, loss: Any) -> None:
        folder = model(place, "words")
        asked = evaluation(str(place / "full"), folder, data={"loss": loss}, split="validation")
        found = evaluated(place, asked, f"rows-{loss}")
        its, network = Tokenizer.of_model(folder), load_folder(folder, device=torch.device("cpu"), dtype=torch.float32)
        made = build_dataset(
            DataConfig(source=str(place / "full"), loss=loss, workers=1),
            TokenizerConfig(),
            context=64,
            cache=place / "cache",
            emit=lambda _: None,
            base=Base(its, CHATML, 64),
        )
        samples = Samples.of(made, "validation")
        nats, num_bytes = 0.0, 0
        assert its.byte_lengths is not None
        for number in range(len(samples.positions)):
            ids, trained = samples.tokens(np.array([number]))
            inputs = torch.from_numpy(ids[:-1].astype(np.int64))[None]
            with torch.no_grad():
                hidden = network.hidden_states(inputs, None, None, None)
                picked = (hidden @ network.output_weight.T).double().log_softmax(-1)[0]
            nats -= sum(float(picked[at, ids[at + 1]]) for at in range(len(ids) - 1) if trained[at + 1])
            num_bytes += int(its.byte_lengths[ids[1:][trained[1:] != 0]].sum())
        (row,) = found["models"]
        assert row["tokens"] == int(samples.targets.sum())
        assert row["nats"] == pytest.approx(nats, rel=1e-5)
        assert row["bytes"] == num_bytes > 500
        assert found["method"]["unit"] == "row"
        assert found["data"]["documents"] == 10
        assert f"data.loss={loss}" in " ".join(found["notes"])
        assert row["bits_per_byte_low"] < row["bits_per_byte"] < row["bits_per_byte_high"]

    def test_rows_that_are_too_long_are_said_and_none_at_all_is_an_error(self, place: Path) -> None:
        long = row_datasets.dataset(
            place / "long", list(row_datasets.rows(["text", "fim"], 4)), [row_datasets.fim_row(1)]
        )
        folder = model(place, "words")
        found = evaluated(place, evaluation(str(long), folder, context=24), "some")
        said = " ".join(found["notes"])
        assert re.search(r"words was evaluated without \d of 5 rows: such rows do not fit into 24 tokens, or", said)
        with pytest.raises(SeedbedError, match=r'No row can be evaluated with "words": .* longer than the limit'):
            evaluated(place, evaluation(str(long), folder, context=8, split="validation"), "none")

    def test_only_the_owner_can_read_the_rows_while_they_are_measured(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        modes: list[int] = []
        monkeypatch.setattr(
            evaluate, "remove_text", lambda folder: modes.append((folder / "documents.jsonl").stat().st_mode & 0o777)
        )
        evaluated(place, evaluation(str(place / "full"), model(place, "words"), split="validation"), "private")
        assert modes == [0o600]

    def test_a_random_sample_of_rows_is_the_same_for_every_model(self, place: Path) -> None:
        folder = model(place, "words")
        found = evaluated(place, evaluation(str(place / "full"), folder, limit_documents=7), "sampled")
        assert (found["data"]["documents"], found["data"]["source_documents"]) == (7, 50)
        assert found["models"][0]["tokens"] > 0
