"""Load a decoder from a model folder in Hugging Face format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from seedbed.config.families.config_json import config_from_hf
from seedbed.errors import SeedbedError
from seedbed.files import read_json
from seedbed.model.decoder import Decoder
from seedbed.model.weights import load_state
from seedbed.text import quoted

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")


def load_folder(path: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Decoder:
    """Load the model of a folder with config.json and safetensors (one file or shards) to `device` in `dtype`.

    Raises SeedbedError for a folder that is missing, incomplete, damaged, of an unknown family, or with pickled weights.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SeedbedError(
            f"There is no model folder {quoted(folder)}.", "Give a folder with config.json and model.safetensors."
        )
    parsed = read_json(folder / "config.json")
    if not isinstance(parsed, dict):
        raise SeedbedError(
            f"{quoted(folder)} contains no config.json.", "A model folder contains config.json and the weights."
        )
    with _located(folder):
        config, vocab_rows = config_from_hf(parsed)
        with torch.device("meta"):
            model = Decoder(config, vocab_rows)
        model = model.to(dtype).to_empty(device=device)
        load_state(model, read_weights(folder))
    return model.eval()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor in the safetensors files of a model folder by name, on the CPU, in the dtype of the file."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                tensors.update({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise SeedbedError(
                f"{quoted(file.name)} cannot be read ({error}).",
                "The file is damaged or incomplete. Download or copy it again.",
            ) from error
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The paths of a model folder's safetensors files: one file, or all that its index file lists.

    Raises SeedbedError if a file is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index: Any = read_json(folder / INDEX)
    if isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
        found = [folder / Path(str(name)).name for name in dict.fromkeys(index["weight_map"].values())]
        missing = [file.name for file in found if not file.is_file()]
        if missing:
            raise SeedbedError(
                f"Shards of the weights are missing: {', '.join(missing)}.",
                f"Download these files again ({INDEX} lists all shards).",
            )
        return found
    pickles = [name for name in _PICKLES if (folder / name).is_file()]
    if pickles:
        raise SeedbedError(
            f"The weights are a pickle ({pickles[0]}), which can run arbitrary code when it is loaded.",
            "Use a copy in safetensors format (with transformers: model.save_pretrained(folder)).",
        )
    raise SeedbedError(f"There is no {WEIGHTS}.", f"A model folder contains {WEIGHTS} or {INDEX}.")


@contextmanager
def _located(folder: Path) -> Iterator[None]:
    """Put the folder's name into the message of a SeedbedError that the `with` block raises."""
    try:
        yield
    except SeedbedError as error:
        raise SeedbedError(f"{folder}: {error.message}", error.hint) from error
