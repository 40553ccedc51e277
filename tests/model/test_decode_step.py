"""The step that decodes one token computes the same logits as the whole network, for every family and feature."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from msgspec.structs import replace

from seedbed.config.schema import ModelConfig
from seedbed.hardware.cpu import Cpu
from seedbed.model import decode_step
from seedbed.model.cache import KVCache
from seedbed.model.decode_step import DecodeStep
from seedbed.model.decoder import Decoder
from small_models import SHAPES, VOCAB, built, shape

CASES = [
    *SHAPES,
    pytest.param(replace(shape("llama"), attention_bias=True, mlp_bias=True), id="llama-biases"),
    pytest.param(replace(shape("mistral"), window=5), id="mistral-window"),
    pytest.param(replace(shape("qwen2"), window=5, window_layers="1"), id="qwen2-window-from-layer-1"),
    pytest.param(replace(shape("qwen3", kv_heads=1), head_dim=12), id="qwen3-wide-heads"),
]


def uneven(config: ModelConfig) -> Decoder:
    """A model whose gains and biases are random, so that each of them changes the logits."""
    model = built(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            else:
                parameter.mul_(3)
    return model.eval()


@pytest.mark.parametrize("config", CASES)
@pytest.mark.parametrize("way", ["fp32", "fp32 with numpy", "bf16", "bf16 without onednn"])
def test_its_logits_equal_those_of_the_network(config: ModelConfig, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = torch.bfloat16 if way.startswith("bf16") else torch.float32
    monkeypatch.setattr(decode_step, "_with_numpy", lambda _: way == "fp32 with numpy")
    monkeypatch.setattr(decode_step, "_without_onednn", lambda _: way == "bf16 without onednn")
    model = copy.deepcopy(uneven(config)).to(dtype)
    ids = torch.randint(0, VOCAB, (1, 24), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = model(ids)[0].float()
        cache = KVCache(config, max_length=24, dtype=dtype)
        model(ids[:, :7], cache=cache)
        step = DecodeStep(model, cache)
        with step.settings():
            stepped = torch.stack([step(int(id_)) for id_ in ids[0, 7:]]).float()
    assert cache.length == 24
    allowed = 1e-5 if dtype == torch.float32 else 0.1
    assert float((stepped - whole[7:]).abs().max()) < allowed * float(whole.abs().max())


def test_numpy_multiplies_large_fp32_matrices_on_amd_processors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def multiplies(
        name: str = "AMD EPYC",
        features: tuple[str, ...] = ("avx2",),
        threads: int = 4,
        rows: int = 1024,
        dtype: torch.dtype = torch.float32,
    ) -> bool:
        monkeypatch.setattr(decode_step.cpu, "probe", lambda: Cpu(name, 8, features, {}))
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        return decode_step._with_numpy(torch.zeros(rows, 512, dtype=dtype))

    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(decode_step, "_numpy_libraries", lambda: [object()])
    assert multiplies()
    assert multiplies(features=("avx512f", "avx2"), threads=1)
    assert not multiplies(threads=1)
    assert not multiplies("Intel Xeon")
    assert not multiplies(rows=64)
    assert not multiplies(dtype=torch.bfloat16)
    monkeypatch.setattr(decode_step, "_numpy_libraries", list)  # a NumPy with another library
    assert not multiplies()


@pytest.mark.parametrize(
    ("features", "without"),
    [(("avx512_bf16", "avx512f"), True), (("amx_bf16", "avx512_bf16"), False), (("avx2",), False), (("bf16",), False)],
)
def test_onednn_is_left_out_in_bf16_with_avx512_bf16_alone(
    features: tuple[str, ...], without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_step.cpu, "probe", lambda: Cpu("a processor", 8, features, {}))
    assert decode_step._without_onednn(torch.zeros(4, 4, dtype=torch.bfloat16)) is without
    assert not decode_step._without_onednn(torch.zeros(4, 4))


def test_settings_hold_for_a_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_step, "_with_numpy", lambda _: True)
    monkeypatch.setattr(decode_step, "_without_onednn", lambda _: True)
    model = uneven(shape("llama"))
    step = DecodeStep(model, KVCache(model.config, max_length=4))

    def settings() -> tuple[object, ...]:
        pools = [each.num_threads for each in decode_step._numpy_libraries()]
        return torch.get_num_threads(), torch.backends.mkldnn.enabled, pools

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = settings()
        with contextlib.suppress(KeyError), step.settings():
            assert settings()[:2] == (1, False)
            raise KeyError  # as a sampler does that fails
        assert settings() == before
    finally:
        torch.set_num_threads(threads)


def test_it_continues_after_the_cache_is_cleared() -> None:
    model = uneven(shape("qwen3"))
    cache = KVCache(model.config, max_length=24)
    step = DecodeStep(model, cache)
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.inference_mode():
        for _ in range(2):
            cache.clear()
            model(ids[:, :4], cache=cache)
            torch.testing.assert_close(step(5), model(ids)[0, -1], rtol=1e-4, atol=1e-4)
