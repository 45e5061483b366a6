"""The health of one replica: which probe there is, when it is due, and what its answers mean. Pure.

Docker's rules (Dockerfile reference, HEALTHCHECK): a replica is *starting* until its first success or until ``retries``
failures in a row after the start period; probes come every ``start_interval`` during the start period, every
``interval`` afterwards. Compose's fields win over the image's, field by field.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from bennu.compose.extension import Probe
from bennu.compose.model import Service
from bennu.oci.image_config import ContainerConfig

DEFAULT_INTERVAL_SECONDS: Final = 30.0
DEFAULT_TIMEOUT_SECONDS: Final = 30.0
DEFAULT_START_INTERVAL_SECONDS: Final = 5.0
DEFAULT_RETRIES: Final = 3
EAGER_SECONDS: Final = 0.1
_NS: Final = 1_000_000_000

Verdict = Literal["starting", "healthy", "unhealthy"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What is probed, and when. ``test`` is a command (``("CMD", ...)``, ``("CMD-SHELL", line)``) or a ``Probe``."""

    test: tuple[str, ...] | Probe
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    retries: int = DEFAULT_RETRIES
    start_period_seconds: float = 0.0
    start_interval_seconds: float = DEFAULT_START_INTERVAL_SECONDS

    @property
    def patience_seconds(self) -> float:
        """How long after its start a replica may fail before it is unhealthy."""
        return self.start_period_seconds + self.retries * self.interval_seconds

    @property
    def longest_seconds(self) -> float:
        """The longest that can lie between two probes."""
        return max(self.interval_seconds, self.start_interval_seconds)

    @property
    def words(self) -> str:
        """The probe as people wrote it."""
        if isinstance(self.test, tuple):
            return " ".join(self.test[1:])
        return f"{self.test.kind} probe of port {self.test.port}" + (self.test.path if self.test.kind == "http" else "")


class Answer(msgspec.Struct, frozen=True):
    """What one probe came to: ``status`` 0 is success, 124 no answer in time."""

    status: int
    output: str


class HealthState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica stands. Unix seconds: ``started`` of the start that this is about, ``since`` of the verdict,
    ``last`` of the last probe.
    """

    verdict: Verdict = "starting"
    started: float
    since: float | None = None
    failures: int = 0
    last: float | None = None
    answer: Answer | None = None

    @property
    def problem(self) -> str | None:
        """The last failure, for people."""
        if self.answer is None or self.answer.status == 0:
            return None
        said = self.answer.output.strip().splitlines()
        return f"probe ended with {self.answer.status}" + (f": {said[-1]}" if said else "")


def check_of(service: Service, config: ContainerConfig) -> Check | None:
    """The check of a service's replicas: its own, else the image's; None for none at all."""
    own, image = service.healthcheck, config.healthcheck
    if own is not None and own.disabled:
        return None
    test: tuple[str, ...] | Probe | None = service.x_bennu.probe
    if test is None:
        test = own.test if own is not None and own.test else image.test if image is not None else None
    if not test or test == ("NONE",):
        return None

    def pick(mine: float | None, theirs_ns: int, default: float) -> float:
        return mine if mine is not None else theirs_ns / _NS if theirs_ns else default

    interval = pick(own.interval_seconds if own else None, image.interval_ns if image else 0, DEFAULT_INTERVAL_SECONDS)
    return Check(
        test=test,
        interval_seconds=interval,
        timeout_seconds=pick(
            own.timeout_seconds if own else None, image.timeout_ns if image else 0, DEFAULT_TIMEOUT_SECONDS
        ),
        retries=(own.retries if own and own.retries else 0) or (image.retries if image else 0) or DEFAULT_RETRIES,
        start_period_seconds=pick(
            own.start_period_seconds if own else None, image.start_period_ns if image else 0, 0.0
        ),
        start_interval_seconds=pick(
            own.start_interval_seconds if own else None,
            image.start_interval_ns if image else 0,
            DEFAULT_START_INTERVAL_SECONDS,
        ),
    )


def due(check: Check, state: HealthState) -> float:
    """When the next probe is due (Unix seconds)."""
    if state.last is None:
        return state.started
    starting = state.verdict == "starting" and state.last < state.started + check.start_period_seconds
    return state.last + (check.start_interval_seconds if starting else check.interval_seconds)


def due_eagerly(check: Check, state: HealthState, since: float = 0.0) -> float:
    """The same for a replica that somebody waits for, since then: at first every tenth of a second, then ever less
    often.

    Such probes come sooner than the check says; ``condemned`` keeps them from costing a slow starter its time.
    """
    if state.last is None:
        return state.started
    age = state.last - max(state.started, since)
    return min(due(check, state), state.last + max(EAGER_SECONDS, age / 10))


def after(check: Check, state: HealthState, answer: Answer, now: float) -> HealthState:
    """The state after a probe that was begun at ``now``."""
    failures = 0 if answer.status == 0 else state.failures + 1
    verdict: Verdict = "healthy"
    if failures and state.verdict == "starting":
        verdict = "unhealthy" if condemned(check, state, now) else "starting"
    elif failures:
        verdict = "unhealthy" if failures >= check.retries else state.verdict
    since = state.since if verdict == state.verdict else now
    return msgspec.structs.replace(state, verdict=verdict, failures=failures, last=now, answer=answer, since=since)


def condemned(check: Check, state: HealthState, now: float) -> bool:
    """A replica that never answered well has used up its start period and its retries."""
    return now >= state.started + check.patience_seconds
