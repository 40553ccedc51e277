"""Reads tables of published training runs (`seedbed plan --runs FILE`): each row becomes an input of the cost model.

What a row does not say is filled in with the defaults of its kind of GPU and software, the same for every source; `Row`
lists what was assumed. No rule reads the source of a row, its id or its notes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate import catalog
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.interconnect import read_interconnect
from seedbed.simulate.layouts import default_interleave
from seedbed.simulate.lora import lora_input_width, lora_parameters
from seedbed.simulate.rates import BEFORE_AMPERE, default_flash, is_new, peak_rate
from seedbed.simulate.setup import METHODS, PRECISIONS, RECOMPUTE, Layout, Recipe, Setup
from seedbed.simulate.shape import Shape
from seedbed.text import quoted

_FUSED = re.compile(r"megatron|nemo|distributed optimizer|transformer engine", re.IGNORECASE)
"""Software whose kernels are fused, on new GPUs; on old ones, if it has no flash attention, the legacy stack."""


_COMPILED = re.compile(r"paxml|maxtext|\bjax\b|\bxla\b", re.IGNORECASE)
"""Software that always compiles."""


class Row(NamedTuple):
    """A published run as an input of the cost model, with what it measured."""

    id: str
    source: str
    """The table or paper that the row comes from, in short (`group` in the file)."""
    setup: Setup
    tokens_per_s_per_gpu: float | None
    """As published, or computed from the published step time, TFLOPS or MFU; None if the row has none of them."""
    memory_gib: float | None
    assumed: tuple[str, ...]
    """What the row does not say, with the value used instead."""
    trust: str
    is_timed: bool
    """Whether throughput, step time or TFLOPS are published; MFU alone is often read from a figure."""

    @property
    def is_core(self) -> bool:
        """Whether the row is timed, read in its source, and of a dense model on a GPU of 2020 or later."""
        old = self.setup.gpu.generation in BEFORE_AMPERE
        return self.is_timed and not (old or self.setup.shape.experts or self.trust == "from_memory")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of published runs, in order.

    Raises UsageError if the file is no list of runs or has none, and SeedbedError, with the row's id, if a row cannot be used.
    """
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content) if content.strip() else []
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name a JSON file of runs.") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is not valid JSON: {error}.", "Name a JSON file with a list of runs.") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UsageError(f"{path} is not a list of runs.", "docs/planner.md describes the format.")
    if not found:
        raise UsageError(f"{path} has no runs.", "docs/planner.md describes the format.")
    return [read_row(each, f"{path}, row {number}") for number, each in enumerate(found, 1)]


def read_row(row: dict[str, Any], where: str = "the row") -> Row:
    """A published run as an input of the cost model. Raises SeedbedError, naming `where`, if the row cannot be used."""
    name = str(row.get("id") or where)
    try:
        setup, assumed = _setup(row)
        measured = row.get("measured") or {}
        return Row(
            name,
            str(row.get("group") or row.get("source") or "unnamed"),
            setup,
            _throughput(measured, setup),
            float(measured["memory_gib_per_gpu"]) if measured.get("memory_gib_per_gpu") else None,
            assumed,
            str(row.get("trust") or ""),
            any(measured.get(each) for each in ("tokens_per_s_per_gpu", "step_time_s", "tflops_per_gpu")),
        )
    except UsageError as error:
        raise SeedbedError(f"{where}: the run {quoted(name)} cannot be used: {error.message}", error.hint) from error
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be used: {error}"
        raise SeedbedError(
            f"{where}: the run {quoted(name)} {what}.", "docs/planner.md describes the format."
        ) from error


def _setup(row: dict[str, Any]) -> tuple[Setup, tuple[str, ...]]:
    hardware, train, parallel = row["hardware"], row["train"], row.get("parallel") or {}
    _check_values(hardware, train, parallel)
    gpu = catalog.gpu(hardware["gpu"])
    shape = shape_of_row(row["model"])
    wires = read_interconnect(hardware.get("interconnect") or "", gpu)
    assumed: list[str] = [] if wires.stated else [f"network {wires.gbps:g} GB/s per GPU"]
    recipe = _recipe(train, parallel, gpu, shape, assumed)
    layout, global_batch = _layout(train, parallel, int(hardware["num_gpus"]), gpu, shape, recipe, assumed)
    setup = Setup(
        shape=shape,
        gpu=gpu,
        num_gpus=int(hardware["num_gpus"]),
        layout=layout,
        recipe=msgspec.structs.replace(recipe, global_batch=global_batch),
        network_gbps=wires.gbps,
        network_efficiency=wires.efficiency,
        node_gpus=wires.node_gpus,
    )
    return setup, tuple(assumed)


