"""`seedbed plan` for this machine: what a user sees, which rates are kept, and errors. The measurement is replaced."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from measured_rates import machine_rates
from seedbed.actions import checks, measuring
from seedbed.cli.main import main
from seedbed.errors import SeedbedError
from seedbed.simulate.machine_rates import KINDS, MachineRates


class Measurement:
    """Stands in for the child process that measures: counts its starts, and answers with the rates of `found`."""

    def __init__(self) -> None:
        self.found: MachineRates = machine_rates(rounds=(1.0, 1.2, 1.1), name="A \x1b[31mCPU")
        self.requests: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.finished = 0

    def __call__(self, command: str, request: dict[str, Any]) -> Measurement:
        assert command == "measure"
        self.requests.append(request)
        return self

    def __enter__(self) -> Iterator[dict[str, Any]]:
        written = msgspec.to_builtins(self.found)
        machine = {key: written[key] for key in ("name", "device", "threads", "precision", "total_bytes")}

        def lines() -> Iterator[dict[str, Any]]:
            yield from ({"message": each} for each in self.messages)
            yield {"machine": machine}
            yield {"rates": written}
            self.finished += 1

        return lines()

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture(autouse=True)
def measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measurement:
    (tmp_path / "facts").mkdir()
    monkeypatch.setenv("SEEDBED_FACTS", str(tmp_path / "facts"))
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEEDBED_RUNS", str(tmp_path / "runs"))
    found = Measurement()
    monkeypatch.setattr(measuring, "child", found)
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str, expect: int = 0) -> str:
    assert main(["plan", *words]) == expect
    found = capsys.readouterr()
    return found.err if expect else found.out


def test_a_plan_says_time_speed_memory_and_how_they_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--preset", "nano")
    assert out.startswith("nano on this machine: 2.76M tokens in ")
    for label in ("time", "steps", "speed", "spread", "memory", "loss", "machine", "compiled"):
        assert any(line.strip().startswith(label) for line in out.splitlines()), label
    assert "1,350 of 2.05k tokens" in out
    assert "3 rounds" in out
    assert "2 threads, fp32, torch 2.13.0, measured now" in out
    assert "\x1b[31m" not in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_text_that_is_much_too_small_for_the_time_is_named_with_the_passes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "small.txt"
    text.write_text("A small text.\n" * 1000)
    words = ("--preset", "nano", "--for", "15m", "--data")
    found = json.loads(printed(capsys, *words, f"text:{text}", "--json"))
    assert found["passes"] == pytest.approx(found["tokens"] / (14_000 / 4 * 0.95), rel=0.01)
    assert found["warnings"] == [f"This run trains on the text {found['passes']:,.0f} times."]
    out = " ".join(printed(capsys, *words, f"text:{text}").split())
    assert f"warning {found['warnings'][0]} After about 25 passes, the model learns" in out
    text.write_text("A larger text.\n" * 2_000_000)
    larger = json.loads(printed(capsys, *words, f"text:{text}", "--json"))
    assert larger["warnings"] == []
    assert found["loss"] is None, "it cannot be predicted"
    text.write_text("A middling text.\n" * 5_000)
    repeated = json.loads(printed(capsys, *words, f"text:{text}", "--json"))
    assert 1 < repeated["passes"] < 25
    assert larger["loss"] < repeated["loss"], "repeated text counts less"


def test_explain_shows_where_the_time_goes_and_what_is_measured_or_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--preset", "nano", "--explain")
    for part in ("matmuls", "attention", "optimizer", "activations", "Measured here:", "Computed:", "Assumed:"):
        assert part in out


def test_json_has_raw_numbers_that_agree_with_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--preset", "nano", "--json"))
    assert sum(found["step_parts_s"].values()) == pytest.approx(found["step_s"])
    assert found["step_s"] == pytest.approx(statistics.median(found["step_rounds_s"]))
    assert found["tokens_per_s"] * found["step_s"] == pytest.approx(found["tokens_per_step"]) == 2048
    assert found["train_s"] == pytest.approx(1350 * found["step_s"])
    assert found["parameters"] == 1_050_240


def test_here_is_the_name_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads(printed(capsys, "--preset", "nano", "--json"))
    for words in (("--gpu", "here"), ("--gpu", "this"), ("--gpu", "1xhere")):
        assert json.loads(printed(capsys, "--preset", "nano", "--json", *words)) == expected
    assert json.loads(printed(capsys, "--model", "nano", "--json")) == expected


def test_a_machine_is_measured_once_and_again_on_request(
    capsys: pytest.CaptureFixture[str], measurement: Measurement
) -> None:
    printed(capsys, "--preset", "nano")
    printed(capsys, "--preset", "tiny", "--tokens", "5M")
    assert measurement.finished == 1
    printed(capsys, "--preset", "nano", "--measure")
    assert measurement.finished == 2
    printed(capsys, "--preset", "nano", "--precision", "fp32")  # other settings have other rates
    assert measurement.finished == 3
    assert measurement.requests[-1]["precision"] == "fp32"


@pytest.mark.parametrize("damage", ["", "{}", "old"])
def test_rates_that_are_old_or_damaged_are_measured_again(
    capsys: pytest.CaptureFixture[str], measurement: Measurement, tmp_path: Path, damage: str
) -> None:
    printed(capsys, "--preset", "nano")
    (kept,) = (tmp_path / "cache" / "rates").iterdir()
    old = msgspec.structs.replace(measurement.found, measured=time.time() - measuring.MOST_AGE_S - 60)
    kept.write_bytes(msgspec.json.encode(old) if damage == "old" else damage.encode())
    printed(capsys, "--preset", "nano")
    assert measurement.finished == 2


def test_a_cache_that_cannot_be_written_does_not_matter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "file"))
    assert "tokens/s" in printed(capsys, "--preset", "nano")


def test_a_config_that_trains_here_is_planned_with_its_steps_device_and_threads(
    capsys: pytest.CaptureFixture[str], measurement: Measurement, tmp_path: Path
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('preset = "tiny"\n[train]\nsteps = 77\nthreads = 1\ndevice = "cpu"\n')
    found = json.loads(printed(capsys, str(config), "--json"))
    assert (found["model"], found["steps"], found["tokens"]) == ("mine", 77, 77 * 32 * 256)
    assert measurement.requests == [{"device": "cpu", "strict_device": False, "precision": "auto", "threads": 1}]


def test_a_time_with_a_preset_gives_the_steps_that_fit_into_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--preset", "nano", "--for", "10m", "--json"))
    assert found["wall_s"] == 600
    train = found["config"]["train"]
    end_s = found["closing_s"]
    assert 600 * 0.01 < end_s < 600 * 0.2
    usable_s = 600 - 25 * found["compile"] - end_s
    eval_s = train["eval_tokens"] * found["step_s"] / 2048 / 3
    assert found["steps"] == int(usable_s / (found["step_s"] + eval_s / train["eval_every"]))
    out = " ".join(printed(capsys, "--preset", "nano", "--for", "10m").split())
    assert "10m 00s, as given: " in out
    assert "kept for the last validation, samples and save" in out


def test_a_time_with_a_file_that_gives_the_size_is_planned_here_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('preset = "nano"\n')
    found = json.loads(printed(capsys, str(config), "--for", "10m", "--json"))
    expected = json.loads(printed(capsys, "--preset", "nano", "--for", "10m", "--json"))
    assert {**found, "model": "nano"} == expected
    assert "Measured here:" in printed(capsys, str(config), "--for", "10m", "--explain")


def test_validations_of_a_text_of_unknown_size_are_not_in_the_time_and_this_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("--model", "gpt2", "--tokens", "100M")
    assert json.loads(printed(capsys, *words, "--json"))["validation_s"] is None
    assert "validations are not in it" in " ".join(printed(capsys, *words).split())
    validation = tmp_path / "validation.txt"
    validation.write_text("It was a dark night. " * 4000)
    (tmp_path / "text.txt").write_text("It was a dark night. " * 100_000)
    config = tmp_path / "mine.toml"
    config.write_text(
        f"""preset = "nano"\n[train]\nsteps = 401\neval_every = 200\neval_tokens = 0
