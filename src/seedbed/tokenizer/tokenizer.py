"""A tokenizer: load, save, encode and decode.

On disk it consists of `tokenizer.json` (the format of the `tokenizers` library) and `tokenizer_config.json`. The
`tokenizer_class` is PreTrainedTokenizerFast: with any other class, `transformers` silently uses its own split.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seedbed import files
from seedbed.errors import SeedbedError
from seedbed.text import quoted
from seedbed.tokenizer import patterns
from seedbed.tokenizer.incremental_decoder import ByteDecoder, IncrementalDecoder, LibraryDecoder

if TYPE_CHECKING:
    import tokenizers

Kind = Literal["bpe", "wordpiece", "unigram", "char"]

UNKNOWN_CHARACTER = "\ufffd"
"""The token for characters that a `char` vocabulary does not contain."""

_MARKER = re.compile(r"<\|[^|<>\s]+\|>")
_KEPT_CONFIG = ("bos_token", "eos_token", "pad_token", "unk_token", "additional_special_tokens", "chat_template")


class Tokenizer:
    """Turns text into token ids and back; ids are 0 .. vocab_size - 1.

    `encode` adds no tokens, and encodes special tokens that are written in the text like other text. `special` maps the
    names of special tokens to their ids. `decode(encode(text))` is equal to the text (with the qwen2 split: to the text in
    Unicode NFC, as in Qwen2), except that a `char` vocabulary replaces unknown characters by U+FFFD. Create a tokenizer
    with `load` or `train.train_tokenizer`.
    """

    def __init__(self, spec: dict[str, Any], config: dict[str, Any]) -> None:
        """`spec` and `config`: tokenizer.json and tokenizer_config.json, parsed.

        Raises SeedbedError if the tokenizer is invalid or has no end-of-text token.
        """
        self._spec = _encoding_only(spec)
        self._config = _clean_config(config, self._spec)
        self.special: dict[str, int] = {
            token["content"]: token["id"] for token in self._spec.get("added_tokens", ()) if token["special"]
        }
        self.eot_token: str = self._config["eos_token"]
        self.eot_id: int = self._id_of(self.eot_token)
        self.pad_id: int = self._id_of(self._config["pad_token"])
        recognised = patterns.recognise(self._spec)
        self.split: str = recognised[0] if recognised else ""

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Load the tokenizer in a Hugging Face folder (tokenizer.json, and tokenizer_config.json if it exists).

        Raises SeedbedError if the tokenizer is missing, is invalid, or has no end-of-text token.
        """
        if not folder.is_dir():
            raise SeedbedError(
                f"There is no tokenizer folder {quoted(folder)}.",
                "Set tokenizer.path to a folder that contains tokenizer.json.",
            )
        spec = files.read_json(folder / "tokenizer.json")
        if spec is None:
            raise SeedbedError(
                f"{quoted(folder)} contains no tokenizer.json.",
                "Convert an older tokenizer (vocab.txt, merges.txt, *.model) with transformers: load it as a fast "
                "tokenizer, and save it.",
            )
        config = (
            files.read_json(folder / "tokenizer_config.json")
            or files.read_json(folder / "special_tokens_map.json")
            or {}
        )
        template = folder / "chat_template.jinja"
        if template.is_file() and isinstance(config, dict):
            config.setdefault("chat_template", template.read_text(encoding="utf-8"))
        try:
            tokenizer = cls(spec, config)
            if tokenizer.kind != "char":
                _ = tokenizer.library
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SeedbedError(
                f"{quoted(folder / 'tokenizer.json')} is not a usable tokenizer ({error}).",
                "Restore the file, or use another folder.",
            ) from error
        except SeedbedError as error:
            raise SeedbedError(f"{folder}: {error.message}", error.hint) from error
        return tokenizer

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json into `folder`, and create the folder if needed."""
        files.make_dir(folder)
        for name, content in self.as_files(model_max_length=model_max_length).items():
            files.write_atomic(folder / name, content, durable=False)

    def as_files(self, *, model_max_length: int | None = None) -> dict[str, bytes]:
        """The files that `save` writes, by name: the bytes of tokenizer.json and tokenizer_config.json."""
        config = dict(self._config)
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        return {
            "tokenizer.json": self._json.encode(),
            "tokenizer_config.json": (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
        }

    # -------------------------------------------------------------------------------------------- properties

    @cached_property
    def kind(self) -> str:
        """The kind of tokenizer: bpe, wordpiece, unigram or char; for others, the type in tokenizer.json in lower case."""
        model = self._spec["model"]
        if model["type"] == "BPE" and not model["merges"] and not self._spec.get("pre_tokenizer"):
            return "char"
        return str(model["type"]).lower()

    @cached_property
    def vocab_size(self) -> int:
        """Number of ids, unused ones included: one more than the largest id."""
        vocab = self._spec["model"]["vocab"]
        largest = len(vocab) - 1 if isinstance(vocab, list) else max(vocab.values(), default=-1)
        return int(max([largest, *(token["id"] for token in self._spec.get("added_tokens", ()))])) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json (in a fixed form) and the end-of-text token. If equal, every text has equal ids."""
        canonical = json.dumps([self._spec, self.eot_token], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def byte_level(self) -> bool:
        """Whether tokens consist of bytes (written as `patterns.byte_letters`), so that any text can be encoded."""
        return (self._spec.get("decoder") or {}).get("type") == "ByteLevel"

    @property
    def spec(self) -> dict[str, Any]:
        """The parsed tokenizer.json. Do not modify it."""
        return self._spec

    @cached_property
    def library(self) -> tokenizers.Tokenizer:
        """This tokenizer as an object of the `tokenizers` library. Special tokens written in text are encoded as text."""
        import tokenizers

        try:
            made = tokenizers.Tokenizer.from_str(self._json)
        except Exception as error:  # the library raises bare Exception
            raise SeedbedError(
                f"The tokenizers library cannot load this tokenizer.json ({error}).",
                "Restore the file, or use another tokenizer.",
            ) from error
        made.encode_special_tokens = True
        return made

    @cached_property
    def _json(self) -> str:
        # One line per part: with indentation, json takes seconds for a large vocabulary.
        lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in self._spec.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def _id_of(self, content: str) -> int:
        for token in self._spec.get("added_tokens", ()):
            if token["content"] == content:
                return int(token["id"])
        raise SeedbedError(
            f"The tokenizer has no token {content!r}, but tokenizer_config.json refers to it.",
            "Correct eos_token and pad_token in tokenizer_config.json.",
        )

    # -------------------------------------------------------------------------------------------- text to ids

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, without added tokens. Lone surrogates become U+FFFD."""
        if self.kind == "char":
            ids: list[int] = self.encode_characters(text).tolist()
            return ids
        return list(self.library.encode(well_formed(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The token ids of each text as a uint32 array; uses all cores."""
        if self.kind == "char":
            return [self.encode_characters(text) for text in texts]
        encodings = self.library.encode_batch_fast([well_formed(text) for text in texts], add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]

    def encode_characters(self, text: str) -> np.ndarray:
        """The token ids (uint32) of a text for a `char` tokenizer, by table look-up; equal to the library's (tested)."""
        if text.isascii():
            codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        else:
            codes = np.frombuffer(well_formed(text).encode("utf-32-le"), dtype="<u4")
        return self._character_table[codes]

    @property
    def unknown_id(self) -> int | None:
        """The id for characters that a `char` vocabulary lacks; None for the other kinds of tokenizers."""
        return int(self._spec["model"]["vocab"][UNKNOWN_CHARACTER]) if self.kind == "char" else None

    def unknown_in(self, text: str) -> list[str]:
        """The parts of a text that the vocabulary lacks, so that they become the unknown token: each once, in order."""
        if self.kind == "char":
            vocab = self._spec["model"]["vocab"]
            return [char for char in dict.fromkeys(well_formed(text)) if char not in vocab]
        model = self._spec["model"]
        unknown = model.get("unk_id") if model["type"] == "Unigram" else model["vocab"].get(model.get("unk_token"))
        if unknown is None:
            return []
        encoded = self.library.encode(well_formed(text), add_special_tokens=False)
        spans = [span for id_, span in zip(encoded.ids, encoded.offsets, strict=True) if id_ == unknown]
        return list(dict.fromkeys(well_formed(text)[begin:end] for begin, end in spans))

    @cached_property
    def _character_table(self) -> np.ndarray:
        vocab = self._spec["model"]["vocab"]
        table = np.full(0x110000, vocab[UNKNOWN_CHARACTER], dtype=np.uint32)
        table[[ord(char) for char in vocab]] = list(vocab.values())
        return table

    # -------------------------------------------------------------------------------------------- ids to text

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids. Special tokens and ids beyond the vocabulary (padding rows of a model) give no text."""
        if self.kind == "char":
            characters = self._characters
            return "".join([characters.get(id_, "") for id_ in ids])
        size = self.vocab_size
        text: str = self.library.decode([id_ for id_ in ids if 0 <= id_ < size], skip_special_tokens=True)
        return text

    def decoder(self) -> IncrementalDecoder:
        """A new decoder that decodes one id at a time. Its pieces, joined, are equal to `decode` of all ids."""
        if self.kind == "char":
            return ByteDecoder({id_: char.encode() for id_, char in self._characters.items()})
        if self.byte_level:
            return ByteDecoder(self._token_bytes)
        return LibraryDecoder(self.decode)

    @cached_property
    def _characters(self) -> dict[int, str]:
        return {id_: char for char, id_ in self._spec["model"]["vocab"].items()}

    @cached_property
    def _token_bytes(self) -> dict[int, bytes]:
        """The bytes that each id stands for, without special tokens."""
        vocab = self._spec["model"]["vocab"]
        named = (
            enumerate(name for name, _ in vocab)
            if isinstance(vocab, list)
            else ((id_, name) for name, id_ in vocab.items())
        )
        letters = patterns.letter_bytes()
        found = {}
        for id_, name in named:
            known = all(letter in letters for letter in name)
            found[id_] = bytes(letters[letter] for letter in name) if known else name.encode()
        for token in self._spec.get("added_tokens", ()):
            found.pop(token["id"], None)
            if not token["special"]:
                found[token["id"]] = token["content"].encode()
        return found


def well_formed(text: str) -> str:
    """The text with lone surrogates replaced by U+FFFD, because UTF-8 cannot encode them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


# ---------------------------------------------------------------------------------------------- cleaning the files


def _encoding_only(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy of a parsed tokenizer.json without everything that is not needed to encode plain text.

    Truncation, padding, dropout, and templates that add tokens are removed. Markers such as <|fim_prefix|> become special
    tokens, so that the same characters in data are encoded as text.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict) or "type" not in spec["model"]:
        raise SeedbedError('tokenizer.json has no "model" section.', "Restore the file, or use another tokenizer.")
    own = {**spec, "truncation": None, "padding": None}
    if (own.get("post_processor") or {}).get("type") not in (None, "ByteLevel"):
        own["post_processor"] = None
    if own["model"].get("dropout"):
        own["model"] = {**own["model"], "dropout": None}
    own["added_tokens"] = [
        {**token, "special": True} if _MARKER.fullmatch(token["content"]) else token
        for token in own.get("added_tokens") or ()
    ]
    return own


def _clean_config(config: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """The content of the tokenizer_config.json to write: a standard class, no custom code, and an end-of-text token."""
    if not isinstance(config, dict):
        raise SeedbedError("tokenizer_config.json is not a JSON object.", "Restore the file, or remove it.")
    kept = {key: config[key] for key in _KEPT_CONFIG if config.get(key) is not None}
    kept = {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in kept.items()
    }
    contents = [token["content"] for token in spec["added_tokens"]]
    if "eos_token" not in kept:
        if patterns.END_OF_TEXT not in contents:
            raise SeedbedError(
                "The tokenizer has no end-of-text token.",
                f'Set "eos_token" in tokenizer_config.json to an added token, or add the token {patterns.END_OF_TEXT}.',
            )
        kept["eos_token"] = patterns.END_OF_TEXT
    if "pad_token" not in kept:
        kept["pad_token"] = patterns.PAD if patterns.PAD in contents else kept["eos_token"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        # Without this list, transformers 4 also makes token_type_ids: Qwen3 refuses them, and GPT-2 adds their
        # embeddings to the input, so that its logits are wrong.
        "model_input_names": ["input_ids", "attention_mask"],
        # In a batch, generation continues from the last position of each prompt.
        "padding_side": "left",
        **kept,
    }
