"""A disk that is full, at one write after the other: an apply fails or completes, and is never half."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from bennu.config import Settings
from tests.integration.fleet_world import FleetWorld, fleet_world
from tests.integration.run_world import eventually

pytestmark = pytest.mark.root

DISK_BYTES = 64 << 20
PAGE = 4096
LEFT_PAGES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""How much an apply finds free, until it has enough: so that it fails at a later write each time."""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetWorld]:
    """A fleet whose root is a small file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "bennu-test", disk]
    subprocess.run(mount, check=True, timeout=10)
    try:
        settings = Settings.from_environ({"BENNU_ROOT": str(disk / "root")})
        with fleet_world(settings, tmp_path / "project", ("v1", "v2")) as made:
            yield made
    finally:
        subprocess.run(["umount", disk], check=True, timeout=10)


@contextmanager
def only_left(root: Path, pages: int) -> Iterator[None]:
    """For the block so many pages are free."""
    ballast = root / "ballast"
    with open(ballast, "wb") as file:
        for _ in range(100):
            free = os.statvfs(root)
            size = free.f_bavail * free.f_frsize - pages * PAGE
            with suppress(OSError):  # the agent has written meanwhile
                os.posix_fallocate(file.fileno(), 0, max(size, PAGE))
                break
    try:
        yield
    finally:
        ballast.unlink()


def test_an_apply_that_finds_no_space_fails_or_completes(fleet: FleetWorld):
    fleet.write_with_db("v1", tune="first", replicas=2)
    fleet.apply()
    failed = 0
    for pages in LEFT_PAGES:
        old, new = ("v1", "v2") if fleet.serves("v1") else ("v2", "v1")
        before = fleet.observe().active
        fleet.write_with_db(new, tune=str(pages), replicas=2)
        with only_left(fleet.settings.root, pages):
            done = fleet.bennu("apply", "--yes")
            assert "Traceback" not in done.stderr, done.stderr
            active = fleet.observe().active
            if done.returncode:
                assert "no space" in done.stderr.lower() or "full" in done.stderr.lower(), done.stderr
                failed += 1
            # all of the release or none of it
            assert (active == before) or not (set(active.values()) & set(before.values())), (pages, done.stderr)
            served = old if active == before else new
            eventually(partial(fleet.serves, served))
        fleet.apply()
        eventually(partial(fleet.serves, new))
        fleet.assert_whole(web=2, db=1)
        if done.returncode == 0:
            break
    else:
        raise AssertionError(f"{pages} pages are not enough")
    assert failed >= 3
