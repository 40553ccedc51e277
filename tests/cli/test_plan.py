"""`seedbed plan`: what a user sees, and errors for impossible requests."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.cli.main import main
from seedbed.cli.plan_tables import print_sizes
from seedbed.config.chosen import Chosen, Option
from seedbed.simulate import catalog
from seedbed.simulate.plan import make_plan
from seedbed.simulate.request import LORA_RANK, Request

CLUSTER = ("plan", "--model", "llama3-8b", "--gpu", "64xH100", "--tokens", "1T")


@pytest.fixture(autouse=True)
def no_facts_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "facts"
    folder.mkdir()
    monkeypatch.setenv("SEEDBED_FACTS", str(folder))


def printed(capsys: pytest.CaptureFixture[str], *words: str, expect: int = 0) -> str:
    assert main(list(words)) == expect
    found = capsys.readouterr()
    return found.err if expect else found.out


def test_a_plan_says_time_memory_money_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *CLUSTER)
    assert out.startswith("Llama-3-8B on 64 H100-SXM-80GB: 1T tokens in ")
    for label in ("time", "steps", "speed", "memory", "money", "energy", "loss", "failures", "layout", "assumed"):
        assert any(line.strip().startswith(label) for line in out.splitlines()), label
    assert "80 %" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_no_value_is_said_as_given_and_as_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *CLUSTER)
    assert row(out, "setup") == "pre-training"
    assumed = row(out, "assumed").split("; ")
    assert {"sequences of 8,192 tokens", "bf16", "software fused", "network of 50 GB/s per GPU"} <= set(assumed)
    given = printed(capsys, *CLUSTER, "--precision", "bf16", "--software", "fused")
    assert row(given, "setup") == "pre-training, bf16, software fused"
    assert "bf16" not in row(given, "assumed")


def test_energy_is_that_of_the_machine_around_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    for gpu, machine in (
        ("64xH100", "servers and cooling"),
        ("RTX4090", "its computer"),
        ("RTX4090-Laptop", "its laptop"),
    ):
        assert machine in row(printed(capsys, "plan", "--model", "gpt2", "--gpu", gpu, "--tokens", "1B"), "energy")


def test_a_cluster_that_fails_faster_than_it_restarts_is_refused_with_what_would_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = " ".join(printed(capsys, "plan", "--model", "llama3-8b", "--gpu", "1000000xH100", expect=1).split())
    assert "hardly make progress" in error
    assert "something fails every 2m 53s, a restart takes " in error
    assert re.search(
        r"What would help: a tenth of the failures \(\d\d\.\d %\), about 125,000 GPUs \(\d\d\.\d %\)\.", error
    )
    noted = printed(capsys, "plan", "--model", "llama3-405b", "--gpu", "262144xH100", "--tokens", "15T")
    assert re.search(r"only 3\d\.\d % of the time counts: something fails every", row(noted, "note"))


def test_explain_shows_where_time_and_memory_go(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *CLUSTER, "--explain")
    for part in (
        "matmuls",
        "attention",
        "gradient sum",
        "activations",
        "optimizer",
        "Fitted:",
        "Assumed:",
        "Measured:",
    ):
        assert part in out


def test_json_has_raw_numbers_that_agree_with_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, *CLUSTER, "--json"))
    assert sum(found["step_parts_s"].values()) == pytest.approx(found["step_s"])
    assert sum(found["memory_parts_bytes"].values()) == pytest.approx(found["memory_bytes"])
    assert found["tokens"] / found["tokens_per_s"] == pytest.approx(found["train_s"])
    assert found["gpu_hours"] == pytest.approx(found["wall_s"] * 64 / 3600)


def test_a_target_says_what_would_keep_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "kept" in printed(capsys, *CLUSTER, "--target-days", "30")
    missed = printed(capsys, *CLUSTER, "--target-days", "5")
    assert "missed" in missed
    assert "such GPUs keep it" in " ".join(missed.split())


def test_search_ranks_layouts_by_time_and_by_cost(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *CLUSTER, "--search", "--top", "3")
    assert "layouts compared" in out
    by_time, by_cost = out.split("By cost")
    assert len([line for line in by_time.splitlines() if "micro-batch" in line]) == 3
    assert "GPUs" in by_cost
    found = json.loads(printed(capsys, *CLUSTER, "--search", "--json"))
    times = [each["wall_s"] for each in found["by_time"]]
    assert times == sorted(times)
    cost = [each["usd"] for each in found["by_cost"]]
    assert cost == sorted(cost)


def test_two_thousand_layouts_are_searched_quickly(capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, *CLUSTER)  # reads the facts
    begun = time.process_time()
    found = json.loads(printed(capsys, *CLUSTER, "--search", "--json"))
    assert found["tried"] > 2000
    assert (time.process_time() - begun) / found["tried"] * 2000 < patience.limit(1), "2,000 layouts take long"


def test_a_train_config_gives_model_batch_and_tokens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('preset = "tiny"\n[train]\nsteps = 1000\n')
    found = json.loads(printed(capsys, "plan", str(config), "--gpu", "RTX3090", "--json"))
    assert found["steps"] == 1000
    assert found["parameters"] == pytest.approx(6.16e6, rel=0.01)


def test_published_runs_are_compared_by_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "id": "run-\x1b[31m1",
        "group": "a table",
        "model": {"name": "Llama-3-8B", "params": 8030261248, "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8,
                  "ffn": 14336, "vocab": 128256},
        "hardware": {"gpu": "H100-SXM-80GB", "num_gpus": 8},
        "parallel": {"fsdp": 8},
        "train": {"seq_len": 8192, "micro_batch": 1, "global_batch": 8, "compile": True},
        "measured": {"tokens_per_s_per_gpu": 7000.0, "memory_gib_per_gpu": 50.0},
    }  # fmt: skip
    path = tmp_path / "runs.json"
    path.write_text(json.dumps([row]))
    out = printed(capsys, "plan", "--runs", str(path))
    assert "\x1b[31m" not in out
    assert "a table" in out
    assert "lie in their 80 % interval" in out
    (found,) = json.loads(printed(capsys, "plan", "--runs", str(path), "--json"))
    assert found["error"] == pytest.approx(found["predicted_tokens_per_s_per_gpu"] / 7000 - 1)
    assert found["low"] < found["predicted_tokens_per_s_per_gpu"] < found["high"]
    for empty in ("[]", "", " \n"):
        path.write_text(empty)
        for more in ((), ("--json",)):
            assert "has no runs" in printed(capsys, "plan", "--runs", str(path), *more, expect=2)


@pytest.mark.parametrize("table", ["gpus", "models", "networks"])
def test_facts_are_listed(capsys: pytest.CaptureFixture[str], table: str) -> None:
    shown = {"gpus": "H100-SXM-80GB", "models": "Llama-3-8B", "networks": "ib-400x8"}[table]
    assert shown in printed(capsys, "plan", "--list", table)
    raw = json.loads(printed(capsys, "plan", "--list", table, "--json"))
    assert any(each["name"] == shown and each["sources"] for each in raw)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--gpu", "64xH100"), "No model is given", "--model NAME"),
        (("--model", "lama3-8b", "--gpu", "8xH100"), "no model", "Llama"),
        (("--model", "llama3-8b", "--gpu", "8xH1000"), "no GPU", "H100"),
        (("--model", "llama3-8b", "--gpu", "0xH100"), "number of GPUs", "64xH100"),
        (("--model", "llama3-8b", "--gpu", "8xH100", "--tokens", "0"), "above 0", "15T"),
        (("--model", "llama3-8b", "--gpu", "8xH100", "--parallel", "tp=5"), "32 attention heads", "1, 2, 4, 8"),
        (("--model", "llama3-8b", "--gpu", "8xH100", "--network", "token-ring"), "no network", "--list networks"),
        (("none.toml", "--gpu", "8xH100"), "none.toml", ""),
    ],
)
def test_wrong_requests_are_usage_errors_with_a_way_out(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str, hint: str
) -> None:
    error = printed(capsys, "plan", *words, expect=2)
    assert message in error
    assert hint in error
    assert "Traceback" not in error


def test_a_model_that_does_not_fit_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    error = printed(capsys, "plan", "--model", "llama3-70b", "--gpu", "8xH100", expect=1)
    assert "does not fit" in error
    assert "It fits for example on 16 of them" in error


@pytest.mark.slow
def test_a_time_gives_the_size_that_this_machine_can_train(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    found = json.loads(printed(capsys, "plan", "--for", "2m", "--json"))
    assert found["layers"] * found["hidden"] > 0
    assert any(each["measured"] for each in found["options"])
    assert "parsecs" in printed(capsys, "plan", "--for", "2 parsecs", expect=2)


def test_a_length_of_a_sequence_is_read_as_the_names_of_models_mean_it(capsys: pytest.CaptureFixture[str]) -> None:
    for typed, tokens in (("8k", 8192), ("32K", 32768), ("4096", 4096)):
        found = json.loads(printed(capsys, *CLUSTER, "--seq", typed, "--json"))
        assert found["recipe"]["seq_len"] == tokens
    for wrong in ("8q", "0", "0.3", "1T", "-8k"):
        assert "--seq" in printed(capsys, *CLUSTER, f"--seq={wrong}", expect=2)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--for", "20m", "--gpu", "8xH100"), "--gpu has no effect with --for", "measures this machine"),
        (("--for", "20m", "--model", "llama3-8b"), "--model has no effect with --for", "measures this machine"),
        (("--for", "20m", "--tokens", "1T"), "--tokens has no effect with --for", "measures this machine"),
        (("--for", "", "--model", "llama3-8b", "--gpu", "8xH100"), "--for is empty", "leave it out"),
        (("--model", "llama3-8b", "--gpu", ""), "--gpu is empty", "leave it out"),
        ((*CLUSTER[1:], "--tokens", ""), "--tokens is empty", "leave it out"),
        ((*CLUSTER[1:], "--parallel", " "), "--parallel is empty", "leave it out"),
        ((*CLUSTER[1:], "--lora-rank", "8"), "--lora-rank has no effect with the method pretrain", "--method lora"),
        ((*CLUSTER[1:], "--method", "full_ft", "--lora-rank", "8"), "method full_ft", "--method lora"),
        ((*CLUSTER[1:], "--search", "--explain"), "--explain has no effect with --search", "ranks layouts"),
        ((*CLUSTER[1:], "--search", "--target-days", "3"), "--target-days has no effect with --search", "ranks"),
        ((*CLUSTER[1:], "--top", "3"), "--top has no effect here", "add --search"),
        ((*CLUSTER[1:], "--data", "stories"), "--data has no effect here", "add --for"),
        (("--list", "gpus", "--model", "llama3-8b"), "--model has no effect with --list", "only lists"),
        (("--list", "gpus", "--search"), "--search has no effect with --list", "only lists"),
        (("--runs", "runs.json", "--gpu", "8xH100"), "--gpu has no effect with --runs", "from the file"),
        (("mine.toml", "--runs", "runs.json"), "FILE has no effect with --runs", "from the file"),
    ],
)
def test_options_that_do_not_apply_are_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str, hint: str
) -> None:
    error = printed(capsys, "plan", *words, expect=2)
    assert message in error
    assert hint in error


def test_the_rank_of_adapters_is_what_the_help_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--help"]) == 0
    assert f"rank of LoRA adapters (default: {LORA_RANK})" in " ".join(capsys.readouterr().out.split())
    shape, (number, kind) = catalog.model("qwen3-8b"), catalog.parse_gpus("RTX4090")
    default = Request(shape=shape, gpu=kind, num_gpus=number, method="qlora")
    given = json.loads(
        printed(capsys, "plan", "--model", "qwen3-8b", "--gpu", "RTX4090", "--method", "qlora", "--json")
    )
    assert given["memory_bytes"] == make_plan(default).memory.total


def test_json_says_whether_a_target_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    kept = {
        days: json.loads(printed(capsys, *CLUSTER, "--json", "--target-days", days))["target_kept"]
        for days in ("5", "50")
    }
    assert kept == {"5": False, "50": True}


def test_the_passes_over_the_text_of_a_config_give_its_tokens(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "novel.txt"
    text.write_text("It was a dark and stormy night. " * 40_000)  # 1.28 MB
    config = tmp_path / "mine.toml"
    config.write_text(f'preset = "tiny"\n[data]\nsource = "text:{text}"\nvalidation = 0.1\n[train]\nepochs = 3\n')
    found = json.loads(printed(capsys, "plan", str(config), "--gpu", "RTX3090", "--json"))
    # Four bytes for each token (assumed there), and a tenth is for validation.
    assert found["tokens"] == pytest.approx(3 * 0.9 * 1.28e6 / 4, rel=0.02)
    assert "3 passes over the text" in "; ".join(found["assumed"])
    assert "Chinchilla" not in "; ".join(found["assumed"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[data]\nsource = "wikitext-103"\n[train]\nepochs = 3\n', "3 passes over wikitext-103"),
        ('[data]\nsource = "text:/no/such/novel"\n[train]\nepochs = 2\n', "2 passes over text:/no/such/novel"),
        ('[train]\ntime = "20m"\n', "20m"),
    ],
)
def test_a_config_that_does_not_say_its_tokens_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(f'preset = "tiny"\n{table}')
    found = json.loads(printed(capsys, "plan", "mine.toml", "--gpu", "RTX3090", "--json"))
    (said,) = (each for each in found["assumed"] if words in each)
    assert "not known" in said
    assert any("Chinchilla" in each for each in found["assumed"])
    given = json.loads(printed(capsys, "plan", "mine.toml", "--gpu", "RTX3090", "--tokens", "10M", "--json"))
    assert not any("not known" in each for each in given["assumed"])


def test_a_config_and_another_model_contradict_each_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('preset = "tiny"\n')
    for given in (("--preset", "tiny"), (str(config),)):
        error = printed(capsys, "plan", *given, "--model", "llama3-8b", "--gpu", "8xH100", expect=2)
        assert "Both --model and a config" in error
        assert "only one" in error


def row(out: str, label: str) -> str:
    """The words of a line of a plan, with its continuation lines."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().split(" ")[0] == label)
    found = [lines[start].strip().removeprefix(label).strip()]
    for line in lines[start + 1 :]:
        if not line.startswith(" " * 12):
            break
        found.append(line.strip())
    return " ".join(found)


