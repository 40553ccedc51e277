"""The time of a training step on this machine: which operations a config's step has, and their measured seconds."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import NamedTuple

from msgspec.structs import replace

from seedbed.config.arithmetic import (
    Memory,
    count_parameters,
    divisors,
    flops_per_step,
    matrix_parameters,
    memory_estimate,
    padded_vocab,
)
from seedbed.config.durations import seconds_of
from seedbed.config.families.family import family, features
from seedbed.config.families.table import FAMILIES
from seedbed.config.ladder import computing_parameters
from seedbed.config.scaling import effective_tokens, law_for
from seedbed.config.schema import Config, DataConfig, ModelConfig, TokenizerConfig, TrainConfig
from seedbed.config.time_budget import (
    COMPILE_PAYS_FROM_S,
    END_S,
    MARGIN,
    MOST_FINAL_SHARE,
    SAMPLE_S,
    TIMED_COMPILE_FROM_S,
    final_tokens,
    save_s,
    steps_within,
)
from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate.constants import FORWARD_SHARE
from seedbed.simulate.cost import StepCost
from seedbed.simulate.failures import DAY_S
from seedbed.simulate.machine_rates import MachineRates, Sizes
from seedbed.simulate.shape import Shape
from seedbed.text import count, size

COMPILE_S = 25.0
"""Seconds that compiling takes: 21 to 27 s on two cores (train/compiling.py)."""
TOKENS_PER_PARAMETER = 20.0
USUAL_BATCH, USUAL_CONTEXT = 16, 1024
"""Sequences of a step, and tokens of a sequence at most, of a model that no config describes."""
NEWTON_SCHULZ_STEPS = 5
"""Iterations of the Muon updates that are measured."""
COMPILED_PASSES = {
    "rms norm": 2.0,
    "layer norm": 2.0,
    "head norm": 2.0,
    "rotation": 1.0,
    "swiglu": 3.0,
    "gelu": 2.0,
    "addition": 1.0,
}
"""Compiled code does these in passes over memory, forward and backward, for each number (assumed)."""
SWEEP = "memory pass"


class Operation(NamedTuple):
    """An operation of a step: the part of the step that it belongs to, its kind and sizes, and how often it is done."""

    part: str
    kind: str
    sizes: Sizes
    times: float = 1.0


class Prediction(NamedTuple):
    """The predicted step, and the same from each round of the measurement alone."""

    cost: StepCost
    rounds_s: tuple[float, ...]
    """Seconds of a step by the rates of each round."""
    compiled: bool

    @property
    def least_s(self) -> float:
        """The shortest step of a round."""
        return min(self.rounds_s)

    @property
    def most_s(self) -> float:
        """The longest step of a round."""
        return max(self.rounds_s)


def predict(
    config: Config, rates: MachineRates, *, vocab_size: int | None = None, steps: float | None = None
) -> Prediction:
    """Predict a step of this config on the machine of `rates`.

    `vocab_size`: that of the tokenizer, by default the config's. `steps`: how many the run has, which decides
    whether `train.compile = auto` compiles.
    """
    vocab_size = vocab_size or config.tokenizer.vocab_size
    passes = passes_of(config, vocab_size)
    compiled = compiles(config, rates, _median(passes, rates), steps)
    if compiled:
        passes = [_compiled(each) for each in passes]
    every = passes + update_of(config, vocab_size)
    tokens = config.train.batch_size * config.model.context
    rounds = _seconds(every, rates)
    step_s = statistics.median(rounds)
    names = dict.fromkeys(each.part for each in every)
    by_part = {part: _median([each for each in every if each.part == part], rates) for part in names}
    factor = step_s / sum(by_part.values())  # the medians of the parts add up to about the median of the step
    flops = flops_per_step(config.model, vocab_size, config.train.batch_size)
    cost = StepCost(
        step_s,
        {part: seconds * factor for part, seconds in by_part.items()},
        tokens / step_s,
        tokens / step_s,
        flops / step_s / rates.best_matmul,
    )
    return Prediction(cost, rounds, compiled)


def compiles(config: Config, rates: MachineRates, passes_s: float, steps: float | None) -> bool:
    """Whether the run would be compiled, by the rule of the job; `passes_s`: seconds of a step without its update."""
    asked = config.train.compile
    if asked != "auto" or not rates.compiler or steps is None:
        return asked == "on" and rates.device != "mps"
    return passes_s * steps > COMPILE_PAYS_FROM_S


def passes_of(config: Config, vocab_size: int) -> list[Operation]:
    """The operations of all forward and backward passes of a step."""
    model, train = config.model, config.train
    sequences = train.micro_batch or train.batch_size
    leaves = train.batch_size / sequences
    tokens = sequences * model.context
    rows = padded_vocab(model, vocab_size)
    built = features(model)
    norm = {"rms": "rms norm", "layer": "layer norm"}[built.norm]
    values = tokens * model.hidden
    found = [
        Operation("embedding", "embedding", (values + rows * model.hidden,)),
        Operation("element-wise", norm, (values,)),
        Operation("output layer", "loss", (tokens, rows, model.hidden)),
        *(each._replace(times=each.times * model.layers) for each in _layer(config, sequences, norm)),
    ]
    if built.positions == "learned":
        found.append(Operation("embedding", "embedding", (values + model.context * model.hidden,)))
    return [each._replace(times=each.times * leaves) for each in found]


def _layer(config: Config, sequences: int, norm: str) -> list[Operation]:
    """The operations of one layer."""
    model, built = config.model, features(config.model)
    tokens = sequences * model.context
    attended = model.heads * model.head_dim
    heads = (model.heads + model.kv_heads) * model.head_dim
    qkv = (model.heads + 2 * model.kv_heads) * model.head_dim
    ups = 2 if built.mlp == "swiglu" else 1
    attention = "masked attention" if config.data.document_mask else "attention"
    values = tokens * model.hidden
    found = [
        Operation("matmuls", "matmul", (tokens, model.hidden, qkv)),
        Operation("matmuls", "matmul", (tokens, attended, model.hidden)),
        Operation("matmuls", "matmul", (tokens, model.hidden, ups * model.ffn)),
        Operation("matmuls", "matmul", (tokens, model.ffn, model.hidden)),
        Operation("attention", attention, (sequences * model.heads, model.context, model.head_dim)),
        Operation("element-wise", norm, (values,), 2),
        Operation("element-wise", built.mlp, (tokens * model.ffn,)),
        Operation("element-wise", "addition", (values,), 2),
    ]
    if built.qk_norm:
        found.append(Operation("element-wise", "head norm", (tokens * heads,)))
    if built.positions == "rotary":
        found.append(Operation("element-wise", "rotation", (tokens * heads,)))
    # The gradient of a bias is a sum over tokens: one more pass over the gradient of its output.
    biased = built.qkv_bias * qkv + built.out_bias * model.hidden + built.mlp_bias * (ups * model.ffn + model.hidden)
    if biased:
        found.append(Operation("element-wise", SWEEP, (tokens * biased,)))
    return found


def update_of(config: Config, vocab_size: int) -> list[Operation]:
    """The operations of the optimizer's update, with the norm of the gradients and the new working weights."""
    model, optimizer = config.model, config.optimizer
    parameters = count_parameters(model, vocab_size)
    found = [Operation("gradients", "gradients", (parameters,))]
    if optimizer.name != "muon":
        return [*found, Operation("optimizer", "adamw", (parameters,))]
    found.append(Operation("optimizer", "adamw", (parameters - matrix_parameters(model),)))
    share = optimizer.ns_steps / NEWTON_SCHULZ_STEPS
    for (short, long), number in _matrices(model).items():
        found.append(Operation("optimizer", "muon", (number * model.layers, short, long), share))
    return found


