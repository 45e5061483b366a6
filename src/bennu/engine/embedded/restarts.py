"""When a replica that ended comes back. Pure: policies, and a delay that doubles as long as it keeps ending.

Compose's rules (``restart``, ``deploy.restart_policy``), with one default of bennu's: where the file says nothing a
replica always comes back, since a fleet's servers are to run. The delay begins anew after a while of running, as
Docker's does.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bennu.compose.model import Restart

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 60.0
STABLE_SECONDS: Final = 10.0


class Attempts(msgspec.Struct, frozen=True, kw_only=True):
    """How often in a row a replica was brought back, and when it may next (Unix seconds).

    ``counted``: the start whose end has been taken in.
    """

    count: int = 0
    not_before: float = 0.0
    counted: float | None = None


def comes_back(policy: Restart | None, exit_status: int, count: int) -> bool:
    """Whether a replica that ended with this status, and has been brought back that often in a row, comes back."""
    if policy is None:
        return True
    if policy.max_attempts is not None and count >= policy.max_attempts:
        return False
    return policy.condition not in {"no", "on-failure"} or (policy.condition == "on-failure" and exit_status != 0)


def after_end(attempts: Attempts, *, started: float | None, ended: float, policy: Restart | None = None) -> Attempts:
    """Take in that a replica which was ``started`` then has ``ended``. The same end is taken in once."""
    if started is not None and attempts.counted == started:
        return attempts
    stable = started is not None and ended - started >= STABLE_SECONDS
    count = 0 if stable else attempts.count
    return Attempts(count=count, not_before=max(attempts.not_before, ended + _delay(count, policy)), counted=started)


def after_attempt(attempts: Attempts, now: float, policy: Restart | None = None) -> Attempts:
    """Take in that it is being brought back now."""
    count = attempts.count + 1
    return Attempts(count=count, not_before=now + _delay(count, policy), counted=attempts.counted)


def _delay(count: int, policy: Restart | None) -> float:
    least = policy.delay_seconds if policy is not None and policy.delay_seconds is not None else FIRST_DELAY_SECONDS
    return min(least * 2.0 ** min(count, 16), longest_delay(policy))


def longest_delay(policy: Restart | None) -> float:
    """The longest that a replica is kept from coming back, in seconds."""
    own = policy.delay_seconds if policy is not None else None
    return max(LONGEST_DELAY_SECONDS, own or 0.0)
