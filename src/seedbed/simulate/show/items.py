"""What the show shows: its items beside the simulator's own events. Raw numbers; `presentation.show` makes text of them.

Times are in seconds of the simulated run, sizes in bytes, losses in nats per token.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from seedbed.events import Event


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the show shows."""


class Beat(NamedTuple):
    """An item and when it is shown, in seconds of the show at speed 1."""

    at_s: float
    item: Item | Event


class RunBegins(Item, frozen=True, kw_only=True):
    """A run of the show begins. `number` counts from 1."""

    number: int
    seed: int
    model: str
    num_gpus: int
    nodes: int
    gpus_per_node: int
    gpu: str
    dataset: str


class ModelBuilt(Item, frozen=True, kw_only=True):
    """The model and its sizes; `parameters` follows from them."""

    name: str
    parameters: int
    active_parameters: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    experts: int
    top_k: int


class TokenizerLoaded(Item, frozen=True, kw_only=True):
    """The tokenizer, which is named after the model."""

    name: str
    vocab: int


class DataLoaded(Item, frozen=True, kw_only=True):
    """The dataset, and the part of it that the run uses, as packed sequences."""

    name: str
    documents: int
    tokens: int
    used_documents: int
    sequences: int
    seq_len: int
    domains: dict[str, float]
    """Shares of the tasks or domains in the mixture; empty: one domain."""


class Rendezvous(Item, frozen=True, kw_only=True):
    """The processes meet at the master node."""

    host: str
    port: int
    nodes: int
    num_gpus: int


class Ring(Item, frozen=True, kw_only=True):
    """The order of ranks in a NCCL ring: the first ones."""

    channel: int
    channels: int
    ranks: tuple[int, ...]


class Tree(Item, frozen=True, kw_only=True):
    """The neighbours of a rank in a NCCL tree; -1: none."""

    rank: int
    children: tuple[int, int, int]
    parent: int


class Connected(Item, frozen=True, kw_only=True):
    """All channels of a kind (rings, trees) are connected."""

    what: str
    channels: int
    elapsed_s: float


class GpusChecked(Item, frozen=True, kw_only=True):
    """The GPUs of some nodes were found and work."""

    first_node: int
    nodes: int
    gpus: int
    gpu: str
    memory_bytes: int


class Strategy(Item, frozen=True, kw_only=True):
    """How the training is split over the GPUs."""

    dp: int
    tp: int
    pp: int
    cp: int
    ep: int
    zero: int
    shard: int
    interleave: int
    recompute: str


class Batch(Item, frozen=True, kw_only=True):
    """The batch of one step: `sequences` = `micro_batch` * `accumulation` * `ranks`."""

    sequences: int
    tokens: int
    per_gpu: float
    micro_batch: int
    accumulation: int
    ranks: int


class Precision(Item, frozen=True, kw_only=True):
    """The precision of compute, and the bytes of a gradient while gradients are summed."""

    name: str
    reduce_bytes: float


class LearningRate(Item, frozen=True, kw_only=True):
    """The learning-rate schedule. `samples`: shares of the peak at equal distances over the run."""

    peak: float
    kind: str
    warmup_steps: int
    steps: int
    samples: tuple[float, ...]


class Training(Item, frozen=True, kw_only=True):
    """A step of training. `elapsed_s`: since training began; `left_s`: expected until the end of training."""

    epoch: int
    epochs: int
    step: int
    steps: int
    step_of_epoch: int
    steps_of_epoch: int
    loss: float
    perplexity: float
    lr: float
    grad_norm: float
    tokens: int
    step_s: float
    tokens_per_s: float
    samples_per_s: float
    mfu: float | None
    elapsed_s: float
    left_s: float
    is_milestone: bool
    """Whether the bar of this step is also shown where bars cannot be overwritten."""


class EpochDone(Item, frozen=True, kw_only=True):
    """An epoch ended; figures of the run so far: `tokens_per_s` = `tokens` / `elapsed_s`."""

    epoch: int
    epochs: int
    tokens: int
    elapsed_s: float
    tokens_per_s: float


class GpuRow(NamedTuple):
    """One GPU of the table, or the mean of many."""

    node: int
    gpu: int
    fraction: float
    used_bytes: int
    total_bytes: int
    celsius: float
    watts: float


class GpuTable(Item, frozen=True, kw_only=True):
    """All GPUs of the first nodes, and the means over the rest."""

    rows: tuple[GpuRow, ...]
    rest: GpuRow | None
    rest_nodes: int
    rest_gpus: int


class Bar(Item, frozen=True, kw_only=True):
    """Progress of a validation or of an export."""

    what: str
    done: int
    total: int
    unit: str
    finished: bool = False


class Validated(Item, frozen=True, kw_only=True):
    """The result of a validation. The losses of the domains, weighted by their shares, give `loss`."""

    step: int
    loss: float
    perplexity: float
    best: bool
    domains: dict[str, float]


class EarlyStopping(Item, frozen=True, kw_only=True):
    """Validations in a row without a better loss; training stops at `patience`."""

    count: int
    patience: int


class SaveBegins(Item, frozen=True, kw_only=True):
    """Training waits for a checkpoint."""

    step: int
    stall_s: float


class ShardSaved(Item, frozen=True, kw_only=True):
    """A shard of a checkpoint was written."""

    path: str
    size_bytes: int
    number: int
    of: int


class CheckpointSaved(Item, frozen=True, kw_only=True):
    """A checkpoint is complete. `best`: it has the best validation loss so far."""

    step: int
    path: str
    size_bytes: int
    write_s: float
    best: bool


class Hanging(Item, frozen=True, kw_only=True):
    """NCCL's watchdog of one rank noticed that a collective hangs."""

    rank: int
    op: str
    sequence: int
    timeout_s: float


class Restarting(Item, frozen=True, kw_only=True):
    """The job starts again after an interruption."""

    attempt: int
    nodes: int


class Restarted(Item, frozen=True, kw_only=True):
    """The processes have met again, and the checkpoint is loaded. `step`: from which training continues."""

    step: int
    elapsed_s: float
    num_gpus: int


class ExportBegins(Item, frozen=True, kw_only=True):
    """The weights are converted."""

    source: str
    target: str
    format: str
    precision: str
    files: int
    size_bytes: int


class FileExported(Item, frozen=True, kw_only=True):
    """A file of the export was written."""

    name: str
    size_bytes: int


class RunEnds(Item, frozen=True, kw_only=True):
    """The summary of a run. `tokens_per_s` = `tokens` / `elapsed_s`."""

    model: str
    parameters: int
    dataset: str
    num_gpus: int
    gpu: str
    epochs: int
    steps: int
    tokens: int
    elapsed_s: float
    tokens_per_s: float
    mfu: float | None
    loss: float
    perplexity: float
    best_loss: float
    goodput: float
    interruptions: int
    lost_steps: int
    gpu_hours: float
    energy_kwh: float | None
    usd: float | None
    target: str


class Next(Item, frozen=True, kw_only=True):
    """The next run of the show."""

    number: int
    model: str
    num_gpus: int
    gpu: str
