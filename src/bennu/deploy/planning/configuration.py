"""How the configuration of a service differs between two releases: field by field, for people and for programs. Pure.

Values of environment variables are never told, since they may be secrets. Of lists whose order means nothing (mounts,
ports, capabilities) the members that came and went are told; of all others the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from bennu.compose.canonical import canonical_json
from bennu.compose.model import Deploy, Service
from bennu.compose.struct import Value
from bennu.digest import short
from bennu.engine.sets import ReplicaFile

Verdict = Literal["added", "changed", "removed"]

UNORDERED: Final = frozenset({"mounts", "ports", "expose", "cap_add", "cap_drop"})
HIDDEN: Final = ("environment.",)
"""Beginnings of paths whose values are not told."""


class FieldChange(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One difference. ``field`` is a path (``environment.TUNE``, ``mounts``); the values are JSON, or words of one.

    Both values are None where they are not to be told.
    """

    field: str
    verdict: Verdict
    before: str | None = None
    after: str | None = None

    @property
    def line(self) -> str:
        """``environment.TUNE changed``, ``mounts: + volume data at /data``, ``user (unset) -> "www"``."""
        if self.before is None and self.after is None:
            return f"{self.field} {self.verdict}"
        if self.field in UNORDERED:
            return f"{self.field}: {'-' if self.after is None else '+'} {self.before or self.after}"
        return f"{self.field} {self.before or '(unset)'} -> {self.after or '(unset)'}"


def differences(old: Service, new: Service) -> tuple[FieldChange, ...]:
    """What differs for the replicas. How many there are, their image, their order and proofs are told elsewhere."""
    before, after = (msgspec.json.decode(canonical_json(_what_counts(one))) for one in (old, new))
    return tuple(change for field in sorted(before.keys() | after.keys()) for change in _field(field, before, after))


def contents(old: Iterable[ReplicaFile], new: Iterable[ReplicaFile]) -> tuple[FieldChange, ...]:
    """Configs and secrets whose content differs, by version; which are there and where, ``differences`` says."""
    before, after = ({(one.is_secret, one.source): one.version for one in files} for files in (old, new))
    return tuple(
        FieldChange(
            field=f"{'secret' if is_secret else 'config'} {source}",
            verdict="changed",
            before=short(before[is_secret, source]),
            after=short(version),
        )
        for (is_secret, source), version in sorted(after.items())
        if before.get((is_secret, source), version) != version
    )


def _what_counts(service: Service) -> Service:
    return msgspec.structs.replace(
        service,
        image=None,
        depends_on={},
        deploy=Deploy(**{**msgspec.structs.asdict(service.deploy), "replicas": Deploy().replicas}),
        x_bennu=service.x_bennu.without_proof(),
    )


def _field(field: str, before: dict[str, object], after: dict[str, object]) -> Iterator[FieldChange]:
    one, two = before.get(field), after.get(field)
    if field in UNORDERED:
        yield from _members(field, one, two)
    else:
        yield from _difference(field, one, two)


def _members(field: str, before: object, after: object) -> Iterator[FieldChange]:
    lists = [[_worded(field, one) for one in (given if isinstance(given, list) else [])] for given in (before, after)]
    for word in lists[0]:
        if word not in lists[1]:
            yield FieldChange(field=field, verdict="removed", before=word)
    for word in lists[1]:
        if word not in lists[0]:
            yield FieldChange(field=field, verdict="added", after=word)


def _difference(path: str, before: object, after: object) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before or {}, dict) and isinstance(after or {}, dict):
        old, new = (given if isinstance(given, dict) else {} for given in (before, after))
        for key in sorted(old.keys() | new.keys()):
            yield from _difference(f"{path}.{key}", old.get(key), new.get(key))
        return
    verdict: Verdict = "added" if before is None else "removed" if after is None else "changed"
    if path.startswith(HIDDEN):
        yield FieldChange(field=path, verdict=verdict)
    else:
        yield FieldChange(field=path, verdict=verdict, before=_shown(before), after=_shown(after))


def _shown(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _worded(field: str, member: object) -> str:
    if not isinstance(member, dict):
        return str(member)
    if field == "mounts":
        more = {key: value for key, value in member.items() if key not in {"type", "source", "target"}}
        source = f"{member['type']} {member['source']}" if member.get("source") else str(member.get("type"))
        return f"{source} at {member.get('target')}" + (f" {msgspec.json.encode(more).decode()}" if more else "")
    if field == "ports":
        host = f"{member['host_ip']}:" if member.get("host_ip") else ""
        more = {key: value for key, value in member.items() if key not in {"published", "host_ip", "target"}}
        words = "".join(f" {value}" for value in more.values())
        return f"{host}{member.get('published', 'any')} -> {member.get('target')}{words}"
    return msgspec.json.encode(member).decode()
