"""Keys of steps: when the result of an earlier run may stand for a new one. Pure.

Theory. A key is the digest of a *preimage*: named fields in a fixed order, each framed by its length, the format's
version first. A step has up to two keys, tried in this order:

- the *definition key*: what the step is, and the identities of the trees it stands on and reads from. It costs nothing
  to make.
- the *content key* of a step that reads other trees: the same with the content of what it takes in place of their
  identities, so that a stage which was built again with the same outcome changes nothing downstream.

A directory of whoever builds has no identity, so its content is in either key. Where the content is in the key, of a
source's path only its last name is (it is what lands in a directory): a file that moved within its context is no
change. The *identity* of a result is the first key that it was recorded under; whoever finds it by any key goes on with
that, so equal results stay equal for all that stands on them. No time, path or owner of a checkout, and no value of a
secret or proxy, is ever a field; SOURCE_DATE_EPOCH is one of WORKDIR alone (``dating`` says what becomes of the rest).
A field that a step's struct grows belongs here, or into ``NO_FIELDS`` with its reason; a test holds both together.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from bennu.build.graph import Base, Copy, Excerpt, Fetch, GitTree, InlineFile, Local, MakeDirectory, Run, Step
from bennu.build.mounts import AgentMount, BindMount, CacheMount, Look, Mount, SecretMount, TmpfsMount
from bennu.digest import Digest, finish, hash_of_about
from bennu.dockerfile.mounts import Sharing

FORMAT: Final = "7"
"""Changed whenever a step's implementation may leave another tree for the same fields."""

SCRATCH: Final = Digest("sha256:" + "0" * 64)
"""The identity of the empty tree."""

NO_FIELDS: Final[Mapping[str, str]] = {
    "Run.parent": "its identity is a field",
    "Run.declared": "it says for people which variables are build arguments",
    "Run.proxies": "they say how to reach the network, not what is there",
    "Copy.parent": "its identity is a field",
    "Copy.link": "the files are the same with and without it",
    "MakeDirectory.parent": "its identity is a field",
    "Source.vertex": "its identity or the content is a field",
    "BindMount.vertex": "its identity or the content is a field",
    "CacheMount.vertex": "its identity or the content is a field",
    "CacheMount.id": "a cache is allowed to have anything in it, as in BuildKit",
    "CacheMount.sharing": "it says who waits for whom",
}
"""What steps are made of and does not count as it is, with the reason."""


class Key(msgspec.Struct, frozen=True):
    """A key with its preimage: pairs of field and value, kept so that a miss can be explained."""

    digest: Digest
    preimage: tuple[tuple[str, str], ...]


def base_identity(step: Base) -> Digest:
    """The identity of an image's tree: of its layers alone, so that two images with the same layers are one."""
    return _key([("step", "base"), ("chain", step.chain)]).digest


def file_key(name: str, content: Digest, modified: int | None = None) -> Key:
    """The key of a fetched file; with the time at which it was modified (Unix seconds) where that was asked for."""
    said = [] if modified is None else [("modified", str(modified))]
    return _key([("step", "fetch"), ("name", name), ("content", content), *said])


def commit_key(step: GitTree, commit: str, tag: str, ref: str) -> Key:
    """The key of the files of a commit: wherever it comes from, unless its ``.git`` is kept, which says so."""
    reference = step.reference
    fields = [("step", "git"), ("commit", commit), ("submodules", str(reference.submodules))]
    if reference.subdirectory:
        fields.append(("directory", reference.subdirectory))
    elif step.keep_git_dir:
        fields += [("kept", reference.shown), ("ref", ref), ("tag", tag)]
    return _key(fields)


def lookup_key(url: str, name: str) -> Key:
    """Under what it is kept what a URL gave last time."""
    return _key([("step", "url"), ("url", url), ("name", name)])


class Read(NamedTuple):
    """What a step takes from one vertex: the vertex's identity, or where ``by_content`` that of the files taken."""

    digest: Digest
    by_content: bool


def step_key(step: Step, parent: Digest, reads: Mapping[int, Read] | None = None, *, epoch: int | None = None) -> Key:
    """The key of a step upon the identity ``parent``, with what it reads from each vertex of ``reads_of``.

    It is the definition key where trees are read by identity, and the content key where none is. ``epoch`` is
    SOURCE_DATE_EPOCH (Unix seconds), which counts where BuildKit lets it count: for WORKDIR.
    """
    reads = reads or {}
    fields = [("parent", parent), *_fields(step, reads)]
    if isinstance(step, MakeDirectory) and epoch is not None:
        fields.append(("SOURCE_DATE_EPOCH", str(epoch)))
    for number, read in enumerate(reads.values(), 1):
        fields.append((f"{'content' if read.by_content else 'source'} {number}", read.digest))
    return _key(fields)


def link_key(step: Copy, reads: Mapping[int, Read], *, epoch: int | None = None) -> Key:
    """The key of a COPY's layer by the content that it takes (``reads`` are ``by_content``), whatever it stands on.

    ``epoch`` (Unix seconds) is the time that the layer's files have, where one was asked for.
    """
    fields = [("step", "link"), *_fields(step, reads)]
    fields += [(f"content {number}", read.digest) for number, read in enumerate(reads.values(), 1)]
    return _key([*fields, *([] if epoch is None else [("SOURCE_DATE_EPOCH", str(epoch))])])