def _matrices(model: ModelConfig) -> Counter[tuple[int, int]]:
    """The number of matrices of each shape in a layer, its shorter side first; Muon updates each on its own."""
    hidden, q, kv = model.hidden, model.heads * model.head_dim, model.kv_heads * model.head_dim
    ups = 2 if features(model).mlp == "swiglu" else 1
    shapes = [(q, hidden), (kv, hidden), (kv, hidden), (hidden, q), *[(model.ffn, hidden)] * ups, (hidden, model.ffn)]
    return Counter((min(shape), max(shape)) for shape in shapes)


def _compiled(operation: Operation) -> Operation:
    """The operation as compiled code does it: element-wise work in few passes over memory."""
    passes = COMPILED_PASSES.get(operation.kind)
    if passes is None:
        return operation
    return operation._replace(kind=SWEEP, times=operation.times * passes)


def _seconds(operations: list[Operation], rates: MachineRates) -> tuple[float, ...]:
    """Seconds of all operations, by the rates of each round."""
    each = [[one.times * s for s in rates.seconds(one.kind, one.sizes)] for one in operations]
    return tuple(sum(round_) for round_ in zip(*each, strict=True))


def _median(operations: list[Operation], rates: MachineRates) -> float:
    return statistics.median(_seconds(operations, rates))


