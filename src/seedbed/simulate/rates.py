"""The rates that a GPU and its links reach in training: matmuls, attention, memory, collectives."""

from __future__ import annotations

import math
from typing import NamedTuple

from seedbed.simulate.constants import LINK_SHARE, MEMORY_SHARE, PCIE_SHARE, UNPUBLISHED_MATMUL, Constants
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.setup import Setup

BEFORE_HOPPER = frozenset({"pascal", "volta", "turing", "ampere", "ada", "cdna1", "cdna2", "rdna3"})
BEFORE_AMPERE = frozenset({"pascal", "volta", "turing"})
USUAL_PCIE_GBPS = 16.0
"""Bandwidth of PCIe if it is not known (assumed: PCIe 3)."""
_WATTS_PER_TFLOP = {"hopper": 700 / 989, "ampere": 400 / 312}
"""Power of the fastest GPU of a generation for each 10^12 operations per second of its peak rate."""


class Rates(NamedTuple):
    """Rates of one GPU in this training, in operations or bytes per second."""

    matmul: float
    """Matmuls of the layers."""
    matmul_half: float
    """Matmuls that stay in 16 bits with fp8: the output layer. In fp32, the same as `matmul`."""
    attention: float
    """Flash attention, counted with a causal mask."""
    peak: float
    """Peak rate of 16-bit matmuls (in fp32: of fp32 ones), as on the data sheet."""
    memory: float


def is_new(gpu: Gpu) -> bool:
    """Whether the GPU is of the Hopper generation or later."""
    return gpu.generation not in BEFORE_HOPPER


def half_peak(gpu: Gpu) -> float:
    """Peak rate of 16-bit matmuls in operations per second; of fp32 ones if the GPU has no 16-bit rate."""
    rates = gpu.peak_tflops
    return (rates.get("bf16") or rates.get("fp16") or rates["fp32"]) * 1e12


def peak_rate(gpu: Gpu, precision: str) -> float:
    """Peak rate against which MFU is counted, in operations per second: that of 16 bits; in fp32, of fp32.

    PyTorch multiplies fp32 matrices without TF32 by default, and `seedbed train` leaves it so.
    """
    single = gpu.peak_tflops.get("fp32")
    return single * 1e12 if precision == "fp32" and single else half_peak(gpu)


def default_flash(gpu: Gpu, stack: str, *, compiled: bool) -> bool:
    """Whether flash attention is used if nothing is said: not by the legacy stack, nor on GPUs before Ampere."""
    return stack != "legacy" and gpu.generation not in BEFORE_AMPERE and (compiled or is_new(gpu))


def rates_of(setup: Setup, k: Constants) -> Rates:
    """The rates of this setup's GPU with its precision and software."""
    gpu, recipe = setup.gpu, setup.recipe
    half = _matmul_rate(gpu, "fp32" if recipe.precision == "fp32" else "bf16", k)
    layers = _matmul_rate(gpu, "fp8", k) if recipe.precision == "fp8" and "fp8" in gpu.peak_tflops else half
    new = k.attention_new if recipe.light else k.attention_eager
    share = new if is_new(gpu) else k.attention_old
    peak = peak_rate(gpu, recipe.precision)
    return Rates(layers, half, share * peak * _power_factor(gpu), peak, gpu.memory_gbps * 1e9 * MEMORY_SHARE)


def _matmul_rate(gpu: Gpu, precision: str, k: Constants) -> float:
    """The rate that matmuls of training reach in operations per second; `precision` is fp32, bf16 (or fp16), or fp8."""
    published, peak = gpu.matmul_tflops, gpu.peak_tflops
    if precision == "fp8":
        best = published.get("fp8") or UNPUBLISHED_MATMUL["fp8"] * peak["fp8"] * _power_factor(gpu)
    elif precision == "fp32":
        best = UNPUBLISHED_MATMUL["bf16"] * peak_rate(gpu, "fp32") / 1e12
    else:
        best = (
            published.get("bf16")
            or published.get("fp16")
            or UNPUBLISHED_MATMUL["bf16"] * half_peak(gpu) / 1e12 * _power_factor(gpu)
        )
    share = {"hopper": k.matmul_hopper}.get(gpu.generation, k.matmul_blackwell if is_new(gpu) else k.matmul_ampere)
    return best * 1e12 * share * (k.matmul_fp8 if precision == "fp8" else 1.0)


def _power_factor(gpu: Gpu) -> float:
    """The share of its rate that a GPU with less power than the fastest of its generation keeps (assumed).

    Clock and voltage fall together, so the rate falls with about the square root of the power.
    """
    usual = _WATTS_PER_TFLOP.get(gpu.generation)
    if usual is None or not gpu.power_w:
        return 1.0
    return math.sqrt(min(1.0, gpu.power_w * 1e12 / half_peak(gpu) / usual))


def node_bandwidth(setup: Setup, reach: int) -> float:
    """Bandwidth of collectives over `reach` neighbouring GPUs of a node, in bytes per second through each GPU.

    A link such as an NVLink bridge may join only some GPUs of a node; beyond them it is PCIe.
    """
    gpu = setup.gpu
    if gpu.link_gbps and reach <= min(gpu.link_domain, setup.node_gpus):
        return gpu.link_gbps * LINK_SHARE * 1e9
    return (gpu.pcie_gbps or USUAL_PCIE_GBPS) * PCIE_SHARE * 1e9


def network_bandwidth(setup: Setup, k: Constants) -> float:
    """Bandwidth of the network for each GPU, in bytes per second."""
    return setup.network_gbps * setup.network_efficiency * k.network * 1e9


def ring_bandwidth(setup: Setup, size: int, stride: int, k: Constants) -> float:
    """Bandwidth at which a ring of `size` ranks, `stride` ranks apart, moves data through each GPU, in bytes per second.

    Inside a node it is the link's. Across nodes, NCCL builds one ring for each network adapter that the members of the
    group inside a node can use, so a group with several members in each node has the bandwidth of several adapters.
    """
    link = node_bandwidth(setup, min(size * stride, setup.node_gpus))
    if size * stride <= setup.node_gpus:
        return link
    inside = max(1.0, min(float(size), setup.node_gpus / stride))
    return min(link, network_bandwidth(setup, k) * inside)
