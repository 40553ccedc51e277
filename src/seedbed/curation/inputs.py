"""The units of input that a config names: logs of assistants, source files of repositories, and their commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

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
from seedbed.curation.repositories.git import GitError
from seedbed.curation.repositories.harvest import Found
from seedbed.curation.repositories.history import HistoryOptions
from seedbed.curation.repositories.licence_gate import licence_at_head, licence_files_at_head
from seedbed.curation.repositories.names import Names, owner_of
from seedbed.curation.steps import Unit
from seedbed.errors import UsageError
from seedbed.text import quoted

CLONES = "repositories"
"""The folder in the cache for repositories that were cloned."""


class Finding(NamedTuple):
    """What all inputs share while their units are found."""

    config: Preparation
    drops: Drops
    update: bool
    check: Callable[[], None] | None
    names: Names


Finder = Callable[[str, Finding], Sequence[Unit]]


def units_of(
    config: Preparation, drops: Drops, *, update: bool = True, check: Callable[[], None] | None = None
) -> list[Unit]:
    """The units of all inputs, in a fixed order. What is not read at all is counted in `drops`.

    `update`: whether a repository that was cloned before gets what is new. Only one process may do that: the units of the
    others must be the same, and git refuses two at a time. `check` is called several times a second during a clone.

    Raises UsageError if an input does not exist or has nothing of the wanted kind.
    """
    find, finding = FINDERS[config.prepare.what], Finding(config, drops, update, check, Names())
    found: list[Unit] = []
    for name in config.prepare.inputs:
        with files.explained(Path(name)):
            found += find(name, finding)
    if not found:
        names = ", ".join(quoted(name) for name in config.prepare.inputs)
        since = (
            f" Or no commit is since {config.commits.since}: use an earlier --since." if config.commits.since else ""
        )
        bad = [f" {each.where}: {each.text}" for each in drops.samples if each.reason.startswith("unreadable")]
        raise UsageError(
            f"{names}: {_NOTHING[config.prepare.what]}.{''.join(bad[:1])}",
            f"Check the path.{since}{_untracked(config)}",
        )
    return found


def _untracked(config: Preparation) -> str:
    """For repositories without files: that git must know these."""
    if config.prepare.what not in ("fim", "harvest") or not any(
        (Path(each) / ".git").exists() for each in config.prepare.inputs
    ):
        return ""
    return " Of a repository, the files that git tracks are read: add them with `git add`."


def _logs(name: str, finding: Finding) -> Sequence[Unit]:
    return log_units([name], finding.config.logs)


def _fim(name: str, finding: Finding) -> Sequence[Unit]:
    path, config = Path(name), finding.config
    units = fim_units(path, _fim_options(config))
    shown = None
    if units:
        shown = finding.names.add(*owner_of(units[0].repository, path))
        units = [replace(unit, tree=replace(unit.tree, name=shown)) for unit in units]
    return [*units, *_edits(path, config, shown)]


def _edits(path: Path, config: Preparation, name: str | None) -> Sequence[Unit]:
    """The units for gaps from the edits of commits, if these are wanted."""
    if config.fim.edits == 0:
        return []
    commits = _commit_options(config)
    options = EditOptions(history=commits.history, per_commit=config.fim.edits, max_files=commits.examples.max_files)
    return edit_units(path, _fim_options(config, config.commits.branch), options, name=name)


def _fim_options(config: Preparation, commit: str = "") -> FimOptions:
    """`commit`: the branch whose files are read; "": those in the folder."""
    asked, fim = config.prepare, config.fim
    samples = SampleOptions(max_tokens=asked.most_tokens, fim_rate=fim.rate, psm_rate=1 - fim.spm_rate, seed=asked.seed)
    return FimOptions(
        family=fim.family or None,
        tokenizer=Path(asked.tokenizer_folder) if asked.tokenizer_folder else None,
        samples=samples,
        untracked=fim.untracked,
        commit=commit or None,
        licences=asked.licences,
        context=fim.context,
    )


def _commits(name: str, finding: Finding) -> Sequence[Unit]:
    path = Path(name)
    shown = finding.names.add(*owner_of(git.open_repository(path), path))
    return _units_of_commits(path, finding.config, shown)


def _units_of_commits(path: Path, config: Preparation, name: str) -> Sequence[Unit]:
    return commit_units(
        path,
        _commit_options(config),
        name=name,
        licence_of=licence_at_head,
        licence_files_of=licence_files_at_head,
    )


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


def _harvest(name: str, finding: Finding) -> Sequence[Unit]:
    found: list[Unit] = []
    config, branch = finding.config, finding.config.commits.branch
    for each in _repositories(name, finding):
        place = each.repository.place
        if branch and git.commit_hash(each.repository, branch) is None:
            finding.drops.drop(harvest.STEP, "repository without a branch of this name", each.name)
            continue
        kinds: tuple[tuple[str, Callable[[], Sequence[Unit]]], ...] = (
            ("files", partial(fim_units, place, _fim_options(config, branch), name=each.name)),
            ("edits", partial(_edits, place, config, each.name)),
            ("commits", partial(_units_of_commits, place, config, each.name)),
        )
        for what, find in kinds:
            try:
                found += find()
            except GitError as error:  # a damaged repository does not end the others
                finding.drops.drop(harvest.STEP, f"unreadable {what} of a repository", each.name, error.message)
    return found


def _repositories(name: str, finding: Finding) -> list[Found]:
    """The repositories below a folder, or the one at an address, which is cloned into the cache."""
    if harvest.is_url(name):
        clones = cache_dir() / CLONES
        return [harvest.clone(name, clones, update=finding.update, check=finding.check, names=finding.names)]
    return harvest.find_repositories(Path(name), finding.drops, finding.names)


FINDERS: dict[str, Finder] = {"logs": _logs, "fim": _fim, "commits": _commits, "harvest": _harvest}
"""Kind of preparation (prepare.what) -> the function that finds the units of an input."""
_NOTHING = {
    "logs": "there is no log that can be read",
    "fim": "there are no source files that can be read",
    "commits": "there are no commits",
    "harvest": "there is no repository with files or commits",
}
