"""What a model is, what it needs, and whether Seedbed can use it: from its files alone, without loading weights or torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from seedbed.actions.licences import licence_of
from seedbed.actions.precision import training_precision
from seedbed.checkpoint.headers import TensorInfo, tensor_headers
from seedbed.checkpoint.marker import CONFIG, complaint, is_marked, is_named
from seedbed.config.arithmetic import count_parameters
from seedbed.config.families.config_json import config_from_hf, dropouts, read_config_json
from seedbed.config.families.tensors import check_files, head_copy, stored_names
from seedbed.config.schema import ModelConfig, TrainConfig
from seedbed.errors import SeedbedError
from seedbed.hardware import gpu, memory
from seedbed.simulate.model_memory import Need, needs
from seedbed.tokenizer.facts import TokenizerFacts, tokenizer_facts
from seedbed.tokenizer.model_check import template_problems
from seedbed.tokenizer.model_files import generation_object


class Problem(msgspec.Struct, frozen=True):
    """Why Seedbed cannot use a model, and what to do. `prevents`: the kinds of work that are impossible because of it."""

    text: str
    hint: str = ""
    prevents: tuple[str, ...] = ("generate", "chat", "evaluate", "train")


class Machine(msgspec.Struct, frozen=True):
    """The memory with which the needs of a model are compared: a GPU's, or that of this machine."""

    device: str
    memory_bytes: int


class WeightFacts(msgspec.Struct, frozen=True):
    """What the headers of the weights say. `elements`: number of values by dtype, as safetensors names it."""

    files: tuple[str, ...]
    size_bytes: int
    elements: dict[str, int]
    parameters: int
    """Number of values, without a copy of tied weights and without stored tensors that are no weights."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a model; None for what config.json does not say in a way that Seedbed knows."""

    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    ffn: int | None = None
    context: int | None = None
    window: int | None = None
    """Tokens of the sliding window that some or all layers have; 0 without one."""
    vocab_rows: int | None = None


class ModelReport(msgspec.Struct, kw_only=True):
    """What is known about a model. `problems` is empty if Seedbed can use it for all kinds of work."""

    name: str
    reference: str
    """The reference that names exactly this model: hub:NAME@COMMIT, RUN_ID@STEP or a path."""
    folder: str | None
    """The folder of its files; None if its weights are not on this machine."""
    run: str | None = None
    step: int | None = None
    model_type: str | None = None
    architecture: str | None = None
    family: str | None = None
    """The family of Seedbed's decoder that runs the model; None if there is none."""
    shape: Shape = Shape()
    parameters: int | None = None
    tied: bool | None = None
    dropouts: dict[str, float] = msgspec.field(default_factory=dict)
    """Dropout rates in config.json, which Seedbed does not use."""
    weights: WeightFacts | None = None
    tokenizer: TokenizerFacts | None = None
    licence: str = ""
    licence_source: str = ""
    needs: tuple[Need, ...] = ()
    machine: Machine | None = None
    is_model_folder: bool = True
    """Whether the folder has a config.json. Without it, nothing but that is known."""
    download_bytes: int | None = None
    """Size of the weights that a download from the Hub would fetch; None if they are on this machine."""
    note: str = ""
    problems: list[Problem] = msgspec.field(default_factory=list)

    @property
    def can_run(self) -> bool:
        """Whether Seedbed can generate with the model and evaluate it."""
        return self._can("generate") and self._can("evaluate")

    @property
    def can_train(self) -> bool:
        """Whether Seedbed can train the model further."""
        return self._can("train")

    @property
    def can_chat(self) -> bool:
        """Whether the model has a chat template, and Seedbed can use it."""
        return self._can("chat") and self.tokenizer is not None and bool(self.tokenizer.chat_templates)

    @property
    def has_wrong_template(self) -> bool:
        """Whether Seedbed can generate with the model, but not through its chat template."""
        return self.can_run and not self._can("chat")

    def _can(self, work: str) -> bool:
        return not any(work in problem.prevents for problem in self.problems)


def report_on(
    folder: Path,
    report: ModelReport,
    *,
    headers: Mapping[str, TensorInfo] | None = None,
    problem: SeedbedError | None = None,
) -> ModelReport:
    """Fill in a report on the model in `folder`; problems are part of the report and never raise.

    `headers`: those of the weights, if the weights are not in the folder. `problem`: why they cannot be had.
    """
    with ThreadPoolExecutor(1) as thread:
        wrong = thread.submit(template_problems, folder)  # it waits for a process of its own
        _read(folder, report, headers, problem)
    if report.tokenizer is not None:
        report.problems += [
            Problem(error.message, error.hint, ("chat",) if is_usual else ()) for error, is_usual in wrong.result()
        ]
    return report


