"""Checks this machine and installation: hardware, packages, matmul speed, a training step, and problems with their fixes.

Writes one JSON object to stdout and creates no run. It stores the measured matmul rate in the cache, nothing else.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seedbed import __version__
from seedbed.config.directories import cache_dir
from seedbed.disk_space import free_bytes, obstacle
from seedbed.errors import EXIT_FAILURE, SeedbedError
from seedbed.events import Message
from seedbed.hardware import cpu, gpu, memory
from seedbed.jobs.memory import exhausted
from seedbed.runs.estimate import remember_matmul_rate
from seedbed.text import quoted

if TYPE_CHECKING:
    import torch

    from seedbed.train.device import Device

LOW_DISK_BYTES = 1 << 30
_MATMUL_S = 0.4
_COMPILERS = ("g++", "clang++", "c++")


class Problem(NamedTuple):
    """A problem of this machine or installation. `level`: error (training cannot work), warning, or note (training works).

    `fix` is one command that solves it.
    """

    level: str
    what: str
    why: str
    fix: str


class Requirement(NamedTuple):
    """A package that an extra (optional group of packages) requires, or the core installation if `extra` is empty."""

    package: str
    extra: str


def report(device: str = "auto", folder: Path | None = None) -> dict[str, Any]:
    """Collect everything that affects training on this machine. Takes a few seconds, mostly to import torch.

    Rates are in floating-point operations per second, sizes in bytes, times in seconds. `problems` lists errors first.
    """
    folder = Path.cwd() if folder is None else folder
    packages, extras, problems = installed()
    seen = gpu.probe()
    found: dict[str, Any] = {
        "seedbed": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "packages": packages,
        "extras": extras,
        "cpu": {**cpu.probe()._asdict(), "fast_bf16": cpu.probe().fast_bf16},
        "memory": {"total_bytes": memory.total_bytes(), "available_bytes": memory.available_bytes()},
        "gpus": [each._asdict() for each in seen.found],
        "no_gpu": seen.reason,
        "compiler": next((path for name in _COMPILERS if (path := shutil.which(name))), None),
        "disk": {"path": str(folder), "free_bytes": free_bytes(folder)},
    }
    found["cache"], cache_problems = _cache()
    problems += cache_problems
    trouble = obstacle(folder, 0)
    if trouble is not None and not trouble.passing:
        what = f"Nothing can be written in {quoted(folder)}: {trouble.reason}."
        problems.append(
            Problem("warning", what, "Runs are saved in its subfolder `runs`.", "export SEEDBED_RUNS=OTHER_FOLDER")
        )
    elif found["disk"]["free_bytes"] < LOW_DISK_BYTES:
        problems.append(
            Problem(
                "warning",
                f"Less than 1 GiB is free at {quoted(folder)}.",
                "Checkpoints may not fit.",
                "df -h && cd OTHER_FOLDER",
            )
        )
    if found["compiler"] is None:
        problems.append(
            Problem(
                "warning",
                "No C++ compiler is installed.",
                "torch.compile needs one; without it training is slower.",
                compiler_command(),
            )
        )
    found |= _torch_part(device, problems, seen)
    problems.sort(key=lambda problem: ("error", "warning", "note").index(problem.level))
    found["problems"] = [problem._asdict() for problem in problems]
    return found


def installed() -> tuple[dict[str, str | None], list[dict[str, Any]], list[Problem]]:
    """Find the installed packages: their versions (None: not installed), Seedbed's extras, and missing ones as a problem."""
    wanted = requirements(importlib.metadata.requires("seedbed") or [])
    versions: dict[str, str | None] = {}
    for each in wanted:
        try:
            versions[each.package] = importlib.metadata.version(each.package)
        except importlib.metadata.PackageNotFoundError:
            versions[each.package] = None
    extras = []
    for extra in sorted({each.extra for each in wanted if each.extra}):
        missing = [each.package for each in wanted if each.extra == extra and versions[each.package] is None]
        extras.append({"name": extra, "missing": missing, "install": f"pip install 'seedbed[{extra}]'"})
    absent = [each.package for each in wanted if not each.extra and versions[each.package] is None]
    problems = []
    if absent:
        problems.append(
            Problem(
                "error",
                f"Not installed: {', '.join(absent)}.",
                "Seedbed requires these packages.",
                "pip install --force-reinstall seedbed",
            )
        )
    return versions, extras, problems


