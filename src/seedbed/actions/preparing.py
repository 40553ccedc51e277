"""Prepares and merges datasets: checks what is asked, and starts the task. Needs no torch."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from msgspec import to_builtins
from msgspec.structs import replace

from seedbed.actions import launching, records
from seedbed.actions.models import child
from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.config.environment import env
from seedbed.config.preparing import Clipping, Merging, Preparation, QualityConfig
from seedbed.config.resolving import Resolved
from seedbed.curation.executors import read_executor
from seedbed.curation.folder import describe, is_dataset, refuse_existing
from seedbed.curation.repositories.git import without_credentials
from seedbed.curation.repositories.harvest import check_url, find_repositories, is_url, remote_refs
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home, explained, normal_path
from seedbed.runs.kinds import KINDS
from seedbed.runs.lifecycle import RunBusyError
from seedbed.runs.status import current_status
from seedbed.runs.statuses import LIVE
from seedbed.runs.store import RunDir, Store
from seedbed.runs.tasks import FOLDER, forget_task, output_of
from seedbed.text import is_utf_8, listed, plural, quoted
from seedbed.tokenizer.model_files import missing_tokenizer

LEAST_CLIPPED_TOKENS = 32
"""The fewest tokens that rows may be cut to: ChatML with a short system message, a question and an answer has as many."""


def models_in_logs(config: Preparation) -> Counter[str]:
    """How many answers each model wrote in the logs that a config names. Reads them all.

    Raises UsageError or SeedbedError if there are no logs.
    """
    from seedbed.curation.drops import Drops
    from seedbed.curation.logs.configured import log_units
    from seedbed.curation.logs.units import models_of

    drops = Drops()
    for unit in log_units(config.prepare.inputs, config.logs):
        for _ in unit.read(drops):
            pass
    return models_of(drops)


def with_inputs(resolved: Resolved[Any], table: str, inputs: Sequence[str]) -> Resolved[Any]:
    """The config with these inputs in `table` (`prepare` or `merge`), as absolute paths. Raises UsageError without any."""
    if not inputs or any(not name.strip() for name in inputs):
        what = "An input is an empty text." if inputs else "No input is given."
        raise UsageError(what, "Name at least one file or folder.")
    found = []
    for name in inputs:
        path = name if is_url(name) else str(normal_path(name))
        if not is_utf_8(path):
            raise UsageError(f"The path {quoted(path)} is not UTF-8.", "Rename it, or make a link to it.")
        if path not in found:
            found.append(path)
    table_config = getattr(resolved.config, table)
    executor = getattr(table_config, "executor", "processes")
    if executor != "processes":
        table_config = replace(table_config, executor=str(normal_path(executor)))
    resolved = _with_own_names(resolved)
    config = replace(resolved.config, **{table: replace(table_config, inputs=tuple(found))})
    return Resolved(config, resolved.origins | {f"{table}.inputs": "command line"})


def _with_own_names(resolved: Resolved[Any]) -> Resolved[Any]:
    """The config with the login name and the name of this machine, which are personal data, unless others are given."""
    redaction = getattr(resolved.config, "redaction", None)
    if redaction is None or not redaction.personal:
        return resolved
    own = {"user": env("USER") or env("LOGNAME"), "host": platform.node().partition(".")[0]}
    missing = {
        name: value for name, value in own.items() if value and getattr(redaction, name) is None and is_utf_8(value)
    }
    config = replace(resolved.config, redaction=replace(redaction, **missing))
    return Resolved(config, resolved.origins | {f"redaction.{name}": "this machine" for name in missing})


def start_dataset_task(
    store: Store,
    kind: str,
    resolved: Resolved[Any],
    output: Path,
    name: str | None = None,
    command: Sequence[str] = (),
    *,
    force: bool = False,
) -> launching.Launch:
    """Create the task `kind` (prepare or merge), whose output is the folder `output`, and start its job.

    Raises UsageError, before anything is written, for a config, output or name that cannot work.
    """
    target = normal_path(expand_home(output))
    above = next(each for each in target.parents if each.exists())
    if not above.is_dir():
        raise UsageError(f"{quoted(above)} is a file, not a folder.", "Give another folder with --out.")
    refuse_existing(target, force=force)
    inputs = getattr(resolved.config, kind).inputs
    if any(normal_path(each) == target or target in normal_path(each).parents for each in inputs if not is_url(each)):
        raise UsageError(f"{quoted(output)} is an input, too.", "Give another folder with --out.")
    refuse_second_task(target)
    return launching.start_new_task(store, KINDS[kind], target, resolved, name, command)


def refuse_second_task(output: Path) -> None:
    """Raise RunBusyError if a task that runs, waits or is paused will put its result in the place of `output`."""
    for task in Store(output.parent / FOLDER).all():
        if output_of(task) == output and current_status(task).status in LIVE:
            raise RunBusyError(
                f"The task {quoted(task.name())} ({task.id}) is making {quoted(output)} already.",
                f"Watch it with `seedbed status {task.id}`, stop it with `seedbed stop {task.id}`, or give another folder "
                "with --out.",
            )


def discard(store: Store, task: RunDir) -> None:
    """Remove a task of whose input nothing can be made, as if it had not been created. Raises SeedbedError if it runs."""
    records.delete(task)
    forget_task(store, task)


def check_preparation(config: Preparation, store: Store) -> None:
    """Raise UsageError or SeedbedError if a quick check shows that a preparation cannot work."""
    _check_quality(config.quality)
    for name in config.prepare.inputs:
        if is_url(name):
            _check_address(name, config.prepare.what)
        else:
            _check_path(Path(name), config.prepare.what, only=len(config.prepare.inputs) == 1)
    _check_code(config)
    executor = config.prepare.executor
    if executor == "processes":
        return
    if not Path(executor).is_file():
        raise UsageError(
            f"--executor {quoted(executor)} is neither `processes` nor a file.",
            "Give a TOML file that configures the executor, or leave --executor out.",
        )
    read_executor(Path(executor))
    if find_spec("datatrove") is None:
        raise SeedbedError("--executor needs the package datatrove.", "Install it: pip install 'seedbed[cluster]'.")


def _check_path(path: Path, what: str, *, only: bool) -> None:
    """Refuse a path that is not there, a file where a folder is needed, and an empty folder if it is the `only` input."""
    if not path.exists():
        raise UsageError(f"{quoted(path)} does not exist.", "Check the path.")
    if path.is_dir():
        with explained(path):
            if only and next(path.iterdir(), None) is None:
                raise UsageError(f"{quoted(path)} is an empty folder.", "Check the path.")
        if what == "logs" and is_dataset(path):
            raise UsageError(f"{quoted(path)} is a dataset already.", "`seedbed data merge` reads datasets.")
    elif what != "logs":
        raise UsageError(f"{quoted(path)} is a file, not a folder.", "Give the folder of a repository.")
    elif not path.stat().st_size:
        raise UsageError(f"{quoted(path)} is an empty file.", "Check the path.")


def _check_quality(quality: QualityConfig) -> None:
    """Refuse limits of the filters of quality that change nothing, since the filters are off."""
    if quality.filters or quality == QualityConfig():
        return
    standard, asked = to_builtins(QualityConfig()), to_builtins(quality)
    given = [f"quality.{name}" for name, value in asked.items() if value != standard[name]]
    raise UsageError(
        f"The filters of quality are off, so {listed(given)} would change nothing.",
        "Add --set quality.filters=true, or leave that out.",
    )


def _check_address(address: str, what: str) -> None:
    """Refuse an address that cannot be cloned, and one with a password, which would stand in the files of the task."""
    shown = quoted(without_credentials(address))
    if what != "harvest":
        raise UsageError(f"{shown} is an address, not a path.", "`seedbed prepare harvest` clones it.")
    if re.match(r"https?://[^/]*@", address):
        raise UsageError(
            f"The address {shown} was given with a user name or password, which would be stored with the task.",
            "Clone the repository yourself and give its folder, or use an ssh address.",
        )
    check_url(address)
    folder = address.removeprefix("file://")
    if folder != address and folder.startswith("/") and not Path(unquote(folder)).exists():
        raise UsageError(f"{shown} does not exist.", "Check the path.")


def _check_code(config: Preparation) -> None:
    """Refuse what cannot work with source files and commits: names, missing packages, folders that are no repositories."""
    from seedbed.curation.fim.family_table import LEAST_TOKENS, check_context, family_named
    from seedbed.curation.repositories.licences import gate

    asked = config.prepare
    if asked.what in ("fim", "harvest") and asked.most_tokens < LEAST_TOKENS:
        raise UsageError(
            f"Pieces of {plural(asked.most_tokens, 'token')} are too short: their markers and ends alone may need "
            f"{LEAST_TOKENS // 2}.",
            f"Give --max-tokens {LEAST_TOKENS} or more.",
        )
    gate(asked.licences)
    family = family_named(config.fim.family) if config.fim.family else None
    if config.fim.context == "repository":
        check_context(family)
    if asked.what in ("fim", "harvest") and find_spec("tree_sitter") is None:
        raise SeedbedError("Source files need the package tree-sitter.", "Install it: pip install 'seedbed[prepare]'.")
    if asked.what in ("commits", "harvest"):
        _check_commits(config)
    if asked.tokenizer_folder:
        _check_tokenizer(Path(asked.tokenizer_folder), "--tokenizer")


def _check_tokenizer(folder: Path, option: str) -> None:
    """Refuse a folder without a tokenizer that `option` names."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"{quoted(folder)} {what}.", f"Give {option} the folder of a model, with its tokenizer.json.")
    if not (folder / TOKENIZER_JSON).is_file():
        error = missing_tokenizer(folder)
        raise UsageError(error.message, error.hint)


