"""COPY and ADD: a selection written into the mounted tree of a step, by Docker's rules.

A directory gives its contents and its time; a file goes to the destination's name, or into it where that is a directory
or ends with a slash. Links in the destination itself are followed (``destinations``). Owners: a context's files are
root's, another tree's keep theirs; ``--chown`` and ``--chmod`` set all, made parents included. SOURCE_DATE_EPOCH, where
it is given, is the time of everything. Source of the rules: the Dockerfile reference, and what BuildKit does where it
says nothing. ``writing`` writes what was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from bennu.build import destinations
from bennu.build.destinations import Say, owner_named
from bennu.build.earlier import Earlier
from bennu.build.entries import Entry
from bennu.build.graph import Copy, InlineFile
from bennu.build.modes import parse_mode
from bennu.build.source import Item, Selection
from bennu.build.unpacking import is_archive, unpack
from bennu.build.writing import Appearance, Own, Target, Writer, clear
from bennu.errors import Invalid
from bennu.host import files

INLINE_MODE: Final = 0o644


def appearance(step: Copy, root: Path, epoch: int | None, say: Say) -> Appearance:
    """The step's options as numbers; names are looked up in the target tree."""
    owner = None if step.chown is None else owner_named(step.chown, root, lambda line: say(f"--chown: {line}"))
    mode = None if step.chmod is None else parse_mode(step.chmod)
    if step.chmod is not None and mode is None:
        raise Invalid(f"--chmod={step.chmod} is not a file mode")
    return Appearance(owner, mode, epoch)


def copy(
    selections: Iterable[Selection],
    step: Copy,
    root: Path,
    epoch: int | None,
    say: Say,
    *,
    layers: Own | None = None,
    earlier: Earlier | None = None,
) -> None:
    """Write selections, then the inline files, into the tree mounted at ``root``; see the module.

    ``layers`` says of what that is an overlay, where it is one. ``earlier`` has files that need no copy.
    """
    copier = _Copier(step, appearance(step, root, epoch, say), Target(root, layers), earlier)
    with files.directory(root) as fd:
        copier.run(fd, selections)


class _Copier:
    """One COPY into one tree."""

    def __init__(self, step: Copy, look: Appearance, tree: Target, earlier: Earlier | None) -> None:
        self._earlier = earlier
        self._step = step
        self._look = look
        self._tree = tree

    def run(self, root: int, selections: Iterable[Selection]) -> None:
        """Write the selections, then the inline files."""
        for selection in selections:
            for item in selection.items:
                if selection.unpack and not item.is_directory and is_archive(item.entries.first.path):
                    self._unpack(root, item)
                else:
                    self._item(root, item, keeps_owners=selection.keeps_owners)
        for file in self._step.inline:
            self._inline(root, file)

    def _item(self, root: int, item: Item, *, keeps_owners: bool) -> None:
        entries: Iterable[Entry]
        if item.is_directory:
            directory, entries = self._step.destination, item.entries.rest()
        else:
            directory, name = self._place(root, item.name)
            entries = [item.entries.first._replace(target=name)]
        with self._directory(root, directory) as fd:
            writer = Writer(self._tree, fd, self._look, keeps_owners=keeps_owners, earlier=self._earlier)
            writer.contents(entries)
            if item.is_directory and item.name:  # the root of a context has no time that means anything
                os.utime(fd, ns=self._look.times(item.entries.first.status))

    def _unpack(self, root: int, item: Item) -> None:
        owner, epoch = self._look.owner, self._look.epoch
        with destinations.directory(root, self._step.destination, owner=owner, epoch=epoch) as fd:
            unpack(item.entries.first.path, item.name, fd, owner)

    def _inline(self, root: int, file: InlineFile) -> None:
        directory, name = self._place(root, file.name)
        with self._directory(root, directory) as fd:
            clear(fd, name)
            mode = INLINE_MODE if self._look.mode is None else self._look.mode.of(INLINE_MODE, is_directory=False)
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=fd)
            with open(target, "wb") as stream:
                stream.write(file.content.encode("utf-8", "surrogateescape"))
                stream.flush()
                os.fchown(target, *(self._look.owner or (0, 0)))
                os.fchmod(target, mode)
                if self._look.epoch is not None:  # else it is as old as this step
                    os.utime(target, (self._look.epoch, self._look.epoch))

    def _place(self, root: int, name: str) -> tuple[str, str]:
        """The directory and name that a file goes to."""
        destination = self._step.destination
        if destination.endswith("/"):
            return destination, name
        destination = destinations.resolved(root, destination)
        return (destination, name) if destinations.is_directory(root, destination) else os.path.split(destination)

    def _directory(self, root: int, path: str) -> AbstractContextManager[int]:
        look = self._look
        # a number counts for directories on the way as for mkdir(2) under the usual umask, as in BuildKit
        number = None if look.mode is None else look.mode.number
        mode = destinations.DIRECTORY_MODE if number is None else number & 0o777 & ~0o022
        return destinations.directory(root, path, owner=look.owner, mode=mode, epoch=look.epoch)
