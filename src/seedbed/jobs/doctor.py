"""Examine this machine and this installation: what is here, how fast it is, whether a training step works, what to fix.

Answers with one JSON object on stdout and makes no run. It keeps the rate of matmuls in the cache, and changes nothing else.
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
from seedbed.errors import EXIT_FAILURE, SeedbedError
from seedbed.events import Message
from seedbed.files import free_bytes, obstacle
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
    """Something to mend: `level` error means that training cannot work, note that it works. `fix` is one command."""

    level: str
    what: str
    why: str
    fix: str


class Requirement(NamedTuple):
    """A package that some extra, or the core install (`extra` empty), asks for."""

    package: str
    extra: str


def report(device: str = "auto", folder: Path | None = None) -> dict[str, Any]:
    """Everything that decides how well training goes here; takes a few seconds, most of them torch's import.

    Rates are floating-point operations per second, sizes bytes, times seconds. `problems` holds what to fix, errors
    first; a figure that is missing has a reason beside it.
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
            Problem("warning", what, "Runs go to the folder `runs` there.", "export SEEDBED_RUNS=ELSEWHERE")
        )
    elif found["disk"]["free_bytes"] < LOW_DISK_BYTES:
        problems.append(
            Problem(
                "warning",
                f"Less than 1 GiB is free at {quoted(folder)}.",
                "Checkpoints may not fit.",
                "df -h && cd ELSEWHERE",
            )
        )
    if found["compiler"] is None:
        problems.append(
            Problem(
                "warning",
                "No C++ compiler is installed.",
                "torch.compile needs one; training runs slower without.",
                compiler_command(),
            )
        )
    found |= _torch_part(device, problems, seen)
    problems.sort(key=lambda problem: ("error", "warning", "note").index(problem.level))
    found["problems"] = [problem._asdict() for problem in problems]
    return found


def installed() -> tuple[dict[str, str | None], list[dict[str, Any]], list[Problem]]:
    """Versions of the packages that Seedbed uses (None: not installed), its extras, and what the core lacks."""
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
    gone = [each.package for each in wanted if not each.extra and versions[each.package] is None]
    problems = []
    if gone:
        problems.append(
            Problem(
                "error",
                f"Not installed: {', '.join(gone)}.",
                "Seedbed cannot work without.",
                "pip install --force-reinstall seedbed",
            )
        )
    return versions, extras, problems


def requirements(lines: Sequence[str]) -> list[Requirement]:
    """What the metadata's `Requires-Dist` lines ask for, Seedbed's own name (extras made of extras) left out."""
    found = []
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if name and name[0].lower() != "seedbed":
            found.append(Requirement(name[0].lower(), extra[1] if extra else ""))
    return found


def without_cuda(cuda: str) -> Problem:
    """What to tell of a torch with CUDA on a machine without a GPU: nothing is broken, but it fills the disk."""
    asked = next((line for line in importlib.metadata.requires("seedbed") or [] if line.startswith("torch")), "torch")
    return Problem(
        "note",
        f"torch is built for CUDA {cuda}, and no GPU is here.",
        "It trains on the CPU all the same; its libraries for CUDA take gigabytes of disk that PyTorch's CPU build does not.",
        "pip uninstall -y torch triton $(pip freeze | grep -o '^nvidia[^=]*') && "
        f"pip install --index-url https://download.pytorch.org/whl/cpu '{asked}'",
    )


def compiler_command() -> str:
    """The command that installs a C++ compiler with the package manager that is here."""
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
    """Where prepared data goes, and whether it can be written there."""
    fix = f"export SEEDBED_CACHE={Path(tempfile.gettempdir()) / 'seedbed-cache'}"
    try:
        folder = cache_dir()
    except SeedbedError as error:
        found = {"path": None, "free_bytes": None, "writable": False}
        return found, [Problem("error", error.message, "Prepared data goes there.", fix)]
    home = folder
    while not home.exists():
        home = home.parent
    free = free_bytes(home)
    trouble = obstacle(home, 0)
    reason = trouble.reason if trouble is not None else ""
    problems = []
    if reason:
        problems.append(
            Problem(
                "error",
                f"The cache folder {quoted(folder)} cannot be written: {reason}.",
                "Prepared data goes there.",
                fix,
            )
        )
    elif free < LOW_DISK_BYTES:
        problems.append(
            Problem(
                "warning",
                f"Less than 1 GiB is free at the cache folder {quoted(folder)}.",
                "Prepared data goes there.",
                fix,
            )
        )
    return {"path": str(folder), "free_bytes": free, "writable": not reason}, problems


