"""A job that trains nothing but lives like one: a session, phases, steps, validations, checkpoints, stop and resume.

Run as `python fake_job.py RUN_DIR [...]`. FAKE_STEP_S, FAKE_SAVE_S, FAKE_SAVE_EVERY and FAKE_FAIL change how it behaves, and
HOLD_AT makes it wait at a step (see pacing.py). With FAKE_SAVE_S=gate a save that was asked for takes until a file `saved` lies
in the run's folder. With FAKE_FAIL=disk no file can grow any more from step 7 on, until there is one called `room` in the run's
directory; with FAKE_FAIL=endless a child writes its process id into a file `child` beside the checkpoint and never answers;
with FAKE_FAIL=deaf the heartbeat's thread hangs, so that only signals are heard.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Checkpoint, Data, Eval, Message, Phase, Run, Sample, Step
from seedbed.jobs.__main__ import main
from seedbed.runs.session import Session

sys.path.insert(0, str(Path(__file__).parent))

import pacing  # found beside this file, also where Python does not look there by itself

STEP_S = float(os.environ.get("FAKE_STEP_S", "0.002"))
SAVE_S = os.environ.get("FAKE_SAVE_S", "0")
FAIL = os.environ.get("FAKE_FAIL", "")
if FAIL == "deaf":
    Session._beat = lambda session: session._over.wait()  # type: ignore[assignment, method-assign, misc]


def run(run_dir: Path, session: Session) -> str:
    config = load_frozen(run_dir / "config.toml", TRAIN)
    if FAIL == "usage":
        raise UsageError("There is no text in the file.", "Give another file.")
    if FAIL == "crash":
        raise ZeroDivisionError("division\nby zero")
    session.emit(Phase(name="prepare"))
    for done in (50, 100):
        session.emit_or_stop(Data(stage="tokens", done=done, total=100, unit="documents"))
        if FAIL == "slow-prepare":
            time.sleep(0.5)
            session.emit_or_stop(Data(stage="tokens", done=done, total=100, unit="documents"))
    session.emit(Data(stage="dataset", done=100, total=100, unit="tokens", opening="It was a dark night"))
    session.emit(Phase(name="prepare", done=True))
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    saved = sorted(int(path.name[5:]) for path in checkpoints.glob("step-*"))
    start = saved[-1] if saved else 0
    if session.resume.from_checkpoint:
        start = int(Path(session.resume.from_checkpoint).name[5:])
    steps = config.train.steps or 10
    if session.resume.more_steps:
        steps = start + session.resume.more_steps
    session.emit(
        Run(
            status="running",
            session=session.number,
            step=start,
            steps=steps,
            device="cpu",
            device_asked="auto",
            device_name="Fake CPU",
            precision="fp32",
            compile=False,
            steps_per_epoch=40.0,
            tokens_per_step=512,
            parameters=1_115_520,
            schedule="learning rate: cosine to 0",
            resumed_from=f"step-{start:08d}" if start else None,
        )
    )
    session.emit(
        Message(level="warning", code="small", text="The text is \x1b[31mshort.", why="Few words.", hint="Add some.")
    )

    def can_write() -> bool:
        (run_dir / "short").touch()
        if (run_dir / "room").exists():
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        return session.can_write()

    def save(step: int, asked: bool = True) -> None:
        if SAVE_S == "gate":
            while asked and not (run_dir / "saved").exists():
                time.sleep(0.005)
        else:
            time.sleep(float(SAVE_S))
        folder = checkpoints / f"step-{step:08d}"
        folder.mkdir(exist_ok=True)
        (folder / "DONE").write_text("{}")
        session.emit(Checkpoint(step=step, path=str(folder), size_bytes=12_345, best=step % 20 == 0))

    for step in range(start + 1, steps + 1):
        time.sleep(STEP_S)
        if FAIL == "kill" and step == 7:
            os.kill(os.getpid(), 9)
        if FAIL == "disk" and step == 7:
            size = (run_dir / "events.jsonl").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if FAIL == "numbers" and step == 7:
            raise SeedbedError("The loss is no number.", "Lower optimizer.lr.")
        loss = 2 + 5 * math.exp(-step / 20)
        session.emit(Step(step=step, loss=loss, lr=0.01, grad_norm=1.0, tokens=512 * step, step_s=max(STEP_S, 1e-3)))
        if step % int(os.environ.get("FAKE_SAVE_EVERY", "10")) == 0:
            session.emit(Eval(step=step, loss=loss + 0.1, perplexity=math.exp(loss), tokens=100, best=True))
            save(step, asked=bool(session.stop_requested or session.save_requested()))
        elif session.stop_requested or session.save_requested():
            save(step)
        if session.blocked:
            session.hold(f"{session.blocked.reason}.", "Raise it.", can_write)
        if session.pause_requested and not session.stop_requested:
            session.say("pausing")
            save(step)
            session.hold("asked to pause")
        if session.stop_requested:
            return "stopped"
    session.emit(Sample(step=steps, prompt="Once upon a time", text=", there\x07 was a fox."))
    return "completed"


def generate() -> int:
    """Stand in for the writer: says back, word by word, what it was asked."""
    request = json.loads(sys.stdin.buffer.read())

    def say(**line: Any) -> None:
        print(json.dumps(line), flush=True)

    if FAIL == "generate":
        say(error="The checkpoint is cut.", hint="Name another.", exit=1)
        return 1
    if FAIL == "generate-vanish" and request["checkpoint"].endswith("30"):
        shutil.rmtree(request["checkpoint"])
        say(error="There is no model.", hint="", exit=1)
        return 1
    if FAIL == "endless":
        Path(request["checkpoint"]).with_name("child").write_text(str(os.getpid()))
        while True:
            time.sleep(1)
    if FAIL == "generate-crash":
        raise ZeroDivisionError
    say(ready=True, seed=7, unknown=["\x07", "é"] if "é" in request.get("prompt", "") else [])
    figures = f" T={request['temperature']:g}", f" k={request['top_k']}\n"
    for sample in range(request["num_samples"]):
        for word in (" and\u200b", " then \x1b[31m", *figures, *request["stop"]):
            say(sample=sample, text=word)
            time.sleep(STEP_S)
        say(sample=sample, done=True, finish="length", tokens=4, seed=7 + sample, elapsed_s=0.5)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["generate"], ["score"]):
        sys.exit(generate())
    pacing.install()
    sys.exit(main(kinds={"train": "__main__:run"}))
