"""What can be seen to fail before work begins: the store, the machine's memory, the data. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.config.schema import Config
from seedbed.config.source import is_prepared
from seedbed.errors import SeedbedError, StorageError, UsageError
from seedbed.files import free_bytes, make_dir, refuse_without_locks
from seedbed.runs.lifecycle import LOCK_REMEDY
from seedbed.runs.store import Store

if TYPE_CHECKING:
    from seedbed.config.check import Finding


def refuse_unusable_store(place: Store) -> None:
    """Raise SeedbedError where no run can be made: a folder that cannot be written, or that has no locks."""
    try:
        refuse_without_locks(make_dir(place.root), LOCK_REMEDY)
    except StorageError as error:
        if error.hint == LOCK_REMEDY:
            raise
        raise SeedbedError(error.message, f"{error.hint} --runs DIR, or SEEDBED_RUNS=DIR, names the folder.") from error


def check_training(config: Config, place: Store) -> None:
    """Raise for the first thing that can be seen to fail: from the config, this machine's memory, and the data."""
    from seedbed.config.check import check

    for finding in check(config, total_memory_bytes=_total_memory_bytes(config)):
        if finding.level == "error":
            raise UsageError(f"{finding.text} {finding.why}".strip(), finding.hint)
    refuse_unusable_data(config, place)


def examine(config: Config, place: Store) -> list[Finding]:
    """What speaks against training this on this machine as it is now, errors first: settings, disk, memory.

    The memory is that of the CPU where a CPU will train, else that of the GPU with the most; not judged where unknown.
    """
    from seedbed.config.check import check

    return check(
        config,
        free_disk_bytes=free_bytes(place.root),
        free_memory_bytes=_free_memory_bytes(config),
        total_memory_bytes=_total_memory_bytes(config),
    )


def _total_memory_bytes(config: Config) -> int:
    """The most memory that a device of this machine has on which the config may train.

    A GPU is only asked for where main memory is little, since asking takes a moment.
    """
    from seedbed.config.arithmetic import memory_estimate
    from seedbed.hardware import gpu, memory

    total = memory.total_bytes()
    needed = memory_estimate(config, config.tokenizer.vocab_size, "fp32").total
    if needed <= total or config.train.device.strip().lower() == "cpu":
        return total
    return max(total, *(each.total_bytes or 0 for each in gpu.probe().found), 0)


def _free_memory_bytes(config: Config) -> int | None:
    from seedbed.hardware import gpu, memory

    asked = config.train.device.strip().lower()
    gpus = () if asked == "cpu" else gpu.probe().found
    if not gpus:
        return memory.available_bytes()
    free = [each.total_bytes - each.used_bytes for each in gpus if each.total_bytes and each.used_bytes is not None]
    return max(free, default=None)


def refuse_unusable_data(config: Config, place: Store | None = None) -> None:
    """Raise where a quick look shows that the source cannot be read; `place` is where the run will be.

    Raises UsageError for what makes no sense as written or is not there, SeedbedError for text that is of no use.
    """
    from seedbed.data.precheck import refuse_unusable
    from seedbed.tokenizer.sizes import refuse_tokenizer

    refuse_unusable(config.data, config.model.context, place.root if place is not None else None)
    if not is_prepared(config.data.source.strip(), Path()):
        refuse_tokenizer(config.tokenizer)
