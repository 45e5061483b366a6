"""Base images from the real packages: twice the same, usable, and nothing left of a run that ends early."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from bennu.cli.main import main
from bennu.config import Settings
from bennu.wiring import Store

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def bennu(path, *words, status=0):
    out, err = io.StringIO(), io.StringIO()
    got = main(list(words), {**os.environ, "BENNU_ROOT": str(path)}, stdout=out, stderr=err)
    assert got == status, (words, got, out.getvalue(), err.getvalue())
    return out.getvalue(), err.getvalue()


def test_the_same_packages_give_the_same_image(tmp_path):
    first, progress = bennu(tmp_path / "one", "image", "bootstrap", "debian:bookworm-slim")
    assert "installing essential packages" in progress
    again, said = bennu(tmp_path / "one", "image", "bootstrap", "debian:bookworm-slim")
    assert again == first
    assert "is there" in said
    second, _ = bennu(tmp_path / "two", "image", "bootstrap", "debian:bookworm-slim", "-q")
    assert second == first
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path / "two")})
    with Store(settings) as store:
        image = store.images.resolve("debian:bookworm-slim")
        root = store.snapshots.directory(store.images.snapshot(image))
        assert (root / "usr/bin/apt-get").exists()
        assert os.readlink(root / "bin") == "usr/bin"
        assert list((root / "dev").iterdir()) == []
        assert (root / "etc/hostname").read_bytes() == b""
        assert not any((root / "usr/share/man").glob("man*/*"))
        assert "apt=" in store.images.manifest_bytes(image).decode()
        assert image.config.config.cmd == ("bash",)
    assert os.listdir(settings.temporary) == []


def test_an_archive_that_is_not_there_is_one_error_and_leaves_nothing(tmp_path):
    _, said = bennu(
        tmp_path, "image", "bootstrap", "debian:bookworm", "--mirror", "http://127.0.0.1:9/debian", status=1
    )
    assert "error: debian:bookworm: " in said
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path)})
    assert os.listdir(settings.snapshots) == os.listdir(settings.temporary) == []
    assert bennu(tmp_path, "images", "-q") == ("", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing(tmp_path, number):
    child = subprocess.Popen(
        [sys.executable, "-m", "bennu", "image", "bootstrap", "debian:bookworm"],
        env={**os.environ, "BENNU_ROOT": str(tmp_path)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        for line in child.stderr:
            if "downloading packages" in line:
                break
        child.send_signal(number)
        assert child.wait(60) == 128 + number
    deadline = time.monotonic() + 10
    while _processes_at(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _processes_at(tmp_path) == []
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path)})
    assert os.listdir(settings.snapshots) == os.listdir(settings.temporary) == []


def _processes_at(path):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                line = words.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if os.fsencode(path) in line and int(pid) != os.getpid() and b"pytest" not in line:
            found.append(line)
    return found
