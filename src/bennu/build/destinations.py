"""Destinations of COPY, ADD and WORKDIR: directories of a mounted tree, found or made, and who is to own them.

Links in a destination, its last name included, are followed as a process chrooted to the tree would follow them,
whether or not something is at their end. Every step on the way is opened with openat2 and RESOLVE_IN_ROOT, so a link
that changes meanwhile leads nowhere else than into the tree. ``copying`` writes into what is found here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bennu.errors import Invalid, NotFound
from bennu.host import files
from bennu.runtime.users import resolve_user

DIRECTORY_MODE: Final = 0o755
MOST_LINKS: Final = 40  # as in the kernel
GREATEST_ID: Final = (1 << 31) - 1

Say = Callable[[str], None]
"""Is told, in one line, what the author should know and what stops nothing."""


def owner_named(spec: str, root: Path, say: Say) -> tuple[int, int]:
    """The user and group that ``spec`` means in the tree at ``root``; a lone number is both, ``5:`` has group 0.

    A user that the tree does not know is root, an unknown group the user's own, as in BuildKit; ``say`` is told.
    """
    passwd, group = (
        (files.read_in_root(root, path) or b"").decode("utf-8", "replace") for path in ("etc/passwd", "etc/group")
    )
    user, colon, group_name = spec.partition(":")
    if user.isdigit() and int(user) > GREATEST_ID:
        say(f"user {user} is beyond {GREATEST_ID}: root is taken instead")
        user = "0"
    if user.isdigit():  # a number is itself, whoever has it for a name
        uid = own = int(user)
    else:
        try:
            found = resolve_user(user, passwd, group)
        except NotFound as error:
            say(f"{error.message}: root is taken instead")
            found = resolve_user("0", "", "")
        uid, own = found.uid, found.gid
    if not group_name:
        return uid, 0 if colon else own
    if group_name.isdigit() and int(group_name) <= GREATEST_ID:
        return uid, int(group_name)
    try:
        return uid, resolve_user(f"0:{group_name}", passwd, group).gid
    except NotFound as error:
        say(f"{error.message}: {own} is taken instead")
        return uid, own


def resolved(root: int, path: str) -> str:
    """The path, absolute inside the root, with its links followed and its dots gone; its end need not be there."""
    left = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while left:
        name = left.pop()
        if name == "..":
            del done[-1:]
        elif name not in {"", "."}:
            target = _link(root, "/" + "/".join([*done, name]))
            if target is None:
                done.append(name)
                continue
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                done.clear()
            left += target.split("/")[::-1]
    return "/" + "/".join(done)


def is_directory(root: int, path: str) -> bool:
    """Whether a directory, or a link to one, is at a path inside the root."""
    try:
        os.close(files.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


@contextmanager
def directory(
    root: int,
    path: str,
    *,
    owner: tuple[int, int] | None = None,
    mode: int = DIRECTORY_MODE,
    epoch: int | None = None,
) -> Iterator[int]:
    """A directory of the tree, open for the block. What is missing on the way is made: ``mode``, ``owner``, and where
    ``epoch`` (Unix seconds) is given that time. ``Invalid`` where something else is in the way.
    """
    made: list[str] = []
    fd = os.dup(root)
    try:
        current = ""
        for name in filter(None, resolved(root, path).split("/")):
            current = f"{current}/{name}"
            try:
                following = files.open_in_root(root, current, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                following = _make(fd, name, owner, mode)
                made.append(current)
            except NotADirectoryError as error:
                raise Invalid(
                    f"destination {path!r} cannot be a directory: {current!r} is there and is none"
                ) from error
            os.close(fd)
            fd = following
        yield fd
    finally:
        os.close(fd)
    if epoch is not None:
        for place in reversed(made):
            with files.directory(place, inside=root) as done:
                os.utime(done, (epoch, epoch))


def _make(parent: int, name: str, owner: tuple[int, int] | None, mode: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    if owner:
        os.fchown(fd, *owner)
    inherited = os.fstat(fd).st_mode & stat.S_ISGID  # from a directory that hands its group on
    os.fchmod(fd, mode | inherited)  # whatever the umask; after chown, which takes set-user-ID bits away
    return fd


def _link(root: int, path: str) -> str | None:
    """What a link says; None for anything else, and for what is not there."""
    try:
        fd = files.open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)
