"""Access the Hugging Face Hub through its own clients, with readable errors.

Never runs code from a dataset and never shows a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.data.hub_revisions import revision_file
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message
from seedbed.files import make_dir, read_json, write_json
from seedbed.hub.errors import LOGIN, REQUEST_TIMEOUT_S, http_error, is_unreachable, refusal, without_token

_INSTALL_HINT = "Install it with: pip install 'seedbed[data]'"


def datasets_library(purpose: str) -> Any:
    """Import and return the module `datasets`, set to few retries and no progress output.

    Raises SeedbedError if it is not installed; `purpose` ("The corpus hf:NAME") is what needs it.
    """
    try:
        import datasets
        import huggingface_hub
    except ImportError as error:
        raise SeedbedError(
            f"{purpose} needs the package {error.name or 'datasets'}, which is not installed.", _INSTALL_HINT
        ) from error
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    # huggingface_hub itself retries five times with back-off. With the default of twenty retries here, a failure would
    # take ten minutes.
    datasets.config.STREAMING_READ_MAX_RETRIES = 2
    datasets.config.STREAMING_READ_RETRY_INTERVAL = 1
    datasets.config.STREAMING_OPEN_MAX_RETRIES = 2
    datasets.config.STREAMING_OPEN_RETRY_INTERVAL = 1
    return datasets


class Pinned(NamedTuple):
    """The commit of a Hub dataset that will be read. `unreachable`: the error if the Hub cannot be reached, else None."""

    revision: str
    unreachable: SeedbedError | None = None


def pinned_revision(name: str, emit: Emit, *, cached_config: str = "") -> Pinned:
    """Ask the Hub for the current commit of a dataset. Without a network: the last commit seen here, with a warning.

    `cached_config` is a configuration that the cache of `datasets` may contain completely. Makes one request without
    retries, so that a missing network is noticed within seconds. Raises SeedbedError if the dataset does not exist, if
    access is denied, or if the Hub cannot be reached and no commit was ever seen on this machine.
    """
    datasets = datasets_library(f"The corpus hf:{name}")
    from huggingface_hub import HfApi, constants

    memory = revision_file(name, constants.ENDPOINT)
    try:
        with explained(name):
            revision = HfApi().dataset_info(name, timeout=REQUEST_TIMEOUT_S).sha or "main"
    except SeedbedError as error:
        if not is_unreachable(error.__cause__):
            raise
        seen = read_json(memory)
        last = seen.get("revision") if isinstance(seen, dict) else None
        last = last or _cached_revision(Path(datasets.config.HF_DATASETS_CACHE), name, cached_config)
        if not isinstance(last, str):
            raise
        emit(
            Message(
                level="warning",
                code="hub-unreachable",
                text=f"The Hub cannot be reached. Using the last revision of {name} seen on this machine ({last[:12]}).",
                why=error.message,
            )
        )
        return Pinned(last, error)
    make_dir(memory.parent)
    write_json(memory, {"name": name, "revision": revision}, durable=False)
    return Pinned(revision)


def _cached_revision(cache: Path, name: str, config: str) -> str | None:
    """The newest revision of a dataset's configuration in the cache of `datasets` (folders NAME/CONFIG/VERSION/REVISION)."""
    if not config:
        return None
    prepared = list((cache / name.replace("/", "___") / config).glob("*/*/dataset_info.json"))
    return max(prepared, key=lambda path: path.stat().st_mtime).parent.name if prepared else None


@contextmanager
def explained(name: str) -> Iterator[None]:
    """A context in which errors of the Hub's clients about the dataset `name` become a SeedbedError with a hint."""
    import pyarrow as pa
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except SeedbedError:
        raise
    except (
        OSError,
        http_error(),
        DatasetsError,
        HFValidationError,
        pa.ArrowException,
        RuntimeError,
        ValueError,
    ) as error:
        raise _readable_error(name, error) from error


def _readable_error(name: str, error: Exception) -> SeedbedError:
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub import constants

    detail = without_token(error)
    if isinstance(error, DatasetNotFoundError):
        return SeedbedError(
            f"{constants.ENDPOINT} has no dataset {name}, or it is private.",
            f"Check the name (hf:OWNER/NAME). For a private dataset, {LOGIN}. For a local folder, write hf:./FOLDER.",
        )
    if isinstance(error, DataFilesNotFoundError):
        return SeedbedError(
            f"{name} contains no data files that can be read ({detail}).",
            "A dataset needs parquet, jsonl, csv or txt files.",
        )
    refused = refusal("dataset", name, error, instead="`seedbed train` without --data needs no network.")
    if refused is not None:
        return refused
    if "scripts are no longer supported" in detail:
        return SeedbedError(
            f"{name} consists of a loading script, not of data files, and Seedbed runs no code from the Hub.",
            "Look for a copy in parquet format (often on a branch or under another owner).",
        )
    return SeedbedError(
        f"{name} cannot be read: {detail}", "Check the name, the configuration and the files of the dataset."
    )
