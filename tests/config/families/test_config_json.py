"""Writing and reading a model's config.json, and which ones are refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from seedbed.config.families.config_json import config_from_hf, dropouts, hf_config, updated_config
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
    assert features(config).positions == "learned" or read.rope_theta == config.rope_theta


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
        ("qwen3", {"model_type": "mixtral"}, "'mixtral'"),
        ("qwen3", {"hidden_act": "relu"}, "hidden_act"),
        ("llama", {"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantized .* 'awq'"),
        ("llama", {"quantization": {"group_size": 64, "bits": 4}}, "quantized"),
        ("starcoder2", {"hidden_act": "silu"}, "hidden_act"),
        ("gpt2", {"activation_function": "relu"}, "activation_function"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt_bigcode", {"scale_attn_weights": False}, "scale_attn_weights"),
        ("gpt_bigcode", {"add_cross_attention": True}, "add_cross_attention"),
    ],
)
def test_a_setting_that_would_change_the_logits_is_refused(layout: str, change: dict[str, object], named: str) -> None:
    with pytest.raises(SeedbedError, match=named):
        config_from_hf({**hf_config(shape(layout), VOCAB, Ids()), **change})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": "32"}, 'hidden_size = "32"'),
        ({"hidden_size": -32}, "hidden_size = -32"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0"),
        ({"head_dim": None}, "head_dim = null"),
        ({"vocab_size": 1.5}, "vocab_size = 1.5"),
        ({"num_hidden_layers": 10**9}, "1,000,000,000 layers"),
        ({"rms_norm_eps": "tiny"}, "norm_eps"),
        ({"tie_word_embeddings": "yes"}, "tie_embeddings"),
        ({"rope_scaling": 3}, "rope_scaling = 3, but it must be an object"),
        ({"layer_types": 3}, "makes no sense"),
        ({"rope_theta": 10**400, "rope_parameters": None}, "makes no sense"),
        ({"num_key_value_heads": 3}, "cannot build.*heads must be a multiple of kv_heads"),
        ({"head_dim": 7}, "cannot build.*head_dim must be even"),
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_for_people(change: dict[str, object], named: str) -> None:
    with pytest.raises(SeedbedError, match=named):
        config_from_hf({**hf_config(shape("qwen3"), VOCAB, Ids()), **change})


def test_a_missing_key_is_named() -> None:
    parsed = hf_config(shape("qwen3"), VOCAB, Ids())
    del parsed["hidden_size"]
    with pytest.raises(SeedbedError, match="hidden_size"):
        config_from_hf(parsed)


BASE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
    "vocab_size": VOCAB,
    "eos_token_id": [3, 4],
    "attention_dropout": 0.1,
    "torch_dtype": "bfloat16",
    "somebodys_key": {"a": 1},
}


def test_the_config_of_a_base_keeps_all_that_has_not_changed() -> None:
    model, _ = config_from_hf(BASE)
    narrow = replace(model, context=512, max_context=4096)  # a shorter training window
    assert updated_config(BASE, narrow) == {**BASE, "torch_dtype": "float32"}
    unnamed = {key: value for key, value in BASE.items() if key != "torch_dtype"}
    assert updated_config({**unnamed, "dtype": "float32"}, narrow) == {**unnamed, "dtype": "float32"}
    assert updated_config(unnamed, narrow) == unnamed
    longer = replace(model, context=8192, rope_scaling="linear", rope_factor=2.0, tie_embeddings=True)
    updated = updated_config(BASE, longer, "bfloat16", vocab_rows=VOCAB + 5)
    assert {key: value for key, value in updated.items() if key not in BASE or BASE[key] != value} == {
        "max_position_embeddings": 8192,
        # All three, because an older table replaces the new one, and its base.
        "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
        "tie_word_embeddings": True,
        "vocab_size": VOCAB + 5,
    }
    assert config_from_hf(updated) == (longer, VOCAB + 5)


def test_dropout_rates_of_a_base_are_found() -> None:
    assert dropouts(BASE) == {"attention_dropout": 0.1}
    assert dropouts({"resid_pdrop": 0.1, "embd_pdrop": 0.0, "attn_pdrop": None}) == {"resid_pdrop": 0.1}


def test_without_tie_word_embeddings_the_familys_default_applies() -> None:
    for layout, tied in (("qwen3", False), ("gpt2", True), ("llama", False), ("starcoder2", True)):
        parsed = hf_config(shape(layout, tied=not tied), VOCAB, Ids())
        del parsed["tie_word_embeddings"]
        assert config_from_hf(parsed)[0].tie_embeddings is tied
