"""Tokenizers: decoding restores the text, ids equal those of transformers, and foreign folders load or are refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError
from seedbed.tokenizer import patterns
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

KINDS = ("bpe", "wordpiece", "unigram", "char")
BYTE_KINDS = KINDS[:3]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
AWKWARD = [
    "",
    " ",
    "\n\n\n",
    "  two  spaces \t tab\r\nCRLF ",
    "don't they'LL we'Ve x'ſ",
    "12345 1½ ²",
    "naïve café — “quoted” … €5",
    "日本語のテキスト。漢字",
    "привет, мир! Ελλάδα עברית العربية हिन्दी",
    "👩‍👩‍👧 🇫🇷 \U0001f600",
    "e\u0301 is not é until NFC",
    "\x00\x01\x1c\x1f\x7f\x85\xa0\u2028",
    "<|endoftext|><|im_start|>user<|fim_middle|>[UNK] [PAD] <unk> </s>",
    "x" * 300 + "=" * 300 + " " * 300,
]


def quiet(_event: object) -> None:
    """An emit for tests that do not read events."""


def prose(seed: int, num_words: int = 20_000) -> str:
    """Words of a made-up language, so that there is something to merge."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(LETTERS, k=rng.randint(2, 9))) for _ in range(800)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    lines = rng.choices(words, weights, k=num_words)
    return "".join(word + rng.choice((" ", " ", " ", ", ", ".\n", "\n\n", " 12 ")) for word in lines)


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, str], Tokenizer]:
    """A tokenizer of each kind and split."""
    text = prose(1)
    return {
        (kind, split): train_tokenizer(
            [text, *AWKWARD], TokenizerConfig(kind=kind, split=split, vocab_size=700), quiet
        )
        for kind in KINDS
        for split in ("qwen2", "gpt-2")
    }  # fmt: skip


def fuzz(count: int) -> list[str]:
    """Random texts without special tokens."""
    rng = random.Random(7)
    alphabet = list(LETTERS + "ABC '.,-!0129\n\n\r\t   ") + list("éßſ½²日本語аб🙂\u0301\u200d\xa0\u3000")
    return ["".join(rng.choices(alphabet, k=rng.randint(0, 80))) for _ in range(count)]


@pytest.mark.parametrize("split", ["qwen2", "gpt-2"])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_equal_those_of_transformers(trained, tmp_path, kind, split):
    from transformers import AutoTokenizer

    tokenizer = trained[kind, split]
    tokenizer.save(tmp_path, model_max_length=512)
    model = (
        "qwen3" if split == "qwen2" else "gpt2"
    )  # in a checkpoint, transformers may pick a class by the model's type
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model}))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    plain = [text for text in AWKWARD if "<|" not in text] + fuzz(400) + [prose(2, 300)]
    for text in plain:
        ids = tokenizer.encode(text)
        assert theirs(text)["input_ids"] == ids, repr(text)
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids), repr(text)
    assert theirs.eos_token_id == tokenizer.eot_id
    assert theirs.pad_token_id == tokenizer.pad_id
    assert len(theirs) == tokenizer.vocab_size
    assert theirs.model_max_length == 512
    assert theirs.clean_up_tokenization_spaces is False
    assert theirs.padding_side == "left"
    assert theirs.convert_tokens_to_ids(list(patterns.SPECIAL_TOKENS)) == list(tokenizer.special.values())
    assert set(tokenizer.special.values()) == set(theirs.all_special_ids)
    assert theirs.unk_token_id is None or kind == "char"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["qwen2", "gpt-2"])
