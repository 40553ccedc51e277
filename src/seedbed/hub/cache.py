"""The Hub's cache on this machine, which all programs share: which models it has, at which commits. Needs no network.

    HF_HUB_CACHE/models--OWNER--NAME/refs/REVISION               the commit that a branch or tag was at when it was last seen
    HF_HUB_CACHE/models--OWNER--NAME/snapshots/COMMIT/FILE       links to files in blobs/

The layout is documented in huggingface_hub's guide "Manage your cache".
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from seedbed.checkpoint.headers import weight_files
from seedbed.checkpoint.marker import CONFIG
from seedbed.errors import SeedbedError
from seedbed.hub.names import HubName, is_commit

_MODELS, _SNAPSHOTS = "models--", "snapshots"


class Snapshot(NamedTuple):
    """A commit of a model in the cache, and the branches and tags that were at this commit when they were last seen."""

    name: str
    commit: str
    revisions: tuple[str, ...]
    folder: Path

    @property
    def reference(self) -> str:
        """The reference that always names this commit, `hub:NAME@COMMIT`."""
        return str(HubName(self.name, self.commit))


def cache_folder() -> Path | None:
    """The folder of the Hub's cache, which HF_HUB_CACHE or HF_HOME moves; None if the package of the Hub is missing."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return None
    return Path(constants.HF_HUB_CACHE).absolute()


def repository_folder(cache: Path, name: str) -> Path:
    """The folder of a model in the cache."""
    return cache / (_MODELS + name.replace("/", "--"))


def reference_of(folder: Path) -> str | None:
    """The reference `hub:NAME@COMMIT` of a snapshot's folder in a cache of the Hub; None for any other folder."""
    repository = folder.parent.parent.name
    if folder.parent.name != _SNAPSHOTS or not repository.startswith(_MODELS) or not is_commit(folder.name):
        return None
    return str(HubName(_name_of(repository), folder.name))


def _name_of(repository: str) -> str:
    """The name of a model, from that of its folder in the cache."""
    return repository.removeprefix(_MODELS).replace("--", "/")


def snapshot_of(cache: Path, wanted: HubName) -> Snapshot | None:
    """The complete snapshot of a model's revision in the cache; None if there is none."""
    folder = repository_folder(cache, wanted.name)
    commit = wanted.revision if is_commit(wanted.revision) else _commit_at(folder / "refs" / wanted.revision)
    if commit is None or not is_complete(folder / _SNAPSHOTS / commit):
        return None
    return Snapshot(wanted.name, commit, (wanted.revision,), folder / _SNAPSHOTS / commit)


def snapshots(cache: Path) -> list[Snapshot]:
    """The complete snapshots of models with safetensors weights in the cache, by name; of one model, the newest first."""
    found: list[Snapshot] = []
    for folder in _folders(cache):
        if folder.name.startswith(_MODELS):
            name = _name_of(folder.name)
            revisions = _revisions(folder / "refs")
            there = [each for each in _folders(folder / _SNAPSHOTS) if is_commit(each.name) and is_complete(each)]
            found += [
                Snapshot(name, each.name, tuple(revisions.get(each.name, ())), each)
                for each in sorted(there, key=_modified, reverse=True)
            ]
    return sorted(found, key=lambda each: each.name.casefold())


def is_complete(folder: Path) -> bool:
    """Whether a folder has a config.json and all its weights: model.safetensors, or all shards that the index lists."""
    try:
        return (folder / CONFIG).is_file() and bool(weight_files(folder))
    except (OSError, SeedbedError):
        return False


def _commit_at(ref: Path) -> str | None:
    """The commit in a file of `refs`; None if the file is missing or has none."""
    try:
        commit = ref.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None


def _revisions(refs: Path) -> dict[str, list[str]]:
    """Commit -> the branches and tags that were at it."""
    found: dict[str, list[str]] = {}
    try:
        files = sorted(path for path in refs.rglob("*") if path.is_file())
    except OSError:
        return found
    for path in files:
        commit = _commit_at(path)
        if commit is not None:
            found.setdefault(commit, []).append(path.relative_to(refs).as_posix())
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
