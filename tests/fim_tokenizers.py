"""Small tokenizers with markers for fill in the middle, for tests."""

from __future__ import annotations

from typing import Any

from seedbed.tokenizer.patterns import byte_letters
from seedbed.tokenizer.tokenizer import Tokenizer


def characters(*added: str, end: str = "<|endoftext|>") -> Tokenizer:
    """A tokenizer of bytes with the given control tokens."""
    vocab: dict[str, int] = {letter: id_ for id_, letter in enumerate(byte_letters())}
    tokens = [
        {
            "id": len(vocab) + number,
            "content": content,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for number, content in enumerate([end, *added])
    ]
    spec: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": tokens,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": None, "byte_fallback": False},
    }
    return Tokenizer(spec, {"eos_token": end})


def spaced(*added: str) -> Tokenizer:
    """A tokenizer of characters that puts a space before each text, as Llama 2 does, with beginning and end of text."""
    letters = ["<unk>", "<s>", "</s>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {letter: id_ for id_, letter in enumerate(letters)}
    for letter in "abcdefghijklmnopqrstuvwxyz()=:,.":
        vocab[letter] = len(vocab)
    vocab["▁a"] = len(vocab)
    tokens = [
        {
            "id": vocab.get(content, len(vocab) + number),
            "content": content,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for number, content in enumerate(["<s>", "</s>", *added])
    ]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    spec: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": [["▁", "a"]],
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
        },
    }
    return Tokenizer(spec, {"eos_token": "</s>"})
