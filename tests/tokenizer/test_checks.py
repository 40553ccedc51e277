"""A folder that `tokenizer.path` names is refused for the same reasons before a run and when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError, UsageError
from seedbed.tokenizer.checks import refuse_tokenizer
from seedbed.tokenizer.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("vocab.txt", r'contains no tokenizer\.json, only "vocab\.txt"', "Convert"),
        ("spiece.model", r'contains no tokenizer\.json, only "spiece\.model"', "Convert"),
        ("notes.txt", r"contains no tokenizer\.json\.", "copy it"),
    ],
)
def test_a_folder_without_a_tokenizer_is_refused_with_what_it_has(
    name: str, message: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(UsageError, match=message) as before:
        refuse_tokenizer(TokenizerConfig(path=str(tmp_path)))
    with pytest.raises(SeedbedError, match=message) as loading:
        Tokenizer.load(tmp_path)
    assert before.value.hint == loading.value.hint
    assert hint in before.value.hint
