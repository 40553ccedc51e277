"""`seedbed evaluate`: measure the loss, perplexity and bits per byte of models on a text."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import file_path
from seedbed.cli.model_choice import MODEL_FORMS, choose_model, complete_model
from seedbed.cli.parser import json_option, runs_option

if TYPE_CHECKING:
    from pathlib import Path

    from seedbed.actions import EvaluatedModel, Launch
    from seedbed.config.evaluation import Evaluation
    from seedbed.config.resolving import Resolved
    from seedbed.runs.store import RunDir, Store

DESCRIPTION = """\
Measure how well models predict a text: loss and perplexity per token, and bits per UTF-8 byte, which can be compared
between models with different tokenizers. With several models, their differences are computed on the same documents.
Each value has a 95 % interval, from resampled documents.

MODEL is a run (its newest checkpoint), RUN@STEP, RUN@best, a model folder, or hub:NAME[@REVISION]. Without MODEL, the
newest run with a checkpoint. Without --data, the validation text of the models' runs.

Documents that fit the context are read whole; longer ones are read in windows that overlap by half (--stride), and
every token is scored once. Ctrl-C keeps what is done; `seedbed resume` continues.
"""
EXAMPLES = """\
  seedbed evaluate                                        the newest run, on its validation text
  seedbed evaluate quickstart@200 quickstart@best         compare two checkpoints of a run
  seedbed evaluate ~/models/A ~/models/B --data text:~/notes
  seedbed evaluate quickstart ~/models/A --data wikitext-2 --max-tokens 100000
  seedbed evaluate quickstart --json > result.json
  seedbed evaluate --like latest quickstart@800           another model, as in the newest evaluation
  seedbed evaluate --show latest                          print the newest completed results again
  seedbed evaluate --show result.json                     print the results in a file
"""
NAMED_KEYS = {
    "--data": "data.source",
    "--data-path": "data.path",
    "--split": "evaluate.split",
    "--context": "evaluate.context",
    "--stride": "evaluate.stride",
    "--max-documents": "evaluate.limit_documents",
    "--max-tokens": "evaluate.limit_tokens",
    "--precision": "evaluate.precision",
    "--device": "evaluate.device",
    "--seed": "evaluate.seed",
}
"""Option -> the key of the config that it sets."""
SYNONYMS = {
    "--batch-size": "--set evaluate.batch_tokens=N",
    "--bg": "--background",
    "--dataset": "--data",
    "--limit": "--max-documents",
    "--max-length": "--context",
    "--max-samples": "--max-documents",
    "--model": "the model as an argument, without an option",
    "--out": "--output",
    "--text": "--data text:PATH",
}
"""Option of another program -> the equivalent in Seedbed."""
LATEST = "latest"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate` to the parser."""
    add = parser.add_argument
    models = add("words", metavar="MODEL", nargs="*", help=f"{MODEL_FORMS}; several are compared")
    models.completer = complete_model  # type: ignore[attr-defined]
    add("--data", metavar="SOURCE", help="stories, wikitext-2, text:PATH, hf:NAME, or a dataset's folder")
    add("--data-path", metavar="PATH", help="a local copy of a named corpus")
    add(
        "--split",
        choices=("auto", "validation", "train", "all"),
        help="part of the text (default: validation; all of a text:PATH on which no model was trained)",
    )
    add("--context", metavar="N", help="most tokens in a window (default: the model's context, at most 2048)")
    add("--stride", metavar="N", help="new tokens in each further window (default: half a window)")
    add("--max-documents", metavar="N", help="evaluate a random sample of N documents")
    add("--max-tokens", metavar="N", help="evaluate random documents of about N tokens of the first model")
    add("--seed", metavar="N", help="seed of the sample and the intervals (default: 1337)")
    add("--precision", help="fp32, bf16 or fp16 (default: fp32)")
    add("--device", help="auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name such as A30")
    add(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="set any value of the config, such as data.field=body; may be repeated",
    )
    add(
        "--output",
        metavar="FILE",
        type=file_path,
        help="where to write the results as JSON; missing folders are created (default: in the runs folder)",
    )
    add("--name", help="a name for the evaluation (letters, digits, space, _ . -; up to 64)")
    earlier = parser.add_mutually_exclusive_group()
    like = earlier.add_argument(
        "--like",
        metavar="EVALUATION",
        help="start from the models, text and settings of an earlier evaluation: its name, or `latest`",
    )
    shown = earlier.add_argument(
        "--show",
        metavar="EVALUATION",
        help="print the results of an earlier evaluation: its name, `latest` (the newest completed one), or a file with results",
    )
    like.completer = shown.completer = complete_evaluation  # type: ignore[attr-defined]
    add("--background", action="store_true", help="evaluate in the background: print the task's id and exit")
    runs_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print the results as CSV, a row per model")
    json_option(form, "the results")