[data]\nsource = "text:{tmp_path / "text.txt"}"\nvalidation_path = "{validation}"\n"""
    )
    found = json.loads(printed(capsys, str(config), "--json"))
    tokens = validation.stat().st_size / 4
    assert found["validation_s"] == pytest.approx(2 * tokens / found["tokens_per_s"] / 3)


def test_the_size_of_a_text_gives_the_steps_of_its_epochs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("It was a dark night. The wind was cold.\n\n" * 20_000)
    found = json.loads(printed(capsys, "--preset", "tiny", "--data", f"text:{text}", "--json"))
    tokens = 0.95 * text.stat().st_size / 4  # 5 % are for validation; four bytes a token are assumed
    assert found["tokens"] == pytest.approx(tokens, abs=32 * 256)
    assert any("tokens in 1 pass" in each for each in found["assumed"])


def test_the_warning_that_another_device_is_measured_is_repeated(
    capsys: pytest.CaptureFixture[str], measurement: Measurement
) -> None:
    measurement.messages = [{"level": "warning", "code": "device", "text": "There is no such device."}]
    for number in (1, 2):
        assert main(["plan", "--preset", "nano"]) == 0
        assert "There is no such device." in capsys.readouterr().err
        assert measurement.finished == number


def test_rates_that_are_too_old_are_deleted_when_new_ones_are_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "cache" / "rates"
    folder.mkdir(parents=True)
    now = time.time()
    for name, age_s in (("old.json", measuring.MOST_AGE_S + 60), ("new.json", 60.0)):
        (folder / name).write_text("{}")
        os.utime(folder / name, (now - age_s, now - age_s))
    printed(capsys, "--preset", "nano")
    names = {each.name for each in folder.iterdir()}
    assert "old.json" not in names
    assert "new.json" in names
    assert len(names) == 2


def test_a_known_model_is_planned_as_seedbed_would_train_it(
    capsys: pytest.CaptureFixture[str], measurement: Measurement
) -> None:
    words = ("--model", "gpt2", "--tokens", "100M", "--global-batch", "32k", "--seq", "512")
    out = printed(capsys, *words)
    assert "English text" in out
    found = json.loads(printed(capsys, *words, "--json"))
    assert found["parameters"] == pytest.approx(124e6, rel=0.01)
    assert (found["tokens_per_step"], found["config"]["model"]["context"]) == (62 * 512, 512)
    measurement.found = machine_rates(dict.fromkeys(KINDS, 1e8))
    slow = printed(capsys, *words, "--measure")
    assert "h " in next(line for line in slow.splitlines() if line.strip().startswith("steps"))


def test_a_text_of_which_only_some_documents_are_read_has_an_unknown_size(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text, config = tmp_path / "text.txt", tmp_path / "mine.toml"
    text.write_text("It was a dark night. The wind was cold.\n\n" * 20_000)
    config.write_text(f'preset = "tiny"\n[data]\nsource = "text:{text}"\nmax_documents = 10\n')
    found = json.loads(printed(capsys, str(config), "--json"))
    assert not any("passes over the text" in each for each in found["assumed"])


def test_a_wrong_text_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], measurement: Measurement
) -> None:
    for words in (("--preset", "tiny"), ("--preset", "nano"), ("--model", "gpt2", "--tokens", "1M")):
        assert main(["plan", *words, "--data", "text:/nope"]) != 0
        assert "/nope" in capsys.readouterr().err
    assert not measurement.requests


def test_the_text_of_a_known_model_gives_its_tokens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("It was a dark night. The wind was cold.\n\n" * 20_000)
    words = ("--model", "gpt2", "--data", f"text:{text}", "--json")
    found = json.loads(printed(capsys, *words))
    assert found["tokens"] == pytest.approx(0.95 * text.stat().st_size / 4, abs=found["tokens_per_step"])
    assert found["config"]["data"]["source"] == f"text:{text}"
    assert json.loads(printed(capsys, *words, "--tokens", "1M"))["tokens"] == pytest.approx(1e6, rel=0.02)


def test_json_has_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--preset", "nano", "--target-days", "30", "--json"))
    assert (found["target_days"], found["target_kept"]) == (30, True)
    found = json.loads(printed(capsys, "--preset", "nano", "--tokens", "1T", "--target-days", "1", "--json"))
    assert found["target_kept"] is False


def test_a_target_says_whether_it_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert "kept" in printed(capsys, "--preset", "nano", "--target-days", "30")
    assert "missed" in printed(capsys, "--preset", "nano", "--tokens", "1T", "--target-days", "1")


def test_other_programs_that_disturbed_the_measurement_are_mentioned_and_its_rates_are_not_kept(
    capsys: pytest.CaptureFixture[str], measurement: Measurement
) -> None:
    measurement.found = machine_rates(load=9.0, threads=1, cores=2)
    assert "other programs kept this machine busy" in " ".join(printed(capsys, "--preset", "nano").split())
    measurement.found = machine_rates()
    assert "busy" not in printed(capsys, "--preset", "nano")
    measurement.found = machine_rates(load=9.0, threads=1, cores=64)
    assert "busy" not in printed(capsys, "--preset", "nano", "--measure")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--preset", "nano", "--gpu", "2xhere"), "one device", "8xH100"),
        (("--preset", "nano", "--parallel", "tp=2"), "one device", "--gpu 8xH100"),
        (("--preset", "nano", "--search"), "--search", "--gpu"),
        (("--preset", "nano", "--method", "lora"), "--method lora", "--gpu"),
        (("--preset", "nano", "--usd-per-hour", "0"), "--usd-per-hour", "--gpu"),
        (("--preset", "nano", "--for", "10m", "--tokens", "1M"), "Both --for and --tokens", "only one"),
        (("--preset", "nano", "--data", ""), "--data is empty", "leave it out"),
        (("--preset", "nano", "--lora-rank", "8"), "--lora-rank", "--gpu"),
        (("--preset", "nano", "--gpu", "8xH100", "--data", "stories"), "--data has no effect", "this machine"),
        (("--preset", "nano", "--precision", "fp8"), "fp8", "--gpu"),
        (("--preset", "nano", "--gpu", "8xH100", "--measure"), "--measure has no effect", "this machine"),
        (("--preset", "nano", "--model", "llama3-8b"), "Both", "only one"),
        (("--preset", "nona"), "no preset", "nano"),
        (("--model", "mixtral-8x7b"), "mixture of experts", "64xH100"),
        (("--preset", "nano", "--tokens", "0"), "above 0", "15T"),
        (("--preset", "nano", "--global-batch", "0"), "above 0", "15T"),
        (("--gpu", "here"), "No model is given", "--preset tiny"),
        ((), "No model is given", "--model NAME"),
    ],
)
def test_wrong_requests_are_usage_errors_with_a_way_out(
    capsys: pytest.CaptureFixture[str], measurement: Measurement, words: tuple[str, ...], message: str, hint: str
) -> None:
    error = printed(capsys, *words, expect=2)
    assert message in error
    assert hint in error
    assert not measurement.requests


def test_a_model_that_does_not_fit_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], measurement: Measurement
) -> None:
    error = printed(capsys, "--model", "llama3-8b", expect=1)
    assert "GiB more than the 16.0 GiB" in error
    assert "--gpu 8xH100" in error
    assert measurement.requests
    assert not measurement.finished


def test_without_pytorch_the_error_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    error = printed(capsys, "--preset", "nano", expect=1)
    assert "PyTorch is not installed" in error
    assert "pip install torch" in error


def test_a_measurement_without_a_result_is_a_failure(monkeypatch: pytest.MonkeyPatch, measurement: Measurement) -> None:
    monkeypatch.setattr(Measurement, "__enter__", lambda self: iter(()))
    from seedbed.config.schema import TrainConfig

    with pytest.raises(SeedbedError, match="without a result"):
        measuring.rates_of_this_machine(TrainConfig())
