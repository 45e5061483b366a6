"""Carrying a plan out: the deploy lock, the rollout driven over an engine, the history written. The only driver.

``Deployer`` owns no decision: ``plan`` says what changes, ``rollout`` in which order, the engine does it. Each
command of one answer runs in a thread of its own; the first Ctrl-C turns into ``Cancelled`` and reverts, the second
leaves at once and the next command takes the rollout up (``recover``). Hooks are called by ``news``.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from bennu import errors
from bennu.compose.struct import Value
from bennu.deploy import data
from bennu.deploy.failure_notes import notes
from bennu.deploy.history import History, Kind, Revision, RevisionState, Source, described
from bennu.deploy.measured import Measured
from bennu.deploy.planning import plan as planning
from bennu.deploy.planning.plan import Plan
from bennu.deploy.planning.replacing import Replacing, with_renewals
from bennu.deploy.policy import Policy
from bennu.deploy.release import Release
from bennu.deploy.rollout import Rollout
from bennu.deploy.states import SWITCHED, Cancelled, Command, Deadlines, Done, Failed, State
from bennu.deploy.telling.hooks import CallHooks
from bennu.deploy.telling.news import News
from bennu.deploy.turn import Turn
from bennu.digest import Digest, short
from bennu.engine.actions import Receipt, RenewReplica
from bennu.engine.base import Engine
from bennu.engine.sets import SetId
from bennu.errors import BennuError, Conflict, NotFound

PARALLEL: Final = 8
AGAIN: Final = "`bennu plan` shows what is to be done now"
NOTICE_SECONDS: Final = 0.5
"""A Ctrl-C in the instant before a wait begins is noticed when the wait ends: so waits are short."""


class Reporter(Protocol):
    """Who is told how a rollout goes. Called from the driver's thread, except ``progress``."""

    def state(self, state: State) -> None:
        """The rollout has entered a state that has something to do."""

    def progress(self, action: Command, line: str) -> None:
        """News of an action under way; called from that action's thread."""

    def done(self, action: Command, receipt: Receipt, seconds: float) -> None:
        """An action has been done."""

    def failed(self, action: Command, error: BennuError) -> None:
        """An action has failed."""

    def say(self, line: str) -> None:
        """One line for people."""


