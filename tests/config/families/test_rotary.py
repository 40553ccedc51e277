"""The rotary frequencies of a config.json, in both dialects, compared with those of transformers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from seedbed.config.families.config_json import config_from_hf, hf_config
from seedbed.errors import SeedbedError
from seedbed.model.decoder import rotary_frequencies
from small_models import VOCAB, Ids, shape

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 4096}
DIALECTS: dict[str, dict[str, Any]] = {
    "neither": {},
    "old": {"rope_theta": 5e5},
    "new": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "the table's base counts": {"rope_theta": 7e3, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "a table without a base": {"rope_theta": 7e3, "rope_parameters": {"rope_type": "linear", "factor": 2.0}},
    "an empty old table": {
        "rope_scaling": {},
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
    },
    "no old table": {
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
    },
    "the old table replaces the new": {
        "rope_theta": 7e3,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5},
    },
    "old, with type": {"rope_theta": 7e3, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "llama3, old": {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    "llama3, new": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
    "llama3, no original context": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 5e5,
            **{key: value for key, value in LLAMA3.items() if not key.startswith("original")},
        }
    },
    "llama3, other factors": {
        "rope_theta": 5e5,
        "rope_scaling": {
            "rope_type": "llama3",
            **LLAMA3,
            "factor": 32.0,
            "low_freq_factor": 2.0,
            "high_freq_factor": 9.0,
        },
    },
}


def parsed(**changes: Any) -> dict[str, Any]:
    written = hf_config(shape("llama"), VOCAB, Ids())
    kept = {key: value for key, value in written.items() if not key.startswith("rope_")}
    return {**kept, "max_position_embeddings": 8192, "head_dim": 64, **changes}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_frequencies_are_those_of_transformers(dialect: str) -> None:
    import transformers
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    read = parsed(**DIALECTS[dialect])
    theirs = transformers.AutoConfig.for_model(**copy.deepcopy(read))
    expected = LlamaRotaryEmbedding(theirs).inv_freq
    model, rows = config_from_hf(read)
    torch.testing.assert_close(rotary_frequencies(model, torch.device("cpu")), expected, rtol=1e-6, atol=0)
    again = config_from_hf({**hf_config(model, rows, Ids())})[0]
    assert again == model


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, "'dynamic'"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "'longrope'"),
        ({"rope_parameters": {"rope_type": ["linear"]}}, "linear"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "differ between layers"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}}, "partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor and high_freq_factor"),
        ({"rope_theta": "big"}, 'rope_theta = "big"'),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0.5}}, "rope_factor"),
    ],
)
def test_frequencies_that_the_decoder_lacks_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SeedbedError, match=named):
        config_from_hf(parsed(**changes))
