"""No field of a step is forgotten: each one is changed here and changes the key, or stands in ``NO_FIELDS``.

A struct that grows a field fails the first test until the field has a sample here and its place in ``keys``.
"""

from __future__ import annotations

import typing

import msgspec
import pytest

from bennu.build import graph, keys, mounts
from bennu.build.graph import Copy, InlineFile, MakeDirectory, Run, Source, Step, Surroundings, Ulimit, reads_of
from bennu.build.keys import NO_FIELDS, SCRATCH, Read, step_key
from bennu.build.mounts import AgentMount, BindMount, CacheMount, Look, SecretMount, TmpfsMount
from bennu.digest import digest_of
from bennu.dockerfile.mounts import Sharing

MOUNTS = (
    BindMount("/bind", 5, "/of"),
    CacheMount("/cache", "id", look=Look(0o700), vertex=6),
    TmpfsMount("/tmp"),
    SecretMount("secret", "/secret"),
    AgentMount("agent", "/agent"),
)
RUN = Run(
    parent=1,
    arguments=("make",),
    environment=("A=1",),
    script=InlineFile("name", "content"),
    mounts=MOUNTS,
    around=Surroundings((("host", "address"),), (Ulimit("nofile", 1, 2),), 64),
)
COPY = Copy(parent=1, sources=(Source(2, "a"), Source(3, "b")), destination="/x", inline=(InlineFile("n", "c"),))
MADE = MakeDirectory(parent=1, path="/app")

CHANGES: dict[str, tuple[Step, object]] = {
    "Run.arguments": (RUN, ("make", "all")),
    "Run.environment": (RUN, ("A=2",)),
    "Run.directory": (RUN, "/app"),
    "Run.user": (RUN, "web"),
    "Run.network": (RUN, "none"),
    "Run.script": (RUN, None),
    "Run.mounts": (RUN, MOUNTS[:-1]),
    "Run.security": (RUN, "insecure"),
    "Run.platform": (RUN, "linux/arm64"),
    "Run.around": (RUN, Surroundings()),
    "Copy.sources": (COPY, COPY.sources[::-1]),
    "Copy.destination": (COPY, "/y"),
    "Copy.inline": (COPY, ()),
    "Copy.chown": (COPY, "web"),
    "Copy.chmod": (COPY, "700"),
    "Copy.exclude": (COPY, ("*.o",)),
    "MakeDirectory.path": (MADE, "/other"),
    "MakeDirectory.user": (MADE, "web"),
    "InlineFile.name": (RUN, "other"),
    "InlineFile.content": (RUN, "other"),
    "Source.path": (COPY, "other"),
    "Source.below": (COPY, "**/*.c"),
    "Source.is_literal": (COPY, True),
    "Source.unpack": (COPY, True),
    "BindMount.target": (RUN, "/other"),
    "BindMount.path": (RUN, "/other"),
    "BindMount.is_writable": (RUN, True),
    "CacheMount.target": (RUN, "/other"),
    "CacheMount.is_readonly": (RUN, True),
    "CacheMount.path": (RUN, "/other"),
    "CacheMount.look": (RUN, Look(0o755)),
    "TmpfsMount.target": (RUN, "/other"),
    "TmpfsMount.size_bytes": (RUN, 1),
    "TmpfsMount.is_readonly": (RUN, True),
    "SecretMount.id": (RUN, "other"),
    "SecretMount.target": (RUN, "/other"),
    "SecretMount.env": (RUN, "OTHER"),
    "SecretMount.is_required": (RUN, True),
    "SecretMount.look": (RUN, Look(0o444)),
    "AgentMount.id": (RUN, "other"),
    "AgentMount.target": (RUN, "/other"),
    "AgentMount.is_required": (RUN, True),
    "AgentMount.look": (RUN, Look(0o666)),
    "Look.mode": (RUN, 0o711),
    "Look.uid": (RUN, 7),
    "Look.gid": (RUN, 7),
    "Surroundings.hosts": (RUN, (("other", "address"),)),
    "Surroundings.ulimits": (RUN, (Ulimit("nofile", 1, 3),)),
    "Surroundings.shm_bytes": (RUN, 65),
    "Ulimit.name": (RUN, "nproc"),
    "Ulimit.soft": (RUN, 0),
    "Ulimit.hard": (RUN, 3),
}


def structs(*roots: type) -> set[type[msgspec.Struct]]:
    """Every struct that the fields of these lead to."""
    found: set[type[msgspec.Struct]] = set()
    todo: list[object] = list(roots)
    while todo:
        each = todo.pop()
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            if each not in found:
                found.add(each)
                todo += typing.get_type_hints(each, vars(graph) | vars(mounts)).values()
        else:
            todo += typing.get_args(each)
    return found


def test_every_field_is_either_in_the_key_or_said_not_to_be():
    fields = {
        f"{each.__name__}.{name}" for each in structs(Run, Copy, MakeDirectory) for name in each.__struct_fields__
    }
    assert fields == set(CHANGES) | set(NO_FIELDS)
    assert not set(CHANGES) & set(NO_FIELDS)


def replaced(value: object, kind: str, name: str, new: object) -> object:
    """A value with a field of each struct of one kind in it replaced."""
    if isinstance(value, tuple):
        return tuple(replaced(each, kind, name, new) for each in value)
    if not isinstance(value, msgspec.Struct):
        return value
    inner = {field: replaced(getattr(value, field), kind, name, new) for field in value.__struct_fields__}
    value = type(value)(**inner)
    return msgspec.structs.replace(value, **{name: new}) if type(value).__name__ == kind else value


def key(step: Step):
    reads = {vertex: Read(digest_of(b"%d" % vertex), by_content=False) for vertex in reads_of(step)}
    return step_key(step, SCRATCH, reads).digest


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_counts(field):
    kind, _, name = field.partition(".")
    step, new = CHANGES[field]
    changed = replaced(step, kind, name, new)
    assert changed != step, "the sample is no change"
    assert key(changed) != key(step)


@pytest.mark.parametrize(
    ("field", "new"),
    [
        ("Run.parent", 9),
        ("Run.proxies", ("HTTP_PROXY=x",)),
        ("CacheMount.id", "x"),
        ("CacheMount.sharing", Sharing.LOCKED),
    ],
)
def test_what_is_said_not_to_count_does_not(field, new):
    kind, _, name = field.partition(".")
    assert key(replaced(RUN, kind, name, new)) == key(RUN)


def test_a_default_cache_is_told_from_one_with_a_name():
    plain = msgspec.structs.replace(RUN, mounts=(CacheMount("/c", "/c"),))
    assert key(plain) != key(replaced(plain, "CacheMount", "id", "named"))


def test_a_step_that_keys_do_not_know_is_no_step():
    known = set(typing.get_args(graph.Step))
    assert known == {graph.Base, graph.Local, graph.Excerpt, graph.Fetch, graph.GitTree, Run, Copy, MakeDirectory}
    assert keys.FORMAT
