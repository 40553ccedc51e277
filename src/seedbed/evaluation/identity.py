"""Which model an evaluation measures: fingerprints of its folder, so that no result mixes two models.

A folder may be overwritten while an evaluation is stopped, or while it runs. The fingerprints that were recorded when the
model was first scored tell a changed model from the same one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from seedbed.checkpoint.fingerprint import weights_fingerprint
from seedbed.checkpoint.marker import CONFIG
from seedbed.errors import SeedbedError
from seedbed.files import read_json
from seedbed.text import quoted
from seedbed.tokenizer.tokenizer import Tokenizer


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Fingerprints of what decides a model's losses: weights, tokenizer, and config.json (as a value, in any layout)."""

    weights: str
    tokenizer: str
    config: str


class MeasuredFolder:
    """A model folder with its name in messages, its tokenizer, its parsed config.json, and its identity when it was opened."""

    def __init__(self, name: str, path: Path) -> None:
        """Read all but the weights. Raises SeedbedError for a folder without tokenizer or weights."""
        self.name, self.path = name, path
        self._listing = _listing(path)
        self.tokenizer = Tokenizer.of_model(path)
        self.config: Any = read_json(path / CONFIG)
        self.identity = _identity(path, self.tokenizer, self.config)

    def refuse_unless(self, known: Identity) -> None:
        """Raise SeedbedError if `known`, the identity of the model that was scored before, is another."""
        self._refuse(known, self.identity)

    def refuse_change(self) -> None:
        """Raise SeedbedError if the folder has another model than when it was opened.

        The content is read only if files have changed. A folder that is gone or unreadable is no other model: the loaded
        one can go on.
        """
        listing = _listing(self.path)
        if listing is None or listing == self._listing:
            return
        try:
            found = _identity(self.path, Tokenizer.of_model(self.path), read_json(self.path / CONFIG))
        except SeedbedError:
            return
        self._refuse(self.identity, found)
        self._listing = listing

    def _refuse(self, known: Identity, found: Identity) -> None:
        changed = " and ".join(_changed(known, found))
        if changed:
            raise SeedbedError(
                f"{self.name} is another model than when this evaluation began to score it: {changed} in "
                f"{quoted(self.path)} changed.",
                "Start a new evaluation of this model. Or restore the earlier files, and resume this one.",
            )


def _identity(folder: Path, tokenizer: Tokenizer, config: Any) -> Identity:
    try:
        weights = weights_fingerprint(folder)
    except SeedbedError as error:
        raise SeedbedError(f"{quoted(folder)}: {error.message}", error.hint) from error
    except OSError as error:  # a file that vanished meanwhile
        raise SeedbedError(
            f"The weights in {quoted(folder)} cannot be read ({error}).", "Restore the folder."
        ) from error
    canonical = json.dumps(config, sort_keys=True)
    return Identity(
        weights=weights, tokenizer=tokenizer.fingerprint, config=hashlib.sha256(canonical.encode()).hexdigest()
    )


def _changed(known: Identity, found: Identity) -> Iterator[str]:
    """The names of the parts that differ."""
    for part, name in (("weights", "the weights"), ("tokenizer", "the tokenizer"), ("config", CONFIG)):
        if getattr(known, part) != getattr(found, part):
            yield name


def _listing(folder: Path) -> dict[str, tuple[int, int, int]] | None:
    """Size, time and inode of each file in a folder, by name; None if it is gone or unreadable."""
    try:
        found = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
    except OSError:
        return None
    return {name: (each.st_size, each.st_mtime_ns, each.st_ino) for name, each in found.items()}
