"""Training on from a model folder of others: killed, resumed without the folder, bit-equal, and open in transformers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import trained_bases
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.model.load import load_folder

SETTINGS = (
    "optimizer.lr=3e-3",
    "train.batch_size=4",
    "train.micro_batch=2",
    "train.precision=fp32",
    "train.compile=off",
    "train.threads=1",
    "train.eval_every=8",
    "train.checkpoint_every=6",
    "train.keep_last=2",
    "train.keep_every=12",
    "train.sample_tokens=5",
)
STEPS = 24


def command(folder: Path, base: Path) -> list[str]:
    """The words of `seedbed train --from` for a text in `folder`."""
    (folder / "notes.txt").write_text(trained_bases.text())
    sets = [word for each in SETTINGS for word in ("--set", each)]
    given = ["--from", str(base), "--data", "text:notes.txt", "--steps", str(STEPS), "--context", "32"]
    return ["train", *given, *sets, "--device", "cpu"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_bases.make(tmp_path_factory.mktemp("bases") / "small")


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, open_workspace: Callable[..., Any], base: Path
) -> tuple[Any, Path, str]:
    """The workspace, directory and output of a run that trained on without an interruption."""
    workspace = open_workspace(tmp_path_factory.mktemp("trained"))
    output = workspace.seedbed(*command(workspace.folder, base)).stdout
    return workspace, workspace.run_dir(), output


def last_checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").glob("step-*"))


def test_a_killed_run_whose_base_was_deleted_ends_bit_equal(
    workspace: Any, trained: tuple[Any, Path, str], base: Path
) -> None:
    expected, whole, _ = trained
    own = shutil.copytree(base, workspace.folder / "base")
    workspace.hold_at(10)
    workspace.seedbed(*command(workspace.folder, own), "--background")
    run = workspace.run_dir()
    workspace.wait(lambda: len(workspace.steps(run)) >= 10)
    workspace.kill(workspace.status()["pid"])
    workspace.wait(lambda: workspace.status()["status"] == "lost")
    shutil.rmtree(own)
    workspace.release(run)
    workspace.seedbed("resume", "latest")
    assert workspace.steps(run) == expected.steps(whole)
    assert workspace.weights(run) == expected.weights(whole)


def test_the_loss_before_and_after_is_shown_and_falls(trained: tuple[Any, Path, str]) -> None:
    workspace, run, output = trained
    found = workspace.status()
    validations = {event["step"]: event for event in workspace.events(run) if event["kind"] == "eval"}
    assert min(validations) == 0
    assert found["val_loss_before"] == validations[0]["loss"]
    assert found["val_loss"] < found["val_loss_before"] - 0.3
    assert validations[STEPS]["bits_per_byte"] < validations[0]["bits_per_byte"]
    assert "validation before the first step: loss" in output
    assert f"({found['val_loss_before']:.4f} before the first step)" in output
    assert found["best_step"] != 0
    shown = workspace.seedbed("status").stdout
    assert re.search(rf"^  base +{re.escape(found['base'])}$", shown, re.MULTILINE), shown
    assert re.search(rf"^  data +{re.escape(found['data'])}$", shown, re.MULTILINE), shown
    assert f"val loss {found['val_loss_before']:.4f}, before the first step" in shown


def test_the_checkpoint_keeps_the_files_of_the_base_and_only_the_dtype_in_config_json_changes(
    trained: tuple[Any, Path, str], base: Path
) -> None:
    checkpoint = last_checkpoint(trained[1])
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        assert (checkpoint / name).read_bytes() == (base / name).read_bytes(), name
    written = json.loads((checkpoint / "config.json").read_bytes())
    assert written == trained_bases.config_json() | {"dtype": "float32"}


def test_the_checkpoint_opens_in_transformers_with_equal_logits(trained: tuple[Any, Path, str]) -> None:
    from transformers import AutoModelForCausalLM

    checkpoint = last_checkpoint(trained[1])
    theirs = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    ids = torch.arange(3, 3 + trained_bases.POSITIONS)[None]
    with torch.no_grad():
        wanted, found = theirs(ids).logits, load_folder(checkpoint)(ids)
    assert theirs.dtype == torch.float32
    assert float((found - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())
    changed = load_file(checkpoint / "model.safetensors")
    assert set(changed) == set(trained_bases.weights())
    assert not torch.equal(changed["model.norm.weight"], trained_bases.weights()["model.norm.weight"].float())


def test_the_frozen_config_repeats_the_run(trained: tuple[Any, Path, str], base: Path) -> None:
    _, run, _ = trained
    config = load_frozen(run / "config.toml", TRAIN)
    assert (config.base.model, config.base.folder) == (str(base), str(base))
    assert (config.model.layers, config.model.context) == (2, 32)
    assert config.tokenizer.vocab_size == trained_bases.ROWS


def test_samples_generate_and_more_steps_work_on_such_a_run(trained: tuple[Any, Path, str]) -> None:
    workspace, run, _ = trained
    assert [event["step"] for event in workspace.events(run) if event["kind"] == "sample"] == [STEPS]
    words = workspace.seedbed("generate", "latest", "--prompt", "the fox", "--max-new-tokens", "4").stdout
    assert words.startswith("the fox")
    workspace.seedbed("resume", "latest", "--more-steps", "3")
    assert workspace.steps(run)[-1][0] == STEPS + 3


def test_a_run_can_be_forked_with_its_own_text(trained: tuple[Any, Path, str]) -> None:
    workspace, run, _ = trained
    name = run.name
    workspace.seedbed(
        "train",
        "--from",
        f"{name}@12",
        "--name",
        "fork",
        "--steps",
        "2",
        "--set",
        "train.compile=off",
        "--device",
        "cpu",
    )
    fork = load_frozen(workspace.run_dir("fork") / "config.toml", TRAIN)
    assert fork.base.model == f"{name}@12"
    assert fork.data == load_frozen(run / "config.toml", TRAIN).data
    assert workspace.status("fork")["val_loss_before"] < workspace.status(name)["val_loss_before"]
    listed = workspace.seedbed("runs").stdout
    assert "fork" in listed


def test_a_base_that_changed_after_the_run_was_created_is_refused(workspace: Any, base: Path) -> None:
    own = shutil.copytree(base, workspace.folder / "base")
    words = command(workspace.folder, own)
    workspace.seedbed(*words, "--steps", "1")
    run = workspace.run_dir()
    shutil.rmtree(run / "checkpoints")
    (run / "events.jsonl").unlink()
    (run / "state.json").unlink()
    shard = own / "model-00001-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    refused = workspace.seedbed("resume", "latest", expect=1)
    assert "have changed since this run was created" in refused.stdout + refused.stderr
    assert workspace.status()["status"] == "failed"


def test_a_base_with_nan_weights_fails_before_the_first_step(workspace: Any, base: Path) -> None:
    own = shutil.copytree(base, workspace.folder / "base")
    shard = own / "model-00001-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-64:] = b"\xc0\x7f" * 32  # NaN in bf16, at the end of the last tensor
    shard.write_bytes(data)
    failed = workspace.seedbed(*command(workspace.folder, own), expect=1)
    assert "NaN or infinite numbers" in failed.stdout + failed.stderr
    assert not workspace.steps(workspace.run_dir())
