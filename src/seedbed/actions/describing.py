"""Describes the model that a reference names, without downloading its weights; lists the models on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.actions.model_references import ChosenModel, any_folder, as_path, is_path, locate
from seedbed.actions.model_report import ModelReport, report_on
from seedbed.checkpoint.headers import TensorInfo, shard_names, weight_files
from seedbed.checkpoint.marker import ADAPTER, CONFIG, WEIGHTS, is_named, step_of
from seedbed.config.arithmetic import count_parameters
from seedbed.config.families.config_json import config_from_hf
from seedbed.errors import SeedbedError
from seedbed.files import read_json
from seedbed.hub.cache import Snapshot, cache_folder, snapshots
from seedbed.hub.names import HubName, is_hub_reference
from seedbed.runs.models import Model, run_of
from seedbed.runs.store import Store, UnknownRunError
from seedbed.runs.watch import Watch


def describe(store: Store, reference: str, checkpoint: str | None = None) -> ModelReport:
    """What the model that `reference` names is, and whether Seedbed can use it.

    Of a model on the Hub that is not in the cache, only small files and the headers of the weights are fetched. Raises
    UsageError or SeedbedError if nothing is found by that name; what is wrong with a model is in the report.
    """
    found = _located(store, reference, checkpoint)
    if isinstance(found, HubName):
        return _describe_hub(found)
    path = found.model_path()
    run = found.run
    step = step_of(path) if is_named(path) else None
    name = f"{run.name()}@{step}" if run is not None and step is not None else path.resolve().name
    report = ModelReport(
        name=name, reference=found.reference(), folder=str(path), run=run.id if run else None, step=step
    )
    return report_on(path, report)


def _located(store: Store, reference: str, checkpoint: str | None) -> ChosenModel | HubName:
    """As `locate`, but any folder will do: a report says what is missing in it.

    A name without a slash is a folder only if no run has that name.
    """
    folder = None if is_hub_reference(reference) else any_folder(reference)
    if folder is not None and checkpoint is None and is_path(reference):
        return ChosenModel(run_of(folder), None, folder)
    try:
        return locate(store, reference, checkpoint)
    except UnknownRunError as error:
        if folder is None or checkpoint is not None:
            error.hint = error.hint.removesuffix(as_path(reference)).strip()  # a bare name is a folder's, too
            raise
        return ChosenModel(run_of(folder), None, folder)


def _describe_hub(wanted: HubName) -> ModelReport:
    from seedbed.hub.download import describe_files
    from seedbed.hub.listing import Listing, refuse_unusable
    from seedbed.hub.remote_headers import remote_headers

    model, listing = describe_files(wanted)
    report = ModelReport(
        name=str(HubName(model.name)), reference=model.reference, folder=str(model.folder), note=model.note
    )
    if listing is None:
        return report_on(model.folder, report)
    report.licence, report.licence_source = listing.licence, "model card" if listing.licence else ""

    def weights(known: Listing) -> dict[str, TensorInfo] | None:
        refuse_unusable(known)
        files = known.weights([] if WEIGHTS in known.files else shard_names(model.folder))
        missing = [file for file in files if not (model.folder / file.path).exists()]
        if not missing:
            return None
        report.folder = None
        report.download_bytes = sum(file.size_bytes for file in missing)
        return remote_headers(known, files)

    try:
        return report_on(model.folder, report, headers=weights(listing))
    except SeedbedError as error:
        report.folder = None
        return report_on(model.folder, report, problem=error)


class KnownModel(NamedTuple):
    """What config.json says of a model in a list: its family and parameters, or why Seedbed cannot use it."""

    model_type: str
    parameters: int | None
    problem: str


class HubModelRow(NamedTuple):
    """A model in the Hub's cache."""

    snapshot: Snapshot
    known: KnownModel
    weight_bytes: int


class RunModelRow(NamedTuple):
    """The newest checkpoint of a run."""

    model: Model
    known: KnownModel
    weight_bytes: int


class ModelList(NamedTuple):
    """The models on this machine that Seedbed knows of: those of runs, the one trained last first, and the Hub's cache."""

    runs: list[RunModelRow]
    hub: list[HubModelRow]
    hub_cache: Path | None


def list_models(store: Store, *, archived: bool = False) -> ModelList:
    """The newest checkpoint of each run of the store, and all models in the Hub's cache."""
    watch = Watch(store)
    watch.refresh()
    models = [each.model for each in watch.runs.values() if each.model and (archived or not each.model.archived)]
    models.sort(key=lambda model: (model.trained, model.run.id), reverse=True)
    cache = cache_folder()
    return ModelList(
        [RunModelRow(model, known(model.checkpoint), _weight_bytes(model.checkpoint)) for model in models],
        [HubModelRow(each, known(each.folder), _weight_bytes(each.folder)) for each in snapshots(cache)]
        if cache
        else [],
        cache,
    )


def known(folder: Path) -> KnownModel:
    """What the config.json in a folder says. Never raises."""
    parsed: Any = None
    try:
        parsed = read_json(folder / CONFIG)
        model, vocab_rows = config_from_hf(parsed if isinstance(parsed, dict) else {})
        return KnownModel(str(parsed["model_type"]), count_parameters(model, vocab_rows), "")
    except SeedbedError as error:
        named = parsed.get("model_type") if isinstance(parsed, dict) else None
        return KnownModel(named if isinstance(named, str) else "", None, error.message)


def _weight_bytes(folder: Path) -> int:
    """The size of the weights of a folder that are loaded: the model's, or those of an adapter; 0 if they are incomplete."""
    with suppress(OSError):
        try:
            files = weight_files(folder)
        except SeedbedError:
            files = [folder / ADAPTER]
        return sum(file.stat().st_size for file in files)
    return 0
