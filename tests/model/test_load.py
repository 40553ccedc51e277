"""Loading model folders: sharded, in another dtype, and invalid ones, whose errors say what is wrong and what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from torch import Tensor

import patience
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.model import mapping, streaming
from seedbed.model.load import load_folder
from seedbed.model.weights import export_state
from small_models import SHAPES, built, saved, shape


@pytest.mark.parametrize("config", SHAPES)
def test_a_sharded_folder_is_read_and_a_missing_shard_is_named(config: ModelConfig, tmp_path: Path) -> None:
    import transformers

    model = built(config)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved(model, tmp_path / "whole"))
    theirs.save_pretrained(tmp_path / "cut", max_shard_size="20KB")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 1
    again = load_folder(tmp_path / "cut")
    assert all(map(torch.equal, export_state(again).values(), export_state(model).values()))
    next((tmp_path / "cut").glob("*.safetensors")).unlink()
    with pytest.raises(SeedbedError, match=r"Shards of the weights are missing: model-0"):
        load_folder(tmp_path / "cut")


def test_a_folder_loads_in_bf16(tmp_path: Path) -> None:
    model = built(shape("qwen3"))
    lowered = load_folder(saved(model, tmp_path / "m"), dtype=torch.bfloat16)
    assert {p.dtype for p in lowered.parameters()} == {torch.bfloat16}
    assert torch.equal(lowered.embed.weight, model.embed.weight.bfloat16())
    assert torch.equal(lowered.cos, model.cos.bfloat16())


@pytest.mark.parametrize("stored", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["llama", "gpt2", "gpt_bigcode"])
def test_every_stored_precision_becomes_the_wanted_one(stored: torch.dtype, layout: str, tmp_path: Path) -> None:
    model = built(shape(layout))
    saved(model.to(stored), tmp_path)
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_folder(tmp_path, dtype=dtype)
        for ours, theirs in zip(loaded.parameters(), model.parameters(), strict=True):
            assert torch.equal(ours, theirs.to(dtype))


@pytest.mark.parametrize("config", SHAPES)
def test_weights_larger_than_the_buffer_are_read_in_pieces(
    config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BUFFER_BYTES", 1000)
    model = built(config)
    saved(model, tmp_path)
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_folder(tmp_path, dtype=dtype)
        assert all(map(torch.equal, loaded.parameters(), model.to(dtype).parameters()))
        model = built(config)


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mapped_weights_are_those_that_are_copied(
    config: ModelConfig, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_FEWEST_BYTES", 0)
    found: list[set[str]] = []
    map_parameters = mapping.map_parameters
    monkeypatch.setattr(streaming, "map_parameters", lambda *args: found.append(map_parameters(*args)) or found[-1])
    model = built(config)
    saved(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    loaded = load_folder(tmp_path, dtype=dtype, mapped=True)
    if dtype == torch.float32:  # as it is stored
        assert {"embed.weight", "blocks.1.norm_1.weight"} <= found[0]
        assert ("blocks.0.mlp.down.weight" in found[0]) is (
            config.layout != "gpt2"
        )  # which stores matrices as [in, out]
    else:
        assert found == [set()]
    assert all(map(torch.equal, loaded.parameters(), load_folder(tmp_path, dtype=dtype).parameters()))
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("padding", range(1, 5))
def test_weights_at_odd_places_of_a_file_are_read(
    padding: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_FEWEST_BYTES", 0)
    model = built(shape("llama"))
    file = saved(model, tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    file.write_bytes((end - 8 + padding).to_bytes(8, "little") + whole[8:end] + b" " * padding + whole[end:])
    assert all(map(torch.equal, load_folder(tmp_path, mapped=True).parameters(), model.parameters()))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux to look at the memory maps")
def test_weights_that_a_file_stores_as_they_are_needed_are_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_FEWEST_BYTES", 0)
    model = built(shape("llama"))
    file = saved(model, tmp_path) / "model.safetensors"
    kept = {name: tensor.clone() for name, tensor in model.named_parameters()}
    loaded = load_folder(tmp_path, mapped=True)
    ranges = [
        line.split()[0].split("-")
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.rstrip().endswith(str(file))
    ]
    inside = {
        name
        for name, tensor in loaded.named_parameters()
        if any(int(begin, 16) <= tensor.data_ptr() < int(end, 16) for begin, end in ranges)
    }
    # The file has k, o, q and v in this order, but gate before up.
    assert {"embed.weight", "blocks.0.attention.out.weight", "blocks.0.mlp.gate_up.weight"} <= inside
    assert "blocks.0.attention.qkv.weight" not in inside
    file.unlink()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in loaded.named_parameters())


PEAK = """
import sys
from pathlib import Path

import torch

from seedbed.model.load import load_folder

def kib(key):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(key))

