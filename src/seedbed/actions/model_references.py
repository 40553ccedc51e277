"""Which model a reference names: a folder, a run, a checkpoint of a run, or a model on the Hub.

    PATH                       a checkpoint, another Hugging Face folder, or a file of weights in one
    RUN, RUN@STEP              a run and one of its checkpoints: a step, `latest` or `best`
    hub:NAME[@REVISION]        a model on the Hugging Face Hub, downloaded into its cache when it is first used

A run has priority over a folder of the same name; `./NAME` is always the folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seedbed.checkpoint.headers import weight_files
from seedbed.checkpoint.marker import CONFIG, is_named, step_of
from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.config.families.config_json import config_from_hf, read_config_json
from seedbed.config.paths import is_model_path
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home, normal_path
from seedbed.hub.names import PREFIX, HubName, hub_name, is_hub_reference, is_valid_name
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.models import model_folder, run_of
from seedbed.runs.store import RunDir, Store, UnknownRunError, is_run
from seedbed.text import printable, quoted
from seedbed.tokenizer.model_files import missing_tokenizer

if TYPE_CHECKING:
    from seedbed.hub.download import Progress


class ChosenModel(NamedTuple):
    """The model that a command uses: a run and one of its checkpoints, or a model folder with the run that it is in.

    `run` is None for a model folder outside of any run. `hub` is `hub:NAME@COMMIT` for a model from the Hub, whose folder
    is in the cache; `note` is what the user should know about it, or "".
    """

    run: RunDir | None
    checkpoint: str | None
    folder: Path | None
    hub: str = ""
    note: str = ""

    def name(self) -> str:
        """The name of the run, `hub:NAME@COMMIT`, or the path of the folder."""
        return printable(self.hub or (self.run.name() if self.run else str(self.folder)))

    def model_path(self) -> Path:
        """The folder with config.json and the weights.

        Raises UsageError or SeedbedError if the run has no such checkpoint. A job that trains may delete it later.
        """
        if self.folder is not None or self.run is None:
            return Path(self.folder or "")
        return find_checkpoint(self.run, self.checkpoint)

    def reference(self) -> str:
        """The reference that names exactly this model, for records: `hub:NAME@COMMIT`, `RUN_ID@STEP`, or an absolute path."""
        if self.hub:
            return self.hub
        path = self.model_path()
        run = self.run
        if run is not None and path.parent == run.checkpoints and is_named(path):
            return f"{run.id}@{step_of(path)}"
        return str(path.absolute())


def locate(store: Store, reference: str | None, checkpoint: str | None = None) -> ChosenModel | HubName:
    """The run or folder that `reference` names, or the name of a model on the Hub; downloads nothing.

    `checkpoint` selects a checkpoint of the run, as `@` does. Without a reference: the newest run with a checkpoint. A run
    has priority over a folder of the same name. Raises UnknownRunError if nothing is found, UsageError for a reference
    that is invalid or names several runs.
    """
    if reference is None:
        from seedbed.actions.supervising import has_checkpoint

        return ChosenModel(store.find(None, fits=has_checkpoint, wanted="run with a checkpoint"), checkpoint, None)
    if is_hub_reference(reference):
        _refuse_checkpoint(reference, checkpoint, "a model on the Hub")
        return hub_name(reference)
    folder = model_folder(reference)
    if folder is not None and is_path(reference):
        _refuse_checkpoint(reference, checkpoint, "already a checkpoint")
        return ChosenModel(run_of(folder), None, folder)
    if is_path(reference):
        _refuse_unusable_path(reference)
    try:
        return ChosenModel(store.find(reference), checkpoint, None)
    except UnknownRunError as error:
        if folder is None and (refused := _file_error(reference)) is not None:
            message = f'There is no run "{printable(reference)}", and {refused.message}'
            raise UnknownRunError(message, refused.hint) from None
        if folder is None and not reference.rpartition("@")[0].strip():
            raise _with_folders_and_hub(reference, error) from None
    if folder is not None:
        _refuse_checkpoint(reference, checkpoint, "already a checkpoint")
        return ChosenModel(run_of(folder), None, folder)
    return _at(store, reference, checkpoint)


def _with_folders_and_hub(reference: str, error: UnknownRunError) -> UnknownRunError:
    """The error for a reference that names no run, as it is also not the path of a folder: what else may be meant."""
    shown = printable(reference)
    if reference.count("/") == 1 and is_valid_name(reference):
        return UnknownRunError(
            f'There is no model folder and no run "{shown}".',
            f"For the model on the Hugging Face Hub, write {PREFIX}{shown}.",
        )
    if is_model_path(reference):
        return UnknownRunError(
            f"There is no model folder and no run at {quoted(normal_path(reference))}.", "Check the path."
        )
    return UnknownRunError(error.message, f"{error.hint} {as_path(reference)}".strip())


def as_path(reference: str) -> str:
    """How to give a folder with the name `reference`, in words."""
    path = shlex.quote(f"./{printable(reference)}")
    if any_folder(reference) is not None:
        return f"To use the folder of that name, write {path}."
    return f"A model folder is given as a path, such as {path}."


def _at(store: Store, reference: str, checkpoint: str | None) -> ChosenModel:
    """The run and checkpoint in `RUN@STEP`."""
    name, _, which = reference.rpartition("@")
    if model_folder(name) is not None and "/" in name:
        raise UsageError(
            f'"{printable(name)}" is a model folder, which has no steps, so "@{printable(which)}" has no meaning.',
            "Remove it, or give a run before the @.",
        )
    run = store.find(name)
    if not which:
        raise UsageError(
            f'"{printable(reference)}" has no step after the @.', "Write RUN@STEP, RUN@latest or RUN@best."
        )
    if checkpoint is not None and checkpoint != which:
        raise UsageError(
            f'The checkpoint is given twice: "@{printable(which)}" and --checkpoint {printable(checkpoint)}.',
            "Remove one of the two.",
        )
    return ChosenModel(run, which, None)


def _refuse_checkpoint(reference: str, checkpoint: str | None, what: str) -> None:
    if checkpoint is not None:
        raise UsageError(
            f'"{printable(reference)}" is {what}, so --checkpoint cannot be given too.',
            "Remove --checkpoint, or give a run instead.",
        )


def is_path(reference: str) -> bool:
    """Whether a reference is a path, and not the name of a run, which may be that of a folder, too."""
    return "/" in reference or reference in (".", "..", "~")


def any_folder(reference: str) -> Path | None:
    """The folder that a path names, a model's or not, or that of a file of weights; None for a run's and anything else."""
    try:
        path = expand_home(reference)
        folder = path.parent if _is_weights(path) else path
        return normal_path(folder) if folder.is_dir() and not is_run(folder) else None
    except (OSError, ValueError):  # cannot be looked up, or is not a valid path
        return None


def _refuse_unusable_path(reference: str) -> None:
    """Raise the error for a path that exists and names neither a run nor a model folder, with what is wrong with it.

    It is a SeedbedError for a folder without config.json or weights, in the words of the report on it, and a UsageError
    for a file.
    """
    refused = _file_error(reference)
    if refused is not None:
        raise refused
    folder = any_folder(reference)
    if folder is None:
        return
    read_config_json(folder)
    try:
        weight_files(folder)
    except SeedbedError as error:
        raise SeedbedError(f"{quoted(folder)}: {error.message}", error.hint) from error


def _file_error(reference: str) -> UsageError | None:
    """The error for the path of a file that is not one of weights, such as that of config.json; None for anything else."""
    try:
        path = expand_home(reference)
        if not path.is_file() or _is_weights(path):
            return None
    except (OSError, ValueError):
        return None
    path = normal_path(path)
    hint = f"Give its folder: {path.parent}" if (path.parent / CONFIG).is_file() else "Give the path of a model folder."
    return UsageError(f"{quoted(path)} is a file, not a model folder.", hint)


def _is_weights(path: Path) -> bool:
    return path.suffix == ".safetensors" and path.is_file()


def resolve(
    store: Store,
    reference: str | None,
    checkpoint: str | None = None,
    *,
    on_progress: Callable[[Progress], object] | None = None,
) -> ChosenModel:
    """The model that `reference` names, with its files on this machine; see `locate`.

    A model on the Hub is downloaded unless the cache has it; `on_progress` is called while that lasts. Raises UsageError
    or SeedbedError, such as for a name that the Hub does not have, a network that is down, or a full disk.
    """
    found = locate(store, reference, checkpoint)
    if isinstance(found, ChosenModel):
        return found
    from seedbed.hub.download import download

    model = download(found, on_progress, partial(_refuse_unsupported, str(found)))
    return ChosenModel(None, None, model.folder, model.reference, model.note)


def _refuse_unsupported(name: str, folder: Path) -> None:
    """Raise SeedbedError if Seedbed cannot use the model in a folder, so that its weights need not be downloaded."""
    try:
        config_from_hf(read_config_json(folder))
    except SeedbedError as error:
        raise SeedbedError(f"{name}: {error.message}", error.hint) from error
    if not (folder / TOKENIZER_JSON).is_file():
        raise missing_tokenizer(folder)