def _torch_part(asked: str, problems: list[Problem], seen: gpu.Gpus) -> dict[str, Any]:
    """What torch says of itself, its matmul rates on the chosen device, and a training step there."""
    try:
        import torch

        from seedbed.train.device import choose_device, choose_precision
    except (ImportError, OSError) as error:
        problems.append(
            Problem(
                "error",
                f"torch cannot be imported: {error}.",
                "Nothing trains without it.",
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
    said: list[Message] = []
    try:
        device = choose_device(asked, False, said.append)
        precision = choose_precision("auto", device)
    except SeedbedError as error:
        problems.append(Problem("error", error.message, error.hint, "seedbed doctor --device auto"))
        return {"torch": about, "device": None, "matmul": None, "probe": None}
    problems += [Problem("warning", each.text, each.why, "seedbed doctor --device auto") for each in said]
    chosen = {"asked": asked, "name": device.name, "torch_device": str(device.torch_device), "precision": precision}
    probe = training_probe(device, precision)
    if probe.get("full"):
        problems.append(
            Problem(
                "error",
                f"The {probe['full']} of {device.name} is full: {probe['reason']}",
                "Something else uses it.",
                "nvidia-smi" if device.kind == "cuda" else "ps aux --sort=-rss",
            )
        )
    elif not probe["ok"]:
        problems.append(
            Problem(
                "error",
                f"A training step on {device.name} failed: {probe['reason']}",
                "Training cannot work there.",
                "pip install --force-reinstall torch",
            )
        )
    rates = matmul_rates(device.torch_device)
    rate = rates["fp32_flops_per_s" if precision == "fp32" else "bf16_flops_per_s"]
    if rate is not None and asked == "auto":
        remember_matmul_rate(rate, precision)
    return {"torch": about, "device": chosen, "matmul": rates, "probe": probe}


def matmul_rates(device: torch.device) -> dict[str, float | None]:
    """Floating-point operations per second of square matmuls, fp32 and bf16: the best of half a second each."""
    import torch

    size = 4096 if device.type == "cuda" else 1024
    rates: dict[str, float | None] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        try:
            a = torch.ones(size, size, dtype=dtype, device=device)
            best, begun = math.inf, time.perf_counter()
            while time.perf_counter() - begun < _MATMUL_S:
                start = time.perf_counter()
                # Reading one number back waits for devices that compute behind our back.
                (a @ a)[0, 0].item()
                best = min(best, time.perf_counter() - start)
            rates[f"{name}_flops_per_s"] = 2 * size**3 / best
        except RuntimeError:
            rates[f"{name}_flops_per_s"] = None
    return rates


def training_probe(device: Device, precision: str, steps: int = 4) -> dict[str, Any]:
    """Train a very small model for a few steps on one batch of noise: the loss must be finite and fall."""
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
    reason = "" if ok else f"its losses are {', '.join(f'{loss:.4g}' for loss in losses)}, not falling."
    return {"ok": ok, "reason": reason, "first_loss": losses[0], "last_loss": losses[-1], "step_s": step_s}


def main(words: Sequence[str]) -> int:
    """Write the report to stdout as one JSON object; status 1 if something stands in the way of training."""
    parser = argparse.ArgumentParser(prog="python -m seedbed.jobs doctor", allow_abbrev=False)
    parser.add_argument("--device", default="auto", help="device to examine, as train.device")
    parser.add_argument(
        "--folder", type=Path, help="folder whose disk is looked at; the working directory if not given"
    )
    asked = parser.parse_args(words)
    found = report(asked.device, asked.folder)
    sys.stdout.write(json.dumps(found) + "\n")
    return EXIT_FAILURE if any(problem["level"] == "error" for problem in found["problems"]) else 0
