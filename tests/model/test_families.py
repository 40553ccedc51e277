"""Every model family against transformers: logits, files written back, the cache; and that each feature matters."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from torch import Tensor

from random_models import CASES, VOCAB, random_model
from seedbed.config.families.config_json import config_from_hf, hf_config, updated_config
from seedbed.config.families.table import FAMILIES
from seedbed.config.families.tensors import expected_shapes
from seedbed.config.schema import ModelConfig
from seedbed.model.cache import KVCache
from seedbed.model.decoder import Decoder
from seedbed.model.load import load_folder
from seedbed.model.weights import export_state, load_state

LENGTH = 200


class Ids:
    """The special ids of a tokenizer."""

    eot_id = 2
    pad_id = 0
    stop_ids = frozenset({2})


def ids(length: int = LENGTH) -> Tensor:
    return torch.randint(0, VOCAB, (2, length), generator=torch.Generator().manual_seed(0))


@cache
def reference(case: str) -> Any:
    """The random model of a case in transformers."""
    return random_model(case)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder with the model of a case, as transformers saves it."""
    root = tmp_path_factory.mktemp("families")

    def folder(case: str) -> Path:
        if not (root / case).exists():
            reference(case).save_pretrained(root / case)
        return root / case

    return folder


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found = model(ids())
    return found if isinstance(found, Tensor) else found.logits


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_every_family_has_a_case() -> None:
    assert {model_type for model_type, _ in CASES.values()} == set(FAMILIES)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(case: str, folders: Callable[[str], Path]) -> None:
    assert relative(logits(load_folder(folders(case))), logits(reference(case))) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_files_written_back_are_the_same_model(case: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    import transformers

    model = load_folder(folders(case))
    before, after = load_file(folders(case) / "model.safetensors"), export_state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert expected_shapes(model.config, VOCAB) == {name: tuple(tensor.shape) for name, tensor in after.items()}
    save_file(after, tmp_path / "model.safetensors", metadata={"format": "pt"})
    base = json.loads((folders(case) / "config.json").read_text())
    for written in (hf_config(model.config, VOCAB, Ids()), updated_config(base, model.config)):
        assert config_from_hf(written) == (model.config, VOCAB)
        (tmp_path / "config.json").write_text(json.dumps(written))
        again, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(report.values()), report
        assert relative(logits(again), logits(reference(case))) < 1e-5


@pytest.mark.parametrize("prompt", [5, 16, 40])
@pytest.mark.parametrize("case", ["mistral-window", "qwen2-layer-types", "llama-llama3", "gpt_bigcode", "starcoder2"])
@torch.no_grad()
def test_cached_tokens_give_the_logits_of_the_whole_sequence(
    case: str, prompt: int, folders: Callable[[str], Path]
) -> None:
    # With a window of 16, the cache of a layer has 32 positions: prompts that are shorter, equal and longer than both.
    model = load_folder(folders(case))
    whole, cache = logits(model), KVCache(model.config, batch=2, max_length=LENGTH)
    pieces = ids().split([prompt, *[1] * 70, 3, 17, 1, 30, *[1] * (LENGTH - prompt - 121)], 1)
    found = torch.cat([model(piece, cache=cache) for piece in pieces], 1)
    assert relative(found, whole) < 1e-5
    cache.clear()
    assert relative(model(ids(), cache=cache), whole) < 1e-5


def test_a_window_needs_memory_for_two_windows_only() -> None:
    config = ModelConfig(layout="qwen2", layers=2, window=16, window_layers="1", context=1000)
    full, narrow = KVCache(config).layers
    assert (full.keys.shape[2], narrow.keys.shape[2]) == (1000, 32)


# ------------------------------------------------------------------------------------------------ features that matter


def changed(model: Decoder, *, state: dict[str, Tensor] | None = None, **fields: Any) -> Decoder:
    """The model with other fields of its config, or with other weights."""
    other = Decoder(replace(model.config, **fields), VOCAB)
    load_state(other, {**export_state(model), **(state or {})})
    return other


def without(model: Decoder, ending: str) -> Decoder:
    """The model with zeros for the tensors whose names end so."""
    found = {name: torch.zeros_like(t) for name, t in export_state(model).items() if name.endswith(ending)}
    assert found
    return changed(model, state=found)


def with_rows(model: Decoder, ending: str, order: Tensor) -> Decoder:
    """The model with the rows of some tensors in another order."""
    found = {name: t[order] for name, t in export_state(model).items() if name.endswith(ending)}
    assert found
    return changed(model, state=found)


def tiled_heads(model: Decoder) -> Decoder:
    """As if query head h used key head h % K, and not h // (H / K)."""
    heads, width = model.config.heads, model.config.head_dim
    order = torch.arange(heads * width).view(2, heads // 2, width).transpose(0, 1).flatten()
    state = {}
    for name, tensor in export_state(model).items():
        if ".q_proj." in name:
            state[name] = tensor[order]
        if name.endswith("o_proj.weight"):
            state[name] = tensor[:, order]
    return changed(model, state=state)


def interleaved(model: Decoder) -> Decoder:
    """As if the rotation paired neighbours, and not dimension i with i + D/2: the rows of q and k are in another order."""
    state = {}
    for name, tensor in export_state(model).items():
        if ".q_proj." in name or ".k_proj." in name:
            heads = tensor.unflatten(0, (-1, model.config.head_dim))
            state[name] = torch.cat((heads[:, ::2], heads[:, 1::2]), 1).flatten(0, 1)
    return changed(model, state=state)


def without_qk_norm(model: Decoder) -> Decoder:
    other = changed(model)
    for block in other.blocks:
        block.attention.qk_gain = None
    return other


MUTATIONS: dict[str, tuple[str, Callable[[Decoder], Decoder]]] = {
    "no biases of queries": ("qwen2", lambda m: without(m, "q_proj.bias")),
    "no biases of values": ("llama-biases", lambda m: without(m, "v_proj.bias")),
    "no bias of the output": ("llama-biases", lambda m: without(m, "o_proj.bias")),
    "no biases of the gate": ("llama-biases", lambda m: without(m, "gate_proj.bias")),
    "no biases of the feed-forward": ("starcoder2", lambda m: without(m, "c_fc.bias")),
    "no biases of LayerNorm": ("starcoder2", lambda m: without(m, "input_layernorm.bias")),
    "exact GELU": ("gpt2", lambda m: changed(m, gelu="exact")),
    "approximate GELU": ("starcoder2-untied-window", lambda m: changed(m, gelu="tanh")),
    "epsilon of RMSNorm": ("qwen3", lambda m: changed(m, norm_eps=1e-5)),
    "epsilon of LayerNorm": ("gpt_bigcode", lambda m: changed(m, norm_eps=1e-6)),
    "no QK-norm": ("qwen3", without_qk_norm),
    "window off": ("mistral-window", lambda m: changed(m, window=0)),
    "window + 1": ("mistral-window", lambda m: changed(m, window=17)),
    "window - 1": ("starcoder2-untied-window", lambda m: changed(m, window=15)),
    "window in the first layer": ("qwen2-window-from-layer-1", lambda m: changed(m, window_layers="all")),
    "window in other layers": ("qwen2-layer-types", lambda m: changed(m, window_layers="0-1")),
    "base of the rotation": ("qwen2", lambda m: changed(m, rope_theta=1e4)),
    "no scaling": ("llama-llama3", lambda m: changed(m, rope_scaling="none", rope_factor=1.0)),
    "linear scaling": ("llama-llama3", lambda m: changed(m, rope_scaling="linear")),
    "original context": ("llama-llama3", lambda m: changed(m, rope_original_context=256)),
    "smooth band": ("llama-llama3", lambda m: changed(m, rope_high_factor=1.001)),
    "factor": ("llama-linear", lambda m: changed(m, rope_factor=2.0)),
    "interleaved rotation": ("llama-tied", interleaved),
    "key heads tiled": ("llama-tied", tiled_heads),
    "heads as blocks": (
        "gpt_bigcode-by-head",
        lambda m: with_rows(m, "c_attn.weight", torch.arange(144).view(3, 4, 12).transpose(0, 1).flatten()),
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_without_a_feature_the_logits_differ(mutation: str, folders: Callable[[str], Path]) -> None:
    case, mutated = MUTATIONS[mutation]
    assert relative(logits(mutated(load_folder(folders(case)))), logits(reference(case))) > 3e-5
