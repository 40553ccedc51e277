"""Evaluates models on a text: finds the models and the text, checks both, and starts the task. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from seedbed import text
from seedbed.actions import launching
from seedbed.actions.checks import refuse_without_torch
from seedbed.actions.model_references import ChosenModel
from seedbed.checkpoint.headers import tensor_headers
from seedbed.checkpoint.marker import is_named, step_of
from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.config.directories import cache_dir
from seedbed.config.evaluation import Evaluation, settled_split, window_of
from seedbed.config.families.config_json import config_from_hf, read_config_json
from seedbed.config.families.tensors import check_files
from seedbed.config.frozen import recorded_origins
from seedbed.config.resolving import Resolved
from seedbed.config.schema import DataConfig
from seedbed.config.source import is_rows
from seedbed.curation.folder import describe
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home, normal_path
from seedbed.runs.caches import dataset_of
from seedbed.runs.kinds import KINDS, frozen_config
from seedbed.runs.status import current_status
from seedbed.runs.store import RunDir, Store
from seedbed.tokenizer.model_check import usable_tokenizer
from seedbed.tokenizer.model_files import missing_tokenizer

FOLDER = ".evaluations"
"""The folder in the store for the results of evaluations without --output."""
_SHORT_COMMIT = 7
_CHOSEN = "chosen for this text"
"""The origin of a split that was not asked for."""


class EvaluatedModel(NamedTuple):
    """A model to evaluate: its name in the results, its folder, and the run that trained it (None: no run of Seedbed)."""

    name: str
    folder: Path
    run: RunDir | None


def models_to_evaluate(chosen: Sequence[ChosenModel]) -> list[EvaluatedModel]:
    """The models that references name (see actions/model_references.py), each once, with a name for the results.

    Raises UsageError or SeedbedError for a run without weights.
    """
    found = {each.model_path(): each for each in chosen}
    longest = max(len(folder.parts) for folder in found)
    for parts in range(1, longest + 1):
        names = [_name(folder, model, parts) for folder, model in found.items()]
        if len(set(names)) == len(names):
            break
    return [EvaluatedModel(name, folder, model.run) for name, (folder, model) in zip(names, found.items(), strict=True)]


def _name(folder: Path, model: ChosenModel, parts: int) -> str:
    """The name of a model: RUN@STEP, or hub:NAME@COMMIT, or the last `parts` parts of its path."""
    if model.hub:
        name, _, commit = model.hub.rpartition("@")
        return text.printable(f"{name}@{commit[:_SHORT_COMMIT]}")
    if model.run is not None and is_named(folder):
        own = model.run.name() if parts == 1 else model.run.id
        return text.printable(f"{own}@{step_of(folder)}")
    return text.printable("/".join(folder.parts[-parts:]))


def training_text(models: Sequence[EvaluatedModel]) -> DataConfig:
    """The text of the runs that trained the models, whose validation text is evaluated if no other text is given.

    If the text has changed or is gone, it is the data that were prepared from it, if the cache has them. A dataset of rows
    that was merged again is taken as it is now. Raises UsageError if no model is of a run, or if their texts differ,
    SeedbedError if the text cannot be used.
    """
    texts = {model.name: data for model in models if (data := _data_of(model.run)) is not None}
    if not texts:
        raise UsageError(
            f"Which text? {models[0].name} has no run that says on which text it was trained.",
            "Give a text, such as --data text:PATH or --data wikitext-2.",
        )
    (first, data), *others = texts.items()
    for name, other in others:
        if _comparable(other) != _comparable(data):
            raise UsageError(
                f"{first} and {name} were trained on different texts, or on different parts of a text.",
                "Give the text to evaluate: --data SOURCE.",
            )
    return _as_trained(data, next(model.run for model in models if model.name == first))


def _as_trained(data: DataConfig, run: RunDir | None) -> DataConfig:
    """The text with which a run was trained: `data`, or the prepared data in the cache if the text has changed or is gone."""
    from seedbed.data.dataset_cache import find_folder, has_samples, refuse_different_text
    from seedbed.data.precheck import refuse_unusable

    fingerprint = dataset_of(run) if run is not None else None
    try:
        refuse_unusable(data, 0)
        if not _has_evaluation_rows(data.source):
            refuse_different_text(data, fingerprint, cache_dir())
    except SeedbedError as error:
        kept = find_folder(cache_dir(), fingerprint) if fingerprint is not None else None
        if kept is not None and not has_samples(kept):
            return DataConfig(source=str(kept))
        error.hint = f"Give the text to evaluate: --data SOURCE. {error.hint}"
        raise
    return data


def _has_evaluation_rows(source: str) -> bool:
    """Whether a source is a dataset of rows with a part for evaluation, which a merge keeps apart when data are added."""
    return is_rows(source, Path()) and describe(expand_home(source)).is_split


def trained_before_a_merge(model: EvaluatedModel) -> bool:
    """Whether the model's run was trained on a dataset of rows that was merged again since then."""
    from seedbed.data.dataset_cache import refuse_different_text

    data, fingerprint = _data_of(model.run), dataset_of(model.run) if model.run is not None else None
    if data is None or fingerprint is None or not _has_evaluation_rows(data.source):
        return False
    try:
        refuse_different_text(data, fingerprint, cache_dir())
    except SeedbedError:
        return True
    return False


