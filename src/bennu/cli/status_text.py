"""One screen on a project, for people: as wide as their terminal, no line broken, what is well told in few words. Pure.

Replicas of a service that are all alike and well share a line, unless all of them are asked for. A fact that is not
there (no hold, no age limit) takes no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from bennu.cli.human import age, duration
from bennu.cli.output import printable, truncated, width
from bennu.deploy.hold.lease import spell
from bennu.deploy.overview import Overview
from bennu.digest import short
from bennu.engine.sets import ReplicaObservation, SetObservation

GAP = "  "
ALIKE = 2
"""So many replicas that are alike and well share a line."""


def render(seen: Overview, columns: int, *, full: bool = False) -> list[str]:
    """The lines, none wider than ``columns``."""
    lines = [*_head(seen)]
    if seen.observation.sets:
        sets = _sets(seen, digests=True)
        if max(map(width, sets)) > columns:
            sets = _sets(seen, digests=False)
        lines += ["", *sets, "", *_replicas(seen, full=full)]
    foot = [*_foot(seen)]
    if foot:
        lines += ["", *foot]
    return [truncated(printable(line), columns) for line in lines]


def _head(seen: Overview) -> Iterator[str]:
    observation, revision = seen.observation, seen.revision
    state = "" if not observation.sets else ", all is well" if seen.is_well else ", NOT WELL"
    yield f"Project:   {observation.project}{state}"
    if revision is None:
        yield "Revision:  none is active"
    else:
        since = duration(seen.now - (revision.finished or revision.started))
        yield f"Revision:  {revision.number} ({revision.what}), release {short(revision.release)}, for {since}"
    if seen.rolling is not None:
        began = age(seen.now - seen.rolling.started)
        yield f"Rolling:   revision {seen.rolling.number} ({seen.rolling.what}) by {seen.rolling.author}, since {began}"
    if observation.sets:
        needed = "not running" if seen.needs_switch else "not needed, no service has ports"
        yield f"Switch:    {'running' if observation.switch_running else needed}"
    yield f"Agent:     {(seen.agent or 'not running').removeprefix('agent ')}"


def _sets(seen: Overview, *, digests: bool) -> list[str]:
    rows = [["SERVICE", "SET", "ROLE", "READY", "REQ/S", "ERRORS", "AGE", "IMAGE"]]
    last = None
    for found in seen.sets:
        service = found.spec.service.name
        ready = sum(replica.is_ready for replica in found.replicas)
        rows.append(
            [
                "" if service == last else service,
                found.id,
                _role(seen, found),
                f"{ready}/{found.spec.replicas}",
                *_traffic(seen, found),
                age(seen.age_seconds(found)) if found.replicas else "-",
                found.spec.image_name + (f" ({short(found.spec.image)})" if digests else ""),
            ]
        )
        last = service
    return _aligned(rows, right={3, 4, 5, 6})


def _role(seen: Overview, found: SetObservation) -> str:
    role = seen.role(found)
    if role == "kept":
        return f"kept {found.temperature}"
    return f"canary {found.share}%" if role == "canary" else role


def _traffic(seen: Overview, found: SetObservation) -> tuple[str, str]:
    """Requests of the last second, and the share that failed of all that were counted."""
    if seen.role(found) not in {"active", "canary"} or not (found.traffic.requests or found.spec.service.ports):
        return "-", "-"
    share = f"{found.traffic.failed_share:.1%}" if found.traffic.requests else "-"
    if found.traffic.failures and share == "0.0%":
        share = "<0.1%"
    return str(found.traffic.per_second), share


def _replicas(seen: Overview, *, full: bool) -> list[str]:
    rows = [["REPLICA", "STATE", "HEALTH", "ADDRESS", "RESTARTS", "PROBLEM"]]
    for service, name in sorted(seen.observation.active.items()):
        found = seen.observation.sets.get(name)
        if found is None:
            rows.append([service, "missing", "", "", "", f"set {name} is gone: `bennu apply` brings it back"])
            continue
        for alike, members in groupby(found.replicas, key=_alike):
            group = list(members)
            if full or alike is None or len(group) < ALIKE:
                rows += [_replica(seen, replica) for replica in group]
            else:
                rows.append(_several(seen, group))
        there = {replica.index for replica in found.replicas}
        missing = [index for index in range(1, found.spec.replicas + 1) if index not in there]
        rows += [[f"{service}.{index}", "missing", "", "", "", "the agent makes it again"] for index in missing]
    return _aligned(rows, right=set())


def _alike(replica: ReplicaObservation) -> str | None:
    """What replicas have to share for one line; None for one that has something to tell."""
    if not replica.is_ready or replica.problem or replica.restarts:
        return None
    return replica.health


def _several(seen: Overview, group: list[ReplicaObservation]) -> list[str]:
    first, last = group[0], group[-1]
    youngest = max(group, key=lambda one: one.started or 0.0)
    health = "-" if first.health == "none" else first.health
    addresses = _range([one.address or "-" for one in group])
    return [f"{first.name}..{last.index}", _state(seen, youngest), health, addresses, "0", ""]


def _range(addresses: list[str]) -> str:
    """``10.0.0.3..6`` where the addresses follow each other, else the first and how many more there are."""
    heads = {one.rpartition(".")[0] for one in addresses}
    ends = [one.rpartition(".")[2] for one in addresses]
    numbers = [int(end) for end in ends if end.isdecimal()]
    if len(heads) == 1 and len(numbers) == len(ends) and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{addresses[0]}..{ends[-1]}"
    return f"{addresses[0]} +{len(addresses) - 1}"


def _replica(seen: Overview, replica: ReplicaObservation) -> list[str]:
    problem = replica.problem.splitlines()[0] if replica.problem else ""
    health = "-" if replica.health == "none" else replica.health
    return [replica.name, _state(seen, replica), health, replica.address or "-", str(replica.restarts), problem]


def _state(seen: Overview, replica: ReplicaObservation) -> str:
    if replica.state == "running" and replica.started is not None:
        return f"up {age(seen.now - replica.started)}"
    return f"exited ({replica.exit_status})" if replica.state == "exited" else replica.state


def _foot(seen: Overview) -> Iterator[str]:
    words = {"in": "in the traffic", "leaving": "about to leave the traffic", "out": "out of the traffic"}
    for hold in seen.observation.holds:
        lease = seen.lease(hold.name)
        line = f"Held:      {hold.name}, {words.get(hold.traffic, hold.traffic)}"
        yield (
            line if lease is None else f"{line}, for {spell(lease.left_seconds)} more: {lease.reason} ({lease.author})"
        )
    if seen.drift is not None and seen.observation.sets:
        found = len(seen.drift.own)
        looked = f"{age(seen.now - seen.drift.taken)} ago"
        yield f"Drift:     {f'{found} found' if found else 'none'} {looked}" + (": `bennu drift`" if found else "")
    due = next((one for one in seen.outlook.due if one.at is not None), None)
    if due is not None and due.at is not None:
        when = "now" if due.at <= seen.now else f"in {age(due.at - seen.now)}"
        yield f"Next:      {due.service} is made again from scratch {when}" + (f" ({due.reason})" if due.reason else "")
    if seen.outlook.proven is not None:
        yield f"Proven:    rebuildable from scratch {age(seen.now - seen.outlook.proven)} ago"
    if seen.unheard:
        calls = "call of a hook" if seen.unheard == 1 else "calls of hooks"
        yield f"Unheard:   {seen.unheard} {calls}: `bennu hooks --owed`"
    last = seen.outlook.last
    if last is not None and not last.ok:
        ago = age(seen.now - last.finished)
        yield f"Drill:     making {last.service} again failed {ago} ago: {last.reason or 'it did not get ready'}"


def _aligned(rows: list[list[str]], right: Iterable[int]) -> list[str]:
    """Columns two blanks apart; those of ``right`` end where their heading does."""
    wide = [max(map(width, column)) for column in zip(*rows, strict=True)]
    flush = set(right)
    return [
        GAP.join(
            " " * (room - width(cell)) + cell if number in flush else cell + " " * (room - width(cell))
            for number, (cell, room) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]
