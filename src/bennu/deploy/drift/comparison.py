"""Drift: what differs between what should be and what is, and between replicas. Pure.

``compute`` takes an engine's survey (facts, both sides of each) and what is recorded: the release's sets, what the host
was like, how old replicas may become. Ill health is not drift: a replica that answers no probe is the agent's affair.
What all replicas of a set do alike is the service's own doing, and no drift, where a fact says so (``Facts.peers``).
``drift_kinds`` has the table of kinds, ``drift_text`` the words, ``drift_records`` what is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bennu.compose.struct import Value
from bennu.deploy.drift.kinds import KINDS
from bennu.engine.sets import SetId
from bennu.engine.survey import Facts, Survey

DAY: Final = 86400.0


class Missing(Value, frozen=True, kw_only=True, omit_defaults=True, tag="missing", tag_field="change"):
    """Something that should be there. ``subject`` is what people call the thing it belongs to, ``field`` which it is.

    ``since``: when it became so, where the host can tell; ``first_seen``: when a look found it first. Unix seconds.
    """

    kind: str
    subject: str
    field: str
    want: str
    since: float | None = None
    first_seen: float | None = None
    held: bool = False


class Unexpected(Value, frozen=True, kw_only=True, omit_defaults=True, tag="unexpected", tag_field="change"):
    """Something that should not be there."""

    kind: str
    subject: str
    field: str
    have: str
    since: float | None = None
    first_seen: float | None = None
    held: bool = False


class Changed(Value, frozen=True, kw_only=True, omit_defaults=True, tag="changed", tag_field="change"):
    """Something that should be otherwise."""

    kind: str
    subject: str
    field: str
    want: str
    have: str
    since: float | None = None
    first_seen: float | None = None
    held: bool = False


Drift = Missing | Unexpected | Changed


class Baseline(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a revision was first seen with: the host, by kind, and what the names of its images meant."""

    host: dict[str, dict[str, str]] = {}
    tags: dict[str, str] = {}


class Record(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What is recorded of a project, as far as drift goes.

    ``sets`` are the active revision's by service, None while a rollout is under way or nothing was ever applied.
    ``agent``: whether one runs.
    """

    sets: dict[str, SetId] | None = None
    active: dict[str, SetId] = {}
    baseline: Baseline | None = None
    max_age_seconds: float | None = None
    agent: bool = True


def compute(survey: Survey, record: Record) -> tuple[Drift, ...]:
    """Every drift, in the order of the kinds and then of the subjects."""
    facts = [*survey.facts, *_recorded(survey, record)]
    common = _common(facts)
    found: list[Drift] = []
    for one in facts:
        shared = common.get((one.kind, one.peers or ""))
        if shared is not None or one.counts_alone:
            found += differences(one, shared or frozenset())
    order = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(found, key=lambda drift: (drift.subject, order[drift.kind], drift.field)))


def differences(facts: Facts, common: frozenset[str] = frozenset()) -> Iterator[Drift]:
    """The drifts in one group of facts; ``common`` names what all of its peers have."""
    for name in sorted(facts.want.keys() | facts.have.keys()):
        want, have, since = facts.want.get(name), facts.have.get(name), facts.since.get(name)
        kind, subject = facts.kind, facts.subject
        if want == have or name in common:
            continue
        if have is None and want is not None:
            yield Missing(kind=kind, subject=subject, field=name, want=want, since=since, held=facts.held)
        elif want is None and have is not None:
            yield Unexpected(kind=kind, subject=subject, field=name, have=have, since=since, held=facts.held)
        elif want is not None and have is not None:
            yield Changed(kind=kind, subject=subject, field=name, want=want, have=have, since=since, held=facts.held)


def _common(facts: Iterable[Facts]) -> dict[tuple[str, str], frozenset[str]]:
    """By kind and set: what all replicas of it have or lack, where there are several."""
    groups: dict[tuple[str, str], list[Facts]] = {}
    for one in facts:
        if one.peers is not None and not one.held:
            groups.setdefault((one.kind, one.peers), []).append(one)
    return {
        key: frozenset.intersection(*(frozenset(one.want) | frozenset(one.have) for one in members))
        for key, members in groups.items()
        if len(members) > 1
    }


def _recorded(survey: Survey, record: Record) -> Iterator[Facts]:
    """Facts that an engine does not know: of the history, the clock, the baseline."""
    if record.sets is not None:
        yield from _active(record.sets, record.active)
    if record.active:
        yield Facts(kind="agent", want={"agent": "running"}, have={"agent": "running"} if record.agent else {})
    if record.max_age_seconds is not None:
        yield from _ages(survey, record.max_age_seconds)
    if record.baseline is not None:
        yield from _since_then(survey, record.baseline)


def _active(wanted: Mapping[str, SetId], active: Mapping[str, SetId]) -> Iterator[Facts]:
    for service in sorted(wanted.keys() | active.keys()):
        want = {"set": str(wanted[service])} if service in wanted else {}
        have = {"set": str(active[service])} if service in active else {}
        yield Facts(kind="active", subject=service, want=want, have=have)


def _ages(survey: Survey, most_seconds: float) -> Iterator[Facts]:
    for name, created in sorted(survey.created.items()):
        age = survey.taken - created
        if age > most_seconds:
            text = f"at most {span(most_seconds)}"
            yield Facts(
                kind="age",
                subject=name,
                want={"age": text},
                have={"age": span(age)},
                since={"age": created + most_seconds},
            )


def _since_then(survey: Survey, baseline: Baseline) -> Iterator[Facts]:
    for kind, have in survey.host.items():
        want = baseline.host.get(kind)
        if want is None:
            continue
        # settings come and go with modules of the kernel's
        names = want.keys() & have.keys() if kind == "host-sysctl" else want.keys() | have.keys()
        yield Facts(kind=kind, want=_only(want, names), have=_only(have, names))
    names = baseline.tags.keys() & survey.tags.keys()
    yield Facts(kind="tag", want=_only(baseline.tags, names), have=_only(survey.tags, names))


def _only(texts: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: texts[name] for name in names if name in texts}


def span(seconds: float) -> str:
    """A length of time for people: ``9 days``, ``5 hours``."""
    for size, noun in ((DAY, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= 2 * size or (seconds >= size and noun == "minute"):
            count = int(seconds // size)
            return f"{count} {noun}s" if count != 1 else f"1 {noun}"
    return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
