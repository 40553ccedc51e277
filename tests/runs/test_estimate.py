"""The estimate of a run before it starts: from earlier runs on this machine, from a measured rate, or unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed import events
from seedbed.config.arithmetic import flops_per_step
from seedbed.config.check import checkpoint_bytes
from seedbed.config.frozen import dump
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.events import decode, encode
from seedbed.runs.estimate import Estimate, estimate, remember_matmul_rate
from seedbed.runs.status import hostname, state_json
from seedbed.runs.store import Store
from seedbed.runs.view import View

SMALL = (
    "model.layers=2", "model.hidden=64", "model.context=64", "train.batch_size=4", "tokenizer.vocab_size=512",
    "train.eval_every=0",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    return Store(tmp_path / "runs")


def config(*sets: str) -> Config:
    """A config of the small shape: two epochs, unless steps or tokens are set."""
    horizon = () if any(each.startswith(("train.steps", "train.tokens")) for each in sets) else ("train.epochs=2",)
    return resolve(TRAIN, sets=(*SMALL, *horizon, *sets)).config


def trained(store: Store, name: str, *sets: str, step_s: float = 0.5, steps: int = 40, **fields: Any) -> None:
    """Create a run that trained on this machine, `step_s` per step, on a text of 25,600 tokens."""
    wanted = resolve(TRAIN, sets=(*SMALL, *sets))
    run = store.create("train", name, dump(wanted.config), {})
    tokens = wanted.config.train.batch_size * wanted.config.model.context
    view = View()
    known = {"device": "cpu", "device_asked": "auto", "host": hostname(), "precision": "fp32"} | fields
    begun = events.Run(
        status="running",
        session=1,
        steps=200,
        steps_per_epoch=25_600 / tokens,
        tokens_per_step=tokens,
        validation_tokens=2000,
        **known,
    )
    logged = [
        begun,
        *(
            events.Step(step=n, loss=3.0, lr=0.1, grad_norm=1.0, tokens=n * tokens, step_s=step_s)
            for n in range(1, steps + 1)
        ),
        events.Run(status="completed", session=1, step=steps),
    ]
    for n, event in enumerate(logged):
        record = decode(encode(event, n, 1000.0 + n))
        assert record is not None
        view.add(record)
    run.state.write_bytes(state_json(view, 1))


def test_without_earlier_runs_only_the_values_from_the_config_are_known(store: Store) -> None:
    wanted = config()
    found = estimate(wanted, store)
    assert found[:2] == (None, None)
    assert found.disk_bytes == 4 * checkpoint_bytes(wanted, 512)
    assert found.seconds is None
    assert "unknown until a run has trained here" in found.basis
    counted = estimate(config("train.steps=30"), store)
    assert (counted.tokens, counted.steps, counted.seconds) == (30 * 4 * 64, 30, None)
    assert estimate(config("train.tokens=1000"), store).steps == 4


def test_a_run_with_the_same_config_gives_tokens_steps_and_time(store: Store) -> None:
    trained(store, "before", step_s=0.5)
    found = estimate(config(), store)
    assert (found.tokens, found.steps) == (51_200.0, 200)
    # 200 steps, and a validation of 2,000 tokens at the end: scoring a token takes a third of training on it
    assert found.seconds == pytest.approx(200 * 0.5 + 2000 * 0.5 / 256 / 3)
    assert '"before"' in found.basis


def test_validations_between_steps_are_included_in_the_time(store: Store) -> None:
    trained(store, "before", step_s=0.5)
    seconds = estimate(config("train.eval_every=50"), store).seconds
    assert seconds == pytest.approx(200 * 0.5 + (3 + 1) * 2000 * 0.5 / 256 / 3)


def test_the_speed_of_the_run_nearest_in_size_is_scaled_by_the_work_per_step(store: Store) -> None:
    trained(store, "near", step_s=0.5)
    trained(store, "far", "model.hidden=512", "model.layers=8", step_s=1.0)
    wide = config("model.layers=4", "train.steps=100")
    found = estimate(wide, store)
    more = flops_per_step(wide.model, 512, 4) / flops_per_step(config().model, 512, 4)
    assert '"near"' in found.basis
    assert found.seconds == pytest.approx(100 * 0.5 * more, rel=0.1)
    assert '"far"' in estimate(config("model.hidden=512", "model.layers=6"), store).basis


@pytest.mark.parametrize(
    ("fields", "sets"),
    [
        ({"host": "elsewhere"}, ()),
        ({"precision": "bf16"}, ("train.precision=fp32",)),
        ({"device": "cuda:0", "device_asked": "auto"}, ("train.device=cpu",)),
    ],
)
def test_runs_on_another_machine_device_or_precision_give_no_time(
    store: Store, fields: dict[str, str], sets: tuple[str, ...]
) -> None:
    trained(store, "other", **fields)
    assert estimate(config("train.steps=30", *sets), store).seconds is None


def test_a_run_of_two_steps_and_a_broken_run_give_no_time(store: Store) -> None:
    trained(store, "short", steps=2)
    trained(store, "broken")
    broken = next(run for run in store.all() if run.name() == "broken")
    broken.config.write_text("[model]\nlayers = 'many'\n")
    assert estimate(config("train.steps=30"), store).seconds is None


def test_a_run_on_other_data_gives_the_speed_but_not_the_tokens(store: Store) -> None:
    trained(store, "other", "data.stories=77")
    found = estimate(config(), store)
    assert (found.tokens, found.seconds) == (None, None)
    assert estimate(config("train.steps=30"), store).seconds is not None


def test_the_measured_matmul_rate_is_used_until_a_run_has_trained(store: Store) -> None:
    wanted = config("train.steps=100")
    remember_matmul_rate(1e11, "fp32")
    found: Estimate = estimate(wanted, store)
    assert found.seconds == pytest.approx(100 * flops_per_step(wanted.model, 512, 4) / 0.5e11)
    assert "roughly" in found.basis
    assert estimate(config("train.steps=100", "train.device=cuda"), store).seconds is None
    trained(store, "before")
    assert '"before"' in estimate(wanted, store).basis


def test_an_unreadable_store_leaves_the_rest_of_the_estimate(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    found = estimate(resolve(TRAIN).config, Store(tmp_path / "file" / "runs"))
    assert found.steps == 1350
    assert found.seconds is None


# Measured on 2 cores of an AMD EPYC with AVX2 only.
MEASURED_MATMULS = 116e9
WEE = (
    "model.layers=1", "model.hidden=32", "model.heads=2", "model.kv_heads=1", "model.head_dim=16", "model.ffn=64",
    "model.context=32", "tokenizer.vocab_size=400", "train.batch_size=4",
)  # fmt: skip
WEE_TOKENS_PER_S = 8390
USUAL = (
    "model.layers=6", "model.hidden=384", "model.context=256", "train.batch_size=16", "tokenizer.vocab_size=4096",
)  # fmt: skip
USUAL_TOKENS_PER_S = 1090


def wee_run(store: Store) -> None:
    trained(store, "wee", *WEE, step_s=4 * 32 / WEE_TOKENS_PER_S)


def usual_run(store: Store) -> None:
    trained(store, "usual", *USUAL, step_s=16 * 256 / USUAL_TOKENS_PER_S)


def test_the_matmul_rate_is_used_if_it_is_faster_than_a_much_smaller_run(store: Store) -> None:
    wee_run(store)
    remember_matmul_rate(MEASURED_MATMULS, "fp32")
    found = estimate(config(*USUAL, "train.steps=100"), store)
    assert found.seconds is not None
    assert 0.5 < found.seconds / (100 * 16 * 256 / USUAL_TOKENS_PER_S) < 2
    assert "matmul" in found.basis
    assert "no run of similar size" in found.basis


def test_without_a_matmul_rate_a_much_smaller_run_is_used_and_the_basis_says_so(store: Store) -> None:
    wee_run(store)
    found = estimate(config(*USUAL, "train.steps=100"), store)
    assert found.seconds is not None
    assert found.seconds > 100 * 16 * 256 / USUAL_TOKENS_PER_S
    assert '"wee"' in found.basis
    assert "much smaller, so this may take far less" in found.basis


def test_a_much_larger_run_is_used_if_it_is_slower_than_the_matmul_rate(store: Store) -> None:
    usual_run(store)
    remember_matmul_rate(4 * MEASURED_MATMULS, "fp32")
    found = estimate(config(*WEE, "train.steps=100"), store)
    assert '"usual"' in found.basis
    assert "much larger, so this may take far more" in found.basis


def test_a_run_of_similar_size_is_used_instead_of_the_matmul_rate(store: Store) -> None:
    usual_run(store)
    wee_run(store)
    remember_matmul_rate(MEASURED_MATMULS / 10, "fp32")
    found = estimate(config(*USUAL, "model.layers=8", "train.steps=100"), store)
    assert found.basis == 'from the speed of the run "usual" on this machine'


def test_the_matmul_rate_of_the_cpu_is_not_used_for_a_gpu(store: Store) -> None:
    trained(store, "wee", *WEE, step_s=0.01, device="cuda:0")
    remember_matmul_rate(MEASURED_MATMULS, "fp32")
    assert '"wee"' in estimate(config(*USUAL, "train.steps=100"), store).basis
