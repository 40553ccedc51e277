"""The arithmetic against the built model: parameters exactly, FLOPs as torch counts them; and the memory of batches."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seedbed.config import arithmetic
from seedbed.config.preset import preset_about, preset_names
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.model.decoder import Decoder

SHAPES = {
    "tied": [],
    "untied": ["model.tie_embeddings=false"],
    "grouped": ["model.heads=6", "model.kv_heads=2", "model.head_dim=20"],
    "gpt2": ["model.layout=gpt2"],
    "gpt2-untied": ["model.layout=gpt2", "model.tie_embeddings=false", "model.ffn=500"],
    "biases": ["model.layout=llama", "model.attention_bias=true", "model.mlp_bias=true"],
    "queries-biased": ["model.layout=qwen2", "model.tie_embeddings=false"],
    "starcoder2": ["model.layout=starcoder2", "model.kv_heads=2"],
    "one-key-head": ["model.layout=gpt_bigcode", "model.kv_heads=1", "model.max_context=700"],
    "window": ["model.layout=qwen2", "model.context=1100", "model.window=64", "model.window_layers=1-3"],
    "odd-vocabulary": ["tokenizer.vocab_size=2049", "model.vocab_multiple=128"],
}


def on_meta(config: Config) -> Decoder:
    with torch.device("meta"):
        return Decoder(config.model, arithmetic.padded_vocab(config.model, config.tokenizer.vocab_size))


def configs() -> list[object]:
    presets = [pytest.param(resolve(TRAIN, preset=name).config, id=name) for name in preset_names(TRAIN)]
    shapes = [pytest.param(resolve(TRAIN, sets=sets).config, id=name) for name, sets in SHAPES.items()]
    return [*presets, *shapes]


@pytest.mark.parametrize("config", configs())
def test_the_parameter_count_equals_that_of_the_built_model(config: Config) -> None:
    built = sum(parameter.numel() for parameter in on_meta(config).parameters())
    assert arithmetic.count_parameters(config.model, config.tokenizer.vocab_size) == built


@pytest.mark.parametrize("name", preset_names(TRAIN))
def test_presets_state_their_number_of_parameters(name: str) -> None:
    config = resolve(TRAIN, preset=name).config
    stated = preset_about(name, TRAIN)["parameters"]
    assert stated == arithmetic.count_parameters(config.model, config.tokenizer.vocab_size)
    assert stated == pytest.approx({"nano": 1e6, "tiny": 6e6, "small": 1e8, "base": 1e9}[name], rel=0.12)


@pytest.mark.parametrize("config", configs())
def test_flops_match_the_count_of_torch(config: Config) -> None:
    model, sequences = on_meta(config), 3
    ids = torch.zeros((sequences, config.model.context), dtype=torch.long, device="meta")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.loss(ids, ids).backward()
    counted = counter.get_total_flops()
    computed = arithmetic.flops_per_step(config.model, config.tokenizer.vocab_size, sequences)
    assert computed == pytest.approx(counted, rel=0.01)


def test_flops_of_fused_attention_match_the_count_of_torch() -> None:
    config = resolve(TRAIN, sets=["model.context=512"]).config.model
    q = torch.empty(2, config.heads, config.context, config.head_dim, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out = torch.ops.aten._scaled_dot_product_flash_attention(q.bfloat16(), q.bfloat16(), q.bfloat16(), 0.0, True)[0]
        out.backward(torch.empty_like(out))
    no_layers = arithmetic.flops_per_step(config, 2048, 2, fused_attention=True) - 6 * 2 * config.context * (
        arithmetic.matrix_parameters(config) + 2048 * config.hidden
    )
    assert no_layers == counter.get_total_flops() * config.layers


def test_vocabulary_rows_are_rounded_up() -> None:
    model = resolve(TRAIN, sets=["model.vocab_multiple=64"]).config.model
    assert [arithmetic.padded_vocab(model, size) for size in (1, 64, 65, 2048)] == [64, 64, 128, 2048]


@pytest.mark.parametrize("number", [1, 2, 97, 96, 1536, 10_000])
def test_divisors_returns_every_divisor(number: int) -> None:
    assert arithmetic.divisors(number) == [each for each in range(1, number + 1) if number % each == 0]


def test_divisors_of_a_huge_number_are_found_quickly() -> None:
    found = arithmetic.divisors(10**18)
    assert {1, 2, 1000, 10**15, 5 * 10**17, 10**18} <= set(found)
    assert all(10**18 % each == 0 for each in found)


def test_the_memory_estimate_includes_the_batch_and_prefetched_batches() -> None:
    def total(*sets: str) -> int:
        sets = ("model.context=1000", "train.micro_batch=1", *sets)
        return arithmetic.memory_estimate(resolve(TRAIN, sets=sets).config, 300, "fp32").total

    one = total("train.batch_size=2")
    assert total("train.batch_size=2002") == one + 2000 * 1000 * 16
    assert total("train.batch_size=2002", "train.prefetch=3") == one + (2000 + 3 * 2002) * 1000 * 16