def test_decoding_restores_the_text(trained, kind, split):
    from unicodedata import normalize

    tokenizer = trained[kind, split]
    for text in [*AWKWARD, *fuzz(100)]:
        expected = text
        if kind == "char":
            known = tokenizer.spec["model"]["vocab"]
            expected = "".join(char if char in known else "\ufffd" for char in text)
        elif split == "qwen2":
            expected = normalize("NFC", text)
        assert tokenizer.decode(tokenizer.encode(text)) == expected, repr(text)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_text_stay_text(trained, kind):
    tokenizer = trained[kind, "qwen2"]
    for name, id_ in tokenizer.special.items():
        assert id_ not in tokenizer.encode(f"a{name}b {name}")
        assert tokenizer.special[name] >= tokenizer.vocab_size - len(patterns.SPECIAL_TOKENS)
    assert tokenizer.encode_batch(["<|endoftext|>"])[0].tolist() == tokenizer.encode("<|endoftext|>")


def test_decoding_leaves_out_special_tokens_and_unknown_ids(trained):
    tokenizer = trained["bpe", "qwen2"]
    ids = [
        tokenizer.eot_id,
        *tokenizer.encode("hello"),
        tokenizer.pad_id,
        tokenizer.vocab_size + 3,
        *tokenizer.encode(" x"),
    ]
    assert tokenizer.decode(ids) == "hello x"


@pytest.mark.parametrize("split", ["qwen2", "gpt-2"])
def test_the_split_equals_the_published_pattern(trained, split):
    """Against the regular expression published with Qwen2 and GPT-2, run by the `regex` module."""
    regex = pytest.importorskip("regex")
    published = {
        "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    }[split]
    library = trained["bpe", split].library
    letters = patterns.letter_bytes()
    for text in fuzz(300):
        pieces = [
            bytes(letters[c] for c in piece).decode() for piece, _ in library.pre_tokenizer.pre_tokenize_str(text)
        ]
        assert pieces == regex.findall(published, text), repr(text)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=60))
def test_byte_level_bpe_restores_any_text(trained, text):
    tokenizer = trained["bpe", "gpt-2"]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_lone_surrogates_become_replacement_characters(trained, kind):
    tokenizer = trained[kind, "qwen2"]
    shown = tokenizer.decode(tokenizer.encode("a\ud800b"))
    assert shown == "a\ufffdb"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_incremental_decoding_equals_decoding_at_once(trained, kind, data):
    tokenizer = trained[kind, "qwen2"]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size + 20), max_size=40))
    stream = tokenizer.decoder()
    assert "".join(stream.push(id_) for id_ in ids) + stream.flush() == tokenizer.decode(ids)


def test_incremental_decoding_never_returns_half_a_character(trained):
    tokenizer = trained["bpe", "gpt-2"]
    stream = tokenizer.decoder()
    shown = [stream.push(id_) for id_ in tokenizer.encode("naïve 日本 🙂!")]
    assert "\ufffd" not in "".join(shown)
    assert "".join(shown) == "naïve 日本 🙂!"
    assert stream.flush() == ""


def test_saving_and_loading_changes_nothing(trained, tmp_path):
    for (kind, split), tokenizer in trained.items():
        first, second = tmp_path / f"{kind}-{split}", tmp_path / f"{kind}-{split}-again"
        tokenizer.save(first)
        loaded = Tokenizer.load(first)
        loaded.save(second)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (loaded.fingerprint, loaded.special, loaded.kind) == (tokenizer.fingerprint, tokenizer.special, kind)
        assert loaded.split == ("" if kind == "char" else split)


def test_char_ids_equal_those_of_the_library(trained):
    tokenizer = trained["char", "qwen2"]
    for text in [*AWKWARD, *fuzz(200)]:
        assert tokenizer.encode(text) == tokenizer.library.encode(text, add_special_tokens=False).ids


# ---------------------------------------------------------------------------------------------- foreign folders


