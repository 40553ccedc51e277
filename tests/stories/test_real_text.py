"""Real text under `--preset tiny`: train, resume and generate as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHORT = ("--set", "train.batch_size=4", "--set", "train.eval_tokens=4000", "--set", "train.sample_tokens=8")


@pytest.mark.parametrize(
    ("file", "prompt"), [("tinyshakespeare.txt", "ROMEO:\n"), ("wikitext-2/valid.txt", " = Homarus gammarus = \n")]
)
def test_tiny_learns_real_text_then_resumes_and_generates(
    workspace: Any, test_data: Path, file: str, prompt: str
) -> None:
    source = test_data / file
    if not source.exists():
        pytest.skip(f"{source} is not there")
    before = source.read_bytes()
    workspace.seedbed("train", "--preset", "tiny", "--data", f"text:{source}", "--set", "train.steps=14", *SHORT)
    run = workspace.run_dir()
    losses = [row[1] for row in workspace.steps(run)]
    assert len(losses) == 14
    assert losses[0] == pytest.approx(8.3, abs=0.4), (
        "the loss of an untrained model should be that of a random guess: ln 4096 = 8.32"
    )
    assert losses[-1] < losses[0] - 1.5

    workspace.seedbed("resume", "latest", "--more-steps", "3")
    assert [row[0] for row in workspace.steps(run)] == list(range(1, 18))
    assert workspace.steps(run)[13][1] == losses[-1], "an earlier step was changed"
    status = workspace.status()
    assert (status["status"], status["step"], status["checkpoint_step"]) == ("completed", 17, 17)
    assert 0 < status["val_loss"] < losses[0]

    texts = [
        workspace.seedbed("generate", "latest", "--prompt", prompt, "--max-new-tokens", "20", "--seed", seed).stdout
        for seed in ("1", "1", "2")
    ]
    assert texts[0].startswith(prompt)
    assert len(texts[0]) > len(prompt) + 5
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert source.read_bytes() == before
