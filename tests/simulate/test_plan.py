"""A plan against published trainings, and how its figures hang together."""

from __future__ import annotations

import re

import pytest

from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate import catalog
from seedbed.simulate.amounts import parse_amount
from seedbed.simulate.plan import Plan, make_plan, scenario_of
from seedbed.simulate.request import Request


def plan(model: str, gpus: str, **request: object) -> Plan:
    number, kind = catalog.parse_gpus(gpus)
    return make_plan(Request(shape=catalog.model(model), gpu=kind, num_gpus=number, **request))  # type: ignore[arg-type]


def test_llama_3_405b_takes_about_its_published_gpu_hours() -> None:
    # Model card of Llama 3.1 405B: 30.84 M GPU hours of H100, restarts included; 15.6 T tokens (arXiv 2407.21783).
    found = plan(
        "llama3-405b",
        "16384xH100",
        tokens=15.6e12,
        seq_len=8192,
        global_batch_tokens=16.8e6,
        parallel={"tp": 8, "pp": 16, "cp": 1, "zero": 2},
        recompute="none",
    )
    assert found.gpu_hours == pytest.approx(30.84e6, rel=0.2)
    # Its table 4: 41 % with these GPUs, this layout and this batch; section 3.3: gradients are sharded, nothing is recomputed.
    assert 0.41 / found.factor < found.cost.mfu < 0.41 * found.factor


def test_llama_2_70b_takes_about_its_published_gpu_hours() -> None:
    # arXiv 2307.09288, table 2: 1,720,320 GPU hours of A100 80 GB for 2 T tokens.
    found = plan("llama2-70b", "2048xA100", tokens=2e12, seq_len=4096, global_batch_tokens=4.2e6)
    assert found.gpu_hours == pytest.approx(1_720_320, rel=0.25)


def test_training_operations_equal_the_published_ones() -> None:
    # 3.8e25 FLOPs for Llama 3 405B (arXiv 2407.21783, section 1).
    found = plan("llama3-405b", "16384xH100", tokens=15.6e12, seq_len=8192)
    assert found.tokens * found.setup.shape.flops_per_token(8192, causal=True) == pytest.approx(3.8e25, rel=0.06)


def test_figures_hang_together() -> None:
    found = plan("llama3-8b", "64xH100", tokens=1e12)
    assert found.tokens == found.steps * found.setup.tokens_per_step
    assert found.tokens == pytest.approx(1e12, rel=1e-5)
    assert found.train_s == pytest.approx(found.tokens / found.cost.tokens_per_s)
    assert found.train_s < found.wall_s < 1.05 * found.train_s
    assert found.gpu_hours == pytest.approx(found.wall_s * 64 / 3600)
    assert found.usd == pytest.approx(found.gpu_hours * catalog.gpu("H100").usd_per_hour)
    assert found.energy_kwh == pytest.approx(found.gpu_hours * 0.7 * 1.5 * 1.2)


def test_the_loss_is_that_of_the_scaling_law() -> None:
    # The refit of Chinchilla's law (arXiv 2404.10102) gives 1.95 for 8 B and 15 T less the excess of a smaller model.
    found = plan("llama3-405b", "16384xH100", tokens=15.6e12)
    parameters = catalog.model("llama3-405b").parameters
    expected = 1.8172 + 482.01 / parameters**0.3478 + 2085.43 / found.tokens**0.3658
    assert found.loss == pytest.approx(expected)


def test_larger_clusters_fail_more_often_and_save_more_often() -> None:
    small = plan("llama3-8b", "64xH100", tokens=15e12)
    large = plan("llama3-8b", "4096xH100", tokens=15e12)
    assert large.effective < small.effective
    small_s, large_s = (each.scenario.interval_steps() * each.cost.step_s for each in (small, large))
    assert large_s < small_s


def test_everything_that_was_chosen_is_said() -> None:
    found = plan("llama3-8b", "64xH100")
    words = "; ".join(found.assumed)
    for each in ("tokens", "sequences", "bf16", "software", "network", "fastest layout"):
        assert each in words
    given = plan(
        "llama3-8b", "64xH100", tokens=1e12, seq_len=4096, global_batch_tokens=4096 * 1024, precision="bf16", stack="fused",
        network_gbps=50.0, parallel={"tp": 2, "pp": 1, "cp": 1},
    )  # fmt: skip
    assert given.assumed == ("what --parallel leaves open: the fastest that fits",)


