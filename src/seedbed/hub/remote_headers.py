"""Names, dtypes and shapes of the tensors of a model on the Hub, from the headers of its weights; no weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from seedbed.checkpoint.headers import TensorInfo
from seedbed.errors import SeedbedError
from seedbed.hub.errors import explained_model, without_token
from seedbed.hub.listing import Listing, RemoteFile, hub_library

_THREADS = 8


def remote_headers(listing: Listing, files: Sequence[RemoteFile]) -> dict[str, TensorInfo]:
    """Tensor name -> its header in the safetensors files of a model on the Hub; one or two small requests for each file.

    Raises SeedbedError for a header that cannot be read, and for a Hub that cannot be reached.
    """
    found: dict[str, TensorInfo] = {}
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        for tensors in pool.map(partial(_headers_of, listing), files):
            found.update(tensors)
    return found


def _headers_of(listing: Listing, file: RemoteFile) -> dict[str, TensorInfo]:
    hub = hub_library()
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        with explained_model(listing.name):
            parsed = hub.HfApi().parse_safetensors_file_metadata(listing.name, file.path, revision=listing.commit)
        return {name: _info(file.path, tensor) for name, tensor in parsed.tensors.items()}
    except (SafetensorsParsingError, AttributeError, KeyError, TypeError) as error:
        raise SeedbedError(
            f"The header of {file.path} of {listing.reference} cannot be read: {without_token(error)}.",
            "Use another copy of the model.",
        ) from error


def _info(path: str, tensor: Any) -> TensorInfo:
    begin, end = tensor.data_offsets
    return TensorInfo(
        dtype=str(tensor.dtype),
        shape=tuple(map(int, tensor.shape)),
        file=Path(path),
        offset=int(begin),
        num_bytes=int(end) - int(begin),
    )