def sentencepiece_like(folder: Path, *, eos: str | None = "</s>") -> None:
    """A tokenizer like Llama's: Metaspace, byte fallback, a template that adds a first token, truncation on."""
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>", "<s>", "</s>", *fallback], show_progress=False, initial_alphabet=["▁"]
    )
    made.train_from_iterator([prose(3, 4000)], trainer)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.enable_truncation(16)
    folder.mkdir(exist_ok=True)
    spec = json.loads(made.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["content"].startswith("<0x")]
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    config = {"tokenizer_class": "LlamaTokenizer", "auto_map": {"AutoTokenizer": ["code.py", None]}, "bos_token": "<s>"}
    if eos:
        config["eos_token"] = {"content": eos, "special": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def test_a_foreign_tokenizer_is_loaded_without_its_first_token_and_truncation(tmp_path):
    from transformers import AutoTokenizer

    sentencepiece_like(tmp_path / "theirs")
    tokenizer = Tokenizer.load(tmp_path / "theirs")
    text = prose(4, 50)
    raw = tokenizers.Tokenizer.from_file(str(tmp_path / "theirs" / "tokenizer.json"))
    raw.no_truncation()
    assert tokenizer.encode(text) == raw.encode(text, add_special_tokens=False).ids
    assert len(tokenizer.encode(text)) > 16
    assert tokenizer.eot_id == raw.token_to_id("</s>")
    tokenizer.save(tmp_path / "ours")
    ours = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert ours(text)["input_ids"] == tokenizer.encode(text)
    assert "auto_map" not in json.loads((tmp_path / "ours" / "tokenizer_config.json").read_text())


def test_unknown_in_lists_characters_and_words_without_a_token(trained):
    char = trained["char", "qwen2"]
    assert char.unknown_in("ǂ seen, ǂ and \U00010348") == ["ǂ", "\U00010348"]
    assert char.unknown_in("seen") == []
    for kind in BYTE_KINDS:
        assert trained[kind, "qwen2"].unknown_in("ǂ seen, \U00010348 \ud800") == []
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "the": 1, "</s>": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["[UNK]", "</s>"])
    foreign = Tokenizer(json.loads(made.to_str()), {"eos_token": "</s>"})
    assert foreign.unknown_in("the fox the ǂ fox") == ["fox", "ǂ"]


