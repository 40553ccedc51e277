"""Licences of files in commits, and the step that leaves out records whose licences are not let through."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from seedbed.curation.drops import Drops
from seedbed.curation.record import Licence, Record
from seedbed.curation.repositories import git
from seedbed.curation.repositories.filters import path_reason
from seedbed.curation.repositories.licences import LICENCE_BYTES, UNKNOWN, Licences, gate, licence_paths


def licence_at_head(repository: git.Repository, commit: str, path: str) -> Licence:
    """The licence of a path by the licence files and package metadata of the repository's HEAD.

    It is that of HEAD for every commit: who holds the rights gives the whole history under the licence of today, and
    reading it anew for each commit would take longer than the commit. Headers of files are not read.
    """
    return _licences_at_head(repository).of(path, "")


def licence_files_at_head(repository: git.Repository) -> dict[str, str]:
    """The paths of the files from which `licence_at_head` finds licences, with the hashes of their contents.

    Empty if the files of HEAD cannot be listed.
    """
    head = git.commit_hash(repository)
    try:
        files = {} if head is None else {each.path: each for each in git.tracked_files(repository, head)}
    except git.GitError:
        return {}
    wanted = (files[path] for path in licence_paths(files) if path_reason(path) is None)
    return {each.path: each.hash for each in wanted if each.mode.startswith("100")}


@lru_cache(maxsize=8)
def _licences_at_head(repository: git.Repository) -> Licences:
    texts: dict[str, str] = {}
    with git.Objects(repository) as objects:
        for path, digest in licence_files_at_head(repository).items():
            try:
                content, _ = objects.read(digest, LICENCE_BYTES)
            except git.GitError:
                continue
            texts[path] = (content or b"").decode("utf-8", "replace")
    return Licences(texts, texts.get)


class LicenceGate:
    """A step that keeps records whose licence is let through; one without a licence counts as unknown."""

    name = "licences"
    version = 1

    def __init__(self, wanted: str) -> None:
        """`wanted`: any, permissive, or SPDX identifiers separated by commas. Raises UsageError for others."""
        self._gate = gate(wanted)

    def __call__(self, records: Iterator[Record], drops: Drops) -> Iterator[Record]:
        """Yield the records that are let through; the others are counted by their licence."""
        for record in records:
            licence = record.licence or Licence(spdx=UNKNOWN, found_in="")
            if self._gate.lets_through(licence):
                yield record
            else:
                where = f"{record.provenance.repository}/{record.provenance.path or record.provenance.commit}"
                drops.drop(self.name, f"licence not let through: {licence.spdx}", where, record.text or "")
