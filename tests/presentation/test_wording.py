"""The wording about a run, in every phase of its job."""

from __future__ import annotations

import msgspec
import pytest

from seedbed.events import Eval, Event, Phase, Run, Step, encode
from seedbed.presentation.wording import after_a_stop, pause_or_resume, progress, score, until_it_pauses, until_it_stops
from seedbed.runs.log import Reader
from seedbed.runs.store import Store
from seedbed.runs.view import View

BEGUN = Run(status="running", session=1, pid=7)
READY = Run(status="running", session=1, step=0, steps=9)
STEP = Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=9, step_s=12.0)


def view_after(store: Store, events: list[Event]) -> View:
    """The view of a run after these events."""
    run = store.create("train", "it", "", {})
    run.events.write_bytes(b"".join(encode(event, n, 1e9 + n) for n, event in enumerate(events)))
    view = View()
    for record in Reader(run.events).new():
        view.add(record)
    return view


@pytest.mark.parametrize(
    ("tokens", "full", "said"), [(1, True, "over 1 token"), (2, True, "over all 2 tokens"), (2, False, "over 2 tokens")]
)
def test_a_validation_says_over_how_many_tokens_it_is(tokens: int, full: bool, said: str) -> None:
    assert score(Eval(step=1, loss=1.0, perplexity=2.7, tokens=tokens, full=full)).endswith(said)


def test_the_number_of_steps_is_marked_while_a_time_still_decides_on_it(store: Store) -> None:
    timed = msgspec.structs.replace(READY, time_s=60.0, decay_from=-1)
    settled = Run(status="running", session=1, settled_steps=8, time_s=60.0, decay_from=5)
    ended = Run(status="stopped", session=1, step=1)
    for events, shown in (
        ([BEGUN, READY, STEP], "step 1/9  "),
        ([BEGUN, timed, STEP], "step 1/~9  "),
        ([BEGUN, timed, STEP, settled], "step 1/8  "),
        ([BEGUN, timed, STEP, ended], "step 1/9  "),
        ([BEGUN, timed, STEP, msgspec.structs.replace(READY, time_s=0.0)], "step 0/9"),
    ):
        assert progress(view_after(store, events)).startswith(shown), events


@pytest.mark.parametrize(
    ("events", "stops", "pauses"),
    [
        ([BEGUN], "has not begun to train, and ends", "has not begun to train, and pauses"),
        ([BEGUN, Phase(name="prepare")], "the preparation of the data", "the preparation of the data"),
        ([BEGUN, Phase(name="check")], "finishes the batch", "finishes the batch"),
        ([BEGUN, Phase(name="check"), Phase(name="compile")], "torch is compiling", "torch is compiling"),
        ([BEGUN, READY, Phase(name="train")], "finishes this step and saves", "finishes this step, saves"),
        ([BEGUN, READY, Phase(name="train"), STEP], "(a step takes 12s) and saves", "(a step takes 12s), saves"),
        (
            [BEGUN, READY, Phase(name="train"), STEP, Phase(name="evaluate")],
            "stops the validation",
            "interrupts the validation, saves",
        ),
        (
            [BEGUN, READY, Phase(name="train"), STEP, Phase(name="sample")],
            "stops the sample",
            "interrupts the sample, saves",
        ),
        ([BEGUN, Phase(name="score")], "keeps what is done, and ends", "finishes its batch, then pauses"),
        ([BEGUN, READY, STEP, Phase(name="save")], "ends when it has saved", "ends when it has saved"),
        (
            [BEGUN, msgspec.structs.replace(READY, simulated=True), STEP, Phase(name="restart")],
            "it ends in a moment",
            "it pauses in a moment",
        ),
        ([BEGUN, READY, Phase(name="train"), STEP, Run(status="paused", session=1, step=1)], "is paused, and ends", ""),
    ],
    ids=[
        "begun",
        "prepare",
        "check",
        "compile",
        "first step",
        "train",
        "evaluate",
        "sample",
        "score",
        "save",
        "simulated",
        "paused",
    ],
)
def test_the_text_about_a_stop_or_pause_request_fits_the_phase_of_the_job(
    store: Store, events: list[Event], stops: str, pauses: str
) -> None:
    view = view_after(store, events)
    assert stops in until_it_stops(view)
    assert pauses in until_it_pauses(view)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


def test_a_task_which_has_no_steps_is_not_resumed_at_one() -> None:
    assert pause_or_resume(Run(status="running", session=1)) == "resumed"
    assert pause_or_resume(Run(status="running", session=1, step=7)) == "resumed at step 7"


@pytest.mark.parametrize(
    ("status", "resumes"), [("stopped", True), ("lost", True), ("failed", True), ("completed", False)]
)
def test_a_resume_is_suggested_after_a_stop_where_it_works(status: str, resumes: bool) -> None:
    said = after_a_stop(status, "full")
    assert ("seedbed resume full" in said) == resumes
    assert resumes or "seedbed status full" in said