def was_trained_on(model: EvaluatedModel, source: str) -> bool:
    """Whether the model's run was trained on the text `source` (data.source)."""
    data = _data_of(model.run)
    return data is not None and data.source == source


def _data_of(run: RunDir | None) -> DataConfig | None:
    """The table `data` of a run's config, with the place to which its text was moved; None if there is none."""
    if run is None:
        return None
    try:
        data = getattr(frozen_config(run), "data", None)
    except SeedbedError:
        return None
    if not isinstance(data, DataConfig):
        return None
    moved = current_status(run).view.run
    return replace(data, source=moved.get("data") or data.source, path=moved.get("data_path") or data.path)


def _comparable(data: DataConfig) -> DataConfig:
    """The keys that decide which text is read, without those that do not."""
    return replace(data, workers=0, document_mask=False)


def config_like(task: RunDir) -> Evaluation:
    """The config of an earlier evaluation, from which another starts. A split that was chosen for it is chosen anew."""
    config: Evaluation = frozen_config(task)
    if recorded_origins(task.config).get("evaluate.split") == _CHOSEN:
        return replace(config, evaluate=replace(config.evaluate, split="auto"))
    return config


def with_models(resolved: Resolved[Evaluation], models: Sequence[EvaluatedModel]) -> Resolved[Evaluation]:
    """The config with the models, and with the part of the text that is evaluated. Raises UsageError for an unusable path."""
    for model in models:
        if not text.is_utf_8(str(model.folder)):
            raise UsageError(f"The path of {model.name} is not UTF-8.", "Rename the folder, or make a link to it.")
    config, origins = resolved
    known = any(was_trained_on(model, config.data.source) for model in models)
    split = settled_split(config.evaluate, config.data, was_trained_on=known)
    asked = replace(
        config.evaluate,
        models=tuple(str(model.folder) for model in models),
        names=tuple(model.name for model in models),
        split=split,
    )
    given = dict.fromkeys(("evaluate.models", "evaluate.names"), "command line")
    if config.evaluate.split == "auto":
        given["evaluate.split"] = _CHOSEN
    return Resolved(replace(config, evaluate=asked), origins | given)


def start_evaluation(
    store: Store,
    resolved: Resolved[Evaluation],
    output: Path | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
) -> launching.Launch:
    """Create the task with a config from `with_models`, and start its job. Without `output`, the results go to the store.

    Raises UsageError, before anything is written, for a config, output or name that cannot work.
    """
    wanted = name or launching.default_name("evaluate", resolved.config.data.source)
    output = expand_home(output) if output is not None else None
    if output is None:
        output = _free_output(store, wanted)
        wanted = output.stem
    elif (target := normal_path(output)).is_dir() or target.exists():
        what = "a folder" if target.is_dir() else "an existing file"
        raise UsageError(f"--output {text.quoted(output)} is {what}.", "Give the path of a new file.")
    elif not (above := next(each for each in target.parents if each.exists())).is_dir():
        raise UsageError(
            f"--output {text.quoted(output)} is impossible: {text.quoted(above)} is a file, not a folder.",
            "Give the path of a new file. Missing folders are created.",
        )
    return launching.start_new_task(store, KINDS["evaluate"], output, resolved, wanted, command)


def _free_output(store: Store, name: str) -> Path:
    """A path for results in the store that no other evaluation uses."""
    taken = {task.name().casefold() for task in store.tasks()}
    folder = store.root / FOLDER
    number = 1
    while True:
        stem = name if number == 1 else f"{name}-{number}"
        if stem.casefold() not in taken and not (folder / f"{stem}.json").exists():
            return folder / f"{stem}.json"
        number += 1


def check_evaluation(config: Evaluation, store: Store) -> None:
    """Raise UsageError or SeedbedError if a quick check shows that an evaluation cannot work."""
    from seedbed.data.precheck import refuse_unusable

    refuse_without_torch("models cannot be evaluated", "evaluate on another machine")
    if not config.evaluate.models:
        raise UsageError("No model is given.", "Name a run or a model folder: seedbed evaluate MODEL.")
    for path, name in zip(config.evaluate.models, config.evaluate.names, strict=True):
        _check_model(Path(path), name, config)
    if not is_rows(config.data.source.strip(), Path()):
        refuse_unusable(config.data, 0, store.root)
        return
    if config.evaluate.limit_tokens is not None:
        raise UsageError(
            "--max-tokens cuts a document, and a row of a dataset cannot be cut.",
            "Use --max-documents N for a random sample of N rows.",
        )
    for model in config.evaluate.models:
        refuse_unusable(config.data, 0, store.root, Path(model))


def _check_model(folder: Path, name: str, config: Evaluation) -> None:
    """Raise SeedbedError for a model folder that cannot be evaluated.

    Such a folder lacks a file or has a damaged one, is of an unknown family, or has weights that do not fit.
    """
    parsed = read_config_json(folder)
    if not (folder / TOKENIZER_JSON).is_file():
        raise missing_tokenizer(folder)
    try:
        shape, vocab_rows = config_from_hf(parsed)
        check_files(shape, vocab_rows, tensor_headers(folder))
    except SeedbedError as error:
        raise SeedbedError(f"{name}: {error.message}", error.hint) from error
    usable_tokenizer(folder)
    window_of(config.evaluate, shape.longest_context, name)
