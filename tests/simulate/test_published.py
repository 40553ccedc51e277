"""Rows of published runs become setups, whatever they leave out; broken rows are refused with their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate.cost import step_cost
from seedbed.simulate.published import read_row, read_rows, shape_of_row


def row(**changes: Any) -> dict[str, Any]:
    """Llama-3-8B on 8 H100, as a table may publish it."""
    base: dict[str, Any] = {
        "id": "a-run",
        "group": "a-table",
        "model": {
            "name": "Llama-3-8B", "params": 8030261248, "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8,
            "ffn": 14336, "vocab": 128256, "moe": None,
        },
        "hardware": {"gpu": "H100-SXM-80GB", "num_gpus": 8, "interconnect": None},
        "parallel": {"fsdp": 8, "notes": "FSDP2"},
        "train": {"seq_len": 8192, "micro_batch": 1, "global_batch": 8, "precision": "bf16", "method": "pretrain"},
        "measured": {"tokens_per_s_per_gpu": 6000.0},
    }  # fmt: skip
    return {**base, **changes}


def test_gate_and_tying_are_inferred_from_the_number_of_parameters() -> None:
    assert shape_of_row(row()["model"]).parameters == 8030261248
    gpt2 = {"name": "GPT", "params": 124_000_000, "layers": 12, "hidden": 768, "heads": 12, "ffn": 3072, "vocab": 50257}
    shape = shape_of_row(gpt2)
    assert (shape.gated, shape.tied) == (False, True)


def test_what_a_row_does_not_say_is_assumed_and_listed() -> None:
    bare = row(parallel=None, train={"seq_len": 4096})
    found = read_row(bare)
    assert step_cost(found.setup).step_s > 0
    assert any("flash attention" in each for each in found.assumed)
    assert any("micro-batch" in each for each in found.assumed)
    assert any("network" in each for each in found.assumed)
    assert len(read_row(row()).assumed) < len(found.assumed)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"tokens_per_s_per_gpu": 6000.0, "step_time_s": 1.0}, 6000.0),
        ({"step_time_s": 1.6384}, 8 * 8192 / 1.6384 / 8),
        ({"memory_gib_per_gpu": 60}, None),
    ],
)
def test_the_throughput_is_taken_or_computed(measured: dict[str, float], expected: float | None) -> None:
    assert read_row(row(measured=measured)).tokens_per_s_per_gpu == (expected and pytest.approx(expected))


def test_tflops_and_mfu_are_turned_into_throughput() -> None:
    setup = read_row(row()).setup
    flops = setup.shape.flops_per_token(8192)
    assert read_row(row(measured={"tflops_per_gpu": 400.0})).tokens_per_s_per_gpu == pytest.approx(400e12 / flops)
    assert read_row(row(measured={"mfu": 0.4})).tokens_per_s_per_gpu == pytest.approx(0.4 * 989e12 / flops)
    again = {**row()["train"], "activation_checkpointing": "full"}
    hardware = read_row(row(train=again, measured={"tflops_per_gpu": 400.0, "tflops_kind": "hardware"}))
    assert hardware.tokens_per_s_per_gpu == pytest.approx(400e12 / flops * 3 / 4)


def test_the_software_decides_the_stack() -> None:
    def stack(notes: str, **train: Any) -> str:
        given = {**row()["train"], **train}
        return read_row(row(parallel={"tp": 8, "notes": notes}, train=given)).setup.recipe.stack

    assert stack("Megatron-Core; distributed optimizer", flash_attention=True) == "fused"
    assert stack("Megatron-DeepSpeed 3D", flash_attention=False) == "legacy"
    assert stack("FSDP2+TP", flash_attention=True) == "torch"


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"model": {"name": "x"}}, "heads"),
        ({"hardware": {"gpu": "H100-SXM-80GB"}}, "num_gpus"),
        ({"train": {"seq_len": "many"}}, "cannot be used"),
    ],
)
def test_a_broken_row_is_refused_with_its_name(broken: dict[str, Any], word: str) -> None:
    with pytest.raises(SeedbedError, match="a-run") as refused:
        read_row(row(**broken))
    assert word in refused.value.message


def test_an_unknown_gpu_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match=r"a-run.*no GPU"):
        read_row(row(hardware={"gpu": "H1000", "num_gpus": 8}))


@pytest.mark.parametrize("content", ["{", "{}", '["x"]'])
def test_a_file_that_is_no_list_of_runs_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "runs.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"runs\.json"):
        read_rows(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_rows(tmp_path / "none.json")


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps([row(id="one"), row(id="two")]))
    assert [each.id for each in read_rows(path)] == ["one", "two"]
