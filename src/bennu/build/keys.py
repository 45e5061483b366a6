"""Keys of steps: when the result of an earlier run may stand for a new one. Pure.

Theory. A key is the digest of a *preimage*: named fields in a fixed order, each framed by its length, the format's
version first. A step has up to two keys, tried in this order:

- the *definition key*: what the step is, and the identities of the trees it stands on and reads from. It costs nothing
  to make.
- the *content key* of a step that reads other trees: the same with the content of what it takes in place of their
  identities, so that a stage which was built again with the same outcome changes nothing downstream.

A directory of whoever builds has no identity, so its content is in either key. Where the content is in the key, of a
source's path only its last name is (it is what lands in a directory): a file that moved within its context
is no change. The *identity* of a result is
the first key that it was recorded under; whoever finds it by any key goes on with that, so equal results stay equal for
all that stands on them. No time, path or owner of a checkout, and no value of a secret or proxy, is ever a field.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from bennu.build.graph import Base, Copy, Local, MakeDirectory, Run, Step
from bennu.digest import Digest

FORMAT: Final = "3"
"""Changed whenever a step's implementation may leave another tree for the same fields."""

SCRATCH: Final = Digest("sha256:" + "0" * 64)
"""The identity of the empty tree."""


class Key(msgspec.Struct, frozen=True):
    """A key with its preimage: pairs of field and value, kept so that a miss can be explained."""

    digest: Digest
    preimage: tuple[tuple[str, str], ...]


def base_identity(step: Base) -> Digest:
    """The identity of an image's tree: of its layers alone, so that two images with the same layers are one."""
    return _key([("step", "base"), ("chain", step.chain)]).digest


class Read(NamedTuple):
    """What a step takes from one vertex: the vertex's identity, or where ``by_content`` that of the files taken."""

    digest: Digest
    by_content: bool


def step_key(step: Step, parent: Digest, reads: Mapping[int, Read] | None = None, *, epoch: int | None = None) -> Key:
    """The key of a step upon the identity ``parent``, with what it reads from each vertex of ``reads_of``.

    It is the definition key where trees are read by identity, and the content key where none is. ``epoch`` is
    SOURCE_DATE_EPOCH, which bounds the times in the tree.
    """
    reads = reads or {}
    fields = [("parent", parent), *_fields(step, reads)]
    for number, read in enumerate(reads.values(), 1):
        fields.append((f"{'content' if read.by_content else 'source'} {number}", read.digest))
    return _key(_dated(fields, epoch))


def _dated(fields: list[tuple[str, str]], epoch: int | None) -> list[tuple[str, str]]:
    return fields if epoch is None else [*fields, ("SOURCE_DATE_EPOCH", str(epoch))]


def _fields(step: Step, reads: Mapping[int, Read]) -> list[tuple[str, str]]:
    match step:
        case Base() | Local():
            raise AssertionError("what stands on nothing and does nothing has no key")
        case Run():
            return [
                ("step", "run"),
                *_numbered("argument", step.arguments),
                *_numbered("environment", step.environment),
                ("directory", step.directory),
                ("user", step.user),
                ("network", step.network),
                ("input", step.input),
                *([("script name", step.script.name), ("script", step.script.content)] if step.script else ()),
            ]
        case Copy():
            return [
                ("step", "copy"),
                *_sources(step, reads),
                ("destination", step.destination),
                *_numbered("inline name", tuple(file.name for file in step.inline)),
                *_numbered("inline content", tuple(file.content for file in step.inline)),
                ("chown", step.chown or ""),
                ("chmod", step.chmod or ""),
                *_numbered("exclude", step.exclude),
                ("unpack", str(step.unpack)),
            ]
        case MakeDirectory():
            return [("step", "directory"), ("path", step.path), *([("user", step.user)] if step.user else ())]


def _sources(step: Copy, reads: Mapping[int, Read]) -> Iterator[tuple[str, str]]:
    order = {vertex: number for number, vertex in enumerate(reads, 1)}
    for number, source in enumerate(step.sources, 1):
        path = posixpath.basename(source.path) if reads[source.vertex].by_content else source.path
        yield (f"from {number}", f"{order[source.vertex]} {path}")


def _numbered(name: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"{name} {number}", value) for number, value in enumerate(values, 1)]


def _key(fields: list[tuple[str, str]]) -> Key:
    preimage = (("format", FORMAT), *fields)
    running = hashlib.sha256()
    for name, value in preimage:
        for part in (name, value):
            data = part.encode("utf-8", "surrogateescape")
            running.update(b"%d:" % len(data))
            running.update(data)
    return Key(Digest(f"sha256:{running.hexdigest()}"), preimage)
