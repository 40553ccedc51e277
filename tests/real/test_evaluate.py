"""A real model on real text: bits per byte equal to those of transformers on the same windows."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch

from evaluated import evaluation, new_task
from real.assets import smollm2_folder
from seedbed.evaluation.corpus import read_documents
from seedbed.jobs.evaluate import run
from seedbed.runs.lifecycle import Lifecycle

pytestmark = pytest.mark.slow
CONTEXT = 256
TOKENS = 20_000
"""A twelfth of the text, two minutes on two cores; 60,000 tokens passed, too. The whole takes half an hour."""
TOKENS_VARIABLE = "SEEDBED_WIKITEXT_TOKENS"


def tokens_to_compare() -> int:
    """About how many tokens of the text are compared, as the environment says; 0: all."""
    wanted = os.environ.get(TOKENS_VARIABLE, "").strip().replace(",", "").replace("_", "")
    if wanted.lower() == "all":
        return 0
    if wanted and not (wanted.isdecimal() and int(wanted)):
        pytest.fail(f"{TOKENS_VARIABLE} is {wanted!r}, but must be a number of tokens above 0, or all.")
    return int(wanted) if wanted else TOKENS


def test_smollm2_on_wikitext_2_equals_transformers(
    tmp_path: Path, test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tokens_to_compare()
    transformers = pytest.importorskip("transformers")
    folder = smollm2_folder()
    corpus = tmp_path / "wikitext-2"
    corpus.mkdir()
    for name in ("train.txt", "valid.txt"):
        (corpus / name).symlink_to(test_data / "wikitext-2" / "valid.txt")
    settings = {"split": "validation", "context": CONTEXT, "limit_tokens": limit, "threads": 0}
    asked = evaluation("wikitext-2", folder, data={"path": str(corpus)}, names=("SmolLM2",), **settings)
    task = new_task(tmp_path, asked)
    monkeypatch.setattr("seedbed.jobs.evaluate.remove_text", lambda folder: None)
    with Lifecycle(task.path) as lifecycle:
        lifecycle.finish(run(task.path, lifecycle))
    texts = list(read_documents(task.path))
    (found,) = json.loads((tmp_path / "measured.json").read_text())["models"]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    nats, tokens = 0.0, 0
    for text in texts:
        plain = tokenizer(text, add_special_tokens=False).input_ids
        ids = torch.tensor([[tokenizer.convert_tokens_to_ids("<|endoftext|>"), *plain]])
        previous = 0
        for begin in range(0, ids.shape[1] - 1, CONTEXT // 2):
            end = min(begin + CONTEXT, ids.shape[1] - 1)
            with torch.no_grad():  # logits of the tokens that no earlier window predicted
                logits = theirs(input_ids=ids[:, begin:end], logits_to_keep=end - previous).logits[0].double()
            nats -= float(logits.log_softmax(-1).gather(1, ids[0, previous + 1 : end + 1, None]).sum())
            tokens, previous = tokens + end - previous, end
            if end == ids.shape[1] - 1:
                break
    size_bytes = sum(len(text.encode()) for text in texts)
    assert (found["tokens"], found["bytes"]) == (tokens, size_bytes)
    if limit:
        assert tokens == pytest.approx(limit, rel=0.1)
    else:
        whole = (test_data / "wikitext-2" / "valid.txt").stat().st_size
        assert size_bytes == pytest.approx(whole, rel=0.05), "only blanks between articles are left out"
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size_bytes, abs=1e-5)
    assert 0.5 < found["bits_per_byte"] < 1.2
