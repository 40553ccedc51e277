"""A tokenizer: load, save, encode and decode.

On disk it consists of `tokenizer.json` (the format of the `tokenizers` library) and `tokenizer_config.json`. The
`tokenizer_class` of ours is PreTrainedTokenizerFast: with any other class, `transformers` silently uses its own split. The
tokenizer of another model folder is used exactly as it is, and its files are copied, never written anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seedbed import files
from seedbed.checkpoint.tokenizer_files import TEMPLATE, TOKENIZER_CONFIG, TOKENIZER_JSON, TOKENS_MAP
from seedbed.errors import SeedbedError
from seedbed.text import quoted
from seedbed.tokenizer import patterns
from seedbed.tokenizer.chatml import IM_END
from seedbed.tokenizer.incremental_decoder import ByteDecoder, IncrementalDecoder, LibraryDecoder
from seedbed.tokenizer.model_files import (
    ModelFiles,
    control_tokens,
    end_of_document,
    missing_tokenizer,
    read_model_files,
    token_id,
    unloadable,
)

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
    names of special tokens to their ids; `control` are the added tokens that plain text never turns into. `decode(encode(text))`
    is equal to the text (with the qwen2 split: to the text in Unicode NFC, as in Qwen2), except that a `char` vocabulary
    replaces unknown characters by U+FFFD. `eot_id` ends a document; generation stops at each of `stop_ids`. Create a
    tokenizer with `load`, `of_model` or `train.train_tokenizer`.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        config: dict[str, Any],
        *,
        original: ModelFiles | None = None,
        stop_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`spec` and `config`: tokenizer.json and tokenizer_config.json, parsed.

        With `original`, the tokenizer of a model folder is used as it is; otherwise it is cleaned to encode plain text only.
        Raises SeedbedError if the tokenizer is invalid or has no end-of-text token.
        """
        self._original = original
        if original is None:
            self._spec = _encoding_only(spec)
            self._config = _clean_config(config, self._spec)
            self.eot_token: str = self._config["eos_token"]
            self.eot_id: int = self._id_of(self.eot_token)
            self.pad_id: int = self._id_of(self._config["pad_token"])
            if self.chat_template is not None and IM_END in self.chat_template:
                stop_ids |= {token["id"] for token in self._spec["added_tokens"] if token["content"] == IM_END}
        else:
            self._spec, self._config = spec, config
            self.eot_id, self.eot_token = end_of_document(original)
            named = original.special_tokens
            pad = token_id(spec, named["pad_token"]) if "pad_token" in named else original.pad_id
            self.pad_id = self.eot_id if pad is None else pad
            eos = token_id(spec, named["eos_token"]) if "eos_token" in named else None
            stop_ids = stop_ids | original.stop_ids | (frozenset() if eos is None else {eos})
        self.stop_ids: frozenset[int] = stop_ids | {self.eot_id}
        self.special: dict[str, int] = {
            token["content"]: token["id"] for token in self._spec.get("added_tokens") or () if token["special"]
        }
        self.control = frozenset(self.special) if original is None else control_tokens(self._spec)
        recognised = patterns.recognise(self._spec)
        self.split: str = recognised[0] if recognised else ""

    @classmethod
    def of_model(cls, folder: Path) -> Tokenizer:
        """The tokenizer of any model folder, exactly as it is: its ids are those of `transformers`.

        A tokenizer that Seedbed saved is the same as with `load`, and stops at the ids that the folder's configs name, too.
        Raises SeedbedError if the tokenizer is missing, is invalid, or has no end-of-text token.
        """
        found = read_model_files(folder)
        with _located(folder):
            _check_spec(found.spec)
            if _is_ours(found):
                return _checked(cls(found.spec, found.config, stop_ids=found.stop_ids))
            return _checked(cls(found.spec, found.config, original=found))

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
        spec = files.read_json(folder / TOKENIZER_JSON)
        if spec is None:
            raise missing_tokenizer(folder)
        config = files.read_json(folder / TOKENIZER_CONFIG) or files.read_json(folder / TOKENS_MAP) or {}
        template = folder / TEMPLATE
        if template.is_file() and isinstance(config, dict):
            config.setdefault("chat_template", template.read_text(encoding="utf-8"))
        with _located(folder):
            return _checked(cls(spec, config))

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write the files of `as_files` into `folder`, and create the folder if needed."""
        for name, content in self.as_files(model_max_length=model_max_length).items():
            files.make_dir((folder / name).parent)
            files.write_atomic(folder / name, content, durable=False)

    def as_files(self, *, model_max_length: int | None = None) -> dict[str, bytes]:
        """The files that `save` writes, by name: tokenizer.json and tokenizer_config.json, or the files of a model folder.

        The latter are copies, byte for byte; `model_max_length` does not change them.
        """
        if self._original is not None:
            return dict(self._original.contents)
        config = dict(self._config)
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        return {
            TOKENIZER_JSON: self._json.encode(),
            TOKENIZER_CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
        }

    # -------------------------------------------------------------------------------------------- properties

    @property
    def chat_template(self) -> str | None:
        """The chat template in tokenizer_config.json (Jinja); None if there is none, or there are several."""
        template = self._config.get("chat_template")
        return template if isinstance(template, str) else None

    def with_chat_template(self, template: str) -> Tokenizer:
        """This tokenizer with a chat template, whose end of a turn then also ends a text. Only for Seedbed's tokenizers."""
        assert self._original is None
        return Tokenizer(self._spec, {**self._config, "chat_template": template}, stop_ids=self.stop_ids)

    @cached_property
    def kind(self) -> str:
        """The kind of tokenizer: bpe, wordpiece, unigram or char; for others, the type in tokenizer.json in lower case."""
        model = self._spec["model"]
        if (
            self._original is None
            and model["type"] == "BPE"
            and not model["merges"]
            and not self._spec.get("pre_tokenizer")
        ):
            return "char"
        return str(model["type"]).lower()

    @cached_property
    def vocab_size(self) -> int:
        """Number of ids, unused ones included: one more than the largest id."""
        vocab = self._spec["model"]["vocab"]
        largest = len(vocab) - 1 if isinstance(vocab, list) else max(vocab.values(), default=-1)
        return int(max([largest, *(token["id"] for token in self._spec.get("added_tokens") or ())])) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json (in a fixed form) and the end-of-text token. If equal, every text has equal ids."""
        parts: list[Any] = [self._spec, self.eot_token]
        if self.control != frozenset(self.special):
            parts.append(sorted(self.control))
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
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
        """This tokenizer as an object of the `tokenizers` library. Control tokens written in text are encoded as text."""
        import tokenizers

        try:
            made = tokenizers.Tokenizer.from_str(self._json)
        except Exception as error:  # the library raises bare Exception
            raise unloadable(str(error)) from error
        if self._original is not None:
            _encode_plainly(made, self.control - set(self.special))
        made.encode_special_tokens = True
        return made

    @cached_property
    def _json(self) -> str:
        if self._original is not None:
            return self._original.contents[TOKENIZER_JSON].decode("utf-8-sig")
        # One line per part: with indentation, json takes seconds for a large vocabulary.
        lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in self._spec.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def _id_of(self, content: str) -> int:
        for token in self._spec["added_tokens"]:
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

    def encode_with_control_tokens(self, text: str) -> list[int]:
        """The token ids of a text in which control tokens stand for themselves, as a chat template writes it; adds none."""
        library = self.library
        library.encode_special_tokens = False
        try:
            return list(library.encode(well_formed(text), add_special_tokens=False).ids)
        finally:
            library.encode_special_tokens = True

    @cached_property
    def prefix_ids(self) -> tuple[int, ...]:
        """The ids that the folder's tokenizer puts before a text, such as beginning-of-text; () for Seedbed's tokenizers."""
        if self._original is None:
            return ()
        plain = tuple(self.library.encode("a", add_special_tokens=False).ids)
        whole = tuple(self.library.encode("a").ids)
        starts = (at for at in range(len(whole) - len(plain) + 1) if whole[at : at + len(plain)] == plain)
        return whole[: next(starts, 0)]

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
        size, hidden = self.vocab_size, self._hidden
        # The library would also hide markers such as <think>, which it encodes as text here.
        shown = [id_ for id_ in ids if 0 <= id_ < size and id_ not in hidden]
        text: str = self.library.decode(shown, skip_special_tokens=False)
        return text

    def decoder(self) -> IncrementalDecoder:
        """A new decoder that decodes one id at a time. Its pieces, joined, are equal to `decode` of all ids."""
        if self.kind == "char":
            return ByteDecoder({id_: char.encode() for id_, char in self._characters.items()}.get)
        if self.byte_level:
            return ByteDecoder(self._bytes_of)
        return LibraryDecoder(self.decode)

    @cached_property
    def byte_lengths(self) -> np.ndarray | None:
        """The UTF-8 bytes of text that each id stands for, int64 [vocab_size], control tokens 0; None if that varies."""
        if self.kind != "char" and not self.byte_level:
            return None
        lengths = np.zeros(self.vocab_size, dtype=np.int64)
        for id_, name in (self._characters if self.kind == "char" else self._names).items():
            pieces = name.encode() if self.kind == "char" else self._bytes_of(id_)
            lengths[id_] = len(pieces or b"")
        return lengths

    @cached_property
    def _hidden(self) -> frozenset[int]:
        return frozenset(self.special.values())

    @cached_property
    def _characters(self) -> dict[int, str]:
        return {id_: char for char, id_ in self._spec["model"]["vocab"].items()}

    @cached_property
    def _names(self) -> dict[int, str]:
        """The name of each id in tokenizer.json, without special tokens."""
        vocab = self._spec["model"]["vocab"]
        found = (
            {id_: name for id_, (name, *_) in enumerate(vocab)}
            if isinstance(vocab, list)
            else {id_: name for name, id_ in vocab.items()}
        )
        for token in self._spec.get("added_tokens") or ():
            found[token["id"]] = token["content"]
        for id_ in self._hidden:
            found.pop(id_, None)
        return found

    def _bytes_of(self, id_: int) -> bytes | None:
        """The bytes that an id stands for in a byte-level vocabulary; None for special tokens and unknown ids."""
        name = self._names.get(id_)
        if name is None:
            return None
        letters = patterns.letter_bytes()
        known = all(letter in letters for letter in name)
        return bytes(letters[letter] for letter in name) if known else name.encode()


def well_formed(text: str) -> str:
    """The text with lone surrogates replaced by U+FFFD, because UTF-8 cannot encode them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


