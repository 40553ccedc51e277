"""Names of models on the Hub: valid ones are read, and no invalid one becomes a request or a path."""

from __future__ import annotations

import pytest

from seedbed.errors import UsageError
from seedbed.hub.names import HubName, hub_name, is_commit


@pytest.mark.parametrize(
    ("reference", "name", "revision"),
    [
        ("hub:HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M", "main"),
        ("hub:gpt2", "gpt2", "main"),
        ("hub:Qwen/Qwen2.5-0.5B@v1.0", "Qwen/Qwen2.5-0.5B", "v1.0"),
        ("hub:me/model_x@refs/pr/1", "me/model_x", "refs/pr/1"),
    ],
)
def test_name_and_revision_are_read(reference: str, name: str, revision: str) -> None:
    assert hub_name(reference) == HubName(name, revision)


@pytest.mark.parametrize(
    "reference",
    [
        "hub:",
        "hub:/model",
        "hub:me/",
        "hub:me/model/part",
        "hub:../model",
        "hub:me/..",
        "hub:me--you/model",
        "hub:me/model.git",
        "hub:me/a model",
        "hub:me/\x1b[31m",
        "hub:" + "m" * 97,
        "hub:me/model@",
        "hub:me/model@../../etc",
        "hub:me/model@/etc/passwd",
        "hub:me/model@a//b",
        "hub:me/model@a b",
        "hub:me/model@a@b",
    ],
)
def test_an_invalid_name_or_revision_is_a_usage_error_that_shows_the_form(reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        hub_name(reference)
    assert "hub:OWNER/NAME" in caught.value.hint
    assert "\x1b" not in caught.value.message


def test_names_agree_with_the_rules_of_the_hub_itself() -> None:
    validators = pytest.importorskip("huggingface_hub.utils", reason="needs the extra hub")
    for name in ("gpt2", "me/a.b-c_d", "me/..", "a--b", "me/x.git", "-me/x", "me/x-", "m" * 96, "m" * 97, "a/b/c", ""):
        try:
            validators.validate_repo_id(name)
            valid = True
        except ValueError:
            valid = False
        try:
            hub_name(f"hub:{name}")
            ours = True
        except UsageError:
            ours = False
        assert ours == valid, name


def test_the_reference_of_a_commit_is_read_as_it_was_written() -> None:
    exact = HubName("me/model", "a" * 40)
    assert str(exact) == "hub:me/model@" + "a" * 40
    assert hub_name(str(exact)) == exact
    assert str(HubName("me/model")) == "hub:me/model"


def test_only_a_full_hash_is_a_commit() -> None:
    assert is_commit("a" * 40)
    assert not is_commit("a" * 39)
    assert not is_commit("main")
