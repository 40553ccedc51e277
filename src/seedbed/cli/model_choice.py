"""The options that choose a model, and the model that a command line names, with the progress of a download."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import real

if TYPE_CHECKING:
    from seedbed.actions.model_references import ChosenModel
    from seedbed.hub.download import Progress
    from seedbed.runs.store import Store

MODEL_FORMS = "a run, RUN@STEP, a model folder's path, or hub:NAME"
"""The forms of a reference to a model, for help texts."""


def temperature_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the option --temperature to the parser."""
    parser.add_argument("--temperature", "--temp", metavar="T", type=real(0), default=0.8, help=help_text)


def checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --checkpoint, which selects a checkpoint of the run, to the parser."""
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="a step, `latest`, `best`, or a model folder's path (default: latest)"
    )


def complete_model(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The names and ids of runs that begin with `prefix`, for shell completion; after RUN@, its checkpoints."""
    from seedbed.cli.completers import checkpoints
    from seedbed.cli.parser import complete_run

    name, at, which = prefix.rpartition("@")
    if not at:
        return complete_run(prefix, parsed_args)
    run = argparse.Namespace(runs=getattr(parsed_args, "runs", None), ref=name)
    return [f"{name}@{each}" for each in checkpoints(which, run)]


def choose_model(store: Store, ref: str | None, checkpoint: str | None) -> ChosenModel:
    """The model that `ref` names, with the checkpoint; without `ref`, the newest run with a checkpoint.

    Downloads a model on the Hub, shows the progress on terminals, and says which commit it is. Raises UsageError if there
    is no such run or folder, UsageError or SeedbedError if the model cannot be downloaded.
    """
    from seedbed.actions.model_references import resolve
    from seedbed.cli.console import note, set_temporary_line

    try:
        chosen = resolve(store, ref, checkpoint, on_progress=show_progress)
    finally:
        set_temporary_line()
    if chosen.hub:
        note(f"The model is {chosen.name()}.")
    if chosen.note:
        note(f"warning: {chosen.note}")
    return chosen


def show_progress(progress: Progress) -> None:
    """Show how far the download of a model is, if stderr is a terminal."""
    from seedbed.cli.console import set_temporary_line
    from seedbed.text import printable, size

    done = size(progress.done_bytes)
    whole = size(progress.total_bytes)
    share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
    line = f"{progress.doing} {printable(progress.file)}: {done} of {whole} ({share:.0%})"
    set_temporary_line(line)


def ask(chosen: ChosenModel, command: str, request: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Run `command`, such as `generate`, with the chosen model in a child process.

    Returns a generator of the answers of that process to `request`.
    """
    from seedbed import actions

    if chosen.folder is not None or chosen.run is None:
        return actions.ask_model(command, Path(chosen.folder or ""), request)
    return actions.ask_checkpoint(command, chosen.run, chosen.checkpoint, request)
