"""The licence of a model is read from its card, else from a licence file beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

import hand_made_models as made
from seedbed.actions.licences import card_licence, licence_of


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: apache-2.0\nlanguage: en", "apache-2.0"),
        ("language:\n- en\nlicense: 'mit'", "mit"),
        ("license: other\nlicense_name: qwen-research\nlicense_link: LICENSE", "qwen-research"),
        ("license: other", "other"),
        ("license:\n- mit\n- apache-2.0\nlanguage:\n- en", "mit, apache-2.0"),
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("tags:\n- license: x", ""),
        ("language: en", ""),
    ],
)
def test_the_front_matter_of_a_card_names_the_licence(front: str, licence: str) -> None:
    assert card_licence(f"---\n{front}\n---\n# A model\nlicense: gpl\n") == licence


def test_text_outside_the_front_matter_is_no_licence() -> None:
    assert card_licence("# A model\nlicense: mit\n---\n") == ""
    assert card_licence("") == ""


def test_a_licence_file_is_the_second_source(tmp_path: Path) -> None:
    apache = (
        b"\n                                 Apache License\n                           Version 2.0, January 2004\n"
    )
    assert licence_of(made.write(tmp_path / "a", {"LICENSE": apache})) == ("apache-2.0", "LICENSE")
    own = {"LICENSE.txt": b"LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version ..."}
    assert licence_of(made.write(tmp_path / "b", own)) == ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "LICENSE.txt")
    both = {"README.md": b"---\nlicense: mit\n---\n", "LICENSE": apache}
    assert licence_of(made.write(tmp_path / "c", both)) == ("mit", "README.md")
    assert licence_of(made.write(tmp_path / "d", {"README.md": b"\xff\xfe"})) == ("", "")
    assert licence_of(tmp_path / "nowhere") == ("", "")
