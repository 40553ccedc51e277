"""Sizes of LoRA adapters, against the counts that peft prints."""

from __future__ import annotations

from seedbed.simulate import catalog
from seedbed.simulate.lora import lora_parameters


def test_sizes_of_adapters_equal_the_published_ones() -> None:
    llama = catalog.model("llama2-7b")
    # peft's print_trainable_parameters for Llama-2-7B: rank 8 on q and v; rank 64 on all linear layers (QLoRA).
    assert lora_parameters(llama, 8, ["query", "value"]) == 4_194_304
    assert lora_parameters(llama, 64) == 159_907_840


def test_with_experts_each_has_an_adapter() -> None:
    mixtral = catalog.model("mixtral-8x7b")
    assert lora_parameters(mixtral, 8, ["mlp"]) == 8 * 32 * 8 * 3 * (4096 + 14336)


def test_the_output_layer_is_a_target_of_its_own() -> None:
    llama = catalog.model("llama2-7b")
    assert lora_parameters(llama, 8, ["head"]) == 8 * (4096 + 32000)