def complete_evaluation(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The names of evaluations that begin with `prefix`, for shell completion."""
    from seedbed.cli.store_option import store

    names = [task.name() for task in store(getattr(parsed_args, "runs", None)).tasks() if _is_evaluation(task)]
    return [name for name in (LATEST, *names) if name.startswith(prefix)]


def run(arguments: argparse.Namespace) -> int:
    """Start the task and follow it until it ends; with --background, return once it has started."""
    from seedbed import actions
    from seedbed.cli.console import note

    store = actions.store(arguments.runs)
    if arguments.show is not None:
        return show(store, arguments)
    earlier = None
    if arguments.like is not None:
        earlier = actions.config_like(find_evaluation(store, arguments.like))
    models = chosen_models(store, arguments.words, earlier)
    wanted = actions.with_models(resolved(arguments, models, earlier), models)

    def start() -> Launch:
        launch = actions.start_evaluation(store, wanted, arguments.output, arguments.name, sys.argv)
        if arguments.name is not None and launch.run.first_name() != arguments.name:
            note(f'The name "{arguments.name}" is taken, so the evaluation is named "{launch.run.first_name()}".')
        return launch

    if arguments.background:
        return in_background(start(), as_json=arguments.json, result="seedbed evaluate --show")
    from seedbed.cli.follow import follow
    from seedbed.presentation.evaluation import read_results

    if not (arguments.json or arguments.csv):
        return follow(start, as_json=False)
    return follow(start, as_json=True, report=lambda task: print_results(read_results(task), as_csv=arguments.csv))


def chosen_models(store: Store, references: list[str], earlier: Evaluation | None) -> list[EvaluatedModel]:
    """The models to evaluate: those that are named, else those of the earlier evaluation, else the newest run's."""
    from seedbed import actions
    from seedbed.cli.console import note

    if earlier is None or references:
        wanted: list[str | None] = [*references] or [None]
        models = actions.models_to_evaluate([choose_model(store, ref, None) for ref in wanted])
        if len(models) < len(references):
            note("A model that is named more than once is evaluated once.")
        return models
    models = actions.models_to_evaluate([choose_model(store, path, None) for path in earlier.evaluate.models])
    # The name of a model of the Hub is not that of its folder in the cache.
    return [model._replace(name=name) for model, name in zip(models, earlier.evaluate.names, strict=True)]


def resolved(
    arguments: argparse.Namespace, models: list[EvaluatedModel], earlier: Evaluation | None = None
) -> Resolved[Evaluation]:
    """The config that the options describe. Without --data, the text is that of `earlier`, or of the models' runs.

    Raises UsageError if a value is wrong, or if no text is given and the runs do not say one.
    """
    from msgspec.structs import replace

    from seedbed import actions
    from seedbed.cli.console import note
    from seedbed.config.evaluation import Evaluation
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import EVALUATE
    from seedbed.text import quoted

    flags = {
        path: Flagged(getattr(arguments, option[2:].replace("-", "_")), option) for option, path in NAMED_KEYS.items()
    }
    given = resolve(EVALUATE, sets=arguments.sets, flags=flags, base=earlier)
    source = given.config.data.source
    if earlier is not None and source == earlier.data.source and not arguments.words:
        return given
    if given.origins["data.source"] != "default":
        models = [model for model in models if actions.was_trained_on(model, source)]
        if not models:
            return given
    # The held-out part of a run's text depends on the settings with which the run read it.
    base = replace(earlier or Evaluation(), data=actions.training_text(models))
    if not any(actions.was_trained_on(model, base.data.source) for model in models):
        note(f"The text of {models[0].name} has changed or is gone, so the data prepared for its training are used.")
    for model in filter(actions.trained_before_a_merge, models):
        note(
            f"{quoted(base.data.source)} has changed since {model.name} was trained on it. Its present evaluation rows are used."
        )
    return resolve(EVALUATE, sets=arguments.sets, flags=flags, base=base)


def in_background(launch: Launch, *, as_json: bool, result: str = "") -> int:
    """Wait until the job has started, and print the task's id or status. `result`: the command that shows its result."""
    from seedbed import actions
    from seedbed.cli.console import note, say, say_json
    from seedbed.runs.status import status

    actions.wait_until_started(launch)
    if as_json:
        say_json(status(launch.run))
        return 0
    say(launch.run.id)
    if sys.stdout.isatty():
        note(f"The task continues in the background. Watch it: seedbed status {launch.run.id}")
        if result:
            note(f"Its result, when it is completed: {result} {launch.run.id}")
    return 0


def show(store: Store, arguments: argparse.Namespace) -> int:
    """Print the results of an earlier evaluation, or those in a file.

    Raises UsageError if there are none, SeedbedError if the evaluation is not completed.
    """
    from seedbed.cli.console import say, width
    from seedbed.errors import UsageError
    from seedbed.presentation.evaluation import lines, results_in

    if arguments.words:
        raise UsageError("--show takes no models.", "Remove the models, or remove --show.")
    path = results_file(arguments.show)
    found = results_in(path) if path is not None else results_of(store, arguments.show)
    if arguments.json or arguments.csv:
        print_results(found, as_csv=arguments.csv)
        return 0
    for line in lines(found, width()):
        say(line)
    return 0


def results_file(reference: str) -> Path | None:
    """The path of the file that --show names: one with a slash or the ending .json; None for the name of an evaluation.

    Raises UsageError for a path at which nothing is.
    """
    from seedbed.cli.prompt import is_file
    from seedbed.errors import UsageError
    from seedbed.files import expand_home
    from seedbed.text import quoted

    path = expand_home(reference)
    if "/" not in reference and path.suffix != ".json":
        return None
    if is_file(path):
        return path
    if "/" in reference and not os.path.lexists(path):
        raise UsageError(
            f"There is no file {quoted(reference)}.",
            "Give a file with results of `seedbed evaluate`, or the name of an evaluation (`seedbed runs --all`).",
        )
    return None


def results_of(store: Store, reference: str) -> dict[str, Any]:
    """The results of an evaluation by its name; the newest completed for `latest`.

    Raises UsageError if there is none, SeedbedError if it is not completed.
    """
    from seedbed.errors import SeedbedError
    from seedbed.presentation.evaluation import read_results
    from seedbed.runs.status import current_status

    task = newest_completed(store) if reference == LATEST else find_evaluation(store, reference)
    found = current_status(task).status
    if found != "completed":
        hint = f"`seedbed status {task.id}` shows it; `seedbed resume {task.id}` continues it if it has ended."
        raise SeedbedError(f'"{task.id}" is not completed ({found}), so it has no results.', hint)
    return read_results(task)


def newest_completed(store: Store) -> RunDir:
    """The newest evaluation that is completed. Says which newer ones were passed over.

    Raises UsageError if there are no evaluations, SeedbedError if none is completed.
    """
    from seedbed.cli.console import note
    from seedbed.errors import SeedbedError
    from seedbed.runs.status import current_status

    known = evaluations(store)
    newest = known[-1]
    for task in reversed(known):
        if current_status(task).status != "completed":
            continue
        if task.id != newest.id:
            note(f"These are the results of {task.id}. The newest evaluation, {newest.id}, {_how(newest)}.")
        return task
    raise SeedbedError(
        f"No evaluation is completed. The newest, {newest.id}, {_how(newest)}.",
        f"Its log: seedbed logs {newest.id}",
    )


def _how(task: RunDir) -> str:
    """How an evaluation that is not completed ended, to add to a sentence: `failed`, or `is not completed (stopped)`."""
    from seedbed.runs.status import current_status

    found = current_status(task).status
    return "failed" if found == "failed" else f"is not completed ({found})"


def evaluations(store: Store) -> list[RunDir]:
    """The evaluations of the store, the newest last. Raises UsageError if there are none."""
    from seedbed.errors import UsageError
    from seedbed.text import quoted

    found = [task for task in store.tasks() if _is_evaluation(task)]
    if not found:
        raise UsageError(f"There are no evaluations in {quoted(store.root)}.", "Start one: seedbed evaluate MODEL.")
    return found


def find_evaluation(store: Store, reference: str) -> RunDir:
    """The evaluation with this name or id; the newest for `latest`. Raises UsageError if there is none."""
    from seedbed.config.spelling import did_you_mean, nearest
    from seedbed.errors import UsageError
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable, quoted, shorten

    known = evaluations(store)
    try:
        task = known[-1] if reference == LATEST else store.find(reference)
    except UnknownRunError:
        shown = shorten(printable(reference), 80)
        close = did_you_mean(nearest(reference, [each.name() for each in known]))
        raise UsageError(
            f"There is no evaluation {quoted(shown)} in {quoted(store.root)}.",
            f"{close}`seedbed runs --all` lists the evaluations; --show takes a file with results, too, such as ./result.json.",
        ) from None
    if not _is_evaluation(task):
        raise UsageError(f'"{task.id}" is not an evaluation.', "`seedbed runs --all` lists the evaluations.")
    return task


def _is_evaluation(task: RunDir) -> bool:
    from seedbed.errors import SeedbedError

    try:
        return bool(task.meta()["kind"] == "evaluate")
    except SeedbedError:
        return False


def print_results(found: dict[str, Any], *, as_csv: bool) -> None:
    """Print the results of an evaluation as JSON, or as CSV with a row per model."""
    from seedbed.cli.console import say_json

    if not as_csv:
        say_json(found)
        return
    import csv

    rows: list[dict[str, Any]] = [
        {**each, "prefix": " ".join(map(str, each.get("prefix") or []))} for each in found["models"]
    ]
    writer = csv.DictWriter(sys.stdout, list(rows[0]), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
