"""What a model on the Hub has at a revision: its commit, and the files that Seedbed needs of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from seedbed.checkpoint.headers import INDEX
from seedbed.checkpoint.marker import CONFIG, GENERATION, WEIGHTS
from seedbed.checkpoint.tokenizer_files import TOKENIZER_FILES
from seedbed.errors import SeedbedError
from seedbed.hub.errors import REQUEST_TIMEOUT_S, explained_model
from seedbed.hub.names import HubName
from seedbed.text import listed

INSTALL_HINT = "Install it with: pip install 'seedbed[hub]'"

_SMALL = (CONFIG, GENERATION, *TOKENIZER_FILES, "README.md", "LICEN[CS]E*", "NOTICE*")
"""Patterns of the files that are needed beside the weights: settings, tokenizer, chat templates, licence."""
_PICKLES = re.compile(r"(pytorch_)?model.*\.(bin|pt|pth|ckpt)|.*\.(pth|ckpt)|consolidated.*\.pt")


class RemoteFile(NamedTuple):
    """A file of a repository. `sha256` is "" for a small file that Git stores itself; `blob_id` is its id in Git."""

    path: str
    size_bytes: int
    sha256: str
    blob_id: str

    @property
    def blob(self) -> str:
        """The name of the file in the folder `blobs` of the cache."""
        return self.sha256 or self.blob_id


class Listing(NamedTuple):
    """A model on the Hub at one commit. `licence` is what its card says, or ""."""

    name: str
    revision: str
    commit: str
    files: Mapping[str, RemoteFile]
    licence: str

    @property
    def reference(self) -> str:
        """The reference that always names this commit, `hub:NAME@COMMIT`."""
        return str(HubName(self.name, self.commit))

    def small_files(self) -> list[RemoteFile]:
        """The files that are needed beside the weights."""
        chosen = [file for path, file in self.files.items() if any(_matches(path, pattern) for pattern in _SMALL)]
        return [*chosen, self.files[INDEX]] if WEIGHTS not in self.files and INDEX in self.files else chosen

    def weights(self, index_shards: Iterable[str]) -> list[RemoteFile]:
        """The files of the weights; `index_shards` are those that the index lists, if there is one.

        Raises SeedbedError for a shard that the repository does not have.
        """
        names = [WEIGHTS] if WEIGHTS in self.files else list(index_shards)
        missing = [name for name in names if name not in self.files]
        if missing:
            raise SeedbedError(
                f"{self.reference} has no {listed(missing, 3)}, which its {INDEX} lists.",
                "The upload is incomplete. Use another revision, or another copy of the model.",
            )
        return [self.files[name] for name in names]


def hub_library() -> Any:
    """Import and return `huggingface_hub`, without its progress bars and warnings. Raises SeedbedError if it is missing."""
    try:
        import huggingface_hub
        from huggingface_hub import utils
    except ImportError as error:
        raise SeedbedError(
            "Models of the Hub need the package huggingface_hub, which is not installed.", INSTALL_HINT
        ) from error
    settings: Any = utils
    settings.disable_progress_bars()
    settings.logging.set_verbosity_error()
    return huggingface_hub


def list_model(wanted: HubName) -> Listing:
    """Ask the Hub for the commit of a model's revision and its files; one request, without retries.

    Raises SeedbedError for a model or revision that does not exist, denied access, or a Hub that cannot be reached.
    """
    hub = hub_library()
    with explained_model(wanted.name):
        found = hub.HfApi().model_info(
            wanted.name, revision=wanted.revision, files_metadata=True, timeout=REQUEST_TIMEOUT_S
        )
    files = {}
    for each in found.siblings or ():
        path, sha256 = str(each.rfilename), str(getattr(each.lfs, "sha256", "") or "")
        if _is_safe(path) and re.fullmatch(r"[0-9a-f]{64}|", sha256):
            files[path] = RemoteFile(path, int(each.size or 0), sha256, str(each.blob_id or ""))
    if not re.fullmatch(r"[0-9a-f]{40}", str(found.sha)):
        raise SeedbedError(f"The Hub named no commit of {wanted}.", "Try again later.")
    return Listing(wanted.name, wanted.revision, str(found.sha), files, _licence(found))


def refuse_unusable(listing: Listing) -> None:
    """Raise SeedbedError, with the reason, for a repository without config.json or without weights in safetensors."""
    where = listing.reference
    if WEIGHTS not in listing.files and INDEX not in listing.files:
        names = [path for path in listing.files if "/" not in path]
        pickles = [name for name in names if _PICKLES.fullmatch(name)]
        if pickles:
            raise SeedbedError(
                f"The weights of {where} are pickles ({listed(pickles, 3)}), which can run any code when they are loaded.",
                "Look for a copy in safetensors format, or a revision that has them, such as refs/pr/1.",
            )
        if "adapter_model.safetensors" in names:
            raise SeedbedError(f"{where} is an adapter, not a whole model.", "Use the model that it was trained on.")
        others = [name for name in names if name.endswith((".gguf", ".safetensors", ".h5", ".msgpack", ".onnx"))]
        raise SeedbedError(
            f"{where} has no {WEIGHTS}" + (f"; it has {listed(others, 3)}." if others else "."),
            "Seedbed reads weights in safetensors format as transformers saves them.",
        )
    if CONFIG not in listing.files:
        raise SeedbedError(f"{where} has no {CONFIG}.", "Seedbed reads models in the format of transformers.")


def _matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def _is_safe(path: str) -> bool:
    """Whether a path that the Hub names stays below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path


def _licence(found: Any) -> str:
    """What the card of a model says about its licence; "" if it says nothing."""
    card = getattr(found, "card_data", None) or getattr(found, "cardData", None)
    if card is None or not hasattr(card, "get"):
        return ""
    named = card.get("license")
    if named == "other":
        named = card.get("license_name") or named
    return ", ".join(map(str, named)) if isinstance(named, list) else str(named or "")
