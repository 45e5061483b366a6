"""Holds through the command line: begun, journalled, renewed, survived by what is switched around them, harvested,
ended by the clock; and whoever does it killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.deploy.hold.harvest import is_left_out
from bennu.deploy.hold.lease import Hold
from bennu.host.mounts import Overlay, opened
from bennu.runtime.networks import DEFAULT
from bennu.store.tree import is_portable
from bennu.wiring import Fleet
from tests.integration import run_world
from tests.integration.fleet_world import PROJECT, FleetWorld, fleet_world
from tests.integration.run_world import eventually
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

BASE = {
    "etc/app.conf": "threads = 1\n",
    "etc/touched": "as it was\n",
    "etc/removed": "gone soon\n",
    "var/gone/a": "a",
    "var/gone/deep/b": "b",
    "opt/anew/old": "old",
    "opt/file-to-be": "a file",
    "opt/directory-to-be/inside": "inside",
    "srv/index.html": "v1",
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    """Three replicas that stand through several tests; each leaves no hold behind."""
    base = tmp_path_factory.mktemp("held")
    run_world.APPLETS += [each for each in ("touch", "rmdir") if each not in run_world.APPLETS]
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project", ()) as made:
        for version in ("v1", "v2", "v3", "v4"):
            made.world.image(f"web:{version}", files={**BASE, "srv/index.html": version})
        made.write("v1")
        made.apply()
        yield made


def living(fleet: FleetWorld) -> list[Hold]:
    with Fleet(fleet.settings) as wired:
        return list(wired.hold_keeper.holds.living(PROJECT))


def inside(fleet: FleetWorld, script: str, name: str = "web.2-held") -> str:
    return fleet.succeed("exec", name, "sh", "-c", script).stdout


def hold(fleet: FleetWorld, *words: str, name: str = "web.2", seconds: str = "7d") -> subprocess.CompletedProcess[str]:
    return fleet.succeed("hold", name, "--for", seconds, "--reason", "it leaks", *words)


def journal(fleet: FleetWorld, name: str = "web.2") -> dict[str, str]:
    found = json.loads(fleet.succeed("hold", "show", name, "--format", "json").stdout)
    return {f"{line['kind']} {line['what']}": line.get("detail", "") for line in found["journal"]}


def release(fleet: FleetWorld, name: str = "web.2") -> None:
    fleet.succeed("hold", "--release", name, "--yes")
    assert living(fleet) == []
    assert fleet.observe().holds == ()


def test_a_life_of_a_hold(fleet: FleetWorld):
    with Load(fleet.port, posts=False, threads=4, pause_seconds=0.005) as load:
        load.await_requests(20)
        done = hold(fleet)
        load.await_requests(20)
    assert load.problems == []
    assert "web.2 is held until" in done.stderr
    assert "(6d 23h left)" in done.stderr
    seen = fleet.observe()
    assert [one.name for one in seen.holds] == ["web.2"]
    assert len(seen.sets[seen.active["web"]].replicas) == 3

    inside(fleet, "echo threads = 2 > /etc/app.conf; rm /etc/removed; touch /etc/touched; mkdir /opt/new")
    fleet.succeed("exec", "-d", "web.2-held", "sleep", "900")
    found = journal(fleet)
    assert found["process sleep 900"] == "runs"
    assert found["file /etc/app.conf"] == "changed"
    assert found["file /etc/removed"] == "removed"
    assert found["file /opt/new"] == "added"
    assert "file /etc/touched" not in found
    inside(fleet, "rmdir /opt/new")
    assert journal(fleet)["file /opt/new"] == "gone again"

    again = fleet.bennu("hold", "web.2", "--for", "1h", "--reason", "x")
    assert again.returncode != 0
    assert "is held already" in again.stderr
    listed = fleet.succeed("hold", "ls").stdout
    assert "web.2" in listed
    assert "it leaks" in listed
    # what is applied switches around it, and what nothing comes back to goes without it
    first = seen.active["web"]
    for version in ("v2", "v3", "v4"):
        fleet.write(version)
        assert "; it stays as it is" in fleet.apply().stdout
    assert "Held:      web.2, out of the traffic, for 6d 23h more: it leaks" in fleet.succeed("status").stdout
    seen = fleet.observe()
    assert first not in seen.sets
    assert [(one.name, one.replica.state) for one in seen.holds] == [("web.2", "running")]
    fleet.succeed("rollback", "1", "--yes")
    assert fleet.get() == "v1"
    assert len(fleet.observe().sets[first].replicas) == 3
    assert "threads = 2" in inside(fleet, "cat /etc/app.conf")

    assert "cron job" not in fleet.succeed("hold", "--renew", "web.2", "--for", "2d").stderr
    assert (
        "If you set up a cron job to renew it, you are doing it wrong"
        in fleet.succeed("hold", "--renew", "web.2", "--for", "2d").stderr
    )
    assert living(fleet)[0].renewals == 2
    release(fleet)
    fleet.assert_whole(web=3)
    assert "released" in fleet.succeed("hold", "ls", "--all").stdout
    assert journal(fleet)["file /etc/app.conf"] == "changed"


def test_what_is_refused(fleet: FleetWorld):
    for words, problem in (
        (("hold", "web.2", "--for", "7d"), "--reason TEXT is missing"),
        (("hold", "web.2", "--reason", "x"), "--for TIME is missing"),
        (("hold", "web.2", "--reason", "x", "--for", "45d"), "longer than 30d"),
        (("hold", "web", "--reason", "x", "--for", "1d"), "is not a replica"),
        (("hold", "web.9", "--reason", "x", "--for", "1d"), "'web.9' does not exist"),
        (("hold", "no.1", "--reason", "x", "--for", "1d"), "no active set"),
        (("hold", "--renew", "web.2", "--for", "1d"), "is not held"),
        (("hold", "--release", "web.2", "--yes"), "is not held"),
        (("hold", "--harvest", "web.2", "--for", "1d"), "--for means nothing with --harvest"),
        (("hold", "show", "web.3"), "has not been held"),
    ):
        done = fleet.bennu(*words)
        assert done.returncode != 0, words
        assert problem in done.stderr, words
    assert living(fleet) == []
    fleet.assert_whole(web=3)


def test_its_time_is_up(fleet: FleetWorld):
    hold(fleet, seconds="2s")
    container = fleet.observe().hold("web.2").replica.container
    eventually(lambda: living(fleet) == [])
    with Fleet(fleet.settings) as wired:
        assert all(one.id != container for one in wired.containers.list())
        assert wired.hold_keeper.holds.latest(PROJECT, "web", 2).outcome == "its time was up"
    log = (fleet.settings.root / "agent.log").read_text()
    assert "the time of web.2 is up (it leaks)" in log
    fleet.assert_whole(web=3)


def test_an_agent_that_was_dead_ends_it_at_once_and_warns_of_another(fleet: FleetWorld):
    hold(fleet, seconds="3s")
    hold(fleet, name="web.3", seconds="2h")
    fleet.kill_agent()
    with Fleet(fleet.settings) as wired:  # two hours pass, all but ten minutes, for one; the other's time is up anyhow
        keeper = wired.hold_keeper.holds
        for one in keeper.living(PROJECT):
            if one.index == 3:
                keeper.change(one, _aged)
    time.sleep(3)
    assert len(living(fleet)) == 2
    with fleet.running_agent():
        eventually(lambda: [one.index for one in living(fleet)] == [3])
        eventually(lambda: living(fleet)[0].warned == ("day", "hour"))
        eventually(lambda: fleet.observe().hold("web.2") is None)
    release(fleet, "web.3")
    fleet.assert_whole(web=3)


def _aged(hold: Hold) -> Hold:
    import msgspec

    gone = hold.length_seconds - 600
    anchor = msgspec.structs.replace(hold.anchor, left=600.0)
    return msgspec.structs.replace(hold, until=hold.until - gone, anchor=anchor)


def test_in_the_traffic(fleet: FleetWorld):
    hold(fleet, "--in-traffic")
    assert [(one.name, one.traffic) for one in fleet.observe().holds] == [("web.2", "in")]
    assert fleet.get() in {"v1", "v2", "v3", "v4"}
    fleet.write("v2")
    fleet.apply()
    assert {fleet.get() for _ in range(8)} == {"v2"}
    assert fleet.observe().hold("web.2").replica.state == "running"
    release(fleet)
    fleet.write("v1")
    fleet.apply()


# harvest


def test_a_harvest_builds_the_same_files(fleet: FleetWorld, tmp_path: Path):
    hold(fleet)
    _drift(fleet)
    fleet.succeed("stop", "web.2-held")
    text = fleet.succeed("hold", "--harvest", "web.2").stdout
    assert text.startswith("# what drifted in web.2 of project tiny")
    assert "FROM web@sha256:" in text
    assert "COPY --chown=0:0 --chmod=0644 files/etc/app.conf /etc/app.conf" in text
    assert '"/var/gone"' in text
    assert "touched" not in text
    output = tmp_path / "found"
    done = fleet.succeed("hold", "--harvest", "web.2", "-o", str(output))
    assert done.stdout == text
    assert (output / "Dockerfile").read_text() == text
    assert "is not there yet" in fleet.bennu("hold", "--harvest", "web.2", "-o", str(output)).stderr
    fleet.succeed("build", "-t", "found:latest", str(output))
    with Fleet(fleet.settings) as wired:
        files = wired.engine.held_files(PROJECT, "web", 2)
        lowers = files.lower.lowers if isinstance(files.lower, Overlay) else (files.lower.source,)
        covered = {one.strip("/") for one in files.covered}
        image = wired.images.find("found:latest")
        built = wired.snapshots.mounts(wired.images.snapshot(image))
        with opened(Overlay((files.upper, *lowers))) as merged, opened(built) as tree:
            want, have = _tree(merged, covered), _tree(tree, covered)
    assert want["etc/app.conf"] == have["etc/app.conf"]
    assert want.keys() == have.keys()
    assert {path: (want[path], have[path]) for path in want if want[path] != have[path]} == {}
    with Fleet(fleet.settings) as wired:
        wired.containers.networks.remove(DEFAULT)  # which the build made for its RUN
    release(fleet)


def _drift(fleet: FleetWorld) -> None:
    """Every kind of change, made from inside and, where busybox has no tool for it, through the process's root."""
    inside(
        fleet,
        "echo threads = 2 > /etc/app.conf; touch /etc/touched; rm /etc/removed; rm -r /var/gone;"
        "rm -r /opt/anew; mkdir /opt/anew; echo new > /opt/anew/new; rm /opt/file-to-be; mkdir /opt/file-to-be;"
        "echo x > /opt/file-to-be/x; rm -r /opt/directory-to-be; echo y > /opt/directory-to-be;"
        "mkdir /data; chmod 1770 /data; echo one > /data/one; ln /data/one /data/two; ln -s ../etc/app.conf /data/link;"
        "echo run > /data/tool; chmod 4755 /data/tool; dd if=/dev/zero of=/data/big bs=65536 count=3 2>/dev/null;"
        "mkdir -p '/data/a b/c'; echo odd > '/data/a b/c/d e'; echo log > /var/log; chmod 700 /root; echo t > /tmp/t",
    )
    pid = int(fleet.inspect("web.2-held")["State"]["Pid"])  # type: ignore[index]
    root = Path(f"/proc/{pid}/root")
    os.chown(root / "data/tool", 33, 33)
    os.chmod(root / "data/tool", 0o4755)
    os.chown(root / "srv/index.html", 33, 26)
    os.mkfifo(root / "data/fifo", 0o640)
    os.mknod(root / "data/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(root / "data/big", "user.origin", b"a finding")
    os.setxattr(root / "opt", "user.note", b"on a directory of the image")
    os.setxattr(root / "data/one", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    (root / "data" / "caf\udce9").write_text("not UTF-8")


def _tree(root: int, covered: set[str]) -> dict[str, tuple[object, ...]]:
    """Everything that counts of everything in a tree but its times; hard links by the first name of each."""
    found: dict[str, tuple[object, ...]] = {}
    links: dict[int, str] = {}
    for path, directories, names, fd in os.fwalk(".", dir_fd=root, follow_symlinks=False):
        for name in sorted([*directories, *names]):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            place = os.path.normpath(f"{path}/{name}")
            is_stub = place in covered or any(one.startswith(f"{place}/") for one in covered)
            if is_left_out(place) or is_left_out(f"{place}/") or (is_stub and place != "etc"):
                continue
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if kind == stat.S_IFREG:
                with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
                    content = file.read()
                    names_ = os.listxattr(file.fileno())
                    xattrs = {one: os.getxattr(file.fileno(), one) for one in names_ if is_portable(one.encode())}
            elif kind == stat.S_IFLNK:
                content, xattrs = os.readlink(name, dir_fd=fd), {}
            else:
                at = f"/proc/self/fd/{fd}/{name}"
                xattrs = {one: os.getxattr(at, one) for one in os.listxattr(at) if is_portable(one.encode())}
            first = links.setdefault(status.st_ino, place) if status.st_nlink > 1 and kind != stat.S_IFDIR else place
            device = status.st_rdev if kind in {stat.S_IFCHR, stat.S_IFBLK} else 0
            found[place] = (oct(status.st_mode), status.st_uid, status.st_gid, content, first, device, xattrs)
    return found


# kills

KILLED = """
import os, signal, sys
from bennu.cli import main
from bennu.deploy.hold.records import Holds
from bennu.engine.embedded.engine import EmbeddedEngine

left = int(sys.argv[1])

def deadly(owner, name):
    whole = getattr(owner, name)
    def step(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*args, **kwargs)
    setattr(owner, name, step)

for owner, name in (
    (Holds, "add"), (EmbeddedEngine, "execute"), (Holds, "change"), (Holds, "note"), (Holds, "end"),
):
    deadly(owner, name)
sys.exit(main.main(sys.argv[2:], os.environ))
"""


def killed_at(fleet: FleetWorld, step: int, *words: str) -> bool:
    """Run a verb that kills itself before its step of that number; False if it has fewer."""
    argv = [sys.executable, "-c", KILLED, str(step), *words]
    environ = {**fleet.world.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(argv, cwd=fleet.directory, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


def test_whoever_holds_or_releases_is_killed_at_every_step(fleet: FleetWorld):
    words = ("hold", "web.2", "--for", "1d", "--reason", "it leaks")
    steps = 0
    for step in range(1, 30):
        if not killed_at(fleet, step, *words):
            break
        steps += 1
        if not living(fleet) or step % 2:
            fleet.bennu(*words)  # the same again, if the agent has not been quicker
        eventually(lambda: [one.stage for one in living(fleet)] == ["held"])
        assert fleet.observe().hold("web.2").traffic == "out"
        inside(fleet, "touch /etc/found")
        release(fleet)
    assert steps >= 4
    for step in range(1, 30):
        if not living(fleet):
            fleet.succeed(*words)
        if not killed_at(fleet, step, "hold", "--release", "web.2", "--yes"):
            break
        eventually(lambda: all(one.stage == "held" for one in living(fleet)))
    assert step > 2
    fleet.assert_whole(web=3)
    assert living(fleet) == []
