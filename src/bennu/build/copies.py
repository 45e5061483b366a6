"""COPY and ADD: the steps that bring files into a tree. Pure.

Sources are relative to the root of the context, stage or image that they come from, however they are written;
destinations to the working directory. What the copying does not do is refused here by name.
"""

from __future__ import annotations

import re
from typing import Final

from bennu.build import graph
from bennu.build.commands import cleaned
from bennu.build.graph import InlineFile, Source
from bennu.build.modes import parse_mode
from bennu.build.stages import Stage
from bennu.dockerfile.instructions import Add, Copy

_URL: Final = re.compile(r"https?://", re.ASCII)
_GIT: Final = re.compile(r"(?:git|ssh)://|[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:", re.ASCII)


def lower_copy(stage: Stage, copy: Copy) -> None:
    """COPY. Raises ``Unsupported`` at what is not built, ``Invalid`` at what no builder takes."""
    if copy.from_ is None:
        vertex = stage.build.context()
    else:
        vertex = stage.build.source(stage.index, copy.from_, copy.span.narrow(copy.from_))
    _lower(stage, copy, vertex, unpack=False)


def lower_add(stage: Stage, add: Add) -> None:
    """ADD of files of the context; archives are unpacked unless ``--unpack=false``."""
    _lower(stage, add, stage.build.context(), unpack=add.unpack is not False)


def _lower(stage: Stage, written: Copy | Add, vertex: int, *, unpack: bool) -> None:
    copy = stage.expanded(written)
    parents = isinstance(copy, Copy) and copy.parents
    for path, original in zip(copy.sources, written.sources, strict=True):
        _refuse_remote(copy, path, original)
    if isinstance(copy, Add) and copy.checksum:
        raise copy.span.narrow("--checksum").invalid("ADD: --checksum needs a URL or a Git repository as its source")
    step = graph.Copy(
        parent=stage.tip,
        sources=tuple(_source(vertex, path, unpack=unpack, parents=parents) for path in copy.sources),
        destination=_destination(stage, copy.destination),
        inline=tuple(InlineFile(heredoc.name, heredoc.body) for heredoc in copy.heredocs),
        chown=_owner(stage, copy),
        chmod=_mode(copy),
        exclude=copy.exclude,
    )
    stage.step(step, stage.label(written), written.span)
    words = [
        copy.keyword.upper(),
        *(["--parents"] if parents else []),
        *([f"--chown={copy.chown}"] if copy.chown else []),
        *([f"--chmod={copy.chmod}"] if copy.chmod else []),
        *copy.sources,
        *(f"<<{heredoc.name}" for heredoc in copy.heredocs),
        copy.destination,
        "# buildkit",
    ]
    stage.record(" ".join(words), has_layer=True)


def _source(vertex: int, path: str, *, unpack: bool, parents: bool) -> Source:
    """A source that is a path; with ``--parents`` it is a pattern, from the root or from where ``/./`` stands."""
    if not parents:
        return Source(vertex, _relative(path), unpack=unpack)
    start, pivot, pattern = path.partition("/./")
    return Source(vertex, _relative(start) if pivot else ".", below=cleaned(pattern if pivot else path)[1:])


def _relative(path: str) -> str:
    return cleaned(path)[1:] or "."


def _refuse_remote(copy: Copy | Add, path: str, original: str) -> None:
    place = copy.span.narrow(original)
    name = copy.keyword.upper()
    kind = "a URL" if _URL.match(path) else "a Git repository" if _GIT.match(path) else None
    if kind is None:
        return
    if isinstance(copy, Copy):
        raise place.invalid(f"COPY: {kind} cannot be a source, but '{path}' is one", "COPY takes files, ADD takes URLs")
    raise place.unsupported(f"{name}: {kind} as a source is not built: '{path}'", "fetch it in a RUN, or beforehand")


def _owner(stage: Stage, copy: Copy | Add) -> str | None:
    """As written. Names need an image in which they can be looked up; root is known everywhere."""
    names = [name for name in (copy.chown or "").split(":") if name and name != "root" and not name.isdigit()]
    if names and stage.tip is None:
        raise copy.span.narrow("--chown").invalid(
            f"{copy.keyword.upper()}: --chown={copy.chown} names {names[0]!r}, but nothing is there to look it up in",
            "give numbers, as in --chown=1000:1000",
        )
    return copy.chown or None


def _mode(copy: Copy | Add) -> str | None:
    if not copy.chmod:
        return None
    if parse_mode(copy.chmod) is None:
        raise copy.span.narrow("--chmod").invalid(
            f"{copy.keyword.upper()}: --chmod={copy.chmod} is no mode",
            "write one from 0 to 07777, or changes such as u+x,go-w",
        )
    return copy.chmod


def _destination(stage: Stage, written: str) -> str:
    """Absolute; a slash at the end says that it is a directory, and so do ``.`` and nothing."""
    path = cleaned(written if written.startswith("/") else f"{stage.directory}/{written}")
    is_directory = written in ("", ".") or written.endswith(("/", "/."))
    return f"{path}/" if is_directory and path != "/" else path
