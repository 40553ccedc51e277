"""`seedbed data`: merge and split datasets, cut them to a length, check them, and show what is in them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import file_path, row_kind, whole
from seedbed.cli.model_choice import MODEL_FORMS, complete_model
from seedbed.cli.parser import json_option
from seedbed.cli.prepare import shared_options, start_and_follow

if TYPE_CHECKING:
    from seedbed.config.preparing import Merging
    from seedbed.config.resolving import Resolved
    from seedbed.curation.folder import Description
    from seedbed.curation.report.summary import Summary

DESCRIPTION = """\
Work with datasets: folders that `seedbed prepare` and `seedbed data merge` make.

  merge      put datasets together: leave out duplicates, group what belongs together, split into train and eval
  clip       cut rows to a number of tokens, at turns and lines only
  lengths    show how many tokens the rows have
  peek       show rows as the model sees them, with the tokens that are trained in colour
  check      check the files, and whether evaluation answers are visible in the training rows
  report     show what is in a dataset
  diff       show what differs between two datasets
"""
EXAMPLES = """\
  seedbed data merge data/logs data/fim data/commits --name full --eval-frac 0.15
  seedbed data merge data/* --out data/full --against humaneval.jsonl
  seedbed data report data/full
  seedbed data report data/full --model ~/models/A --context 4096
  seedbed data lengths data/full --model ~/models/A
  seedbed data clip data/full --max-tokens 2048 --model ~/models/A --out data/short
  seedbed data peek data/full --model ~/models/A --rows 3
  seedbed data check data/full
  seedbed data diff data/full data/full-2
"""
MERGE_KEYS = {
    "--eval-frac": "split.eval_fraction",
    "--eval-rows": "split.eval_rows",
    "--level": "split.level",
    "--salt": "split.salt",
    "--ledger": "split.ledger",
    "--near": "duplicates.near",
    "--workers": "merge.workers",
}
"""Option of `merge` -> the key of the config that it sets."""
_HELP = {
    "--eval-frac": ("SHARE", "share of the rows for evaluation (default: 0.1)"),
    "--eval-rows": ("N", "the most rows for evaluation, 0 for no limit (default: 10000)"),
    "--level": ("WHAT", "what stays together: auto (default), links, repository or time"),
    "--salt": ("TEXT", "another text gives another split"),
    "--ledger": (
        "FILE",
        "remembers which rows were ever for evaluation (default: eval-ledger.jsonl beside the dataset)",
    ),
    "--near": ("WHAT", "near duplicates: drop (default) or mark"),
    "--workers": ("N", "processes (default: one for each usable core)"),
}
SYNONYMS = {"--output": "--out", "--bg": "--background", "--overwrite": "--force", "--eval-size": "--eval-rows"}
CONTEXT = 2048
"""The context for which the tokens of a dataset are measured if none is given: pieces of files are cut to as many."""
LOSSES = ("assistant", "targets", "all")
_FOLDER = Path("data")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `data` and their options to the parser."""
    verbs = parser.add_subparsers(metavar="VERB", dest="verb", required=True, title="verbs")
    _merge_options(_verb(verbs, "merge", "put datasets together, and split them into train and eval"))
    clips = _verb(verbs, "clip", "cut rows to a number of tokens, at turns and lines only")
    _dataset_option(clips)
    _model_options(clips, required=True)
    clips.add_argument("--max-tokens", metavar="N", required=True, help="the most tokens of a row: 32 or more")
    clips.add_argument("--out", metavar="DIR", type=file_path, required=True, help="the folder of the new dataset")
    shared_options(clips)
    measures = _verb(verbs, "lengths", "show how many tokens the rows have")
    _dataset_option(measures)
    _model_options(measures, required=True)
    _loss_option(measures)
    json_option(measures, "the lengths")
    peeks = _verb(verbs, "peek", "show rows as the model sees them, with the tokens that are trained in colour")
    _dataset_option(peeks)
    _model_options(peeks, required=True)
    _loss_option(peeks)
    peeks.add_argument("--rows", metavar="N", type=whole(1), default=3, help="how many rows (default: 3)")
    peeks.add_argument("--skip", metavar="N", type=whole(0), default=0, help="pass over the first N rows")
    peeks.add_argument(
        "--kind",
        type=row_kind,
        choices=("chat", "text", "fim"),
        default=None,  # argparse would give "" to `row_kind`, which refuses it
        help="only rows of this kind; conversation and gap, as the report calls them, are accepted, too",
    )
    peeks.add_argument(
        "--contains",
        metavar="TEXT",
        default="",
        help="only rows with this text, or from such a path, commit or session",
    )
    json_option(peeks, "the rows")
    checks = _verb(verbs, "check", "check the files, and whether evaluation answers are visible in the training rows")
    _dataset_option(checks)
    json_option(checks, "what was found")
    reports = _verb(verbs, "report", "show what is in a dataset")
    _dataset_option(reports)
    _model_options(reports, required=False)
    reports.add_argument(
        "--context",
        metavar="N",
        type=whole(2),
        help=f"with --model: the context that rows are measured for, in tokens (default: {CONTEXT})",
    )
    reports.add_argument(
        "--loss", choices=LOSSES, help="with --model: what is trained, as data.loss of a training (default: assistant)"
    )
    json_option(reports, "the figures of the report")
    differs = _verb(verbs, "diff", "show what differs between two datasets")
    differs.add_argument("first", metavar="DATASET", type=file_path, help="the folder of a dataset")
    differs.add_argument("second", metavar="DATASET", type=file_path, help="the folder of another")
    json_option(differs, "the differences")


def _verb(verbs: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a verb with its examples."""
    examples = "".join(f"{line}\n" for line in EXAMPLES.splitlines() if f"data {name}" in line)
    added: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=summary.capitalize() + ".", epilog="examples:\n" + examples
    )
    added.synonyms = SYNONYMS  # type: ignore[attr-defined]
    return added


def _loss_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--loss",
        choices=LOSSES,
        default="assistant",
        help="what is trained, as data.loss of a training (default: assistant)",
    )


def _dataset_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", type=file_path, help="the folder of a dataset")


def _model_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    model = parser.add_argument(
        "--model",
        metavar="MODEL",
        required=required,
        help=f"whose tokenizer and chat template are used: {MODEL_FORMS}",
    )
    model.completer = complete_model  # type: ignore[attr-defined]
    parser.add_argument(
        "--for", metavar="FAMILY", dest="family", default="", help="the family whose markers rows with gaps get"
    )


def _merge_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="DATASET", nargs="+", help="folders of datasets")
    parser.add_argument(
        "--out", metavar="DIR", type=file_path, help="the folder of the new dataset (default: data/NAME)"
    )
    for option, (metavar, text) in _HELP.items():
        parser.add_argument(option, metavar=metavar, help=text)
    parser.add_argument(
        "--against",
        metavar="PATH",
        action="append",
        default=[],
        help="an evaluation set (JSON lines, CSV, text, or a folder): rows that contain its items are left out; may be repeated",
    )
    shared_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says; returns the exit status."""
    verbs = {
        "merge": merge,
        "clip": clip,
        "lengths": lengths,
        "peek": peek,
        "check": check,
        "report": report,
        "diff": difference,
    }
    return verbs[arguments.verb](arguments)


def merge(arguments: argparse.Namespace) -> int:
    """Start a merge and follow it."""
    from seedbed.actions.preparing import with_inputs
    from seedbed.cli.merge_inputs import note_other_ledgers, usable_inputs
    from seedbed.errors import UsageError

    if arguments.out is None:
        if arguments.name is None:
            raise UsageError("The new dataset has no folder.", "Give --out DIR, or --name NAME for data/NAME.")
        arguments.out = _FOLDER / arguments.name
    wanted = with_inputs(resolved(arguments), "merge", usable_inputs(arguments.inputs, arguments.out))
    if not wanted.config.split.ledger:
        note_other_ledgers(wanted.config.merge.inputs, arguments.out)
    return start_and_follow(arguments, "merge", wanted)


def resolved(arguments: argparse.Namespace) -> Resolved[Merging]:
    """The config that the options describe. Raises UsageError if a value is wrong."""
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import MERGE
    from seedbed.files import normal_path

    flags: dict[str, Any] = {
        path: Flagged(getattr(arguments, option[2:].replace("-", "_")), option) for option, path in MERGE_KEYS.items()
    }
    if arguments.against:
        flags["decontamination.against"] = Flagged([str(normal_path(each)) for each in arguments.against], "--against")
    return resolve(MERGE, sets=arguments.sets, flags=flags)


def clip(arguments: argparse.Namespace) -> int:
    """Start a clipping and follow it."""
    from seedbed.actions.preparing import with_inputs
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import CLIP

    flags = {
        "clip.most_tokens": Flagged(arguments.max_tokens, "--max-tokens"),
        "clip.model": Flagged(str(_model(arguments)), "--model"),
        "clip.family": Flagged(arguments.family or None, "--for"),
    }
    wanted = with_inputs(resolve(CLIP, sets=arguments.sets, flags=flags), "clip", [str(arguments.dataset)])
    return start_and_follow(arguments, "clip", wanted)


def _model(arguments: argparse.Namespace) -> Path:
    """The folder of the model that --model names; a folder with nothing but a tokenizer will do."""
    from seedbed.checkpoint.marker import CONFIG
    from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
    from seedbed.cli.model_choice import choose_model
    from seedbed.cli.store_option import store
    from seedbed.errors import UsageError
    from seedbed.files import normal_path
    from seedbed.runs.store import is_run
    from seedbed.text import quoted

    folder = normal_path(arguments.model)
    if (folder / TOKENIZER_JSON).is_file():
        return folder
    if folder.is_dir() and not (is_run(folder) or (folder / CONFIG).is_file()):
        raise UsageError(
            f"{quoted(arguments.model)} has neither {CONFIG} nor {TOKENIZER_JSON}, so it is not a model folder.",
            "Give --model a run, or a folder with the tokenizer of a model.",
        )
    return choose_model(store(getattr(arguments, "runs", None)), arguments.model, None).model_path()


def lengths(arguments: argparse.Namespace) -> int:
    """Print how many tokens the rows have."""
    from seedbed.cli.console import say, say_json, width
    from seedbed.presentation.dataset import length_lines

    found = last_answer(
        "lengths", arguments, model=str(_model(arguments)), family=arguments.family, loss=arguments.loss
    )
    if arguments.json:
        say_json(found)
        return 0
    for line in length_lines(found, width()):
        say(line)
    return 0


def peek(arguments: argparse.Namespace) -> int:
    """Print rows as the model sees them."""
    from seedbed.actions.preparing import look
    from seedbed.cli.console import colour, note, paint, say, say_json
    from seedbed.presentation.dataset import dropped_lines, peeked_heading, peeked_lines

    model = str(_model(arguments))
    asked = {name: getattr(arguments, name) for name in ("family", "loss", "rows", "skip", "contains")}
    asked["kind"] = arguments.kind or ""
    rows = []
    dropped: list[str] = []
    if not (arguments.json or colour(sys.stdout)):
        note("⟦ ⟧: text that is trained")
    for answer in look("peek", arguments.dataset, model=model, **asked):
        if "spans" not in answer:
            dropped = dropped_lines(answer["drops"])
        elif arguments.json:
            rows.append(answer)
        else:
            rows.append(answer)
            say(paint(peeked_heading(answer), "bold"))
            for line in peeked_lines(answer):
                say("".join(shown(text, trained) for text, trained in line))
            say()
    if arguments.json:
        say_json(rows)
    elif not rows and not dropped:
        note("No row matches.")
    for reason in dropped:
        note(reason)
    return 0


def shown(text: str, trained: bool) -> str:  # a pair from a list
    """A part of a row: trained text is green and the rest dim; without colours, trained text is in brackets."""
    from seedbed.cli.console import colour, paint

    if colour(sys.stdout):
        return paint(text, "green" if trained else "dim")
    return f"⟦{text}⟧" if trained else text


def check(arguments: argparse.Namespace) -> int:
    """Check a dataset; exit status 1 if evaluation answers leak, or if a row is in both parts."""
    from seedbed.cli.console import say, say_json, width
    from seedbed.errors import EXIT_FAILURE
    from seedbed.presentation.dataset import check_lines, is_sound

    found = last_answer("check", arguments)
    if arguments.json:
        say_json(found)
    else:
        for line in check_lines(found, width()):
            say(line)
    return 0 if is_sound(found) else EXIT_FAILURE


def report(arguments: argparse.Namespace) -> int:
    """Print what is in a dataset; with a model, measure its tokens first, and store them in the report card."""
    from msgspec import to_builtins

    from seedbed.cli.console import note, say, say_json, width
    from seedbed.curation.folder import REPORT_HTML, describe, resized
    from seedbed.curation.report.terminal import lines
    from seedbed.text import printable, quoted

    if arguments.model is None:
        refuse_without_model(arguments)
        described = describe(arguments.dataset)
        summary = summary_of(arguments.dataset, described)
        for path in resized(arguments.dataset, described):
            note(f"{quoted(path)} has changed since the dataset was made; the report is of what it was.")
    else:
        summary = measured_summary(arguments)
    if arguments.json:
        say_json(to_builtins(summary))
        return 0
    for line in lines(summary, width()):
        say(line)
    page = arguments.dataset / REPORT_HTML
    if page.is_file():
        say(f"The same as a page: {printable(str(page))}")
    return 0


def refuse_without_model(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options that say how tokens are measured, without the model that makes them."""
    from seedbed.errors import UsageError

    for option, value in (("--context", arguments.context), ("--loss", arguments.loss), ("--for", arguments.family)):
        if value:
            raise UsageError(
                f"{option} says how tokens are measured, and no model is given.", "Give one with --model MODEL."
            )


def measured_summary(arguments: argparse.Namespace) -> Summary:
    """The figures of a dataset's report with its tokens, which are measured now and stored in the folder."""
    import msgspec

    from seedbed.cli.console import note
    from seedbed.curation.report.summary import Summary

    found = last_answer(
        "report",
        arguments,
        model=str(_model(arguments)),
        family=arguments.family,
        context=arguments.context or CONTEXT,
        loss=arguments.loss or LOSSES[0],
    )
    if "unsaved" in found:
        note(f"The report card in the folder stays as it was. {found['unsaved']}")
    return msgspec.convert(found["summary"], Summary)


def summary_of(folder: Path, description: Description) -> Summary:
    """The figures of a dataset's report: those that are stored, else of its rows."""
    from seedbed.curation.folder import REPORT_JSON
    from seedbed.curation.report.summary import read_report, summarise

    stored = read_report(folder, description) if (folder / REPORT_JSON).is_file() else None
    return stored or summarise(folder, description)


def difference(arguments: argparse.Namespace) -> int:
    """Print what differs between two datasets."""
    from msgspec import to_builtins

    from seedbed.cli.console import say, say_json, width
    from seedbed.curation.folder import describe
    from seedbed.curation.report.difference import difference as between
    from seedbed.curation.report.difference import difference_lines

    described = [(folder, describe(folder)) for folder in (arguments.first, arguments.second)]
    first, second = ((folder, each, summary_of(folder, each)) for folder, each in described)
    found = between(first, second)
    if arguments.json:
        say_json(to_builtins(found))
        return 0
    for line in difference_lines(found, width()):
        say(line)
    return 0


def last_answer(what: str, arguments: argparse.Namespace, **request: Any) -> dict[str, Any]:
    """The result of measuring a dataset; on a terminal, the progress is shown meanwhile."""
    from seedbed.actions.preparing import look
    from seedbed.cli.console import set_temporary_line
    from seedbed.text import size

    found: dict[str, Any] = {}
    try:
        for answer in look(what, arguments.dataset, **request):
            if "done" in answer:
                set_temporary_line(f"  {what}: {size(answer['done'])} of {size(answer['total'])}")
            else:
                found = answer
    finally:
        set_temporary_line()
    return found
