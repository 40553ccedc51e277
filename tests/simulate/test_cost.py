"""The time of a step: against formulas, published runs, and what must hold for any setup."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seedbed.simulate import catalog
from seedbed.simulate.communication import all_reduce_s
from seedbed.simulate.constants import PRIORS, fitted, fitted_file
from seedbed.simulate.cost import step_cost
from seedbed.simulate.intervals import CLASSES, class_of, factor_of
from seedbed.simulate.published import read_row, read_rows
from seedbed.simulate.rates import half_peak, ring_bandwidth
from seedbed.simulate.setup import Layout, Recipe, Setup

DATA = os.environ.get("SEEDBED_TEST_DATA", "")
needs_runs = pytest.mark.skipif(
    not Path(DATA, "published_runs.json").is_file(), reason="SEEDBED_TEST_DATA has no published_runs.json"
)


def setup_of(
    model: str = "llama3-8b", gpu: str = "H100", gpus: int = 8, recipe: dict[str, Any] | None = None, **layout: Any
) -> Setup:
    sizes = {"dp": gpus // (layout.get("tp", 1) * layout.get("pp", 1) * layout.get("cp", 1)), **layout}
    kind = catalog.gpu(gpu)
    return Setup(
        shape=catalog.model(model),
        gpu=kind,
        num_gpus=gpus,
        layout=Layout(**sizes),
        recipe=Recipe(**{"seq_len": 4096, "global_batch": 256, **(recipe or {})}),
        network_gbps=kind.network_gbps,
        node_gpus=max(kind.link_domain, kind.gpus_per_node),
    )


def fsdp(gpus: int = 8, **recipe: Any) -> Setup:
    return setup_of(gpus=gpus, recipe=recipe, zero=3, shard=gpus)


def test_parts_add_up_to_the_step() -> None:
    cost = step_cost(setup_of(gpus=64, tp=4, pp=4, micro_batch=1))
    assert sum(cost.parts.values()) == pytest.approx(cost.step_s)
    assert cost.tokens_per_s * cost.step_s == pytest.approx(256 * 4096)
    assert all(seconds > 0 for seconds in cost.parts.values())


def test_mfu_is_useful_operations_against_the_peak_rate() -> None:
    setup = fsdp()
    cost = step_cost(setup)
    operations = setup.shape.flops_per_token(4096) * setup.tokens_per_step
    assert cost.mfu == pytest.approx(operations / cost.step_s / 8 / half_peak(setup.gpu))
    assert half_peak(setup.gpu) == 989e12  # NVIDIA's data sheet, dense bf16


def test_no_step_is_faster_than_the_peak_rate() -> None:
    for model, gpu, gpus in (("gpt2", "RTX4090", 1), ("llama3-70b", "GB200", 64), ("mixtral-8x7b", "A100", 64)):
        assert step_cost(setup_of(model, gpu, gpus, zero=1, shard=gpus)).mfu < 0.87


def test_the_pipeline_bubble_follows_its_formula() -> None:
    # 1F1B: (p - 1) / (v m) of the time of m micro-batches (arXiv 2104.04473, section 2.2).
    for stages, interleave in ((4, 1), (8, 1), (8, 4)):
        setup = setup_of(gpus=64, pp=stages, interleave=interleave, micro_batch=1)
        parts = step_cost(setup).parts
        once = ("pipeline bubble", "gradient sum", "optimizer", "stragglers")
        busy = sum(seconds for name, seconds in parts.items() if name not in once)
        assert parts["pipeline bubble"] == pytest.approx(busy * (stages - 1) / interleave / setup.micro_batches)


def test_collectives_between_nodes_use_every_network_adapter_of_a_node() -> None:
    k = msgspec.structs.replace(PRIORS, network=1.0)
    setup = setup_of(gpus=64)
    assert ring_bandwidth(setup, 8, 1, k) == pytest.approx(0.75 * 450e9)
    assert ring_bandwidth(setup, 64, 8, k) == pytest.approx(50e9)  # one rank in each node: one adapter
    assert ring_bandwidth(setup, 32, 2, k) == pytest.approx(4 * 50e9)
    assert ring_bandwidth(setup, 64, 1, k) == pytest.approx(0.75 * 450e9)  # 8 adapters are faster than NVLink


def test_an_all_reduce_takes_a_tree_for_small_and_a_ring_for_large_data() -> None:
    bandwidth, latency = 50e9, 10e-6
    assert all_reduce_s(8, 1024, bandwidth, latency) == pytest.approx(2 * 10 * latency, rel=1e-3)
    large = 100e9
    assert all_reduce_s(large, 8, bandwidth, latency) == pytest.approx(2 * 7 * latency + 2 * 7 / 8 * 2, rel=1e-6)
    assert all_reduce_s(large, 1, bandwidth, latency) == 0


def test_recomputation_costs_a_third_of_the_matmuls() -> None:
    # A forward pass again: 4/3 of the operations (arXiv 2205.05198).
    plain, again = (step_cost(fsdp(recompute=name)).parts["matmuls"] for name in ("none", "full"))
    assert again / plain == pytest.approx(4 / 3)


def test_lora_saves_the_matmuls_of_weight_gradients() -> None:
    full, lora = (step_cost(fsdp(method=name)).parts["matmuls"] for name in ("full_ft", "lora"))
    assert lora / full == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        (fsdp(), fsdp(compiled=True)),
        (fsdp(precision="bf16", stack="fused"), fsdp(precision="fp8", stack="fused")),
        (fsdp(flash=False), fsdp()),
        (setup_of(gpu="A100", zero=3, shard=8), fsdp()),
    ],
    ids=["eager", "bf16", "no flash attention", "A100"],
)
def test_better_software_and_hardware_are_faster(slower: Setup, faster: Setup) -> None:
    assert step_cost(slower).step_s > 1.05 * step_cost(faster).step_s


def test_twice_the_gpus_with_twice_the_batch_take_a_little_longer() -> None:
    one, two = (step_cost(fsdp(gpus, global_batch=8 * gpus)).step_s for gpus in (64, 128))
    assert one < two < 1.1 * one


def test_unknown_classes_of_setups_get_a_wide_interval() -> None:
    spreads = fitted_file().spreads
    usual = factor_of(fsdp(), spreads)
    assert 1.05 < usual < 1.4
    assert class_of(setup_of("mixtral-8x7b")) == "experts"
    assert factor_of(setup_of("mixtral-8x7b"), spreads) > usual
    assert factor_of(setup_of("mixtral-8x7b"), {"usual": spreads["usual"]}) == pytest.approx(usual**2)
    assert set(spreads) <= set(CLASSES)


def test_the_fitted_constants_are_near_their_priors_and_say_when_they_were_fitted() -> None:
    for name, value in msgspec.structs.asdict(fitted()).items():
        assert value == pytest.approx(getattr(PRIORS, name), rel=0.15), name
    assert fitted_file().rows >= 300


@needs_runs
def test_published_runs_are_predicted_with_the_stated_errors() -> None:
    rows = [row for row in read_rows(Path(DATA, "published_runs.json")) if row.tokens_per_s_per_gpu]
    errors = [abs(step_cost(row.setup).tokens_per_s_per_gpu / (row.tokens_per_s_per_gpu or 1) - 1) for row in rows]
    core = [error for row, error in zip(rows, errors, strict=True) if row.is_core]
    for found, median, high in ((errors, 0.07, 0.27), (core, 0.06, 0.18)):
        assert statistics.median(found) <= median
        assert statistics.quantiles(found, n=10)[-1] <= high


@needs_runs
def test_a_prediction_does_not_depend_on_the_name_of_the_source() -> None:
    path = Path(DATA, "published_runs.json")
    for row in json.loads(path.read_text())[::7]:
        other = {**row, "id": "x", "group": "x", "source": "x", "notes": ""}
        assert step_cost(read_row(row).setup).step_s == step_cost(read_row(other).setup).step_s
