"""`seedbed simulate --rehearse`: inject the incidents of a simulated run into a small real run, and report what they cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from seedbed import actions, text
from seedbed.actions import rehearsing
from seedbed.actions.rehearsing import Comparison, Interrupted, Outcome, Watched
from seedbed.cli.console import fitted, note, paint, print_error, say, say_json, set_temporary_line, table
from seedbed.cli.follow import Signals
from seedbed.cli.store_option import run_argument
from seedbed.errors import EXIT_FAILURE, EXIT_INTERRUPTED, SeedbedError, UsageError
from seedbed.presentation.rehearsal import (
    PLAN_HEADER,
    REPORT_HEADER,
    Report,
    difference,
    incidents,
    is_failure,
    plan_rows,
    plan_sentences,
    report_rows,
    report_sentences,
    result,
)
from seedbed.simulate import rehearsal
from seedbed.simulate.rehearsal import FAULTS, Measured, Prediction, Shrunk

if TYPE_CHECKING:
    from seedbed.config.resolving import Resolved
    from seedbed.config.schema import Config
    from seedbed.config.simulation import Simulation
    from seedbed.simulate.cluster_run import ClusterRun

STEPS = 120
_MOST_INCIDENTS = 100
SMALL = (
    "train.device=cpu",
    "train.precision=fp32",
    "train.compile=off",
    "train.threads=1",
    "train.batch_size=4",
    "train.eval_every=0",
    "train.sample_prompts=[]",
)
"""Values of the real run that replace the preset's: a small run that repeats bit for bit. --rehearse-set changes them."""
_SMALL_DATA = "data.stories=2000"
_STEPS_HINT = "Use --rehearse-steps."
_OURS = {
    "train.steps": _STEPS_HINT,
    "train.epochs": _STEPS_HINT,
    "train.tokens": _STEPS_HINT,
    "train.time": _STEPS_HINT,
    "train.size": "Use --preset, or set the size with keys such as model.layers.",
    "train.early_stop": "A rehearsal trains all its steps: leave it out.",
    "train.checkpoint_every": "Use --rehearse-steps and --incidents, which decide it.",
}
"""Keys that --rehearse-set may not set because they decide when the real run ends or saves, and what to do instead."""


def rehearse(arguments: argparse.Namespace, wanted_simulation: Resolved[Simulation]) -> int:
    """Simulate, train undisturbed, train with incidents, report; returns the exit status."""
    from seedbed.simulate.configured import scenario_from

    if arguments.background:
        raise UsageError(
            "A rehearsal acts on its run while it trains, so it cannot work in the background.",
            "Leave out --background.",
        )
    if wanted_simulation.origins["playback.speed"] in ("--speed", "--set"):
        raise UsageError(
            "A rehearsal does not play its simulation, so its speed has no effect.",
            f"Leave out {'--speed' if arguments.speed is not None else '--set playback.speed'}.",
        )
    steps = _whole_number(arguments.rehearse_steps, "--rehearse-steps", STEPS, 10_000_000)
    most = _whole_number(arguments.incidents, "--incidents", 0, _MOST_INCIDENTS) or None
    also = _faults(arguments.inject)
    scenario = scenario_from(wanted_simulation.config)
    cluster = rehearsal.simulated(scenario)
    shrunk = rehearsal.shrink(cluster.trace, scenario, steps, most=most, also=also)
    wanted = _real_config(arguments, shrunk)
    stream = sys.stderr if arguments.json else sys.stdout

    def tell(line: str) -> None:
        say(line, stream)
        stream.flush()

    for line in _plan(cluster, shrunk):
        tell(line)
    with Signals() as signals:
        return _Rehearsal(arguments, wanted, shrunk, signals, tell).run()


