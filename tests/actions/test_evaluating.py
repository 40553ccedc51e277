"""Which models and which text an evaluation takes, and what is refused before a task exists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import row_datasets
from evaluated import CONTEXT, saved_model, write_text
from seedbed import actions
from seedbed.actions.evaluating import check_evaluation
from seedbed.actions.model_references import resolve as resolve_model
from seedbed.config.resolving import Resolved, resolve
from seedbed.config.roots import EVALUATE, SIMULATE, TRAIN
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data.build import build_dataset
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Checkpoint, Data, Run, Step, discard
from seedbed.runs.kinds import KINDS
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved model."""
    return saved_model(tmp_path_factory.mktemp("saved"))


def trained(store: Store, saved: Path, name: str, *sets: str, fingerprint: str | None = None) -> RunDir:
    """A run with checkpoints at steps 100 and 200, of which the first is the best. `fingerprint`: that of its dataset."""
    steps = (100, 200)
    run = actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=["train.steps=300", *sets]), name)
    with Session(run.path) as session:
        if fingerprint is not None:
            session.emit(Data(stage="dataset", done=1, fingerprint=fingerprint))
        session.emit(Run(status="running", session=1, steps=300))
        for step in steps:
            folder = run.checkpoints / f"step-{step:08d}"
            shutil.copytree(saved, folder)
            done = json.loads((folder / "DONE").read_text())
            (folder / "DONE").write_text(json.dumps(done | {"step": step}))
            session.emit(Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1))
            session.emit(Checkpoint(step=step, path=str(folder), best=step == steps[0]))
        session.finish("completed")
    return run


def models_of(store: Store, *references: str | None) -> list[actions.EvaluatedModel]:
    return actions.models_to_evaluate([resolve_model(store, each) for each in references])


def wanted(store: Store, *references: str, **settings: Any) -> Resolved[Any]:
    """The config of an evaluation of these models, with keys as `evaluate__split=...`."""
    models = models_of(store, *references)
    flags = {key.replace("__", "."): value for key, value in settings.items()}
    return actions.with_models(resolve(EVALUATE, flags=flags), models)


def test_runs_checkpoints_and_folders_are_named_and_found(store: Store, saved: Path, tmp_path: Path) -> None:
    run = trained(store, saved, "oak")
    shutil.copytree(saved, tmp_path / "elm")
    folder = str(tmp_path / "elm")
    found = models_of(store, "oak@latest", "oak@best", "oak", "oak@100", folder)
    assert [(model.name, model.folder, model.run) for model in found] == [
        ("oak@200", run.checkpoints / "step-00000200", run),
        ("oak@100", run.checkpoints / "step-00000100", run),
        ("elm", tmp_path / "elm", None),
    ], "each model once, in the order in which it is named first"
    shutil.copytree(saved, tmp_path / "other" / "elm")
    same = models_of(store, folder, str(tmp_path / "other" / "elm"))
    assert [model.name for model in same] == [f"{tmp_path.name}/elm", "other/elm"]
    (newest,) = models_of(store, None)
    assert (newest.name, newest.run) == ("oak@200", run)


def test_models_that_do_not_exist_are_refused(store: Store, saved: Path, tmp_path: Path) -> None:
    trained(store, saved, "oak")
    for reference, message in (("aok", "no run"), ("oak@150", 'no checkpoint "150"')):
        with pytest.raises(UsageError, match=message):
            models_of(store, reference)
    simulated = actions.new_run(store, KINDS["simulate"], resolve(SIMULATE), "clouds")
    with pytest.raises(SeedbedError, match="is simulated: nothing was trained"):
        models_of(store, simulated.id)


