"""The tokenizer files of a model folder, exactly as they are, and what the folder says about special tokens.

Imports nothing heavy, so that chat templates and front ends can use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import files
from seedbed.checkpoint.marker import CONFIG, GENERATION, RESTORE
from seedbed.checkpoint.tokenizer_files import (
    OLDER_TOKENIZERS,
    TEMPLATE,
    TEMPLATES,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    TOKENS_MAP,
)
from seedbed.errors import SeedbedError
from seedbed.hub.cache import reference_of
from seedbed.text import quoted
from seedbed.tokenizer import patterns

DEFAULT_TEMPLATE = "default"
"""The name of a chat template without a name."""
SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
"""The keys of tokenizer_config.json whose values are special tokens."""

ENDS_OF_DOCUMENTS = (patterns.END_OF_TEXT, "<|end_of_text|>")
"""Special tokens that end a document, whatever the `eos_token` is: in a chat model, that ends a turn."""
_MARKER = re.compile(r"</?[^\s<>]+>|\[/?[A-Z][A-Z_0-9]*\]")


class ModelFiles(NamedTuple):
    """The tokenizer of a model folder, read from its files.

    `spec` and `config` are tokenizer.json and tokenizer_config.json, parsed; `contents` has the bytes of all tokenizer
    files by name. `stop_ids`: the ids that config.json and generation_config.json name as ends of a text.
    """

    folder: Path
    spec: dict[str, Any]
    config: dict[str, Any]
    contents: dict[str, bytes]
    stop_ids: frozenset[int]
    pad_id: int | None

    @property
    def special_tokens(self) -> dict[str, str]:
        """The special tokens that the folder names, such as `bos_token`: the name and the token's text."""
        return special_tokens(self.config)


def read_model_files(folder: Path) -> ModelFiles:
    """Read the tokenizer files of a model folder.

    Raises SeedbedError if the folder or its tokenizer.json is missing, or a file is not what its name says.
    """
    if not folder.is_dir():
        raise SeedbedError(
            f"There is no model folder {quoted(folder)}.", "Give a folder that contains config.json and tokenizer.json."
        )
    spec = files.read_json(folder / TOKENIZER_JSON, RESTORE)
    if spec is None:
        raise missing_tokenizer(folder)
    config = read_config(folder)
    wholes = {CONFIG: _object(folder / CONFIG, RESTORE), GENERATION: generation_object(folder)}
    stop_ids = frozenset(id_ for each in wholes.values() for id_ in token_ids(each.get("eos_token_id")))
    pads = [id_ for each in wholes.values() for id_ in token_ids(each.get("pad_token_id"))]
    return ModelFiles(folder, spec, config, dict(_contents(folder)), stop_ids, pads[0] if pads else None)


def missing_tokenizer(folder: Path) -> SeedbedError:
    """The error for a folder without tokenizer.json; it names a tokenizer in an older format.

    A snapshot in the cache of the Hub is called by the name of its model.
    """
    older = next((path.name for path in sorted(folder.glob("*")) if _is_older(path.name)), None)
    only = f", only {quoted(older)}." if older else "."
    reference = reference_of(folder)
    if reference is not None:
        return SeedbedError(
            f"{reference} has no {TOKENIZER_JSON}{only}",
            f"Use another revision or copy of the model that has it, or a local folder to which you add {TOKENIZER_JSON}: "
            "transformers saves it as a fast tokenizer.",
        )
    return SeedbedError(
        f"{quoted(folder)} contains no {TOKENIZER_JSON}{only}",
        "Convert the tokenizer with transformers: load it with AutoTokenizer, and save it as a fast tokenizer."
        if older
        else "Download the model's tokenizer.json into the folder, or copy it from the model it was made from.",
    )


def read_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, parsed, with special tokens that only special_tokens_map.json names; {} without both files."""
    config = {key: value for key, value in _object(folder / TOKENIZER_CONFIG).items() if value is not None}
    return {**_object(folder / TOKENS_MAP), **config}


def special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens in a parsed tokenizer_config.json: the name, such as `bos_token`, and the token's text."""
    found = {}
    for name in SPECIAL_NAMES:
        token = config.get(name)
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            found[name] = content
    return found