load_folder(sys.argv[1])  # whatever is imported or allocated once
Path("/proc/self/clear_refs").write_text("5")
before = kib("VmRSS:")
model = load_folder(sys.argv[2], dtype=getattr(torch, sys.argv[3]), mapped=sys.argv[4] == "mapped")
print((kib("VmHWM:") - before) * 1024 / sum(parameter.nbytes for parameter in model.parameters()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to count the peak anew")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", ["copied", "mapped"])
@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_a_model_is_in_memory_once_while_it_is_read(layout: str, way: str, dtype: str, tmp_path: Path) -> None:
    large = replace(shape(layout), layers=8, hidden=768, heads=12, kv_heads=12, head_dim=64, ffn=3072, context=1024)
    if layout == "llama":
        large = replace(large, context=131_072)  # its rotary tables would be larger than the model
    model = built(large).to(getattr(torch, dtype) if way == "mapped" else torch.bfloat16)
    folders = [str(saved(each, tmp_path / name)) for name, each in (("small", built(shape(layout))), ("large", model))]
    words = [sys.executable, "-c", PEAK, *folders, dtype, way]
    done = subprocess.run(words, capture_output=True, text=True, timeout=patience.HANG_S, check=True)
    assert 0.9 < float(done.stdout) < 1.15


def test_a_tied_head_that_is_stored_nevertheless_is_accepted(tmp_path: Path) -> None:
    model = built(shape("qwen2"))
    change_tensors(
        saved(model, tmp_path), lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    )
    assert all(map(torch.equal, load_folder(tmp_path).parameters(), model.parameters()))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


def change_config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


class TestWeightsThatAreRefused:
    """Each error names the tensor, and what to do."""

    def test_a_tied_head_that_differs(self, tmp_path: Path) -> None:
        folder = saved(built(shape("llama")), tmp_path)
        change_tensors(folder, lambda t: t.update({"lm_head.weight": torch.zeros(131, 32)}))
        with pytest.raises(SeedbedError, match="tied") as caught:
            load_folder(folder)
        assert "tie_word_embeddings" in caught.value.hint

    def test_a_head_that_is_neither_tied_nor_stored(self, tmp_path: Path) -> None:
        folder = change_config(saved(built(shape("llama")), tmp_path), tie_word_embeddings=False)
        with pytest.raises(SeedbedError, match=r"missing lm_head\.weight") as caught:
            load_folder(folder)
        assert "tie_word_embeddings to true" in caught.value.hint

    @pytest.mark.parametrize("mapped", [False, True])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize(
        ("layout", "name"),
        [("llama", "model.layers.1.mlp.up_proj.weight"), ("gpt2", "transformer.h.0.attn.c_attn.weight")],
    )
    def test_numbers_that_are_not_finite(
        self, layout: str, name: str, number: float, dtype: torch.dtype, mapped: bool, tmp_path: Path
    ) -> None:
        folder = saved(built(shape(layout)), tmp_path)
        change_tensors(folder, lambda t: t[name][3].fill_(number))
        with pytest.raises(SeedbedError, match=f'"{re.escape(name)}" in the weights has NaN or infinite'):
            load_folder(folder, dtype=dtype, mapped=mapped)

    def test_large_numbers_are_not_taken_for_infinite_ones(self, tmp_path: Path) -> None:
        folder = saved(built(shape("llama")), tmp_path)
        change_tensors(folder, lambda t: t["model.norm.weight"].fill_(1e38))  # their sum is infinite
        assert load_folder(folder).norm.weight[0].item() == pytest.approx(1e38)

    def test_numbers_too_large_for_the_precision(self, tmp_path: Path) -> None:
        folder = saved(built(shape("llama")), tmp_path)
        change_tensors(folder, lambda t: t["model.norm.weight"][0].fill_(1e6))
        with pytest.raises(SeedbedError, match=r'"model\.norm\.weight".* too large for torch\.float16'):
            load_folder(folder, dtype=torch.float16)

    def test_quantized_numbers(self, tmp_path: Path) -> None:
        folder = saved(built(shape("llama")), tmp_path)
        change_tensors(folder, lambda t: t.update({"model.norm.weight": torch.zeros(32, dtype=torch.int8)}))
        with pytest.raises(SeedbedError, match=r'"model\.norm\.weight" is stored as "I8"'):
            load_folder(folder)

    def test_a_config_of_another_size(self, tmp_path: Path) -> None:
        folder = change_config(saved(built(shape("llama")), tmp_path), intermediate_size=80, num_hidden_layers=3)
        with pytest.raises(SeedbedError, match=r"config\.json says 3 layers, but the weights have 2"):
            load_folder(folder)
        change_config(folder, num_hidden_layers=2)
        with pytest.raises(SeedbedError, match=r"gate_proj\.weight has shape \[72, 32\], expected \[80, 32\]"):
            load_folder(folder)

    def test_a_config_that_fits_few_tensors(self, tmp_path: Path) -> None:
        folder = change_config(saved(built(replace(shape("llama"), layers=4)), tmp_path), intermediate_size=80)
        with pytest.raises(SeedbedError, match=r"gate_proj\.weight has shape .*; and 4 more"):
            load_folder(folder)


class TestFoldersThatCannotBeLoaded:
    """Each error says which folder, what is wrong and what to do."""

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SeedbedError, match="no model folder"):
            load_folder(tmp_path / "nowhere")

    def test_a_folder_without_a_config(self, tmp_path: Path) -> None:
        with pytest.raises(SeedbedError, match=r"no config\.json"):
            load_folder(tmp_path)

    def test_a_pickle_is_not_opened(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(SeedbedError, match="pickle") as caught:
            load_folder(folder)
        assert "safetensors" in caught.value.hint

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        (folder / "model.safetensors").unlink()
        with pytest.raises(SeedbedError, match=r"no model\.safetensors"):
            load_folder(folder)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SeedbedError, match=r'm": "model\.safetensors" cannot be read'):
            load_folder(folder)

    def test_weights_without_one_of_the_tensors(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.norm.weight"]
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(SeedbedError, match=r"m\": .*missing model\.norm\.weight"):
            load_folder(folder)