class LocalPlan(NamedTuple):
    """What training a config on this machine needs. Times in seconds, sizes in bytes."""

    name: str
    config: Config
    rates: MachineRates
    predicted: Prediction
    memory: Memory
    steps: int
    assumed: tuple[str, ...]
    target_days: float | None = None
    validation_tokens: float | None = None
    """Tokens of the whole validation text; None if that is not known before it is read."""
    training_tokens: float | None = None
    """Tokens of the training text, each counted once; None if that is not known before it is read."""

    @property
    def passes(self) -> float | None:
        """How many times the run trains on its text; None if the size of the text is not known."""
        return self.tokens / self.training_tokens if self.training_tokens else None

    @property
    def tokens(self) -> float:
        """Tokens of all steps."""
        return float(self.steps * self.config.train.batch_size * self.config.model.context)

    @property
    def train_s(self) -> float:
        """Seconds of the steps alone."""
        return self.steps * self.predicted.cost.step_s

    @property
    def validation_s(self) -> float | None:
        """Seconds of the validations during training; None if the size of their text is not known."""
        train = self.config.train
        times = (self.steps - 1) // train.eval_every if train.eval_every else 0
        if not times:
            return 0.0
        tokens = compared_tokens(train, self.validation_tokens)
        return None if tokens is None else times * tokens * eval_token_s(self.predicted)

    @property
    def closing_s(self) -> float | None:
        """Seconds that a run with a time keeps for its last validation, samples and save, and unplanned; None without a time."""
        if self.config.train.time is None:
            return None
        time_s = seconds_of(self.config.train.time)
        return _closing_s(self.config, self.predicted, time_s, self.validation_tokens) + MARGIN * time_s

    @property
    def wall_s(self) -> float:
        """Seconds of steps, compilation and the validations between them, as far as their text is known; or the given time."""
        if self.config.train.time is not None:
            return seconds_of(self.config.train.time)
        return self.train_s + (self.validation_s or 0.0) + (COMPILE_S if self.predicted.compiled else 0.0)

    @property
    def target_kept(self) -> bool | None:
        """Whether the training ends within the target; None without one."""
        return None if self.target_days is None else self.wall_s <= self.target_days * DAY_S

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return count_parameters(self.config.model, self.config.tokenizer.vocab_size)

    @property
    def loss(self) -> float:
        """Expected loss in nats per token, by the law with which `train --for` chooses sizes; at most that of guessing."""
        vocab_size = self.config.tokenizer.vocab_size
        tokens = effective_tokens(self.tokens, self.training_tokens or self.tokens)
        loss = law_for(self.config.data.source).loss(computing_parameters(self.config.model, vocab_size), tokens)
        return min(loss, math.log(vocab_size))


def plan_here(
    name: str,
    config: Config,
    rates: MachineRates,
    *,
    tokens: float | None = None,
    assumed: tuple[str, ...] = (),
    target_days: float | None = None,
    validation_tokens: float | None = None,
    training_tokens: float | None = None,
) -> LocalPlan:
    """Plan the training of a config on the machine of `rates`.

    `tokens`: how many to train on, for a config that does not say it in steps, tokens or time. `validation_tokens`: those
    of the whole validation text, if they are known; `training_tokens`: those of the training text, each counted once.
    Raises SeedbedError if the model does not fit into memory.
    """
    train, vocab_size = config.train, config.tokenizer.vocab_size
    step_tokens = train.batch_size * config.model.context
    memory = check_memory(name, config, rates.precision, rates.total_bytes)
    if train.time is not None:
        time_s = seconds_of(train.time)
        predicted = predict(config, rates, steps=math.inf if time_s > TIMED_COMPILE_FROM_S else 1)
        steps = max(1, _steps_within(config, predicted, time_s, validation_tokens))
    else:
        if train.tokens is not None:
            tokens = train.tokens
        if train.steps is not None:
            steps = train.steps
        else:
            if tokens is None:
                tokens = TOKENS_PER_PARAMETER * count_parameters(config.model, vocab_size)
                assumed = (
                    *assumed,
                    f"{count(tokens)} tokens, {TOKENS_PER_PARAMETER:g} for each parameter (Chinchilla)",
                )
            steps = max(1, math.ceil(tokens / step_tokens))
        predicted = predict(config, rates, steps=steps)
    return LocalPlan(
        name, config, rates, predicted, memory, steps, assumed, target_days, validation_tokens, training_tokens
    )


