"""The findings about a config, and that a sound config has none."""

from __future__ import annotations

import pytest

from seedbed.config.check import Finding, check, checkpoint_bytes, repetition
from seedbed.config.preset import preset_names
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN

GIB = 1 << 30


# A separate shape, so that tuning a preset changes no figure expected here: 1,115,520 parameters, 851,968 in matrices.
SHAPE = (
    "model.heads=4", "model.kv_heads=4", "model.head_dim=32", "model.ffn=384", "model.tie_embeddings=true",
    "tokenizer.vocab_size=2048", "train.batch_size=16",
)  # fmt: skip


def found(*sets: str, preset: str | None = None, **figures: object) -> dict[str, Finding]:
    config = resolve(TRAIN, preset=preset, sets=sets if preset else (*SHAPE, *sets)).config
    return {finding.code: finding for finding in check(config, **figures)}  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", preset_names(TRAIN))
def test_presets_have_no_findings_where_data_and_machine_suffice(preset: str) -> None:
    figures = {
        "train_tokens": 12_000_000_000,
        "validation_tokens": 10_000_000,
        "free_disk_bytes": 100 * GIB,
        "free_memory_bytes": 200 * GIB,
        "precision": "bf16",
    }
    assert not found(preset=preset, **figures)


def test_text_shorter_than_a_window_is_an_error() -> None:
    finding = found(train_tokens=256)["data-short"]
    assert finding.level == "error"
    assert "256 tokens" in finding.text
    assert "257" in finding.text
    assert "model.context" in finding.hint
    assert "data-short" not in found(train_tokens=257)


def test_small_text_gets_a_warning_with_its_figures() -> None:
    finding = found("train.epochs=30", train_tokens=300_000)["data-small"]
    assert finding.level == "warning"
    assert "1.12M" in finding.text
    assert "300k" in finding.text
    assert "30 times" in finding.why
    assert "data-small" not in found(train_tokens=3_000_000)


@pytest.mark.parametrize(
    ("passes", "is_trained", "text"), [(25, False, ""), (26, False, "26"), (4, True, ""), (3959, True, "3,959")]
)
def test_a_text_that_is_repeated_too_often_is_named_with_the_passes(passes: float, is_trained: bool, text: str) -> None:
    finding = repetition(passes, is_trained=is_trained, is_timed=True)
    assert (finding is not None) == bool(text)
    if finding:
        assert finding.text == f"This run trains on the text {text} times."
        assert "by heart" in finding.why
        assert "a shorter time" in finding.hint


def test_passes_over_the_text_are_computed_from_any_horizon() -> None:
    assert (
        "(this run trains on the text 8.19 times)" in found("train.steps=200", train_tokens=100_000)["data-small"].why
    )
    assert (
        "(this run trains on the text 5 times)" in found("train.tokens=500_000", train_tokens=100_000)["data-small"].why
    )


def test_text_of_less_than_a_batch_gets_a_warning() -> None:
    assert found(train_tokens=15 * 256)["data-batch"].level == "warning"
    assert "data-batch" not in found(train_tokens=16 * 256)


def test_validation_text_of_one_token_is_an_error_and_less_than_a_batch_a_warning() -> None:
    assert found(validation_tokens=1)["validation-short"].level == "error"
    assert found(validation_tokens=0)["validation-short"].level == "error"
    small = found(validation_tokens=300)["validation-small"]
    assert small.level == "warning"
    assert "1.2 windows" in small.text
    assert not found(validation_tokens=16 * 256 + 1)


def test_a_vocabulary_of_one_is_an_error_and_an_outsized_one_a_warning() -> None:
    assert found(vocab_size=1)["vocabulary"].level == "error"
    large = found(vocab_size=50_257)["vocabulary"]
    assert large.level == "warning"
    assert "tokenizer.vocab_size" in large.hint
    assert "88%" in large.text


def test_disk_must_hold_the_checkpoints_kept_and_one_more() -> None:
    config = resolve(TRAIN, sets=SHAPE).config
    size = checkpoint_bytes(config, 2048)
    # weights, one momentum for the matrices and two moments for the rest, four bytes each
    assert size == 4 * 1_115_520 + 4 * 851_968 + 8 * (1_115_520 - 851_968)
    assert found(free_disk_bytes=4 * size - 1)["disk"].level == "error"
    assert "disk" not in found(free_disk_bytes=4 * size)
    assert "disk" not in found("train.keep_best=false", "train.keep_last=1", free_disk_bytes=2 * size)


