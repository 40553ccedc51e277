"""Values that contradict each other."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from configs import refused
from seedbed.config.resolving import resolve
from seedbed.config.roots import EVALUATE, TRAIN
from seedbed.config.rules import check_values
from seedbed.errors import UsageError


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (["model.heads=5"], "model.kv_heads = 2 (preset nano)"),
        (["model.heads=5"], "1, 5"),
        (["train.batch_size=16", "train.micro_batch=5"], "1, 2, 4, 8, 16"),
        (["model.layout=gpt2", "model.hidden=100"], "model.hidden=128"),
        (["model.layout=gpt2", "model.kv_heads=1"], "model.kv_heads=2"),
        (["model.head_dim=31"], "even"),
        (["schedule.warmup=0.6", "schedule.decay=0.6"], "schedule.decay = 0.6 (--set)"),
        (["train.early_stop=2", "train.eval_every=0"], "train.eval_every"),
        (["data.validation_path=x"], "data.source"),
        (["train.batch_size=1000000000000", "train.micro_batch=7"], "1, 2, 4, 5, 8"),
        (["model.heads=100000000007", "model.kv_heads=3"], "283286119"),
        (["train.tokens=9223372036854775807"], "more than 1,000,000,000,000 steps"),
    ],
)
def test_contradictions_are_refused_with_what_to_set(sets: list[str], expected: str) -> None:
    assert expected in refused(sets=sets)


def test_a_window_without_context_is_refused_but_a_stored_one_is_read() -> None:
    told = refused(sets=["model.context=1"])
    assert "model.context = 1 (--set)" in told
    assert "model.context to 2 or more" in told
    assert "a whole number, at least 2" in refused(sets=["model.context=0"])
    config = resolve(TRAIN, sets=["model.context=2"]).config
    stored = replace(config, model=replace(config.model, context=1))
    check_values(stored, {}, TRAIN)


def test_gpt2_may_have_an_odd_head_dim() -> None:
    assert (
        resolve(TRAIN, sets=["model.layout=gpt2", "model.head_dim=33", "model.hidden=66"]).config.model.head_dim == 33
    )


@pytest.mark.parametrize("name", ["cp1252", "UTF-16", "latin-1", "shift_jis", "utf-8"])
def test_an_encoding_that_python_knows_is_accepted(name: str) -> None:
    assert resolve(TRAIN, sets=[f"data.encoding={name}"]).config.data.encoding == name


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", "idna", "a b\u00e9"])
def test_a_name_that_is_not_a_text_encoding_is_refused(name: str) -> None:
    assert "data.encoding" in refused(sets=[f"data.encoding={name}"])


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("cudda", "Did you mean cuda?"),
        ("cuda1", "Did you mean cuda:1?"),
        ("cuda:x", "Did you mean cuda?"),
        ("gpu:1", "Did you mean cuda:1?"),
        ("gpus", "Did you mean gpu?"),
        ("tpu", "train.device to auto"),
        ("ROCm", "train.device to cuda"),
        ("metal", "train.device to mps"),
        ("nope", "Use auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name"),
        ("e", "Use auto, cpu"),
        ("cpu; rm", "Use auto, cpu"),
    ],
)
def test_a_misspelt_or_unsupported_device_is_refused(device: str, hint: str) -> None:
    assert hint in refused(sets=[f"train.device={device}"])
    with pytest.raises(UsageError) as caught:
        resolve(EVALUATE, sets=[f"evaluate.device={device}"])
    assert hint.replace("train.device", "evaluate.device") in str(caught.value)


@pytest.mark.parametrize(
    "device",
    [
        "auto",
        "CPU",
        "cuda:3",
        "gpu",
        "mps",
        "A30",
        "rtx 4090",
        "MI300X",
        "Apple M2",
        "GP100",
        "GeForce",
        "radeon pro",
        "force",
        "Radeon Vega Frontier Edition",
        "AMD Radeon(TM) Graphics",
        "Orin (nvgpu)",
        "GeForce GTX TITAN Z",
    ],
)
def test_a_device_that_another_machine_may_have_is_accepted(device: str) -> None:
    assert resolve(TRAIN, sets=[f"train.device={device}"]).config.train.device == device