def compared_tokens(train: TrainConfig, everything: float | None) -> float | None:
    """The tokens of a validation during training; None if they are those of a text of unknown size."""
    if everything is None:
        return float(train.eval_tokens) if train.eval_tokens else None
    return min(float(train.eval_tokens or everything), everything)


def eval_token_s(predicted: Prediction) -> float:
    """Seconds to validate a token: its forward pass takes a third of the time of a step per token."""
    return FORWARD_SHARE / predicted.cost.tokens_per_s


def _closing_s(config: Config, predicted: Prediction, time_s: float, everything: float | None) -> float:
    """Seconds from the last step to the end of a run with a time of `time_s`, as the job plans them before its first step."""
    compared = compared_tokens(config.train, everything) or 0.0
    asked = (compared, compared if everything is None else everything, eval_token_s(predicted))
    final_s = eval_token_s(predicted) * final_tokens(*asked, MOST_FINAL_SHARE * time_s)
    checkpoint_bytes = memory_estimate(config, config.tokenizer.vocab_size, "fp32").snapshot
    return final_s + SAMPLE_S + save_s(checkpoint_bytes) + END_S


def _steps_within(config: Config, predicted: Prediction, time_s: float, everything: float | None) -> int:
    """The steps of a run with a time of `time_s`, by the formula of the job."""
    return steps_within(
        time_s - (COMPILE_S if predicted.compiled else 0.0),
        time_s,
        closing_s=_closing_s(config, predicted, time_s, everything),
        step_s=predicted.cost.step_s,
        eval_s=(compared_tokens(config.train, everything) or 0.0) * eval_token_s(predicted),
        eval_every=config.train.eval_every,
    )


def check_memory(name: str, config: Config, precision: str, total_bytes: int) -> Memory:
    """The memory of a training step. Raises SeedbedError if a device with `total_bytes` does not have it, with what does fit."""
    vocab_size = config.tokenizer.vocab_size
    found = memory_estimate(config, vocab_size, precision)
    if found.total <= total_bytes:
        return found
    message = (
        f"{name} does not fit into the memory of this machine: a step needs {size(found.total)}, "
        f"{size(found.total - total_bytes)} more than the {size(total_bytes)} that it has."
    )
    micro = _fitting_micro_batch(config, precision, total_bytes)
    if micro is not None:
        raise SeedbedError(message, f"It fits with train.micro_batch = {micro} in a config file.")
    raise SeedbedError(message, "Plan a smaller model, or other hardware, such as --gpu 8xH100.")


def _fitting_micro_batch(config: Config, precision: str, total_bytes: int) -> int | None:
    """The largest micro-batch that fits into the memory; None if none does."""
    vocab_size = config.tokenizer.vocab_size
    for sequences in reversed(divisors(config.train.batch_size)):
        smaller = replace(config, train=replace(config.train, micro_batch=sequences))
        if memory_estimate(smaller, vocab_size, precision).total <= total_bytes:
            return sequences
    return None


def config_of(shape: Shape, *, seq_len: int | None = None, batch_size: int = USUAL_BATCH) -> Config:
    """The config with which Seedbed would train a model of this shape, on a text that is not named.

    Raises UsageError for models that it does not train.
    """
    if shape.experts or shape.latent_kv or shape.window:
        kind = (
            "a mixture of experts" if shape.experts else "latent attention" if shape.latent_kv else "a sliding window"
        )
        raise UsageError(
            f"Seedbed does not train {shape.name} on this machine: it has {kind}.",
            "Give a dense model, or plan it for other hardware, such as --gpu 64xH100.",
        )
    layout = next(each for each in FAMILIES if (family(each).features.mlp == "swiglu") == shape.gated)
    kv_heads, head_dim = shape.kv_heads, shape.head_dim
    if not shape.gated:
        kv_heads, head_dim = shape.heads, shape.hidden // shape.heads
    model = ModelConfig(
        layout=layout,
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=shape.ffn,
        context=seq_len or min(shape.context, USUAL_CONTEXT),
        tie_embeddings=shape.tied,
    )
    return Config(
        preset="",
        model=model,
        data=DataConfig(source=""),
        tokenizer=TokenizerConfig(vocab_size=shape.vocab),
        train=TrainConfig(batch_size=batch_size),
    )
