"""Memory of a GPU: against the ZeRO paper, the activation formula of Megatron, and published runs."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seedbed.simulate import catalog
from seedbed.simulate.lora import lora_input_width
from seedbed.simulate.memory import GIB, layer_activation_bytes, memory_of
from seedbed.simulate.published import read_rows
from seedbed.simulate.setup import Layout, Recipe, Setup

DATA = os.environ.get("SEEDBED_TEST_DATA", "")


def setup_of(model: str, gpus: int = 1, recipe: dict[str, Any] | None = None, **layout: Any) -> Setup:
    return Setup(
        shape=catalog.model(model),
        gpu=catalog.gpu("A100"),
        num_gpus=gpus,
        layout=Layout(**{"dp": gpus, **layout}),
        recipe=Recipe(**{"seq_len": 2048, "global_batch": gpus, **(recipe or {})}),
        network_gbps=25,
    )


@pytest.mark.parametrize(("stage", "bytes_per_parameter"), [(0, 16), (1, 2 + 2 + 12 / 64), (2, 2 + 14 / 64)])
def test_states_follow_the_zero_paper(stage: int, bytes_per_parameter: float) -> None:
    # arXiv 1910.02054, figure 1: 64 ranks, fp16, Adam: 120, 31.4 and 16.6 GB for 7.5 B parameters.
    recipe = {"precision": "fp16", "stack": "legacy", "flash": False, "global_batch": 128}
    setup = setup_of("gpt2-xl", 64, recipe, zero=stage, shard=64 if stage else 1)
    memory = memory_of(setup)
    found = memory.weights + memory.gradients + memory.optimizer
    assert found / setup.weights.dense == pytest.approx(bytes_per_parameter)


def test_fsdp_shares_all_states() -> None:
    setup = setup_of("llama3-8b", 64, {"global_batch": 128}, zero=3, shard=64)
    memory = memory_of(setup)
    assert memory.weights + memory.gradients + memory.optimizer == pytest.approx(16 / 64 * setup.weights.dense)
    assert memory.gathered > 0


@pytest.mark.parametrize("zero", [1, 3])
@pytest.mark.parametrize(
    ("model", "parameters", "layout"),
    [
        ("llama3-8b", 8_030_261_248, {"dp": 64}),
        ("llama3-8b", 8_030_261_248, {"dp": 8, "tp": 8}),
        ("llama3-8b", 8_030_261_248, {"dp": 4, "tp": 4, "cp": 4}),
        ("llama3-8b", 8_030_261_248, {"dp": 16, "cp": 4}),
        ("mixtral-8x7b", 46_702_792_704, {"dp": 64}),
        ("mixtral-8x7b", 46_702_792_704, {"dp": 64, "ep": 8}),
        ("mixtral-8x7b", 46_702_792_704, {"dp": 16, "tp": 4, "ep": 8}),
        ("mixtral-8x7b", 46_702_792_704, {"dp": 8, "tp": 2, "cp": 4, "ep": 4}),
    ],
)
def test_all_gpus_together_hold_each_parameter_once(
    model: str, parameters: int, layout: dict[str, int], zero: int
) -> None:
    # The numbers of parameters are those of the published models; norms and routers (below 0.1 %) are not counted here.
    shard = layout["dp"] * layout.get("cp", 1)
    memory = memory_of(setup_of(model, 64, {"global_batch": 64}, zero=zero, shard=shard, **layout))
    assert 64 * memory.optimizer == pytest.approx(8 * parameters, rel=1e-3)  # two moments in fp32
    if zero == 3:
        assert 64 * memory.weights == pytest.approx(4 * parameters, rel=1e-3)


def test_the_stages_of_a_pipeline_together_hold_each_layer_once() -> None:
    shape = catalog.model("llama3-8b")
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336  # arXiv 2407.21783, table 3
    memory = memory_of(setup_of("llama3-8b", 64, {"global_batch": 64}, dp=8, pp=8, zero=1, shard=8))
    table = 8 * shape.vocab * shape.hidden / 8  # each stage is priced with one table, as the first and the last have it
    assert 64 * memory.optimizer == pytest.approx(8 * 32 * layer + 64 * table, rel=1e-6)


def test_activations_of_a_layer_follow_megatrons_formula() -> None:
    # arXiv 2205.05198, equation 1: s b h (34 + 5 a s / h).
    shape = catalog.model("gpt3-175b")
    setup = setup_of("gpt3-175b", 1, {"stack": "legacy", "flash": False}, micro_batch=1, sequence_parallel=False)
    s, h, a = 2048, shape.hidden, shape.heads
    assert layer_activation_bytes(setup) == pytest.approx(s * h * (34 + 5 * a * s / h))
    # Equation 2: with tensor parallelism, 10 + 24 / t + 5 a s / (h t).
    split = msgspec.structs.replace(setup, layout=Layout(tp=8, sequence_parallel=False))
    assert layer_activation_bytes(split) == pytest.approx(s * h * (10 + 24 / 8 + 5 * a * s / h / 8))
    # Equation 4: with sequence parallelism, 34 / t.
    shared = msgspec.structs.replace(
        setup, layout=Layout(tp=8), recipe=msgspec.structs.replace(setup.recipe, flash=True)
    )
    assert layer_activation_bytes(shared) == pytest.approx(s * h * 34 / 8)


@pytest.mark.parametrize(
    ("model", "bytes_per_token"), [("gpt3-175b", 32 * 12288), ("llama3-70b", 8 * 8192 + 6 * 28672)]
)
def test_fused_kernels_keep_the_inputs_of_their_operations(model: str, bytes_per_token: int) -> None:
    # Counted as in arXiv 2205.05198, section 4.1, without dropout (34 - 2 bytes for a GPT); Llama: 8 h for norms and their
    # outputs, queries, keys, values and the output of attention, and three tensors of f.
    shape = catalog.model(model)
    attention = 0 if model.startswith("gpt3") else 4 * shape.query_width + 4 * shape.kv_width
    layer = layer_activation_bytes(setup_of(model, 1, {"stack": "fused"}))
    assert layer == pytest.approx(2048 * (bytes_per_token + attention))
    torch_layer = layer_activation_bytes(setup_of(model, 1, {"stack": "torch"}))
    assert layer < torch_layer


def test_selective_recomputation_drops_what_its_software_computes_again() -> None:
    def kept(**recipe: Any) -> float:
        return layer_activation_bytes(setup_of("llama3-70b", 1, {"recompute": "selective", **recipe}))

    h, f, tokens = 8192, 28672, 2048
    fused = layer_activation_bytes(setup_of("llama3-70b", 1, {"stack": "fused"}))
    # The outputs of two norms, and the product of the gate (arXiv 2412.19437, section 3.2.3).
    assert fused - kept(stack="fused") == pytest.approx(tokens * (4 * h + 2 * f))
    # Without flash attention, the scores (arXiv 2205.05198, section 5): 5 bytes for each of heads x tokens x tokens.
    scores = layer_activation_bytes(setup_of("llama3-70b", 1, {"stack": "legacy", "flash": False}))
    assert scores - kept(stack="legacy", flash=False) == pytest.approx(5 * tokens * tokens * 64)


def test_a_pipeline_keeps_at_most_the_micro_batches_of_a_step() -> None:
    # With 8 virtual stages, 16 x (1 + 15 / 128) micro-batches are in flight (arXiv 2205.05198), if there are so many.
    def kept(sequences: int) -> float:
        recipe = {"global_batch": sequences, "stack": "fused"}
        return memory_of(setup_of("llama3-405b", 16, recipe, dp=1, pp=16, interleave=8)).activations

    assert kept(256) / kept(16) == pytest.approx(1 + 15 / 128)


@pytest.mark.skipif(
    not Path(DATA, "published_runs.json").is_file(), reason="SEEDBED_TEST_DATA has no published_runs.json"
)
def test_nearly_all_published_runs_of_the_fused_software_fit_into_their_gpu() -> None:
    rows = [row for row in read_rows(Path(DATA, "published_runs.json")) if row.setup.recipe.stack == "fused"]
    fit = [row for row in rows if memory_of(row.setup).total <= row.setup.gpu.usable_gib * GIB]
    assert len(rows) > 80
    assert len(fit) >= 0.9 * len(rows)


def test_qlora_stores_the_layers_in_four_bits() -> None:
    lora, qlora = (
        memory_of(setup_of("llama2-7b", recipe={"method": name, "lora_parameters": 20_000_000}))
        for name in ("lora", "qlora")
    )
    blocks = 6.48e9  # 32 layers of Llama-2-7B
    assert (lora.weights - qlora.weights) == pytest.approx((2 - 0.53) * blocks, rel=0.01)
    assert lora.optimizer == qlora.optimizer


def test_adapters_keep_the_inputs_of_their_matrices() -> None:
    def activations(*targets: str) -> float:
        shape = catalog.model("llama2-7b")
        width = lora_input_width(shape, targets)
        return memory_of(setup_of("llama2-7b", recipe={"method": "lora", "lora_input_width": width})).activations

    # Llama-2-7B: 32 layers of width 4,096, with 11,008 inner features; 2 bytes for a value and 1 for its dropout mask.
    tokens = 2048
    assert activations("query", "value") - activations() == pytest.approx(tokens * 32 * 4096 * 3)
    assert activations("query", "key", "value") == activations("query")  # one input
    assert activations("mlp") - activations() == pytest.approx(tokens * 32 * (4096 + 11008) * 3)


def test_the_first_stage_of_a_pipeline_keeps_as_many_micro_batches_as_stages() -> None:
    recipe = {"global_batch": 64, "stack": "fused"}
    one = memory_of(setup_of("llama3-70b", 8, recipe, dp=1, pp=8)).activations
    layer = layer_activation_bytes(setup_of("llama3-70b", 8, recipe, dp=1, pp=8))
    assert one == pytest.approx(layer * 10 * 8)


def test_parts_add_up() -> None:
    memory = memory_of(setup_of("llama3-8b", 8, zero=3, shard=8))
    assert memory.allocated < memory.reserved < memory.total
    assert sum(memory) == memory.total


@pytest.mark.skipif(
    not Path(DATA, "published_runs.json").is_file(), reason="SEEDBED_TEST_DATA has no published_runs.json"
)
@pytest.mark.parametrize(
    ("kind", "share"), [("fsdp", 0.85), ("qlora", 0.75), ("megatron", 0.9)], ids=["FSDP", "QLoRA", "Megatron"]
)
def test_most_published_figures_lie_within_15_percent(kind: str, share: float) -> None:
    def of_kind(setup: Setup) -> bool:
        if kind == "fsdp":
            return setup.layout.zero == 3 and setup.recipe.method == "pretrain"
        return setup.recipe.method == "qlora" if kind == "qlora" else setup.recipe.stack == "legacy"

    rows = [row for row in read_rows(Path(DATA, "published_runs.json")) if row.memory_gib and of_kind(row.setup)]
    errors = [abs(memory_of(row.setup).reserved / GIB / (row.memory_gib or 1) - 1) for row in rows]
    assert len(rows) >= 10
    assert statistics.median(errors) < 0.15
    assert sum(error < 0.15 for error in errors) >= share * len(errors)
