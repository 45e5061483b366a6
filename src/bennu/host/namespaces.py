"""Namespaces that last as long as what runs in them.

A Linux thread can have a mount namespace of its own. ``in_private_mounts`` runs a function in such a thread: what it
mounts is seen by the processes that it starts and by nobody else, and is gone with the last of them, with nothing to
clean up, even after kill -9. That is where the root file systems of containers are mounted, and where crun 1.8 is
kept from seeing the ``unified`` hierarchy of a hybrid cgroup host, which it refuses.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bennu.host import syscalls

T = TypeVar("T")


def in_private_mounts(function: Callable[[], T], *, hide: tuple[Path, ...] = ()) -> T:
    """Call ``function`` in a thread with a private copy of the mount table, after unmounting ``hide`` there.

    Returns its result or raises its exception. Processes that it starts inherit the namespace.
    """

    def enter() -> T:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_private("/")
        for path in hide:
            with suppress(OSError):
                syscalls.umount(path, syscalls.MNT_DETACH)
        return function()

    return _in_thread(enter)


def in_namespace(path: Path, kind: int, function: Callable[[], T]) -> T:
    """Call ``function`` in a thread that has joined the namespace ``path`` stands for (``/proc/1/ns/net``, a bind)."""

    def enter() -> T:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if kind == syscalls.CLONE_NEWNS:
                syscalls.unshare(syscalls.CLONE_FS)
            syscalls.setns(fd, kind)
        finally:
            os.close(fd)
        return function()

    return _in_thread(enter)


def visiting(pids: Iterable[int], function: Callable[[int], T]) -> dict[int, T]:
    """Call ``function`` for each process in the network, IPC and UTS namespaces that it is in; the results by pid.

    One thread visits one after the other. A process that has ended is left out.
    """

    def visit() -> dict[int, T]:
        found = {}
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                syscalls.setns(fd, syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
            except ProcessLookupError:
                continue
            finally:
                os.close(fd)
            found[pid] = function(pid)
        return found

    return _in_thread(visit)


def in_new_network(function: Callable[[], T]) -> T:
    """Call ``function`` in a thread with a network namespace of its own, which nothing has touched yet."""

    def enter() -> T:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        return function()

    return _in_thread(enter)


def _in_thread(function: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller whole, KeyboardInterrupt included
            failures.append(error)

    thread = threading.Thread(target=run, name="bennu-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
