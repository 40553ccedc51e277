"""Small models of every family in the table, and their folders, for tests of weights and files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seedbed.config.families.config_json import generation_config, hf_config
from seedbed.config.families.family import family
from seedbed.config.families.table import FAMILIES
from seedbed.config.schema import ModelConfig
from seedbed.model.decoder import Decoder
from seedbed.model.weights import export_state

VOCAB = 131


class Ids:
    """The special ids of a tokenizer, for tests without one."""

    eot_id = 7
    pad_id = 9
    stop_ids = frozenset({7})


def shape(layout: str, *, tied: bool = True, kv_heads: int = 4) -> ModelConfig:
    return ModelConfig(
        layout=layout,
        vocab_multiple=1,
        layers=2,
        hidden=32,
        heads=4,
        kv_heads=kv_heads,
        head_dim=8,
        ffn=72,
        context=24,
        tie_embeddings=tied,
        norm_eps=1e-5,
        rope_theta=5000.0,
    )


def shapes() -> Iterator[object]:
    """A tied model and an untied one of every family, the tied one with as few key heads as the family allows, or 2."""
    for layout in FAMILIES:
        kv_heads = {"any": 2, "one or all": 1, "all": 4}[family(layout).options.kv_heads]
        yield pytest.param(shape(layout, kv_heads=kv_heads), id=f"{layout}-tied")
        yield pytest.param(shape(layout, tied=False), id=f"{layout}-untied")


SHAPES = list(shapes())


def built(config: ModelConfig) -> Decoder:
    model = Decoder(config, VOCAB)
    model.init_weights(torch.Generator().manual_seed(3))
    return model


def saved(model: Decoder, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(export_state(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hf_config(model.config, VOCAB, Ids())))
    (folder / "generation_config.json").write_text(json.dumps(generation_config(Ids())))
    return folder
