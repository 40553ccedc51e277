"""Which model a command uses: a run and one of its checkpoints, or a model folder."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seedbed.cli.argument_types import real

if TYPE_CHECKING:
    from seedbed.runs.store import RunDir, Store


def temperature_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the option --temperature to the parser."""
    parser.add_argument("--temperature", "--temp", metavar="T", type=real(0), default=0.8, help=help_text)


def checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --checkpoint, which selects a checkpoint of the run, to the parser."""
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="a step, `latest`, `best`, or a model folder's path (default: latest)"
    )


class ChosenModel(NamedTuple):
    """The model that a command uses: a run and one of its checkpoints, or a model folder with the run that it is in.

    `run` is None for a model folder outside of any run.
    """

    run: RunDir | None
    checkpoint: str | None
    folder: Path | None

    def name(self) -> str:
        """The name of the run, or the path of the folder if there is no run."""
        from seedbed.text import printable

        return printable(self.run.name() if self.run else str(self.folder))


def choose_model(store: Store, ref: str | None, checkpoint: str | None) -> ChosenModel:
    """The run or model folder that `ref` names, with the checkpoint; without `ref`, the newest run with a checkpoint.

    Raises UsageError if there is no such run or folder.
    """
    from seedbed import actions
    from seedbed.errors import UsageError
    from seedbed.runs.models import model_folder, run_of
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable

    folder = model_folder(ref) if ref else None
    if folder is not None and "/" not in str(ref):  # a run of that name has priority
        try:
            return ChosenModel(store.find(ref), checkpoint, None)
        except UnknownRunError:
            pass
    if folder is not None:
        if checkpoint is not None:
            raise UsageError(
                f'"{printable(str(ref))}" is already a checkpoint, so --checkpoint cannot be given too.',
                "Remove --checkpoint, or give a run instead of the path.",
            )
        return ChosenModel(run_of(folder), None, folder)
    found = store.find(ref, fits=actions.has_checkpoint, wanted="run with a checkpoint")
    return ChosenModel(found, checkpoint, None)


def ask(chosen: ChosenModel, command: str, request: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Run `command`, such as `generate`, with the chosen model in a child process.

    Returns a generator of the answers of that process to `request`.
    """
    from seedbed import actions

    if chosen.folder is not None or chosen.run is None:
        return actions.ask_model(command, Path(chosen.folder or ""), request)
    return actions.ask_checkpoint(command, chosen.run, chosen.checkpoint, request)
