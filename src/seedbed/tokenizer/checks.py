"""Check a tokenizer config before a tokenizer is loaded or trained."""

from __future__ import annotations

from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.config.schema import TokenizerConfig
from seedbed.errors import UsageError
from seedbed.files import expand_home
from seedbed.text import quoted
from seedbed.tokenizer import patterns
from seedbed.tokenizer.model_files import missing_tokenizer

NUM_BYTES = 256


def refuse_tokenizer(config: TokenizerConfig) -> None:
    """Raise UsageError if `vocab_size` is too small for the kind, or if the folder `path` contains no tokenizer."""
    if not config.path:
        check_vocab_size(config)
        return
    folder = expand_home(config.path)
    if not folder.is_dir():
        raise UsageError(
            f"There is no tokenizer folder {quoted(folder)}.",
            "Set tokenizer.path to a folder that contains tokenizer.json.",
        )
    if not (folder / TOKENIZER_JSON).is_file():
        error = missing_tokenizer(folder)
        raise UsageError(error.message, error.hint)


def check_vocab_size(config: TokenizerConfig) -> None:
    """Raise UsageError if `vocab_size` is too small for the kind of tokenizer (bpe needs all bytes, for example)."""
    reserved = len(patterns.SPECIAL_TOKENS)
    if config.kind == "char":
        minimum, content = reserved + 2, f"{reserved} special tokens, the unknown character and one other character"
    else:
        minimum, content = reserved + NUM_BYTES, f"{NUM_BYTES} bytes and {reserved} special tokens"
    if config.vocab_size < minimum:
        raise UsageError(
            f"tokenizer.vocab_size = {config.vocab_size} is too small: a {config.kind} vocabulary contains {content}.",
            f"Set tokenizer.vocab_size to {minimum} or more.",
        )
