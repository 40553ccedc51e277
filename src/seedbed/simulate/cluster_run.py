"""A whole training run on a cluster as a discrete-event simulation: yields the events that a real run would log.

Between two incidents training is computed in closed form, so the cost grows with failures, checkpoints and logged steps,
and neither with GPUs nor with all steps. Everything random is a pure function of the seed: the same scenario always
yields the same events.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator

from seedbed import text
from seedbed.errors import SeedbedError
from seedbed.events import Checkpoint, Eval, Event, Message, Node, Phase, Step
from seedbed.simulate.account import Account, summary
from seedbed.simulate.failures import JOB, Failure
from seedbed.simulate.incidents import CORRUPTION, MAINTENANCE, SLOW, SLOW_FOUND, Incidents, Mild
from seedbed.simulate.loss import LONGEST_LEAD, Spike
from seedbed.simulate.nodes import Coming, Nodes
from seedbed.simulate.saves import Saved, Saves
from seedbed.simulate.scenario import Scenario
from seedbed.simulate.step_clock import LoggedSteps, Span, StepClock
from seedbed.simulate.telemetry import Telemetry, significant, step_metrics
from seedbed.simulate.trace import Happening, Interruption

Timed = tuple[float, Event]
"""An event and its time in seconds since the run began."""
Attempt = Generator[Timed, None, Failure | None]
"""Yields events; returns the failure that interrupted what was attempted, or None if it was done."""

DETAIL_STEPS = 12
"""Steps before an incident and after a restart that are all logged."""
_TELEMETRY_EVERY = 20
"""Logged steps between two samples of the hardware and the collectives."""
_DIVERGENCE_SEEN_STEPS = 8
"""Steps after which a diverging loss is noticed. Assumed."""
_SPARE_CHECK_S = 1800.0
"""Seconds after which a slow node that could not be replaced is looked at again. Assumed."""
_LONGEST_FACTOR, _LONGEST_EXTRA_S = 50, 20 * 86_400.0
"""A run that takes longer than this many times its training, plus these seconds, makes no progress."""
_NAMED_NODES = 64
"""Largest cluster whose nodes each get an event when they join."""


class ClusterRun:
    """Simulates one scenario. Call `events` once; `account`, `trace`, `t` and `step` describe the run so far.

    `incidents`: what interrupts the run; by default, it is drawn at random, at the scenario's rates.
    """

    def __init__(self, scenario: Scenario, incidents: Incidents | None = None) -> None:
        self.scenario = scenario
        self.account = Account()
        self.trace: list[Interruption] = []
        self.t = 0.0
        """Seconds since the run began."""
        self.step = 0
        """The last step that is trained."""
        self._curve = scenario.loss_curve()
        self._spikes = list(self._curve.spikes())
        self._skipped: set[int] = set()
        self._clock = StepClock(scenario.seed, scenario.step_s, scenario.step_noise, scenario.day_wave)
        self._logged = LoggedSteps(scenario.steps, scenario.log_points, self._spikes)
        self._telemetry = Telemetry(scenario)
        self._nodes = Nodes(scenario.nodes, scenario.spare_nodes)
        self._incidents = incidents or Incidents(scenario.reliability, scenario.nodes, scenario.seed)
        self._every = scenario.interval_steps()
        # A divergence is noticed late, so of frequent checkpoints more are kept: one from before the spike is among them.
        kept = max(scenario.keep_last, 1 + math.ceil((_DIVERGENCE_SEEN_STEPS + LONGEST_LEAD + 1) / self._every))
        self._saves = Saves(kept, scenario.steps // self._every)
        self._coming: dict[int, Coming] = {}
        """The nodes that the job waits for, by slot."""
        self._slow: set[int] = set()
        """The slots of the job whose nodes are slow."""
        self._corrupted: Mild | None = None
        self._bests: list[tuple[int, float]] = []
        """(step, loss) of the validations that were the best when they were made."""
        self._detail_until = DETAIL_STEPS
        self._first_extra_s = 0.0
        """By how much the first step after a start is longer."""
        self._logged_count = 0

    def events(self) -> Iterator[Timed]:
        """Simulate the run: yield every event with its time in seconds, in order."""
        for t, event in self._everything():
            for at, saved in self._saves.completed(t):
                yield round(at, 6), saved
            yield round(t, 6), event

    def _everything(self) -> Iterator[Timed]:
        yield from self._begin()
        while self.step < self.scenario.steps:
            yield from self._continue()
        goodput = significant(self.scenario.goodput(self.step, self.t))
        yield self._now(Phase(name="train", done=True, step=self.step, metrics={"goodput": goodput}))
        last = self._curve.at(self.step, self._skipped).loss
        for line in summary(self.scenario, self.account, self.t, last, self._curve):
            yield self._now(Message(level="info", code="summary", text=line))

    def _begin(self) -> Iterator[Timed]:
        given = self.scenario
        yield self._now(Phase(name="init"))
        for node in range(given.nodes if given.nodes <= _NAMED_NODES else 0):
            yield self._now(Node(node=node, state="joined"))
        spares = f"; {text.plural(given.spare_nodes, 'spare node')}" if given.spare_nodes else ""
        layout = f", {given.layout}" if given.layout else ""
        joined = f"{text.plural(given.nodes, 'node')} with {given.gpus:,} x {given.gpu} joined{layout}{spares}."
        yield self._now(Message(level="info", code="cluster", text=joined))
        yield self._now(self._telemetry.idle(self.t))
        failure = yield from self._start((), load=False)
        yield self._now(Phase(name="init", done=True, elapsed_s=significant(self.t)))
        yield self._now(Phase(name="train", step=0))
        if failure is not None:
            yield from self._recover(failure, self._saves.newest(failure.t))

    # Training --------------------------------------------------------------------------------------------------------

    def _continue(self) -> Iterator[Timed]:
        """Handle the incident that is due; or train until the next one, checkpoint, validation, divergence or end."""
        self._refuse_standstill()
        if self._incidents.mild_t <= self.t:
            yield from self._handle(self._incidents.take_mild())
            return
        slow = self.scenario.reliability.slow_factor if self._slow else 1.0
        span = Span(self._clock, self.t, self.step, slow, self._first_extra_s)
        stop, spike = self._next_stop()
        reached = stop
        if self._incidents.mild_t < span.ends(stop):
            reached = min(span.last_by(self._incidents.mild_t, stop) + 1, stop)
        failure, now = self._incidents.failure, span.ends(reached)
        if failure is not None and failure.t < now:
            reached, now = span.last_by(failure.t, reached), max(failure.t, self.t)
            self._incidents.take_failure()
        else:
            failure = None
        detailed = (
            failure is not None
            or spike is not None
            or self._corrupted is not None
            or self._incidents.next_t - now < DETAIL_STEPS * self.scenario.step_s
        )
        yield from self._log_steps(span, reached, detailed=detailed)
        self.account.training_s += now - self.t
        self.t, self.step, self._first_extra_s = now, reached, 0.0
        if failure is not None:
            yield from self._recover(failure, self._saves.newest(failure.t))
        elif reached == stop:
            yield from self._stop_at(spike)

    def _next_stop(self) -> tuple[int, Spike | None]:
        """The next step after which something is planned, and the diverging spike that is noticed there, if any."""
        given = self.scenario
        stop = min(given.steps, (self.step // self._every + 1) * self._every)
        if given.eval_every:
            stop = min(stop, (self.step // given.eval_every + 1) * given.eval_every)
        for spike in self._spikes:
            noticed = spike.step + _DIVERGENCE_SEEN_STEPS
            if spike.diverges and spike.step not in self._skipped and self.step < noticed <= stop:
                return noticed, spike
        return stop, None

    def _log_steps(self, span: Span, reached: int, *, detailed: bool) -> Iterator[Timed]:
        wanted = set(self._logged.between(span.step, reached))
        wanted.update(range(span.step + 1, min(self._detail_until, reached) + 1))
        if detailed:
            wanted.update(range(max(span.step, reached - DETAIL_STEPS) + 1, reached + 1))
        if self._validates(reached) and reached > span.step:
            wanted.add(reached)
        given = self.scenario
        for step in sorted(wanted):
            t = span.ends(step)
            values = self._curve.at(step, self._skipped)
            step_s = t - span.ends(step - 1)
            yield (
                t,
                Step(
                    step=step,
                    loss=math.floor(values.loss * 1e6) / 1e6,  # at most ln(vocabulary), also when rounded
                    lr=significant(values.lr),
                    grad_norm=significant(values.grad_norm),
                    tokens=step * given.tokens_per_step,
                    step_s=significant(step_s, 9),
                    processed=given.tokens_per_step,
                    metrics=step_metrics(given, step_s, given.goodput(step, t), self.account.failures),
                ),
            )
            if self._logged_count % _TELEMETRY_EVERY == 0:
                for event in self._telemetry.training(step, t):
                    yield t, event
            self._logged_count += 1

    # Planned stops ---------------------------------------------------------------------------------------------------

    def _stop_at(self, spike: Spike | None) -> Iterator[Timed]:
        """Do what is planned after the step that was reached."""
        if spike is not None:
            yield from self._skip_data(spike)
            return
        failure = None
        if self._validates(self.step):
            failure = yield from self._validate()
        if failure is None and (self.step % self._every == 0 or self.step == self.scenario.steps):
            self._corrupted = self._corrupted or self._incidents.take_corruption(self.t)
            if self._corrupted is not None:
                yield from self._find_corruption(self._corrupted)
                return
            failure = self._save(wait=self.step == self.scenario.steps)
        if failure is not None:
            yield from self._recover(failure, self._saves.newest(failure.t))

    def _validates(self, step: int) -> bool:
        every = self.scenario.eval_every
        return step == self.scenario.steps or bool(every and step and step % every == 0)

    def _validate(self) -> Attempt:
        given = self.scenario
        yield self._now(Phase(name="evaluate", step=self.step))
        failure = self._pass("evaluation_s", given.eval_s)
        if failure is None:
            number = self.step // given.eval_every if given.eval_every else 0
            loss = math.floor(self._curve.validation(self.step, number) * 1e6) / 1e6
            best = not self._bests or loss < self._bests[-1][1]
            if best:
                self._bests.append((self.step, loss))
            yield self._now(
                Eval(
                    step=self.step,
                    loss=loss,
                    perplexity=significant(math.exp(loss), 9),
                    tokens=given.eval_tokens,
                    best=best,
                    elapsed_s=significant(given.eval_s),
                )
            )
        yield self._now(Phase(name="evaluate", done=True, step=self.step))
        return failure

    def _save(self, *, wait: bool) -> Failure | None:
        """Save a checkpoint; with `wait`, training continues only when it is complete."""
        given = self.scenario
        seconds = given.checkpoint_blocking_s + (given.checkpoint_write_s if wait else 0.0)
        failure = self._pass("checkpoint_s", seconds)
        if failure is not None:
            return failure
        complete_at = self.t + (0.0 if wait else given.checkpoint_write_s)
        event = Checkpoint(
            step=self.step,
            path=f"checkpoints/step-{self.step:08d}",
            size_bytes=given.checkpoint_bytes,
            stall_s=significant(seconds),
            write_s=significant(given.checkpoint_write_s),
            best=bool(self._bests) and self._bests[-1][0] == self.step,
        )
        saved = Saved(self.step, complete_at, self.account.training_s)
        soon = self._incidents.next_t - complete_at < 2.5 * self._every * given.step_s
        self._saves.add(saved, event, self.t, announce=wait or soon)
        return None

    def _skip_data(self, spike: Spike) -> Iterator[Timed]:
        """Go back to before a spike from which the loss does not recover, and leave out the data that caused it."""
        self.account.rollbacks += 1
        self._skipped.add(spike.step)
        yield self._warn(
            "diverged", f"The loss diverged at step {spike.step}.", "Training skips the data of this step."
        )
        target = self._saves.newest(self.t, before=spike.step - spike.lead)
        failure = yield from self._restart((), load=target.step > 0)
        if failure is not None:
            yield from self._recover(failure, target)
        else:
            yield from self._go_back(target)

    # Incidents -------------------------------------------------------------------------------------------------------

    def _handle(self, mild: Mild) -> Iterator[Timed]:
        node = self._nodes.at(mild.slot)
        if mild.kind == SLOW:
            self._note("slow", "a slow node")
            self._slow.add(mild.slot)
        elif mild.kind == CORRUPTION:
            self._corrupted = self._corrupted or mild
        elif mild.kind == MAINTENANCE:
            text_of = f"Maintenance of node {node}: the run saves and restarts without it."
            yield self._now(Message(level="info", code="maintenance", text=text_of, step=self.step))
            self._note("maintenance", "maintenance")
            yield from self._replace_planned(mild, "maintenance", self.scenario.reliability.maintenance_s)
        elif mild.kind == SLOW_FOUND and mild.slot in self._slow:
            if not self._nodes.has_spare(self.t):  # a slow node is better than none
                self._incidents.postpone(mild, self.t + _SPARE_CHECK_S)
                return
            percent = 100 * (self.scenario.reliability.slow_factor - 1)
            yield self._warn("slow-node", f"Node {node} makes every step {percent:.0f} % longer; it is replaced.")
            self._note("replacement", "replacement of a slow node")
            yield from self._replace_planned(mild, "slow", self._incidents.repair_s(mild.order))

    def _replace_planned(self, mild: Mild, reason: str, away_s: float) -> Iterator[Timed]:
        """Save, and restart with another node in this slot. No work is lost unless something fails meanwhile."""
        self._corrupted = self._corrupted or self._incidents.take_corruption(self.t)
        if self._corrupted is not None:
            yield from self._find_corruption(self._corrupted)
            return
        self.account.planned += 1
        failure = self._save(wait=True)
        if failure is None:
            yield self._now(Node(node=self._nodes.at(mild.slot), state="left", reason=reason))
            failure = yield from self._restart([(mild.slot, away_s)], load=True)
        if failure is not None:
            yield from self._recover(failure, self._saves.newest(failure.t))

    def _find_corruption(self, mild: Mild) -> Iterator[Timed]:
        """Notice wrong numbers before a checkpoint, and go back to the last one, which passed the same check."""
        if mild.failure is not None:
            yield from self._recover(mild.failure._replace(t=self.t), self._saves.newest(self.t))

    def _recover(self, failure: Failure, target: Saved) -> Iterator[Timed]:
        """Notice a failure, replace what failed, restart, and continue from the checkpoint `target`.

        What fails until then is replaced with it.
        """
        self._saves.abandon(failure.t)
        following: Failure | None = failure
        while following is not None:
            self._refuse_standstill()
            if following.component.shows == "timeout":
                yield self._now(self._telemetry.hanging(self.t))
            noticed = self.t + following.detection_s
            together = [following, *self._incidents.failing_until(noticed)]
            self.account.detection_s += following.detection_s
            self.t = noticed
            away = []
            for each in together:
                yield from self._report(each)
                if each.component.replaces_node:
                    away.append((each.slot, self._incidents.repair_s(10**9 + self.account.failures)))
            following = yield from self._restart(away, load=target.step > 0)
        yield from self._go_back(target)

    def _report(self, failure: Failure) -> Iterator[Timed]:
        component, node = failure.component, self._nodes.at(failure.slot)
        self.account.count(component.name)
        self.trace.append(Interruption(failure.t, self.step, component.shows, component.title, component.name))
        if component.replaces_node:
            yield self._now(Node(node=node, state="failed", reason=component.title))
        where = "" if component.name == JOB else f" at node {node}"
        shows = {
            "crash": f"noticed after {failure.detection_s:.0f} s",
            "timeout": f"NCCL timed out after {failure.detection_s:.0f} s",
            "save": "found by the check before the checkpoint",
        }[component.shows]
        yield self._warn("failure", f"Failure of {component.title}{where}: {shows}.")

    def _go_back(self, target: Saved) -> Iterator[Timed]:
        """Continue from a checkpoint: what was trained after it is lost."""
        account, steps = self.account, self.step - target.step
        account.lost_s += account.training_s - target.training_s
        account.lost_steps += steps
        account.training_s = target.training_s
        self.step, self._detail_until = target.step, target.step + DETAIL_STEPS
        self._corrupted = None
        self._bests = [each for each in self._bests if each[0] <= target.step]
        self._saves.go_back(target.step)
        again = f" {text.plural(steps, 'step', f'{steps:,}')} must be trained again." if steps else ""
        words = f"Continuing from step {target.step:,}.{again}"
        yield self._now(Message(level="info", code="rollback", text=words, step=target.step))

    # Starting --------------------------------------------------------------------------------------------------------

    def _restart(self, away: Iterable[tuple[int, float]], *, load: bool) -> Attempt:
        """Start the job again; see `_start`."""
        begun = self.t
        yield self._now(Phase(name="restart", step=self.step))
        failure = yield from self._start(away, load=load)
        yield self._now(Phase(name="restart", done=True, step=self.step, elapsed_s=significant(self.t - begun)))
        return failure

    def _start(self, away: Iterable[tuple[int, float]], *, load: bool) -> Attempt:
        """Replace nodes, start the processes and NCCL, and read the checkpoint.

        `away`: the slots whose nodes leave, and for how many seconds.
        """
        given = self.scenario
        for slot, seconds in away:
            if slot not in self._coming:
                left = self._nodes.at(slot)
                other = self._nodes.replace(slot, self.t, self.t + seconds)
                ready_at = self.t + given.reliability.evict_s + other.wait_s
                self._coming[slot] = Coming(ready_at, other.node, left, slot)
                self._slow.discard(slot)
        for each in sorted(self._coming.values()):
            failure = self._pass("replacement_s", max(each.at - self.t, 0.0))
            if failure is not None:
                return failure
            del self._coming[each.slot]
            yield self._now(Node(node=each.node, state="joined", reason=f"replaces node {each.replaces}"))
        seconds = given.reliability.init_s(given.gpus) + (given.load_s if load else 0.0)
        self._first_extra_s = given.step_s
        self._detail_until = self.step + DETAIL_STEPS
        return self._pass("restart_s", seconds)

    def _pass(self, category: str, seconds: float) -> Failure | None:
        """Let seconds pass; if something fails meanwhile, only until then, and return the failure."""
        failure = self._incidents.failure
        if failure is not None and failure.t < self.t + seconds:
            self._incidents.take_failure()
            seconds = max(failure.t - self.t, 0.0)
        else:
            failure = None
        self.account.spend(category, seconds)
        self.t += seconds
        return failure

    def _refuse_standstill(self) -> None:
        """Raise SeedbedError if the run makes no progress."""
        if self.t > _LONGEST_FACTOR * self.scenario.steps * self.scenario.step_s + _LONGEST_EXTRA_S:
            raise SeedbedError(
                f"The simulated run makes no progress: after {text.duration(self.t)} it is at step {self.step:,} of"
                f" {self.scenario.steps:,}, because nodes fail faster than the run recovers.",
                "Lower the failure rates, or use fewer nodes, more spare nodes, or a shorter checkpoint interval.",
            )

    def _note(self, happening: Happening, title: str) -> None:
        self.trace.append(Interruption(self.t, self.step, happening, title))

    def _now(self, event: Event) -> Timed:
        return self.t, event

    def _warn(self, code: str, words: str, hint: str = "") -> Timed:
        return self._now(Message(level="warning", code=code, text=words, hint=hint, step=self.step))
