"""The measurement of this machine's operations: a child process that writes its rates, and never a model's step."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import msgspec
import pytest
import torch

from seedbed.jobs import measure
from seedbed.simulate.machine_rates import KINDS, MachineRates, Point, Sizes
from seedbed.train.device import Device

CPU = Device(torch.device("cpu"), "a CPU", "cpu")
SMALLEST = {name: (min(kind.grid, key=kind.work),) for name, kind in KINDS.items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_kind_of_operation_is_measured(precision: str) -> None:
    found = measure.measure(CPU, precision, grids=SMALLEST, most_s=0.0)
    assert set(found) == set(KINDS)
    for name, (point,) in found.items():
        assert point.sizes == SMALLEST[name][0]
        assert len(point.seconds) == 3
        assert min(point.seconds) > 0


def test_what_would_take_too_long_is_scaled_by_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_SLOW_S", 1e-12)
    grid: tuple[Sizes, ...] = ((1 << 12,), (1 << 16,))
    first, second = measure.measure(CPU, "fp32", grids={"addition": grid}, most_s=0.0)["addition"]
    assert (first.scaled, second.scaled) == (False, True)
    assert second.seconds == pytest.approx([16 * each for each in first.seconds])


@pytest.mark.parametrize(
    ("kind", "sizes", "flops"),
    [
        ("matmul", (64, 32, 48), 6 * 64 * 32 * 48),
        # The loss of 64 tokens computes its gradients with the logits: three products.
        ("loss", (64, 128, 32), 6 * 64 * 128 * 32),
    ],
)
def test_an_operation_does_the_work_that_it_is_counted_for(kind: str, sizes: Sizes, flops: int) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    call = measure.operation(kind, sizes, torch.device("cpu"), "fp32")
    with FlopCounterMode(display=False) as counter:
        call()
    assert counter.get_total_flops() == flops == KINDS[kind].work(sizes)


def answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: Any) -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(request).encode())))
    try:
        measure.main([])
    finally:
        torch.set_num_threads(threads)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_job_says_what_the_machine_is_then_writes_valid_rates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = {name: tuple(Point(sizes, (1e-3,)) for sizes in kind.grid) for name, kind in KINDS.items()}
    monkeypatch.setattr(measure, "measure", lambda *_: points)
    request = {"device": "cpu", "precision": "fp32", "threads": 1}
    first, last = answers(monkeypatch, capsys, request)
    assert first["machine"]["precision"] == "fp32"
    assert first["machine"]["total_bytes"] > 0
    rates = msgspec.convert(last["rates"], MachineRates)
    assert (rates.device, rates.threads, rates.rounds) == ("cpu", 1, 1)


def test_a_device_that_is_missing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (answer,) = answers(monkeypatch, capsys, {"device": "cuda:77"})
    assert "cuda" in answer["error"].lower()
    assert answer["exit"] == 1
