"""A very small model folder as others publish it: Qwen3 in bf16, two shards, a tokenizer with files of its own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from seedbed.config.schema import TokenizerConfig
from seedbed.events import discard
from seedbed.tokenizer.train import train_tokenizer

POSITIONS, ROWS = 64, 416
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS = 32, 4, 2, 8, 48, 2
_WORDS = (
    "the fox",
    "and",
    "a hen",
    "sat by",
    "red barns",
    "while",
    "rain",
    "fell on",
    "old stone",
    "walls near",
    "green water",
)


def text(words: int = 6000, seed: int = 1) -> str:
    """Lines of words in a random order, the same for every call."""
    chosen = random.Random(seed).choices(_WORDS, k=words)
    return "\n".join(" ".join(chosen[i : i + 12]) + "." for i in range(0, words, 12)) + "\n"


def config_json() -> dict[str, Any]:
    """The config.json of the model, with a key that Seedbed does not know."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 0,
        "dtype": "bfloat16",
        "eos_token_id": 0,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "max_position_embeddings": POSITIONS,
        "model_type": "qwen3",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 20000.0,
        "tie_word_embeddings": True,
        "vocab_size": ROWS,
        "published_by": "somebody else",
    }


def weights() -> dict[str, torch.Tensor]:
    """Random bf16 weights under Hugging Face names."""
    made: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(5)

    def matrix(name: str, *shape: int) -> None:
        made[name] = (torch.randn(shape, generator=generator) * shape[-1] ** -0.5).bfloat16()

    def gain(name: str, width: int) -> None:
        made[name] = (1 + 0.1 * torch.randn(width, generator=generator)).bfloat16()

    matrix("model.embed_tokens.weight", ROWS, HIDDEN)
    for layer in range(LAYERS):
        block = f"model.layers.{layer}."
        gain(f"{block}input_layernorm.weight", HIDDEN)
        matrix(f"{block}self_attn.q_proj.weight", HEADS * HEAD_DIM, HIDDEN)
        for part in "kv":
            matrix(f"{block}self_attn.{part}_proj.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(f"{block}self_attn.o_proj.weight", HIDDEN, HEADS * HEAD_DIM)
        for part in "qk":
            gain(f"{block}self_attn.{part}_norm.weight", HEAD_DIM)
        gain(f"{block}post_attention_layernorm.weight", HIDDEN)
        matrix(f"{block}mlp.gate_proj.weight", FFN, HIDDEN)
        matrix(f"{block}mlp.up_proj.weight", FFN, HIDDEN)
        matrix(f"{block}mlp.down_proj.weight", HIDDEN, FFN)
    gain("model.norm.weight", HIDDEN)
    return made


def make(folder: Path) -> Path:
    """Write the model folder and return it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_json(), indent=2))
    (folder / "generation_config.json").write_text('{"eos_token_id": [0], "temperature": 0.6}\n')
    tensors = weights()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, kept in shards.items():
        save_file({name: tensors[name] for name in kept}, folder / file, metadata={"format": "pt"})
    index = {"weight_map": {name: file for file, kept in shards.items() for name in kept}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Write a small tokenizer into a folder, with bytes that Seedbed would not write itself."""
    tokenizer = train_tokenizer(iter([text()]), TokenizerConfig(vocab_size=400), discard, lambda: None)
    tokenizer.save(folder)
    own = json.loads((folder / "tokenizer_config.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({**own, "made_by": "somebody else"}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": own["eos_token"]}))
