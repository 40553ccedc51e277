"""The job that trains all weights of a model, from scratch or from a base model.

It builds its parts from the config and passes them to jobs/training.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from seedbed.config.check import check
from seedbed.config.durations import seconds_of
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.data.samples import Samples
from seedbed.data.shards import SPLITS, Dataset
from seedbed.disk_space import free_bytes
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message
from seedbed.hardware.memory import available_bytes
from seedbed.jobs.assembling import assemble
from seedbed.jobs.base_model import Origin, origin_of
from seedbed.jobs.dataset import open_data
from seedbed.jobs.parts import Parts
from seedbed.jobs.restore import History, Start, choose_start
from seedbed.jobs.settling import Settled, settle
from seedbed.jobs.sizing import take_fastest_threads
from seedbed.jobs.timing import clock_of, limit_preparation
from seedbed.jobs.training import train
from seedbed.runs.session import Session
from seedbed.text import plural
from seedbed.train import hooks
from seedbed.train.device import Device, decide_device, free_memory_bytes


def run(run_dir: Path, session: Session) -> str:
    """Train as `run_dir/config.toml` says; returns the final status."""
    config = load_frozen(run_dir / "config.toml", TRAIN)
    start = choose_start(run_dir, session.resume, History.read(run_dir), session.emit)
    if config.train.size != "auto":
        return train(run_dir, session, config, build, start)
    settled = settle(run_dir, session, config, start)
    return train(run_dir, session, settled.config, partial(build, settled=settled), start, settled.chosen)


def build(config: Config, start: Start, session: Session, settled: Settled | None = None) -> Parts:
    """Build a decoder (with random weights, or the base's), its optimizer and its data, unless the data are `settled`.

    Raises SeedbedError if training cannot work.
    """
    emit = session.emit
    origin = origin_of(config, start)
    _, dataset, device, precision, _ = settled or _prepare(config, start, session, origin)
    examine(config, dataset, precision, device, session.run.path, emit)
    compiled = start.recorded("compile", device.torch_device.type)
    return assemble(
        config,
        dataset,
        device,
        precision,
        compile_as=config.train.compile if compiled is None else ("on" if compiled else "off"),
        origin=origin,
    )


def _prepare(config: Config, start: Start, session: Session, origin: Origin | None) -> Settled:
    """Open the data and choose the device; a new run with a time budget also compares one CPU thread with all."""
    emit, time, is_new = session.emit, config.train.time, start.loaded is None
    check = limit_preparation(session, seconds_of(time), clock_of(session)) if time is not None and is_new else None
    with hooks.phase(emit, "prepare"):
        base = origin.for_data()._replace(positions=config.model.longest_context) if origin is not None else None
        dataset = open_data(config, start.fingerprint, session, started=not is_new, check=check, base=base)
    device, precision = decide_device(config.train, start.recorded, emit)
    if time is not None and is_new:
        with hooks.phase(emit, "measure"):
            take_fastest_threads(config, dataset, device, precision, session.check_requests)
    return Settled(config, dataset, device, precision)


def examine(config: Config, dataset: Dataset, precision: str, device: Device, run_dir: Path, emit: Emit) -> None:
    """Check config, data and machine: emit warnings, and raise SeedbedError if training cannot work."""
    tokens = dataset.train.num_tokens
    if dataset.has_samples:  # packed: each attends to itself, and a row that is not full is padded
        config = replace(config, data=replace(config.data, document_mask=True))
        tokens = max(tokens, config.model.context + 1)
        _tell_left_out(dataset, config.model.context, emit)
    findings = check(
        config,
        vocab_size=config.tokenizer.vocab_size if config.base.model else dataset.tokenizer.vocab_size,
        train_tokens=tokens,
        validation_tokens=dataset.validation.num_tokens,
        free_disk_bytes=free_bytes(run_dir),
        free_memory_bytes=free_memory_bytes(device),
        free_main_memory_bytes=available_bytes() if device.kind == "cuda" else None,
        precision=precision,
    )
    for finding in findings:
        if finding.level == "error":
            raise SeedbedError(f"{finding.text} {finding.why}".strip(), finding.hint)
        emit(Message(**finding._asdict()))


def _tell_left_out(dataset: Dataset, context: int, emit: Emit) -> None:
    """Say how many samples are longer than the context, as in data that was prepared for a longer one."""
    positions = [Samples.of(dataset, name).positions for name in SPLITS]
    longer = sum(int((each > context).sum()) for each in positions)
    if longer:
        emit(
            Message(
                level="warning",
                code="samples-long",
                text=f"{plural(longer, 'sample')} of {sum(map(len, positions)):,} are longer than {context:,} tokens and are "
                "left out.",
                why="The data was prepared for a longer model.context.",
                hint="Train on the dataset of rows from which it was made: rows are then clipped to this context.",
            )
        )
