"""The network compared with transformers: logits, loss and gradients with the same weights; masks, positions, initialisation."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.config.families.config_json import hf_config
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError, UsageError
from seedbed.model.decoder import Decoder, document_positions
from seedbed.model.weights import export_state, load_state

VOCAB = 307


class Ids:
    """The special ids of a tokenizer, for tests without one."""

    eot_id = 3
    pad_id = VOCAB - 1
    stop_ids = frozenset({3})


def shape(layout: str, *, tied: bool = True, kv_heads: int = 4, **other: object) -> ModelConfig:
    base = {"layers": 3, "hidden": 96, "heads": 4, "head_dim": 24, "ffn": 200, "context": 50}
    return ModelConfig(layout=layout, kv_heads=kv_heads, tie_embeddings=tied, **{**base, **other})  # type: ignore[arg-type]


LAYOUTS = [
    pytest.param(shape("qwen3"), id="qwen3"),
    pytest.param(shape("qwen3", tied=False, kv_heads=2), id="qwen3-untied-grouped"),
    pytest.param(shape("qwen3", kv_heads=1, head_dim=16, rope_theta=5e5, norm_eps=1e-5), id="qwen3-one-kv-head"),
    pytest.param(shape("gpt2"), id="gpt2"),
    pytest.param(shape("gpt2", tied=False, norm_eps=1e-5), id="gpt2-untied"),
    pytest.param(shape("mistral", window=9, kv_heads=2), id="mistral-window"),
    pytest.param(shape("qwen2", window=7, window_layers="1-2", kv_heads=2), id="qwen2-window-in-two-layers"),
    pytest.param(shape("starcoder2", kv_heads=2), id="starcoder2"),
    pytest.param(shape("gpt_bigcode"), id="gpt_bigcode-by-head"),
]


def built(config: ModelConfig, seed: int = 1) -> Decoder:
    """A decoder with random gains and biases, too: values of 1 and 0 would hide mistakes."""
    model = Decoder(config, VOCAB)
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def reference(model: Decoder) -> torch.nn.Module:
    """The same weights in transformers."""
    import transformers

    config = dict(hf_config(model.config, VOCAB, Ids()))
    kind = config.pop("model_type")
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **config))
    missing, unexpected = theirs.load_state_dict(export_state(model), strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    theirs.tie_weights()
    return theirs.eval()


def tokens(batch: int = 2, length: int = 50, seed: int = 0) -> Tensor:
    return torch.randint(0, VOCAB - 1, (batch, length), generator=torch.Generator().manual_seed(seed))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("config", LAYOUTS)
def test_logits_equal_those_of_transformers(config: ModelConfig) -> None:
    model, ids = built(config), tokens()
    with torch.no_grad():
        assert relative(model(ids), reference(model)(ids).logits) < 1e-5


@pytest.mark.parametrize("config", LAYOUTS)
def test_loss_and_gradients_equal_those_of_transformers(config: ModelConfig) -> None:
    model, ids, targets = built(config), tokens(), tokens(seed=1)
    targets[0, :7] = -100
    theirs = reference(model)
    expected = F.cross_entropy(theirs(ids).logits.flatten(0, 1), targets.flatten(), reduction="sum")
    loss = model.loss(ids, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (loss / 93).backward()
    (expected / 93).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, ours in export_state(with_gradients_as_weights(model)).items():
        assert relative(ours, gradients[name]) < 1e-5 or gradients[name].abs().max() < 1e-7, name


def with_gradients_as_weights(model: Decoder) -> Decoder:
    turned = copy.deepcopy(model)
    for target, source in zip(turned.parameters(), model.parameters(), strict=True):
        target.data = source.grad
    return turned


@pytest.mark.parametrize("config", LAYOUTS)
def test_loss_without_gradients_is_the_same(config: ModelConfig) -> None:
    model, ids, targets = built(config), tokens(), tokens(seed=1)
    with torch.no_grad():
        without_gradients = model.loss(ids, targets)
    assert float(without_gradients) == pytest.approx(model.loss(ids, targets).item(), rel=1e-6)


@pytest.mark.parametrize("config", LAYOUTS)
def test_documents_in_one_window_do_not_attend_to_each_other(config: ModelConfig) -> None:
    model, ids = built(config), tokens(batch=1, length=40)
    documents = torch.tensor([[0] * 11 + [1] * 4 + [2] * 25], dtype=torch.int32)
    with torch.no_grad():
        together = model(ids, documents_BT=documents)
        apart = torch.cat([model(part) for part in ids.split([11, 4, 25], dim=1)], dim=1)
    assert relative(together, apart) < 1e-5
    with torch.no_grad():
        assert relative(model(ids), apart) > 1e-2  # without the mask the results differ


def test_the_loss_of_a_window_is_the_sum_over_its_separate_documents() -> None:
    model, ids, targets = built(shape("qwen3")), tokens(batch=1, length=30), tokens(batch=1, length=30, seed=1)
    documents = torch.tensor([[5] * 12 + [6] * 18])
    whole = model.loss(ids, targets, documents)
    parts = model.loss(ids[:, :12], targets[:, :12]) + model.loss(ids[:, 12:], targets[:, 12:])
    assert whole.item() == pytest.approx(parts.item(), rel=1e-6)


def test_positions_restart_at_each_change_of_document() -> None:
    documents = torch.tensor([[4, 4, 4, 9, 9, 4], [0, 1, 2, 2, 2, 2]])
    assert document_positions(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 2, 3]]


@pytest.mark.parametrize("layout", ["qwen3", "gpt2"])
def test_explicit_positions_are_used(layout: str) -> None:
    model, ids = built(shape(layout)), tokens(length=10)
    with torch.no_grad():
        counted = model(ids, positions_BT=torch.arange(10).expand(2, 10))
        assert torch.equal(counted, model(ids))
        assert relative(model(ids, positions_BT=torch.arange(10).expand(2, 10) * 3), counted) > 1e-3


def test_conversion_to_bf16_and_back_keeps_the_rotary_tables_exact() -> None:
    model = built(shape("qwen3"))
    fresh = model.cos.clone()
    assert torch.equal(copy.deepcopy(model).to(torch.bfloat16).float().cos, fresh)


@pytest.mark.parametrize("config", LAYOUTS)
def test_bf16_weights_compute_nearly_the_fp32_loss_and_gradients(config: ModelConfig) -> None:
    model, ids, targets = built(config), tokens(batch=4), tokens(batch=4, seed=1)
    lowered = copy.deepcopy(model).to(torch.bfloat16)
    exact, rounded = model.loss(ids, targets), lowered.loss(ids, targets)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=2e-3)
    exact.backward()
    rounded.backward()
    for (name, ours), theirs in zip(lowered.named_parameters(), model.parameters(), strict=True):
        similarity = F.cosine_similarity(ours.grad.float().flatten(), theirs.grad.flatten(), dim=0)
        assert float(similarity) > 0.99, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deterministic_mode_gives_the_same_gradients(dtype: torch.dtype) -> None:
    # this mode fills new memory with NaN, so it also detects reads of uninitialised memory
    model, ids, targets = built(shape("qwen3", context=160)).to(dtype), tokens(length=160), tokens(length=160, seed=1)
    results = []
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        try:
            model.zero_grad()
            model.loss(ids, targets).backward()
        finally:
            torch.use_deterministic_algorithms(False)
        results.append([parameter.grad for parameter in model.parameters()])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_a_training_window_shorter_than_the_model_leaves_its_positions_as_they_are(layout: str) -> None:
    whole = built(shape(layout, context=300))
    narrow = Decoder(shape(layout, context=20, max_context=300), VOCAB)
    load_state(narrow, export_state(whole))
    with torch.no_grad():
        assert torch.equal(narrow(tokens(length=250)), whole(tokens(length=250)))
    with pytest.raises(SeedbedError, match="301 tokens is longer than the model's context of 300"):
        narrow(tokens(length=301))


def test_rotary_tables_grow_with_the_sequence() -> None:
    long, short = (built(shape("llama", layers=1, context=context)) for context in (131_072, 60))
    assert long.cos.shape[0] <= 4096
    with torch.inference_mode():
        assert torch.equal(long(tokens()), short(tokens()))
        far = long(tokens(), positions_BT=torch.arange(100_000, 100_050).expand(2, 50))
        assert 100_050 <= long.cos.shape[0] <= 131_072
        assert relative(far, long(tokens())) < 5e-2  # only differences of positions count
    long.loss(tokens(), tokens(seed=1)).backward()  # tables that grew while sampling do not break training


def test_a_sequence_longer_than_the_context_is_refused_with_both_lengths() -> None:
    with pytest.raises(SeedbedError, match="51 tokens is longer than the model's context of 50"):
        built(shape("gpt2"))(tokens(length=51))


def test_an_odd_head_dim_is_refused() -> None:
    with pytest.raises(UsageError, match="head_dim must be even"):
        Decoder(shape("qwen3", head_dim=7), VOCAB)


class TestInitialWeights:
    """The weights before the first step."""

    def test_the_seed_alone_determines_the_weights(self) -> None:
        draw: Callable[[int], list[Tensor]] = lambda seed: list(self._fresh(seed).parameters())  # noqa: E731
        assert all(map(torch.equal, draw(5), draw(5)))
        assert not all(map(torch.equal, draw(5), draw(6)))

    @staticmethod
    def _fresh(seed: int = 0, **other: object) -> Decoder:
        model = Decoder(shape("qwen3", **other), VOCAB)  # type: ignore[arg-type]
        model.init_weights(torch.Generator().manual_seed(seed))
        return model

    def test_the_first_loss_is_that_of_a_uniform_guess(self) -> None:
        guess = float(torch.log(torch.tensor(float(VOCAB))))
        for other in ({"tied": True}, {"tied": False}, {"tied": False, "init": "zero-out"}):
            loss = self._fresh(**other).loss(tokens(), tokens(seed=1)) / 100
            assert loss.item() == pytest.approx(guess, rel=0.03)

    def test_zero_out_starts_the_residual_projections_at_zero(self) -> None:
        model = self._fresh(init="zero-out", tied=False)
        zero = {name for name, parameter in model.named_parameters() if not parameter.any()}
        blocks = {f"blocks.{i}.{part}.weight" for i in range(3) for part in ("attention.out", "mlp.down")}
        assert zero == blocks | {"head.weight"}

    def test_scaled_shrinks_the_residual_projections_with_depth(self) -> None:
        model = self._fresh()
        block = model.blocks[0]
        expected = 96**-0.5 * 6**-0.5  # 1/sqrt(fan-in), 1/sqrt(2 * layers)
        assert block.attention.out.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert block.attention.qkv.weight.std().item() == pytest.approx(96**-0.5, rel=0.05)


def test_a_model_of_a_billion_parameters_can_be_built_without_memory() -> None:
    config = ModelConfig(layers=20, hidden=2048, heads=16, kv_heads=8, head_dim=128, ffn=5632, context=2048)
    with torch.device("meta"):
        model = Decoder(config, 49_152)
    # By hand: embedding; per block q, k, v, o, three feed-forward matrices, two norms, two head gains; last norm.
    block = 2048 * (2048 + 2 * 1024) + 2048 * 2048 + 3 * 2048 * 5632 + 2 * 2048 + 2 * 128
    assert sum(p.numel() for p in model.parameters()) == 49_152 * 2048 + 20 * block + 2048


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["qwen3", "gpt2", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_loss_and_gradients_equal_those_without_compiling(layout: str, dtype: torch.dtype) -> None:
    # 160 tokens: more than one block of queries in the bf16 attention
    window = {"window": 60, "max_context": 8192} if layout == "mistral" else {}
    model = built(shape(layout, layers=1, context=160, **window)).to(dtype)
    ids, targets = tokens(length=160), tokens(length=160, seed=1)
    documents = (torch.arange(160) // 50).expand(2, 160) if layout == "gpt2" else None
    torch._dynamo.reset()
    compiled = torch.compile(model.loss, dynamic=False, fullgraph=True)
    results = []
    for loss_of in (model.loss, compiled):
        model.zero_grad()
        loss = loss_of(ids, targets, documents)
        loss.backward()
        results.append((loss.item(), [parameter.grad.float() for parameter in model.parameters()]))
    (eager_loss, eager_grads), (compiled_loss, compiled_grads) = results
    assert compiled_loss == pytest.approx(eager_loss, rel=1e-5 if dtype == torch.float32 else 1e-3)
    for ours, theirs in zip(compiled_grads, eager_grads, strict=True):
        if dtype == torch.float32:
            assert relative(ours, theirs) < 1e-5
        else:
            assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.998
