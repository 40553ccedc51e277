"""The shipped tables of facts: figures against formulas and other publications, and a source for each figure."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from seedbed.simulate import catalog, fact_files
from seedbed.simulate.fact_files import key, read_table
from seedbed.simulate.hardware_facts import Gpu, Network
from seedbed.simulate.shape import Shape
from seedbed.simulate.source import ALL

# The shipped tables alone, without the facts of this machine's user.
GPUS = tuple(read_table("gpus", Gpu, None).values())
MODELS = tuple(read_table("models", Shape, None).values())
NETWORKS = tuple(read_table("networks", Network, None).values())
NOT_FIGURES = {"name", "aliases", "vendor", "generation", "machine", "sources"}


def published(name: str) -> Any:
    """The content of a JSON file in the folder that SEEDBED_TEST_DATA names, or a skip with the reason."""
    path = Path(os.environ.get("SEEDBED_TEST_DATA") or "/nonexistent") / name
    if not path.is_file():
        pytest.skip(f"SEEDBED_TEST_DATA names no folder with {name}")
    return json.loads(path.read_text(encoding="utf-8"))


# Multiprocessors (or matrix cores) x operations per cycle and unit with fp32 accumulation x clock in GHz / 1000, all from
# the makers' architecture white papers.
MATRIX_RATES = {
    "V100-SXM2-32GB": ("fp16", 80 * 1024 * 1.53e-3),
    "T4-16GB": ("fp16", 40 * 1024 * 1.59e-3),
    "A100-SXM-80GB": ("bf16", 108 * 2048 * 1.41e-3),
    "A10-24GB": ("bf16", 72 * 1024 * 1.695e-3),
    "RTX3060-12GB": ("bf16", 28 * 512 * 1.777e-3),
    "RTX3070-8GB": ("bf16", 46 * 512 * 1.725e-3),
    "RTX3080-10GB": ("bf16", 68 * 512 * 1.71e-3),
    "RTX3090-24GB": ("bf16", 82 * 512 * 1.695e-3),
    "RTX3060Ti-8GB": ("bf16", 38 * 512 * 1.665e-3),
    "RTX3070Ti-8GB": ("bf16", 48 * 512 * 1.77e-3),
    "RTX3080Ti-12GB": ("bf16", 80 * 512 * 1.665e-3),
    "RTX3090Ti-24GB": ("bf16", 84 * 512 * 1.86e-3),
    "RTX3080-Laptop-16GB": ("bf16", 48 * 512 * 1.71e-3),
    "RTX4070Ti-12GB": ("bf16", 60 * 512 * 2.61e-3),
    "RTX4080Super-16GB": ("bf16", 80 * 512 * 2.55e-3),
    "RTX4080-Laptop-12GB": ("bf16", 58 * 512 * 2.28e-3),
    "RTX4090-Laptop-16GB": ("bf16", 76 * 512 * 2.04e-3),
    "RTX4060-8GB": ("bf16", 24 * 512 * 2.46e-3),
    "RTX4070-12GB": ("bf16", 46 * 512 * 2.475e-3),
    "RTX4080-16GB": ("bf16", 76 * 512 * 2.505e-3),
    "RTX4090-24GB": ("bf16", 128 * 512 * 2.52e-3),
    "RTX3050-8GB": ("bf16", 20 * 512 * 1.777e-3),
    "RTX3060-Laptop-6GB": ("bf16", 30 * 512 * 1.68e-3),
    "RTX2060-6GB": ("fp16", 30 * 512 * 1.68e-3),
    "RTX2080-8GB": ("fp16", 46 * 512 * 1.71e-3),
    "RTX4050-Laptop-6GB": ("bf16", 20 * 512 * 2.28e-3),
    "RTX4060-Laptop-8GB": ("bf16", 24 * 512 * 2.37e-3),
    "RTX4070Super-12GB": ("bf16", 56 * 512 * 2.475e-3),
    "RTX4070TiSuper-16GB": ("bf16", 66 * 512 * 2.61e-3),
    "RTX5060-8GB": ("bf16", 30 * 512 * 2.497e-3),
    "RTX5060Ti-16GB": ("bf16", 36 * 512 * 2.572e-3),
    "RTX5070Ti-16GB": ("bf16", 70 * 512 * 2.452e-3),
    "RTX5080-Laptop-16GB": ("bf16", 60 * 512 * 2.287e-3),
    "RTX5090-Laptop-24GB": ("bf16", 82 * 512 * 2.16e-3),
    "RTX5080-16GB": ("bf16", 84 * 512 * 2.617e-3),
    "RTX5090-32GB": ("bf16", 170 * 512 * 2.407e-3),
    "L40S-48GB": ("bf16", 142 * 1024 * 2.52e-3),
    "H100-SXM-80GB": ("bf16", 132 * 4096 * 1.83e-3),
    "H100-PCIe-80GB": ("bf16", 114 * 4096 * 1.62e-3),
    "MI250X-128GB": ("bf16", 880 * 256 * 1.7e-3),
    "MI300X-192GB": ("bf16", 1216 * 512 * 2.1e-3),
    "MI355X-288GB": ("bf16", 1024 * 1024 * 2.4e-3),
}


@pytest.mark.parametrize("name", MATRIX_RATES)
def test_matrix_rates_are_dense_and_follow_from_units_and_clock(name: str) -> None:
    precision, expected = MATRIX_RATES[name]
    assert catalog.gpu(name).peak_tflops[precision] == pytest.approx(expected, rel=0.02)


# Bus width in bits x data rate in Gb/s per pin / 8, from the cards' specifications.
BANDWIDTHS = {
    "RTX3060-12GB": 192 * 15 / 8,
    "RTX3070-8GB": 256 * 14 / 8,
    "RTX3080-10GB": 320 * 19 / 8,
    "RTX3090-24GB": 384 * 19.5 / 8,
    "RTX3070Ti-8GB": 256 * 19 / 8,
    "RTX3080Ti-12GB": 384 * 19 / 8,
    "RTX3090Ti-24GB": 384 * 21 / 8,
    "RTX3080-Laptop-16GB": 256 * 14 / 8,
    "RTX4070Ti-12GB": 192 * 21 / 8,
    "RTX4080Super-16GB": 256 * 23 / 8,
    "RTX4080-Laptop-12GB": 192 * 18 / 8,
    "RTX4090-Laptop-16GB": 256 * 18 / 8,
    "RTX4060-8GB": 128 * 17 / 8,
    "RTX4060Ti-16GB": 128 * 18 / 8,
    "RTX4070-12GB": 192 * 21 / 8,
    "RTX4080-16GB": 256 * 22.4 / 8,
    "RTX4090-24GB": 384 * 21 / 8,
    "RTX5070-12GB": 192 * 28 / 8,
    "RTX3060-Laptop-6GB": 192 * 14 / 8,
    "RTX2070-8GB": 256 * 14 / 8,
    "RTX4060-Laptop-8GB": 128 * 16 / 8,
    "RTX4070TiSuper-16GB": 256 * 21 / 8,
    "RTX5060Ti-16GB": 128 * 28 / 8,
    "RTX5090-Laptop-24GB": 256 * 28 / 8,
    "RTX5080-16GB": 256 * 30 / 8,
    "RTX5090-32GB": 512 * 28 / 8,
    "T4-16GB": 256 * 10 / 8,
    "L4-24GB": 192 * 12.5 / 8,
    "L40S-48GB": 384 * 18 / 8,
    "A40-48GB": 384 * 14.5 / 8,
    "RTXA6000-48GB": 384 * 16 / 8,
    "H100-SXM-80GB": 5120 * 5.2 / 8,
    "A100-SXM-40GB": 5120 * 2.43 / 8,
}


@pytest.mark.parametrize("name", BANDWIDTHS)
def test_memory_bandwidths_follow_from_bus_width_and_data_rate(name: str) -> None:
    assert catalog.gpu(name).memory_gbps == pytest.approx(BANDWIDTHS[name], rel=0.01)


def test_a_lower_precision_is_twice_as_fast_except_where_the_hardware_has_one_rate() -> None:
    one_rate = {"Gaudi3-128GB", "TPU-v6e"}
    for each in GPUS:
        peak = each.peak_tflops
        if "fp8" in peak and each.name not in one_rate:
            assert peak["fp8"] == pytest.approx(2 * peak["bf16"], rel=0.03), each.name
        if "tf32" in peak and each.vendor == "nvidia" and each.name != "L40-48GB":
            assert peak["tf32"] == pytest.approx(peak["bf16"] / 2, rel=0.03), each.name


@pytest.mark.parametrize(
    ("name", "machine"),
    [("RTX 4060 Laptop", "laptop"), ("RTX 4090", "desktop"), ("H100", "server"), ("M3 Ultra", "desktop")],
)
def test_the_machine_around_a_gpu_is_known(name: str, machine: str) -> None:
    assert catalog.gpu(name).machine == machine


def test_figures_of_gpus_are_plausible() -> None:
    for each in GPUS:
        assert 0.7 * each.memory_gib < each.usable_gib <= each.memory_gib, each.name
        assert each.link_gbps == 0 or each.link_gbps > each.pcie_gbps, each.name
        assert each.idle_w < 0.5 * each.power_w or not each.power_w, each.name
        assert each.usd_per_hour < 20, each.name
        for precision, rate in each.matmul_tflops.items():
            assert 0.4 < rate / each.peak_tflops[precision] < 1, (each.name, precision)


@pytest.mark.parametrize("table", ["gpus", "models", "networks"])
def test_every_figure_has_a_source(table: str) -> None:
    folder = Path(fact_files.__file__).parent / "facts"
    for row in json.loads((folder / f"{table}.json").read_text(encoding="utf-8"))[table]:
        covered = {figure for source in row["sources"] for figure in source["figures"]}
        missing = [] if ALL in covered else sorted(set(row) - NOT_FIGURES - covered)
        assert not missing, f"{row['name']}: no source for {', '.join(missing)}"


def test_sources_name_figures_of_their_rows() -> None:
    for row in (*GPUS, *MODELS, *NETWORKS):
        for source in row.sources:
            unknown = set(source.figures) - set(row.__struct_fields__) - {ALL}
            assert not unknown, (row.name, unknown)


@pytest.mark.parametrize("rows", [GPUS, MODELS, NETWORKS], ids=["gpus", "models", "networks"])
def test_names_and_aliases_are_unique(rows: tuple[Gpu | Shape | Network, ...]) -> None:
    owners: dict[str, str] = {}
    for row in rows:
        for each in {key(name) for name in (row.name, *row.aliases)}:
            assert each not in owners, f"{each} is a name of {row.name} and of {owners[each]}"
            owners[each] = row.name


def test_gpus_agree_with_another_collection_of_their_figures() -> None:
    for spec in published("gpu_specs.json"):
        found = catalog.gpu(spec["name"])
        assert found.name == spec["name"]
        assert (found.memory_gib, found.memory_gbps) == (spec["memory_gib"], spec["mem_bw_GBps"]), found.name
        assert (found.link_gbps, found.power_w) == (spec["nvlink_GBps_unidirectional"] or 0, spec["power_w"]), (
            found.name
        )
        peak = {precision: rate for precision, rate in spec["peak_dense_tflops"].items() if rate}
        assert {precision: found.peak_tflops[precision] for precision in peak} == peak, found.name
        achieved = {precision: rate for precision, rate in (spec["achieved_matmul_tflops"] or {}).items() if rate}
        assert {precision: found.matmul_tflops[precision] for precision in achieved} == achieved, found.name
        assert spec["usable_gib"] in (None, found.usable_gib), found.name


QKV_BIASES = "biases on queries, keys and values only, which the shape does not count"
QK_NORMS = "gains of QK-norm, which the shape does not count"
ROUNDED = "only a rounded figure is published"
NORMS = "other norms than the two per layer that the shape counts"
# The largest relative difference between the parameters of the shape and those of the published model, with the reason.
# All other models agree to the parameter.
TOLERANCES: dict[str, tuple[float, str]] = {
    "GPT-3-": (0.02, ROUNDED),
    "GPT-J-6B": (2e-4, "biases of the feed-forward layers and of the output layer only"),
    "BLOOM-": (1e-5, "norm after the embedding"),
    "Qwen2.5-": (6e-5, QKV_BIASES),
    "Qwen3-": (2e-5, QK_NORMS),
    "Falcon-": (3e-5, NORMS),
    "Gemma-2-": (5e-5, NORMS),
    "Gemma-3-": (8e-5, NORMS),
    "Phi-1.5": (5e-5, "one norm per layer, and a bias of the output layer"),
    "Phi-2": (5e-5, "one norm per layer, and a bias of the output layer"),
    "DeepSeek-V2": (1e-6, "norms of the compressed queries, keys and values"),
    "DeepSeek-V3": (1e-6, "norms of the compressed queries, keys and values"),
    "Kimi-K2": (1e-6, "norms of the compressed queries, keys and values"),
    "gpt-oss-": (4e-4, "biases of experts and router, attention sinks"),
    "Nemotron-4-": (2e-3, ROUNDED),
    "MT-NLG-530B": (1e-3, ROUNDED),
    "OLMo-2-": (5e-5, QK_NORMS),
    "nanochat-d20": (1e-4, "norms without gains"),
    "PaLM-540B": (1e-4, ROUNDED),
    "Grok-1-314B": (6e-3, ROUNDED),
}


def tolerance(name: str) -> float:
    return next((limit for start, (limit, _) in TOLERANCES.items() if name.startswith(start)), 0.0)


@pytest.mark.parametrize("shape", MODELS, ids=lambda shape: shape.name)
def test_shapes_have_the_published_number_of_parameters(shape: Shape) -> None:
    assert shape.parameters == pytest.approx(shape.published_parameters, rel=tolerance(shape.name), abs=0)


def test_a_tolerance_is_given_only_where_it_is_needed() -> None:
    for start in TOLERANCES:
        rows = [row for row in MODELS if row.name.startswith(start)]
        assert any(row.parameters != row.published_parameters for row in rows), start


@pytest.mark.parametrize("shape", [row for row in MODELS if row.experts], ids=lambda shape: shape.name)
def test_a_token_uses_the_published_share_of_a_mixture_of_experts(shape: Shape) -> None:
    active = shape.active_parameters
    if shape.name.startswith("gpt-oss"):  # its publisher does not count the embedding here
        active -= shape.vocab * shape.hidden
    if shape.published_active:
        assert active == pytest.approx(shape.published_active, rel=0.12)
    assert active < shape.parameters / 2


def test_the_size_in_a_name_is_the_size_of_the_model() -> None:
    for shape in MODELS:
        size = re.search(r"-(\d+(?:\.\d+)?)([MBT])(?:-A\d+B)?$", shape.name)
        if size:
            nominal = float(size[1]) * {"M": 1e6, "B": 1e9, "T": 1e12}[size[2]]
            assert shape.published_parameters == pytest.approx(nominal, rel=0.5), shape.name


def test_models_agree_with_published_training_runs_of_them() -> None:
    compared = set()
    for run in published("published_runs.json"):
        given = run["model"]
        other_vocabulary = given["name"].startswith(("MPT-", "GPT-"))  # benchmark shapes with the name of a model
        shape = next((row for row in MODELS if key(given["name"]) in map(key, (row.name, *row.aliases))), None)
        if shape is None or other_vocabulary:
            continue
        compared.add(shape.name)
        assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads) == (
            given["layers"],
            given["hidden"],
            given["heads"],
            given["kv_heads"],
        ), shape.name
        assert given["ffn"] in (shape.ffn, shape.moe_ffn), shape.name
        assert given["vocab"] == shape.vocab, shape.name
        assert given["params"] == pytest.approx(shape.published_parameters, rel=0.005), shape.name
    assert len(compared) > 15
