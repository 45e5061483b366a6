"""The steps that a plan will take, in words and in order, as ``rollout`` will take them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bennu.compose.extension import Tolerance, Validation
from bennu.deploy.planning.plan import Change, Plan
from bennu.deploy.telling.hooks import described


def steps(plan: Plan, gaps: Mapping[str, float]) -> list[str]:
    """One line a step. ``gaps``: how long services did not answer when they were replaced stop-first before."""
    found: list[str] = []
    found += _stage(plan)
    for number, wave in enumerate(plan.waves):
        found += _data(plan, number)
        for change in (change for name in wave if (change := plan.change(name)) is not None):
            found += _start(plan, change, gaps.get(change.service))
    moving = _moving(plan)
    found += _hooks(plan, "pre_switch") if moving else []
    found += [line for change in moving for line in _canary(plan, change)]
    if moving:
        together = " together" if len(moving) > 1 else ""
        found.append(f"switch {', '.join(c.service for c in moving)}{together}; old connections end by themselves")
    gone = [change for change in plan.changes if change.kind == "remove" and change.old]
    found += [f"take {change.service} out of service and stop set {change.old.id}" for change in gone if change.old]
    found += [line for change in plan.changes for line in _watch(plan, change)]
    if plan.prune:
        found.append(f"remove kept sets that nothing comes back to: {', '.join(plan.prune)}")
    found += _hooks(plan, "post_switch")
    return found + [_renew(plan, one.name, one.service) for one in plan.renew]


def _stage(plan: Plan) -> Iterator[str]:
    data = plan.data
    copied = [one.volume for one in data.snapshots if one.cost.method == "copy"] if data else []
    if copied:
        yield f"copy what {', '.join(copied)} {'holds' if len(copied) == 1 else 'hold'} now; the snapshot adds the rest"
    if data and data.restore:
        yield f"make the data of {', '.join(data.restore)} ready beside those that are there"


def _data(plan: Plan, wave: int) -> Iterator[str]:
    data = plan.data
    for one in data.snapshots if data else ():
        if one.wave == wave:
            when = {"stopped": "when its writer has stopped", "quiesced": "while its writer is quiesced"}
            how = when.get(one.consistency, "while its writer is paused" if one.consistency == "paused" else "at once")
            yield f"snapshot volume {one.volume}, {how}, before anything new starts that may write it"
    if data and data.restore and wave == 0:
        stopped = [c.service for c in plan.changes if c.kind in {"replace", "remove"}]
        yield (
            f"stop {', '.join(stopped)}, which do not answer from here on; the data of {', '.join(data.restore)} change"
            " places"
        )


def validated(one: Validation) -> str:
    """A validation in a few words: ``GET :80/up``, ``command curl -f web``."""
    if one.http is not None:
        return f"{one.http.method} :{one.http.port}{one.http.path}"
    kind, words = ("script", one.script) if one.script else ("command", one.command)
    return f"{kind} {' '.join(words)}"


def gap(seconds: float | None) -> str:
    """How long a service is expected not to answer."""
    return "for how long is unknown" if seconds is None else f"for {seconds:.1f} s, going by earlier revisions"


def replicas(service: str, count: int, first: int = 1) -> str:
    """``web.1``, ``web.1..4``."""
    return f"{service}.{first}" if count == first else f"{service}.{first}..{count}"


def _moving(plan: Plan) -> list[Change]:
    return [change for change in plan.changes if change.kind == "replace" and change.order == "start-first"]


def _start(plan: Plan, change: Change, seconds: float | None) -> Iterator[str]:
    name, new = change.service, change.new
    if change.kind == "keep" or new is None:
        return
    if change.kind == "repair":
        yield f"{name}: start what is missing of set {new.id}, wait until it is ready"
        return
    if change.order == "stop-first" and change.old and not (plan.data and plan.data.restore):
        yield f"{name}: stop set {change.old.id}; {name} does not answer from here on, {gap(seconds)}"
    checks: Sequence[Validation] = () if change.returns else plan.services[name].x_bennu.validate
    if checks:
        yield f"{name}: start {name}.1 as the test server, out of the traffic, wait until it is ready"
        yield f"{name}: validate it: {'; '.join(map(validated, checks))}"
        yield from _asked(plan, change, "post_validate")
        if new.replicas > 1:
            yield f"{name}: start {replicas(name, new.replicas, 2)}, wait until all are ready"
    else:
        until = "all are" if new.replicas > 1 else "it is"
        yield f"{name}: start {replicas(name, new.replicas)}, wait until {until} ready"
        yield from () if change.returns else _asked(plan, change, "post_validate")
    if change.kind == "create" or change.order == "stop-first":
        yield from _asked(plan, change, "pre_switch")
        yield f"{name}: put set {new.id} into service"


def _watch(plan: Plan, change: Change) -> Iterator[str]:
    service = plan.services.get(change.service)
    if change.kind not in {"create", "replace"} or service is None or service.x_bennu.watch is None:
        return
    watch = service.x_bennu.watch
    yield f"watch {change.service} for {watch.seconds:g} s; switch back if a replica ends or falls ill{_or(watch)}"


def _canary(plan: Plan, change: Change) -> Iterator[str]:
    service = plan.services.get(change.service)
    canary = None if service is None or change.returns else service.x_bennu.canary
    if canary is not None:
        yield (
            f"try {change.service} with {canary.percent} % of the traffic for {canary.seconds:g} s; "
            f"give it up if a replica ends or falls ill{_or(canary)}"
        )


def _or(limits: Tolerance) -> str:
    """What else takes a set back: the continuation of a sentence."""
    found = []
    if limits.max_error_share is not None:
        found.append(f"more than {limits.max_error_share:.2%} of requests fail")
    if limits.more_error_share is not None:
        found.append(f"{limits.more_error_share:.2%} more requests fail than with the old set")
    if limits.max_p99_seconds is not None:
        found.append(f"1 % of answers take more than {limits.max_p99_seconds:g} s")
    if limits.more_p99_seconds is not None:
        found.append(f"the slowest 1 % take {limits.more_p99_seconds:g} s more than with the old set")
    if limits.more_p99_share is not None:
        found.append(f"the slowest 1 % take {limits.more_p99_share:.0%} more time than with the old set")
    return "".join(f", or {one}" for one in found)


def _asked(plan: Plan, change: Change, event: str) -> Iterator[str]:
    """Hooks that are asked about one service."""
    return (f"{change.service}: {line}" for line in _hooks(plan, event))


def _hooks(plan: Plan, event: str) -> Iterator[str]:
    found = [] if plan.policy is None else plan.policy.hooks.by_event.get(event, ())
    blocking = [hook for hook in found if hook.blocking]
    if blocking and not plan.is_settled:
        names = "; ".join(map(described, blocking))
        yield f"{event} hook, which may stop it: {names}"


def _renew(plan: Plan, name: str, service: str) -> str:
    spec = next((change.new for change in plan.changes if change.service == service), None)
    alone = spec is not None and spec.replicas == 1
    how = "it is the only one, so the service does not answer meanwhile" if alone else "the others serve meanwhile"
    return f"{name}: drain, burn and make again from the image, wait until it is ready; {how}"