def test_a_round_number_of_tokens_becomes_a_number_of_sequences_that_ranks_can_share() -> None:
    found = plan("llama3-8b", "64xH100", tokens=1e12, seq_len=8192, global_batch_tokens=4e6)
    assert found.setup.recipe.global_batch == 512
    assert "512 sequences" in "; ".join(found.assumed)
    exact = plan("llama3-8b", "6xH100", tokens=1e12, seq_len=8192, global_batch_tokens=8192 * 30)
    assert exact.setup.recipe.global_batch == 30


def test_a_batch_that_was_given_as_whole_sequences_stays() -> None:
    for sequences in (100, 488, 1000, 7):
        found = plan("llama3-8b", "64xH100", tokens=1e12, seq_len=4096, global_batch_tokens=4096.0 * sequences)
        assert found.setup.recipe.global_batch == sequences
        assert "per step" not in "; ".join(found.assumed)


@pytest.mark.parametrize(
    ("gpus", "model", "parallel", "multiple"),
    [
        ("64xH100", "nano", {"dp": 64}, 64),
        ("64xH100", "nano", {"tp": 1, "pp": 1, "cp": 1}, 64),
        ("48xH100", "llama3-8b", {"dp": 12}, 12),
        ("8xH100", "llama3-8b", {"dp": 8, "micro_batch": 3}, 24),
        ("56xH100", "qwen3-8b", {"dp": 7}, 7),
    ],
)
@pytest.mark.parametrize("method", ["pretrain", "lora"])
def test_the_default_batch_is_a_multiple_of_the_given_ranks(
    gpus: str, model: str, parallel: dict[str, int], multiple: int, method: str
) -> None:
    found = plan(model, gpus, parallel=parallel, method=method)
    assert found.setup.recipe.global_batch % multiple == 0


def test_a_batch_that_is_unusual_for_the_sake_of_the_gpus_is_said() -> None:
    usual = plan("llama3-8b", "1024xH100")
    assert "to compare numbers of GPUs" not in "; ".join(usual.assumed)
    for number in (997, 1000):
        found = plan("llama3-8b", f"{number}xH100")
        assert found.setup.recipe.global_batch != usual.setup.recipe.global_batch
        words = "; ".join(found.assumed)
        assert f"that {number:,} GPUs can share" in words
        assert "4,194,304 are usual (to compare numbers of GPUs, give --global-batch)" in words
    same = {plan("llama3-8b", f"{n}xH100", global_batch_tokens=4096e3).setup.tokens_per_step for n in (500, 1000)}
    assert same == {4096e3}


def test_chinchilla_tokens_are_the_default_and_fine_tuning_takes_ten_million() -> None:
    assert plan("llama3-8b", "64xH100").tokens == pytest.approx(20 * 8.03e9, rel=0.01)
    for method in ("full_ft", "lora", "qlora"):
        found = plan("llama3-8b", "8xH100", method=method)
        assert found.tokens == pytest.approx(1e7, rel=0.02)
        assert "10M tokens" in "; ".join(found.assumed)


def test_a_small_gpu_fine_tunes_8b_with_qlora_but_not_in_full() -> None:
    found = plan("qwen3-8b", "RTX4090", tokens=1e7, method="qlora")
    assert found.memory.total < 23.6 * 2**30
    with pytest.raises(Exception, match="does not fit"):
        plan("qwen3-8b", "RTX4090", tokens=1e7, method="full_ft")


def test_gpus_without_a_price_have_no_cost() -> None:
    assert plan("llama3-8b", "64xH800", tokens=1e12).usd is None
    assert plan("llama3-8b", "64xH800", tokens=1e12, usd_per_hour=2.0).usd is not None


def test_fp8_needs_a_gpu_with_fp8_units() -> None:
    with pytest.raises(UsageError, match="no fp8"):
        plan("llama3-8b", "64xA100", precision="fp8")


