"""How much memory a model needs to run, to train, and to tune with adapters; from its shape alone."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from seedbed.config.arithmetic import count_parameters, memory_estimate
from seedbed.config.schema import Config, ModelConfig, OptimizerConfig, TokenizerConfig, TrainConfig
from seedbed.simulate.catalog import DEFAULT_GPU, gpu, shape_of
from seedbed.simulate.lora import lora_input_width, lora_parameters
from seedbed.simulate.memory import CONTEXT_GIB, GIB, memory_of
from seedbed.simulate.request import LORA_RANK
from seedbed.simulate.setup import Layout, Recipe, Setup

RUN_TOKENS = 2048
"""Tokens of the text with which running a model is estimated."""
SEQUENCES, WINDOW = 8, 512
"""Sequences of a step, and their tokens, with which training is estimated: the defaults of `train --from`."""
TUNED_SEQUENCES = 4
"""Sequences of a step with which tuning is estimated."""
PROCESS_BYTES = 250 << 20
"""Memory of a process that has imported PyTorch, on a CPU (measured: 240 MB)."""
RANK = LORA_RANK


class Need(msgspec.Struct, frozen=True):
    """The memory that one kind of work needs, with what it was computed for."""

    work: str
    """run, train, lora or qlora."""
    size_bytes: int
    precision: str
    sequences: int
    tokens: int
    """Tokens of each sequence."""
    cuda_bytes: int = 0
    """What CUDA itself takes of the memory of a GPU, which is part of `size_bytes`; 0 if no GPU is used."""


def needs(
    model: ModelConfig, vocab_rows: int, *, on_gpu: bool, runs_in: str = "fp32", trains_in: str = "fp32"
) -> list[Need]:
    """The memory to run, to train and to tune a model: on a GPU in bf16, on a CPU in the given precisions.

    To tune with 4-bit weights (QLoRA) is estimated for a GPU in any case. Estimates; docs/planner.md has their errors.
    """
    cuda = int(CONTEXT_GIB * GIB)
    of_cuda = cuda if on_gpu else 0
    fixed = of_cuda or PROCESS_BYTES
    running, precision = ("bf16", "bf16") if on_gpu else (runs_in, trains_in)
    longest = model.longest_context
    run_tokens = min(RUN_TOKENS, longest)
    found = [Need("run", _run_bytes(model, vocab_rows, run_tokens, running) + fixed, running, 1, run_tokens, of_cuda)]
    window = min(WINDOW, longest)
    config = Config(
        model=replace(model, context=window, max_context=longest),
        tokenizer=TokenizerConfig(vocab_size=vocab_rows),
        optimizer=OptimizerConfig(name="adamw"),
        train=TrainConfig(batch_size=SEQUENCES),
    )
    train_bytes = memory_estimate(config, vocab_rows, precision, on_gpu=on_gpu).total + fixed
    found.append(Need("train", train_bytes, precision, SEQUENCES, window, of_cuda))
    tuned = replace(config, train=TrainConfig(batch_size=TUNED_SEQUENCES))
    lora_bytes = _adapter_bytes(tuned, "lora", precision, on_gpu=on_gpu)
    found.append(Need("lora", lora_bytes, precision, TUNED_SEQUENCES, window, of_cuda))
    qlora_bytes = _adapter_bytes(tuned, "qlora", "bf16", on_gpu=True)
    found.append(Need("qlora", qlora_bytes, "bf16", TUNED_SEQUENCES, window, cuda))
    return found


def _run_bytes(model: ModelConfig, vocab_rows: int, tokens: int, precision: str) -> int:
    """Weights, keys and values of the earlier tokens, and the logits of one token in fp32."""
    value_bytes = 4 if precision == "fp32" else 2
    cache = 2 * model.layers * model.kv_heads * model.head_dim * tokens
    return value_bytes * (count_parameters(model, vocab_rows) + cache) + 8 * vocab_rows


def _adapter_bytes(config: Config, method: str, precision: str, *, on_gpu: bool) -> int:
    """Memory to train adapters on all matrices: on a GPU what its driver reports, on a CPU without the GPU's own memory."""
    shape = shape_of("model", config)
    rank = min(RANK, shape.hidden)
    setup = Setup(
        shape=shape,
        gpu=gpu(DEFAULT_GPU),
        num_gpus=1,
        layout=Layout(micro_batch=config.train.batch_size),
        recipe=Recipe(
            seq_len=config.model.context,
            global_batch=config.train.batch_size,
            precision=precision,
            method=method,
            lora_parameters=lora_parameters(shape, rank),
            lora_input_width=lora_input_width(shape),
            chunked_loss=True,
        ),
        network_gbps=0.0,
    )
    found = memory_of(setup)
    return int(found.total) if on_gpu else int(found.allocated) + PROCESS_BYTES
