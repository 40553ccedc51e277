"""The markers of model families, looked up in real and made tokenizers."""

from __future__ import annotations

import pytest

from fim_tokenizers import characters
from real.assets import llama3_tokenizer, qwen3_tokenizer, smollm2_folder
from seedbed.curation.fim.families import adds_space, families_of, markers
from seedbed.curation.fim.family_table import families, family_named
from seedbed.errors import SeedbedError, UsageError
from seedbed.tokenizer.tokenizer import Tokenizer


def test_qwen_markers_are_the_published_ids() -> None:
    found = markers("qwen2.5-coder", Tokenizer.of_model(qwen3_tokenizer()))
    # Source: github.com/QwenLM/Qwen2.5-Coder, README.
    assert (found.ids["prefix"], found.ids["middle"], found.ids["suffix"]) == (151659, 151660, 151661)
    assert (found.ids["repository"], found.ids["file"], found.ids["pad"]) == (151663, 151664, 151662)
    assert found.end_id == 151643
    assert {151643, 151645, 151659, 151661, 151662, 151663, 151664} <= found.stop_ids
    assert found.begin_ids == ()
    assert not found.adds_space


def test_a_tokenizer_without_markers_is_refused_with_their_names() -> None:
    tokenizer = Tokenizer.of_model(llama3_tokenizer())
    with pytest.raises(SeedbedError, match=r"no token <\|fim_prefix\|>, <\|fim_suffix\|>, <\|fim_middle\|>") as refused:
        markers("qwen2.5-coder", tokenizer)
    assert "rows of plain text need none" in refused.value.hint
    assert families_of(tokenizer) == []


def test_smollm2_has_the_markers_of_repositories_but_none_for_a_gap() -> None:
    tokenizer = Tokenizer.of_model(smollm2_folder())
    with pytest.raises(SeedbedError, match="no token <fim_prefix>, <fim_suffix>, <fim_middle>"):
        markers("starcoder2", tokenizer)


def test_the_refusal_names_the_family_that_fits() -> None:
    with pytest.raises(SeedbedError) as refused:
        markers("starcoder", Tokenizer.of_model(qwen3_tokenizer()))
    assert "qwen2.5-coder" in refused.value.hint


def test_a_family_that_has_all_markers_comes_before_one_that_has_most() -> None:
    tokenizer = characters("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<repo_name>", "<file_sep>")
    assert families_of(tokenizer) == ["starcoder2", "starcoder"]
    assert markers("starcoder2", tokenizer).file
    assert markers("starcoder", tokenizer).file == ()  # without <reponame> and <filename>, no other files are shown


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Qwen/Qwen2.5-Coder-1.5B", "qwen2.5-coder"),
        ("qwen3", "qwen2.5-coder"),
        ("bigcode/starcoder2-3b", "starcoder2"),
        ("starcoder", "starcoder"),
        ("DeepSeek-Coder-6.7b-base", "deepseek-coder"),
    ],
)
def test_names_of_models_lead_to_their_family(name: str, family: str) -> None:
    assert family_named(name) == family


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="gpt2") as refused:
        family_named("gpt2")
    assert "codellama" in refused.value.hint


def test_every_family_uses_each_part_once_and_only_markers_that_it_names() -> None:
    for name, row in families().items():
        assert row.orders, name
        assert row.source, name
        for order in (row.psm, row.spm):
            if order:
                assert sorted(each for each in order if not each.startswith("@")) == ["middle", "prefix", "suffix"]
                assert order[-1] == "middle", name
        used = {each[1:] for each in (*row.psm, *row.spm, *row.header, *row.file) if each.startswith("@")}
        assert used <= set(row.markers), name


def test_two_markers_with_one_id_are_refused() -> None:
    tokenizer = characters("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    for token in tokenizer.spec["added_tokens"]:
        if token["content"] == "<fim_suffix>":
            token["id"] -= 1
    with pytest.raises(SeedbedError, match="one id for the markers"):
        markers("starcoder", tokenizer)


def test_real_tokenizers_of_code_models_add_no_space() -> None:
    assert not adds_space(Tokenizer.of_model(qwen3_tokenizer()))
    assert not adds_space(Tokenizer.of_model(smollm2_folder()))
