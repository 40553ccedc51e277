"""A real model, SmolLM2-135M-Instruct, answers through its chat template and continues texts, with the text of transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from real.assets import smollm2_folder
from seedbed.hardware import cpu
from seedbed.jobs.generate import GenerateRequest, answer
from seedbed.train.masters import DTYPES

QUESTIONS = (
    "What is the capital of France?",
    "Name three primary colors.",
    "What is 2 + 3?",
    "Write one sentence about the sea.",
    "Who wrote Romeo and Juliet?",
    "Translate 'good morning' to Spanish.",
    "What do bees make?",
    "Is the sun a star? Answer yes or no.",
    "Give me a synonym for happy.",
    "Write a Python function that adds two numbers.",
)
PROMPTS = ("The capital of France is", "def fibonacci(n):\n", "Once upon a time", "")


@pytest.fixture(scope="module")
def folder() -> Path:
    return smollm2_folder()


PRECISIONS = ("fp32", "bf16")


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> str:
    """The precision in which texts are compared."""
    here = cpu.probe()
    if request.param == "bf16" and here.emulates_bf16:
        pytest.skip("this CPU emulates bf16, which takes too long")
    if request.param == "bf16" and "avx512_bf16" in here.features and "amx_bf16" not in here.features:
        pytest.skip("with AVX512-BF16 and without AMX, bf16 is multiplied in another way (docs/generation.md)")
    return str(request.param)


@pytest.fixture(scope="module")
def theirs(folder: Path, precision: str) -> Any:
    """The model and the tokenizer of transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[precision])
    return model, AutoTokenizer.from_pretrained(folder)


def generated(folder: Path, precision: str = "auto", **options: Any) -> str:
    request = GenerateRequest(
        checkpoint=str(folder), temperature=0.0, device="cpu", **{"precision": precision, **options}
    )
    return "".join(line.get("text", "") for line in answer(request))


def expected(theirs: Any, ids: list[int], max_new_tokens: int) -> str:
    model, tokenizer = theirs
    whole = model.generate(torch.tensor([ids]), max_new_tokens=max_new_tokens, do_sample=False)[0, len(ids) :]
    return str(tokenizer.decode(whole, skip_special_tokens=True))


def test_it_knows_the_capital_of_france(folder: Path) -> None:
    messages = ({"role": "user", "content": QUESTIONS[0]},)
    assert generated(folder, messages=messages, max_new_tokens=20) == "The capital of France is Paris."


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_equal_those_of_transformers(folder: Path, theirs: Any, precision: str, question: str) -> None:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": question})
    ids = theirs[1].apply_chat_template(list(messages), add_generation_prompt=True)["input_ids"]
    assert generated(folder, precision, messages=messages, max_new_tokens=48) == expected(theirs, ids, 48)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", PROMPTS)
def test_continuations_equal_those_of_transformers(folder: Path, theirs: Any, precision: str, prompt: str) -> None:
    ids = theirs[1](prompt)["input_ids"] or theirs[1]("<|endoftext|>")["input_ids"]
    text = generated(folder, precision, prompt=prompt, max_new_tokens=32)
    theirs_until_the_end = expected(theirs, ids, 32)
    assert text == theirs_until_the_end


def test_the_command_answers_a_question(folder: Path, tmp_path: Path) -> None:
    words = ["generate", str(folder), "--chat", "--prompt", QUESTIONS[0], "--temp", "0", "--json"]
    command = [sys.executable, "-m", "seedbed", *words, "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["text"], result["finish"]) == ("The capital of France is Paris.", "stop")
    assert result["messages"] == [{"role": "user", "content": QUESTIONS[0]}]
    assert result["run"] is None
