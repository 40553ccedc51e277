"""A process is distinguished from every other one with the same pid."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patience import until
from seedbed.runs.process import Identity, boot_id, is_alive, own_identity, spawn_detached, start_time


def test_the_running_process_has_its_pid_and_is_alive() -> None:
    me = own_identity()
    assert me.pid == os.getpid()
    assert is_alive(me)


def test_a_killed_process_is_not_alive_even_as_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = start_time(child.pid)
    assert started is not None
    identity = Identity(child.pid, started, boot_id())
    assert is_alive(identity)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(identity), "a zombie counts as alive"
    child.wait()
    assert not is_alive(identity)


def test_a_reused_pid_is_another_process() -> None:
    me = own_identity()
    assert not is_alive(me._replace(start=me.start - 5))


def test_a_process_of_an_earlier_boot_is_not_alive() -> None:
    me = own_identity()
    if not me.boot_id:
        pytest.skip("this system has no boot id")
    assert not is_alive(me._replace(boot_id="00000000-0000-0000-0000-000000000000"))
    assert is_alive(me._replace(boot_id="")), "with an unknown boot id a live process counts as dead"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux")
def test_the_start_time_is_right_if_the_process_name_looks_like_fields_of_stat(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    children = [subprocess.Popen([name, "60"]) for name in ("sleep", str(program), "sleep")]
    try:
        until(lambda: Path(f"/proc/{children[1].pid}/comm").read_text().startswith("a) Z"))
        before, started, after = (start_time(child.pid) for child in children)
        assert None not in (before, started, after)
        assert before <= started <= after
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_detached_process_has_its_own_session_and_writes_its_log(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("before\n")
    code = "import os, sys; print(os.getsid(0), sys.stdin.read() == ''); sys.stderr.write('err')"
    child = spawn_detached([sys.executable, "-c", code], log)
    assert child.wait() == 0
    output = log.read_text()
    assert output.startswith("before\n")
    assert f"{child.pid} True" in output
    assert output.endswith("err")
