"""The names of the tokenizer files in a model folder. Imports nothing."""

from __future__ import annotations

TOKENIZER_JSON, TOKENIZER_CONFIG, TOKENS_MAP = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates"

OLDER_TOKENIZERS = ("vocab.json", "merges.txt", "vocab.txt", "*.model", "*.tiktoken")
"""Patterns of the files that have the vocabulary of a tokenizer in an older format than tokenizer.json."""

TOKENIZER_FILES = (
    TOKENIZER_JSON,
    TOKENIZER_CONFIG,
    TOKENS_MAP,
    "added_tokens.json",
    *OLDER_TOKENIZERS,
    TEMPLATE,
    "chat_template.json",
    f"{TEMPLATES}/*.jinja",
)
"""Patterns of all tokenizer files, with the chat templates; paths in the model folder."""
