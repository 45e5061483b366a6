"""Why steps of a build ran: the fields of their keys that differ from those of the nearest earlier step. Pure.

Theory. A step ran because no record had its key, and a key is nothing but its fields. So the step is laid beside the
same one of earlier builds (``_pairs``: by its text within its stage, else by its place between neighbours), the nearest
is the one with the fewest differences, and the differences are the reasons. A key of what the step stands on differs
where the step below ran, and then that one's reasons are the cause: what follows of it is told as that. ``records`` has
the builds.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal

import msgspec

from bennu.build.listings import File, Listing
from bennu.build.records import BuildRecord, StepRecord

Kind = Literal[
    "no-cache", "new", "failed", "gone", "below", "base", "place", "source", "command", "shell", "argument", "variable",
    "order", "field", "file", "content",
]  # fmt: skip
"""``below``: a step that this one stands on ran again. ``source``: one that it takes files from. ``place``: it stands
on another step than before. ``gone``: the same step ran before, and its record is no more."""

_LABEL: Final = re.compile(r"\[(?:(?P<stage>.*) )?\s*\d+/\d+\] (?P<text>.*)", re.DOTALL)
_NUMBERED: Final = re.compile(r"(argument|environment) \d+")
_LEAST: Final = 0.4  # below this share of equal text a line is no edit of another one, but new


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference. ``subject`` is a path, a variable, a field or a step's text; ``how`` what became of a file."""

    kind: Kind
    subject: str = ""
    before: str | None = None
    after: str | None = None
    how: str = ""
    step: int = 0


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step: what came of it, why, and the build that it was compared with (0: none)."""

    number: int
    label: str
    outcome: str
    reasons: tuple[Reason, ...] = ()
    build: int = 0
    line: int = 0
    seconds: float = 0.0

    @property
    def follows(self) -> bool:
        """It ran only because others did."""
        return bool(self.reasons) and all(reason.kind in {"below", "source"} for reason in self.reasons)


Listings = Callable[[str], Listing | None]


def explain(build: BuildRecord, earlier: Sequence[BuildRecord], listings: Listings) -> list[Explanation]:
    """Every step in order; those that did not run have no reasons. ``earlier``: the newest first."""
    paired = [(before, _pairs(build.steps, before.steps)) for before in earlier]
    found = []
    for step in build.steps:
        reasons: tuple[Reason, ...] = ()
        compared = 0
        if step.outcome != "cached":
            reasons, compared = _reasons(build, step, paired, listings)
        found.append(
            Explanation(step.number, step.label, step.outcome, reasons, compared, step.line, round(step.seconds, 3))
        )
    return found


_Paired = Sequence[tuple[BuildRecord, Mapping[int, StepRecord]]]


def _reasons(
    build: BuildRecord, step: StepRecord, paired: _Paired, listings: Listings
) -> tuple[tuple[Reason, ...], int]:
    if not build.use_cache or step.number in build.fresh:
        return (Reason("no-cache"),), 0
    best: tuple[float, int, StepRecord, BuildRecord] | None = None
    for age, (before, pairs) in enumerate(paired):
        old = pairs.get(step.number)
        if old is not None:
            candidate = (_distance(step, old), age, old, before)
            if best is None or candidate[:2] < best[:2]:
                best = candidate
    if best is None:
        return (Reason("new"),), 0
    _, _, old, before = best
    if old.key == step.key:
        return (Reason("failed" if old.outcome == "failed" else "gone"),), before.id
    differences = _Differences(build, before, listings)
    return tuple(differences.of(step, old)) or (Reason("gone"),), before.id


def _distance(new: StepRecord, old: StepRecord) -> float:
    if new.key == old.key:
        return -1.0 if old.outcome != "failed" else -0.5
    one, other = dict(new.fields), dict(old.fields)
    own = sum(one.get(name) != other.get(name) for name in one.keys() | other.keys() if name != "parent")
    return own + 0.5 * (one.get("parent") != other.get("parent"))


# which step is which


def _pairs(new: Sequence[StepRecord], old: Sequence[StepRecord]) -> dict[int, StepRecord]:
    """For the steps of a build, by number, the same ones of another."""
    found: dict[int, StepRecord] = {}
    left = list(old)
    for told in (_by_stage, _by_text):
        for step in new:
            if step.number not in found:
                same = next((each for each in left if told(each) == told(step)), None)
                if same is not None:
                    found[step.number] = same
                    left.remove(same)
    _by_neighbours(new, old, left, found)
    return found


def _by_stage(step: StepRecord) -> tuple[str, str]:
    return _told(step)


def _by_text(step: StepRecord) -> str:
    return _told(step)[1]


def _told(step: StepRecord) -> tuple[str, str]:
    """A step's stage and text."""
    match = _LABEL.fullmatch(step.label)
    return (match["stage"] or "", match["text"]) if match else ("", step.label)


def _by_neighbours(
    new: Sequence[StepRecord], old: Sequence[StepRecord], left: list[StepRecord], found: dict[int, StepRecord]
) -> None:
    """Pair edited lines: of one kind, and behind the same step, with much of the text in common."""
    places = {step.number: place for place, step in enumerate(old)}
    at = -1
    for step in new:
        if step.number in found:
            at = places[found[step.number].number]
            continue
        following = [each for each in left if places[each.number] > at and _kind(each) == _kind(step)]
        scored = [(_likeness(each, step), -places[each.number], each) for each in following[:8]]
        best = max(scored, key=lambda score: score[:2], default=None)
        if best is not None and best[0] >= _LEAST:
            found[step.number] = best[2]
            left.remove(best[2])
            at = places[best[2].number]