def test_given_settings_stay_visible(capsys: pytest.CaptureFixture[str]) -> None:
    given = printed(
        capsys, *CLUSTER, "--seq", "4096", "--precision", "fp8", "--software", "torch", "--network", "ib-400x8",
    )  # fmt: skip
    assert (
        row(given, "setup")
        == "pre-training, sequences of 4,096 tokens, fp8, software torch, network of 50 GB/s per GPU"
    )
    tuned = printed(
        capsys,
        "plan",
        "--model",
        "qwen3-8b",
        "--gpu",
        "RTX4090",
        "--method",
        "qlora",
        "--lora-rank",
        "32",
        "--seq",
        "1k",
    )
    assert row(tuned, "setup") == "QLoRA of rank 32, sequences of 1,024 tokens"
    assert "bf16; " in row(tuned, "assumed")
    single = printed(capsys, *CLUSTER, "--precision", "fp32")
    assert "fp32 without TF32 (as `seedbed train`)" in row(single, "setup")
    assert "of the fp32 peak" in row(single, "speed")
    assert "note" in printed(capsys, *CLUSTER, "--seq", "32k")


def test_a_price_is_given_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert row(printed(capsys, *CLUSTER, "--usd-per-hour", "0"), "money").startswith("$0: ")
    assert "(as given)" in row(printed(capsys, *CLUSTER, "--usd-per-hour", "0"), "money")
    assert "--usd-per-hour" in printed(capsys, *CLUSTER, "--usd-per-hour", "1e300", expect=2)


