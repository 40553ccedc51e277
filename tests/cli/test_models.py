"""`seedbed models`: reports with exit statuses, the list of models, and references to models in other commands."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

import hand_made_models as made
from model_hub import COMMIT, ModelHub
from seedbed.cli.model_choice import complete_model


@pytest.fixture
def trained(desk: Any) -> Any:
    desk.train("--name", "alpha")
    return desk


def test_a_report_on_a_folder(desk: Any) -> None:
    made.write(desk.folder / "good", made.files())
    done = desk.seedbed("models", "./good")
    assert done.stdout.splitlines()[0] == "good"
    assert "Seedbed can generate with this model" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(desk.folder) not in line)
    assert desk.seedbed("models", "good/model.safetensors").stdout == done.stdout
    found = json.loads(desk.seedbed("models", "good", "--json").stdout)
    assert (found["family"], found["parameters"], found["can_run"]) == ("qwen3", made.PARAMETERS, True)
    assert found["reference"] == str(desk.folder / "good")
    assert {need["work"] for need in found["needs"]} == {"run", "train", "lora", "qlora"}


def test_a_folder_that_cannot_be_used_exits_with_1_and_says_why(desk: Any) -> None:
    made.write(desk.folder / "pickled", {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"x"})
    for name in ("pickled", "./pickled"):
        done = desk.seedbed("models", name, expect=1)
        assert "Seedbed cannot use this model." in done.stdout
        assert "pickle" in done.stdout
        assert "'bert'" in done.stdout
        assert done.stderr == ""
    assert json.loads(desk.seedbed("models", "pickled", "--json", expect=1).stdout)["can_run"] is False
    (desk.folder / "empty").mkdir()
    told = desk.seedbed("models", "empty", expect=1).stdout
    assert "no config.json" in " ".join(told.split())
    assert "unknown" not in told


def test_a_model_that_cannot_be_trained_further_exits_with_1(desk: Any) -> None:
    added = [*made.TOKENIZER["added_tokens"], {"id": 12, "content": "x", "special": True}]
    made.write(desk.folder / "more", made.files(tokenizer={"added_tokens": added}))
    told = " ".join(desk.seedbed("models", "./more", expect=1).stdout.split())
    assert "Seedbed can generate with this model and evaluate it, but it cannot train it further." in told
    found = json.loads(desk.seedbed("models", "./more", "--json", expect=1).stdout)
    assert (found["can_run"], found["can_train"], found["can_chat"]) == (True, False, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), 'There is no run "nothing"'),
        (("./nothing",), "There is no model folder and no run at"),
        (("hub:me/a model",), "not a valid name of a model"),
        (("file.gguf",), "a file, not a model folder"),
        (("--download",), "--download needs a model"),
        (("./good", "--download"), "--download is for a model on the Hub"),
    ],
)
def test_a_reference_to_nothing_is_a_usage_error(desk: Any, words: tuple[str, ...], said: str) -> None:
    made.write(desk.folder, {"file.gguf": b"x"})
    made.write(desk.folder / "good", made.files())
    done = desk.seedbed("models", *words, expect=2)
    assert done.stdout == ""
    assert said in done.stderr


def test_the_list_fits_a_narrow_terminal(trained: Any) -> None:
    trained.train("--name", "a rather long name for one run", "--preset", "tiny", steps=3)
    made.write(trained.folder / "hf" / "hub" / "models--me--a-name-of-many-words" / "snapshots" / COMMIT, made.files())
    home = {"HF_HOME": str(trained.folder / "hf"), "HF_HUB_CACHE": str(trained.folder / "hf" / "hub")}
    shown = trained.terminal("models", columns=40, env=home)
    lines = [line for line in shown.splitlines() if str(trained.folder) not in line]
    assert max(map(len, lines)) <= 40, shown
    for part in ("alpha ", "a rather ", "…", " one run ", " 30 ", "hub:me/a-name-of-many-words", "ready"):
        assert part in shown


def test_a_checkpoint_is_named_by_run_and_step(trained: Any) -> None:
    def used(*words: str) -> int:
        out = trained.seedbed("generate", *words, "--prompt", "x", "--json").stdout
        return int(Path(json.loads(out)["checkpoint"]).name[5:])

    run = trained.status()
    assert used("alpha@10") == used(f"{run['id']}@10") == used("alpha@step-00000010") == 10
    assert used(f"runs/{run['id']}@20") == 20
    assert used("alpha@latest") == used("latest@best") == used("alpha") == 30
    assert used("alpha@20", "--checkpoint", "20") == 20
    assert json.loads(trained.seedbed("models", "alpha@10", "--json", expect=1).stdout)["step"] == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alpha@15",), "10, 20, 30"),
        (("alpha@",), "no step after the @"),
        (("alpah@10",), "Did you mean"),
        (("alpha@10", "--checkpoint", "20"), "given twice"),
        (("hub:me/model", "--checkpoint", "20"), "a model on the Hub"),
        (("./folder@10",), "has no steps"),
    ],
)
def test_a_wrong_step_is_refused(trained: Any, words: tuple[str, ...], said: str) -> None:
    made.write(trained.folder / "folder", made.files())
    assert said in trained.seedbed("generate", *words, "--prompt", "x", expect=2).stderr


def test_a_model_on_the_hub_is_not_downloaded_to_be_scored(desk: Any) -> None:
    assert "cannot be scored" in desk.seedbed("score", "hub:me/model", expect=2).stderr


def test_checkpoints_are_completed_after_the_at_sign(trained: Any) -> None:
    given = argparse.Namespace(runs=str(trained.runs))
    assert complete_model("alpha@", given) == [f"alpha@{each}" for each in ("latest", "best", 10, 20, 30)]
    assert complete_model("alpha@2", given) == ["alpha@20"]
    assert "alpha" in complete_model("al", given)


def test_a_download_shows_its_progress_on_a_terminal(desk: Any) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    hub = ModelHub({"me/model": made.files(pad=5 << 20)})
    try:
        shown = desk.terminal("models", "hub:me/model", "--download", env=hub.environment(desk.folder))
    finally:
        hub.stop()
    assert "downloading model.safetensors: 0 B of 5.0 MiB (0%)" in shown
    assert "verifying model.safetensors: 5.0 MiB of 5.0 MiB (100%)" in shown
    assert shown.rindex("\x1b[K") > shown.rindex("verifying"), "the progress was not erased"


def test_a_prompt_with_an_at_sign_is_a_prompt(trained: Any) -> None:
    out = json.loads(trained.seedbed("generate", "Write to me@example.com", "--json").stdout)
    assert out["prompt"] == "Write to me@example.com"
    out = json.loads(trained.seedbed("generate", "me@example.com", "--json").stdout)
    assert out["prompt"] == "me@example.com"


def test_the_list_has_runs_and_the_models_in_the_cache_of_the_hub(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for name, config in (("tiny", {}), ("other", {"model_type": "bert"})):
        repository = cache / f"models--me--{name}"
        made.write(repository / "snapshots" / COMMIT, made.files(config or None))
        made.write(repository / "refs", {"main": COMMIT.encode()})
    made.write(cache / "models--me--other" / "snapshots" / COMMIT, {"config.json": b'{"model_type": "bert"}'})

    done = trained.seedbed("models")
    assert all(word in done.stdout for word in ("alpha", "hub:me/tiny", "hub:me/other", "not supported", str(cache)))
    found = json.loads(trained.seedbed("models", "--json").stdout)
    assert [(row["name"], row["step"]) for row in found["runs"]] == [("alpha", 30)]
    hub = {row["name"]: row for row in found["hub"]}
    assert hub["me/tiny"]["reference"] == f"hub:me/tiny@{COMMIT}"
    assert (hub["me/tiny"]["parameters"], hub["me/tiny"]["problem"]) == (made.PARAMETERS, None)
    assert (hub["me/other"]["model_type"], hub["me/other"]["parameters"]) == ("bert", None)
    assert "bert" in hub["me/other"]["problem"]

    trained.seedbed("archive", "alpha")
    assert json.loads(trained.seedbed("models", "--json").stdout)["runs"] == []
    assert len(json.loads(trained.seedbed("models", "--all", "--json").stdout)["runs"]) == 1


def test_the_list_of_an_empty_machine_says_how_to_begin(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    shown = desk.seedbed("models", env={"COLUMNS": "60"}).stdout
    assert "There are no models yet." in shown
    assert all(len(line) <= 60 for line in shown.splitlines())