def requirements(lines: Sequence[str]) -> list[Requirement]:
    """Parse the lines `Requires-Dist` of a package's metadata.

    Seedbed itself, which an extra lists to include other extras, is omitted.
    """
    found = []
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if name and name[0].lower() != "seedbed":
            found.append(Requirement(name[0].lower(), extra[1] if extra else ""))
    return found


def without_cuda(cuda: str) -> Problem:
    """The problem, of level note, that torch has CUDA on a machine without a GPU: it works, but takes much disk space."""
    requirement = next(
        (line for line in importlib.metadata.requires("seedbed") or [] if line.startswith("torch")), "torch"
    )
    return Problem(
        "note",
        f"torch is built for CUDA {cuda}, but there is no GPU.",
        "Training works on the CPU, but the CUDA libraries take gigabytes of disk space; PyTorch's CPU build has none.",
        "pip uninstall -y torch triton $(pip freeze | grep -o '^nvidia[^=]*') && "
        f"pip install --index-url https://download.pytorch.org/whl/cpu '{requirement}'",
    )


def compiler_command() -> str:
    """The command that installs a C++ compiler with this machine's package manager."""
    if sys.platform == "darwin":
        return "xcode-select --install"
    managers = {
        "apt-get": "install -y g++",
        "dnf": "install -y gcc-c++",
        "pacman": "-S gcc",
        "apk": "add g++",
        "zypper": "install gcc-c++",
    }
    for manager, rest in managers.items():
        if shutil.which(manager):
            return f"sudo {manager} {rest}"
    return "sudo apt-get install -y g++"


def _cache() -> tuple[dict[str, Any], list[Problem]]:
    """Describe the cache folder for prepared data: its path and space, and the problem if it cannot be written."""
    fix = f"export SEEDBED_CACHE={Path(tempfile.gettempdir()) / 'seedbed-cache'}"
    try:
        folder = cache_dir()
    except SeedbedError as error:
        found = {"path": None, "free_bytes": None, "writable": False}
        return found, [Problem("error", error.message, "Prepared data is saved there.", fix)]
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = free_bytes(existing)
    trouble = obstacle(existing, 0)
    reason = trouble.reason if trouble is not None else ""
    problems = []
    if reason:
        problems.append(
            Problem(
                "error",
                f"The cache folder {quoted(folder)} cannot be written: {reason}.",
                "Prepared data is saved there.",
                fix,
            )
        )
    elif free < LOW_DISK_BYTES:
        problems.append(
            Problem(
                "warning",
                f"Less than 1 GiB is free at the cache folder {quoted(folder)}.",
                "Prepared data is saved there.",
                fix,
            )
        )
    return {"path": str(folder), "free_bytes": free, "writable": not reason}, problems


def _torch_part(device_name: str, problems: list[Problem], seen: gpu.Gpus) -> dict[str, Any]:
    """Test torch: its version, its matmul rates on the chosen device, and the result of a training step there.

    Problems are added to `problems`.
    """
    try:
        import torch

        from seedbed.train.device import choose_device, choose_precision
    except (ImportError, OSError) as error:
        problems.append(
            Problem(
                "error",
                f"torch cannot be imported: {error}.",
                "Training requires it.",
                "pip install --force-reinstall torch",
            )
        )
        return {"torch": None, "device": None, "matmul": None, "probe": None}
    about = {
        "version": torch.__version__,
        "cuda_build": torch.version.cuda,
        "cuda_usable": torch.cuda.is_available(),
        "mps_usable": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }
    if seen.found and not torch.cuda.is_available():
        why = "it is built without CUDA" if torch.version.cuda is None else f"it is built for CUDA {torch.version.cuda}"
        problems.append(
            Problem(
                "warning",
                f"torch {torch.__version__} cannot use the {seen.found[0].name}.",
                f"{why[0].upper()}{why[1:]}; the driver is {seen.found[0].driver}.",
                "pip install --force-reinstall --index-url https://pypi.org/simple torch",
            )
        )
    if sys.platform == "linux" and torch.version.cuda is not None and not seen.found and not about["cuda_usable"]:
        problems.append(without_cuda(torch.version.cuda))
    messages: list[Message] = []
    try:
        device = choose_device(device_name, False, messages.append)
        precision = choose_precision("auto", device)
    except SeedbedError as error:
        problems.append(Problem("error", error.message, error.hint, "seedbed doctor --device auto"))
        return {"torch": about, "device": None, "matmul": None, "probe": None}
    problems += [Problem("warning", each.text, each.why, "seedbed doctor --device auto") for each in messages]
    chosen = {
        "asked": device_name,
        "name": device.name,
        "torch_device": str(device.torch_device),
        "precision": precision,
    }
    probe = training_probe(device, precision)
    if probe.get("full"):
        problems.append(
            Problem(
                "error",
                f"The {probe['full']} of {device.name} is full: {probe['reason']}",
                "Other programs use it.",
                "nvidia-smi" if device.kind == "cuda" else "ps aux --sort=-rss",
            )
        )
    elif not probe["ok"]:
        problems.append(
            Problem(
                "error",
                f"A training step on {device.name} failed: {probe['reason']}",
                "Training cannot work on this device.",
                "pip install --force-reinstall torch",
            )
        )
    rates = matmul_rates(device.torch_device)
    rate = rates["fp32_flops_per_s" if precision == "fp32" else "bf16_flops_per_s"]
    if rate is not None and device_name == "auto":
        remember_matmul_rate(rate, precision)
    return {"torch": about, "device": chosen, "matmul": rates, "probe": probe}