def _read(
    folder: Path, report: ModelReport, headers: Mapping[str, TensorInfo] | None, problem: SeedbedError | None
) -> None:
    """Fill in what this process finds out about a model; see `report_on`."""
    if problem is not None:
        report.problems.append(Problem(problem.message, problem.hint))
    if is_named(folder) and is_marked(folder) and (damaged := complaint(folder)):
        report.problems.append(Problem(f"The checkpoint is damaged: {damaged}.", "Use another checkpoint of this run."))
    config = _config(folder, report)
    if config is None and headers is None and problem is None and not (folder / CONFIG).exists():
        report.is_model_folder = False
        return
    model, vocab_rows = _shape(config, report)
    if headers is None and problem is None:
        with _noted(report):
            headers = tensor_headers(folder)
    if headers:
        _weights(headers, model, vocab_rows, report)
    generation: dict[str, Any] = {}
    with _noted(report):
        generation = generation_object(folder)
    with _noted(report):
        report.tokenizer = tokenizer_facts(folder, [config or {}, generation])
    tokens = report.tokenizer
    if tokens is not None and report.shape.vocab_rows is not None and tokens.largest_id >= report.shape.vocab_rows:
        report.problems.append(
            Problem(
                f"The tokenizer has the id {tokens.largest_id:,}, but the embedding has only {report.shape.vocab_rows:,} rows. "
                "A text with such a token is refused.",
                "Use the tokenizer files that belong to these weights.",
                ("train",),
            )
        )
    licence, source = licence_of(folder)
    if licence:
        report.licence, report.licence_source = licence, source
    if model is not None:
        report.machine = this_machine()
        trains_in = training_precision(TrainConfig(device="cpu"))
        stored = report.weights.elements if report.weights is not None else {}
        runs_in = trains_in if max(stored, key=lambda name: stored[name], default="") == "BF16" else "fp32"
        on_gpu = report.machine.device != "cpu"
        report.needs = tuple(needs(model, vocab_rows, on_gpu=on_gpu, runs_in=runs_in, trains_in=trains_in))


def this_machine() -> Machine:
    """The GPU with the most memory, else the main memory of this machine."""
    gpus = [each for each in gpu.probe().found if each.total_bytes]
    if gpus:
        largest = max(gpus, key=lambda each: each.total_bytes or 0)
        return Machine(largest.name, largest.total_bytes or 0)
    return Machine("cpu", memory.total_bytes())


@contextmanager
def _noted(report: ModelReport) -> Iterator[None]:
    """A context in which a SeedbedError becomes a problem of the report."""
    try:
        yield
    except SeedbedError as error:
        report.problems.append(Problem(error.message, error.hint))


def _config(folder: Path, report: ModelReport) -> dict[str, Any] | None:
    """The parsed config.json; None, with a problem, if there is none."""
    try:
        return read_config_json(folder)
    except SeedbedError as error:
        report.problems.append(Problem(error.message, error.hint))
        return None


def _shape(config: Mapping[str, Any] | None, report: ModelReport) -> tuple[ModelConfig | None, int]:
    """The shape of the decoder and its vocabulary rows; None and 0, with a problem, if the decoder cannot run the model."""
    if config is None:
        return None, 0
    report.model_type = _text(config.get("model_type"))
    architectures = config.get("architectures")
    report.architecture = _text(architectures[0]) if isinstance(architectures, list) and architectures else None
    try:
        model, vocab_rows = config_from_hf(config)
    except SeedbedError as error:
        report.problems.append(Problem(error.message, error.hint))
        report.shape = _shape_by_keys(config)
        return None, 0
    report.dropouts = dropouts(config)
    report.family, report.tied = model.layout, model.tie_embeddings
    report.parameters = count_parameters(model, vocab_rows)
    report.shape = Shape(
        layers=model.layers,
        hidden=model.hidden,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        ffn=model.ffn,
        context=model.longest_context,
        window=model.window,
        vocab_rows=vocab_rows,
    )
    return model, vocab_rows


_KEYS = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "ffn": ("intermediate_size", "n_inner", "ffn_dim"),
    "context": ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len"),
    "vocab_rows": ("vocab_size",),
}
"""Sizes -> the keys of config.json that most families use for them."""


def _shape_by_keys(config: Mapping[str, Any]) -> Shape:
    """The sizes of a model of a family that Seedbed does not know, by the usual keys."""
    inner = config.get("text_config")
    config = inner if isinstance(inner, Mapping) and "hidden_size" not in config else config
    found = {
        name: next((config[key] for key in keys if type(config.get(key)) is int), None) for name, keys in _KEYS.items()
    }
    return Shape(**found)


def _weights(
    headers: Mapping[str, TensorInfo], model: ModelConfig | None, vocab_rows: int, report: ModelReport
) -> None:
    """Add what the headers of the weights say, and whether they fit config.json."""
    weights = headers if model is None else _without_copies(headers, model)
    elements: Counter[str] = Counter()
    for tensor in headers.values():
        elements[tensor.dtype] += prod(tensor.shape)
    report.weights = WeightFacts(
        files=tuple(dict.fromkeys(tensor.file.name for tensor in headers.values())),
        size_bytes=sum(tensor.num_bytes for tensor in headers.values()),
        elements=dict(elements.most_common()),
        parameters=sum(prod(tensor.shape) for tensor in weights.values()),
    )
    if model is None:
        report.parameters = report.weights.parameters
        return
    with _noted(report):
        check_files(model, vocab_rows, headers)


def _without_copies(headers: Mapping[str, TensorInfo], model: ModelConfig) -> dict[str, TensorInfo]:
    """The tensors by the names that Seedbed writes, without those that are no weights and without the copy of a tied head."""
    kept = {ours: headers[theirs] for ours, theirs in stored_names(model, headers).items()}
    tied = head_copy(model)
    if tied is not None:
        kept.pop(tied[1], None)
    return kept


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