def _likeness(old: StepRecord, new: StepRecord) -> float:
    """How much one line may be an edit of another: its text, and whether it stands on the same."""
    ratio = SequenceMatcher(None, _told(old)[1], _told(new)[1], autojunk=False).ratio()
    return ratio + 0.5 * (dict(old.fields).get("parent") == dict(new.fields).get("parent"))


def _kind(step: StepRecord) -> str:
    return dict(step.fields).get("step", "")


# what is different


class _Differences:
    """The differences of steps of two builds."""

    def __init__(self, build: BuildRecord, before: BuildRecord, listings: Listings) -> None:
        self._new = {step.number: step for step in build.steps}
        self._old = {step.number: step for step in before.steps}
        self._listings = listings

    def of(self, step: StepRecord, old: StepRecord) -> Iterator[Reason]:
        """The step's own differences first, then those that it inherits."""
        one, other = dict(step.fields), dict(old.fields)
        yield from _command(one, other)
        yield from _variables(step, old, one, other)
        inherited: list[Reason] = []
        for name in dict.fromkeys((*one, *other)):
            if one.get(name) == other.get(name) or name == "parent" or _NUMBERED.fullmatch(name):
                continue
            kind, _, number = name.rpartition(" ")
            if kind in {"content", "source"}:
                if (name in one or name in other) and int(number) <= max(len(step.reads), len(old.reads)):
                    inherited += self._read(step, old, int(number))
            elif name == "format":
                yield Reason("field", "bennu's own format of steps", other.get(name), one.get(name))
            else:
                yield Reason("field", name, other.get(name), one.get(name))
        yield from dict.fromkeys(inherited)
        if one.get("parent") != other.get("parent"):
            yield self._below(step, old)

    def _read(self, step: StepRecord, old: StepRecord, number: int) -> Iterator[Reason]:
        """What a step takes from its n-th source."""
        new_content, old_content = dict(step.taken).get(number), dict(old.taken).get(number)
        vertex = step.reads[number - 1] if number <= len(step.reads) else 0
        source = self._new.get(vertex)
        if source is not None and source.outcome == "ran":
            yield Reason("source", source.label, step=source.number)
        if new_content is None or old_content is None:
            if source is None:
                yield Reason("content", "", old_content, new_content)
            elif source.outcome != "ran":
                yield Reason("source", source.label, step=source.number, how="another")
            return
        if new_content == old_content:
            return
        new_files, old_files = self._listings(new_content), self._listings(old_content)
        if new_files is None or old_files is None:
            yield Reason("content", "", old_content, new_content)
        else:
            changes = list(changed_files(old_files, new_files))
            yield from changes or [Reason("content", "", old_content, new_content)]

    def _below(self, step: StepRecord, old: StepRecord) -> Reason:
        below, was = self._new.get(step.parent), self._old.get(old.parent)
        if below is None:
            return Reason("place", "an empty tree", was.label if was else None)
        if below.outcome == "ran":
            return Reason("below", below.label, step=below.number)
        chain, earlier = dict(below.fields).get("chain"), dict(was.fields).get("chain") if was else None
        if chain is not None and earlier is not None:
            return Reason("base", _told(below)[1].removeprefix("FROM "), earlier, chain, step=below.number)
        return Reason("place", below.label, was.label if was else None, below.label, step=below.number)


def _command(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Reason]:
    new, old = _series(one, "argument"), _series(other, "argument")
    if new == old:
        return
    if len(new) == len(old) and new[:-1] != old[:-1] and new[-1] == old[-1]:
        yield Reason("shell", "", shlex.join(old[:-1]), shlex.join(new[:-1]))
    elif len(new) == len(old) and new[:-1] == old[:-1]:
        yield Reason("command", "", old[-1], new[-1])
    else:
        yield Reason("command", "", shlex.join(old), shlex.join(new))


def _series(fields: Mapping[str, str], name: str) -> list[str]:
    found: list[str] = []
    while (value := fields.get(f"{name} {len(found) + 1}")) is not None:
        found.append(value)
    return found


def _variables(step: StepRecord, old: StepRecord, one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Reason]:
    new, before = (dict(_split(item) for item in _series(fields, "environment")) for fields in (one, other))
    declared = {*step.arguments, *old.arguments}
    for name in dict.fromkeys((*new, *before)):
        if new.get(name) != before.get(name):
            kind: Kind = "argument" if name in declared else "variable"
            yield Reason(kind, name, before.get(name), new.get(name))
    if new == before and list(new) != list(before):
        yield Reason("order", "", " ".join(before), " ".join(new))


def _split(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def changed_files(old: Listing, new: Listing) -> Iterator[Reason]:
    """What became of the files of a listing, by path."""
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path), new.get(path)
        if one is None:
            yield Reason("file", path, how="added")
        elif other is None:
            yield Reason("file", path, how="removed")
        elif one != other:
            yield _changed_file(path, one, other)


def _changed_file(path: str, old: File, new: File) -> Reason:
    if old.mode >> 12 != new.mode >> 12:
        return Reason("file", path, _type(old), _type(new), how="type")
    if old.detail != new.detail:
        if old.mode >> 12 == 0o12:
            return Reason(
                "file", path, old.detail.decode(errors="replace"), new.detail.decode(errors="replace"), "target"
            )
        return Reason("file", path, how="changed")
    if old.mode != new.mode:
        return Reason("file", path, f"{old.mode & 0o7777:o}", f"{new.mode & 0o7777:o}", how="mode")
    if old.owner != new.owner:
        return Reason("file", path, "{}:{}".format(*old.owner), "{}:{}".format(*new.owner), how="owner")
    return Reason("file", path, how="attributes")


def _type(file: File) -> str:
    names = {0o4: "directory", 0o10: "file", 0o12: "link", 0o1: "pipe", 0o2: "device", 0o6: "device"}
    return names.get(file.mode >> 12, "something else")
