"""Mending drift: what ``bennu drift --fix`` replaces. It never patches what it finds.

``plan`` is pure: from what was found to actions of the engine, and what nobody can mend from here. ``mend`` carries
them out one after the other under the deploy lock; what fails is told, and the others are mended all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bennu.deploy.drift.comparison import Drift
from bennu.deploy.drift.kinds import KINDS
from bennu.deploy.drift.text import about, command, sentence
from bennu.engine.actions import Action, RemoveSet, RemoveStray, RenewReplica, RenewSurroundings
from bennu.engine.base import Engine
from bennu.engine.sets import SetId
from bennu.errors import BennuError

if TYPE_CHECKING:
    import threading

KEPT = " of kept set "
"""In the name of a replica that has no traffic, before its set's."""


class Mending(NamedTuple):
    """What is to be done, each with words for people; ``agent``: it has to be started; ``left``: drifts that stay."""

    steps: tuple[tuple[str, Action], ...]
    agent: bool
    left: tuple[Drift, ...]

    @property
    def is_empty(self) -> bool:
        """There is nothing that could be mended."""
        return not self.steps and not self.agent


def plan(project: str, drifts: Sequence[Drift], active: Mapping[str, SetId]) -> Mending:
    """How to mend what was found, each thing once. Held replicas are left alone."""
    steps: dict[str, Action] = {}
    left: list[Drift] = []
    agent = False
    for drift in drifts:
        if drift.held:
            continue
        mend = KINDS[drift.kind].mend
        name = drift.field if drift.kind == "replica" else drift.subject
        service, _, index = name.rpartition(".")
        if mend == "replace" and KEPT in name:
            kept = SetId(name.partition(KEPT)[2])
            steps[f"remove the kept set {kept}: it is made again when it is wanted"] = RemoveSet(set=kept)
        elif mend == "replace" and service in active and index.isdigit():
            steps[f"replace {name}"] = RenewReplica(set=active[service], index=int(index))
        elif mend == "around":
            steps["put a new process of the switch and new rules in their place"] = RenewSurroundings(project=project)
        elif mend == "remove":
            steps[f"remove the container {drift.field}"] = RemoveStray(project=project, container=drift.field)
        elif mend == "agent":
            agent = True
        else:
            left.append(drift)
    # strangers go first, and what is around before what stands in it
    order: tuple[type, ...] = (RemoveStray, RemoveSet, RenewSurroundings, RenewReplica)
    ordered = sorted(steps.items(), key=lambda step: order.index(type(step[1])))
    return Mending(tuple(ordered), agent, tuple(left))


def mend(
    engine: Engine, mending: Mending, say: Callable[[str], None], cancel: threading.Event
) -> tuple[BennuError, ...]:
    """Do it; what could not be done."""
    failures = []
    for words, action in mending.steps:
        try:
            receipt = engine.execute(action, lambda line, told=words: say(f"{told}: {line}"), cancel)  # type: ignore[misc]
        except BennuError as error:
            say(f"{words}: failed: {error.message}")
            failures.append(error)
            continue
        say(f"{words}: {receipt.summary}")
    return tuple(failures)


def remains(drifts: Sequence[Drift]) -> tuple[str, ...]:
    """For what cannot be mended from here, a line each with the command that can."""
    return tuple(dict.fromkeys(f"{about(one)}: {sentence(one)}: {command(one)}" for one in drifts))
