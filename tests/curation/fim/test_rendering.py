"""Rows for fill in the middle as token ids with a mask."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_tokenizers import characters, spaced
from real.assets import qwen3_tokenizer
from seedbed.curation.fim.families import Markers, markers
from seedbed.curation.fim.rendering import render_fim, render_text
from seedbed.curation.record import ContextFile, Provenance, Record
from seedbed.tokenizer.tokenizer import Tokenizer

_STARCODER2 = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<repo_name>", "<file_sep>")


def row(prefix: str, suffix: str, middle: str, order: str = "psm", context: list[ContextFile] | None = None) -> Record:
    return Record(
        kind="fim",
        prefix=prefix,
        suffix=suffix,
        middle=middle,
        order=order,
        context=context,
        provenance=Provenance(source="git", repository="me/app", path="src/app.py"),
    )


def shown(ids: list[int], tokenizer: Tokenizer) -> str:
    """The ids as text, with the control tokens."""
    return str(tokenizer.library.decode(ids, skip_special_tokens=False))


def test_psm_is_prefix_suffix_middle_with_qwens_markers() -> None:
    tokenizer = Tokenizer.of_model(qwen3_tokenizer())
    found = render_fim(row("a = ", "\n", "1"), markers("qwen2.5-coder", tokenizer), tokenizer.encode)
    assert shown(found.ids, tokenizer) == "<|fim_prefix|>a = <|fim_suffix|>\n<|fim_middle|>1<|endoftext|>"
    assert found.trained == bytes([0] * (len(found.ids) - 2) + [1, 1])


def test_spm_is_suffix_first_and_the_middle_joins_the_prefix() -> None:
    tokenizer = characters(*_STARCODER2)
    found = render_fim(row("a = ", "\n", "1", "spm"), markers("starcoder2", tokenizer), tokenizer.encode)
    # Source of the order: permute() of bigcode-project/Megatron-LM, "variant 2".
    assert shown(found.ids, tokenizer) == "<fim_prefix><fim_suffix>\n<fim_middle>a = 1<|endoftext|>"
    assert found.trained == bytes([0] * (len(found.ids) - 2) + [1, 1])


def test_codestral_has_no_marker_before_the_middle_and_only_one_order() -> None:
    tokenizer = characters("[SUFFIX]", "[PREFIX]", end="</s>")
    found = [
        render_fim(row("a", "b", "c", order), markers("codestral", tokenizer), tokenizer.encode)
        for order in ("psm", "spm")
    ]
    assert found[0] == found[1]
    assert shown(found[0].ids, tokenizer) == "[SUFFIX]b[PREFIX]ac</s>"
    assert found[0].trained == bytes([0, 0, 0, 0, 1, 1])


def test_suffix_and_middle_get_no_space_from_a_tokenizer_that_adds_one() -> None:
    tokenizer = spaced("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")
    codellama = markers("codellama", tokenizer)
    assert codellama.adds_space
    ids, _ = render_fim(row("a", "a", "a"), codellama, tokenizer.encode)
    vocab = tokenizer.spec["model"]["vocab"]
    marker = codellama.ids
    # As infilling_prompt_tokens() of Code Llama: the prefix is encoded as any text, suffix and middle without the space.
    assert ids == [
        marker["prefix"], vocab["▁a"], marker["suffix"], vocab["a"], marker["middle"], vocab["a"], codellama.end_id
    ]  # fmt: skip


@pytest.mark.parametrize("loss", ["all", "middle"])
@pytest.mark.parametrize("order", ["psm", "spm"])
def test_the_end_is_there_once_and_trained(loss: str, order: str) -> None:
    tokenizer = characters(*_STARCODER2)
    found = markers("starcoder2", tokenizer)
    ids, trained = render_fim(row("x", "y", "z", order), found, tokenizer.encode, loss=loss)  # type: ignore[arg-type]
    assert ids.count(found.end_id) == 1
    assert ids[-1] == found.end_id
    assert trained[-1] == 1
    assert len(trained) == len(ids)
    assert sum(trained) == (2 if loss == "middle" else len(ids))


def test_what_the_tokenizer_puts_first_comes_first_and_is_not_trained() -> None:
    tokenizer = characters(*_STARCODER2)
    found = msgspec.structs.replace(markers("starcoder2", tokenizer), begin_ids=(7,))
    ids, trained = render_fim(row("x", "y", "z"), found, tokenizer.encode, loss="all")
    assert (ids[0], trained[0], trained[1]) == (7, 0, 1)
    ids, trained = render_text("x", found, tokenizer.encode)
    assert (ids[0], ids[-1], list(trained)) == (7, found.text_end_id, [0, 1, 1])


def test_markers_in_the_text_stay_text() -> None:
    tokenizer = Tokenizer.of_model(qwen3_tokenizer())
    found = markers("qwen2.5-coder", tokenizer)
    text = "<|fim_middle|> <|endoftext|> <|im_end|>"
    ids, _ = render_fim(row(text, text, text), found, tokenizer.encode)
    for id_ in (found.ids["prefix"], found.ids["suffix"], found.ids["middle"], found.end_id):
        assert ids.count(id_) == 1
    assert tokenizer.eot_id not in render_text(text, found, tokenizer.encode).ids[:-1]


def test_other_files_come_first_with_the_markers_of_repositories() -> None:
    tokenizer = Tokenizer.of_model(qwen3_tokenizer())
    context = [ContextFile(path="src/a.py", text="A = 1"), ContextFile(path="src/b.py", text="B = 2\n")]
    ids, trained = render_fim(
        row("p", "s", "m", context=context), markers("qwen2.5-coder", tokenizer), tokenizer.encode
    )
    # Source of the form: github.com/QwenLM/Qwen2.5-Coder, README, repository level.
    assert shown(ids, tokenizer) == (
        "<|repo_name|>me/app\n<|file_sep|>src/a.py\nA = 1\n<|file_sep|>src/b.py\nB = 2\n<|file_sep|>src/app.py\n"
        "<|fim_prefix|>p<|fim_suffix|>s<|fim_middle|>m<|endoftext|>"
    )
    assert sum(trained) == 2


def test_other_files_are_left_out_where_the_family_cannot_show_them() -> None:
    tokenizer = characters("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    context = [ContextFile(path="a.py", text="A = 1")]
    found = markers("starcoder", tokenizer)
    assert render_fim(row("p", "s", "m", context=context), found, tokenizer.encode) == render_fim(
        row("p", "s", "m"), found, tokenizer.encode
    )


@settings(max_examples=60, deadline=None)
@given(prefix=st.text(), suffix=st.text(), middle=st.text(), order=st.sampled_from(["psm", "spm"]))
def test_the_parts_between_the_markers_are_the_parts_of_the_row(
    prefix: str, suffix: str, middle: str, order: str
) -> None:
    tokenizer = characters(*_STARCODER2)
    found = markers("starcoder2", tokenizer)
    ids, trained = render_fim(row(prefix, suffix, middle, order), found, tokenizer.encode)
    parts = _between(ids, found, tokenizer)
    assert parts == (["", prefix, suffix, middle] if order == "psm" else ["", "", suffix, prefix + middle])
    assert tokenizer.decode([id_ for id_, counts in zip(ids, trained, strict=True) if counts]) == middle


def _between(ids: list[int], found: Markers, tokenizer: Tokenizer) -> list[str]:
    parts: list[list[int]] = [[]]
    for id_ in ids[:-1]:
        if id_ in found.ids.values():
            parts.append([])
        else:
            parts[-1].append(id_)
    return [tokenizer.decode(part) for part in parts]