def test_without_data_the_text_is_that_of_the_runs(store: Store, saved: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "texts")
    text, other = f"data.source=text:{tmp_path / 'texts'}", "data.stories=77"
    trained(store, saved, "oak", text, "data.validation=0.2", "data.workers=1")
    trained(store, saved, "ash", text, "data.validation=0.2", "data.workers=2")
    trained(store, saved, "elm", other)

    def text_of(*references: str) -> Any:
        return actions.training_text(models_of(store, *references))

    assert text_of("oak", "ash").validation == 0.2
    assert text_of("elm").stories == 77
    with pytest.raises(UsageError, match="oak@200 and elm@200 were trained on different texts"):
        text_of("oak", "elm")
    with pytest.raises(UsageError, match="Which text"):
        text_of(str(saved))


def test_the_text_of_a_run_is_where_a_resume_found_it(store: Store, saved: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "texts")
    run = trained(store, saved, "oak", f"data.source=text:{tmp_path / 'texts'}")
    (tmp_path / "texts").rename(tmp_path / "moved")
    with Session(run.path) as session:
        session.emit(Run(status="running", session=2, steps=300, step=200, data=f"text:{tmp_path / 'moved'}"))
        session.finish("stopped")
    assert actions.training_text(models_of(store, "oak")).source == f"text:{tmp_path / 'moved'}"


