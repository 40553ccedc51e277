"""Writing and reading a model's config.json, and which ones are refused."""

from __future__ import annotations

import pytest

from seedbed.config.families.config_json import config_from_hf, hf_config
from seedbed.config.families.family import features
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from small_models import SHAPES, VOCAB, Ids, shape


@pytest.mark.parametrize("config", SHAPES)
def test_a_written_config_json_reads_back_equal(config: ModelConfig) -> None:
    read, rows = config_from_hf(hf_config(config, VOCAB, Ids()))
    same = [name for name in config.__struct_fields__ if name not in ("rope_theta", "vocab_multiple")]
    assert {name: getattr(read, name) for name in same} == {name: getattr(config, name) for name in same}
    assert rows == VOCAB
    assert features(config.layout).positions == "learned" or read.rope_theta == config.rope_theta


@pytest.mark.parametrize(
    "spelling", [{"rope_theta": 777.0}, {"rope_parameters": {"rope_theta": 777.0, "rope_type": "default"}}]
)
def test_either_spelling_of_the_rotary_base_is_read(spelling: dict[str, object]) -> None:
    parsed = hf_config(shape("qwen3"), VOCAB, Ids())
    del parsed["rope_theta"], parsed["rope_parameters"]
    assert config_from_hf({**parsed, **spelling})[0].rope_theta == 777.0


@pytest.mark.parametrize(
    ("layout", "change", "named"),
    [
        ("qwen3", {"model_type": "llama"}, "'llama'"),
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window"),
        ("qwen3", {"attention_bias": True}, "attention_bias"),
        ("qwen3", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "'yarn'"),
        ("qwen3", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear"}}, "'linear'"),
        ("gpt2", {"activation_function": "relu"}, "activation_function"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ],
)
def test_a_setting_that_would_change_the_logits_is_refused(layout: str, change: dict[str, object], named: str) -> None:
    with pytest.raises(SeedbedError, match=named):
        config_from_hf({**hf_config(shape(layout), VOCAB, Ids()), **change})


def test_a_missing_key_is_named() -> None:
    parsed = hf_config(shape("qwen3"), VOCAB, Ids())
    del parsed["hidden_size"]
    with pytest.raises(SeedbedError, match="hidden_size"):
        config_from_hf(parsed)


def test_without_tie_word_embeddings_the_familys_default_applies() -> None:
    for layout, tied in (("qwen3", False), ("gpt2", True)):
        parsed = hf_config(shape(layout, tied=not tied), VOCAB, Ids())
        del parsed["tie_word_embeddings"]
        assert config_from_hf(parsed)[0].tie_embeddings is tied
