"""Jobs of Slurm: with small programs in place of its commands, since a cluster is not at hand in tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.curation import cluster
from seedbed.curation.executors import ExecutorConfig
from seedbed.errors import SeedbedError

OPTIONS = {"partition": "cpu", "time": "00:10:00"}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands, first in PATH: sbatch gives numbers to jobs, scancel notes them, and squeue prints a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, line in {
        "sbatch": 'cat "$1" > "$0.script"; echo Submitted batch job 7',
        "scancel": 'echo "$@" >> "$0.log"',
        "squeue": 'cat "$0.txt"',
    }.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    (folder / "squeue.txt").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(cluster, "_POLL_S", 0.01)
    monkeypatch.setattr(cluster.signal, "signal", lambda *_: None)
    return folder


def slurm(tmp_path: Path, **options: str) -> None:
    executor = ExecutorConfig(kind="slurm", tasks=2, options={**OPTIONS, **options})
    cluster.run(tmp_path / "config.toml", tmp_path / "cache", executor, tmp_path / "logs")


def test_a_job_that_ended_with_ranks_that_failed_is_an_error_and_cancelled(commands: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    (commands / "squeue.txt").write_text("PENDING DependencyNeverSatisfied\n")
    with pytest.raises(SeedbedError, match="job 7 has ended, and 2 ranks did not succeed") as failed:
        slurm(tmp_path)
    assert "slurm_logs" in (failed.value.hint or "")
    assert (commands / "scancel.log").read_text() == "7\n"


def test_jobs_find_the_programs_of_datatrove_beside_python(commands: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    with pytest.raises(SeedbedError):
        slurm(tmp_path)
    script = next(tmp_path.rglob("launch_script.slurm")).read_text()
    assert f"export PATH={Path(sys.executable).parent}:$PATH" in script
    assert "#SBATCH --kill-on-invalid-dep=yes" in script
    with pytest.raises(SeedbedError):
        slurm(tmp_path / "second", env_command="module load python")
    script = next((tmp_path / "second").rglob("launch_script.slurm")).read_text()
    assert "module load python" in script
    assert "export PATH" not in script


def test_a_machine_without_the_commands_of_slurm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datatrove")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SeedbedError) as failed:
        slurm(tmp_path)
    assert "Slurm's commands" in (failed.value.hint or "")


def test_a_job_that_waits_or_whose_queue_does_not_answer_has_not_ended(commands: Path) -> None:
    (commands / "squeue.txt").write_text("PENDING Resources\nPENDING DependencyNeverSatisfied\n")
    assert not cluster._has_ended("7")
    (commands / "squeue").write_text("#!/bin/sh\necho slurm_load_jobs error: Unable to contact >&2\nexit 1\n")
    assert not cluster._has_ended("7")
    (commands / "squeue").write_text("#!/bin/sh\necho slurm_load_jobs error: Invalid job id specified >&2\nexit 1\n")
    assert cluster._has_ended("7")


def test_the_step_of_a_started_executor_can_be_read_by_a_job(tmp_path: Path) -> None:
    """Run as a program, the module must not put its step under the name __main__: a job has another one."""
    dill = pytest.importorskip("dill")
    written = tmp_path / "step.pik"
    (tmp_path / "config.toml").write_text("")
    executor = tmp_path / "executor.toml"
    executor.write_text('kind = "slurm"\ntasks = 2\n[options]\npartition = "cpu"\ntime = "1"\n')
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho Submitted batch job 7\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    words = [str(tmp_path / "config.toml"), str(tmp_path / "cache"), str(executor), str(tmp_path / "logs")]
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-m", "seedbed.curation.cluster", *words], env=environment, capture_output=True, check=False
    )
    written = next(tmp_path.rglob("executor.pik"))
    made = dill.loads(written.read_bytes())
    assert type(made.pipeline[0]).__module__ == "seedbed.curation.rank_step"
