"""Load a decoder from a model folder in Hugging Face format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from seedbed.checkpoint.headers import tensor_headers
from seedbed.config.families.config_json import config_from_hf, read_config_json
from seedbed.config.families.tensors import check_files
from seedbed.errors import SeedbedError
from seedbed.model.decoder import Decoder
from seedbed.model.streaming import read_weights
from seedbed.text import quoted


def load_folder(
    path: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, mapped: bool = False
) -> Decoder:
    """Load the model of a folder with config.json and safetensors (one file or shards) to `device` in `dtype`.

    The weights are in memory once, also while they are read. `mapped`: do not copy weights that the files store as they are
    needed; for models that are only read (see mapping.py). Raises SeedbedError for a folder that is missing, incomplete,
    damaged, of an unknown family, with weights that do not fit config.json, that are not finite, or that are a pickle.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SeedbedError(
            f"There is no model folder {quoted(folder)}.", "Give a folder with config.json and model.safetensors."
        )
    parsed = read_config_json(folder)
    with _located(folder):
        config, vocab_rows = config_from_hf(parsed)
        headers = tensor_headers(folder)
        check_files(config, vocab_rows, headers)
        with torch.device("meta"):
            model = Decoder(config, vocab_rows)
        model = model.allocated(device, dtype)
        model.uses_files = read_weights(model, headers, mapped=mapped)
    return model.eval()


@contextmanager
def _located(folder: Path) -> Iterator[None]:
    """Put the folder's name into the message of a SeedbedError that the `with` block raises."""
    try:
        yield
    except SeedbedError as error:
        raise SeedbedError(f"{quoted(folder)}: {error.message}", error.hint) from error