class _Rehearsal:
    """The two real runs of a rehearsal, and their report."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        wanted: Resolved[Config],
        shrunk: Shrunk,
        signals: Signals,
        tell: Callable[[str], None],
    ) -> None:
        self._arguments, self._wanted, self._shrunk = arguments, wanted, shrunk
        self._signals, self._tell = signals, tell
        self._store = actions.store(arguments.runs)
        self._name = arguments.name or "rehearsal"
        self._outcomes: list[Outcome] = []
        self._problem: SeedbedError | None = None

    def run(self) -> int:
        """Train both runs; returns the exit status."""
        runs: list[Watched] = []
        try:
            undisturbed = self._watch(rehearsing.start_undisturbed, f"{self._name}-undisturbed", runs)
            rehearsing.train_to_the_end(undisturbed)
            measured = rehearsing.measure(undisturbed)
            prediction = rehearsal.predict(self._shrunk, measured)
            self._tell(
                f"Undisturbed, a step takes {measured.step_s:.3g} s, a checkpoint {measured.write_s:.2g} s, and a start"
                f" {measured.start_s:.2g} s."
            )
            disturbed = self._watch(rehearsing.start_disturbed, self._name, runs)
            try:
                self._disturb(disturbed, measured)
                comparison = rehearsing.compare(disturbed, undisturbed, self._shrunk.steps)
            except SeedbedError as error:
                self._problem, comparison = error, None
                disturbed.close(self._leaves)
        except Interrupted:
            return self._interrupted(runs)
        except BaseException:
            for each in runs:
                each.close(self._leaves)
            raise
        finally:
            set_temporary_line()
        return self._report(undisturbed, disturbed, measured, prediction, comparison)

    def _watch(self, start: Callable[..., actions.Launch], name: str, runs: list[Watched]) -> Watched:
        launch = start(self._store, self._wanted, name, sys.argv)
        shown = launch.run.name()
        self._tell("")
        self._tell(f'Training "{shown}" in {text.printable(str(launch.run.path))}')
        watched = Watched(
            launch,
            lambda: self._signals.count > 0 or self._signals.hung_up,
            lambda line: set_temporary_line(f"{shown}: {line}"),
        )
        runs.append(watched)
        return watched

    def _disturb(self, disturbed: Watched, measured: Measured) -> None:
        for number, injection in enumerate(self._shrunk.injections, 1):
            outcome = rehearsing.inject(disturbed, injection, self._shrunk, measured)
            self._outcomes.append(outcome)
            back = f"went back to step {outcome.went_back_to} and " if outcome.lost_steps else ""
            set_temporary_line()
            self._tell(
                f"{number}. {injection.fault} at step {outcome.step}: the run {back}continued;"
                f" {text.plural(outcome.lost_steps, 'step')} and {outcome.lost_s:.1f} s lost."
            )
        rehearsing.train_to_the_end(disturbed)

    def _leaves(self) -> bool:
        return self._signals.count > 1

    def _interrupted(self, runs: Sequence[Watched]) -> int:
        for each in runs:
            if each.launch.process.poll() is None:
                note("Stopping: the run saves. Press Ctrl-C again to return while it stops in the background.")
            each.close(self._leaves)
        note("The rehearsal was stopped.")
        if runs:
            note(f"Delete its runs: seedbed delete {' '.join(run_argument(each.run) for each in runs)}")
        return EXIT_INTERRUPTED

    def _report(
        self,
        undisturbed: Watched,
        disturbed: Watched,
        measured: Measured,
        prediction: Prediction,
        comparison: Comparison | None,
    ) -> int:
        useful_s = self._shrunk.steps * measured.step_s
        elapsed_s = max((disturbed.view.updated or 0.0) - disturbed.launched_at, measured.step_s)
        problem = self._problem or difference(comparison)
        report = Report(
            recovered=False if is_failure(problem) else None if problem else True,
            problem=problem.message if problem else "",
            undisturbed_run=undisturbed.run.id,
            disturbed_run=disturbed.run.id,
            steps=self._shrunk.steps,
            checkpoint_every=self._shrunk.every,
            measured=measured._asdict(),
            incidents=incidents(self._shrunk, prediction, self._outcomes, self._problem),
            final_step=disturbed.view.step,
            elapsed_s=elapsed_s,
            predicted_s=prediction.elapsed_s,
            goodput=min(useful_s / elapsed_s, 1.0),
            predicted_goodput=min(useful_s / prediction.elapsed_s, 1.0),
            comparison=comparison,
        )
        if self._arguments.json:
            say_json(msgspec.to_builtins(report))
        for line in _summary(report):
            self._tell(line)
        names = f"{run_argument(disturbed.run)} {run_argument(undisturbed.run)}"
        for line in ("", "Next:", f"  seedbed logs {names.split()[0]}", f"  seedbed delete {names}"):
            self._tell(line)
        if problem is not None:
            print_error(problem)
            return EXIT_FAILURE
        return 0


# Options -------------------------------------------------------------------------------------------------------------


def _whole_number(typed: str | None, option: str, default: int, most: int) -> int:
    if typed is None:
        return default
    if not typed.isdecimal() or not 1 <= int(typed) <= most:
        raise UsageError(f"{option} must be a whole number from 1 to {most:,}, not {text.quoted(typed)}.")
    return int(typed)


def _faults(typed: str | None) -> tuple[rehearsal.Fault, ...]:
    """The faults that --inject names."""
    from seedbed.config.spelling import did_you_mean, nearest

    if typed is None:
        return ()
    if typed.strip() == "all":
        return FAULTS
    found = []
    for word in (each.strip() for each in typed.split(",")):
        known = [fault for fault in FAULTS if fault == word]
        if not known:
            hint = did_you_mean(nearest(word, FAULTS)) or f"Faults: {', '.join(FAULTS)}; or all."
            raise UsageError(f"--inject: unknown fault {text.quoted(word)}.", hint.strip())
        found += known
    return tuple(found)


def _real_config(arguments: argparse.Namespace, shrunk: Shrunk) -> Resolved[Config]:
    """The config of the real run."""
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN

    for each in arguments.rehearse_set:
        key = each.partition("=")[0].strip()
        if key in _OURS:
            raise UsageError(f"--rehearse-set cannot set {key} of a rehearsal.", _OURS[key])
    small = SMALL if arguments.train_data not in (None, "stories") else (*SMALL, _SMALL_DATA)
    return resolve(
        TRAIN,
        preset=arguments.train_preset,
        sets=(*small, *arguments.rehearse_set),
        sets_option="--rehearse-set",
        flags={
            "data.source": Flagged(arguments.train_data, "--data"),
            "train.steps": Flagged(shrunk.steps, "--rehearse-steps"),
            "train.checkpoint_every": shrunk.every,
            "train.early_stop": 0,
        },
    )


# Texts ---------------------------------------------------------------------------------------------------------------


def _plan(cluster: ClusterRun, shrunk: Shrunk) -> list[str]:
    """What was simulated, and what is injected where."""
    header, rows = list(PLAN_HEADER), plan_rows(shrunk)
    fitted(header, rows, [], spare=["AFTER", "STEP"], shorten="SIMULATED", least=12)
    return [*plan_sentences(cluster, shrunk), "", *table(rows, header, right=("", "AFTER", "STEP", "AT STEP"))]


def _summary(report: Report) -> list[str]:
    """The result as lines."""
    rows = report_rows(report)
    colours = {True: "green", False: "red", None: ""}
    styles = [[""] * 7 + [colours[each["recovered"]]] for each in report.incidents]
    costs = table(rows, REPORT_HEADER, right=("", *REPORT_HEADER[2:-1]), styles=styles)
    verdict, rest = result(report)
    ended = paint(verdict, "bold green" if report.recovered else "bold red") + rest
    return ["", *costs, "", *report_sentences(report), ended]