def matmul_rates(device: torch.device) -> dict[str, float | None]:
    """Measure square matmuls in fp32 and bf16: floating-point operations per second, the best within 0.4 s each."""
    import torch

    size = 4096 if device.type == "cuda" else 1024
    rates: dict[str, float | None] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        try:
            a = torch.ones(size, size, dtype=dtype, device=device)
            best, begun = math.inf, time.perf_counter()
            while time.perf_counter() - begun < _MATMUL_S:
                start = time.perf_counter()
                # Reading one number waits for devices that compute asynchronously.
                (a @ a)[0, 0].item()
                best = min(best, time.perf_counter() - start)
            rates[f"{name}_flops_per_s"] = 2 * size**3 / best
        except RuntimeError:
            rates[f"{name}_flops_per_s"] = None
    return rates


def training_probe(device: Device, precision: str, steps: int = 4) -> dict[str, Any]:
    """Train a very small model for a few steps on one random batch: the loss must be finite and fall."""
    import torch

    from seedbed.config.schema import ModelConfig, OptimizerConfig
    from seedbed.data.batches import Batch
    from seedbed.model.decoder import Decoder
    from seedbed.optim.optimizer import build_optimizer
    from seedbed.train.decoder_learner import DecoderLearner
    from seedbed.train.step import train_step

    generator = torch.Generator().manual_seed(0)
    try:
        model = Decoder(ModelConfig(layers=2, hidden=64, heads=2, kv_heads=2, head_dim=32, ffn=128, context=64), 256)
        model.init_weights(generator)
        learner = DecoderLearner(model, precision=precision, device=device.torch_device)
        optimizer = build_optimizer(learner.trainable(), OptimizerConfig())
        ids_BT = torch.randint(0, 256, (8, 65), generator=generator)
        batch = Batch(ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous())
        losses, step_s = [], 0.0
        for _ in range(steps):
            begun = time.perf_counter()
            result = train_step(learner, batch, optimizer, 1.0, grad_clip=1.0, micro_batch=0)
            losses.append(result.loss)
            step_s = time.perf_counter() - begun
    except (RuntimeError, MemoryError, SeedbedError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        return {"ok": False, "reason": reason, "full": exhausted(error)}
    ok = all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]
    reason = "" if ok else f"the loss did not fall ({', '.join(f'{loss:.4g}' for loss in losses)})."
    return {"ok": ok, "reason": reason, "first_loss": losses[0], "last_loss": losses[-1], "step_s": step_s}


def main(arguments: Sequence[str]) -> int:
    """Write the report to stdout as one JSON object; returns exit status 1 if training cannot work."""
    parser = argparse.ArgumentParser(prog="python -m seedbed.jobs doctor", allow_abbrev=False)
    parser.add_argument("--device", default="auto", help="device to check, as in train.device")
    parser.add_argument("--folder", type=Path, help="folder whose disk is checked (default: the working directory)")
    options = parser.parse_args(arguments)
    found = report(options.device, options.folder)
    sys.stdout.write(json.dumps(found) + "\n")
    return EXIT_FAILURE if any(problem["level"] == "error" for problem in found["problems"]) else 0