_NUMBERS = {
    "hardware": ("num_gpus",),
    "train": ("seq_len", "micro_batch", "global_batch", "global_batch_tokens"),
    "parallel": ("dp", "fsdp", "tp", "pp", "cp", "ep", "interleave"),
}
"""Table of a row -> the fields that are positive numbers, if they are given."""
_WORDS: dict[str, tuple[str, ...]] = {
    "precision": PRECISIONS,
    "activation_checkpointing": RECOMPUTE,
    "method": METHODS,
}
"""Field of `train` -> its values."""


def _check_values(hardware: dict[str, Any], train: dict[str, Any], parallel: dict[str, Any]) -> None:
    """Raise ValueError for a value that no run can have."""
    tables = {"hardware": hardware, "train": train, "parallel": parallel}
    for table, names in _NUMBERS.items():
        for name in names:
            value = tables[table].get(name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ValueError(f"{table}.{name} is {value!r}, not a number above 0")
    for name, words in _WORDS.items():
        value = train.get(name)
        if value is not None and value not in words:
            raise ValueError(f"train.{name} is {value!r}, not one of {', '.join(words)}")
    if parallel.get("zero") not in (None, 0, 1, 2, 3):
        raise ValueError(f"parallel.zero is {parallel['zero']!r}, not 0, 1, 2 or 3")


def shape_of_row(model: dict[str, Any]) -> Shape:
    """The shape of the model of a row.

    Rows do not say whether the feed-forward layer has a gate, nor whether the embedding is shared with the output layer. Of
    the four combinations, the one with the nearest number of parameters is taken. If a model of that name with the same
    layers and width is in the catalog and comes nearer, its shape is taken.
    """
    moe = model.get("moe") or {}
    heads = int(model["heads"])
    window = re.search(r"\d+", str(moe.get("sliding_window") or ""))
    common: dict[str, Any] = {
        "name": str(model.get("name") or "unnamed"),
        "layers": int(model["layers"]),
        "hidden": int(model["hidden"]),
        "heads": heads,
        "kv_heads": int(model.get("kv_heads") or heads),
        "head_dim": int(moe.get("head_dim") or model.get("head_dim") or int(model["hidden"]) // heads),
        "ffn": int(model.get("ffn") or 4 * int(model["hidden"])),
        "vocab": int(model["vocab"]),
        "experts": int(moe.get("experts") or 0),
        "top_k": int(moe.get("top_k") or 0),
        "shared_experts": int(moe.get("shared") or 0),
        "moe_ffn": int(moe.get("moe_ffn") or 0),
        "dense_layers": int(moe.get("dense_layers") or 0),
        "window": int(window.group()) if window else 0,
        "window_every": 2 if window and "alternat" in str(moe["sliding_window"]).lower() else 1,
    }
    shapes = [Shape(**common, gated=gated, tied=tied) for gated in (True, False) for tied in (True, False)]
    wanted = model.get("params")
    if not wanted:
        return shapes[0]
    try:
        known = catalog.model(common["name"])
        if (known.layers, known.hidden) == (common["layers"], common["hidden"]):
            shapes.append(known)
    except UsageError:
        pass
    return min(shapes, key=lambda each: abs(each.parameters - wanted))


def _recipe(train: dict[str, Any], parallel: dict[str, Any], gpu: Gpu, shape: Shape, assumed: list[str]) -> Recipe:
    software = str(parallel.get("notes") or "")
    compiled = bool(train.get("compile")) or _COMPILED.search(software) is not None
    flash = train.get("flash_attention")
    if flash is None:
        flash = default_flash(gpu, "torch", compiled=compiled)
        assumed.append(f"flash attention {'on' if flash else 'off'}")
    fused = _FUSED.search(software) is not None
    split = (parallel.get("tp") or 1) > 1 or (parallel.get("pp") or 1) > 1
    stack = "torch"
    if not flash and (fused or split):
        stack = "legacy"
    elif fused and is_new(gpu):
        stack = "fused"
    if train.get("activation_checkpointing") is None:
        assumed.append("no activation checkpointing")
    method = train.get("method") or "pretrain"
    parameters, input_width = _adapters(train.get("lora") or {}, shape) if method in ("lora", "qlora") else (0, 0)
    half = re.search(r"mode pure|pure[ -]bf16", software, re.IGNORECASE) is not None
    return Recipe(
        seq_len=int(train["seq_len"]),
        global_batch=1,
        precision=train.get("precision") or "bf16",
        recompute=train.get("activation_checkpointing") or "none",
        flash=bool(flash),
        compiled=compiled,
        stack=stack,
        method=method,
        lora_parameters=parameters,
        lora_input_width=input_width,
        optimizer=train.get("optimizer") or "adamw",
        reduce_bytes=2.0 if half or method != "pretrain" or stack == "fused" else 4.0,
        # Recent libraries for fine-tuning compute the loss in pieces.
        chunked_loss=method != "pretrain" and compiled,
        pure_bf16=half or (method != "pretrain" and stack == "torch"),
    )


def _adapters(lora: dict[str, Any], shape: Shape) -> tuple[int, int]:
    """Trained parameters and width of the inputs of the adapters; without a statement: rank 8 on all matrices of the layers."""
    named = lora.get("targets")
    targets = named if isinstance(named, list) else None
    return lora_parameters(shape, int(lora.get("r") or 8), targets), lora_input_width(shape, targets)


def _layout(
    train: dict[str, Any],
    parallel: dict[str, Any],
    num_gpus: int,
    gpu: Gpu,
    shape: Shape,
    recipe: Recipe,
    assumed: list[str],
) -> tuple[Layout, float]:
    """The layout, and the sequences of a step."""
    tp, pp, cp, ep = (int(parallel.get(each) or 1) for each in ("tp", "pp", "cp", "ep"))
    dp = max(1, num_gpus // (tp * pp * cp))
    zero = parallel.get("zero")
    if zero is None:
        zero = 3 if parallel.get("fsdp") else int(recipe.stack == "fused")
        if dp > 1:
            assumed.append(f"ZeRO stage {zero}")
    shard = int(parallel.get("fsdp") or dp) * cp if zero == 3 else (dp * cp if zero else 1)
    shard = min(shard, dp * cp)
    interleave = parallel.get("interleave")
    if interleave is None:
        interleave = default_interleave(shape.layers, pp, recipe.stack)
        if pp > 1:
            assumed.append(f"interleave {interleave}")
    batch = train.get("global_batch") or (train.get("global_batch_tokens") or 0) / recipe.seq_len
    micro = train.get("micro_batch")
    if micro is None:
        micro = 1 if tp * pp > 1 or not batch else max(1, min(4, int(batch / dp)))
        assumed.append(f"micro-batch {micro}")
    if not batch:
        batch = micro * dp * (8 * pp if pp > 1 else 1)
        assumed.append(f"global batch {batch}")
    layout = Layout(
        tp=tp,
        pp=pp,
        cp=cp,
        ep=ep,
        dp=dp,
        zero=zero,
        shard=max(1, shard),
        interleave=interleave,
        micro_batch=min(micro, batch / dp),
        sequence_parallel=recipe.stack != "legacy",
    )
    return layout, batch


def _throughput(measured: dict[str, Any], setup: Setup) -> float | None:
    """Tokens per second and GPU, as published or computed from the step time, the TFLOPS or the MFU (full attention count)."""
    if measured.get("tokens_per_s_per_gpu"):
        return float(measured["tokens_per_s_per_gpu"])
    if measured.get("step_time_s"):
        return setup.tokens_per_step / float(measured["step_time_s"]) / setup.num_gpus
    flops = setup.shape.flops_per_token(setup.recipe.seq_len)
    if measured.get("tflops_per_gpu"):
        again = 4 / 3 if measured.get("tflops_kind") == "hardware" and setup.recipe.recompute == "full" else 1.0
        return float(measured["tflops_per_gpu"]) * 1e12 / (flops * again)
    if measured.get("mfu"):
        return float(measured["mfu"]) * peak_rate(setup.gpu, setup.recipe.precision) / flops
    return None
