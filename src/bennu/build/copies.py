"""COPY and ADD: the steps that bring files into a tree. Pure.

Sources are relative to the root of the context, stage or image that they come from, however they are written;
destinations to the working directory. What ADD takes from elsewhere, a URL or a Git repository, is a vertex of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from bennu.build import graph
from bennu.build.commands import cleaned
from bennu.build.graph import Fetch, GitTree, InlineFile, Source
from bennu.build.modes import parse_mode
from bennu.build.remotes import GitReference, file_name, is_url, parse_git_reference, without_credentials
from bennu.build.stages import Stage
from bennu.digest import Digest
from bennu.dockerfile.instructions import Add, Copy
from bennu.dockerfile.source import Span
from bennu.errors import Invalid

_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"[0-9a-fA-F]+")


def lower_copy(stage: Stage, copy: Copy) -> None:
    """COPY. Raises ``Invalid`` at what no builder takes."""
    if copy.from_ is None:
        _lower(stage, copy, stage.build.context)
    else:
        vertex = stage.build.source(stage.index, copy.from_, copy.span.narrow(copy.from_))
        _lower(stage, copy, lambda: vertex)


def lower_add(stage: Stage, add: Add) -> None:
    """ADD: files of the context, whose archives are unpacked unless ``--unpack=false``, URLs, Git repositories."""
    _lower(stage, add, stage.build.context)


def _lower(stage: Stage, written: Copy | Add, local: Callable[[], int]) -> None:
    copy = stage.expanded(written)
    parents = isinstance(copy, Copy) and copy.parents
    _check_checksum(copy)
    step = graph.Copy(
        parent=stage.tip,
        sources=tuple(
            _source(stage, copy, path, copy.span.narrow(original), local)
            for path, original in zip(copy.sources, written.sources, strict=True)
        ),
        destination=_destination(stage, copy.destination),
        inline=tuple(InlineFile(heredoc.name, heredoc.body) for heredoc in copy.heredocs),
        chown=_owner(stage, copy),
        chmod=_mode(copy),
        exclude=copy.exclude,
        link=copy.link and not _names(copy),
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


def _source(stage: Stage, copy: Copy | Add, path: str, place: Span, local: Callable[[], int]) -> Source:
    """What one word of the instruction means: a place in a repository, a URL, or files of ``local``."""
    try:
        reference = parse_git_reference(path)
    except Invalid as error:
        raise place.invalid(f"{copy.keyword.upper()}: {error.message}", error.hint) from error
    if reference is not None and not reference.is_shorthand:
        step = _git_tree(_adding(copy, place, "a Git repository", path), reference, place)
        return Source(stage.build.graph.add(step, f"fetch {reference.shown}", place), ".")
    if is_url(path):
        add = _adding(copy, place, "a URL", path)
        name = file_name(path)
        fetch = Fetch(path, name, Digest(add.checksum) if add.checksum else None)
        vertex = stage.build.graph.add(fetch, f"fetch {without_credentials(path)}", place)
        return Source(vertex, name, is_literal=True, unpack=add.unpack is True)
    if isinstance(copy, Add):
        return Source(local(), _relative(path), unpack=copy.unpack is not False)
    if not copy.parents:
        return Source(local(), _relative(path))
    # a pattern, from the root or from where the pivot stands
    start, pivot, pattern = path.partition("/./")
    return Source(local(), _relative(start) if pivot else ".", below=cleaned(pattern if pivot else path)[1:])


def _adding(copy: Copy | Add, place: Span, kind: str, path: str) -> Add:
    if isinstance(copy, Add):
        return copy
    raise place.invalid(f"COPY: {kind} cannot be a source, but '{path}' is one", "COPY takes files, ADD takes URLs")


def _git_tree(add: Add, reference: GitReference, place: Span) -> GitTree:
    keeps = reference.keep_git_dir if reference.keep_git_dir is not None else add.keep_git_dir
    if add.keep_git_dir is not None and keeps != add.keep_git_dir:
        raise place.invalid(f"ADD: --keep-git-dir={str(add.keep_git_dir).lower()}, but the source says otherwise")
    checksum = reference.checksum or add.checksum or ""
    if add.checksum and checksum != add.checksum:
        raise place.invalid(f"ADD: --checksum={add.checksum}, but the source says {reference.checksum}")
    return GitTree(msgspec.structs.replace(reference, checksum=checksum, keep_git_dir=None), bool(keeps))


def _check_checksum(copy: Copy | Add) -> None:
    if not isinstance(copy, Add) or not copy.checksum:
        return
    place = copy.span.narrow("--checksum")
    if len(copy.sources) != 1:
        raise place.invalid("ADD: --checksum needs a single source", "write one ADD for each")
    (path,) = copy.sources
    if is_url(path):
        if not _SHA256.fullmatch(copy.checksum):
            raise place.invalid(
                f"ADD: --checksum={copy.checksum} is no checksum of a file", "write sha256: and 64 hexadecimal digits"
            )
    elif _is_repository(path):
        if not _COMMIT.fullmatch(copy.checksum):
            raise place.invalid(f"ADD: --checksum={copy.checksum} is no commit", "a commit is hexadecimal")
    else:
        raise place.invalid("ADD: --checksum needs a URL or a Git repository as its source")


def _is_repository(path: str) -> bool:
    with suppress(Invalid):
        reference = parse_git_reference(path)
        return reference is not None and not reference.is_shorthand
    return True  # and what it says is refused elsewhere


def _relative(path: str) -> str:
    return cleaned(path)[1:] or "."


def _names(copy: Copy | Add) -> list[str]:
    """The names in ``--chown`` that only an image knows."""
    return [name for name in (copy.chown or "").split(":") if name and name != "root" and not name.isdigit()]


def _owner(stage: Stage, copy: Copy | Add) -> str | None:
    """As written. Names need an image in which they can be looked up; root is known everywhere."""
    names = _names(copy)
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
