"""The choice of device and precision, on simulated machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import patience
from seedbed.errors import EXIT_FAILURE, EXIT_USAGE, SeedbedError, UsageError
from seedbed.events import Message
from seedbed.hardware.cpu import Cpu
from seedbed.train.device import (
    AvailableDevices,
    Device,
    available_devices,
    choose_device,
    choose_precision,
    default_threads,
    warn_of_software_bf16,
)

AMX = Cpu("Intel Xeon 8481C", 2, ("amx_bf16", "avx512_bf16", "avx512f", "avx2"), {})
AVX512 = Cpu("AMD EPYC", 2, ("avx512_bf16", "avx512f", "avx2"), {})
OLD = Cpu("Intel Core i5", 2, ("avx2",), {})
APPLE = Cpu("Apple M2", 8, ("bf16",), {})
LAPTOP = AvailableDevices(OLD, no_cuda="this torch is built without CUDA")
SERVER = AvailableDevices(AMX, ("NVIDIA A30", "NVIDIA GeForce GTX 1080 Ti"), ((8, 0), (6, 1)))
MAC = AvailableDevices(APPLE, mps=True, no_cuda="this torch is built without CUDA")


def choose(asked: str, here: AvailableDevices, strict: bool = False) -> tuple[Device, list[Message]]:
    messages: list[Message] = []
    return choose_device(asked, strict, messages.append, here), messages


@pytest.mark.parametrize(
    ("asked", "here", "torch_device"),
    [
        ("auto", LAPTOP, "cpu"),
        ("auto", SERVER, "cuda:0"),
        ("auto", MAC, "mps"),
        ("cpu", SERVER, "cpu"),
        ("CPU", SERVER, "cpu"),
        ("cuda", SERVER, "cuda:0"),
        ("cuda:1", SERVER, "cuda:1"),
        ("mps", MAC, "mps"),
        ("gpu", SERVER, "cuda:0"),
        ("GPU", MAC, "mps"),
        ("A30", SERVER, "cuda:0"),
        ("a30", SERVER, "cuda:0"),
        ("1080", SERVER, "cuda:1"),
        ("geforce gtx", SERVER, "cuda:1"),
        ("m2", MAC, "mps"),
    ],
)
def test_an_available_device_is_chosen_without_a_message(asked: str, here: AvailableDevices, torch_device: str) -> None:
    device, messages = choose(asked, here, strict=True)
    assert device.torch_device == torch.device(torch_device)
    assert device.kind == torch_device.partition(":")[0]
    assert device.name
    assert messages == []


@pytest.mark.parametrize(
    ("asked", "here", "instead", "expected_text"),
    [
        ("cuda", LAPTOP, "cpu", "built without CUDA"),
        ("cuda:0", LAPTOP, "cpu", "built without CUDA"),
        ("gpu", LAPTOP, "cpu", "No GPU is available: this torch is built without CUDA"),
        ("cuda:7", SERVER, "cuda:0", "the last CUDA GPU is cuda:1"),
        ("mps", SERVER, "cuda:0", "no Apple GPU"),
        ("H100", SERVER, "cuda:0", "H100"),
        ("A30", LAPTOP, "cpu", "A30"),
        ("A30", MAC, "mps", "A30"),
    ],
)
def test_a_missing_device_is_replaced_with_a_warning_or_is_an_error_if_strict(
    asked: str, here: AvailableDevices, instead: str, expected_text: str
) -> None:
    device, messages = choose(asked, here)
    assert device.torch_device == torch.device(instead)
    assert [message.level for message in messages] == ["warning"]
    assert expected_text in messages[0].text
    assert device.name in messages[0].text
    assert messages[0].hint
    with pytest.raises(SeedbedError, match=expected_text) as caught:
        choose(asked, here, strict=True)
    assert caught.value.exit_code == EXIT_FAILURE
    assert f"cpu ({here.cpu.name})" in caught.value.message, "a name that --device takes comes first"


@pytest.mark.parametrize("asked", ["cuda:x", "cuda:-1", "a\nb", "\x1b[31m", "§"])
def test_an_invalid_device_name_is_refused(asked: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(asked, SERVER)
    assert caught.value.exit_code == EXIT_USAGE
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "on", "here", "precision"),
    [
        ("auto", "cpu", AvailableDevices(AMX), "bf16"),
        ("auto", "cpu", AvailableDevices(AVX512), "bf16"),
        ("auto", "cpu", AvailableDevices(OLD), "fp32"),
        ("auto", "cpu", AvailableDevices(APPLE), "fp32"),
        ("auto", "cuda:0", SERVER, "bf16"),
        ("auto", "cuda:1", SERVER, "fp16"),
        ("auto", "mps", MAC, "fp32"),
        ("fp32", "cuda:0", SERVER, "fp32"),
        ("fp16", "cuda:0", SERVER, "fp16"),
        ("bf16", "cuda:0", SERVER, "bf16"),
        ("bf16", "mps", MAC, "bf16"),
    ],
)
def test_precision_is_as_requested_or_one_that_the_device_computes_fast(
    asked: str, on: str, here: AvailableDevices, precision: str
) -> None:
    assert choose_precision(asked, choose(on, here)[0], here) == precision


def test_bf16_on_a_gpu_without_it_and_fp16_on_a_cpu_are_errors() -> None:
    with pytest.raises(SeedbedError, match=r"no bf16: .*6\.1"):
        choose_precision("bf16", choose("cuda:1", SERVER)[0], SERVER)
    with pytest.raises(SeedbedError, match="for GPUs"):
        choose_precision("fp16", choose("cpu", SERVER)[0], SERVER)


@pytest.mark.parametrize(
    ("precision", "on", "here", "warns"),
    [
        ("bf16", "cpu", LAPTOP, True),
        ("fp32", "cpu", LAPTOP, False),
        ("bf16", "cpu", AvailableDevices(AMX), False),
        ("bf16", "cpu", AvailableDevices(APPLE), False),
        ("bf16", "cuda:0", SERVER, False),
    ],
)
def test_bf16_in_software_is_a_warning(precision: str, on: str, here: AvailableDevices, warns: bool) -> None:
    messages: list[Message] = []
    warn_of_software_bf16(precision, choose(on, here)[0], messages.append, here)
    assert [message.code for message in messages] == ["precision"] * warns


def test_the_default_number_of_threads_stays_within_a_containers_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr("seedbed.hardware.cpu.usable_cores", lambda: 2)
    assert default_threads() == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert default_threads() == 1, "OMP_NUM_THREADS asks for fewer"


def test_auto_chooses_a_device_that_works_on_this_machine() -> None:
    here = available_devices()
    assert here.cuda_names or here.no_cuda
    device = choose_device("auto", True, pytest.fail)
    assert torch.ones(2, device=device.torch_device).sum().item() == 2
    assert choose_precision("auto", device) in ("fp32", "bf16", "fp16")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="page faults are read from Linux's /proc")
def test_freed_memory_is_reused() -> None:
    script = """
import torch
from seedbed.train.device import reuse_freed_memory
assert reuse_freed_memory()
def faults():
    return int(open("/proc/self/stat").read().rpartition(")")[2].split()[7])
for _ in range(15):
    torch.ones(40 << 20, dtype=torch.uint8)
before = faults()
for _ in range(20):
    torch.ones(40 << 20, dtype=torch.uint8)
print(faults() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=patience.HANG_S
    )
    assert int(done.stdout) < 20 * 10240 / 10, "pages of 4 KiB were returned to the system and allocated again"
