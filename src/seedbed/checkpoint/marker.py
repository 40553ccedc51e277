"""Reads DONE, the file that marks a finished checkpoint, and verifies the checkpoint's files with it. Needs no torch.

A checkpoint is a folder such as `step-00001000`. It contains a model in Hugging Face format (`model.safetensors`,
config.json and the tokenizer's files) or an adapter (`adapter_model.safetensors` and its config), and, for a resume,
`optimizer.safetensors` and `trainer.json`. DONE is written last. It lists the size and SHA-256 of every other file. A
folder without a valid DONE is not a checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from seedbed.errors import SeedbedError
from seedbed.files import explained, sha256_file
from seedbed.text import quoted

WEIGHTS, OPTIMIZER, TRAINER = "model.safetensors", "optimizer.safetensors", "trainer.json"
ADAPTER = "adapter_model.safetensors"
CONFIG, GENERATION = "config.json", "generation_config.json"
RESTORE = "Restore it, or download the model again."
"""What to do with a damaged file without which a model folder cannot be used."""
DONE = "DONE"
FORMAT = 1
MODEL = "model"
ARTIFACTS: Mapping[str, str] = {MODEL: WEIGHTS, "adapter": ADAPTER}
"""Kind of checkpoint (`model` or `adapter`) -> name of the file with its trained weights. A DONE file without a kind
marks a model."""

_NAME = re.compile(r"step-(\d+)")
_REPLACED = re.compile(r"\.(step-(\d+))\.replaced")
_HIDDEN = re.compile(r"\.step-(\d+)\..+")


class NewerFormatError(ValueError):
    """A newer version of Seedbed wrote the checkpoint's DONE file."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"it was written by a newer version of Seedbed (format {version}; this version reads up to {FORMAT})"
        )
        self.version = version


class Marker(NamedTuple):
    """The content of a DONE file, which marks a finished checkpoint. `files`: file name -> (size in bytes, SHA-256 in hex)."""

    step: int
    best: bool
    files: dict[str, tuple[int, str]]
    artifact: str = MODEL

    @property
    def weights(self) -> str:
        """The name of the checkpoint's file with the trained weights."""
        return ARTIFACTS[self.artifact]


# Names --------------------------------------------------------------------------------------------------------------


def folder_name(step: int) -> str:
    """The name of the folder of a checkpoint, such as `step-00001000`."""
    return f"step-{step:08d}"


def is_named(path: Path) -> bool:
    """Whether the last part of a path is the name of a checkpoint's folder, such as `step-00001000`."""
    return _NAME.fullmatch(path.name) is not None


def replaced_name(path: Path) -> str | None:
    """The name `step-N` of the checkpoint whose hidden folder `.step-N.replaced` this path is; None for other paths.

    Saving a step again moves the earlier checkpoint of that step to such a folder until the new one is finished.
    """
    found = _REPLACED.fullmatch(path.name)
    return found[1] if found else None


def is_hidden(path: Path) -> bool:
    """Whether a path is named like the hidden folders that saving and deleting a checkpoint create."""
    return _HIDDEN.fullmatch(path.name) is not None


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint's folder, hidden or not. Raises SeedbedError for any other name."""
    found = _NAME.fullmatch(path.name) or _HIDDEN.fullmatch(path.name)
    if found is None:
        raise SeedbedError(
            f"{quoted(path)} is not named like a checkpoint.",
            "Give a folder such as checkpoints/step-00001000.",
        )
    return int(found[1])


# Contents -----------------------------------------------------------------------------------------------------------


def is_marked(path: Path) -> bool:
    """Whether a folder has a DONE file. The file is not read: this is the cheapest test for a finished checkpoint."""
    return (path / DONE).is_file()


def marked_at(path: Path) -> float:
    """The time at which a checkpoint was finished, in Unix seconds; 0.0 if it has no DONE file."""
    try:
        return (path / DONE).stat().st_mtime
    except OSError:
        return 0.0


def read_marker(path: Path) -> Marker:
    """Read the DONE file in a folder. Raises ValueError with the reason if it is missing or invalid."""
    try:
        raw = json.loads((path / DONE).read_bytes())
    except FileNotFoundError:
        raise ValueError("it is unfinished (it has no DONE file)") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"its DONE file cannot be read ({error})") from error
    invalid = ValueError("its DONE file is invalid: it does not list the saved files")
    try:
        files = {str(name): (int(each["size_bytes"]), str(each["sha256"])) for name, each in raw["files"].items()}
        marker = Marker(int(raw["step"]), bool(raw["best"]), files, str(raw.get("artifact", MODEL)))
        version = int(raw["format"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise invalid from error
    if version > FORMAT:
        raise NewerFormatError(version)
    if marker.artifact not in ARTIFACTS or marker.weights not in files:
        raise invalid
    if not all(_is_inside(name) for name in files):
        raise invalid
    return marker


def _is_inside(name: str) -> bool:
    """Whether the name of a file in DONE is a path inside the checkpoint's folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def complaint(path: Path, names: Collection[str] | None = None) -> str | None:
    """Why a checkpoint is invalid; None if it is valid. Checks DONE and the sizes of all files (or of `names` only)."""
    try:
        marker = read_marker(path)
    except ValueError as error:
        return str(error)
    if marker.step != step_of(path):
        return f"its DONE file belongs to step {marker.step}"
    for name, (size, _) in marker.files.items():
        if names is not None and name not in names:
            continue
        try:
            found = (path / name).stat().st_size
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if found != size:
            return f"{name} has {found:,} bytes instead of {size:,} (truncated or edited)"
    return None


def damage(path: Path, names: Collection[str] | None = None) -> str | None:
    """Why a checkpoint is invalid; None if it is valid. Checks DONE, and size and checksum of all files (or of `names` only).

    Reads every byte, which takes seconds for gigabytes. Raises StorageError if the disk cannot be read.
    """
    found = complaint(path, names)
    if found is not None:
        return found
    with explained(path):
        for name, (_, digest) in read_marker(path).files.items():
            if (names is None or name in names) and sha256_file(path / name) != digest:
                return f"{name} was damaged or edited (its checksum differs)"
    return None


def verify(path: Path, names: Collection[str] | None = None) -> None:
    """Raise SeedbedError if a checkpoint is invalid. Checks DONE, and size and checksum of all files (or of `names` only)."""
    found = damage(path, names)
    if found is not None:
        raise SeedbedError(
            f"The checkpoint {path.name} cannot be used: {found}.",
            "Use another checkpoint of this run, or restore this checkpoint from a backup.",
        )


def verify_weights(path: Path) -> None:
    """Verify the weights of a model folder before generation: a model with damaged weights generates nonsense.

    Does nothing for a folder without a DONE file, which Seedbed did not write. Raises SeedbedError as `verify` does.
    """
    if is_named(path) and (path / DONE).exists():
        verify(path, tuple(ARTIFACTS.values()))