def _check_commits(config: Preparation) -> None:
    """Refuse a date that is none, folders that are no repositories, and a branch that no repository of an input has."""
    from seedbed.curation.drops import Drops
    from seedbed.curation.repositories import branches, git, history

    if config.commits.since:
        history.check_since(config.commits.since)
    branch = config.commits.branch
    for name in config.prepare.inputs:
        if config.prepare.what == "commits":
            repository = git.open_repository(Path(name))
            if branch:
                branches.check_branch(repository, branch)
        elif branch and is_url(name):
            refs = remote_refs(name)
            if not branches.is_listed(branch, refs):
                names = [ref.removeprefix("refs/heads/") for ref in refs if ref.startswith("refs/heads/")]
                raise branches.no_branch(branch, quoted(without_credentials(name)), names)
        elif branch:
            found = [each.repository for each in find_repositories(Path(name), Drops())]
            if all(git.commit_hash(each, branch) is None for each in found):
                names = [each for repository in found for each in branches.branch_names(repository)]
                raise branches.no_branch(branch, f"the repositories in {quoted(name)}", sorted(names))


def check_merge(config: Merging, store: Store) -> None:
    """Raise UsageError or SeedbedError if a quick check shows that a merge cannot work."""
    _check_quality(config.quality)
    for name in config.merge.inputs:
        describe(Path(name))
    for name in config.decontamination.against:
        if not Path(name).exists():
            raise UsageError(f"{quoted(name)} does not exist.", "Check the path of the evaluation set.")
    if config.split.ledger:
        _check_ledger(normal_path(config.split.ledger))