class Outcome(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How a rollout ended: the revision as it stands in the history now, and what went wrong after the commit."""

    revision: Revision
    state: str
    seconds: float
    notes: tuple[str, ...] = ()


class Deployer:
    """Plans and rollouts of one project on one engine."""

    def __init__(
        self,
        engine: Engine,
        history: History,
        locks_directory: Path,
        *,
        project: str,
        author: str,
        news: News | None = None,
        has_image: Callable[[Digest], bool] = lambda _image: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.history = history
        self.project = project
        self.author = author
        self._news = news
        self._has_image = has_image
        self._turn = Turn(locks_directory, project, author, clock)
        self._gave_way = False
        self._clock = clock

    @contextmanager
    def exclusive(
        self, reporter: Reporter, *, wait_seconds: float | None = 0, recover: bool = True, yields: bool = False
    ) -> Iterator[None]:
        """One deploy at a time for the project; ``Conflict`` names who is at it. The agent is waited for in any case.

        Takes up what a dead process left unfinished, unless ``recover`` is off because all of it is to go. ``yields``:
        what is rolled out within goes back as soon as somebody else waits, for what the agent does by itself.
        """
        with self._turn.taken(reporter.say, wait_seconds=wait_seconds, yields=yields):
            if recover:
                self._recover(reporter)
            yield

    @property
    def gave_way(self) -> bool:
        """The last rollout was taken back because somebody else waited."""
        return self._gave_way

    def plan(
        self,
        release: Release,
        *,
        generations: dict[str, int] | None = None,
        policy: Policy | None = None,
        replacing: Replacing | None = None,
        scope: str | None = None,
        restore: Mapping[str, str] | None = None,
    ) -> Plan:
        """What has to change so that ``release`` is what runs. ``policy``: that of its fleet file; None: as before.

        ``replacing``: what is made again though nothing differs. ``scope``: which services it is about, in words.
        ``restore`` (volume -> snapshot): data that go back, too.
        """
        observation = self.engine.observe(self.project)
        again = replacing or Replacing()
        fresh = {name: planning.next_generation(release, name, observation) for name in again.services}
        fresh |= planning.restoring(release, observation, restore) if restore else {}
        plan = planning.make(
            release,
            observation,
            revision=self.history.last_number(self.project),
            keep=self._keep(release),
            generations={**fresh, **(generations or {})},
            policy=policy or self.history.policy(self.project),
        )
        plan = msgspec.structs.replace(with_renewals(plan, again.replicas, observation), scope=scope)
        return self._with_data(plan, release, restore or {})

    def _with_data(self, plan: Plan, release: Release, restore: Mapping[str, str]) -> Plan:
        """The plan with what it does with data, if that is anything."""
        revisions = self.history.revisions(self.project)
        leaving = next((one for one in revisions if one.state in {"active", "ended"}), None)
        snapshots = self.engine.snapshots(self.project)
        names = data.snapshot_names(release, self.history.release(leaving.release) if leaving else None)
        if leaving is None or not (names or snapshots or restore):
            return plan
        kept = restore.values()
        costs = self.engine.assess([name for name in names if name not in restore]) if not plan.is_empty else ()
        part = data.Data(
            leaving=leaving.number,
            snapshots=data.planned(plan.changes, plan.waves, costs, restore),
            restore=dict(restore),
            quiesce=data.quiesces(plan.changes),
            forget=data.forgotten(snapshots, revisions, keep=release.keep, to=release.digest, restore=kept),
        )
        return planning.with_data(plan, part) if part.snapshots or part.restore or part.forget else plan

    def carry_out(
        self,
        plan: Plan,
        release: Release,
        reporter: Reporter,
        *,
        kind: Kind = "apply",
        origin: int | None = None,
        source: Source | None = None,
        deadlines: Deadlines | None = None,
    ) -> Outcome:
        """Do a plan, under the lock. ``Conflict`` if revision or observation have moved since it was made;
        ``NotFound`` for an image that has gone.

        Raises the error that made the rollout revert, after it has reverted. Replicas that are only made again in
        their set are no revision of their own.
        """
        self.check(plan)
        active = self.history.active(self.project)
        if plan.renew and plan.is_settled and active is not None and active.release == release.digest:
            started = time.monotonic()
            self._renew(plan, reporter, deadlines)
            return Outcome(revision=active, state=State.DONE.value, seconds=time.monotonic() - started)
        revision = self.history.begin(
            release, plan, kind=kind, origin=origin, author=self.author, now=self._clock(), source=source
        )
        rollout = Rollout(plan, deadlines)
        run = self._run(rollout, revision, reporter)
        run.drive(rollout.begin())
        self._gave_way = run.gave_way
        outcome = self._record(revision, rollout, run, reporter)
        self._renew(plan, reporter, deadlines)
        return outcome

    def _renew(self, plan: Plan, reporter: Reporter, deadlines: Deadlines | None) -> None:
        """Make single replicas again, one after the other; the first that does not become ready ends it."""
        limits = deadlines or Deadlines()
        for one in plan.renew:
            action = RenewReplica(
                set=one.set,
                index=one.index,
                drain_seconds=limits.drain_seconds,
                ready_seconds=limits.ready_seconds,
            )
            started = time.monotonic()
            try:
                receipt = self.engine.execute(action, partial(reporter.progress, action), threading.Event())
            except BennuError as error:
                reporter.failed(action, error)
                raise
            reporter.done(action, receipt, time.monotonic() - started)

    def _run(self, rollout: Rollout, revision: Revision, reporter: Reporter) -> _Run:
        def call(command: CallHooks, cancel: threading.Event) -> Receipt:
            if self._news is None:
                return Receipt(summary="nobody to call them")
            return self._news.step(command, rollout.plan, revision, cancel, reporter.say)

        return _Run(self.engine, rollout, reporter, call, self._turn)

    def _recover(self, reporter: Reporter) -> None:
        found = self.history.rolling(self.project)
        if found is None:
            return
        revision, plan = found
        reporter.say(f"revision {revision.number} was left unfinished by {revision.author}; taking it up")
        rollout, commands = Rollout.recover(plan, self.engine.observe(self.project))
        run = self._run(rollout, revision, reporter)
        run.drive(commands)
        state = _verdict(rollout)
        reason = run.reason or (None if state == "active" else "its process died before the switch")
        self._finish(revision, state, rollout, run, reason)
        error = None if state == "active" else errors.Failed(f"revision {revision.number} failed: {reason}")
        for line in self._tell(revision, rollout, run, error, reporter):
            reporter.say(f"warning: {line}")
        reporter.say(f"revision {revision.number} is {'active' if state == 'active' else 'reverted'}")

    def _record(self, revision: Revision, rollout: Rollout, run: _Run, reporter: Reporter) -> Outcome:
        state = _verdict(rollout)
        self._finish(revision, state, rollout, run, run.reason)
        error = None if state == "active" else run.error(rollout, revision)
        unheard = self._tell(revision, rollout, run, error, reporter)
        if error is not None:
            for line in unheard:
                reporter.say(f"warning: {line}")
            raise error
        return Outcome(
            revision=self.history.revision(self.project, revision.number),
            state=rollout.state.value,
            seconds=sum(run.phases.values()),
            notes=(*(note.reason for note in rollout.notes), *unheard),
        )

    def _finish(
        self, revision: Revision, state: RevisionState, rollout: Rollout, run: _Run, reason: str | None
    ) -> None:
        # what somebody interrupted or forbade, or a process that died took along, is no verdict on the release
        first = rollout.failures[0] if rollout.failures else None
        forbidden = isinstance(first, Failed) and isinstance(first.command, CallHooks)
        bad = state != "active" and isinstance(first, Failed) and not forbidden and not self._serves(revision)
        self.history.finish(
            revision, state, now=self._clock(), phases=run.phases, reason=reason, figures=run.figures.all, bad=bad
        )

    def _serves(self, revision: Revision) -> bool:
        """The same release has the traffic, in another revision: made again from scratch it failed, and yet serves."""
        active = self.history.active(self.project)
        return active is not None and active.release == revision.release

    def _tell(
        self, revision: Revision, rollout: Rollout, run: _Run, error: BennuError | None, reporter: Reporter
    ) -> tuple[str, ...]:
        """Tell the hooks how it ended; what could not be told. The verdict stands already."""
        if self._news is None:
            return ()
        back = "revert_switching" in run.phases if error else revision.kind == "rollback"
        try:
            self._news.ended(revision, rollout.plan, error, reporter.say, phase=run.failed_in, back=back)
            return self._news.finish()
        except (BennuError, OSError, sqlite3.Error) as problem:  # a full disk: nothing can be written down either
            return (f"hooks could not be called: {problem}",)

    def check(self, plan: Plan) -> None:
        """``Conflict`` where a plan is void, with what has moved since and by whom."""
        what = f"plan of project {self.project!r} was made at revision {plan.revision}"
        last = self.history.last_number(self.project)
        if plan.revision < last:
            since = [each for each in self.history.revisions(self.project) if each.number > plan.revision]
            raise Conflict(f"{what}, and since then came {'; '.join(map(described, reversed(since)))}", AGAIN)
        if plan.revision > last:
            raise Conflict(f"{what}, but here the last one is {last}: it was made for another state directory", AGAIN)
        now = self.engine.facts(self.project)
        if plan.stamp != now.stamp:
            moved = plan.facts.moved_to(now) if plan.facts is not None else ()
            raise Conflict(f"{what}; what runs has changed since: {'; '.join(moved) or 'other sets are there'}", AGAIN)
        for change in plan.changes:
            if change.new and change.kind != "keep" and not self._has_image(change.new.image):
                raise NotFound(
                    f"service {change.service!r}: image {change.new.image_name!r} ({short(change.new.image)}) is no "
                    "longer in the store: nothing came back to its release for too long",
                    "build it again from the files it was made from, with `bennu apply`",
                )

    def _keep(self, release: Release) -> frozenset[SetId]:
        # the active release becomes a kept one, so one fewer of the older ones stays
        active = self.history.active(self.project)
        older = release.keep - (1 if active is not None and active.release != release.digest else 0)
        return self.history.kept_sets(self.project, max(0, older), besides=release.digest)


class _Run:
    """One drive of a rollout: threads, clocks and errors, which the machine itself must not know."""

    def __init__(
        self,
        engine: Engine,
        rollout: Rollout,
        reporter: Reporter,
        call: Callable[[CallHooks, threading.Event], Receipt],
        turn: Turn,
    ) -> None:
        self.phases: dict[str, float] = {}
        self.figures = Measured(rollout.plan)
        self.failed_in = ""
        """The phase in which it went wrong first."""
        self._call = call
        self._turn = turn
        self.gave_way = False
        self._engine = engine
        self._rollout = rollout
        self._reporter = reporter
        self._cancel = threading.Event()
        self._first: BennuError | None = None
        self._last: BennuError | None = None

    @property
    def reason(self) -> str | None:
        """Why it did not go through, in one line."""
        failures = self._rollout.failures
        return None if not failures else failures[0].reason

    def drive(self, commands: list[Command]) -> None:
        """Run commands and feed the answers back until the rollout is final."""
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="bennu-rollout") as pool:
            while commands:
                state = self._rollout.state
                self._turn.enter(state.value)
                self._reporter.state(state)
                started = time.monotonic()
                commands = self._answer(pool, commands)
                self.phases[state.name.lower()] = self.phases.get(state.name.lower(), 0.0) + time.monotonic() - started

    def _answer(self, pool: ThreadPoolExecutor, commands: list[Command]) -> list[Command]:
        if self._rollout.state.name.startswith("REVERT"):
            self._cancel = threading.Event()  # what cancelled the rollout must not cancel its way back
        waiting = {pool.submit(self._execute, command, self._cancel): command for command in commands}
        following: list[Command] = []
        while waiting:
            done = self._wait(set(waiting))
            for future in done:
                following = self._take(waiting.pop(future), future)
        return following

    def _wait(self, waiting: set[Future[tuple[Receipt, float]]]) -> set[Future[tuple[Receipt, float]]]:
        while True:
            try:
                done = wait(waiting, timeout=NOTICE_SECONDS, return_when=FIRST_COMPLETED).done
                if done:
                    return done
                if not self._cancel.is_set() and self._turn.is_over:
                    self.gave_way = True
                    self._interrupt("another deploy waits")
            except KeyboardInterrupt:
                if self._cancel.is_set():
                    raise
                self._interrupt("interrupted")

    def _interrupt(self, reason: str) -> None:
        self._cancel.set()
        if self._rollout.state in SWITCHED:
            self._reporter.say(f"{reason}: the switch is done, so this goes on without waiting")
        elif not self._rollout.state.name.startswith("REVERT"):
            self._reporter.say(
                f"{reason}: reverting" + (" (once more to leave at once)" if reason == "interrupted" else "")
            )
            self.failed_in = self.failed_in or self._rollout.state.name.lower()
            self._rollout.handle(Cancelled(reason=reason))

    def _take(self, command: Command, future: Future[tuple[Receipt, float]]) -> list[Command]:
        try:
            receipt, seconds = future.result()
        except (BennuError, OSError, sqlite3.Error) as caught:
            # a full disk is no reason to leave things half done
            error = caught if isinstance(caught, BennuError) else errors.Failed(f"{type(command).__name__}: {caught}")
            self._first = self._first or error
            self.failed_in = self.failed_in or self._rollout.state.name.lower()
            self._last = error
            self._reporter.failed(command, error)
            return self._rollout.handle(Failed(command=command, reason=error.message))
        self._reporter.done(command, receipt, seconds)
        if not isinstance(command, CallHooks):
            self.figures.note(command, receipt, time.monotonic(), seconds)
        return self._rollout.handle(Done(command=command))

    def _execute(self, command: Command, cancel: threading.Event) -> tuple[Receipt, float]:
        started = time.monotonic()
        if isinstance(command, CallHooks):
            receipt = self._call(command, cancel)
        else:
            receipt = self._engine.execute(command, lambda line: self._reporter.progress(command, line), cancel)
        return receipt, time.monotonic() - started

    def error(self, rollout: Rollout, revision: Revision) -> BennuError:
        """The error to end with: what went wrong first, and what became of it."""
        cause = self._first
        # what stopped because of a wish did not go wrong by itself
        wish = bool(rollout.failures) and isinstance(rollout.failures[0], Cancelled)
        message = cause.message if cause and not wish else self.reason or "cancelled"
        stuck = rollout.state is State.STUCK
        became = "it could not be reverted" if stuck else "it was reverted"
        again = f"`bennu history {revision.number}` shows how it went"
        hint = "`bennu status` shows what runs" if stuck else (cause.hint if cause and cause.hint else again)
        told = notes(rollout, self.failed_in)
        text = f"revision {revision.number} failed: {message}; {became}"
        if stuck and self._last is not None and self._last is not cause:
            text += f" ({self._last.message})"
        if isinstance(cause, errors.Failed):
            return errors.Failed(text, hint, command=cause.command, status=cause.status, tail=cause.tail, notes=told)
        return errors.Failed(text, hint, notes=told)


def _verdict(rollout: Rollout) -> RevisionState:
    verdicts: dict[State, RevisionState] = {State.DONE: "active", State.STUCK: "stuck"}
    return verdicts.get(rollout.state, "failed")
