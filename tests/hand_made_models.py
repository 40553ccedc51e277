"""Tiny model folders made without torch: a config.json, weights of zeros, and a tokenizer with a few tokens."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 12,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "eos_token_id": 10,
}
PARAMETERS = 12 * 8 + 2 * (8 * 4 * 4 + 8 * 8 + 3 * 8 * 16 + 2 * 8 + 2 * 4) + 8
"""Of QWEN3: the embedding; in each layer q, k and v, the output, the feed-forward layer, and four norms; the last norm."""
BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1}

TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {"id": 10, "content": "<|end|>", "special": True},
        {"id": 11, "content": "<|begin|>", "special": True},
    ],
    "post_processor": None,
    "model": {"type": "BPE", "vocab": {letter: number for number, letter in enumerate("abcdefghij")}, "merges": []},
}
TOKENIZER_CONFIG = {"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}}


def shapes(config: Mapping[str, Any] = QWEN3) -> dict[str, tuple[int, ...]]:
    """The tensors of a Qwen3 model with tied embeddings, as transformers names them."""
    hidden, ffn, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    found = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        each: dict[str, tuple[int, ...]] = {
            "input_layernorm": (hidden,),
            "self_attn.q_proj": (query, hidden),
            "self_attn.k_proj": (key, hidden),
            "self_attn.v_proj": (key, hidden),
            "self_attn.q_norm": (head,),
            "self_attn.k_norm": (head,),
            "self_attn.o_proj": (hidden, query),
            "post_attention_layernorm": (hidden,),
            "mlp.gate_proj": (ffn, hidden),
            "mlp.up_proj": (ffn, hidden),
            "mlp.down_proj": (hidden, ffn),
        }
        found |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in each.items()}
    return found


def safetensors(tensors: Mapping[str, tuple[int, ...]], dtype: str = "F32", *, pad: int = 0) -> bytes:
    """The content of a safetensors file with tensors of zeros (https://huggingface.co/docs/safetensors).

    `pad`: bytes of a further tensor, which makes the file large.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    if pad:
        header["rotary_emb.inv_freq"] = {"dtype": "U8", "shape": [pad], "data_offsets": [end, end + pad]}
        end += pad
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + bytes(end)


def files(
    config: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    *,
    dtype: str = "F32",
    pad: int = 0,
) -> dict[str, bytes]:
    """The files of a whole model; `config` and `tokenizer` replace keys of QWEN3 and TOKENIZER."""
    wanted = {**QWEN3, **(config or {})}
    return {
        "config.json": json.dumps(wanted).encode(),
        "tokenizer.json": json.dumps({**TOKENIZER, **(tokenizer or {})}).encode(),
        "tokenizer_config.json": json.dumps(TOKENIZER_CONFIG).encode(),
        "model.safetensors": safetensors(shapes(wanted), dtype, pad=pad),
    }


def sharded(content: Mapping[str, bytes], config: Mapping[str, Any] = QWEN3) -> dict[str, bytes]:
    """The files of a model with its weights in two shards and an index."""
    tensors = list(shapes(config).items())
    parts = {
        "model-00001-of-00002.safetensors": dict(tensors[:5]),
        "model-00002-of-00002.safetensors": dict(tensors[5:]),
    }
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    rest = {name: data for name, data in content.items() if name != "model.safetensors"}
    return {
        **rest,
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{file: safetensors(part) for file, part in parts.items()},
    }


def write(folder: Path, content: Mapping[str, bytes]) -> Path:
    """Write files into a folder, which is created; returns the folder."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