def _check_ledger(path: Path) -> None:
    """Refuse a ledger that cannot be written, before the merge, which writes it at its end."""
    if path.is_dir():
        raise UsageError(f"{quoted(path)} is a folder, not a file.", "Give --ledger a file; it may be new.")
    above = next(each for each in path.parents if each.exists())
    if not above.is_dir():
        raise UsageError(f"{quoted(above)} is a file, not a folder.", "Give another file with --ledger.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"There is no permission to write in {quoted(above)}.", "Give another file with --ledger.")


def check_clip(config: Clipping, store: Store) -> None:
    """Raise UsageError or SeedbedError if a quick check shows that a dataset cannot be clipped."""
    if len(config.clip.inputs) != 1:
        raise UsageError("One dataset is clipped at a time.", "Give one folder.")
    describe(Path(config.clip.inputs[0]))
    if config.clip.most_tokens < LEAST_CLIPPED_TOKENS:
        raise UsageError(
            f"Rows of {plural(config.clip.most_tokens, 'token')} are too short: only fragments would be left.",
            f"Give --max-tokens {LEAST_CLIPPED_TOKENS} or more. A system message, a question and its answer need about that.",
        )
    if not config.clip.model:
        raise UsageError("No model is given, whose tokenizer measures the rows.", "Give one with --model.")
    _check_tokenizer(Path(config.clip.model), "--model")


def look(what: str, folder: Path, **request: Any) -> Iterator[dict[str, Any]]:
    """Measure a dataset in a child process: `lengths`, `peek` or `check`. Yields its answers (see jobs/look.py).

    Raises UsageError or SeedbedError.
    """
    with child("look", {"what": what, "folder": str(folder), **request}) as answers:
        yield from answers
