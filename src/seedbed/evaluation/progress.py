"""What is done of an evaluation, in files of the task's folder: so a stopped or killed evaluation continues.

    model-000.identity.json  fingerprints of the model, written before its first group; a resume refuses another model
    model-000.jsonl          a line for each finished group of documents: the sums of its units
    model-000.partial.json   the sums of the group in progress, written every few seconds and at a stop
    model-000.json           facts about the model, written when all groups are finished

The windows of a group are scored in a fixed order, so that a resume adds the same numbers in the same order.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from seedbed import files
from seedbed.append_log import AppendLog, read_lines
from seedbed.evaluation.identity import Identity
from seedbed.evaluation.statistics import UnitScores


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about an evaluated model: the content of model-000.json. `prefix`: the ids before each document."""

    name: str
    path: str
    family: str
    parameters: int
    vocabulary: int
    context: int
    """Tokens in a window."""
    stride: int
    prefix: list[int]
    tokenizer: str
    """Fingerprint of the tokenizer."""
    precision: str
    device: str
    weights: str | None = None
    """Fingerprint of the weights (see `checkpoint/fingerprint.py`); None in facts of earlier versions."""


class Tally:
    """The sums of the units of a group of documents: nats (float64) and tokens; and how many of its windows are scored."""

    def __init__(self, units: int) -> None:
        self.nats, self.tokens = np.zeros(units), np.zeros(units, dtype=np.int64)
        self.windows = 0
        self.elapsed_s = 0.0

    def add(self, units: np.ndarray, losses: np.ndarray, windows: int, elapsed_s: float) -> None:
        """Add the losses of the scored tokens of `windows` windows, in nats; `units`: the unit of each token."""
        count = len(self.nats)
        self.nats += np.bincount(units, losses, count)
        self.tokens += np.bincount(units, minlength=count)
        self.windows += windows
        self.elapsed_s += elapsed_s


class _Group(msgspec.Struct, frozen=True, kw_only=True):
    """A line of model-000.jsonl, or the content of model-000.partial.json (with `windows`)."""

    group: int
    nats: list[float]
    tokens: list[int]
    num_bytes: list[int] = []
    windows: int = 0
    elapsed_s: float = 0.0


class ModelProgress:
    """The scores of one model in the task's folder. `number`: the number of the model. Raises SeedbedError on I/O errors."""

    def __init__(self, folder: Path, number: int) -> None:
        self._identity_path, self._log_path, self._partial_path, self._facts_path = (
            folder / f"model-{number:03d}{suffix}" for suffix in (".identity.json", ".jsonl", ".partial.json", ".json")
        )
        self._groups: list[_Group] = []
        for line in read_lines(self._log_path)[0]:
            with suppress(msgspec.DecodeError):  # a line that a killed process did not finish
                group = msgspec.json.decode(line, type=_Group)
                if group.group == len(self._groups):
                    self._groups.append(group)

    @property
    def finished_groups(self) -> int:
        """The number of groups of documents that are finished."""
        return len(self._groups)

    @property
    def elapsed_s(self) -> float:
        """The seconds in which the finished groups were scored."""
        return sum(group.elapsed_s for group in self._groups)

    def identity(self) -> Identity | None:
        """The identity of the model to which the groups belong; None before any of them is scored."""
        found = files.read_json(self._identity_path)
        return None if found is None else msgspec.convert(found, Identity)

    def begin(self, identity: Identity) -> None:
        """Write the identity of the model, before its first group is scored."""
        files.write_json(self._identity_path, msgspec.to_builtins(identity))

    def resumed(self, units: int) -> Tally:
        """The sums of the next group, of `units` units: those of an interrupted session, else zeros."""
        tally = Tally(units)
        partial = self._partial()
        if partial is not None and partial.group == self.finished_groups and len(partial.nats) == units:
            tally.nats, tally.tokens = np.array(partial.nats), np.array(partial.tokens, dtype=np.int64)
            tally.windows, tally.elapsed_s = partial.windows, partial.elapsed_s
        return tally

    def save_partial(self, tally: Tally) -> None:
        """Write the sums of the group in progress."""
        group = self._group(tally)
        files.write_atomic(self._partial_path, msgspec.json.encode(group), durable=False)

    def finish_group(self, tally: Tally, unit_bytes: np.ndarray) -> None:
        """Add a finished group to the log, with the bytes of its units."""
        group = msgspec.structs.replace(self._group(tally), num_bytes=unit_bytes.tolist(), windows=0)
        log = AppendLog(self._log_path)
        try:
            log.write(msgspec.json.encode(group) + b"\n")
        finally:
            log.close()
        self._groups.append(group)
        self._partial_path.unlink(missing_ok=True)

    def finish(self, facts: ModelFacts) -> None:
        """Write the facts about the model, whose groups are all finished."""
        files.write_json(self._facts_path, msgspec.to_builtins(facts))

    def facts(self) -> ModelFacts | None:
        """The facts about the model; None before all of its groups are finished."""
        found = files.read_json(self._facts_path)
        return None if found is None else msgspec.convert(found, ModelFacts)

    def scores(self) -> UnitScores:
        """The scores of all units of the finished groups."""
        return UnitScores(
            np.array([value for group in self._groups for value in group.nats]),
            np.array([value for group in self._groups for value in group.tokens], dtype=np.int64),
            np.array([value for group in self._groups for value in group.num_bytes], dtype=np.int64),
        )

    def _partial(self) -> _Group | None:
        found = files.read_json(self._partial_path)
        return None if found is None else msgspec.convert(found, _Group)

    def _group(self, tally: Tally) -> _Group:
        return _Group(
            group=self.finished_groups,
            nats=tally.nats.tolist(),
            tokens=tally.tokens.tolist(),
            windows=tally.windows,
            elapsed_s=tally.elapsed_s,
        )
