"""Checks before a run starts: the store, the machine's memory, the data. Needs no torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from seedbed.actions.precision import training_precision
from seedbed.config.schema import Config
from seedbed.config.source import is_prepared, is_rows
from seedbed.disk_space import free_bytes
from seedbed.errors import SeedbedError, StorageError, UsageError
from seedbed.files import make_dir
from seedbed.locks import refuse_without_locks
from seedbed.runs.lifecycle import LOCK_REMEDY
from seedbed.runs.store import Store

if TYPE_CHECKING:
    from seedbed.config.check import Finding
    from seedbed.config.simulation import Simulation


def refuse_unusable_store(store: Store) -> None:
    """Raise SeedbedError if the store's folder cannot be written or its file system does not support locks."""
    try:
        refuse_without_locks(make_dir(store.root), LOCK_REMEDY)
    except StorageError as error:
        if error.hint == LOCK_REMEDY:
            raise
        raise SeedbedError(
            error.message, f"{error.hint} Or use another folder: --runs DIR or SEEDBED_RUNS=DIR."
        ) from error


def refuse_without_torch(problem: str, otherwise: str) -> None:
    """Raise SeedbedError if PyTorch is not installed. `problem`: what cannot be done then; `otherwise`: another way out."""
    if find_spec("torch") is None:
        raise SeedbedError(
            f"PyTorch is not installed, so {problem}.", f"Install it: pip install torch. Or {otherwise}."
        )


def check_training(config: Config, store: Store) -> None:
    """Raise UsageError or SeedbedError for the first problem found in the config, this machine's memory, or the data."""
    from seedbed.config.check import check

    config = _masked(config)
    precision = training_precision(config.train)
    total = _total_memory_bytes(config, precision)
    for finding in check(config, total_memory_bytes=total, precision=precision):
        if finding.level == "error":
            raise UsageError(f"{finding.text} {finding.why}".strip(), finding.hint)
    refuse_unusable_data(config, store)


def check_simulation(config: Simulation, store: Store) -> None:
    """Raise UsageError or SeedbedError if this run cannot be simulated, such as a model that does not fit."""
    from seedbed.simulate.configured import scenario_from

    scenario_from(config)


def examine(config: Config, store: Store) -> list[Finding]:
    """Find problems of training with this config on this machine: settings, disk space and memory. Errors come first.

    For training on a CPU, main memory is checked, else the memory of the GPU that has the most. Unknown memory is not
    checked.
    """
    from seedbed.config.check import check

    config = _masked(config)
    precision = training_precision(config.train)
    return check(
        config,
        free_disk_bytes=free_bytes(store.root),
        free_memory_bytes=free_memory_bytes(config.train.device),
        total_memory_bytes=_total_memory_bytes(config, precision),
        precision=precision,
    )


def _masked(config: Config) -> Config:
    """The config as its memory is estimated: samples of a dataset of rows are packed, so attention is always masked."""
    if not is_rows(config.data.source.strip(), Path()):
        return config
    return replace(config, data=replace(config.data, document_mask=True))


def _total_memory_bytes(config: Config, precision: str) -> int:
    """The memory of the largest device on which the config may train, in bytes.

    GPUs are queried only if main memory is too small, since the query takes a moment.
    """
    from seedbed.config.arithmetic import memory_estimate
    from seedbed.hardware import gpu, memory

    total = memory.total_bytes()
    needed = memory_estimate(config, config.tokenizer.vocab_size, precision).total
    if needed <= total or config.train.device.strip().lower() == "cpu":
        return total
    return max(total, *(each.total_bytes or 0 for each in gpu.probe().found), 0)


def free_memory_bytes(device: str) -> int | None:
    """The free memory of the device `train.device` names, in bytes: of the GPU that has the most, else main memory.

    None if the GPUs do not say.
    """
    from seedbed.hardware import gpu, memory

    gpus = () if device.strip().lower() == "cpu" else gpu.probe().found
    if not gpus:
        return memory.available_bytes()
    free = [each.total_bytes - each.used_bytes for each in gpus if each.total_bytes and each.used_bytes is not None]
    return max(free, default=None)


def refuse_unusable_data(config: Config, store: Store | None = None) -> None:
    """Raise an error if a quick check shows that the data source cannot be used.

    `store` is where the run will be created. Raises UsageError if the source is invalid or missing, SeedbedError if its
    text is unusable.
    """
    from seedbed.data.precheck import refuse_unusable
    from seedbed.tokenizer.checks import refuse_tokenizer

    base = Path(config.base.folder or config.base.model) if config.base.model is not None else None
    refuse_unusable(config.data, config.model.context, store.root if store is not None else None, base)
    if config.base.model is None and not is_prepared(config.data.source.strip(), Path()):
        refuse_tokenizer(config.tokenizer)
