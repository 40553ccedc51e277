"""Small models with tokenizers, and texts, for tests of evaluations."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from saved_models import save_model
from seedbed.config.evaluation import EvaluateConfig, Evaluation
from seedbed.config.frozen import dump
from seedbed.config.schema import DataConfig, ModelConfig, TokenizerConfig
from seedbed.data.stories.generator import stories
from seedbed.events import discard
from seedbed.model.decoder import Decoder
from seedbed.runs.store import RunDir, Store
from seedbed.runs.tasks import create_task
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

CONTEXT = 24


@cache
def tokenizer(kind: str) -> Tokenizer:
    return train_tokenizer(list(stories(1, 60)), TokenizerConfig(kind=kind, vocab_size=400), discard)


def saved_model(folder: Path, kind: str = "bpe", seed: int = 1, *, context: int = CONTEXT, rows: int = 0) -> Path:
    """Save a model with random weights that are large enough to differ from a uniform distribution; returns its folder."""
    its = tokenizer(kind)
    shape = ModelConfig(layers=1, hidden=16, heads=2, kv_heads=1, head_dim=8, ffn=32, context=context)
    network = Decoder(shape, rows or its.vocab_size)
    network.init_weights(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
    return save_model(folder, network, its)


def write_text(folder: Path, count: int = 40) -> list[str]:
    """Write text files, from a few words to many windows, some not in ASCII; returns their texts in order."""
    folder.mkdir()
    told = list(stories(7, 3 * count))
    texts = []
    for number in range(count):
        first = told[3 * number]
        text = first[:12] if number % 5 == 1 else first[:60]
        if number % 10 == 3:
            text = " ".join(told[3 * number : 3 * number + 3])
        texts.append(text + (" Été, 日本." if number % 2 else ""))
        (folder / f"{number:03d}.txt").write_text(texts[-1], encoding="utf-8")
    return texts


def evaluation(text: Path | str, *models: Path, data: dict[str, Any] | None = None, **settings: Any) -> Evaluation:
    """The config of an evaluation of model folders on a text."""
    source = text if isinstance(text, str) else f"text:{text}"
    asked = EvaluateConfig(
        models=tuple(map(str, models)),
        names=tuple(model.parent.name for model in models),
        split="all",
        device="cpu",
        threads=1,
    )
    return Evaluation(data=DataConfig(source=source, **(data or {})), evaluate=replace(asked, **settings))


def new_task(folder: Path, config: Evaluation, name: str = "measured") -> RunDir:
    """A task whose output is NAME.json in the folder."""
    return create_task(Store(folder / "runs"), "evaluate", name, dump(config), folder / f"{name}.json")