@pytest.mark.parametrize("named", [None, ["input_ids", "token_type_ids", "attention_mask"]])
def test_saved_files_always_name_the_inputs_of_a_decoder(trained, tmp_path, named):
    tokenizer = trained["bpe", "qwen2"]
    tokenizer.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for key in ("model_input_names", "padding_side"):
        del config[key]
    if named:
        config |= {"model_input_names": named, "padding_side": "right"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint
    written = json.loads(again.as_files(model_max_length=64)["tokenizer_config.json"])
    assert written["model_input_names"] == ["input_ids", "attention_mask"]
    assert written["padding_side"] == "left"
    assert written["model_max_length"] == 64


def test_incremental_decoding_with_a_foreign_tokenizer_equals_decoding_at_once(tmp_path):
    sentencepiece_like(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    for text in (prose(5, 40), "words and 日本 🙂 bytes", "x"):
        ids, stream = tokenizer.encode(text), tokenizer.decoder()
        parts = [stream.push(id_) for id_ in ids]
        assert "".join(parts) + stream.flush() == tokenizer.decode(ids) == text
        assert all("\ufffd" not in part for part in parts)


def test_markers_that_a_foreign_file_lists_as_not_special_stay_text(trained, tmp_path):
    """Qwen2.5-Coder lists <|fim_prefix|> and similar markers as added tokens that are not special."""
    trained["bpe", "qwen2"].save(tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text())
    for token in spec["added_tokens"]:
        token["special"] = not token["content"].startswith("<|fim")
    spec["added_tokens"].append({**spec["added_tokens"][0], "id": 700, "content": "<tool_call>", "special": False})
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.special["<|fim_prefix|>"] not in tokenizer.encode("a <|fim_prefix|> b")
    assert 700 in tokenizer.encode("a <tool_call> b")
    assert tokenizer.vocab_size == 701


def test_the_tokenizer_of_a_model_folder_is_used_as_it_is(tmp_path):
    folder, copy = tmp_path / "theirs", tmp_path / "copy"
    sentencepiece_like(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    tokenizer = Tokenizer.of_model(folder)
    assert tokenizer.prefix_ids == (1,)
    assert (tokenizer.eot_id, tokenizer.stop_ids) == (2, {2, 7, 9})
    raw = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    raw.no_truncation()
    text = prose(4, 50) + " 日本 <s> naïve"
    assert tokenizer.encode_with_control_tokens(text) == raw.encode(text, add_special_tokens=False).ids
    assert [1, *tokenizer.encode_with_control_tokens(text)] == raw.encode(text).ids
    assert 1 not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    tokenizer.save(copy, model_max_length=8)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
    assert Tokenizer.of_model(copy).fingerprint == tokenizer.fingerprint


def test_incremental_decoding_with_the_tokenizer_of_a_model_folder_equals_decoding_at_once(tmp_path):
    sentencepiece_like(tmp_path)
    tokenizer = Tokenizer.of_model(tmp_path)
    for text in (prose(5, 40), "words and 日本 🙂 bytes", "x"):
        ids = [1, *tokenizer.encode(text), 2]
        stream = tokenizer.decoder()
        assert "".join(stream.push(id_) for id_ in ids) + stream.flush() == tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_that_seedbed_saved_is_the_same_as_that_of_a_model_folder(trained, tmp_path, kind):
    tokenizer = trained[kind, "qwen2"]
    tokenizer.save(tmp_path, model_max_length=64)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 3}')
    again = Tokenizer.of_model(tmp_path)
    assert (again.fingerprint, again.kind, again.eot_id) == (tokenizer.fingerprint, kind, tokenizer.eot_id)
    assert again.as_files(model_max_length=8) == tokenizer.as_files(model_max_length=8)
    assert again.stop_ids == {tokenizer.eot_id, 3}
    assert again.prefix_ids == ()


def test_markers_of_a_model_folder_stay_text_and_are_decoded(trained, tmp_path):
    """Qwen3 lists <think> as an added token that is not special: an id in a chat, text in plain text, shown in both."""
    trained["bpe", "gpt-2"].save(tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text())
    for id_, content in ((700, "<think>"), (701, "quark")):
        spec["added_tokens"].append({**spec["added_tokens"][0], "id": id_, "content": content, "special": False})
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    tokenizer = Tokenizer.of_model(tmp_path)
    assert 700 not in tokenizer.encode("a<think>b")
    assert 700 in tokenizer.encode_with_control_tokens("a<think>b")
    assert 701 in tokenizer.encode("a quark b")
    assert tokenizer.encode_batch(["a<think>b"])[0].tolist() == tokenizer.encode("a<think>b")
    assert tokenizer.decode([700, 701]) == "<think>quark"
    assert tokenizer.stop_ids == {tokenizer.special["<|im_end|>"], tokenizer.special["<|endoftext|>"]}


def without_vocabulary(folder: Path) -> None:
    spec = json.loads((folder / "tokenizer.json").read_text())
    del spec["model"]["vocab"]
    (folder / "tokenizer.json").write_text(json.dumps(spec))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "contains no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": '), "not valid JSON"),
        (lambda folder: (folder / "tokenizer.json").write_text("[1, 2]"), 'has no "model"'),
        (without_vocabulary, "cannot load this tokenizer.json"),
        (lambda folder: sentencepiece_like(folder, eos=None), "no end-of-text token"),
        (lambda folder: sentencepiece_like(folder, eos="<missing>"), "<missing>"),
    ],
)
def test_an_unusable_folder_is_refused_with_the_reason(trained, tmp_path, broken, message):
    trained["bpe", "qwen2"].save(tmp_path)
    broken(tmp_path)
    with pytest.raises(SeedbedError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert caught.value.hint
    if "no end-of-text" not in message:  # a model folder's own, <|endoftext|>, is enough
        with pytest.raises(SeedbedError) as caught:
            Tokenizer.of_model(tmp_path)
        assert caught.value.hint


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SeedbedError, match="no tokenizer folder"):
        Tokenizer.load(tmp_path / "nowhere")
