"""The contract of an engine: observe a project, execute one action on it, tend what runs.

Actions are values (``engine.actions``), sets and observations too (``engine.sets``). ``deploy.rollout`` decides
which action comes next, ``deploy.plan`` what has to change; an engine decides nothing. Conformance suite:
``tests/conformance/test_engine.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from bennu.compose.struct import Value
from bennu.engine.actions import Action, Receipt
from bennu.engine.sets import Facts, Observation, SetId
from bennu.engine.snapshots import VolumeChanges, VolumeCost, VolumeSnapshot
from bennu.engine.survey import Survey
from bennu.host.mounts import Mount


class Capabilities(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What an engine can do; a plan states what follows from what it cannot."""

    name: str
    freezes: bool
    holds_in_place: bool
    shares_namespaces: bool
    hosts: Literal["one", "many"]


class HeldProcess(NamedTuple):
    """A process in a held replica. ``started``: clock ticks since the boot, with the pid its identity."""

    pid: int
    started: int
    command: tuple[str, ...]


class HeldFiles(NamedTuple):
    """Where a held replica's files are on this host. ``upper``: what it has over ``lower``, in overlayfs's form.

    ``covered``: absolute paths inside it where something else is mounted; what is there in ``upper`` are places for
    mounts. ``image`` names the image that ``lower`` is, by its manifest's digest where it has one, and by its name;
    ``user`` is what it runs as.
    """

    upper: Path
    lower: Mount
    covered: frozenset[str]
    image: str | None
    image_name: str
    user: str = ""


Report = Callable[[str], None]
"""Called with one line whenever there is something new to say about an action under way (``3 of 4 ready``)."""


class Engine(Protocol):
    """See the module's docstring.

    Errors: ``Unavailable`` where the platform does not answer, ``Conflict``, ``Failed``, ``NotFound``.
    Safe to call from several threads and processes; one rollout at a time is the deploy lock's affair.
    """

    def capabilities(self) -> Capabilities:
        """What this engine can do. Constant."""
        ...

    def projects(self) -> tuple[str, ...]:
        """The names of all projects that have anything on this engine."""
        ...

    def observe(self, project: str) -> Observation:
        """The project as it is now, from the platform itself; empty if it is not there. Changes nothing."""
        ...

    def survey(self, project: str, *, deep: bool = False) -> Survey:
        """The project, looked at closely: what should be and what is, inside the replicas and around them.

        Changes nothing. ``deep`` reads the content of the images too, by digest. Costs some milliseconds a replica.
        """
        ...

    def facts(self, project: str) -> Facts:
        """``observe(project).facts``, which may cost less."""
        ...

    def execute(self, action: Action, report: Report, cancel: threading.Event) -> Receipt:
        """Do one action to its end.

        A set ``cancel`` ends the waits with ``Failed``; what is half done can be executed again.
        """
        ...

    def assess(self, volumes: Sequence[str]) -> tuple[VolumeCost, ...]:
        """What snapshots of these volumes would cost; those that are not there are left out. Changes nothing."""
        ...

    def snapshots(self, project: str) -> tuple[VolumeSnapshot, ...]:
        """The snapshots of a project's volumes, the oldest first."""
        ...

    def changes(self, snapshot: str) -> VolumeChanges:
        """What has changed in a volume since a snapshot. ``NotFound``."""
        ...

    def tend(self, project: str, now: float) -> float:
        """Do what is due at ``now`` (Unix seconds): health checks, restarts, the switch restored.

        Returns the seconds until it should be called again. Must be cheap when nothing is due. Called by
        the agent alone, one caller at a time.
        """
        ...

    def watch(self, timeout_seconds: float, wake: int) -> None:
        """Return when a replica has ended, when ``wake`` (a file descriptor) can be read, or when time is up.

        May return early for no reason: the caller tends and watches again.
        """
        ...

    def halt(self) -> int:
        """The host goes down: stop every container as its service says it is to be stopped; how many there were.

        Nothing is taken out of duty or out of the records: ``tend`` brings back, at the next boot, what is active.
        """
        ...

    def logs(
        self, project: str, *, service: str | None, set_id: SetId | None, index: int | None, tail: int
    ) -> Iterator[str]:
        """The last lines of the replicas that match, oldest first, each prefixed with the replica's name."""
        ...

    def held_files(self, project: str, service: str, index: int) -> HeldFiles:
        """A held replica's files. ``NotFound``; ``Unsupported`` where they are not on this host."""
        ...

    def held_processes(self, project: str, service: str, index: int) -> tuple[HeldProcess, ...]:
        """What runs in a held replica; nothing where it does not run or is gone."""
        ...
