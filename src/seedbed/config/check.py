"""Check a config for problems, given figures about the data and the machine, which are not read here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from seedbed import text
from seedbed.config.arithmetic import Memory, count_parameters, divisors, memory_estimate, table_parameters
from seedbed.config.scaling import reuse_passes
from seedbed.config.schema import Config, TrainConfig

ADAMW_LR_LIMIT = 0.01
"""Peak learning rates of this and more are too high for AdamW: nanoGPT's smallest models use 1e-3, GPT-2's use 6e-4."""

BASE_LR_LIMITS = {"adamw": 1e-3, "muon": 0.01}
"""Peak learning rates of this and more suit a training from scratch, and erase most of what a trained model has learned."""

MUON_LR_LIMIT = 0.5
"""Peak learning rates of this and more are too high for Muon.

Its rate is about the spectral norm of one update. The usual peak is 0.02, and the matrices themselves have a norm of 2.
"""

MANY_PASSES = 4
"""More passes over the same text teach a trained model little (Muennighoff et al. 2023, arXiv 2305.16264)."""

MANY_TIMES = 4
"""A run that needs this many times the memory of the machine cannot train, even if the estimate is too high."""

HELD_BACK = 1.33
"""Ratio of memory used to memory needed, since the C library keeps freed blocks (1.1 to 1.5 measured with glibc)."""


_LEAST_CONTEXT = 8
"""The smallest `model.context` (tokens per sequence) that a hint recommends."""


class Finding(NamedTuple):
    """A problem that the user should know before training: what (`text`), `why`, and the option to change (`hint`)."""

    level: Literal["error", "warning"]
    code: str
    text: str
    why: str
    hint: str


def check(
    config: Config,
    *,
    vocab_size: int | None = None,
    train_tokens: int | None = None,
    validation_tokens: int | None = None,
    free_disk_bytes: int | None = None,
    free_memory_bytes: int | None = None,
    total_memory_bytes: int | None = None,
    free_main_memory_bytes: int | None = None,
    precision: str | None = None,
) -> list[Finding]:
    """The problems of a config, errors first. A check is skipped if a figure that it needs is None.

    `vocab_size` is the tokenizer's actual size (default: tokenizer.vocab_size). `free_memory_bytes` and
    `total_memory_bytes` describe the device that trains; `free_main_memory_bytes` is given only if that device is a GPU
    with its own memory. An error means that training cannot work; a warning, that the results may be poor.
    """
    vocabulary = config.tokenizer.vocab_size if vocab_size is None else vocab_size
    found = [*_of_settings(config), *_of_vocabulary(config, vocabulary)]
    if train_tokens is not None:
        found += _of_training_text(config, vocabulary, train_tokens)
    if validation_tokens is not None:
        found += _of_validation_text(config, validation_tokens)
    if free_disk_bytes is not None:
        found += _of_disk(config, vocabulary, free_disk_bytes)
    decided = precision or ("fp32" if config.train.precision == "auto" else config.train.precision)
    outsized = [] if total_memory_bytes is None else list(_of_capacity(config, vocabulary, total_memory_bytes, decided))
    found += outsized
    if free_memory_bytes is not None and not outsized:
        found += _of_memory(config, vocabulary, free_memory_bytes, decided)
    if free_main_memory_bytes is not None:
        found += _of_snapshot(config, vocabulary, free_main_memory_bytes)
    return sorted(found, key=lambda finding: finding.level != "error")


def checkpoint_bytes(config: Config, vocab_size: int) -> int:
    """Size of one checkpoint in bytes: fp32 weights and optimizer state."""
    return memory_estimate(config, vocab_size, "fp32").snapshot


def kept_bytes(config: Config, vocab_size: int) -> int:
    """The most bytes that a run's checkpoints use on disk: those kept, and one written before another is deleted."""
    return (kept_checkpoints(config.train) + 1) * checkpoint_bytes(config, vocab_size)


