"""Mount targets that a root file system lacks: made before a step runs, gone from its snapshot afterwards.

A runtime makes an empty file or directory for each mount whose target is missing, and would leave it in the layer.
``stubs`` makes them first, and afterwards removes those that are still empty and gives their parents the times they
had, so that a step that writes nothing leaves nothing. Paths resolve inside the root (``host.files``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bennu.host.files import directory, open_in_root


class _Stub(NamedTuple):
    """One thing that was made: its name in a directory, and the directory's times before and after that.

    ``depth`` is 1 in the root.
    """

    parent: int
    name: str
    depth: int
    is_directory: bool
    before: tuple[int, int]
    after: tuple[int, int]


@contextmanager
def stubs(rootfs: Path, targets: Iterable[tuple[str, bool]], *, kept: Collection[str] = frozenset()) -> Iterator[None]:
    """For the block, every target (an absolute path, and whether it is a directory) exists in the root file system.

    Those that are ``kept`` stay behind.
    """
    made: list[_Stub] = []
    with directory(rootfs) as root:
        try:
            for target, is_directory in targets:
                with suppress(OSError):  # a dangling link, a file in the way: the runtime's own error says it better
                    _make(root, target, is_directory, made)
            yield
        finally:
            for stub in reversed(made):
                if f"/{stub.name}" not in kept or stub.depth > 1:
                    _remove(stub)
                os.close(stub.parent)


def _make(root: int, target: str, is_directory: bool, made: list[_Stub]) -> None:
    names = [name for name in target.split("/") if name]
    for depth, name in enumerate(names, start=1):
        with suppress(FileNotFoundError):
            os.close(open_in_root(root, "/" + "/".join(names[:depth]), os.O_PATH))
            continue
        parent = open_in_root(root, "/" + "/".join(names[: depth - 1]), os.O_RDONLY | os.O_DIRECTORY)
        try:
            before = _times(parent)
            last = depth == len(names)
            if last and not is_directory:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
            else:
                os.mkdir(name, 0o755, dir_fd=parent)
        except OSError:
            os.close(parent)
            raise
        made.append(_Stub(parent, name, depth, is_directory or not last, before, _times(parent)))


def _times(fd: int) -> tuple[int, int]:
    stat = os.fstat(fd)
    return stat.st_atime_ns, stat.st_mtime_ns


def _remove(stub: _Stub) -> None:
    now = _times(stub.parent)
    try:
        if stub.is_directory:
            os.rmdir(stub.name, dir_fd=stub.parent)
        elif os.stat(stub.name, dir_fd=stub.parent, follow_symlinks=False).st_size == 0:
            os.unlink(stub.name, dir_fd=stub.parent)
        else:
            return
    except OSError:  # the step made it its own, or took it away
        return
    with suppress(OSError):
        os.utime(stub.parent, ns=stub.before if now[1] == stub.after[1] else now)
