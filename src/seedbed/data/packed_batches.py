"""Make batches of packed samples: a pure function of (data fingerprint, seed, step), whatever the number of processes.

A plan (see packing.py) says which samples share a row. Each epoch uses every row once, in a random order. A sample is its own
document: positions start at 0, attention stays within it, and its first token is no target. What is left of a row is padding,
a document of its own that is not trained. There is no state: to resume at step s, request batch s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from seedbed import files
from seedbed.data.batches import IGNORED, Batch
from seedbed.data.packing import WINDOW, Plan, pack
from seedbed.data.permutation import key_of, permute
from seedbed.data.samples import Samples
from seedbed.errors import SeedbedError, UsageError

_PLAN_VERSION = 1


class PackedRows:
    """The rows of a split: samples packed into `context` positions each. Samples that are longer are left out."""

    def __init__(self, samples: Samples, context: int, *, fingerprint: str = "", folder: Path | None = None) -> None:
        """`folder`: where a plan of many samples is kept, named by `fingerprint`, which identifies the samples."""
        self.samples, self.context = samples, context
        self.fitting = np.flatnonzero(samples.positions <= context)
        """The numbers of the samples that fit into a row."""
        stored = self._stored(fingerprint, folder)
        self.plan = stored or self._packed()
        if stored is None and folder is not None and len(self.fitting) > WINDOW:
            self._store(fingerprint, folder)

    @property
    def num_left_out(self) -> int:
        """Number of samples that are longer than a row."""
        return len(self.samples.positions) - len(self.fitting)

    @property
    def fill(self) -> float:
        """The share of all positions that samples occupy; the rest is padding."""
        return self.plan.fill(self.samples.positions, self.context)

    def _packed(self) -> Plan:
        plan = pack(self.samples.positions[self.fitting], self.context)
        return Plan(self.fitting[plan.members], plan.starts)

    def _path(self, folder: Path) -> Path:
        return folder / f".{self.samples.name}-{self.context}.plan"

    def _head(self, fingerprint: str) -> bytes:
        return key_of("plan", _PLAN_VERSION, WINDOW, fingerprint, self.samples.name, self.context)

    def _store(self, fingerprint: str, folder: Path) -> None:
        """Keep the plan with the shards, if the folder can be written. A plan that cannot be used is replaced."""
        counts = np.array([len(self.plan.members), len(self.plan.starts)], dtype="<i8")
        parts = [counts, self.plan.members.astype("<i8"), self.plan.starts.astype("<i8")]
        try:
            files.write_atomic(
                self._path(folder), self._head(fingerprint) + b"".join(part.tobytes() for part in parts), durable=False
            )
        except SeedbedError:
            return

    def _stored(self, fingerprint: str, folder: Path | None) -> Plan | None:
        """The plan that `_store` kept; None if there is none, or it is of other samples, incomplete or damaged."""
        head = self._head(fingerprint)
        try:
            content = self._path(folder).read_bytes() if folder is not None else b""
        except OSError:
            return None
        if content[: len(head)] != head or len(content) % 8:
            return None
        numbers = np.frombuffer(content[len(head) :], dtype="<i8").astype(np.int64)
        if len(numbers) < 2 or len(numbers) != 2 + numbers[0] + numbers[1] or numbers[0] != len(self.fitting):
            return None
        members, starts = np.split(numbers[2:], [int(numbers[0])])
        plan = Plan(members, starts)
        return plan if self._is_whole(plan) else None

    def _is_whole(self, plan: Plan) -> bool:
        """Whether each sample that fits is in one row of a plan, and no row is too long."""
        starts = plan.starts
        if not len(starts) or starts[0] != 0 or starts[-1] != len(plan.members) or (np.diff(starts) < 1).any():
            return False
        if not np.array_equal(np.sort(plan.members), self.fitting):
            return False
        return bool((np.add.reduceat(self.samples.positions[plan.members], starts[:-1]) <= self.context).all())

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch with these rows of the plan, in this order."""
        shape = (len(rows), self.context)
        inputs, targets = np.zeros(shape, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
        documents, positions = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int64)
        for row, number in enumerate(rows.tolist()):
            members = self.plan.members[self.plan.starts[number] : self.plan.starts[number + 1]]
            ids, trained = self.samples.tokens(members)
            lengths = self.samples.positions[members]
            used = int(lengths.sum())
            # Each sample has one token more than positions: its last is no input, its first no target.
            ends = np.cumsum(lengths + 1)
            is_input, is_target = np.ones(len(ids), dtype=bool), np.ones(len(ids), dtype=bool)
            is_input[ends - 1] = is_target[ends - lengths - 1] = False
            inputs[row, :used] = ids[is_input]
            targets[row, :used] = np.where(trained[is_target], ids[is_target], IGNORED)
            documents[row] = np.repeat(np.arange(len(members) + 1), [*lengths, self.context - used])
            positions[row] = np.arange(self.context)
            positions[row] -= np.repeat([*(np.cumsum(lengths) - lengths), used], [*lengths, self.context - used])
        return Batch(*(torch.from_numpy(each) for each in (inputs, targets, documents, positions)))


