"""A training job on another machine than before, on one with too little memory, and on one without fast bf16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluated import new_task
from seedbed.config.directories import cache_dir
from seedbed.config.evaluation import Evaluation
from seedbed.config.frozen import dump
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.data.build import build_dataset
from seedbed.errors import SeedbedError
from seedbed.hardware import cpu
from seedbed.jobs import __main__ as jobs
from seedbed.jobs import pretrain, training
from seedbed.jobs.memory import advice, exhausted
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.train import numerics, trainer
from seedbed.train.device import Device
from tiny import MODEL_AND_DATA

TINY = (
    *MODEL_AND_DATA,
    "train.batch_size=8",
    "train.steps=1",
    "train.eval_tokens=64",
    "train.compile=off",
    "train.sample_tokens=2",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setenv("SEEDBED_CACHE", str(cache))
    return new(tmp_path)


def new(folder: Path, *sets: str) -> RunDir:
    resolved = resolve(TRAIN, preset="nano", sets=(*TINY, *sets))
    return Store(folder / "runs").create("train", "tiny", dump(resolved.config, resolved.origins), {})


def messages(run: RunDir, code: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.events.read_text().splitlines()]
    return [line for line in lines if line["kind"] == "message" and line["code"] == code]


def test_a_resume_on_another_machine_says_that_it_is_not_bit_equal(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.run_job(run.path, ResumeOptions(), StartCondition()) == 0
    assert jobs.run_job(run.path, ResumeOptions(more_steps=1), StartCondition()) == 0
    assert messages(run, "not-bit-equal") == [], "on the same machine"
    here = cpu.probe()
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "probe", lambda: here._replace(name="Another CPU", features=()))
        assert jobs.run_job(run.path, ResumeOptions(more_steps=1), StartCondition()) == 0
    (message,) = messages(run, "not-bit-equal")
    assert f"processor {here.name} -> Another CPU" in message["text"]
    assert "instruction set" in message["text"]
    with monkeypatch.context() as patch:
        patch.setattr(numerics, "fast_dtype", lambda _: torch.float64)
        assert jobs.run_job(run.path, ResumeOptions(more_steps=1), StartCondition()) == 0
    assert "Muon's dtype" in messages(run, "not-bit-equal")[-1]["text"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mapped files are read from Linux's /proc")
def test_a_resumed_run_unmaps_the_checkpoint_files_that_it_read(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    assert jobs.run_job(run.path, ResumeOptions(), StartCondition()) == 0
    mapped: list[list[str]] = []
    fit, read = training.fit, trainer.read_tensors

    def files() -> list[str]:
        lines = Path("/proc/self/maps").read_text().splitlines()
        return [line for line in lines if str(run.checkpoints) in line]

    def reading(file: Path) -> Any:
        tensors = read(file)
        mapped.append(files())
        return tensors

    def fitted(*arguments: Any, **options: Any) -> Any:
        mapped.append(files())
        return fit(*arguments, **options)

    monkeypatch.setattr(trainer, "read_tensors", reading)
    monkeypatch.setattr(training, "fit", fitted)
    assert jobs.run_job(run.path, ResumeOptions(more_steps=1), StartCondition()) == 0
    assert mapped[0], "the files are never mapped, so this test shows nothing"
    assert mapped[-1] == []


def test_the_job_warns_of_bf16_in_software(tmp_path: Path, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new(tmp_path, "train.precision=bf16")
    slow = cpu.Cpu("Old CPU", 2, ("avx2",), {})
    monkeypatch.setattr(cpu, "probe", lambda: slow)
    assert jobs.run_job(run.path, ResumeOptions(), StartCondition()) == 0
    (message,) = messages(run, "precision")
    assert "Old CPU has no bf16 instructions" in message["text"]


def test_a_gpu_run_is_checked_against_the_gpus_memory(
    tmp_path: Path, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(TRAIN, preset="nano", sets=TINY).config
    dataset = build_dataset(config.data, config.tokenizer, cache=cache_dir(), emit=lambda _: None)
    gpu = Device(torch.device("cuda", 0), "A GPU", "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1 << 10, 1 << 34))
    monkeypatch.setattr(pretrain, "available_bytes", lambda: 1 << 40)
    with pytest.raises(SeedbedError, match="of memory"):
        pretrain.examine(config, dataset, "fp32", gpu, run.path, lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1 << 33, 1 << 34))
    monkeypatch.setattr(pretrain, "available_bytes", lambda: 1 << 10)
    emitted: list[Any] = []
    pretrain.examine(config, dataset, "fp32", gpu, run.path, emitted.append)
    assert [each.code for each in emitted if "memory" in each.code] == ["main-memory"], "a snapshot needs main memory"


def exhaust_cpu_memory() -> None:
    torch.empty(1 << 45)


def exhaust_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB")


def exhaust_python_memory() -> None:
    bytearray(1 << 60)


@pytest.mark.parametrize(
    ("allocate", "memory_name"),
    [(exhaust_cpu_memory, "memory"), (exhaust_gpu_memory, "GPU memory"), (exhaust_python_memory, "memory")],
)
def test_a_failed_allocation_ends_the_run_with_a_hint(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, allocate: Any, memory_name: str
) -> None:
    def job(*_: Any) -> str:
        allocate()
        return "completed"

    monkeypatch.setattr(jobs, "load_object", lambda _: job)
    assert jobs.run_job(run.path, ResumeOptions(), StartCondition()) == 1
    found = status(run)
    assert found["reason"].startswith(f"The {memory_name} is full.")
    assert f"seedbed train --like {run.id} --set train.micro_batch=4" in found["hint"]


def test_memory_advice_is_a_smaller_micro_batch_and_at_last_a_shorter_context(tmp_path: Path, run: RunDir) -> None:
    assert "train.micro_batch=2" in advice(new(tmp_path, "train.micro_batch=4"))
    assert "model.context" in advice(new(tmp_path, "train.micro_batch=1"))
    evaluation = new_task(tmp_path, Evaluation())
    assert f"seedbed evaluate --like {evaluation.id} --set evaluate.context=N" in advice(evaluation)


def test_a_child_process_out_of_memory_answers_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/nowhere")  # so that it is restored afterwards: the child sets it
    monkeypatch.setattr(jobs, "load_object", lambda _: lambda _: exhaust_gpu_memory())
    assert jobs.main(["generate"]) == 1
    answer = json.loads(capfd.readouterr().out)
    assert answer["error"].startswith("The GPU memory is full. OutOfMemoryError: CUDA out of memory")
    assert "--device cpu" in answer["hint"]


def test_only_memory_errors_are_taken_for_full_memory() -> None:
    for error in (RuntimeError("shapes do not fit"), OSError(2, "No such file"), ValueError("memory"), SystemExit(1)):
        assert exhausted(error) is None
    assert exhausted(OSError(12, "Cannot allocate memory")) == "memory"
    assert exhausted(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")) == "GPU memory"
