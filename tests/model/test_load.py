"""Loading model folders: sharded, in another dtype, and invalid ones, whose errors say what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
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
        with pytest.raises(SeedbedError, match=r'm: "model\.safetensors" cannot be read'):
            load_folder(folder)

    def test_weights_without_one_of_the_tensors(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.norm.weight"]
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(SeedbedError, match=r"m: .*missing model\.norm\.weight"):
            load_folder(folder)