@pytest.mark.parametrize("change", ["edited", "gone"])
def test_a_text_that_has_changed_is_taken_from_the_prepared_data(
    store: Store, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    write_text(tmp_path / "texts")
    source = f"text:{tmp_path / 'texts'}"
    made = build_dataset(
        DataConfig(source=source, workers=1),
        TokenizerConfig(path=str(saved)),
        cache=tmp_path / "cache",
        emit=discard,
    )
    run = trained(store, saved, "oak", f"data.source={source}", fingerprint=made.fingerprint)
    assert actions.training_text(models_of(store, "oak")).source == source
    if change == "edited":
        (tmp_path / "texts" / "000.txt").write_text("Another text.")
    else:
        shutil.rmtree(tmp_path / "texts")
    assert actions.training_text(models_of(store, "oak")).source == str(made.folder)
    shutil.rmtree(tmp_path / "cache")
    if change == "gone":
        with pytest.raises(SeedbedError) as caught:
            actions.training_text(models_of(store, run.id))
        assert "--data SOURCE" in caught.value.hint


def test_a_model_is_not_evaluated_on_text_that_it_was_trained_on(store: Store, saved: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "texts")
    source = f"text:{tmp_path / 'texts'}"
    trained(store, saved, "oak", f"data.source={source}")
    split = {name: wanted(store, name, data__source=source).config.evaluate.split for name in ("oak", str(saved))}
    assert split == {"oak": "validation", str(saved): "all"}
    forced = wanted(store, "oak", data__source=source, evaluate__split="all")
    assert (forced.config.evaluate.split, forced.origins["evaluate.split"]) == ("all", "--split")


def test_a_split_that_was_chosen_is_chosen_anew_for_an_evaluation_like_another(
    store: Store, saved: Path, tmp_path: Path
) -> None:
    write_text(tmp_path / "texts")
    source = f"text:{tmp_path / 'texts'}"

    def like(name: str, **settings: Any) -> Any:
        config = wanted(store, str(saved), data__source=source, **settings)
        task = actions.new_task(store, KINDS["evaluate"], tmp_path / f"{name}.json", config, name)
        return config.config.evaluate.split, actions.config_like(task).evaluate.split

    assert like("chosen") == ("all", "auto")
    assert like("given", evaluate__split="train") == ("train", "train")


def broken(tmp_path: Path, saved: Path, *, without: str = "", halved: str = "", **config: Any) -> str:
    """The path of a copy of the model folder without a file, with half of one, or with changed keys in its config.json."""
    folder = tmp_path / "broken"
    shutil.copytree(saved, folder)
    if without:
        (folder / without).unlink()
    elif halved:
        whole = (folder / halved).read_bytes()
        (folder / halved).write_bytes(whole[: len(whole) // 2])
    else:
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(content | config))
    return str(folder)


@pytest.mark.parametrize(
    ("damage", "settings", "message"),
    [
        ({"without": "tokenizer.json"}, {}, r"broken\" contains no tokenizer\.json\."),
        ({"halved": "tokenizer.json"}, {}, r"broken/tokenizer\.json\" cannot be read"),
        ({"halved": "generation_config.json"}, {}, r"broken/generation_config\.json\" is not valid JSON"),
        ({"halved": "model.safetensors"}, {}, "broken: .*truncated"),
        ({"model_type": "mamba"}, {}, "broken: .*mamba"),
        ({}, {"evaluate__context": CONTEXT + 1}, "is 24 tokens, so windows of 25"),
        ({}, {"data__source": "text:/nowhere"}, "nowhere"),
    ],
    ids=[
        "no tokenizer",
        "half a tokenizer",
        "half a generation config",
        "half of the weights",
        "unknown family",
        "long context",
        "no text",
    ],
)
def test_what_cannot_work_is_refused_before_a_task_exists(
    store: Store, saved: Path, tmp_path: Path, damage: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    resolved = wanted(store, str(saved), broken(tmp_path, saved, **damage), **settings)
    with pytest.raises(SeedbedError, match=message):
        actions.start_evaluation(store, resolved)
    assert store.tasks() == []
    assert not list(store.root.glob(".evaluations/*.json"))


def test_a_dataset_of_rows_is_evaluated_also_if_a_run_trained_on_it(store: Store, saved: Path, tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full", "text")
    check_evaluation(wanted(store, str(saved), data__source=str(folder)).config, store)
    trained(store, saved, "oak", f"data.source={folder}", "data.loss=targets")
    data = actions.training_text(models_of(store, "oak"))
    assert (data.source, data.loss) == (str(folder), "targets")
    found = wanted(store, "oak", data__source=data.source)
    check_evaluation(found.config, store)
    assert found.config.evaluate.split == "validation"


def test_a_dataset_that_was_merged_again_is_evaluated_as_it_is_now(
    store: Store, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it was named with --data, it was refused, with the hint to give a text with --data."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    folder = row_datasets.mixed(tmp_path / "full", "text")
    made = build_dataset(
        DataConfig(source=str(folder), workers=1),
        TokenizerConfig(path=str(saved)),
        cache=tmp_path / "cache",
        emit=discard,
        context=CONTEXT,
    )
    trained(store, saved, "oak", f"data.source={folder}", fingerprint=made.fingerprint)
    models = models_of(store, "oak")
    assert not actions.trained_before_a_merge(models[0])
    shutil.rmtree(folder)
    row_datasets.mixed(folder, "text", count=80)
    assert actions.training_text(models).source == str(folder)
    assert actions.trained_before_a_merge(models[0])
    shutil.rmtree(folder)
    with pytest.raises(SeedbedError):
        actions.training_text(models)


def test_rows_cannot_be_cut_to_a_number_of_tokens(store: Store, saved: Path, tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full")
    resolved = wanted(store, str(saved), data__source=str(folder), evaluate__limit_tokens=100)
    with pytest.raises(UsageError, match="a row of a dataset cannot be cut") as caught:
        check_evaluation(resolved.config, store)
    assert "--max-documents" in caught.value.hint


def test_no_model_and_an_existing_output_are_refused(store: Store, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No model"):
        check_evaluation(resolve(EVALUATE).config, store)
    (tmp_path / "there.json").write_text("{}")
    for output, message in ((tmp_path / "there.json", "an existing file"), (tmp_path, "a folder")):
        with pytest.raises(UsageError, match=message):
            actions.start_evaluation(store, wanted(store, str(saved)), output)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("evaluate.context=10", "evaluate.stride=11"), "stride is longer than a window"),
        (("evaluate.precision=int8",), "expected one of fp32, bf16, fp16"),
        (("evaluate.contxt=10",), "evaluate.context"),
        (("train.steps=3",), "belongs to a train config"),
    ],
)
def test_wrong_settings_are_refused_with_their_keys(sets: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(EVALUATE, sets=sets)