def _of_settings(config: Config) -> Iterator[Finding]:
    train, optimizer, context = config.train, config.optimizer, config.model.context
    if optimizer.lr == 0:
        yield Finding(
            "warning", "lr-zero", "The learning rate is 0.", "Nothing will be learned.", "Set optimizer.lr above 0."
        )
    if config.base.model and optimizer.lr >= BASE_LR_LIMITS[optimizer.name]:
        yield Finding(
            "warning",
            "lr-high",
            f"A learning rate of {optimizer.lr:g} is high for training on from a model.",
            "The model will lose much of what it has learned before.",
            "Leave out optimizer.lr, or set it to about 5e-5 with AdamW.",
        )
    elif optimizer.name == "adamw" and optimizer.lr >= ADAMW_LR_LIMIT:
        yield Finding(
            "warning",
            "lr-high",
            f"A learning rate of {optimizer.lr:g} is very high for AdamW.",
            "Rates of 0.01 and more are for Muon; with AdamW, training usually diverges.",
            "Set optimizer.lr to about 1e-3.",
        )
    if optimizer.name == "muon" and max(optimizer.lr, optimizer.adam_lr, optimizer.head_lr) >= MUON_LR_LIMIT:
        key = max(("lr", "adam_lr", "head_lr"), key=lambda name: float(getattr(optimizer, name)))
        yield Finding(
            "warning",
            "lr-high",
            f"optimizer.{key} = {getattr(optimizer, key):g} is very high.",
            "Rates of 0.5 and more usually destroy the weights in a few steps.",
            f"Set optimizer.{key} to about {0.02 if key == 'lr' else 0.01}.",
        )
    if train.sample_tokens >= context and not config.base.model:
        yield Finding(
            "warning",
            "sample-length",
            f"A prompt and a sample of {train.sample_tokens} tokens do not fit into the model's "
            f"{text.plural(context, 'position')}.",
            "At the end of a sample, the model no longer sees its start.",
            f"Set train.sample_tokens below {context}, or set a larger model.context.",
        )
    if train.keep_every and (not train.checkpoint_every or train.keep_every % train.checkpoint_every):
        every = math.lcm(train.keep_every, train.checkpoint_every) if train.checkpoint_every else None
        yield Finding(
            "warning",
            "keep-every",
            f"train.keep_every = {train.keep_every} keeps "
            + (
                f"only the checkpoints of every {text.plural(every, 'step')}." if every else "only the last checkpoint."
            ),
            f"Checkpoints are written every {text.plural(train.checkpoint_every, 'step')}."
            if every
            else "A checkpoint is written only at the end (train.checkpoint_every = 0).",
            "Set train.keep_every to a multiple of train.checkpoint_every.",
        )
    steps = train.steps or 0
    if train.early_stop and 0 < steps < train.eval_every:
        yield Finding(
            "warning",
            "early-stop",
            f"Early stopping has no effect: validations are {text.plural(train.eval_every, 'step')} apart, and the run has "
            f"{text.plural(steps, 'step')}.",
            "Early stopping counts validations without a better loss.",
            "Set a smaller train.eval_every.",
        )


def _of_vocabulary(config: Config, vocab_size: int) -> Iterator[Finding]:
    model = config.model
    if vocab_size < 2:
        yield Finding(
            "error",
            "vocabulary",
            f"The tokenizer has only {vocab_size} token{'' if vocab_size == 1 else 's'}.",
            "With fewer than two tokens there is nothing to predict.",
            "Set a larger tokenizer.vocab_size, or use more text.",
        )
        return
    parameters, tables = count_parameters(model, vocab_size), table_parameters(model, vocab_size)
    if tables > 0.75 * parameters and not config.base.model:
        yield Finding(
            "warning",
            "vocabulary",
            f"{tables / parameters:.0%} of the model's {text.count(parameters)} parameters are in token tables (embedding, "
            "head).",
            f"A vocabulary of {vocab_size:,} is large for a model this small.",
            "Set a smaller tokenizer.vocab_size, or a larger model (model.hidden, model.layers).",
        )