# ---------------------------------------------------------------------------------------------- opening the files


@contextmanager
def _located(folder: Path) -> Iterator[None]:
    """Put the folder's name into the message of an error that its tokenizer.json causes in the `with` block."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SeedbedError(
            f"{quoted(folder / TOKENIZER_JSON)} is not a usable tokenizer ({error}).",
            "Restore the file, or use another folder.",
        ) from error
    except SeedbedError as error:
        raise SeedbedError(f"{quoted(folder)}: {error.message}", error.hint) from error


def _checked(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, after the library has loaded it. Raises SeedbedError if that fails."""
    if tokenizer.kind != "char":
        _ = tokenizer.library
    return tokenizer


def _is_ours(found: ModelFiles) -> bool:
    """Whether Seedbed wrote these files: then cleaning them changes nothing."""
    config = {key: value for key, value in found.config.items() if key != "model_max_length"}
    if not {"eos_token", "padding_side", "model_input_names"} <= set(config):
        return False
    return _encoding_only(found.spec) == found.spec and _clean_config(found.config, found.spec) == config


def _encode_plainly(library: tokenizers.Tokenizer, markers: Collection[str]) -> None:
    """Make the library encode whole texts, always in the same way, with the markers as text."""
    import tokenizers

    library.no_truncation()
    library.no_padding()
    if getattr(library.model, "dropout", None):
        library.model.dropout = None
    if markers:
        library.add_special_tokens([tokenizers.AddedToken(each, special=True) for each in sorted(markers)])


# ---------------------------------------------------------------------------------------------- cleaning the files


def _check_spec(spec: Any) -> None:
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict) or "type" not in spec["model"]:
        raise SeedbedError('tokenizer.json has no "model" section.', "Restore the file, or use another tokenizer.")


def _encoding_only(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy of a parsed tokenizer.json without everything that is not needed to encode plain text.

    Truncation, padding, dropout, and templates that add tokens are removed. Markers such as <|fim_prefix|> become special
    tokens, so that the same characters in data are encoded as text.
    """
    _check_spec(spec)
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
