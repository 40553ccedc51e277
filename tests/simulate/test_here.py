"""The time of a step on this machine from measured rates: the parts of a step, compilation, memory, whole plans."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from measured_rates import machine_rates
from seedbed.config.arithmetic import count_parameters, memory_estimate
from seedbed.config.resolving import defaults
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate import catalog, here
from seedbed.simulate.here import config_of, plan_here, predict
from seedbed.simulate.machine_rates import KINDS
from seedbed.text import size

NANO_TOKENS = 8 * 256
NANO_MATRICES = 4 * (4 * 128 * 128 + 3 * 128 * 256)  # 4 layers: q, k, v, out; gate, up, down


def nano(**train: Any) -> Config:
    config = defaults(TRAIN, "nano")
    return replace(config, train=replace(config.train, **train))


def test_each_part_of_a_nano_step_is_its_work_over_the_rate() -> None:
    rates = machine_rates({"matmul": 2e11, "masked attention": 3e10, "loss": 1e11, "muon": 5e10, "adamw": 4e8})
    parts = predict(nano(), rates).cost.parts
    assert parts["matmuls"] == pytest.approx(6 * NANO_TOKENS * NANO_MATRICES / 2e11)
    assert parts["attention"] == pytest.approx(4 * (8 * 2) * 256**2 * 64 / 3e10)
    assert parts["output layer"] == pytest.approx(6 * NANO_TOKENS * 1536 * 128 / 1e11)
    # Muon: 16 square matrices of 128, 12 of 128 x 256, five iterations of three products each.
    square, oblong = 3 * 2 * 128**3, 2 * 2 * 128**2 * 256 + 2 * 128**3
    rest = 1_050_240 - NANO_MATRICES
    assert parts["optimizer"] == pytest.approx(5 * (16 * square + 12 * oblong) / 5e10 + rest / 4e8)
    assert parts["gradients"] == pytest.approx(1_050_240 / 1e9)
    values = NANO_TOKENS * 128
    # Two norms and two sums of a layer, and the last norm; SwiGLU; norm and rotation of 2 query and 2 key heads of 64.
    layer = 4 * values + NANO_TOKENS * 256 + 2 * NANO_TOKENS * 256
    assert parts["element-wise"] == pytest.approx((4 * layer + values) / 1e9)
    assert parts["embedding"] == pytest.approx((values + 1536 * 128) / 1e9)


def test_the_parts_add_up_to_the_step_and_give_its_speed() -> None:
    cost = predict(nano(), machine_rates(rounds=(1.0, 1.3, 1.1))).cost
    assert sum(cost.parts.values()) == pytest.approx(cost.step_s)
    assert cost.tokens_per_s == pytest.approx(NANO_TOKENS / cost.step_s)


def test_the_rounds_of_the_measurement_give_the_spread() -> None:
    once = predict(nano(), machine_rates()).cost.step_s
    found = predict(nano(), machine_rates(rounds=(2.0, 1.0, 1.5)))
    assert found.cost.step_s == pytest.approx(1.5 * once, rel=1e-4)
    assert (found.least_s, found.most_s) == pytest.approx((once, 2 * once), rel=1e-4)


def test_adamw_updates_all_parameters_and_no_matrix_goes_through_muon() -> None:
    config = nano()
    config = replace(config, optimizer=replace(config.optimizer, name="adamw"))
    parts = predict(config, machine_rates({"adamw": 4e8, "muon": 1.0})).cost.parts
    assert parts["optimizer"] == pytest.approx(1_050_240 / 4e8)


def test_a_gpt2_model_has_other_operations() -> None:
    config = config_of(catalog.model("gpt2"))
    kinds = {each.kind for each in here.passes_of(config, config.tokenizer.vocab_size)}
    assert {"layer norm", "gelu"} <= kinds
    assert not kinds & {"rms norm", "swiglu", "rotation", "head norm", "masked attention"}


def test_micro_batches_do_the_same_work() -> None:
    rates = machine_rates({"embedding": 1e20})  # the table's gradient is made for each micro-batch
    whole, split = predict(nano(), rates).cost, predict(nano(micro_batch=2), rates).cost
    assert split.step_s == pytest.approx(whole.step_s)


def test_the_rule_for_compiling_is_that_of_the_job() -> None:
    rates = machine_rates()
    eager = predict(nano(compile="off"), rates)
    passes_s = eager.cost.step_s - eager.cost.parts["optimizer"] - eager.cost.parts["gradients"]
    enough = 301 / passes_s
    assert predict(nano(), rates, steps=enough).compiled
    assert not predict(nano(), rates, steps=299 / passes_s).compiled
    assert not predict(nano(compile="off"), rates, steps=enough).compiled
    assert not predict(nano(), machine_rates(compiler=False), steps=enough).compiled
    assert predict(nano(compile="on"), rates, steps=1).compiled


def test_compiled_code_does_element_wise_work_in_passes_over_memory() -> None:
    rates = machine_rates({"memory pass": 1e12})
    parts = predict(nano(compile="on"), rates).cost.parts
    eager = predict(nano(compile="off"), rates).cost.parts
    assert parts["element-wise"] < 0.01 * eager["element-wise"]
    assert parts["matmuls"] == pytest.approx(eager["matmuls"])


def test_a_plan_has_the_steps_of_the_config_and_their_time() -> None:
    plan = plan_here("nano", nano(compile="off", eval_every=200, eval_tokens=20_000), machine_rates())
    step_s = plan.predicted.cost.step_s
    assert plan.steps == 1350
    assert plan.train_s == pytest.approx(1350 * step_s)
    # Six validations before the last step, each token at a third of the time of training.
    assert plan.wall_s == pytest.approx(1350 * step_s + 6 * 20_000 * step_s / NANO_TOKENS / 3)
    assert plan.memory == memory_estimate(plan.config, 1536, "fp32")


@pytest.mark.parametrize(
    ("train", "tokens", "steps"),
    [
        ({"steps": None, "tokens": 1_000_000}, None, 489),
        ({"steps": None, "epochs": 1.0}, 3_000_000.0, 1465),
        ({"steps": None, "epochs": 1.0}, None, 20 * 1_050_240 // NANO_TOKENS + 1),
    ],
)
def test_tokens_give_the_number_of_steps(train: dict[str, Any], tokens: float | None, steps: int) -> None:
    plan = plan_here("nano", nano(**train), machine_rates(), tokens=tokens)
    assert plan.steps == steps
    assert bool(plan.assumed) == (tokens is None and "epochs" in train)


def test_a_long_time_is_compiled_by_the_rule_of_the_job() -> None:
    assert not plan_here("nano", nano(steps=None, time="400s"), machine_rates()).predicted.compiled
    assert plan_here("nano", nano(steps=None, time="401s"), machine_rates()).predicted.compiled


def test_a_time_gives_the_steps_that_fit_into_it_with_validations_the_end_and_a_margin() -> None:
    fast = machine_rates(dict.fromkeys(KINDS, 1e10))
    config = nano(steps=None, time="1m", compile="off", eval_every=10, eval_tokens=20_000)
    plan = plan_here("nano", config, fast, validation_tokens=30_000)
    step_s = plan.predicted.cost.step_s
    token_s = step_s / NANO_TOKENS / 3
    # At the end: a validation on 20,000 tokens, one on all, samples (1 s), a save (written at 100 MB/s, hashed at 1 GB/s, 0.3 s)
    # and the process (1 s).
    snapshot = memory_estimate(config, 1536, "fp32").snapshot
    closing_s = 50_000 * token_s + 1 + snapshot * (1 / 100e6 + 1 / 1e9) + 0.3 + 1
    assert plan.steps == int((60 - closing_s - 0.6) / (step_s + 20_000 * token_s / 10))
    assert plan.closing_s == pytest.approx(closing_s + 0.6)
    assert plan.wall_s == 60
    assert plan.validation_s is not None
    assert (
        60 - 2 * step_s < plan.train_s + plan.validation_s + plan.closing_s + 20_000 * token_s <= 60 + 20_000 * token_s
    )


def test_a_time_that_is_too_short_for_the_last_validation_of_all_does_without_it() -> None:
    config = nano(steps=None, time="1m", compile="off", eval_every=0, eval_tokens=2_000)
    plan = plan_here("nano", config, machine_rates(), validation_tokens=1e9)
    only_part = plan_here("nano", config, machine_rates(), validation_tokens=2_000)
    assert plan.steps == only_part.steps


def test_a_compiled_time_loses_the_time_to_compile() -> None:
    config = nano(steps=None, time="10m", eval_every=0, eval_tokens=2_000)
    without = nano(steps=None, time="575s", compile="on", eval_every=0, eval_tokens=2_000)
    with_it, shorter = (plan_here("nano", each, machine_rates()) for each in (config, without))
    assert with_it.predicted.compiled
    lost = (600 - 575) * 0.99 / with_it.predicted.cost.step_s
    assert with_it.steps - shorter.steps == pytest.approx(lost, abs=1)


def test_validations_of_all_tokens_take_the_time_of_the_text() -> None:
    config = nano(compile="off", eval_every=200, eval_tokens=0)
    plan = plan_here("nano", config, machine_rates(), validation_tokens=30_000)
    step_s = plan.predicted.cost.step_s
    assert plan.validation_s == pytest.approx(6 * 30_000 * step_s / NANO_TOKENS / 3)
    more = plan_here(
        "nano", nano(compile="off", eval_every=200, eval_tokens=50_000), machine_rates(), validation_tokens=30_000
    )
    assert more.validation_s == pytest.approx(plan.validation_s)
    assert plan_here("nano", config, machine_rates()).validation_s is None
    assert plan_here("nano", nano(eval_every=0, eval_tokens=0), machine_rates()).validation_s == 0


def test_a_model_that_does_not_fit_is_refused_with_what_it_lacks() -> None:
    half = memory_estimate(nano(), 1536, "fp32").total / 2
    with pytest.raises(SeedbedError, match=f"{size(half)} more than the {size(half)} that it has") as caught:
        plan_here("nano", nano(), machine_rates(total_bytes=int(half)))
    assert "micro_batch" in caught.value.hint
    config = config_of(catalog.model("llama3-8b"))
    need = memory_estimate(config, config.tokenizer.vocab_size, "fp32").total
    with pytest.raises(SeedbedError, match=f"needs {size(need)}, {size(need - (16 << 30))} more than the 16.0 GiB"):
        plan_here("Llama", config, machine_rates())


def test_a_known_model_becomes_the_config_that_trains_it() -> None:
    shape = catalog.model("qwen3-0.6b")
    config = config_of(shape)
    found = count_parameters(config.model, config.tokenizer.vocab_size)
    assert found == pytest.approx(shape.published_parameters, rel=0.01)


def test_a_mixture_of_experts_is_not_trained_here() -> None:
    with pytest.raises(UsageError, match="mixture of experts"):
        config_of(catalog.model("mixtral-8x7b"))
