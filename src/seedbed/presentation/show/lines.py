"""The items of the show as rows of the scrolling view, like the logs of PyTorch and Hugging Face libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seedbed import text
from seedbed.events import Comm, Event, Message, Node, Phase
from seedbed.presentation.show.reminder import LONGEST_RULE, SIMULATED
from seedbed.presentation.show.rows import Glyphs, Row, Segment, fitted, parts, row, wrapped
from seedbed.presentation.show.tables import gpu_table, summary_table
from seedbed.simulate.show import items
from seedbed.simulate.show.items import Item

_BAR_COLUMNS = (4, 24)
_NARROW, _WIDE = 40, 90
_OPS = {
    "all_reduce": "AllReduce",
    "reduce_scatter": "ReduceScatter",
    "all_gather": "AllGather",
    "broadcast": "Broadcast",
    "barrier": "Barrier",
}


def rows_of(item: Item | Event, width: int, glyphs: Glyphs) -> list[Row]:
    """The rows of an item, each at most `width` columns wide; none if the scrolling view does not show it."""
    make = _ROWS.get(type(item))
    found = make(item, width, glyphs) if make else []
    return [part for each in found for part in ([fitted(each, width)] if each.is_bar else wrapped(each, width))]


def clock(seconds: float) -> str:
    """Seconds as `12:07`, `3:05:09` or `2d 03:05`."""
    whole = max(round(seconds), 0)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"


def bar(share: float, columns: int, glyphs: Glyphs) -> str:
    """A bar of `columns` columns, of which `share` is full."""
    full = min(int(share * columns), columns)
    return glyphs.full * full + glyphs.empty * (columns - full)


def _info(topic: str, *pieces: str | tuple[str, str]) -> Row:
    return row((f"[{topic}] ", "blue"), *pieces)


# Initialisation ------------------------------------------------------------------------------------------------------


def _begins(item: items.RunBegins, width: int, glyphs: Glyphs) -> list[Row]:
    title = f" {SIMULATED} (seed {item.seed})  run {item.number} "
    if len(title) + 4 > width:
        title = f" {SIMULATED} seed {item.seed} "
    return [
        row((title.center(min(width - 1, LONGEST_RULE), "="), "bold")),
        _info("init", (item.model, "bold cyan"), f" on {item.num_gpus:,} x {item.gpu}"),
        _info("init", f"{text.plural(item.nodes, 'node')} x {item.gpus_per_node} GPUs, dataset {item.dataset}"),
    ]


def _model(item: items.ModelBuilt, width: int, glyphs: Glyphs) -> list[Row]:
    active = f", {text.count(item.active_parameters)} active" if item.experts else ""
    ffn = f"{item.experts} experts of {item.ffn} (top {item.top_k})" if item.experts else f"FFN {item.ffn}"
    return [
        _info("model", f"{item.name}: ", (f"{item.parameters:,} parameters", "bold"), active),
        _info("model", f"decoder, {item.layers} layers, hidden {item.hidden}, heads {item.heads} ({item.kv_heads} KV)"),
        _info("model", f"{ffn}, vocabulary {item.vocab:,}"),
    ]


def _tokenizer(item: items.TokenizerLoaded, width: int, glyphs: Glyphs) -> list[Row]:
    return [_info("tokenizer", f"Loaded {item.name}, {item.vocab:,} tokens")]


def _data(item: items.DataLoaded, width: int, glyphs: Glyphs) -> list[Row]:
    found = [
        _info("data", f"{item.name}: {item.documents:,} documents, {text.count(item.tokens)} tokens"),
        _info("data", f"Using {item.used_documents:,} documents of it for each epoch"),
        _info("data", f"Packed into {item.sequences:,} samples of {item.seq_len:,} tokens"),
    ]
    if item.domains:
        mixture = ", ".join(f"{name} {share:.0%}" for name, share in item.domains.items())
        found.append(_info("data", f"Multi-task mixture: {mixture}"))
    return found


def _rendezvous(item: items.Rendezvous, width: int, glyphs: Glyphs) -> list[Row]:
    return [
        _info("c10d", f"Rendezvous at master {item.host}:{item.port}, backend nccl"),
        _info("c10d", f"All {item.num_gpus:,} ranks of {text.plural(item.nodes, 'node')} joined"),
    ]


def _ring(item: items.Ring, width: int, glyphs: Glyphs) -> list[Row]:
    words = f"node-000 NCCL INFO Channel {item.channel:02d}/{item.channels:02d} :"
    for rank in item.ranks:
        if len(words) + len(f" {rank}") + 4 > width:
            break
        words += f" {rank}"
    return [row((words + " ...", "dim"))]


def _tree(item: items.Tree, width: int, glyphs: Glyphs) -> list[Row]:
    first, second, third = item.children
    return [row((f"rank {item.rank} NCCL INFO Trees [0] {first}/{second}/{third}->{item.rank}->{item.parent}", "dim"))]


def _connected(item: items.Connected, width: int, glyphs: Glyphs) -> list[Row]:
    words = f"NCCL INFO Connected all {item.what}, {item.channels} channels, {item.elapsed_s:.1f} s"
    return [row((words, "dim"))]


def _checked(item: items.GpusChecked, width: int, glyphs: Glyphs) -> list[Row]:
    last = item.first_node + item.nodes - 1
    where = f"node-{item.first_node:03d}" + (f" to node-{last:03d}" if item.nodes > 1 else "")
    memory = f", {text.size(item.memory_bytes)} each" if item.memory_bytes else ""
    return [_info("gpu", f"{where}: {item.gpus:,} x {item.gpu}{memory} ", ("OK", "green"))]


def _strategy(item: items.Strategy, width: int, glyphs: Glyphs) -> list[Row]:
    sharding = {
        0: "DDP, nothing sharded",
        1: f"optimizer sharded over {item.shard} ranks (ZeRO-1)",
        2: f"optimizer and gradients sharded over {item.shard} ranks (ZeRO-2)",
        3: f"FSDP full shard over {item.shard} ranks (ZeRO-3)",
    }[item.zero]
    sizes = {"DP": item.dp, "TP": item.tp, "PP": item.pp, "CP": item.cp}
    layout = " x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1 or name in ("DP", "TP"))
    more = (f", EP {item.ep}" if item.ep > 1 else "") + (f", interleave {item.interleave}" if item.pp > 1 else "")
    return [
        _info("strategy", (layout, "bold"), more),
        _info("strategy", f"{sharding}, recomputation: {item.recompute}"),
    ]


def _batch(item: items.Batch, width: int, glyphs: Glyphs) -> list[Row]:
    split = f"{item.micro_batch} x {item.accumulation} accumulation x {item.ranks} ranks"
    return [
        _info("batch", f"Global batch {item.sequences:,} samples = {split}"),
        _info("batch", f"{item.tokens:,} tokens per step, {item.per_gpu:.3g} samples per GPU"),
    ]


def _precision(item: items.Precision, width: int, glyphs: Glyphs) -> list[Row]:
    sums = "FP32" if item.reduce_bytes == 4 else "BF16"
    return [_info("precision", (item.name.upper(), "bold"), f" mixed precision, gradients summed in {sums}")]


def _learning_rate(item: items.LearningRate, width: int, glyphs: Glyphs) -> list[Row]:
    columns = min(len(item.samples), max(width - 6, 4))
    picked = [item.samples[number * len(item.samples) // columns] for number in range(columns)]
    picture = "".join(glyphs.levels[min(int(share * len(glyphs.levels)), len(glyphs.levels) - 1)] for share in picked)
    return [
        _info("lr", f"{item.kind} to {item.peak:.1e}, {item.warmup_steps} warm-up steps of {item.steps:,}"),
        _info("lr", (picture, "cyan")),
    ]


# Training ------------------------------------------------------------------------------------------------------------


def _training(item: items.Training, width: int, glyphs: Glyphs) -> list[Row]:
    number = f"{item.step:>{len(str(item.steps))}}/{item.steps}"
    pieces: list[str | tuple[str, str]] = [
        f"step {number}" if width >= _NARROW else number,
        (f"loss {item.loss:.4f}", "bold cyan"),
        f"ppl {item.perplexity:,.2f}",
        f"lr {item.lr:.2e}",
        f"grad_norm {item.grad_norm:.3f}",
        (f"{item.samples_per_s:,.1f} samples/s", "dim"),
        (f"step time {item.step_s:.2f} s", "dim"),
    ]
    line = parts(width, *pieces, between="  " if width >= _NARROW else " ")
    lines = [line] if len(line.segments) > 1 else [row(pieces[0]), row(pieces[1])]
    share = item.step_of_epoch / item.steps_of_epoch
    mfu = f", MFU {item.mfu:.1%}" if item.mfu is not None else ""
    label = f"{'Epoch ' if width >= _NARROW else ''}{item.epoch}/{item.epochs} {share:4.0%} "
    times = f" [{clock(item.elapsed_s)}<{clock(item.left_s)}"
    speed = f", {text.count(item.tokens_per_s)} tok/s"
    samples = f", {text.count(item.samples_per_s)} samples/s" if width > _WIDE else f", {item.samples_per_s:.0f} seq/s"
    for end in (times + speed + samples + mfu + "]", times + speed + mfu + "]", times + speed + "]", times + "]", ""):
        if len(label) + len(end) + _BAR_COLUMNS[0] + 2 < width:
            break
    segments = (Segment(label), *_picture(share, width - len(label) - len(end), glyphs), Segment(end))
    progress = Row(segments, is_bar=True, is_transient=share < 1, is_kept=item.is_milestone)
    return [*lines, fitted(progress, width - 1)]


def _picture(share: float, width: int, glyphs: Glyphs) -> tuple[Segment, ...]:
    """A bar in `width` columns, of which the last stays free; nothing if there is no room for one."""
    columns = min(width - 3, _BAR_COLUMNS[1])
    return (Segment("|" + bar(share, columns, glyphs) + "|", "green"),) if columns >= _BAR_COLUMNS[0] else ()


def _epoch_done(item: items.EpochDone, width: int, glyphs: Glyphs) -> list[Row]:
    words = f"{text.count(item.tokens)} tokens in {clock(item.elapsed_s)}, mean {text.count(item.tokens_per_s)} tok/s"
    return [_info("epoch", (f"{item.epoch}/{item.epochs} done: ", "bold"), words)]


def _comm(item: Comm, width: int, glyphs: Glyphs) -> list[Row]:
    op = _OPS.get(item.op, item.op)
    if not item.size_bytes:
        return [_info("comm", f"{op}: all ranks passed in {text.short_time(item.elapsed_s)}")]
    rate = item.size_bytes / item.elapsed_s / 1e9
    words = f"{op} {text.size(item.size_bytes)} in {text.short_time(item.elapsed_s)} ({rate:.0f} GB/s)"
    return [_info("comm", words, (f" step {item.step}" if item.step else "", "dim"))]


def _bar(item: items.Bar, width: int, glyphs: Glyphs) -> list[Row]:
    share = item.done / item.total
    count = f" {text.size(item.done)}" if item.unit == "B" else f" {item.done:,}/{item.total:,} {item.unit}"
    label = f"{item.what.capitalize()} {share:4.0%} "
    count = count if len(label) + len(count) + _BAR_COLUMNS[0] + 2 < width else ""
    segments = (Segment(label), *_picture(share, width - len(label) - len(count), glyphs), Segment(count))
    progress = Row(segments, is_bar=True, is_transient=not item.finished, is_kept=item.finished)
    return [fitted(progress, width - 1)]


def _phase(item: Phase, width: int, glyphs: Glyphs) -> list[Row]:
    return [_info("eval", f"Validation starts at step {item.step:,}")] if item.name == "evaluate" else []


def _validated(item: items.Validated, width: int, glyphs: Glyphs) -> list[Row]:
    best = (" (best so far)", "green") if item.best else ("", "")
    found = [_info("eval", (f"val_loss {item.loss:.4f}", "bold cyan"), f"  val_ppl {item.perplexity:,.2f}", best)]
    if item.domains:
        found.append(_info("eval", ", ".join(f"{name} {loss:.3f}" for name, loss in item.domains.items())))
    return found


def _early_stopping(item: items.EarlyStopping, width: int, glyphs: Glyphs) -> list[Row]:
    return [_info("eval", f"EarlyStopping counter: {item.count} of {item.patience}")]


# Checkpoints and failures --------------------------------------------------------------------------------------------


def _save_begins(item: items.SaveBegins, width: int, glyphs: Glyphs) -> list[Row]:
    return [_info("ckpt", f"Saving at step {item.step:,}; training waits {item.stall_s:.1f} s")]


def _shard(item: items.ShardSaved, width: int, glyphs: Glyphs) -> list[Row]:
    number = f"{item.number}/{item.of}"
    return [_info("ckpt", (f"shard {number:>7} ", "dim"), item.path, (f" {text.size(item.size_bytes)}", "dim"))]


def _checkpoint(item: items.CheckpointSaved, width: int, glyphs: Glyphs) -> list[Row]:
    best = (" (best model)", "green") if item.best else ("", "")
    words = f"Saved {item.path}, {text.size(item.size_bytes)} in {item.write_s:.1f} s"
    return [_info("ckpt", words, best)]


def _hanging(item: items.Hanging, width: int, glyphs: Glyphs) -> list[Row]:
    op = _OPS.get(item.op, item.op).upper()
    words = (
        f"[rank{item.rank}]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum={item.sequence}, "
        f"OpType={op}, Timeout(ms)={item.timeout_s * 1000:.0f})"
    )
    return [row((words, "red"))]


def _node(item: Node, width: int, glyphs: Glyphs) -> list[Row]:
    reason = f" ({item.reason})" if item.reason else ""
    style = {"failed": "red", "joined": "green"}.get(item.state, "yellow")
    return [_info("node", (f"node-{item.node:03d} {item.state}{reason}", style))]


def _message(item: Message, width: int, glyphs: Glyphs) -> list[Row]:
    if item.level == "info":
        return [row(f"[recovery] {item.text}")]
    return [row((f"WARNING: {item.text} {item.hint}".strip(), "yellow"))]


def _restarting(item: items.Restarting, width: int, glyphs: Glyphs) -> list[Row]:
    return [
        _info("recovery", f"Restart {item.attempt}: {text.plural(item.nodes, 'node')} meet again"),
        _info("recovery", "Loading the last complete checkpoint ..."),
    ]


def _restarted(item: items.Restarted, width: int, glyphs: Glyphs) -> list[Row]:
    words = f"All {item.num_gpus:,} ranks are back after {clock(item.elapsed_s)}"
    return [_info("recovery", (words, "green"))]


# The end -------------------------------------------------------------------------------------------------------------


def _export_begins(item: items.ExportBegins, width: int, glyphs: Glyphs) -> list[Row]:
    return [
        _info("export", f"Converting {item.source} to {item.format}"),
        _info("export", f"{item.precision}, {text.size(item.size_bytes)}, {text.plural(item.files, 'file')}, to"),
        _info("export", (item.target, "cyan")),
    ]


def _file(item: items.FileExported, width: int, glyphs: Glyphs) -> list[Row]:
    return [_info("export", f"{item.name:36}", (f" {text.size(item.size_bytes):>10}", "dim"))]


def _ends(item: items.RunEnds, width: int, glyphs: Glyphs) -> list[Row]:
    done = f"Training of {item.model} complete: loss {item.loss:.4f}, perplexity {item.perplexity:,.2f}"
    return [*(row(line) for line in summary_table(item, width)), row((done, "bold green"))]


def _next(item: items.Next, width: int, glyphs: Glyphs) -> list[Row]:
    words = f"Next: run {item.number}, {item.model} on {item.num_gpus:,} x {item.gpu}"
    return [row(""), row((words, "magenta")), row("")]


def _gpu_table(item: items.GpuTable, width: int, glyphs: Glyphs) -> list[Row]:
    return [row((line, "dim" if line.startswith("+") else "")) for line in gpu_table(item, width)]


_ROWS: dict[type, Callable[[Any, int, Glyphs], list[Row]]] = {
    items.RunBegins: _begins,
    items.ModelBuilt: _model,
    items.TokenizerLoaded: _tokenizer,
    items.DataLoaded: _data,
    items.Rendezvous: _rendezvous,
    items.Ring: _ring,
    items.Tree: _tree,
    items.Connected: _connected,
    items.GpusChecked: _checked,
    items.Strategy: _strategy,
    items.Batch: _batch,
    items.Precision: _precision,
    items.LearningRate: _learning_rate,
    items.Training: _training,
    items.EpochDone: _epoch_done,
    items.GpuTable: _gpu_table,
    items.Bar: _bar,
    items.Validated: _validated,
    items.EarlyStopping: _early_stopping,
    items.SaveBegins: _save_begins,
    items.ShardSaved: _shard,
    items.CheckpointSaved: _checkpoint,
    items.Hanging: _hanging,
    items.Restarting: _restarting,
    items.Restarted: _restarted,
    items.ExportBegins: _export_begins,
    items.FileExported: _file,
    items.RunEnds: _ends,
    items.Next: _next,
    Comm: _comm,
    Phase: _phase,
    Node: _node,
    Message: _message,
}
"""The function that makes the rows of each kind of item; other kinds are not shown."""