def _of_training_text(config: Config, vocab_size: int, tokens: int) -> Iterator[Finding]:
    context, batch = config.model.context, config.train.batch_size
    if tokens <= context:
        yield Finding(
            "error",
            "data-short",
            f"The training text is too short: it has {text.plural(tokens, 'token')}, and one window needs {context + 1:,}.",
            "A window consists of model.context tokens and the token to predict after them.",
            "Use more text" + (f", or set model.context to {tokens - 1} or less." if tokens > _LEAST_CONTEXT else "."),
        )
        return
    windows = tokens // context
    if windows < batch:
        yield Finding(
            "warning",
            "data-batch",
            f"The training text fills {text.plural(windows, 'window')}, less than one batch of {batch:,}.",
            "Every step trains on some text more than once.",
            "Use more text, or set a smaller train.batch_size or model.context.",
        )
    parameters = count_parameters(config.model, vocab_size)
    passes = trained_tokens(config.train, context, windows) / tokens
    if not config.base.model and tokens < parameters and passes > 1:
        yield Finding(
            "warning",
            "data-small",
            f"The training text is small: {text.count(tokens)} tokens for a model with {text.count(parameters)} parameters.",
            "The model will memorise the text and generalise poorly "
            f"(this run trains on the text {text.count(passes)} times).",
            "Use more text, a smaller preset or fewer train.epochs, or set train.early_stop = 3.",
        )
    elif repeated := repetition(passes, is_trained=bool(config.base.model)):
        yield repeated


def repetition(passes: float, *, is_trained: bool, is_timed: bool = False) -> Finding | None:
    """The warning about a run that trains on its text `passes` times; None if these are not too many.

    A trained model (`is_trained`, a base) gains nothing after MANY_PASSES; one from scratch learns from up to `reuse_passes`
    of facts/dial.json. `is_timed`: a time says how long the run is, so a shorter one is the way out.
    """
    most = MANY_PASSES if is_trained else reuse_passes()
    if passes <= most:
        return None
    shorter = "a shorter time" if is_timed else "fewer train.epochs or train.steps"
    return Finding(
        "warning",
        "data-small",
        f"This run trains on the text {f'{passes:,.0f}' if passes >= 100 else text.count(passes)} times.",
        f"After about {most:g} passes, the model learns the text by heart, and gets worse on other text.",
        f"Use more text or {shorter}, or set train.early_stop = 3.",
    )


def trained_tokens(train: TrainConfig, context: int, windows_per_epoch: int) -> float:
    """Number of tokens, repetitions included, that a run of the configured length trains on."""
    if train.steps is not None:
        return float(train.steps * train.batch_size * context)
    if train.epochs is not None:
        return train.epochs * windows_per_epoch * context
    return float(train.tokens or 0)


def _of_validation_text(config: Config, tokens: int) -> Iterator[Finding]:
    hint = "Use more text, a larger data.validation, or data.validation_path."
    if tokens < 2:
        yield Finding(
            "error",
            "validation-short",
            f"The validation text is too short: it has {tokens} token{'' if tokens == 1 else 's'}.",
            "Validation needs at least two tokens: one as the input and one to predict.",
            hint,
        )
        return
    context, batch = config.model.context, config.train.batch_size
    if tokens <= context * batch:
        windows = tokens / context
        yield Finding(
            "warning",
            "validation-small",
            f"The validation text is small: {text.plural(tokens, 'token')} ({text.plural(windows, 'window', f'{windows:.1f}')}), "
            f"less than one batch of {batch} windows.",
            "The validation loss will be noisy, and the choice of the best checkpoint partly random.",
            hint,
        )


def _of_disk(config: Config, vocab_size: int, free: int) -> Iterator[Finding]:
    size, kept, needed = (
        checkpoint_bytes(config, vocab_size),
        kept_checkpoints(config.train),
        kept_bytes(config, vocab_size),
    )
    if needed > free:
        yield Finding(
            "error",
            "disk",
            f"Checkpoints need up to {text.size(needed)} of disk space, but only {text.size(free)} are free.",
            f"One checkpoint needs {text.size(size)}; {kept} are kept, and the next is written before the oldest is deleted.",
            "Free some space, choose another --runs folder, or set a smaller train.keep_last or train.keep_best = false."
            + (" Increase train.keep_every, or set it to 0." if _kept_for_good(config.train) else ""),
        )


def kept_checkpoints(train: TrainConfig) -> int:
    """The most checkpoints that a run has at its end."""
    return (train.keep_last if train.checkpoint_every else 1) + train.keep_best + _kept_for_good(train)


