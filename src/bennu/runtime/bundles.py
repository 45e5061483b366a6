"""Bundles of processes that nobody needs to find again: a directory and a name, and nothing of them afterwards.

The name stands for the control group and for the runtime's state, and says which process made it, so that what a
killed one left is recognised and swept by the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bennu.config import Settings
from bennu.host import cgroups, process
from bennu.host.files import remove_tree

PREFIX = "once"


@contextmanager
def temporary_bundle(settings: Settings) -> Iterator[tuple[str, Path]]:
    """A name and a bundle directory with an empty ``rootfs`` in it. Everything of that name is gone afterwards."""
    parent = _parent(settings)
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # environments are in there
    sweep(settings)
    pid = os.getpid()
    name = f"bennu-{settings.key}-{PREFIX}-{pid}-{process.start_time(pid)}-{os.urandom(4).hex()}"
    bundle = parent / name
    bundle.mkdir(mode=0o700)
    (bundle / "rootfs").mkdir()
    try:
        if cgroups.parent():
            cgroups.reserve(name)
        yield name, bundle
    finally:
        _clear(settings, bundle)


def sweep(settings: Settings) -> None:
    """Remove what processes that are dead have left."""
    parent = _parent(settings)
    for name in os.listdir(parent) if parent.is_dir() else ():
        pid, started = name.split("-")[3:5]
        if not process.is_alive(int(pid), int(started)):
            _clear(settings, parent / name)


def _parent(settings: Settings) -> Path:
    return settings.run / "oneshot"


def _clear(settings: Settings, bundle: Path) -> None:
    cgroups.remove(bundle.name, kill=True)
    for state in (settings.run / "oci").glob(f"*/{bundle.name}"):
        remove_tree(state)
    remove_tree(bundle)
