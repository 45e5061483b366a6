"""What became of a rollout that failed: the step, what was taken back for it, what was never touched. Pure.

One line each, for the report of the error; the error's own message says what went wrong first.
"""

from __future__ import annotations

from collections.abc import Iterator

from bennu.deploy.rollout import Rollout
from bennu.deploy.states import Cancelled, State


def notes(rollout: Rollout, failed_in: str) -> tuple[str, ...]:
    """The lines. ``failed_in``: the name of the state in which it went wrong first, in small letters."""
    return tuple(_lines(rollout, failed_in))


def _lines(rollout: Rollout, failed_in: str) -> Iterator[str]:
    if failed_in:
        yield f"step: {State[failed_in.upper()].value}"
    seen = {failure.reason for failure in rollout.failures[:1]}
    for failure in rollout.failures[1:]:
        if not isinstance(failure, Cancelled) and failure.reason not in seen:
            seen.add(failure.reason)
            yield f"failed as well: {failure.reason}"
    yield from _taken_back(rollout)
    yield from _untouched(rollout)


def _taken_back(rollout: Rollout) -> Iterator[str]:
    is_stuck = rollout.state is State.STUCK
    for change in rollout.plan.changes:
        new, old = change.new, change.old
        if change.kind == "remove" and old is not None and change.service in rollout.left:
            yield f"reverted: {change.service} is served by set {old.id} again"
        if change.kind not in {"create", "replace"} or new is None:
            continue
        if old is not None and old.id in rollout.yielded:
            again = "was to start again" if is_stuck else "was stopped, and serves again"
            yield f"reverted: set {old.id} of {change.service} {again}"
        elif old is not None and change.service in rollout.touched:
            yield f"reverted: the traffic of {change.service} went back to set {old.id}"
        if new.id in rollout.begun:
            fate = "was stopped again and is kept" if change.returns else "was removed"
            yield f"reverted: set {new.id} {fate}" if not is_stuck else f"left over: set {new.id}"


def _untouched(rollout: Rollout) -> Iterator[str]:
    kept = [
        f"{change.service} ({change.old.id})"
        for change in rollout.plan.changes
        if change.old is not None
        and change.kind != "repair"
        and change.old.id not in rollout.yielded
        and change.service not in rollout.touched | rollout.left
    ]
    if kept:
        yield f"untouched: {', '.join(kept)}"
