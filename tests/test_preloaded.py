"""Programs in children of a server: each has its own environment, folder, output and modules."""

from __future__ import annotations

from pathlib import Path

from preloaded import Server

CODE = """
import os, sys
print(os.environ.get("COLOUR"), os.getcwd(), sys.argv[1:], "decimal" in sys.modules, "wave" in sys.modules)
print("problem", file=sys.stderr)
import wave
sys.exit(3)
"""


def test_a_program_has_its_own_environment_folder_output_and_modules(tmp_path: Path) -> None:
    server = Server(["decimal", "no_such_module"])
    for colour in ("red", "blue"):
        done = server.run(CODE, "a", environment={"COLOUR": colour}, folder=tmp_path)
        assert done.stdout == f"{colour} {tmp_path.resolve()} ['a'] True False\n"
        assert (done.stderr, done.returncode) == ("problem\n", 3)


def test_an_exception_and_a_signal_are_seen_in_the_status() -> None:
    server = Server([])
    failed = server.run("raise ValueError('bad')", environment={})
    assert failed.returncode == 1
    assert failed.stderr.endswith("ValueError: bad\n")
    assert server.run("import os; os.kill(os.getpid(), 9)", environment={}).returncode == -9
