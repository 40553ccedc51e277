"""Out to transformers and back in: names, files, configs, and what is said when they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.model.decoder import Decoder
from seedbed.model.families import (
    config_from_hf,
    export_shapes,
    export_state,
    generation_config,
    hf_config,
    load_state,
    logical_parameters,
)
from seedbed.model.load import load_folder

VOCAB = 131


class Ids:
    """The special ids of a tokenizer that these tests do without."""

    eot_id = 7
    pad_id = 9


def shape(layout: str, *, tied: bool = True, kv_heads: int = 4) -> ModelConfig:
    return ModelConfig(
        layout=layout,  # type: ignore[arg-type]
        layers=2,
        hidden=32,
        heads=4,
        kv_heads=kv_heads,
        head_dim=8,
        ffn=72,
        context=24,
        tie_embeddings=tied,
        norm_eps=1e-5,
        rope_theta=5000.0,
    )


SHAPES = [
    pytest.param(shape("qwen3", kv_heads=2), id="qwen3-tied"),
    pytest.param(shape("qwen3", tied=False), id="qwen3-untied"),
    pytest.param(shape("gpt2"), id="gpt2-tied"),
    pytest.param(shape("gpt2", tied=False), id="gpt2-untied"),
]


def built(config: ModelConfig) -> Decoder:
    model = Decoder(config, VOCAB)
    model.init_weights(torch.Generator().manual_seed(3))
    return model


def saved(model: Decoder, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(export_state(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hf_config(model.config, VOCAB, Ids())))
    (folder / "generation_config.json").write_text(json.dumps(generation_config(Ids())))
    return folder


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
def test_a_folder_that_transformers_saved_runs_here(config: ModelConfig, tmp_path: Path) -> None:
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
def test_shards_are_read_together(config: ModelConfig, tmp_path: Path) -> None:
    import transformers

    model = built(config)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved(model, tmp_path / "whole"))
    theirs.save_pretrained(tmp_path / "cut", max_shard_size="20KB")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 1
    again = load_folder(tmp_path / "cut")
    assert all(map(torch.equal, export_state(again).values(), export_state(model).values()))
    next((tmp_path / "cut").glob("*.safetensors")).unlink()
    with pytest.raises(SeedbedError, match=r"Shards are missing: model-0"):
        load_folder(tmp_path / "cut")


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


def test_a_folder_loads_in_bf16(tmp_path: Path) -> None:
    model = built(shape("qwen3"))
    lowered = load_folder(saved(model, tmp_path / "m"), dtype=torch.bfloat16)
    assert {p.dtype for p in lowered.parameters()} == {torch.bfloat16}
    assert torch.equal(lowered.embed.weight, model.embed.weight.bfloat16())
    assert torch.equal(lowered.cos, model.cos.bfloat16())


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
def test_logical_parameters_know_their_roles(config: ModelConfig) -> None:
    model = built(config)
    roles = {entry.name: entry.role for entry in logical_parameters(model)}
    named = {name.partition(":")[0] for name in roles}
    assert named == set(export_state(model))
    attention = "transformer.h.1.attn.c_attn.weight:" if config.layout == "gpt2" else "model.layers.1.self_attn."
    parts = ("q", "k", "v") if config.layout == "gpt2" else ("q_proj.weight", "k_proj.weight", "v_proj.weight")
    assert [roles[attention + part] for part in parts] == ["matrix"] * 3
    assert [name for name, role in roles.items() if role == "head"] == (
        [] if config.tie_embeddings else ["lm_head.weight"]
    )
    for entry in logical_parameters(model):
        assert (entry.role == "vector") == (entry.parameter.ndim == 1)


@pytest.mark.parametrize("config", SHAPES)
def test_shapes_are_known_without_memory(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = Decoder(config, VOCAB)
    assert export_shapes(model) == {name: tuple(t.shape) for name, t in export_state(built(config)).items()}


class TestWeightsThatDoNotFit:
    """Every mismatch is named, and nothing is half loaded."""

    def test_missing_extra_and_misshapen_are_named(self) -> None:
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

    def test_weights_of_another_layout(self) -> None:
        with pytest.raises(SeedbedError, match="do not fit a qwen3 model"):
            load_state(built(shape("qwen3")), export_state(built(shape("gpt2"))))

    def test_a_tied_head_that_is_stored_too_must_agree(self) -> None:
        model = built(shape("qwen3"))
        state = export_state(model)
        load_state(model, {**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()})
        with pytest.raises(SeedbedError, match="tied"):
            load_state(model, {**state, "lm_head.weight": torch.zeros(VOCAB, 32)})

    def test_the_names_of_the_first_gpt2_files(self) -> None:
        model, other = built(shape("gpt2")), Decoder(shape("gpt2"), VOCAB)
        state = {name.removeprefix("transformer."): tensor for name, tensor in export_state(model).items()}
        state["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
        load_state(other, state)
        assert all(map(torch.equal, other.parameters(), model.parameters()))


class TestConfigs:
    """What is read from a config.json, and what is refused."""

    @pytest.mark.parametrize("config", SHAPES)
    def test_our_own_comes_back(self, config: ModelConfig) -> None:
        read, rows = config_from_hf(hf_config(config, VOCAB, Ids()))
        same = [name for name in config.__struct_fields__ if name not in ("rope_theta", "vocab_multiple")]
        assert {name: getattr(read, name) for name in same} == {name: getattr(config, name) for name in same}
        assert rows == VOCAB
        assert config.layout == "gpt2" or read.rope_theta == 5000.0

    @pytest.mark.parametrize(
        "spelling", [{"rope_theta": 777.0}, {"rope_parameters": {"rope_theta": 777.0, "rope_type": "default"}}]
    )
    def test_either_spelling_of_the_rotary_base(self, spelling: dict[str, object]) -> None:
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
    def test_what_would_change_the_logits_is_refused(self, layout: str, change: dict[str, object], named: str) -> None:
        with pytest.raises(SeedbedError, match=named):
            config_from_hf({**hf_config(shape(layout), VOCAB, Ids()), **change})

    def test_a_missing_key_is_named(self) -> None:
        parsed = hf_config(shape("qwen3"), VOCAB, Ids())
        del parsed["hidden_size"]
        with pytest.raises(SeedbedError, match="hidden_size"):
            config_from_hf(parsed)


class TestFoldersThatCannotBeLoaded:
    """Each says which folder, what is wrong and what to do."""

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SeedbedError, match="no model folder"):
            load_folder(tmp_path / "nowhere")

    def test_no_config(self, tmp_path: Path) -> None:
        with pytest.raises(SeedbedError, match=r"no config\.json"):
            load_folder(tmp_path)

    def test_pickles_are_not_opened(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(SeedbedError, match="pickle") as caught:
            load_folder(folder)
        assert "safetensors" in caught.value.hint

    def test_no_weights(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        (folder / "model.safetensors").unlink()
        with pytest.raises(SeedbedError, match=r"no model\.safetensors"):
            load_folder(folder)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SeedbedError, match=r'm: "model\.safetensors" cannot be read'):
            load_folder(folder)

    def test_weights_of_another_shape(self, tmp_path: Path) -> None:
        folder = saved(built(shape("qwen3")), tmp_path / "m")
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.norm.weight"]
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(SeedbedError, match=r"m: .*missing model\.norm\.weight"):
            load_folder(folder)
