"""Canaries: new sets get a share of their services' traffic, beside the old ones, and are compared with them.

All canaries of a release begin and end together, in one change of the switch. Nothing becomes active by them: the
records know nothing of shares, so whatever is killed meanwhile, the old sets are the active ones afterwards; a share
that a dead process left behind ends with the next activation of its service, or with its set. ``Trials`` decides and
has no clock of its own; ``Canarying`` moves the traffic around it. Next: ``judging``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bennu.engine.actions import Receipt, Trial, TryCanaries
from bennu.engine.base import Report
from bennu.engine.embedded.judging import LEAST_ANSWERS, described, refusal
from bennu.engine.embedded.measuring import Measurement
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.embedded.wellness import Wellness
from bennu.engine.sets import SetId, SetSpec
from bennu.errors import Failed
from bennu.switch.meter import Figures

POLL_SECONDS: Final = 0.25
TELL_SECONDS: Final = 5.0
HINT: Final = "nothing has been switched; all traffic is with the old set again"


class Trials:
    """The trials of one action, from now (``now`` seconds on any steady clock) until each has had its time.

    ``figures`` gives what a set has answered since the beginning.
    """

    def __init__(self, trials: Sequence[Trial], figures: Callable[[SetId], Figures], now: float) -> None:
        self._trials = tuple(trials)
        self._figures = figures
        self._began = now
        self._open = {trial.set for trial in trials}
        self.notes: dict[SetId, str] = {}

    def look(self, now: float) -> float:
        """Judge all that are not over; the seconds until the last one is. ``Failed`` for one that is no good."""
        for trial in self._trials:
            left = self._began + trial.canary.seconds - now
            if trial.set in self._open:
                self._judge(trial, final=left <= 0)
                if left <= 0:
                    self._open.discard(trial.set)
                    self._conclude(trial)
        ends = [self._began + trial.canary.seconds for trial in self._trials if trial.set in self._open]
        return max(ends, default=now) - now

    def told(self) -> str:
        """How all stand, in one line."""
        lines = []
        for trial in self._trials:
            new, old = self._figures(trial.set), self._figures(trial.old)
            whose = f"{trial.set}: " if len(self._trials) > 1 else ""
            lines.append(f"{whose}{trial.canary.percent}%: {described(new)}; the old set: {described(old)}")
        return "; ".join(lines)

    def ended(self) -> list[str]:
        """What each came to."""
        found = {trial.set: self.notes.get(trial.set) or described(self._figures(trial.set)) for trial in self._trials}
        return list(found.values()) if len(found) == 1 else [f"{name}: {said}" for name, said in found.items()]

    def _judge(self, trial: Trial, *, final: bool) -> None:
        new, old = self._figures(trial.set), self._figures(trial.old)
        reason = refusal(trial.canary.limits, new, old, final=final)
        if reason is not None:
            raise Failed(f"canary {trial.set} with {trial.canary.percent}% of the traffic: {reason}", HINT)

    def _conclude(self, trial: Trial) -> None:
        answers, wanted = self._figures(trial.set).answers, trial.canary.min_requests
        said = f"only {answers} {'request' if answers == 1 else 'requests'} in {trial.canary.seconds:g} s"
        if wanted is not None and answers < wanted:
            raise Failed(f"canary {trial.set}: {said}, and min_requests asks for {wanted}", HINT)
        if answers < LEAST_ANSWERS:
            self.notes[trial.set] = f"{said}, too few to tell"


class Canarying:
    """Carries out the canaries of one root's projects."""

    def __init__(self, traffic: Traffic, wellness: Callable[[SetSpec, str], Wellness]) -> None:
        self._traffic = traffic
        self._wellness = wellness

    def run(
        self, action: TryCanaries, specs: Mapping[SetId, SetSpec], report: Report, cancel: threading.Event
    ) -> Receipt:
        """Try all sets together. ``Failed`` with what is wrong, when the traffic is back; ``Conflict``."""
        served = [trial for trial in action.trials if self._traffic.is_switched(specs[trial.set])]
        without = [f"{trial.set} has no port that can be shared" for trial in action.trials if trial not in served]
        if not served:
            return Receipt(summary=", ".join(without))
        try:
            self._traffic.share(action.project, [(specs[t.set], t.old, t.canary.percent) for t in served])
            trials, measured = self._watch(action.project, served, specs, report, cancel)
        except BaseException:
            self._traffic.end_shares(action.project)
            raise
        figures = {f"{trial.set} answers": float(measured.figures(trial.set).answers) for trial in served}
        return Receipt(summary=", ".join([*trials.ended(), *without]), figures=figures)

    def _watch(
        self,
        project: str,
        served: Sequence[Trial],
        specs: Mapping[SetId, SetSpec],
        report: Report,
        cancel: threading.Event,
    ) -> tuple[Trials, Measurement]:
        well = [self._wellness(specs[trial.set], "as a canary") for trial in served]
        measured = Measurement(self._traffic.switch(project).measure)
        told = time.monotonic()
        trials = Trials(served, measured.figures, told)
        while True:
            measured.take()
            left = trials.look(time.monotonic())
            for one in well:
                one.check()
            if left <= 0:
                return trials, measured
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                report(trials.told())
            if cancel.wait(min(left, POLL_SECONDS)):
                raise Failed("cancelled", status=137)
