"""The markers of every model family in the real tokenizer of a model of it, and rows in the form that was published.

The vocabularies of all families are 115 MB to fetch, so these tests are slow ones; Qwen's are in `tests/curation/fim`, too.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from msgspec.structs import replace

from prepared import preparation, prepared, rows
from real.assets import fim_tokenizer, llama3_tokenizer, qwen3_tokenizer
from real.fuzz import texts
from seedbed.config.preparing import FimConfig
from seedbed.curation.fim.families import Markers, families_of, markers
from seedbed.curation.fim.family_table import families
from seedbed.curation.fim.rendering import Rendered, render_fim
from seedbed.curation.record import ContextFile, Provenance, Record
from seedbed.errors import SeedbedError
from seedbed.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.slow

MODELS = {
    "starcoder": "starcoder",
    "starcoder2": "starcoder2",
    "qwen3": "qwen2.5-coder",
    "codellama": "codellama",
    "deepseek-coder": "deepseek-coder",
    "deepseek-v3": "deepseek-coder",
    "codegemma": "codegemma",
    "codestral": "codestral",
}
"""The family of each tokenizer."""

IDS = {
    "starcoder": {"prefix": 1, "middle": 2, "suffix": 3, "pad": 4, "file": 5, "repository": 18, "end": 0},
    "starcoder2": {"prefix": 1, "middle": 2, "suffix": 3, "pad": 4, "repository": 5, "file": 6, "end": 0},
    "qwen3": {
        "prefix": 151659,
        "middle": 151660,
        "suffix": 151661,
        "pad": 151662,
        "repository": 151663,
        "file": 151664,
        "end": 151643,
    },
    "codellama": {"prefix": 32007, "suffix": 32008, "middle": 32009, "end": 32010},
    "deepseek-coder": {"suffix": 32015, "prefix": 32016, "middle": 32017, "end": 32014},
    "deepseek-v3": {"suffix": 128800, "prefix": 128801, "middle": 128802, "end": 1},
    "codegemma": {"prefix": 67, "middle": 68, "suffix": 69, "end": 1},
    "codestral": {"prefix": 11, "suffix": 13, "end": 2},
}
"""The ids of the markers. Sources: tokenizer_config.json of the models; for Code Llama and CodeGemma, the conversion to GGUF."""

FORMS = {
    "starcoder": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>{middle}<|endoftext|>",
    "starcoder2": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>{middle}<|endoftext|>",
    "qwen3": "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>{middle}<|endoftext|>",
    "deepseek-coder": "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>{middle}<｜end▁of▁sentence｜>",
    "deepseek-v3": "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>{middle}<｜end▁of▁sentence｜>",
    "codegemma": "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>{middle}<eos>",
}
"""Prompts as the model cards show them, with the middle and the end of the document, for tokenizers that add no space."""

REPOSITORIES = {
    "starcoder": "<reponame>me/app<filename>a.py\nA = 1\n<filename>src/b.py\n",
    "starcoder2": "<repo_name>me/app<file_sep>a.py\nA = 1\n<file_sep>src/b.py\n",
    "qwen3": "<|repo_name|>me/app\n<|file_sep|>a.py\nA = 1\n<|file_sep|>src/b.py\n",
}
"""What comes before a row that shows the file a.py of its repository, me/app."""

GAPS = [
    ("def area(w, h):\n    ", "\n\n\nprint(area(2, 3))\n", "return w * h"),
    ("if size > ", " + 1  # größer\n", "limit"),
    ("", "x = 1\n", "# 漢字 🙂\n"),
    ("\tfor (;;) {\n", "", "\t\tbreak;\n\t}\n"),
    ("a = '", "'\n", "  two  spaces "),
]
"""Prefixes, suffixes and middles."""


@cache
def loaded(name: str) -> Tokenizer:
    return Tokenizer.of_model(folder_of(name))


@cache
def library_of(name: str) -> tokenizers.Tokenizer:
    """The tokenizer as the library loads it, with control tokens."""
    return tokenizers.Tokenizer.from_file(str(folder_of(name) / "tokenizer.json"))


def folder_of(name: str) -> Path:
    return qwen3_tokenizer() if name == "qwen3" else fim_tokenizer(name)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    """Each tokenizer; skips the test if it cannot be fetched."""
    folder_of(request.param)
    return str(request.param)


def gap(prefix: str, suffix: str, middle: str, order: str = "psm", context: list[ContextFile] | None = None) -> Record:
    origin = Provenance(source="git", repository="me/app", path="src/b.py")
    return Record(
        kind="fim", prefix=prefix, suffix=suffix, middle=middle, order=order, context=context, provenance=origin
    )


def published_ids(name: str, text: str) -> list[int]:
    """The ids of a text with markers, as the tokenizers library gives them."""
    return list(library_of(name).encode(text, add_special_tokens=True).ids)


def test_every_family_has_a_real_tokenizer() -> None:
    assert set(MODELS.values()) == set(families())


def test_markers_are_single_tokens_with_the_published_ids(name: str) -> None:
    found = markers(MODELS[name], loaded(name))
    assert {**found.ids, "end": found.end_id} == IDS[name]
    assert families_of(loaded(name))[0] == MODELS[name]


@pytest.mark.parametrize("name", ["starcoder", "starcoder2", "codellama", "deepseek-coder"])
def test_texts_have_the_ids_that_were_published_with_the_vocabulary(name: str) -> None:
    for text, ids in json.loads((fim_tokenizer(name) / "samples.json").read_text()):
        assert loaded(name).encode(text) == ids, text


def test_text_with_the_names_of_markers_has_no_control_token(name: str) -> None:
    tokenizer, family = loaded(name), families()[MODELS[name]]
    found = markers(MODELS[name], tokenizer)
    control = {*found.ids.values(), found.end_id, found.text_end_id, *found.begin_ids}
    known = [*family.markers.values(), *(text.replace("▁", " ") for text in family.markers.values())]
    for text in [*known, "".join(known), *texts(100, seed=5, tokens=known)]:
        assert not control & set(tokenizer.encode(text)), text


@pytest.mark.parametrize("name", FORMS)
def test_rows_are_the_published_prompt(name: str) -> None:
    found = markers(MODELS[name], loaded(name))
    for prefix, suffix, middle in GAPS:
        row = render_fim(gap(prefix, suffix, middle), found, loaded(name).encode)
        assert row.ids == published_ids(name, FORMS[name].format(prefix=prefix, suffix=suffix, middle=middle))
        assert loaded(name).decode([id_ for id_, counts in zip(row.ids, row.trained, strict=True) if counts]) == middle
        assert (row.ids[-1], row.trained[-1]) == (found.end_id, 1)


@pytest.mark.parametrize("name", REPOSITORIES)
def test_files_of_the_repository_are_shown_as_published(name: str) -> None:
    found = markers(MODELS[name], loaded(name))
    prefix, suffix, middle = GAPS[0]
    record = gap(prefix, suffix, middle, context=[ContextFile(path="a.py", text="A = 1\n")])
    text = REPOSITORIES[name] + FORMS[name].format(prefix=prefix, suffix=suffix, middle=middle)
    assert render_fim(record, found, loaded(name).encode).ids == published_ids(name, text)


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_code_llama_gets_spaces_where_it_was_trained_with_them(order: str) -> None:
    """infilling_prompt_tokens() in meta-llama/codellama: the prefix has the space that the tokenizer adds, the others none."""
    tokenizer = loaded("codellama")
    spaced, joined = spaced_and_joined("codellama")
    for prefix, suffix, middle in GAPS:
        row = render_fim(gap(prefix, suffix, middle, order), markers("codellama", tokenizer), tokenizer.encode)
        start = [1, 32007]
        expected = {
            "psm": [*start, *spaced(prefix), 32008, *joined(suffix), 32009, *joined(middle), 32010],
            "spm": [*start, 32008, *joined(suffix), 32009, *spaced(prefix), *joined(middle), 32010],
        }
        assert row.ids == expected[order]


def test_codestral_rows_are_those_of_mistral_common() -> None:
    """What encode_fim() of mistral-common 1.13.1 gives with the tokenizer v3 for the first three gaps, then the middle."""
    prompts = [
        [
            *(1, 13, 781, 781, 781, 2799, 29500, 8226, 29500, 29518, 29493, 29473, 29538, 1511, 781),
            *(11, 1569, 3466, 29500, 29495, 29493, 1063, 2097, 781, 1028),
        ],
        [1, 13, 1416, 29473, 29508, 29473, 1190, 23475, 1031, 781, 11, 1281, 2437, 1644, 29473],
        [1, 13, 29512, 1095, 29473, 29508, 781, 11],
    ]
    tokenizer = loaded("codestral")
    found = markers("codestral", tokenizer)
    _, joined = spaced_and_joined("codestral")
    for prompt, (prefix, suffix, middle) in zip(prompts, GAPS, strict=False):
        row = render_fim(gap(prefix, suffix, middle), found, tokenizer.encode)
        assert row.ids == [*prompt, *joined(middle), 2]
        assert row.trained == bytes(len(prompt)) + b"\x01" * (len(row.ids) - len(prompt))


def spaced_and_joined(name: str) -> tuple[Any, Any]:
    """Functions that give the ids of a text with the space that SentencePiece adds, and without; "" has none."""
    spec = json.loads((folder_of(name) / "tokenizer.json").read_text(encoding="utf-8"))
    spec["added_tokens"] = []
    with_space = tokenizers.Tokenizer.from_str(json.dumps(spec))
    spec["normalizer"] = spec["normalizer"]["normalizers"][-1]
    without = tokenizers.Tokenizer.from_str(json.dumps(spec))

    def ids(library: tokenizers.Tokenizer, text: str) -> list[int]:
        return list(library.encode(text, add_special_tokens=False).ids) if text else []

    return lambda text: ids(with_space, text), lambda text: ids(without, text)


def parts(row: Rendered, found: Markers, tokenizer: Tokenizer) -> dict[str, str]:
    """The texts of a row by their place: after which marker they stand, and the middle, which is trained."""
    names = {id_: role for role, id_ in found.ids.items()}
    between: dict[str, list[int]] = {}
    last = ""
    for id_, counts in zip(row.ids[:-1], row.trained[:-1], strict=True):
        if id_ in names:
            last = names[id_]
        elif id_ not in found.begin_ids:
            between.setdefault("trained" if counts else last, []).append(id_)
    return {place: text_of(ids, found, tokenizer, place) for place, ids in between.items()}


def text_of(ids: list[int], found: Markers, tokenizer: Tokenizer, place: str) -> str:
    """The text of ids; a tokenizer that adds a space drops one in front of a text, also where it did not add it."""
    added = found.adds_space and place in ("suffix", "trained")
    return tokenizer.decode([*tokenizer.encode("a"), *ids])[1:] if added else tokenizer.decode(ids)


def test_prepared_rows_give_their_file_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "src"
    source.mkdir()
    # Without ö and ü: DeepSeek-Coder has tokens of these letters that its own decoder takes for single bytes.
    code = "".join(
        f"def step_{n}(value):\n\treturn value * {n} + len('naïve {n} 漢')  # {'x' * n}\n\n" for n in range(40)
    )
    (source / "steps.py").write_text(code, encoding="utf-8")
    measured = preparation("fim", source, tokenizer_folder=str(folder_of(name)), most_tokens=256)
    config = replace(measured, fim=FimConfig(family=MODELS[name], rate=1.0))
    made = prepared(tmp_path / "runs", config, tmp_path / "data")
    tokenizer = loaded(name)
    found, records = markers(MODELS[name], tokenizer), rows(made / "records.jsonl")
    assert len(records) > 5
    for each in records:
        record = gap(each["prefix"], each["suffix"], each["middle"], each["order"])
        row = render_fim(record, found, tokenizer.encode)
        assert len(row.ids) <= 256
        assert each["prefix"] + each["middle"] + each["suffix"] in code
        prefix_at = "prefix" if "prefix" in (got := parts(row, found, tokenizer)) or not each["prefix"] else "middle"
        expected = {prefix_at: each["prefix"], "suffix": each["suffix"], "trained": each["middle"]}
        assert got == {place: text for place, text in expected.items() if text}


def test_the_tokenizer_of_another_family_is_refused_and_the_right_family_named(name: str) -> None:
    fitting_families = set(families_of(loaded(name)))
    for wrong in set(families()) - fitting_families:
        with pytest.raises(SeedbedError, match="it has no token") as refused:
            markers(wrong, loaded(name))
        assert MODELS[name] in (refused.value.hint or "")
    assert fitting_families <= {MODELS[name], "starcoder", "starcoder2"}


def test_a_model_that_does_not_fill_in_the_middle_has_no_family() -> None:
    assert families_of(Tokenizer.of_model(llama3_tokenizer())) == []