def test_the_scenario_of_a_plan_has_its_figures() -> None:
    found = plan("llama3-70b", "256xH100", tokens=1e12)
    scenario = scenario_of(found.candidates[0], found.steps, seed=7)
    assert (scenario.gpus, scenario.steps, scenario.seed) == (256, found.steps, 7)
    assert scenario.tokens == pytest.approx(found.tokens)
    assert sum(scenario.parts.values()) == pytest.approx(scenario.step_s)
    assert scenario.mfu(scenario.step_s) == pytest.approx(found.cost.mfu)
    assert scenario.gpu_used_bytes <= scenario.gpu_memory_bytes


@pytest.mark.parametrize(
    ("text", "value"), [("15T", 15e12), ("4m", 4e6), ("1.5e12", 1.5e12), ("300_000", 3e5), ("2k", 2e3)]
)
def test_amounts_are_read(text: str, value: float) -> None:
    assert parse_amount(text, "--tokens") == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "-5", "x", "", "1e30", "15TT", "nan", "inf"])
def test_impossible_amounts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--tokens"):
        parse_amount(text, "--tokens")


def test_fp32_is_planned_without_tf32_as_pytorch_and_train_compute_it() -> None:
    # torch.backends.cuda.matmul.allow_tf32 is False by default, and `seedbed train` leaves it so. H100: 67 TFLOPS
    # in fp32 and 989 in bf16 (NVIDIA's data sheet).
    found = plan("llama3-8b", "64xH100", tokens=1e12, precision="fp32")
    per_gpu = found.cost.tokens_per_s_per_gpu * found.setup.flops_per_token
    assert 0.4 * 67e12 < per_gpu < 67e12
    assert found.cost.mfu == pytest.approx(per_gpu / 67e12)
    assert plan("llama3-8b", "64xV100", tokens=1e12, precision="fp32", method="lora").cost.mfu < 1


def test_a_batch_whose_step_takes_longer_than_the_time_between_failures_is_named_as_the_reason() -> None:
    (note,) = plan("llama3-8b", "64xH100", tokens=1e12, global_batch_tokens=1e12).notes
    assert re.search(r"something fails every 6d \d\dh, and a step takes \d\dd", note)
    assert "a smaller global batch" in note
    with pytest.raises(SeedbedError, match=r"hardly make progress.*a step takes \d\d\dd") as raised:
        plan("llama3-8b", "64xH100", tokens=1e13, global_batch_tokens=1e13)
    assert "a smaller global batch" in raised.value.hint


def test_a_rounded_batch_is_said_with_the_given_one() -> None:
    for given in (100.0, 12_000.0):
        found = plan("qwen3-0.6b", "1xH100", tokens=1e9, seq_len=8192, global_batch_tokens=given)
        assert f"8,192 tokens per step, 1 sequence, where {given:,.0f} are given" in "; ".join(found.assumed)
    found = plan("llama3-8b", "64xH100", tokens=1e12, seq_len=8192, global_batch_tokens=4e6)
    assert "4,194,304 tokens per step, 512 sequences, where 4,000,000 are given" in "; ".join(found.assumed)


def test_what_is_odd_about_a_request_is_noted() -> None:
    assert plan("llama3-8b", "64xH100", tokens=1e12).notes == ()
    (long,) = plan("llama3-8b", "64xH100", tokens=1e12, seq_len=32768).notes
    assert "32,768" in long
    assert "context of Llama-3-8B, 8,192" in long
    (short,) = plan("llama3-8b", "64xH100", tokens=1, seq_len=8192).notes
    assert "one step" in short


def test_a_rank_above_the_width_of_the_model_is_refused() -> None:
    plan("llama3-8b", "8xH100", method="lora", lora_rank=4096)
    with pytest.raises(UsageError, match=r"4,097.*4,096"):
        plan("llama3-8b", "8xH100", method="lora", lora_rank=4097)


def test_a_price_of_zero_costs_nothing() -> None:
    found = plan("llama3-8b", "64xH100", tokens=1e12, usd_per_hour=0.0)
    assert found.usd == 0
    assert found.usd_per_hour == 0
    assert plan("llama3-8b", "64xH800", tokens=1e12).usd_per_hour is None