def test_the_interval_is_also_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, *CLUSTER, "--json"))
    assert found["wall_low_s"] == pytest.approx(found["wall_s"] / found["interval_factor"])
    assert found["wall_high_s"] == pytest.approx(found["wall_s"] * found["interval_factor"])
    assert found["notes"] == []


def test_layouts_are_ranked_with_failures_as_the_plan_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "--model", "llama3-70b", "--gpu", "1024xH100", "--tokens", "15T")
    planned = json.loads(printed(capsys, *words, "--json"))
    found = json.loads(printed(capsys, *words, "--search", "--json"))
    first = found["by_time"][0]
    for key in ("train_s", "wall_s", "gpu_hours", "usd"):
        assert first[key] == pytest.approx(planned[key], rel=1e-6), key
    assert first["wall_s"] > 1.001 * first["train_s"]
    hours = [each["gpu_hours"] for each in found["by_cost"]]
    assert hours == sorted(hours)
    times = [each["wall_s"] for each in found["by_time"]]
    assert times == sorted(times)
    out = printed(capsys, *words, "--search", "--top", "1")
    time_of_plan = row(printed(capsys, *words), "time").split(",")[0]
    assert time_of_plan in out


def test_a_target_in_the_interval_of_the_prediction_is_uncertain(capsys: pytest.CaptureFixture[str]) -> None:
    days = json.loads(printed(capsys, *CLUSTER, "--json"))["wall_s"] / 86_400
    near = row(printed(capsys, *CLUSTER, "--target-days", f"{days * 1.001}"), "target")
    assert "kept, with 2" in near  # a thousandth of 18.7 days: 27 minutes
    assert "m " in near
    assert "about even odds" in near
    assert "about even odds" in row(printed(capsys, *CLUSTER, "--target-days", f"{days * 0.999}"), "target")
    assert "of 10 cases" in row(printed(capsys, *CLUSTER, "--target-days", f"{days * 1.1}"), "target")
    assert "interval" not in row(printed(capsys, *CLUSTER, "--target-days", "100"), "target")
    assert row(printed(capsys, *CLUSTER, "--target-days", "1"), "target").startswith("1 day: missed by")


def test_json_says_what_would_keep_a_missed_target(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, *CLUSTER, "--target-days", "5", "--json"))
    again = ("plan", "--model", "llama3-8b", "--gpu", f"{found['target_num_gpus']}xH100", "--tokens", "1T", "--json")
    assert json.loads(printed(capsys, *again, "--target-days", "5"))["target_kept"]
    assert found["target_tokens"] < 1e12


@pytest.mark.parametrize(("columns", "has_tokens"), [(40, False), (80, True)])
def test_the_sizes_for_a_time_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, has_tokens: bool
) -> None:
    shape = {"layers": 12, "hidden": 1024, "parameters": 123_456_789}
    option = Option(**shape, tokens_per_s=123_456.0, measured=False, tokens=2.34e10, loss=3.21)
    chosen = Chosen(
        **shape, time_s=7200.0, left_s=7000.0, vocab_size=32_768, batch_size=256, context=1024, threads=0,
        tokens=2.34e10, unique_tokens=10**8, loss=3.21, bits_per_byte=1.0, options=(option,),
    )  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_sizes(chosen)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert any("12 x 1024" in line and "123k estimated" in line and ("23.4B" in line) == has_tokens for line in lines)
