"""Transformers 4 and 5 read a checkpoint as Seedbed does: equal ids, logits and text, one by one and in a batch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch

import patience
from saved_models import save_model
from seedbed.config.schema import ModelConfig, TokenizerConfig
from seedbed.data.stories.generator import stories
from seedbed.model.decoder import Decoder
from seedbed.model.generate import Sampling, generate
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
READER = Path(__file__).with_name("open_elsewhere.py")
PROMPTS = ["Once upon a time", "The fox", "A mill stood by the old river"]
NEW_TOKENS = 8
CONTEXT = 64


class SavedModel(NamedTuple):
    """A checkpoint, and the model and tokenizer that it was saved from."""

    folder: Path
    model: Decoder
    tokenizer: Tokenizer


def save_new_model(folder: Path, layout: Literal["qwen3", "gpt2"], kind: Literal["bpe", "char"]) -> SavedModel:
    """A checkpoint as training writes it, of a model whose weights are large enough for logits to differ clearly."""
    tokenizer = train_tokenizer(list(stories(1, 200)), TokenizerConfig(kind=kind, vocab_size=500), lambda _event: None)
    config = ModelConfig(layout=layout, layers=2, hidden=32, heads=4, kv_heads=4, head_dim=8, ffn=72, context=CONTEXT)
    model = Decoder(config, tokenizer.vocab_size)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return SavedModel(save_model(folder, model, tokenizer), model.eval(), tokenizer)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[SavedModel]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [
        save_new_model(folder / "a", "qwen3", "bpe"),
        save_new_model(folder / "b", "gpt2", "bpe"),
        save_new_model(folder / "c", "gpt2", "char"),
    ]


def read_elsewhere(saved: list[SavedModel], packages: Path | None = None) -> list[dict[str, Any]]:
    """The answers of a process that imports from `packages` first."""
    request = {"folders": [str(each.folder) for each in saved], "prompts": PROMPTS, "new_tokens": NEW_TOKENS}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    path = {"PYTHONPATH": str(packages)} if packages else {}
    done = subprocess.run(
        [sys.executable, str(READER)],
        input=json.dumps(request),
        env={**os.environ, **offline, **path},
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "right-padding" not in done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def compare(saved: list[SavedModel], answers: list[dict[str, Any]]) -> None:
    """Assert that every id, logit and text equals Seedbed's."""
    for (_, model, tokenizer), theirs in zip(saved, answers, strict=True):
        assert theirs["longest"] == CONTEXT
        for number, prompt in enumerate(PROMPTS):
            ids = tokenizer.encode(prompt)
            assert theirs["ids"][number] == ids
            with torch.no_grad():
                ours = model(torch.tensor([ids]))[0]
            assert torch.allclose(torch.tensor(theirs["logits"][number]), ours, atol=1e-5 * float(ours.abs().max()))
            written = list(
                generate(
                    model,
                    ids,
                    Sampling(max_new_tokens=NEW_TOKENS, temperature=0),
                    eot_id=tokenizer.eot_id,
                )
            )
            ending = [tokenizer.eot_id] if len(written) < NEW_TOKENS else []
            assert theirs["alone"][number] == written + ending
            assert theirs["batched"][number][: len(written)] == written, f"{prompt!r} in a batch"
            assert theirs["piped"][number] == tokenizer.decode(written)


@pytest.fixture(scope="session")
def transformers_4(request: pytest.FixtureRequest) -> Path:
    """A folder with the last transformers 4 and its dependencies; installed once by pip and kept in pytest's cache."""
    folder = request.config.cache.mkdir("transformers-4")
    whole = folder / "whole"
    if whole.exists():
        return folder
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    options = ["--target", str(folder), "--constraint", str(ROOT / "constraints.txt")]
    done = subprocess.run(
        [*pip, *options, "transformers>=4.57,<5"], capture_output=True, text=True, timeout=patience.HANG_S, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        pytest.skip(f"transformers 4 cannot be installed here: {said[-1]}")
    whole.touch()
    return folder


def test_transformers_5_reads_a_checkpoint_as_seedbed_does(saved: list[SavedModel]) -> None:
    answers = read_elsewhere(saved)
    assert {theirs["version"].partition(".")[0] for theirs in answers} == {"5"}
    compare(saved, answers)


@pytest.mark.slow
def test_transformers_4_reads_a_checkpoint_as_seedbed_does(saved: list[SavedModel], transformers_4: Path) -> None:
    answers = read_elsewhere(saved, transformers_4)
    assert {theirs["version"].partition(".")[0] for theirs in answers} == {"4"}
    compare(saved, answers)


def test_the_python_code_of_the_readme_runs_on_a_checkpoint(saved: list[SavedModel], tmp_path: Path) -> None:
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    assert len(blocks) == 1
    shutil.copytree(saved[0].folder, tmp_path / "runs" / "20260101-000000-000-quickstart" / "checkpoints" / "step-1")
    done = subprocess.run(
        [sys.executable, "-c", blocks[0].partition("```")[0]],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = re.split(r"\n(?=The fox)", done.stdout)
    # So small a model may end a text at once, so the text after the prompts is not checked.
    assert first.startswith("Once upon a time")
    assert second.startswith("The fox")