class PackedBatches:
    """Makes the training batches of a run from packed rows; `batch(step)` is the same at every call."""

    def __init__(self, rows: PackedRows, *, seed: int, fingerprint: str, batch_size: int) -> None:
        """Raises SeedbedError if no sample fits into a row."""
        if batch_size < 1:
            raise UsageError(f"The batch size {batch_size} must be 1 or more.")
        if not rows.plan.num_rows:
            raise SeedbedError(
                f"No training sample fits into {rows.context} tokens.", "Set a larger model.context, or use other data."
            )
        self._rows, self._batch_size, self._key = rows, batch_size, (fingerprint, seed)
        self.windows_per_epoch = rows.plan.num_rows

    @property
    def steps_per_epoch(self) -> float:
        """Number of steps that use every row once, such as 12.5 (a batch can cross the end of an epoch)."""
        return self.windows_per_epoch / self._batch_size

    def batch(self, step: int, rows: slice = slice(None)) -> Batch:
        """The batch of the 0-based `step`, or only the given rows of it (for processes that share a step)."""
        numbers = np.arange(step * self._batch_size, (step + 1) * self._batch_size, dtype=np.int64)[rows]
        return self._rows.batch(self.order(numbers))

    def largest(self, step: int) -> Batch:
        """A batch of the largest size that can occur: all have the same, so this is the batch of `step`."""
        return self.batch(step)

    def order(self, numbers: np.ndarray) -> np.ndarray:
        """Which row of the plan each number (step * batch size + place in the batch) is: int64, same shape."""
        per_epoch = self.windows_per_epoch
        epochs = numbers // per_epoch
        chosen = np.empty_like(numbers)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            chosen[here] = permute(numbers[here] % per_epoch, per_epoch, key_of("packed", *self._key, epoch))
        return chosen


class PackedValidation:
    """Selects the rows that the validations of a run evaluate, and makes batches of them, in a fixed order.

    `wanted_tokens`: about how many trained tokens each validation between steps evaluates; 0 for all.
    """

    def __init__(self, rows: PackedRows, *, batch_size: int, wanted_tokens: int = 0) -> None:
        """Raises SeedbedError if no sample fits into a row."""
        if not rows.plan.num_rows:
            raise SeedbedError(
                f"No validation sample fits into {rows.context} tokens.",
                "Set a larger model.context, or use other data.",
            )
        self._rows, self._batch_size = rows, batch_size
        per_sample = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(rows.samples.targets[rows.plan.members])))
        self._targets = np.diff(per_sample[rows.plan.starts])  # of each row
        self._everything = int(self._targets.sum())
        self.compared_tokens = wanted_tokens if 0 < wanted_tokens < self._everything else 0
        """About how many trained tokens each validation between steps evaluates, always the same ones; 0 for all."""
        self.bytes_per_token: float | None = rows.samples.bytes_per_token

    def limit(self, max_tokens: int) -> None:
        """Let each validation between steps evaluate about `max_tokens` tokens at most, rounded up to whole rows."""
        if max_tokens < self.tokens(self.compared_tokens):
            self.compared_tokens = max_tokens

    def batches(self, max_tokens: int) -> Iterator[Batch]:
        """Yield batches that evaluate about `max_tokens` tokens, the same at every call; 0: everything."""
        chosen = self._chosen(max_tokens)
        for first in range(0, len(chosen), self._batch_size):
            yield self._rows.batch(chosen[first : first + self._batch_size])

    def tokens(self, max_tokens: int) -> int:
        """How many tokens `batches(max_tokens)` evaluates."""
        if not max_tokens or max_tokens >= self._everything:
            return self._everything
        return int(self._targets[self._chosen(max_tokens)].sum())

    def _chosen(self, max_tokens: int) -> np.ndarray:
        """The rows to evaluate, evenly spread over the plan."""
        rows = self._rows.plan.num_rows
        if not 0 < max_tokens < self._everything:
            return np.arange(rows)
        wanted = min(-(-max_tokens * rows // self._everything), rows)
        return np.arange(wanted) * rows // wanted