def template_sources(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The chat templates of a folder by name: those in files of their own, else those in tokenizer_config.json (`config`).

    Raises SeedbedError if one cannot be read.
    """
    return dict(_from_files(folder)) or _from_config(config, folder)


def _from_files(folder: Path) -> Iterator[tuple[str, str]]:
    """The names and texts of the templates that are files of their own."""
    paths = [(DEFAULT_TEMPLATE, folder / TEMPLATE)]
    paths += [(path.stem, path) for path in sorted((folder / TEMPLATES).glob("*.jinja"))]
    for name, path in paths:
        if path.is_file():
            try:
                with files.explained(path):
                    yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise SeedbedError(f"{quoted(path)} is not UTF-8 text.", "Restore the file, or remove it.") from error


def template_place(folder: Path, name: str) -> str:
    """Where the chat template `name` of a folder is, in words: the path of its file, or the key that contains it."""
    paths = [folder / TEMPLATES / f"{name}.jinja", *([folder / TEMPLATE] if name == DEFAULT_TEMPLATE else [])]
    return next(
        (quoted(path) for path in paths if path.is_file()), f"chat_template in {quoted(folder / TOKENIZER_CONFIG)}"
    )


def _from_config(config: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The templates in tokenizer_config.json: one, or a list of named ones."""
    found = config.get("chat_template")
    if found is None:
        return {}
    if isinstance(found, str):
        return {DEFAULT_TEMPLATE: found}
    try:
        pairs = found.items() if isinstance(found, dict) else [(each["name"], each["template"]) for each in found]
        named = dict(pairs)
    except (TypeError, KeyError, ValueError):
        named = {None: None}
    if not all(isinstance(part, str) for pair in named.items() for part in pair):
        raise SeedbedError(
            f"The chat_template in {quoted(folder / 'tokenizer_config.json')} is neither a text nor a list of named texts.",
            "Correct it, or put the template into a file chat_template.jinja.",
        )
    return named


def token_id(spec: Mapping[str, Any], content: str) -> int | None:
    """The id of a token in a parsed tokenizer.json, from its added tokens or its vocabulary; None if it has no such token."""
    for token in spec.get("added_tokens") or ():
        if token["content"] == content:
            return int(token["id"])
    vocab = spec["model"].get("vocab")
    if isinstance(vocab, dict):
        found = vocab.get(content)
        return None if found is None else int(found)
    return next((index for index, (piece, *_) in enumerate(vocab or ()) if piece == content), None)


def end_of_document(found: ModelFiles) -> tuple[int, str]:
    """The id of the token that ends a document, and its text.

    That is <|endoftext|> or <|end_of_text|> if the vocabulary has it as a special token: the `eos_token` of a chat model
    ends a turn instead. Else it is the `eos_token`, else the end that config.json names. Raises SeedbedError without any.
    """
    special = {token["content"] for token in found.spec.get("added_tokens") or () if token["special"]}
    eos = found.special_tokens.get("eos_token")
    for content in (*(each for each in ENDS_OF_DOCUMENTS if each in special), *([eos] if eos else [])):
        id_ = token_id(found.spec, content)
        if id_ is None:
            raise unknown_end(content)
        return id_, content
    for id_ in sorted(found.stop_ids):
        named = content_of(found.spec, id_)
        if named is not None:
            return id_, named
    raise missing_end()


def unknown_end(content: str) -> SeedbedError:
    """The error for an `eos_token` that the tokenizer does not have."""
    return SeedbedError(
        f"{TOKENIZER_CONFIG} names the end-of-text token {quoted(content)}, which the tokenizer does not have.",
        f'Correct "eos_token" in {TOKENIZER_CONFIG}.',
    )


def missing_end() -> SeedbedError:
    """The error for a tokenizer without a token that ends a text."""
    return SeedbedError(
        "The tokenizer has no end-of-text token, so generation could not stop.",
        f'Set "eos_token" in {TOKENIZER_CONFIG}, or "eos_token_id" in generation_config.json.',
    )


def content_of(spec: Mapping[str, Any], id_: int) -> str | None:
    """The text of the token with this id in a parsed tokenizer.json; None if no token has it."""
    for token in spec.get("added_tokens") or ():
        if token["id"] == id_:
            return str(token["content"])
    vocab = spec["model"].get("vocab")
    if isinstance(vocab, dict):
        return next((content for content, each in vocab.items() if each == id_), None)
    return str(vocab[id_][0]) if vocab and id_ < len(vocab) else None


def control_tokens(spec: Mapping[str, Any]) -> frozenset[str]:
    """The added tokens that plain text never turns into: special tokens, and markers such as <think> or [INST].

    Qwen3 lists <think> and <|fim_prefix|> as not special; they steer the model all the same. Other added tokens, such as
    runs of spaces or words, are part of the vocabulary of plain text.
    """
    return frozenset(
        token["content"]
        for token in spec.get("added_tokens") or ()
        if token["special"] or _MARKER.fullmatch(token["content"])
    )


def generation_object(folder: Path) -> dict[str, Any]:
    """generation_config.json of a model folder, parsed; {} without it. Raises SeedbedError if it is no JSON object."""
    return _object(folder / GENERATION)


def unloadable(reason: str) -> SeedbedError:
    """The error for a tokenizer.json that the tokenizers library cannot load, for the reason that the library gives."""
    return SeedbedError(f"The tokenizers library cannot load this tokenizer.json ({reason}).", RESTORE)


def _object(path: Path, remedy: str = "Restore the file, or remove it.") -> dict[str, Any]:
    """The JSON object in a file; {} if there is no such file. Raises SeedbedError, with `remedy`, for other content."""
    found = files.read_json(path, remedy)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SeedbedError(f"{quoted(path)} is not a JSON object.", remedy)
    return found


def token_ids(value: object) -> list[int]:
    """The token ids in a value of a config: one id or a list of ids; anything else gives none."""
    several = value if isinstance(value, list) else [value]
    return [each for each in several if isinstance(each, int) and not isinstance(each, bool) and each >= 0]


def _is_older(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in OLDER_TOKENIZERS)


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The bytes of every tokenizer file in a folder, by its path in the folder."""
    for pattern in TOKENIZER_FILES:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                with files.explained(path):
                    yield path.relative_to(folder).as_posix(), path.read_bytes()
