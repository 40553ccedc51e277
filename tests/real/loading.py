"""The tokenizers of real models, as Seedbed and as transformers load them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from real.assets import llama3_tokenizer, qwen3_tokenizer, smollm2_folder
from seedbed.tokenizer.tokenizer import Tokenizer

FOLDERS: dict[str, Callable[[], Path]] = {
    "smollm2": smollm2_folder,
    "qwen3": qwen3_tokenizer,
    "llama3": llama3_tokenizer,
}


class Real(NamedTuple):
    """A real tokenizer: its name and folder, ours and that of transformers."""

    name: str
    folder: Path
    ours: Tokenizer
    theirs: Any


def load(name: str) -> Real:
    """Load a tokenizer in both ways; skips the test if its files cannot be fetched."""
    from transformers import AutoTokenizer

    folder = FOLDERS[name]()
    return Real(name, folder, Tokenizer.of_model(folder), AutoTokenizer.from_pretrained(folder))
