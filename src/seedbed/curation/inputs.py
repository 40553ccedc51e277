"""The units of input that a config names: logs of assistants, source files of repositories, and their commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seedbed import files
from seedbed.config.directories import cache_dir
from seedbed.config.preparing import Preparation
from seedbed.curation.commits.examples import ExampleOptions
from seedbed.curation.commits.units import CommitOptions, commit_units
from seedbed.curation.drops import Drops
from seedbed.curation.fim.edit_units import EditOptions, edit_units
from seedbed.curation.fim.samples import SampleOptions
from seedbed.curation.fim.units import FimOptions, fim_units
from seedbed.curation.logs.configured import log_units
from seedbed.curation.repositories import git, harvest
from seedbed.curation.repositories.harvest import Found
from seedbed.curation.repositories.history import HistoryOptions
from seedbed.curation.repositories.licence_gate import licence_at_head
from seedbed.curation.steps import Unit
from seedbed.errors import UsageError
from seedbed.text import quoted

CLONES = "repositories"
"""The folder in the cache for repositories that were cloned."""
Finder = Callable[[str, Preparation, Drops, bool], Sequence[Unit]]


def units_of(config: Preparation, drops: Drops, *, update: bool = True) -> list[Unit]:
    """The units of all inputs, in a fixed order. What is not read at all is counted in `drops`.

    `update`: whether a repository that was cloned before gets what is new. Only one process may do that: the units of the
    others must be the same, and git refuses two at a time.

    Raises UsageError if an input does not exist or has nothing of the wanted kind.
    """
    find = FINDERS[config.prepare.what]
    found: list[Unit] = []
    for name in config.prepare.inputs:
        with files.explained(Path(name)):
            found += find(name, config, drops, update)
    if not found:
        names = ", ".join(quoted(name) for name in config.prepare.inputs)
        since = (
            f" Or no commit is since {config.commits.since}: use an earlier --since." if config.commits.since else ""
        )
        raise UsageError(f"{names}: {_NOTHING[config.prepare.what]}.", f"Check the path.{since}")
    return found


def _logs(name: str, config: Preparation, drops: Drops, update: bool) -> Sequence[Unit]:
    return log_units([name], config.logs)


def _fim(name: str, config: Preparation, drops: Drops, update: bool) -> Sequence[Unit]:
    return [*fim_units(Path(name), _fim_options(config)), *_edits(Path(name), config)]


def _edits(path: Path, config: Preparation, name: str | None = None) -> Sequence[Unit]:
    """The units for gaps from the edits of commits, if these are wanted."""
    if config.fim.edits == 0:
        return []
    commits = _commit_options(config)
    options = EditOptions(history=commits.history, per_commit=config.fim.edits, max_files=commits.examples.max_files)
    return edit_units(path, _fim_options(config), options, name=name)


def _fim_options(config: Preparation) -> FimOptions:
    asked, fim = config.prepare, config.fim
    samples = SampleOptions(max_tokens=asked.most_tokens, fim_rate=fim.rate, psm_rate=1 - fim.spm_rate, seed=asked.seed)
    return FimOptions(
        family=fim.family or None,
        tokenizer=Path(asked.tokenizer_folder) if asked.tokenizer_folder else None,
        samples=samples,
        untracked=fim.untracked,
        licences=asked.licences,
        context=fim.context,
    )


def _commits(name: str, config: Preparation, drops: Drops, update: bool) -> Sequence[Unit]:
    return commit_units(Path(name), _commit_options(config), licence_of=licence_at_head)


def _commit_options(config: Preparation) -> CommitOptions:
    asked = config.commits
    return CommitOptions(
        history=HistoryOptions(
            branch=asked.branch or None,
            all_branches=asked.all_branches,
            since=asked.since or None,
            max_commits=asked.max_commits or None,
        ),
        examples=ExampleOptions(
            form="blocks" if asked.answer == "edits" else "diff",
            max_files=asked.max_files,
            max_lines=asked.max_lines,
            max_characters=asked.max_characters,
        ),
    )


def _harvest(name: str, config: Preparation, drops: Drops, update: bool) -> Sequence[Unit]:
    found: list[Unit] = []
    branch = config.commits.branch
    for each in _repositories(name, drops, update):
        place = each.repository.place
        found += fim_units(place, _fim_options(config), name=each.name)
        if branch and git.commit_hash(each.repository, branch) is None:
            drops.drop(harvest.STEP, "no branch with this name: commits are not read", each.name)
            continue
        found += _edits(place, config, each.name)
        found += commit_units(place, _commit_options(config), name=each.name, licence_of=licence_at_head)
    return found


def _repositories(name: str, drops: Drops, update: bool) -> list[Found]:
    """The repositories below a folder, or the one at an address, which is cloned into the cache."""
    if harvest.is_url(name):
        return [harvest.clone(name, cache_dir() / CLONES, update=update)]
    return harvest.find_repositories(Path(name), drops)


FINDERS: dict[str, Finder] = {"logs": _logs, "fim": _fim, "commits": _commits, "harvest": _harvest}
"""Kind of preparation (prepare.what) -> the function that finds the units of an input."""
_NOTHING = {
    "logs": "there is no log that can be read",
    "fim": "there are no source files that can be read",
    "commits": "there are no commits",
    "harvest": "there is no repository with files or commits",
}