def _fields(step: Step, reads: Mapping[int, Read]) -> list[tuple[str, str]]:
    match step:
        case Base() | Local() | Fetch() | GitTree():
            raise AssertionError("what stands on nothing and does nothing has no key")
        case Run():
            return [
                ("step", "run"),
                *_numbered("argument", step.arguments),
                *_numbered("environment", step.environment),
                ("directory", step.directory),
                ("user", step.user),
                ("network", step.network),
                *([("script name", step.script.name), ("script", step.script.content)] if step.script else ()),
                *_mounts(step, reads),
                *([] if step.security == "sandbox" else [("security", step.security)]),
                *([("platform", step.platform)] if step.platform else []),
                *_surroundings(step),
            ]
        case Excerpt():
            return [("step", "excerpt")]
        case Copy():
            return [
                ("step", "copy"),
                *_sources(step, reads),
                ("destination", step.destination),
                *_numbered("inline name", tuple(file.name for file in step.inline)),
                *_inline(step.inline),
                ("chown", step.chown or ""),
                ("chmod", _mode(step.chmod or "")),
                *_numbered("exclude", step.exclude),
            ]
        case MakeDirectory():
            return [("step", "directory"), ("path", step.path), *([("user", step.user)] if step.user else ())]


def _mode(written: str) -> str:
    """An octal mode without zeros in front, any other as it is written."""
    return f"{int(written, 8):o}" if re.fullmatch("[0-7]+", written, re.ASCII) else written


def _sources(step: Copy, reads: Mapping[int, Read]) -> Iterator[tuple[str, str]]:
    order = {vertex: number for number, vertex in enumerate(reads, 1)}
    for number, source in enumerate(step.sources, 1):
        path = posixpath.basename(source.path) if reads[source.vertex].by_content else source.path
        yield (f"from {number}", f"{order[source.vertex]} {path}")
        if source.below is not None:
            yield (f"below {number}", source.below)
        if source.is_literal:
            yield (f"literal {number}", "true")
        if source.unpack:
            yield (f"unpack {number}", "true")


def _mounts(step: Run, reads: Mapping[int, Read]) -> Iterator[tuple[str, str]]:
    """The mounts of a RUN in the order of their targets, secrets and agents behind them as they are written.

    As in BuildKit: neither a cache's name nor how it is shared counts, save that it has one of its own; of secrets and
    agents, what is asked for.
    """
    order = {vertex: number for number, vertex in enumerate(reads, 1)}
    for number, mount in enumerate(sorted_mounts(step.mounts), 1):
        name = f"mount {number}"
        match mount:
            case BindMount():
                yield (name, "bind")
                yield (f"{name} access", "rw" if mount.is_writable else "ro")
                yield (f"{name} from", _place(reads, order, mount.vertex, mount.path))
            case CacheMount():
                yield (name, "cache")
                yield (f"{name} access", "ro" if mount.is_readonly else "rw")
                is_plain = mount.id == mount.target and mount.sharing is Sharing.SHARED
                yield (f"{name} id", mount.id if is_plain else "")
                if mount.look is not None:
                    yield (f"{name} look", _shown(mount.look))
                if mount.vertex is not None:
                    yield (f"{name} from", _place(reads, order, mount.vertex, mount.path))
            case TmpfsMount():
                yield (name, "tmpfs")
                yield (f"{name} access", "ro" if mount.is_readonly else "rw")
                yield (f"{name} size", str(mount.size_bytes))
            case SecretMount() | AgentMount():
                yield (name, "secret" if isinstance(mount, SecretMount) else "ssh")
                yield (f"{name} id", mount.id)
                yield (f"{name} required", str(mount.is_required))
                yield (f"{name} look", _shown(mount.look))
                if isinstance(mount, SecretMount) and mount.env is not None:
                    yield (f"{name} env", mount.env)
        if mount.target is not None:
            yield (f"{name} target", mount.target)


def sorted_mounts(mounts: tuple[Mount, ...]) -> list[Mount]:
    """The order in which mounts count: files and directories by target, whatever their order in the Dockerfile."""
    granted = (SecretMount, AgentMount)
    return [
        *sorted((each for each in mounts if not isinstance(each, granted)), key=lambda each: each.target or ""),
        *(each for each in mounts if isinstance(each, granted)),
    ]


def _place(reads: Mapping[int, Read], order: Mapping[int, int], vertex: int, path: str) -> str:
    return str(order[vertex]) if reads[vertex].by_content else f"{order[vertex]} {path}"


def _shown(look: Look) -> str:
    return f"{look.mode:o} {look.uid}:{look.gid}"


def _surroundings(step: Run) -> Iterator[tuple[str, str]]:
    """As in BuildKit, names that were added to /etc/hosts count, and their addresses do not."""
    around = step.around
    for number, (host, _) in enumerate(around.hosts, 1):
        yield (f"host {number}", host)
    for number, limit in enumerate(around.ulimits, 1):
        yield (f"ulimit {number}", f"{limit.name} {limit.soft} {limit.hard}")
    if around.shm_bytes is not None:
        yield ("shm size", str(around.shm_bytes))


def _numbered(name: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"{name} {number}", value) for number, value in enumerate(values, 1)]


def _inline(inline: tuple[InlineFile, ...]) -> Iterator[tuple[str, str]]:
    """Contents; bytes that are not UTF-8, which no record could hold, as hexadecimal digits."""
    for number, file in enumerate(inline, 1):
        try:
            file.content.encode()
        except UnicodeEncodeError:
            yield (f"inline bytes {number}", file.content.encode("utf-8", "surrogateescape").hex())
        else:
            yield (f"inline content {number}", file.content)


def _key(fields: list[tuple[str, str]]) -> Key:
    preimage = (("format", FORMAT), *fields)
    running = hash_of_about(0)
    for name, value in preimage:
        for part in (name, value):
            data = part.encode("utf-8", "surrogateescape")
            running.update(b"%d:" % len(data))
            running.update(data)
    return Key(finish(running), preimage)
