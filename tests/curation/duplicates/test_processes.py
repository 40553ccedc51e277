from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orphans
import patience

PROGRAM = """
import sys, time, os
from seedbed.curation.duplicates.processes import worker_pool

if __name__ == "__main__":
    pool = worker_pool(2)
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    time.sleep(600)
"""


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(f"import sys; sys.path[:] = {sys.path!r}\n{PROGRAM}")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(number) for number in process.stdout.readline().split()]
        assert workers
        assert all(orphans.is_alive(number) for number in workers)
        process.kill()
        process.wait()
    patience.until(lambda: not any(orphans.is_alive(number) for number in workers))
