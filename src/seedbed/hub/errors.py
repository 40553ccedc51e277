"""Errors of the Hub's client in plain words, without access tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from seedbed.errors import SeedbedError, storage_error
from seedbed.hub.names import PREFIX
from seedbed.text import quoted

LOGIN = "log in with `hf auth login` or set HF_TOKEN"
REQUEST_TIMEOUT_S = 10.0
"""How long the Hub may take to answer a request before it counts as unreachable."""
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}|(?i:bearer\s+)\S+")


def http_error() -> type[Exception]:
    """The error class that the Hub's client raises for a failed request (httpx or its successor)."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return cast(type[Exception], HTTPError)


def without_token(error: Exception) -> str:
    """The first line of an error's text, shortened, with everything masked that looks like an access token."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return _TOKEN.sub("[token]", line)[:300]


def is_unreachable(error: BaseException | None) -> bool:
    """Whether an error of the Hub's client means that the Hub is not reached, out of order, or not to be asked (offline)."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    return isinstance(error, (ConnectionError, TimeoutError, http_error()))


def refusal(noun: str, name: str, error: Exception, *, instead: str = "") -> SeedbedError | None:
    """The readable error for what the Hub's client raised about a repository; None if the cause is something else.

    `noun`: what the repository is, `dataset` or `model`. `instead`: what can be done without a network, as a sentence.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    prefix, folder = ("hf:", "datasets/") if noun == "dataset" else (PREFIX, "")
    local = " For a local folder, write hf:./FOLDER." if noun == "dataset" else ""
    detail = without_token(error)
    if isinstance(error, HFValidationError):
        where = f"huggingface.co/{folder}".rstrip("/")
        return SeedbedError(
            f"{name!r} is not a valid {noun} name: {detail}", f"Write {prefix}OWNER/NAME as on {where}."
        )
    if isinstance(error, GatedRepoError):
        return SeedbedError(
            f"The {noun} {name} is gated.", f"Accept its terms at {constants.ENDPOINT}/{folder}{name} and {LOGIN}."
        )
    if isinstance(error, RevisionNotFoundError):
        return SeedbedError(
            f"The {noun} {name} has no such revision at {constants.ENDPOINT}.",
            f"Its branches, tags and commits are listed at {constants.ENDPOINT}/{folder}{name}/commits/main.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return SeedbedError(
            f"{constants.ENDPOINT} has no {noun} {name}, or it is private.",
            f"Check the name ({prefix}OWNER/NAME). For a private {noun}, {LOGIN}.{local}",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return SeedbedError(f"{name} is not in the local cache, and HF_HUB_OFFLINE is set.", "Unset HF_HUB_OFFLINE.")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            return SeedbedError(
                f"{constants.ENDPOINT} denied access to {name} (HTTP {status}).", f"To get access, {LOGIN}."
            )
        return SeedbedError(f"{constants.ENDPOINT} answered HTTP {status} for {name}.", "Try again later.")
    if is_unreachable(error):
        return SeedbedError(
            f"Cannot reach {constants.ENDPOINT} for {name} ({detail}).",
            f"Check the network (or HF_ENDPOINT). {instead}".strip(),
        )
    return None


@contextmanager
def explained_model(name: str) -> Iterator[None]:
    """A context in which errors of the Hub's client about the model `name` become a SeedbedError with a hint."""
    try:
        yield
    except SeedbedError:
        raise
    except (OSError, http_error(), RuntimeError, ValueError) as raised:
        error = _origin(raised)
        readable = refusal("model", name, error, instead="Models in a local folder need no network.")
        if readable is None and isinstance(error, OSError) and error.errno:
            readable = storage_error(quoted(error.filename or "the Hub's cache"), error)
        raise readable or SeedbedError(
            f"The model {name} cannot be downloaded: {without_token(error)}", "Try again; finished files are kept."
        ) from error


def _origin(error: Exception) -> Exception:
    """The error that made the Hub's client look for a file in the cache, where it is not; else `error` itself."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__
    return cause if isinstance(error, LocalEntryNotFoundError) and isinstance(cause, Exception) else error