def _kept_for_good(train: TrainConfig) -> int:
    """Number of checkpoints at the end of a run that only `keep_every` keeps; 0 if its length is not given in steps."""
    if not (train.keep_every and train.checkpoint_every and train.steps):
        return 0
    return max(train.steps // math.lcm(train.keep_every, train.checkpoint_every) - train.keep_last, 0)


def _of_capacity(config: Config, vocab_size: int, total: int, precision: str) -> Iterator[Finding]:
    estimate = memory_estimate(config, vocab_size, precision)
    if estimate.weights + estimate.optimizer > total or estimate.total > MANY_TIMES * total:
        yield Finding(
            "error",
            "memory",
            f"Training needs about {text.size(estimate.total)} of memory, but this machine has {text.size(total)}.",
            _parts(estimate),
            _smaller(config, vocab_size, total, precision),
        )


def _of_memory(config: Config, vocab_size: int, free: int, precision: str) -> Iterator[Finding]:
    estimate = memory_estimate(config, vocab_size, precision)
    if estimate.total * HELD_BACK <= free:
        return
    cannot = estimate.weights + estimate.optimizer > free
    yield Finding(
        "error" if cannot else "warning",
        "memory",
        f"Training needs about {text.size(estimate.total)} of memory, or up to a third more, but only {text.size(free)} are "
        "free.",
        f"{_parts(estimate)} The C library may keep some of the memory that is freed.",
        _smaller(config, vocab_size, free, precision),
    )


def _of_snapshot(config: Config, vocab_size: int, free: int) -> Iterator[Finding]:
    needed = checkpoint_bytes(config, vocab_size)
    if needed > free:
        yield Finding(
            "warning",
            "main-memory",
            f"A checkpoint needs {text.size(needed)} of main memory while it is written, but only {text.size(free)} are "
            "free.",
            "Weights and optimizer state are copied from the GPU, so that training can continue during the save.",
            "Use a machine with more main memory, or a smaller model.",
        )


def _parts(estimate: Memory) -> str:
    parts = {
        "weights": estimate.weights,
        "gradients": estimate.gradients,
        "optimizer": estimate.optimizer,
        "activations": estimate.activations,
        "logits": estimate.logits,
        "batches and runtime": estimate.runtime,
    }
    listed = ", ".join(f"{name} {text.size(num_bytes)}" for name, num_bytes in parts.items())
    return f"{listed[0].upper()}{listed[1:]}."


def _smaller(config: Config, vocab_size: int, available: int, precision: str) -> str:
    """The hint that says what to set so that the run needs at most `available` bytes of memory."""
    if fits := _next_micro_batch(config, vocab_size, available, precision):
        return f"Set train.micro_batch to {fits}: the same batch in smaller pieces, with equal results."
    one = _with_micro_batch(config, 1, vocab_size, precision)
    if one.fixed > available:
        return (
            "Train on from a smaller model."
            if config.base.model
            else "Choose a smaller preset, model.hidden, model.layers or tokenizer.vocab_size."
        )
    if one.runtime > available:
        return "Set a smaller train.batch_size."
    return f"Set a smaller model.context, or choose a smaller {'model' if config.base.model else 'preset'}."


def fitting_micro_batch(config: Config, vocab_size: int, free: int, precision: str) -> int:
    """The train.micro_batch with which a batch fits into `free` bytes: 0 for the whole batch, 1 if not even 1 fits."""
    if memory_estimate(config, vocab_size, precision).total * HELD_BACK <= free:
        return 0
    return _next_micro_batch(config, vocab_size, free, precision) or 1


def _next_micro_batch(config: Config, vocab_size: int, free: int, precision: str) -> int:
    """The largest train.micro_batch (sequences at a time) that fits into `free` bytes; 0 if not even 1 fits."""
    now = config.train.micro_batch or config.train.batch_size
    for rows in reversed(divisors(config.train.batch_size)):
        if rows < now and _with_micro_batch(config, rows, vocab_size, precision).total * HELD_BACK <= free:
            return rows
    return 0


def _with_micro_batch(config: Config, rows: int, vocab_size: int, precision: str) -> Memory:
    train = msgspec.structs.replace(config.train, micro_batch=rows)
    return memory_estimate(msgspec.structs.replace(config, train=train), vocab_size, precision)