def test_keep_every_needs_disk_space_and_steps_that_are_saved() -> None:
    config = resolve(TRAIN, sets=SHAPE).config
    size = checkpoint_bytes(config, 2048)
    often = ("train.steps=1000", "train.checkpoint_every=100", "train.keep_every=200")
    assert "disk" not in found(*often, free_disk_bytes=7 * size)  # steps 200, 400, 600 stay; 800 and 1000; best; next
    assert "keep_every" in found(*often, free_disk_bytes=7 * size - 1)["disk"].hint
    assert "keep-every" not in found(*often)
    assert "every 300 steps" in found("train.checkpoint_every=100", "train.keep_every=150")["keep-every"].text
    assert "last checkpoint" in found("train.checkpoint_every=0", "train.keep_every=150")["keep-every"].text


def test_too_little_memory_names_the_micro_batch_that_fits() -> None:
    finding = found("train.batch_size=64", free_memory_bytes=600 << 20, precision="fp32")["memory"]
    assert finding.level == "warning"
    assert "train.micro_batch to " in finding.hint
    rows = finding.hint.split("train.micro_batch to ")[1].split(":")[0]
    again = found("train.batch_size=64", f"train.micro_batch={rows}", free_memory_bytes=600 << 20, precision="fp32")
    assert "memory" not in again
    assert "memory" not in found(free_memory_bytes=16 * GIB, precision="fp32")


def test_weights_that_cannot_fit_are_an_error() -> None:
    finding = found(preset="base", free_memory_bytes=4 * GIB, precision="bf16")["memory"]
    assert finding.level == "error"
    assert "smaller preset" in finding.hint


def test_learning_rates_of_muon_get_a_finding_under_adamw() -> None:
    assert "1e-3" in found("optimizer.name=adamw")["lr-high"].hint
    assert not found("optimizer.name=adamw", "optimizer.lr=1e-3")
    assert found("optimizer.lr=0")["lr-zero"].level == "warning"


def test_samples_longer_than_the_positions_get_a_finding() -> None:
    assert "256 positions" in found("train.sample_tokens=256")["sample-length"].text


def test_early_stopping_that_cannot_act_gets_a_finding() -> None:
    assert "early-stop" in found("train.early_stop=2", "train.steps=50", "train.eval_every=100")
    assert "early-stop" not in found("train.early_stop=2", "train.steps=500", "train.eval_every=100")


def test_errors_come_first_and_each_finding_has_a_text_a_reason_and_a_hint() -> None:
    config = resolve(TRAIN, sets=["optimizer.name=adamw", "train.sample_tokens=999"]).config
    findings = check(config, train_tokens=10, validation_tokens=1, free_disk_bytes=1, free_memory_bytes=1)
    levels = [finding.level for finding in findings]
    assert levels == sorted(levels)
    assert levels.count("error") == 4
    for finding in findings:
        assert finding.text.endswith("."), finding
        assert finding.why.endswith("."), finding
        assert finding.hint.endswith("."), finding


def test_unknown_figures_give_no_findings() -> None:
    assert check(resolve(TRAIN).config) == []


@pytest.mark.parametrize(
    ("sets", "hint"),
    [
        (("model.context=1000000", "train.batch_size=1"), "model.context"),
        (("train.batch_size=1000000000000",), "train.batch_size"),
        (("train.batch_size=10000000", "train.micro_batch=1", "train.prefetch=64"), "train.batch_size"),
        (("train.batch_size=100000",), "train.micro_batch to "),
        (("model.hidden=1000000",), "model.hidden"),
        (("model.layers=10000000",), "model.layers"),
        (("model.heads=100000000", "model.kv_heads=1"), "preset"),
        (("model.ffn=9223372036854775807",), "preset"),
        (("tokenizer.vocab_size=1000000000000",), "tokenizer.vocab_size"),
        (("model.vocab_multiple=1000000000000",), "preset"),
    ],
)
def test_a_config_that_needs_many_times_the_machines_memory_is_an_error(sets: tuple[str, ...], hint: str) -> None:
    finding = found(*sets, total_memory_bytes=24 * GIB)["memory"]
    assert finding.level == "error"
    assert "24.0 GiB" in finding.text
    assert hint in finding.hint


def test_a_config_slightly_too_large_for_the_machine_gets_only_a_warning() -> None:
    sets = ("model.context=1024", "train.batch_size=256")
    assert "memory" not in found(*sets, total_memory_bytes=8 * GIB)
    assert found(*sets, total_memory_bytes=8 * GIB, free_memory_bytes=8 * GIB)["memory"].level == "warning"
    assert found(*sets, total_memory_bytes=1 * GIB, free_memory_bytes=1 * GIB)["memory"].level == "error"


@pytest.mark.parametrize("key", ["lr", "adam_lr", "head_lr"])
def test_learning_rates_that_destroy_weights_under_muon_get_a_finding(key: str) -> None:
    assert f"optimizer.{key} = 3 is very high" in found(f"optimizer.{key}=3")["lr-high"].text
    assert "lr-high" not in found("optimizer.lr=0.05")
