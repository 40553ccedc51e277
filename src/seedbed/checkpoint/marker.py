"""The marker of a checkpoint, DONE: what it says was saved, and whether that is there. Needs no torch.

A checkpoint is a folder `step-00001000`. It holds a model that other programs open as it is (`model.safetensors` with
config.json and the tokenizer's files) or an adapter (`adapter_model.safetensors` with its config), with
`optimizer.safetensors` and `trainer.json` for a resume. DONE is written last, with the size and SHA-256 of every other
file: a folder without a valid DONE does not count. Jobs, `status`, retention and the windows all read it here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from seedbed.errors import SeedbedError
from seedbed.files import explained, sha256_file
from seedbed.text import quoted

WEIGHTS, OPTIMIZER, TRAINER = "model.safetensors", "optimizer.safetensors", "trainer.json"
ADAPTER = "adapter_model.safetensors"
CONFIG, GENERATION = "config.json", "generation_config.json"
DONE = "DONE"
FORMAT = 1
MODEL = "model"
ARTIFACTS: Mapping[str, str] = {MODEL: WEIGHTS, "adapter": ADAPTER}
"""Kind of artifact -> the file that holds what was trained. A marker that names no kind is that of a model."""

_NAME = re.compile(r"step-(\d+)")
_REPLACED = re.compile(r"\.(step-(\d+))\.replaced")
_HIDDEN = re.compile(r"\.step-(\d+)\..+")


class NewerFormatError(ValueError):
    """A marker that a newer version wrote."""

    def __init__(self, version: int) -> None:
        super().__init__(f"it was written by a newer version (format {version}, this one knows {FORMAT})")
        self.version = version


class Marker(NamedTuple):
    """A parsed DONE. `files`: name -> (bytes, SHA-256 in hex)."""

    step: int
    best: bool
    files: dict[str, tuple[int, str]]
    artifact: str = MODEL

    @property
    def weights(self) -> str:
        """The name of the file that holds what was trained."""
        return ARTIFACTS[self.artifact]


# Names --------------------------------------------------------------------------------------------------------------


def folder_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


def is_named(path: Path) -> bool:
    """Whether a path is named like a checkpoint."""
    return _NAME.fullmatch(path.name) is not None


def replaced_name(path: Path) -> str | None:
    """`step-N` for the hidden folder of a checkpoint that gave way to a save of the same step; None for others."""
    found = _REPLACED.fullmatch(path.name)
    return found[1] if found else None


def is_hidden(path: Path) -> bool:
    """Whether a path is a hidden folder of a save or a deletion, finished or not."""
    return _HIDDEN.fullmatch(path.name) is not None


def step_of(path: Path) -> int:
    """The step in a checkpoint folder's name, also of a hidden one. Raises SeedbedError for another name."""
    found = _NAME.fullmatch(path.name) or _HIDDEN.fullmatch(path.name)
    if found is None:
        raise SeedbedError(
            f"{quoted(path)} is not named like a checkpoint.", "Name a folder such as checkpoints/step-00001000."
        )
    return int(found[1])


# Contents -----------------------------------------------------------------------------------------------------------


def is_marked(path: Path) -> bool:
    """Whether a folder has a marker, which is not read: the cheapest test of a finished checkpoint."""
    return (path / DONE).is_file()


def marked_at(path: Path) -> float:
    """Unix seconds at which a checkpoint was finished; 0.0 where it has no marker."""
    try:
        return (path / DONE).stat().st_mtime
    except OSError:
        return 0.0


def read_marker(path: Path) -> Marker:
    """The marker in a folder. Raises ValueError with the reason where there is none, or none that counts."""
    try:
        raw = json.loads((path / DONE).read_bytes())
    except FileNotFoundError:
        raise ValueError("it was never finished (it has no DONE)") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"its DONE cannot be read ({error})") from error
    unclear = ValueError("its DONE does not say what was saved")
    try:
        files = {str(name): (int(each["size_bytes"]), str(each["sha256"])) for name, each in raw["files"].items()}
        marker = Marker(int(raw["step"]), bool(raw["best"]), files, str(raw.get("artifact", MODEL)))
        version = int(raw["format"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unclear from error
    if version > FORMAT:
        raise NewerFormatError(version)
    if marker.artifact not in ARTIFACTS or marker.weights not in files:
        raise unclear
    if any(Path(name).name != name for name in files):
        raise unclear
    return marker


def complaint(path: Path, names: Collection[str] | None = None) -> str | None:
    """Why a checkpoint does not count, by its marker and the sizes of its files (of `names` alone); None where it does."""
    try:
        marker = read_marker(path)
    except ValueError as error:
        return str(error)
    if marker.step != step_of(path):
        return f"its DONE is that of step {marker.step}"
    for name, (size, _) in marker.files.items():
        if names is not None and name not in names:
            continue
        try:
            found = (path / name).stat().st_size
        except OSError as error:
            return f"{name} is missing or unreadable ({error.strerror})"
        if found != size:
            return f"{name} has {found:,} bytes instead of {size:,}: it was cut or edited"
    return None


def damage(path: Path, names: Collection[str] | None = None) -> str | None:
    """Why a checkpoint does not count, its files (or those of `names`) compared byte for byte; None where it does.

    Reads every byte: it takes seconds for gigabytes. Raises StorageError where the disk cannot be read.
    """
    found = complaint(path, names)
    if found is not None:
        return found
    with explained(path):
        for name, (_, digest) in read_marker(path).files.items():
            if (names is None or name in names) and sha256_file(path / name) != digest:
                return f"{name} is not what was saved (its checksum differs): it was damaged or edited"
    return None


def verify(path: Path, names: Collection[str] | None = None) -> None:
    """Raise SeedbedError for a checkpoint that `damage` finds something wrong with."""
    found = damage(path, names)
    if found is not None:
        raise SeedbedError(
            f"The checkpoint {path.name} cannot be used: {found}.",
            "Use another checkpoint of this run, or restore this one from a backup.",
        )


def verify_weights(path: Path) -> None:
    """Verify the weights of a model folder that is only read: damaged weights would write nonsense.

    A folder that Seedbed did not write has nothing to compare with. Raises SeedbedError as `verify` does.
    """
    if is_named(path) and (path / DONE).exists():
        verify(path, tuple(ARTIFACTS.values()))
