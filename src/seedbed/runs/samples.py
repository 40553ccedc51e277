"""Reads the samples of a run: the texts that its model generated during training."""

from __future__ import annotations

from seedbed.append_log import read_block
from seedbed.events import Run, Sample, decode
from seedbed.runs.store import RunDir
from seedbed.runs.superseded import begins_at

_BLOCK = 4 << 20
_WANTED = (b'"kind":"sample"', b'"kind":"run"')


def read_samples(run: RunDir) -> list[Sample]:
    """All samples of a run that are not superseded, by step.

    Reads the log once and decodes only the lines that it needs. Raises SeedbedError if the log cannot be read.
    """
    found: list[Sample] = []
    offset = 0
    while True:
        block, after = read_block(run.events, offset, _BLOCK)
        if not block or after <= offset:
            return found
        offset = after
        if not any(kind in block for kind in _WANTED):
            continue
        for line in block.split(b"\n"):
            if not any(kind in line for kind in _WANTED):
                continue
            record = decode(line)
            event = record.event if record is not None else None
            if isinstance(event, Sample):
                found.append(event)
            elif isinstance(event, Run) and (begins := begins_at(event)) is not None:
                found = [sample for sample in found if sample.step <= begins]
