"""One replica, looked at closely: what its set, its image and its start say against what the kernel says.

``Look`` is all that was read of it; ``facts`` compares (pure), with ``expecting`` for what should be. What the runtime
made at the start (``runtime.interior``) counts where the set says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from bennu.digest import short
from bennu.engine.embedded import expecting
from bennu.engine.embedded.expecting import Expected
from bennu.engine.survey import Facts
from bennu.host.tasks import Task
from bennu.runtime import capabilities
from bennu.runtime.containers import Container
from bennu.runtime.interior import Interior

SAME: Final = ("interface", "address", "route", "firewall", "device")
"""Kinds that should be as they were when the replica started."""


class Look(NamedTuple):
    """What was read of a replica that lives. ``settled``: from when on its files are its own affair no more (Unix
    seconds): once it was ready, programs do not come into its scratch space by themselves.

    ``words``: its command line; ``hosts``: a digest of what its /etc/hosts should say; ``sources``: by target, whether
    what is mounted is what the host has there; ``groups``: control groups of processes that are in others, by pid;
    ``intruders`` and ``guests`` by pid, with what they are and since when.
    """

    container: Container
    image: str
    interior: Interior
    baseline: Interior | None
    init: Task
    uids: frozenset[int]
    environment: dict[str, str] | None
    words: tuple[str, ...]
    oom_score_adj: str
    hosts: str
    sources: dict[str, tuple[str, str]]
    groups: dict[str, str]
    intruders: dict[str, tuple[str, float]]
    guests: dict[str, tuple[str, float]]
    settled: float


def facts(name: str, peers: str, want: Expected, look: Look) -> Iterator[Facts]:
    """Everything there is to say of a replica, whether it is amiss or not."""
    yield from _made(name, want, look)
    yield from _confined(name, want, look)
    yield from _given(name, peers, want, look)
    yield from _joined(name, look)
    yield from _inside(name, peers, want, look)
    yield from _files(name, peers, want, look)


def _own_doing(kind: str, name: str, peers: str, want: Mapping[str, str], have: Mapping[str, str]) -> Facts:
    """Facts that the service may have changed itself: what its replicas do not have in common counts."""
    other = {key for key in want.keys() | have.keys() if want.get(key) != have.get(key)}
    return Facts(
        kind=kind, subject=name, want=_only(want, other), have=_only(have, other), peers=peers, counts_alone=False
    )


def _made(name: str, want: Expected, look: Look) -> Iterator[Facts]:
    record, baseline = look.container.record, look.baseline
    yield Facts(
        kind="configuration",
        subject=name,
        want=expecting.configuration(want.options),
        have=expecting.configuration(record.options),
    )
    yield Facts(
        kind="image", subject=name, want={"image": short(look.image)}, have={"image": short(record.manifest or "")}
    )
    if baseline is not None:
        yield Facts(
            kind="start",
            subject=name,
            want={"first process": f"pid {baseline.pid}, tick {baseline.started}"},
            have={"first process": f"pid {look.init.pid}, tick {look.init.started}"},
        )
    monitor = look.container.status.conmon_pid
    yield Facts(kind="monitor", subject=name, want={"monitor": "conmon"}, have={"monitor": "conmon"} if monitor else {})


def _confined(name: str, want: Expected, look: Look) -> Iterator[Facts]:
    process, init = want.process, look.init
    held = frozenset(process.capabilities)
    extra = {one: "held" for one in capabilities.of_mask(init.bounding | init.effective) if one not in held}
    yield Facts(kind="capability", subject=name, have=extra)
    yield Facts(
        kind="privileges",
        subject=name,
        want={"no_new_privs": _said(process.no_new_privileges)},
        have={"no_new_privs": _said(init.no_new_privileges or not process.no_new_privileges)},
    )
    confined = "filtered" if want.options.confined else "unconfined"
    have_filter = "filtered" if init.seccomp == 2 else "unconfined"
    yield Facts(kind="seccomp", subject=name, want={"system calls": confined}, have={"system calls": have_filter})
    yield Facts(kind="user", subject=name, want=_identity(process.uid, process.gid), have=_own_identity(want, init))


def _given(name: str, peers: str, want: Expected, look: Look) -> Iterator[Facts]:
    """What a process was started with and may change, for itself or for what it executes in its own place."""
    process = want.process
    if look.environment is not None:
        wanted = expecting.environment(process)
        have = {key: expecting.disguised(value) for key, value in look.environment.items()}
        if look.words == process.args:
            yield Facts(kind="environment", subject=name, want=wanted, have=have)
        else:  # it executed something else in its place, and a shell that did so may have set variables
            yield _own_doing("environment", name, peers, wanted, have)
    least, adjusted = process.oom_score_adj, look.oom_score_adj
    raised = int(adjusted or 0) > least
    texts = {"oom_score_adj": str(least)}, {"oom_score_adj": adjusted}
    yield Facts(kind="oom", subject=name, want=texts[0], have=texts[0] if raised else texts[1])
    yield _own_doing("oom", name, peers, *(texts if raised else ({}, {})))
    given = look.baseline.groups["rlimit"] if look.baseline else look.interior.groups["rlimit"]
    limits, have = expecting.rlimits(process, given), look.interior.groups["rlimit"]
    lowered = {key for key in limits.keys() & have.keys() if _number(have[key]) < _number(limits[key])}
    yield Facts(kind="rlimit", subject=name, want=_but(limits, lowered), have=_but(have, lowered))
    yield _own_doing("rlimit", name, peers, _only(limits, lowered), _only(have, lowered))


def _number(limit: str) -> float:
    return float(limit) if limit.isdigit() else float("inf")


def _said(value: bool) -> str:
    return "on" if value else "off"


def _identity(uid: int, gid: int) -> dict[str, str]:
    return {"uid": str(uid), "gid": str(gid)}


def _own_identity(want: Expected, init: Task) -> dict[str, str]:
    """Who it is; root that has become somebody else counts as root."""
    has_stepped_down = want.process.uid == 0 and init.uid != 0
    return _identity(want.process.uid, want.process.gid) if has_stepped_down else _identity(init.uid, init.gid)


def _joined(name: str, look: Look) -> Iterator[Facts]:
    for kind, found in (("process", look.intruders), ("guest", look.guests)):
        yield Facts(
            kind=kind,
            subject=name,
            have={pid: text for pid, (text, _) in found.items()},
            since={pid: since for pid, (_, since) in found.items()},
        )
    yield Facts(kind="control-group", subject=name, have=look.groups)


def _inside(name: str, peers: str, want: Expected, look: Look) -> Iterator[Facts]:
    have, baseline = look.interior.groups, look.baseline
    given = have if baseline is None else baseline.groups
    yield Facts(
        kind="hostname", subject=name, want={"hostname": want.options.hostname or ""}, have=dict(have["hostname"])
    )
    mounted = expecting.mounts(want.options, given["mount"])
    root = {"/": mounted["/"]} if "/" in mounted else {}
    yield Facts(kind="root", subject=name, want=root, have=_only(have["mount"], root))
    below, there = _but(mounted, root), _but(have["mount"], root)
    if "CAP_SYS_ADMIN" in want.process.capabilities:
        yield _own_doing("mount", name, peers, below, there)
    else:
        yield Facts(kind="mount", subject=name, want=below, have=there)
    limits = expecting.limits(want.options.limits, given["limit"])
    yield Facts(kind="limit", subject=name, want=limits, have=have["limit"])
    for kind in SAME:
        if kind != "device" and "CAP_NET_ADMIN" in want.process.capabilities:
            yield _own_doing(kind, name, peers, given[kind], have[kind])
        else:
            since = look.interior.since.get(kind, {})
            yield Facts(kind=kind, subject=name, want=given[kind], have=have[kind], since=since)
    # a setting appears or goes with a module of the kernel's, for the whole host
    both = given["sysctl"].keys() & have["sysctl"].keys()
    yield Facts(kind="sysctl", subject=name, want=_only(given["sysctl"], both), have=_only(have["sysctl"], both))
    yield Facts(
        kind="source",
        subject=name,
        want={target: wanted for target, (wanted, _) in look.sources.items()},
        have={target: found for target, (_, found) in look.sources.items() if found},
    )


def _files(name: str, peers: str, want: Expected, look: Look) -> Iterator[Facts]:
    have, since = look.interior.groups, look.interior.since
    given = have if look.baseline is None else look.baseline.groups
    mounted = {mount.target for mount in want.options.mounts}
    names = {path: text for path, text in given["etc"].items() if path not in mounted}
    if "/etc/hosts" in names:
        names["/etc/hosts"] = look.hosts
    yield Facts(kind="etc", subject=name, want=names, have=_only(have["etc"], names))
    written = since.get("file", {})
    if want.options.readonly:
        yield Facts(kind="file", subject=name, want=given["file"], have=have["file"], since=written)
    else:
        yield Facts(
            kind="program", subject=name, have=_late(_programs(have["file"]), written, look), since=written, peers=peers
        )
    times = since.get("scratch", {})
    yield Facts(
        kind="scratch", subject=name, have=_late(_but(have["scratch"], given["scratch"]), times, look), since=times,
        peers=peers,
    )  # fmt: skip
    allowed = look.uids | {want.process.uid}
    before = look.baseline.owners if look.baseline is not None else look.interior.owners
    strange = {
        path: f"belongs to user {uid}, as whom nothing runs in it"
        for path, uid in look.interior.owners.items()
        if uid not in allowed and path not in before
    }
    owned = since.get("owner", {})
    yield Facts(kind="scratch-owner", subject=name, have=_late(strange, owned, look), since=owned, peers=peers)


def _programs(files: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for path, text in files.items():
        words = text.split()
        is_program = words[0] == "file" and int(words[1], 8) & 0o6111
        if is_program or text == "removed" or words[0].endswith("device") or words[1:2] == ["device"]:
            found[path] = text
    return found


def _late(files: Mapping[str, str], times: Mapping[str, float], look: Look) -> dict[str, str]:
    """Those that came after the replica was ready."""
    return {path: text for path, text in files.items() if times.get(path, 0.0) > look.settled}


def _only(texts: Mapping[str, str], names: object) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name in names}  # type: ignore[operator]


def _but(texts: Mapping[str, str], names: object) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name not in names}  # type: ignore[operator]
