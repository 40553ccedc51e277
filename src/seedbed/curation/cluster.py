"""Runs the ranks of a preparation under an executor of datatrove: this machine, Slurm or Ray.

`python -m seedbed.curation.cluster CONFIG CACHE EXECUTOR LOGS` is a process of its own, so that it can be ended at any time. The
file EXECUTOR configures it:

    kind = "slurm"            # local, slurm or ray
    tasks = 64                # how many ranks share the units of input
    [options]                 # passed on to datatrove's executor under its own names
    partition = "cpu"
    time = "04:00:00"

All machines must see the inputs and the cache (SEEDBED_CACHE) at the same paths. Source: datatrove, executor/base.py: a step is
any callable of (data, rank, world_size); ranks that are completed are files in its folder of logs.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from seedbed.curation.executors import ExecutorConfig, read_executor
from seedbed.curation.rank_step import RankStep
from seedbed.errors import SeedbedError
from seedbed.text import plural

_INSTALL = "Install it: pip install 'seedbed[cluster]'."
_CLASSES = {"local": "LocalPipelineExecutor", "slurm": "SlurmPipelineExecutor", "ray": "RayPipelineExecutor"}
_POLL_S = 5.0
_PATH = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
"""Finds datatrove's launch_pickled_pipeline in a job of Slurm: beside the Python that runs this, at the same path."""


def run(config: Path, cache: Path, executor: ExecutorConfig, logs: Path) -> None:
    """Run all ranks, and return when they are completed. Ranks that an earlier run completed are not repeated.

    Raises SeedbedError if datatrove is missing, or refuses the options.
    """
    try:
        from datatrove import executor as executors
    except ImportError:
        raise SeedbedError("The package datatrove is not installed.", _INSTALL) from None
    made = getattr(executors, _CLASSES[executor.kind])
    options = dict(executor.options)
    if _needs_path(executor):
        options["env_command"] = _PATH
    if executor.kind == "slurm":  # else the job that sums up statistics would wait for ever after one that failed
        options["sbatch_args"] = {"kill-on-invalid-dep": "yes", **options.get("sbatch_args", {})}
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = None
    try:
        started = made(pipeline=[RankStep(config, cache)], tasks=executor.tasks, logging_dir=str(logs), **options)
        started.run()
    except SystemExit:  # a stop while jobs are handed in
        if started is not None and getattr(started, "job_id", None):
            _cancel(str(started.job_id))
        raise
    except (TypeError, ValueError) as error:
        raise SeedbedError(f"The executor {executor.kind} cannot be started: {error}.", "Correct [options].") from error
    except (OSError, subprocess.CalledProcessError) as error:
        hint = "Slurm's commands must be on this machine." if executor.kind == "slurm" else "Correct [options]."
        raise SeedbedError(f"The executor {executor.kind} cannot be started: {error}.", hint) from error
    if executor.kind == "slurm" and started.job_id:
        _wait_for_slurm(str(started.job_id), logs, lambda: len(started.get_incomplete_ranks(skip_completed=True)))


def _needs_path(executor: ExecutorConfig) -> bool:
    """Whether jobs of Slurm are not told where the programs of datatrove are."""
    return executor.kind == "slurm" and not {"env_command", "condaenv", "venv_path"} & executor.options.keys()


def _wait_for_slurm(job: str, logs: Path, incomplete: Callable[[], int]) -> None:
    """Wait until all ranks are completed. If this process ends before, the job is cancelled.

    Raises SeedbedError if the job has ended, and ranks are not completed.
    """
    missing = incomplete()
    try:
        while missing:
            ended = _has_ended(job)
            missing = incomplete()
            if ended and missing:
                raise SeedbedError(
                    f"Slurm's job {job} has ended, and {plural(missing, 'rank')} did not succeed.",
                    f"Messages of the ranks are in {logs / 'slurm_logs'}.",
                )
            time.sleep(_POLL_S if missing else 0)
    finally:
        if missing:
            _cancel(job)


def _cancel(job: str) -> None:
    subprocess.run(["scancel", job], check=False, capture_output=True)


def _has_ended(job: str) -> bool:
    """Whether nothing of a job waits or runs. A queue that does not answer counts as no."""
    asked = ["squeue", "--noheader", "--format=%T %r", f"--jobs={job}"]
    found = subprocess.run(asked, check=False, capture_output=True, text=True)
    if found.returncode and "Invalid job id" not in found.stderr:
        return False
    return all("DependencyNeverSatisfied" in line for line in found.stdout.splitlines())


def main(config: str, cache: str, executor: str, logs: str) -> int:
    """Run the executor; an error is written to stderr, and the exit status is 1."""
    try:
        run(Path(config), Path(cache), read_executor(Path(executor)), Path(logs))
    except SeedbedError as error:
        sys.stderr.write(f"{error.message} {error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
