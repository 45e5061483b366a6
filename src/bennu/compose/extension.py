"""What Compose cannot say: ``x-bennu`` of a service and of the whole file, as values. Pure.

``expectations`` reads the part that says when a new set is good enough, ``hooks`` what is called on the way.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bennu.compose.struct import Value


class Probe(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A probe that bennu makes itself, from outside the replica: ``http`` GETs ``path`` and wants 2xx or 3xx."""

    kind: Literal["http", "tcp"]
    port: int
    path: str = "/"


class Expectation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A request to a test server and what has to come back.

    ``status``: ``200`` or ``2xx``, any of them; empty: below 400. ``contains``: texts, all of them in the body.
    """

    port: int
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = {}
    body: str | None = None
    status: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()


class Validation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One check of a test server before its set may have the traffic: exactly one of the first three is set.

    ``command`` runs in a sidekick of the image ``image`` (None: the service's own) that shares the test server's
    network; ``script`` runs on the host. Both are to end with status 0 within ``timeout_seconds``.
    """

    http: Expectation | None = None
    command: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    image: str | None = None
    timeout_seconds: float = 30.0
    retries: int = 0


class Tolerance(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What is tolerated of a new set that has traffic. Shares are from 0 to 1; None: no limit of that kind.

    The first two are absolute, of the share of failed requests and of the time that 99 % of the answers take at most.
    ``more_error_share`` and one of the last two say how much more than the old set's is tolerated.
    """

    max_error_share: float | None = None
    max_p99_seconds: float | None = None
    more_error_share: float | None = None
    more_p99_seconds: float | None = None
    more_p99_share: float | None = None

    @property
    def limits(self) -> Tolerance:
        """The limits alone."""
        return Tolerance(**{name: getattr(self, name) for name in Tolerance.__struct_fields__})


class Watch(Tolerance, frozen=True, kw_only=True, omit_defaults=True):
    """How long a set is watched after its switch, and what takes it back."""

    seconds: float


class Canary(Tolerance, frozen=True, kw_only=True, omit_defaults=True):
    """A trial before the switch: the new set gets ``percent`` of the traffic for so long, the old one keeps the rest.

    ``min_requests``: with fewer, the trial fails; None: it goes on, and says that there were too few to tell.
    """

    seconds: float
    percent: int = 10
    min_requests: int | None = None


class Quiesce(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How a service is told to write nothing while its volumes are snapshotted: ``command``, then ``resume``.

    Both run in a replica, and may take ``timeout_seconds`` each. ``resume`` runs in any case, empty: there is none.
    """

    command: tuple[str, ...]
    resume: tuple[str, ...] = ()
    timeout_seconds: float = 30.0


class XBennu(Value, frozen=True, kw_only=True, omit_defaults=True):
    """``x-bennu`` of a service."""

    exec: bool = False
    """Volumes and tmpfs of this service are mounted without ``noexec``; already applied to ``Mount.exec``."""
    probe: Probe | None = None
    writes: bool | None = None
    """Does the service write a volume that its next set shares? None: ask ``Service.writes_shared_state``."""
    validate: tuple[Validation, ...] = ()
    canary: Canary | None = None
    watch: Watch | None = None
    quiesce: Quiesce | None = None

    def without_proof(self) -> XBennu:
        """The same without what says how a set is proven and quieted, which is no part of what the set is."""
        return msgspec.structs.replace(self, validate=(), canary=None, watch=None, quiesce=None)


HookEvent = Literal[
    "pre_build", "post_validate", "pre_switch", "post_switch", "failed", "rolled_back", "hold_expiring", "drift_found"
]


class Given(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A text that may be a secret: as it stands in the file, or named by its environment variable or its own file.

    Exactly one of the three is set. What is named is read when it is needed and recorded nowhere.
    """

    text: str | None = None
    variable: str | None = None
    file: str | None = None


class Hook(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to call: a ``command`` on the host or a ``url`` to POST to; exactly one of them is set.

    ``sign`` gives the key of the HMAC that a request carries. ``blocking``: its failure stops the deploy.
    ``retries`` are tries besides the first.
    """

    command: tuple[str, ...] = ()
    url: str | None = None
    headers: dict[str, Given] = {}
    sign: Given | None = None
    timeout_seconds: float = 30.0
    retries: int = 2
    blocking: bool = False


class Hooks(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What is called when, event by event. Commands run in the directory of the fleet file."""

    pre_build: tuple[Hook, ...] = ()
    post_validate: tuple[Hook, ...] = ()
    pre_switch: tuple[Hook, ...] = ()
    post_switch: tuple[Hook, ...] = ()
    failed: tuple[Hook, ...] = ()
    rolled_back: tuple[Hook, ...] = ()
    hold_expiring: tuple[Hook, ...] = ()
    drift_found: tuple[Hook, ...] = ()

    def of(self, event: HookEvent) -> tuple[Hook, ...]:
        """The hooks of one event, in the file's order."""
        found: tuple[Hook, ...] = getattr(self, event)
        return found

    @property
    def by_event(self) -> dict[str, tuple[Hook, ...]]:
        """All that there are, without the events that have none."""
        return {name: found for name, found in msgspec.structs.asdict(self).items() if found}


class Window(Value, frozen=True, kw_only=True, omit_defaults=True):
    """When the agent may replace replicas by itself: on these days (0 is Monday), between two times of the day.

    ``start`` and ``end`` are minutes since midnight by the clock of ``zone``; a window whose ``end`` is not after its
    ``start`` goes past midnight, and belongs to the day on which it begins.
    """

    days: tuple[int, ...]
    start: int
    end: int
    zone: str = "UTC"


class XBennuProject(Value, frozen=True, kw_only=True, omit_defaults=True):
    """``x-bennu`` at the top level of the file."""

    keep: int = 3
    """Sets that are kept after a switch, the active one not counted."""
    keep_warm_seconds: float = 600.0
    """How long a kept set goes on running before it is frozen."""
    keep_frozen: int = 1
    """How many kept sets of a service are frozen when that time is over, the newest ones; older ones are stopped."""
    max_age_seconds: float | None = None
    """Replicas older than this are replaced from scratch; None: never by age."""
    rebuild: bool = False
    """What is replaced by age gets its image built from scratch first."""
    windows: tuple[Window, ...] = ()
    """When replicas may be replaced by age; empty: always."""
    jitter_seconds: float = 0.0
    """Replicas are replaced up to so much earlier, each set at its own time."""
    snapshot: tuple[str, ...] = ()
    """Keys of the volumes that are snapshotted at a switch."""
    hooks: Hooks = Hooks()
    """Commands and requests on the way of a deploy, and of what the agent finds."""
