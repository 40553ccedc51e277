"""Power of the machines around the GPUs."""

from __future__ import annotations

import pytest

from seedbed.simulate import catalog
from seedbed.simulate.power import power_w


@pytest.mark.parametrize(
    ("gpu", "number", "watts"),
    [
        ("H100", 8, 8 * 700 * 1.5 * 1.2),  # a server at 1.5 times its GPUs, and the cooling of its building
        ("RTX4090", 1, (450 + 120) / 0.88),  # a desktop with a power supply of the class 80 PLUS Gold
        ("RTX4090", 6, (6 * 450 + 2 * 120) / 0.88),  # four cards in a desktop, so two desktops
        ("RTX4090-Laptop", 1, (150 + 35) / 0.88),
    ],
)
def test_power_counts_the_machine_around_the_gpus(gpu: str, number: int, watts: float) -> None:
    assert power_w(catalog.gpu(gpu), number) == pytest.approx(watts)


def test_a_gpu_whose_power_is_not_known_has_none() -> None:
    assert power_w(catalog.gpu("M1"), 1) is None
