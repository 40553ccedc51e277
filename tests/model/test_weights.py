"""Weights exported to transformers and loaded back: logits, names, shapes, and the errors if they do not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from msgspec.structs import replace

from seedbed.config.arithmetic import count_parameters
from seedbed.config.families.config_json import hf_config
from seedbed.config.families.family import Features, family
from seedbed.config.families.tensors import check_tensors, expected_shapes
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.model.decoder import Decoder
from seedbed.model.load import load_folder
from seedbed.model.weights import export_state, load_state, logical_parameters
from small_models import SHAPES, VOCAB, Ids, built, saved, shape


def trained_briefly(model: Decoder) -> Decoder:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.randint(0, VOCAB, (4, 24), generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        optimizer.zero_grad()
        (model.loss(ids[:, :-1], ids[:, 1:]) / 92).backward()
        optimizer.step()
    return model


def some_ids() -> torch.Tensor:
    return torch.randint(0, VOCAB, (3, 24), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("trained", [False, True], ids=["random", "trained"])
@pytest.mark.parametrize("config", SHAPES)
def test_transformers_opens_a_saved_folder_with_the_same_logits(
    config: ModelConfig, trained: bool, tmp_path: Path
) -> None:
    import transformers

    model = built(config)
    if trained:
        trained_briefly(model)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        saved(model, tmp_path / "m"), output_loading_info=True
    )
    assert not any(report.values()), report
    assert theirs.dtype == torch.float32
    with torch.no_grad():
        ours, expected = model(some_ids()), theirs(some_ids()).logits
    assert float((ours - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert theirs.generation_config.eos_token_id == theirs.config.eos_token_id == Ids.eot_id


@pytest.mark.parametrize("config", SHAPES)
def test_a_folder_that_transformers_saved_gives_the_same_logits(config: ModelConfig, tmp_path: Path) -> None:
    import transformers

    settings = hf_config(config, VOCAB, Ids())
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    ).eval()
    for parameter in theirs.parameters():  # gains of one and biases of zero would hide a swap
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    model = load_folder(tmp_path)
    with torch.no_grad():
        ours, expected = model(some_ids()), theirs(some_ids()).logits
    assert float((ours - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("config", SHAPES)
def test_a_round_trip_is_bit_exact(config: ModelConfig, tmp_path: Path) -> None:
    model = trained_briefly(built(config))
    again = load_folder(saved(model, tmp_path / "m"))
    assert again.config == ModelConfig(**{**_plain(config), "vocab_multiple": 1, "rope_theta": again.config.rope_theta})
    for (name, ours), theirs in zip(again.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert torch.equal(again(some_ids()), model.eval()(some_ids()))


def _plain(config: ModelConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


@pytest.mark.parametrize("config", SHAPES)
def test_logical_parameters_cover_every_number_once(config: ModelConfig) -> None:
    model = built(config)
    found = logical_parameters(model)
    assert len({entry.name for entry in found}) == len(found)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for entry in found:
            view = entry.parameter if entry.rows is None else entry.parameter[entry.rows]
            view.add_(1.0)
    assert all(bool((p == 1.0).all()) for p in model.parameters())


@pytest.mark.parametrize("config", SHAPES)
def test_logical_parameters_have_their_names_and_roles(config: ModelConfig) -> None:
    model = built(config)
    found = logical_parameters(model)
    assert {entry.name.partition(":")[0] for entry in found} == set(export_state(model))
    heads = [entry.name for entry in found if entry.role == "head"]
    assert heads == ([] if config.tie_embeddings else ["lm_head.weight"])
    for entry in found:
        assert (entry.role == "vector") == (entry.parameter.ndim == 1)


@pytest.mark.parametrize(
    ("layout", "attention", "parts"),
    [
        ("qwen3", "model.layers.1.self_attn.", ("q_proj.weight", "k_proj.weight", "v_proj.weight")),
        ("gpt2", "transformer.h.1.attn.c_attn.weight:", ("q", "k", "v")),
    ],
)
def test_queries_keys_and_values_are_separate_matrices(layout: str, attention: str, parts: tuple[str, ...]) -> None:
    roles = {entry.name: entry.role for entry in logical_parameters(built(shape(layout)))}
    assert [roles[attention + part] for part in parts] == ["matrix"] * 3


@pytest.mark.parametrize("config", SHAPES)
def test_shapes_are_known_without_a_model(config: ModelConfig) -> None:
    assert expected_shapes(config, VOCAB) == {name: tuple(t.shape) for name, t in export_state(built(config)).items()}


NAMES = family("qwen3").names
MIXES = {
    # As in GPT-BigCode: one key head, fused with the queries in the files, too, and not transposed.
    "fused": (
        Features("layer", "gelu", "learned", qkv_bias=True, out_bias=True, mlp_bias=True),
        NAMES._replace(qkv=("attn.c_attn",), up=("mlp.c_fc",), positions="wpe"),
        1,
    ),
    # As in StarCoder2.
    "rotary-gelu": (
        Features("layer", "gelu", "rotary", qkv_bias=True, out_bias=True, mlp_bias=True),
        NAMES._replace(up=("mlp.c_fc",)),
        2,
    ),
    "biased-gate": (
        Features("rms", "swiglu", "rotary", out_bias=True, mlp_bias=True),
        NAMES._replace(up=("mlp.gate_up_proj",), transposed=True),
        4,
    ),
    "learned-qk-norm": (Features("rms", "swiglu", "learned", qk_norm=True), NAMES._replace(positions="wpe"), 2),
}


@pytest.mark.parametrize("mix", MIXES)
def test_a_family_can_combine_any_features_and_names(mix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, names, kv_heads = MIXES[mix]
    added = family("qwen3")._replace(features=features, names=names)
    monkeypatch.setitem(sys.modules, f"seedbed.config.families.{mix}", SimpleNamespace(FAMILY=added))
    model, again = trained_briefly(built(shape(mix, kv_heads=kv_heads))), built(shape(mix, kv_heads=kv_heads))
    state = export_state(model)
    assert sum(tensor.numel() for tensor in state.values()) == count_parameters(model.config, VOCAB)
    assert expected_shapes(model.config, VOCAB) == {name: tuple(tensor.shape) for name, tensor in state.items()}
    load_state(again, state)
    assert all(map(torch.equal, again.parameters(), model.parameters()))
    found = logical_parameters(model)
    assert len({entry.name for entry in found}) == len(found)
    numbers = sum((entry.parameter if entry.rows is None else entry.parameter[entry.rows]).numel() for entry in found)
    assert numbers == count_parameters(model.config, VOCAB)


class TestWeightsThatDoNotFit:
    """Every mismatch is named, and no weight is changed."""

    def test_missing_unexpected_and_misshapen_tensors_are_named(self) -> None:
        model = built(shape("qwen3"))
        before = {name: tensor.clone() for name, tensor in export_state(model).items()}
        state = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
        state["model.stranger"] = state.pop("model.norm.weight")
        state["model.embed_tokens.weight"] = torch.zeros(5, 32)
        with pytest.raises(SeedbedError) as caught:
            load_state(model, state)
        for words in ("missing model.norm.weight", "unexpected model.stranger", "shape [5, 32], expected [131, 32]"):
            assert words in caught.value.message
        assert all(map(torch.equal, export_state(model).values(), before.values()))

    @pytest.mark.parametrize("config", SHAPES)
    def test_another_number_of_layers_is_told_as_such(self, config: ModelConfig) -> None:
        stored = expected_shapes(replace(config, window_layers="all"), VOCAB)
        for layers in (config.layers - 1, config.layers + 1):
            other = replace(config, layers=layers, window_layers="all")
            with pytest.raises(SeedbedError, match=rf"says {layers} layers?, but the weights have {config.layers}\."):
                check_tensors(other, VOCAB, stored)
        some = {name: shape for name, shape in stored.items() if "norm" not in name and "ln_" not in name}
        with pytest.raises(SeedbedError, match="missing"):
            check_tensors(replace(config, layers=config.layers + 1, window_layers="all"), VOCAB, some)

    def test_weights_of_another_layout_are_refused(self) -> None:
        with pytest.raises(SeedbedError, match="do not fit a qwen3 model"):
            load_state(built(shape("qwen3")), export_state(built(shape("gpt2"))))

    def test_a_stored_head_must_equal_the_embedding_it_is_tied_to(self) -> None:
        model = built(shape("qwen3"))
        state = export_state(model)
        load_state(model, {**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()})
        with pytest.raises(SeedbedError, match="tied"):
            load_state(model, {**state, "lm_head.weight": torch.zeros(VOCAB, 32)})

    def test_the_names_in_the_original_gpt2_files_are_accepted(self) -> None:
        model, other = built(shape("gpt2")), Decoder(shape("gpt2"), VOCAB)
        state = {name.removeprefix("transformer."): tensor for name, tensor in export_state(model).items()}
        state["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
        load_state(other, state)
        assert all(map(torch.equal, other.parameters(), model.parameters()))
