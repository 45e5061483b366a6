"""The watch for leftovers sees each kind of thing that it is there for."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import key_of
from tests import leftovers
from tests.leftovers import CGROUPS, MARK, RUN, Leftovers

pytestmark = pytest.mark.root


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leftovers:
    monkeypatch.setattr(leftovers, "PATIENCE_SECONDS", 0.0)
    (tmp_path / "world").mkdir()
    return Leftovers(tmp_path, secrets.token_hex(8), is_alone=False)


@pytest.fixture
def key(watch: Leftovers) -> str:
    return key_of(watch.base / "world")


@contextlib.contextmanager
def made(*argv: str, undo: tuple[str, ...]) -> Iterator[None]:
    subprocess.run(argv, check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(undo, check=True, timeout=30)


def test_a_clean_host_has_none(watch: Leftovers):
    assert watch.find() == []


def test_a_mount(watch: Leftovers):
    place = str(watch.base / "world")
    with made("mount", "-t", "tmpfs", "none", place, undo=("umount", place)):
        assert watch.find() == [f"mounts: {place}"]
    assert watch.find() == []


def test_an_interface(watch: Leftovers, key: str):
    name = f"bn{key}-0"
    with made("ip", "link", "add", name, "type", "bridge", undo=("ip", "link", "del", name)):
        assert watch.find() == [f"interfaces: {name}"]


def test_a_network_namespace(watch: Leftovers, key: str):
    name = f"bennu-{key}"
    with made("ip", "netns", "add", name, undo=("ip", "netns", "del", name)):
        assert f"namespaces: {name}" in watch.find()


def test_a_table(watch: Leftovers, key: str):
    name = f"bennu_{key}"
    with made("nft", "add", "table", "ip", name, undo=("nft", "delete", "table", "ip", name)):
        assert watch.find() == [f"tables: ip {name}"]


def test_a_cgroup(watch: Leftovers, key: str):
    hierarchy = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "pids"
    place = hierarchy / f"bennu-{key}-x"
    place.mkdir()
    try:
        assert watch.find() == [f"cgroups: {place}"]
    finally:
        place.rmdir()


def test_a_run_directory(watch: Leftovers, key: str):
    place = RUN / key
    place.mkdir(parents=True)
    try:
        assert watch.find() == [f"directories: {place}"]
    finally:
        place.rmdir()


def test_a_process_that_outlives_its_parent(watch: Leftovers):
    program = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    environ = {**os.environ, MARK: watch.mark}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    try:
        assert watch.find() == [f"process {pid}: sleep 60 "]
    finally:
        os.kill(pid, 9)


def test_other_peoples_things_count_only_when_the_run_is_alone(watch: Leftovers):
    name = f"other{secrets.token_hex(4)}"
    with made("ip", "link", "add", name, "type", "bridge", undo=("ip", "link", "del", name)):
        assert watch.find() == []
        watch.is_alone = True
        assert f"interfaces: {name}" in watch.find()
