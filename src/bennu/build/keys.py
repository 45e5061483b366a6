"""Keys of steps: when the result of an earlier run may stand for a new one. Pure.

Theory. A key is the digest of a *preimage*: named fields in a fixed order, each framed by its length, the format's
version first. A step has up to two keys, tried in this order:

- the *definition key*: what the step is, and the identities of the trees it stands on. It costs nothing to make.
- the *content key* of a COPY from another step: the same with the content of the files it takes in place of that step's
  identity, so that a stage which was built again with the same outcome changes nothing downstream.

A COPY from the build context has the content in its only key: a context has no identity. Where the content is in the
key, of a source's path only its last name is (it is what lands in a directory): a file that moved within its context
is no change. The *identity* of a result is
the first key that it was recorded under; whoever finds it by any key goes on with that, so equal results stay equal for
all that stands on them. No time, path or owner of a checkout, and no value of a secret or proxy, is ever a field.
"""

from __future__ import annotations

import hashlib
import posixpath
from typing import Final

import msgspec

from bennu.build.graph import Base, Copy, MakeDirectory, Run, Step
from bennu.digest import Digest

FORMAT: Final = "2"
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


def definition_key(step: Step, parent: Digest, *, source: Digest | None = None, epoch: int | None = None) -> Key:
    """The definition key: ``parent`` and ``source`` are identities; for a context's COPY ``source`` is the content.

    ``epoch`` is SOURCE_DATE_EPOCH, which bounds the times in the tree.
    """
    if isinstance(step, Copy) and step.source is None:
        step = _moved(step)
    fields = [("parent", parent), *_fields(step)]
    if source is not None:
        fields.append(("source", source))
    return _key(_dated(fields, epoch))


def content_key(step: Copy, parent: Digest, content: Digest, *, epoch: int | None = None) -> Key:
    """The content key of a COPY from another step."""
    return _key(_dated([("parent", parent), *_fields(_moved(step)), ("content", content)], epoch))


def _moved(step: Copy) -> Copy:
    """The step with the last names of its sources."""
    return msgspec.structs.replace(step, sources=tuple(posixpath.basename(source) for source in step.sources))


def _dated(fields: list[tuple[str, str]], epoch: int | None) -> list[tuple[str, str]]:
    return fields if epoch is None else [*fields, ("SOURCE_DATE_EPOCH", str(epoch))]


def _fields(step: Step) -> list[tuple[str, str]]:
    match step:
        case Base():
            raise AssertionError("a base has an identity and no key")
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
                *_numbered("from", step.sources),
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
