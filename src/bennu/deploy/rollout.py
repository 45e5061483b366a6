"""The rollout: in which order a plan is carried out, and what happens when something fails. Sans-I/O.

``handle`` takes an event and returns commands (engine actions) to run; all commands of one answer are independent,
and the machine goes on when each has been answered by ``Done`` or ``Failed``. There is no clock and no I/O, so that
the same machine drives every engine and tests drive it with playbooks.

Theory. Services are started in waves, in dependency order. Up to the switch nothing old is touched, with one
exception that the plan announces: a service that writes state which its next set shares is replaced *stop-first*
(YIELDING). Volumes are snapshotted (SNAPSHOTTING) before anything new that may write them starts, most of a copy being
made beforehand (STAGING); where a rollback takes data back, all that changes stops first (RESTORING). Of a set that
has validations only the first replica is started, its test server; what it asks of other services goes to the
candidates of its own release (PROPOSING), and only when it has been checked (VALIDATING) does the rest of the set
follow (COMPLETING). Where hooks may object they are asked before that (VETTING) and each time before the traffic moves
(ANNOUNCING, CLEARING); without any there is nothing to do in these states. A service that nothing serves yet, new or
stop-first, takes the duty as soon as it is proven (ADOPTING), since later waves need it. Services with a canary are
tried together with a share of the traffic (CANARYING), which makes nothing active. All other services switch together,
in one action (SWITCHING), which is the commit point: a failure before it reverts everything in the opposite order.
After it only the watch (WATCHING) can still take the switch back; any other failure is noted and the rollout goes on.
A rollout whose process died is taken up by ``recover``: forward if the engine has committed the switch, back if it has
not.

``states.NEXT`` is the table that it walks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from bennu.compose.extension import Canary, HookEvent, Validation
from bennu.deploy.data import PlannedSnapshot
from bennu.deploy.planning.plan import Change, Plan
from bennu.deploy.states import COMMITTED, FINAL, NEXT, SWITCHED, Cancelled, Command, Deadlines, Event, Failed, State
from bennu.deploy.telling.hooks import CallHooks
from bennu.engine.actions import (
    Activate,
    AwaitReady,
    Deactivate,
    Drain,
    Prepare,
    Propose,
    RemoveSet,
    RemoveSnapshots,
    RestoreVolumes,
    ResumeWriters,
    SnapshotVolumes,
    StartSet,
    StopSet,
    Trial,
    TryCanaries,
    Validate,
    WatchSet,
)
from bennu.engine.sets import Observation, SetId, SetSpec


class Rollout:
    """One plan being carried out. ``state``, ``failures`` (before the commit) and ``notes`` (after it) can be read."""

    def __init__(self, plan: Plan, deadlines: Deadlines | None = None) -> None:
        self.plan = plan
        self.deadlines = deadlines or Deadlines()
        self.state = State.NEW
        self.wave = 0
        self.failures: list[Failed | Cancelled] = []
        self.notes: list[Failed] = []
        self._pending: list[Command] = []
        self._failed = False
        self._begun: set[SetId] = set()
        self._yielded: set[SetId] = set()
        self._touched: set[str] = set()  # services whose activation may have moved
        self._left: set[str] = set()  # services that were taken out

    def begin(self) -> list[Command]:
        """The first commands; none where the plan has nothing to do."""
        return self._leave(State.NEW, failed=False)

    @classmethod
    def recover(
        cls, plan: Plan, observation: Observation, deadlines: Deadlines | None = None
    ) -> tuple[Rollout, list[Command]]:
        """Take up a rollout whose process died, with its first commands: forward if committed, else back.

        Committed means that every service that was to change has its new set active.
        """
        rollout = cls(plan, deadlines)
        moving = [change for change in plan.changes if change.new and change.kind != "keep"]
        if all(observation.active.get(c.service) == c.new.id for c in moving if c.new):
            return rollout, rollout._enter(State.DRAINING)
        rollout.failures.append(Cancelled(reason="the process that carried this plan out has died"))
        rollout._begun = {c.new.id for c in moving if c.new and c.new.id in observation.sets}
        rollout._yielded = {c.old.id for c in moving if c.order == "stop-first" and c.old}
        rollout._yielded |= {c.old.id for c in plan.changes if rollout._restores and c.kind == "remove" and c.old}
        rollout._touched = {c.service for c in moving if c.new and observation.active.get(c.service) == c.new.id}
        rollout._touched |= {c.service for c in rollout._tried() if c.new and c.new.id in rollout._begun}
        rollout._left = {c.service for c in plan.changes if c.kind == "remove" and c.service not in observation.active}
        return rollout, rollout._enter(State.REVERT_RESUMING)

    @property
    def begun(self) -> frozenset[SetId]:
        """New sets that were, or were about to be, started."""
        return frozenset(self._begun)

    @property
    def yielded(self) -> frozenset[SetId]:
        """Old sets that were stopped so that the new ones could start."""
        return frozenset(self._yielded)

    @property
    def touched(self) -> frozenset[str]:
        """Services whose traffic may have moved."""
        return frozenset(self._touched)

    @property
    def left(self) -> frozenset[str]:
        """Services that were taken out of the project."""
        return frozenset(self._left)

    @property
    def is_final(self) -> bool:
        """Nothing more will happen."""
        return self.state in FINAL

    def handle(self, event: Event) -> list[Command]:
        """Take an answer in; the next commands, once every command under way has been answered."""
        if isinstance(event, Cancelled):
            if self.state not in SWITCHED and not self.state.name.startswith("REVERT") and not self.is_final:
                self.failures.append(event)
                self._failed = True
            return []
        self._pending.remove(event.command)
        if isinstance(event, Failed):
            self._failed = True
            (self.notes if self.state in COMMITTED else self.failures).append(event)
        if self._pending:
            return []
        return self._leave(self.state, failed=self._failed)

    def _leave(self, state: State, *, failed: bool) -> list[Command]:
        done, fail = NEXT[state]
        following = fail if failed else done
        if state is State.ADOPTING and not failed and self.wave + 1 < len(self.plan.waves):
            self.wave += 1
            following = State.YIELDING
        return self._enter(following)

    def _enter(self, state: State) -> list[Command]:
        self.state = state
        self._failed = False
        if self.is_final:
            return []
        self._pending = _COMMANDS[state](self)
        return list(self._pending) if self._pending else self._leave(state, failed=False)

    # what each state has to do

    def _moving(self, *kinds: str) -> list[Change]:
        return [c for c in self.plan.changes if c.kind in kinds]

    def _in_wave(self, *kinds: str) -> list[Change]:
        names = self.plan.waves[self.wave] if self.plan.waves else ()
        return [c for c in self._moving(*kinds) if c.service in names]

    def _prepare(self) -> list[Command]:
        if self.plan.is_empty:
            return []
        return [Prepare(project=self.plan.project, services=self.plan.services, volumes=self.plan.volumes)]

    def _yield(self) -> list[Command]:
        going = [c for c in self._in_wave("replace") if c.order == "stop-first"]
        if self._restores:  # no code may meet the other's data, so all of it stops at once
            going = self._moving("replace", "remove") if self.wave == 0 else []
        old = [c.old.id for c in going if c.old]
        self._yielded.update(old)
        if self._restores and self.wave == 0:  # what comes back and is still warm has seen other data
            old += [c.new.id for c in self._moving("create", "replace") if c.new and c.returns]
        return [StopSet(set=name) for name in old]

    # data of volumes

    @property
    def _restores(self) -> dict[str, str]:
        return {} if self.plan.data is None else self.plan.data.restore

    @property
    def _number(self) -> int:
        """The revision that this rollout makes."""
        return self.plan.revision + 1

    def _snapshot(self, wanted: list[str], *, ahead: bool = False) -> list[Command]:
        data = self.plan.data
        if data is None or not wanted:
            return []
        return [
            SnapshotVolumes(
                project=self.plan.project,
                revision=data.leaving,
                rollout=self._number,
                volumes=tuple(wanted),
                quiesce=data.quiesce,
                ahead=ahead,
            )
        ]

    def _restore(self, step: Literal["stage", "swap", "back"]) -> list[Command]:
        data = self.plan.data
        if data is None or not data.restore:
            return []
        return [
            RestoreVolumes(
                project=self.plan.project,
                revision=data.leaving,
                rollout=self._number,
                snapshots=data.restore,
                step=step,
            )
        ]

    def _stage(self) -> list[Command]:
        copied = [one.volume for one in self._planned() if one.cost.method == "copy"]
        return self._snapshot(copied, ahead=True) + self._restore("stage")

    def _planned(self) -> tuple[PlannedSnapshot, ...]:
        return () if self.plan.data is None else self.plan.data.snapshots

    def _take_snapshots(self) -> list[Command]:
        return self._snapshot([one.volume for one in self._planned() if one.wave == self.wave])

    def _put_back(self) -> list[Command]:
        return self._restore("swap") if self.wave == 0 else []

    def _propose(self) -> list[Command]:
        so_far = {name for wave in self.plan.waves[: self.wave + 1] for name in wave}
        moving = [c for c in self._moving("replace") if c.order == "start-first" and c.service in so_far]
        # what is adopted in its own wave asks for candidates until then
        moving += [c for c in self._started() if c.kind != "repair" and c not in moving]
        if len(moving) < 2 and not any(self._is_validated(c) for c in moving):
            return []
        specs = tuple(c.new for c in moving if c.new)
        self._begun.update(spec.id for spec in specs)
        return [Propose(project=self.plan.project, specs=specs)]

    def _started(self) -> list[Change]:
        return [c for c in self._in_wave("create", "replace", "repair") if c.new]

    def _is_validated(self, change: Change) -> bool:
        """Has to pass validations first. A set that served before has passed them."""
        return bool(self._validations(change)) and change.kind != "repair" and not change.returns

    def _validations(self, change: Change) -> tuple[Validation, ...]:
        service = self.plan.services.get(change.service)
        return () if service is None else service.x_bennu.validate

    def _first(self, change: Change) -> int | None:
        return 1 if self._is_validated(change) else None

    def _start(self) -> list[Command]:
        self._begun.update(c.new.id for c in self._started() if c.new)
        return [StartSet(spec=c.new, first=self._first(c)) for c in self._started() if c.new]

    def _prove(self) -> list[Command]:
        return [self._await(c.new, self._first(c)) for c in self._started() if c.new]

    def _await(self, spec: SetSpec, first: int | None) -> Command:
        completed = spec.service.name in self._jobs()
        seconds = self.deadlines.ready_seconds
        return AwaitReady(set=spec.id, timeout_seconds=seconds, completed=completed, first=first)

    def _validate(self) -> list[Command]:
        checked = [c for c in self._started() if self._is_validated(c)]
        return [Validate(set=c.new.id, validations=self._validations(c)) for c in checked if c.new]

    def _vet(self) -> list[Command]:
        # what comes back has been validated when it was new
        return self._calls("post_validate", [c for c in self._started() if c.kind != "repair" and not c.returns])

    def _announce(self) -> list[Command]:
        return self._calls("pre_switch", [c for c in self._adopted() if c.kind != "repair"])

    def _clear(self) -> list[Command]:
        return self._calls("pre_switch", self._switched())

    def _calls(self, event: HookEvent, changes: list[Change]) -> list[Command]:
        policy = self.plan.policy
        if not changes or policy is None or not policy.hooks.of(event):
            return []
        return [CallHooks(event=event, services=tuple(c.service for c in changes))]

    def _incomplete(self) -> list[SetSpec]:
        return [c.new for c in self._started() if c.new and self._is_validated(c) and c.new.replicas > 1]

    def _complete(self) -> list[Command]:
        return [StartSet(spec=spec) for spec in self._incomplete()]

    def _prove_all(self) -> list[Command]:
        return [self._await(spec, None) for spec in self._incomplete()]

    def _jobs(self) -> set[str]:
        return {
            name
            for service in self.plan.services.values()
            for name, dependency in service.depends_on.items()
            if dependency.condition == "service_completed_successfully"
        }

    def _adopt(self) -> list[Command]:
        return self._activate(self._adopted())

    def _adopted(self) -> list[Change]:
        new = self._in_wave("create", "repair")
        return new + [c for c in self._in_wave("replace") if c.order == "stop-first"]

    def _tried(self) -> list[Change]:
        """What has a canary: a set that served before has been tried, and one that has no old set beside it cannot."""
        moving = [c for c in self._switched() if not c.returns]
        return [c for c in moving if self._canary(c) is not None and c.service not in self._jobs()]

    def _canary(self, change: Change) -> Canary | None:
        service = self.plan.services.get(change.service)
        return None if service is None else service.x_bennu.canary

    def _try(self) -> list[Command]:
        trials = [
            Trial(set=c.new.id, old=c.old.id, canary=canary)
            for c in self._tried()
            if c.new and c.old and (canary := self._canary(c))
        ]
        self._touched.update(c.service for c in self._tried())
        return [TryCanaries(project=self.plan.project, trials=tuple(trials))] if trials else []

    def _switch(self) -> list[Command]:
        return self._activate(self._switched())

    def _switched(self) -> list[Change]:
        return [c for c in self._moving("replace") if c.order == "start-first"]

    def _activate(self, changes: list[Change]) -> list[Command]:
        sets = {c.service: c.new.id for c in changes if c.new}
        self._touched.update(sets)
        return [Activate(project=self.plan.project, sets=sets)] if sets else []

    def _drain(self) -> list[Command]:
        gone = self._moving("remove")
        self._left.update(c.service for c in gone)
        actions: list[Command] = []
        if gone:
            actions.append(Deactivate(project=self.plan.project, services=tuple(c.service for c in gone)))
        old = [c.old.id for c in self._moving("replace") if c.old and c.order == "start-first"]
        actions += [Drain(set=name, timeout_seconds=self.deadlines.drain_seconds) for name in old]
        return actions + self._calls("post_switch", self._moving("create", "replace", "remove"))

    def _watch(self) -> list[Command]:
        actions: list[Command] = []
        for change in self._moving("create", "replace"):
            service = self.plan.services.get(change.service)
            watch = None if service is None else service.x_bennu.watch
            if change.new and watch is not None and change.service not in self._jobs():
                old = change.old.id if change.old else None
                actions.append(WatchSet(set=change.new.id, seconds=watch.seconds, limits=watch.limits, old=old))
        return actions

    def _retire(self) -> list[Command]:
        stopped: list[Command] = [StopSet(set=c.old.id) for c in self._moving("remove") if c.old]
        forgotten = () if self.plan.data is None else self.plan.data.forget
        if forgotten:
            stopped.append(RemoveSnapshots(project=self.plan.project, snapshots=forgotten))
        return [*stopped, *(RemoveSet(set=name) for name in self.plan.prune)]

    def _revert_resume(self) -> list[Command]:
        return [ResumeWriters(project=self.plan.project)] if self._planned() else []

    def _revert_stop(self) -> list[Command]:
        # what shared its state with an old set has to end before that one can come back
        new = [c for c in self._moving("replace") if c.order == "stop-first"]
        new += self._moving("create") if self._restores else []
        return [StopSet(set=c.new.id) for c in new if c.new and c.new.id in self._begun]

    def _revert_restore(self) -> list[Command]:
        return self._restore("back")

    def _revert_start(self) -> list[Command]:
        return [StartSet(spec=c.old) for c in self._moving("replace", "remove") if c.old and c.old.id in self._yielded]

    def _revert_prove(self) -> list[Command]:
        return [
            AwaitReady(set=c.old.id, timeout_seconds=self.deadlines.ready_seconds)
            for c in self._moving("replace", "remove")
            if c.old and c.old.id in self._yielded
        ]

    def _revert_switch(self) -> list[Command]:
        back = {c.service: c.old.id for c in self._moving("replace") if c.old and c.service in self._touched}
        back |= {c.service: c.old.id for c in self._moving("remove") if c.old and c.service in self._left}
        new = tuple(c.service for c in self._moving("create") if c.service in self._touched and not c.old)
        actions: list[Command] = [Activate(project=self.plan.project, sets=back)] if back else []
        return [*actions, Deactivate(project=self.plan.project, services=new)] if new else actions

    def _revert_drain(self) -> list[Command]:
        new = [c.new.id for c in self._moving("replace") if c.new and c.service in self._touched]
        gone = [c.new.id for c in self._moving("replace") if c.new and c.order == "stop-first"]
        return [Drain(set=name, timeout_seconds=self.deadlines.drain_seconds) for name in new if name not in gone]

    def _revert_remove(self) -> list[Command]:
        actions: list[Command] = []
        for change in self._moving("create", "replace"):
            if change.new and change.new.id in self._begun:
                kept = change.returns
                actions.append(StopSet(set=change.new.id) if kept else RemoveSet(set=change.new.id))
        if self._planned():
            # a snapshot stays where new code has run: it may have written, for all that it failed
            taken = not self._begun
            actions.append(RemoveSnapshots(project=self.plan.project, rollout=self._number, taken=taken))
        return actions


_COMMANDS: Final[dict[State, Callable[[Rollout], list[Command]]]] = {
    State.PREPARING: Rollout._prepare,
    State.STAGING: Rollout._stage,
    State.YIELDING: Rollout._yield,
    State.SNAPSHOTTING: Rollout._take_snapshots,
    State.RESTORING: Rollout._put_back,
    State.PROPOSING: Rollout._propose,
    State.STARTING: Rollout._start,
    State.PROVING: Rollout._prove,
    State.VALIDATING: Rollout._validate,
    State.VETTING: Rollout._vet,
    State.COMPLETING: Rollout._complete,
    State.PROVING_ALL: Rollout._prove_all,
    State.ANNOUNCING: Rollout._announce,
    State.ADOPTING: Rollout._adopt,
    State.CLEARING: Rollout._clear,
    State.CANARYING: Rollout._try,
    State.SWITCHING: Rollout._switch,
    State.DRAINING: Rollout._drain,
    State.WATCHING: Rollout._watch,
    State.RETIRING: Rollout._retire,
    State.REVERT_RESUMING: Rollout._revert_resume,
    State.REVERT_STOPPING: Rollout._revert_stop,
    State.REVERT_RESTORING: Rollout._revert_restore,
    State.REVERT_STARTING: Rollout._revert_start,
    State.REVERT_PROVING: Rollout._revert_prove,
    State.REVERT_SWITCHING: Rollout._revert_switch,
    State.REVERT_DRAINING: Rollout._revert_drain,
    State.REVERT_REMOVING: Rollout._revert_remove,
}
