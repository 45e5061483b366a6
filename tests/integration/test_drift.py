"""Drift, injected by hand on one fleet: each kind is found by its name, and nothing is found before and after.

Nobody tends the fleet meanwhile: the agent is stopped, so that what was done stays until it is undone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from bennu.config import Settings
from bennu.deploy.drift.comparison import Drift
from bennu.deploy.drift.kinds import KINDS
from bennu.deploy.drift.text import command, sentence
from bennu.engine.actions import Action, EndHold, HoldReplica, RenewReplica
from bennu.engine.embedded.replicas import network_name
from bennu.host import cgroups
from bennu.oci.reference import parse_reference
from bennu.runtime import options as labels
from bennu.runtime.containers import Container
from bennu.runtime.options import ContainerOptions
from bennu.wiring import Fleet
from tests.integration.fleet_world import PROJECT, FleetWorld, fleet_world
from tests.integration.run_world import eventually

pytestmark = pytest.mark.root

WEB = """\
    environment: {TUNE: "1"}
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 50
    volumes: ["data:/data:ro", "./conf:/conf:ro"]
    expose: ["9000/udp"]
"""
EXTRA = """\
  free:
    image: web:v1
    command: [sh, -c, "sleep 100000 & wait"]
    read_only: false
    user: "33"
    stop_signal: SIGKILL
    healthcheck: {test: [CMD, "true"], interval: 1s, start_period: 30s, start_interval: 50ms}
    deploy: {replicas: 2}
volumes:
  data:
    labels: {keep: "yes"}
"""


@dataclass
class DriftWorld:
    world: FleetWorld
    fleet: Fleet

    def look(self, *, deep: bool = False) -> tuple[Drift, ...]:
        look, _ = self.fleet.drifts.look(PROJECT, deep=deep)
        assert look.notes == ()
        return tuple(drift for drift in look.drifts if drift.kind != "agent")

    def container(self, name: str) -> Container:
        service, _, index = name.rpartition(".")
        wanted = {labels.PROJECT: PROJECT, labels.SERVICE: service, labels.REPLICA: index}
        (found,) = self.fleet.containers.list(wanted)
        return found

    def pid(self, name: str = "web.2") -> int:
        return self.container(name).status.pid

    def root(self, name: str = "web.2") -> Path:
        return Path(f"/proc/{self.pid(name)}/root")

    def upper(self, name: str) -> Path:
        return self.fleet.containers.place(self.container(name).record).upper

    def inside(self, *words: str, name: str = "web.2", spaces: str = "-mp") -> None:
        """A program of the image's, in namespaces of a replica."""
        host("nsenter", "-t", str(self.pid(name)), *(f"-{one}" for one in spaces.strip("-")), *words)

    def execute(self, sql: str, *parameters: object) -> None:
        with sqlite3.connect(self.world.settings.database, timeout=30) as rows:
            rows.execute(sql, parameters)
        rows.close()

    def value(self, sql: str, *parameters: object) -> str:
        with sqlite3.connect(self.world.settings.database, timeout=30) as rows:
            found = rows.execute(sql, parameters).fetchone()[0]
        rows.close()
        return str(found)

    @contextmanager
    def altered(self, table: str, column: str, where: str, change: Callable[[str], str]) -> Iterator[None]:
        before = self.value(f"SELECT {column} FROM {table} WHERE {where}")
        self.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", change(before))
        yield
        self.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", before)

    def renew(self, name: str = "web.2") -> None:
        """The replica made again, and ready."""
        service, _, index = name.rpartition(".")
        active = self.fleet.engine.observe(PROJECT).active[service]
        action = RenewReplica(set=active, index=int(index), drain_seconds=0)
        self.do(action)

    def do(self, action: Action) -> None:
        self.fleet.engine.execute(action, lambda _line: None, threading.Event())
        self.settle()

    def settle(self) -> None:
        """The switch knows who is ready: with nobody who tends, probes and steering come from here."""

        def is_settled() -> bool:
            self.fleet.engine.tend(PROJECT, time.time())
            return all(found.is_ready for found in self.fleet.engine.observe(PROJECT).sets.values())

        eventually(is_settled)
        self.fleet.engine.tend(PROJECT, time.time())


def host(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriftWorld]:
    base = tmp_path_factory.mktemp("drift")
    settings = Settings.from_environ({"BENNU_ROOT": str(base / "root")})
    with fleet_world(settings, base / "site", versions=("v1", "v2")) as world:
        (base / "site" / "conf").mkdir()
        world.write("v1", replicas=2, web=WEB, extra=EXTRA)
        world.apply()
        world.stop_agent()
        with Fleet(settings) as fleet:
            made = DriftWorld(world, fleet)
            made.settle()
            yield made


Inject = Callable[[DriftWorld], AbstractContextManager[None]]
CASES: dict[str, tuple[Inject, tuple[tuple[str, str], ...], bool]] = {}


def found_as(*kinds: tuple[str, str], deep: bool = False) -> Callable[[Inject], Inject]:
    """An injection and what it has to be found as: kind and subject."""

    def register(inject: Inject) -> Inject:
        CASES[inject.__name__] = (inject, kinds, deep)
        return inject

    return register


# who is there


@found_as(("replica", "web"))
@contextmanager
def replica_removed(it: DriftWorld) -> Iterator[None]:
    it.fleet.containers.remove(it.container("web.2").id, force=True)
    yield
    it.renew()


@found_as(("state", "web.2"))
@contextmanager
def replica_killed(it: DriftWorld) -> Iterator[None]:
    os.kill(it.pid(), signal.SIGKILL)
    eventually(lambda: it.container("web.2").status.state == "exited")
    yield
    it.renew()


@found_as(("state", "web.2"))
@contextmanager
def replica_frozen(it: DriftWorld) -> Iterator[None]:
    it.fleet.containers.pause(it.container("web.2").id)
    yield
    it.fleet.containers.unpause(it.container("web.2").id)


@found_as(("container", ""))
@contextmanager
def container_with_the_projects_label(it: DriftWorld) -> Iterator[None]:
    image = it.fleet.engine._replicas.image(next(iter(it.fleet.engine.observe(PROJECT).sets.values())).spec)
    options = ContainerOptions(command=("sleep", "1000"), labels={labels.PROJECT: PROJECT}, network="none")
    record = it.fleet.containers.create(image, options)
    yield
    it.fleet.containers.remove(record.id, force=True)


@found_as(("container", ""))
@contextmanager
def container_in_the_projects_network(it: DriftWorld) -> Iterator[None]:
    image = it.fleet.engine._replicas.image(next(iter(it.fleet.engine.observe(PROJECT).sets.values())).spec)
    options = ContainerOptions(command=("sleep", "1000"), network=network_name(PROJECT))
    record = it.fleet.containers.create(image, options)
    it.fleet.containers.start(record.id)
    yield
    it.fleet.containers.remove(record.id, force=True)


@found_as(("active", "web"))
@contextmanager
def another_set_than_the_releases(it: DriftWorld) -> Iterator[None]:
    with it.altered("revisions", "sets", "state = 'active'", lambda text: text.replace('"web-', '"web-other-')):
        yield


@found_as(("age", "web.1"), ("age", "free.2"))
@contextmanager
def older_than_max_age(it: DriftWorld) -> Iterator[None]:
    before = it.fleet.history.policy(PROJECT)
    assert before is not None
    it.fleet.history.set_policy(PROJECT, msgspec.structs.replace(before, max_age_seconds=0.5))
    yield
    it.fleet.history.set_policy(PROJECT, before)


# how it was made


def _options(change: Callable[[dict[str, object]], None]) -> Callable[[str], str]:
    def altered(text: str) -> str:
        body = json.loads(text)
        change(body["options"])
        return json.dumps(body)

    return altered


@found_as(("configuration", "web.2"))
@contextmanager
def record_altered(it: DriftWorld) -> Iterator[None]:
    where = f"id = '{it.container('web.2').id}'"
    with it.altered("containers", "body", where, _options(lambda options: options.update(working_dir="/tmp"))):
        yield


@found_as(("image", "web.2"))
@contextmanager
def made_from_another_image(it: DriftWorld) -> Iterator[None]:
    other = it.fleet.images.resolve("web:v2").manifest

    def change(text: str) -> str:
        return json.dumps({**json.loads(text), "manifest": other})

    with it.altered("containers", "body", f"id = '{it.container('web.2').id}'", change):
        yield


@found_as(
    ("capability", "web.2"), ("privileges", "web.2"), ("seccomp", "web.2"), ("rlimit", "web.2"), ("oom", "web.2"),
    ("hostname", "web.2"), ("environment", "web.2"), ("limit", "web.2"), ("root", "web.2"),
)  # fmt: skip
@contextmanager
def started_again_with_other_options(it: DriftWorld) -> Iterator[None]:
    one = it.container("web.2")
    other = {
        "cap_add": ["SYS_PTRACE"], "no_new_privileges": False, "confined": False, "user": "33", "oom_score_adj": 100,
        "hostname": "evil", "env": ["TUNE=2"], "readonly": False,
        "limits": {"memory_bytes": 1 << 30, "cpus": None, "pids": None},
        "rlimits": [{"kind": "RLIMIT_NOFILE", "soft": 1000, "hard": 3000}],
    }  # fmt: skip
    it.execute(
        "UPDATE containers SET body = ? WHERE id = ?",
        _options(lambda options: options.update(other))(it.value("SELECT body FROM containers WHERE id = ?", one.id)),
        one.id,
    )
    it.fleet.containers.stop(one.id)
    it.fleet.containers.start(one.id)
    yield
    it.renew()


@found_as(("user", "free.2"))
@contextmanager
def started_again_as_root(it: DriftWorld) -> Iterator[None]:
    one = it.container("free.2")
    body = it.value("SELECT body FROM containers WHERE id = ?", one.id)
    it.execute(
        "UPDATE containers SET body = ? WHERE id = ?",
        _options(lambda options: options.update(user="0"))(body),
        one.id,
    )
    it.fleet.containers.stop(one.id, timeout_seconds=0)
    it.fleet.containers.start(one.id)
    yield
    it.renew("free.2")


@found_as(("start", "web.2"))
@contextmanager
def started_by_somebody_else(it: DriftWorld) -> Iterator[None]:
    path = it.fleet.containers.place(it.container("web.2").record).bundle / "interior.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "started": 1}))
    yield
    path.write_text(before)


@found_as(("monitor", "web.2"))
@contextmanager
def monitor_killed(it: DriftWorld) -> Iterator[None]:
    os.kill(it.container("web.2").status.conmon_pid, signal.SIGKILL)
    eventually(lambda: not it.container("web.2").status.conmon_pid)
    yield
    it.renew()


# its processes


@found_as(("environment", "web.2"))
@contextmanager
def environment_written_over(it: DriftWorld) -> Iterator[None]:
    pid = it.pid()
    start = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[47])
    at = start + Path(f"/proc/{pid}/environ").read_bytes().index(b"TUNE=1") + 5

    def write(data: bytes) -> None:
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(at)
            memory.write(data)

    write(b"2")
    yield
    write(b"1")


@found_as(("oom", "web.2"))
@contextmanager
def killed_sooner_for_memory(it: DriftWorld) -> Iterator[None]:
    path = Path(f"/proc/{it.pid()}/oom_score_adj")
    path.write_text("500")
    yield
    path.write_text("0")


@found_as(("rlimit", "web.2"))
@contextmanager
def resource_limit_lowered(it: DriftWorld) -> Iterator[None]:
    host("prlimit", "--pid", str(it.pid()), "--nofile=100:100")
    yield
    it.renew()  # to raise it takes a capability that not every root has


def _limit(v1: str, v2: str, one: str, other: str, one_v2: str = "", other_v2: str = "") -> Inject:
    @contextmanager
    def inject(it: DriftWorld) -> Iterator[None]:
        group = it.fleet.containers.place(it.container("web.2").record).cgroup
        is_v2 = cgroups.version() == "v2"
        path = cgroups.hierarchies()[0] / group / v2 if is_v2 else cgroups.MOUNT / v1.replace("GROUP", group)
        path.write_text(one_v2 or one if is_v2 else one)
        yield
        path.write_text(other_v2 or other if is_v2 else other)

    return inject


def memory_limit(it: DriftWorld) -> AbstractContextManager[None]:
    return _limit("memory/GROUP/memory.limit_in_bytes", "memory.max", str(96 << 20), str(64 << 20))(it)


def cpu_limit(it: DriftWorld) -> AbstractContextManager[None]:
    return _limit("cpu/GROUP/cpu.cfs_quota_us", "cpu.max", "-1", "50000", "max 100000", "50000 100000")(it)


def pids_limit(it: DriftWorld) -> AbstractContextManager[None]:
    return _limit("pids/GROUP/pids.max", "pids.max", "max", "50")(it)


for each in (memory_limit, cpu_limit, pids_limit):
    found_as(("limit", "web.2"))(each)


@found_as(("control-group", "free.2"))
@contextmanager
def out_of_its_control_group(it: DriftWorld) -> Iterator[None]:
    group = it.fleet.containers.place(it.container("free.2").record).cgroup
    init = it.pid("free.2")
    (child,) = [pid for pid in cgroups.members(group) if pid != init]
    top = cgroups.hierarchies()[0] if cgroups.version() == "v2" else cgroups.MOUNT / "memory"
    away = top / f"{group}-away"
    away.mkdir()
    (away / "cgroup.procs").write_text(str(child))
    yield
    (top / group / "cgroup.procs").write_text(str(child))
    away.rmdir()


def _intruder(*words: str) -> Inject:
    @contextmanager
    def inject(it: DriftWorld) -> Iterator[None]:
        argv = [word.replace("PID", str(it.pid())) for word in words]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as child:
            group = it.fleet.containers.place(it.container("web.2").record).cgroup
            eventually(lambda: b"sleep" in b"".join(_lines(pid) for pid in _family(child.pid, group)))
            yield
            for pid in _family(child.pid, group):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            child.wait(10)
        eventually(lambda: not _family(child.pid, group))

    return inject


def _lines(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _family(pid: int, group: str) -> list[int]:
    """A process and its children, and what sleeps in a control group."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [*map(int, children), *([pid] if b"sleep" in _lines(pid) else [])]
    return [one for one in cgroups.members(group) if b"sleep" in _lines(one)]


@found_as(("process", "web.2"))
@contextmanager
def shell_executed(it: DriftWorld) -> Iterator[None]:
    it.world.succeed("exec", "-d", "web.2", "sleep", "1000")
    yield
    _kill_sleepers(it)


@found_as(("process", "web.2"))
@contextmanager
def left_behind_by_a_shell(it: DriftWorld) -> Iterator[None]:
    it.world.succeed("exec", "web.2", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & true")
    yield
    _kill_sleepers(it)


def _kill_sleepers(it: DriftWorld) -> None:
    group = it.fleet.containers.place(it.container("web.2").record).cgroup

    def sleepers() -> list[int]:
        return [pid for pid in cgroups.members(group) if b"sleep" in _lines(pid)]

    eventually(sleepers)
    for pid in sleepers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not sleepers())


def entered_by_nsenter(it: DriftWorld) -> AbstractContextManager[None]:
    return _intruder("nsenter", "-t", "PID", "-a", "sleep", "1000")(it)


def entered_the_network_only(it: DriftWorld) -> AbstractContextManager[None]:
    return _intruder("nsenter", "-t", "PID", "-n", "sleep", "1000")(it)


found_as(("process", "web.2"))(entered_by_nsenter)
found_as(("guest", "web.2"))(entered_the_network_only)

# its files


def _mounted(kind: str, do: tuple[str, ...], undo: tuple[str, ...], name: str) -> None:
    @contextmanager
    def inject(it: DriftWorld) -> Iterator[None]:
        it.inside(*do)
        yield
        it.inside(*undo)

    inject.__name__ = name
    found_as((kind, "web.2"))(inject)


_mounted("root", ("mount", "-o", "remount,rw", "/"), ("mount", "-o", "remount,ro", "/"), "root_remounted_writable")
_mounted("mount", ("mount", "-t", "tmpfs", "x", "/srv"), ("umount", "/srv"), "something_mounted")
_mounted(
    "mount", ("mount", "-o", "remount,bind,exec", "/tmp"), ("mount", "-o", "remount,bind,noexec", "/tmp"),
    "remounted_with_programs",
)  # fmt: skip
_mounted(
    "mount", ("mount", "-o", "remount,bind,rw", "/data"), ("mount", "-o", "remount,bind,ro", "/data"),
    "volume_remounted_writable",
)  # fmt: skip
_mounted(
    "mount",
    ("umount", "/var/tmp"),
    ("mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "x", "/var/tmp"),
    "mount_taken_away",
)


@found_as(("source", "web.1"))
@contextmanager
def source_of_a_bind_mount_replaced(it: DriftWorld) -> Iterator[None]:
    conf = it.world.directory / "conf"
    conf.rename(it.world.directory / "conf.old")
    conf.mkdir()
    yield
    conf.rmdir()
    (it.world.directory / "conf.old").rename(conf)


@found_as(("file", "web.2"))
@contextmanager
def file_in_the_writable_layer(it: DriftWorld) -> Iterator[None]:
    path = it.upper("web.2") / "etc/evil.conf"
    path.write_text("x")
    yield
    path.unlink()


@found_as(("program", "free.2"))
@contextmanager
def program_in_a_writable_root(it: DriftWorld) -> Iterator[None]:
    path = it.root("free.2") / "srv/tool"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    yield
    path.unlink()


@found_as(("program", "free.2"))
@contextmanager
def removal_in_a_writable_root(it: DriftWorld) -> Iterator[None]:
    path = it.root("free.2") / "bin/stat"
    path.unlink()
    yield
    (it.upper("free.2") / "bin/stat").unlink()


@found_as(("scratch", "web.2"))
@contextmanager
def program_in_scratch_space(it: DriftWorld) -> Iterator[None]:
    path = it.root() / "dev/shm/tool"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    yield
    path.unlink()


@found_as(("scratch-owner", "web.2"))
@contextmanager
def somebody_elses_file(it: DriftWorld) -> Iterator[None]:
    path = it.root() / "tmp/notes"
    path.write_text("x")
    os.chown(path, 1234, 1234)
    yield
    path.unlink()


@found_as(("device", "web.2"))
@contextmanager
def device_made(it: DriftWorld) -> Iterator[None]:
    path = it.root() / "dev/sda"
    os.mknod(path, 0o600 | 0o060000, os.makedev(8, 0))
    yield
    path.unlink()


def _appended(path: str) -> Inject:
    @contextmanager
    def inject(it: DriftWorld) -> Iterator[None]:
        file = it.root() / path
        before = file.read_text()
        with file.open("a") as out:
            out.write("# nobody's\n")
        yield
        with file.open("r+") as out:
            out.truncate(len(before))

    return inject


def names_altered(it: DriftWorld) -> AbstractContextManager[None]:
    return _appended("etc/hosts")(it)


def resolver_altered(it: DriftWorld) -> AbstractContextManager[None]:
    return _appended("etc/resolv.conf")(it)


found_as(("etc", "web.1"), ("etc", "web.2"))(names_altered)
found_as(("etc", "web.2"))(resolver_altered)

# its network


def _networked(kind: str, do: str, undo: str, name: str) -> None:
    @contextmanager
    def inject(it: DriftWorld) -> Iterator[None]:
        gateway = it.fleet.containers.networks.get(network_name(PROJECT)).gateway
        for line in do.split(" ; "):
            host("nsenter", "-t", str(it.pid()), "-n", *line.replace("GATEWAY", str(gateway)).split())
        yield
        for line in undo.split(" ; "):
            host("nsenter", "-t", str(it.pid()), "-n", *line.replace("GATEWAY", str(gateway)).split())

    inject.__name__ = name
    found_as((kind, "web.2"))(inject)


_networked("interface", "ip link add br9 type bridge", "ip link delete br9", "interface_added")
_networked("interface", "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500", "interface_changed")
_networked("address", "ip address add 10.9.9.9/32 dev eth0", "ip address delete 10.9.9.9/32 dev eth0", "address_added")
_networked("route", "ip route add 10.98.0.0/16 via GATEWAY", "ip route delete 10.98.0.0/16", "route_added")
_networked("route", "ip route delete default", "ip route add default via GATEWAY", "route_taken_away")
_networked(
    "firewall", "nft add table ip evil ; nft add chain ip evil c", "nft delete table ip evil", "firewall_table_added"
)
_networked(
    "sysctl", "sysctl -qw net.ipv4.ip_default_ttl=65", "sysctl -qw net.ipv4.ip_default_ttl=64", "kernel_setting_changed"
)


@found_as(("hostname", "web.2"))
@contextmanager
def host_name_changed(it: DriftWorld) -> Iterator[None]:
    host("nsenter", "-t", str(it.pid()), "-u", "hostname", "evil")
    yield
    host("nsenter", "-t", str(it.pid()), "-u", "hostname", "web.2")


# around it


def _bridge(it: DriftWorld) -> str:
    return it.fleet.containers.networks.get(network_name(PROJECT)).bridge


def _port(it: DriftWorld) -> str:
    (plug,) = it.fleet.containers.networks.attachments(it.container("web.2").id)
    return plug.port


@found_as(("plug", "web.2"))
@contextmanager
def unplugged(it: DriftWorld) -> Iterator[None]:
    host("ip", "link", "set", _port(it), "nomaster")
    yield
    host("ip", "link", "set", _port(it), "master", _bridge(it))
    host("bridge", "link", "set", "dev", _port(it), "hairpin", "on")


@found_as(("bridge-port", network_name(PROJECT)))
@contextmanager
def somebody_plugged_in(it: DriftWorld) -> Iterator[None]:
    host("ip", "link", "add", "evil0", "type", "veth", "peer", "name", "evil1")
    host("ip", "link", "set", "evil0", "master", _bridge(it))
    yield
    host("ip", "link", "delete", "evil0")


@found_as(("bridge", network_name(PROJECT)))
@contextmanager
def bridge_switched_off(it: DriftWorld) -> Iterator[None]:
    host("ip", "link", "set", _bridge(it), "down")
    yield
    host("ip", "link", "set", _bridge(it), "up")


@found_as(("stable-address", network_name(PROJECT)))
@contextmanager
def stable_address_taken_away(it: DriftWorld) -> Iterator[None]:
    address = it.fleet.containers.networks.service_addresses(network_name(PROJECT))["web"]
    host("ip", "address", "delete", f"{address}/32", "dev", _bridge(it))
    yield
    host("ip", "address", "add", f"{address}/32", "dev", _bridge(it))


@found_as(("stable-address", network_name(PROJECT)))
@contextmanager
def address_on_the_bridge(it: DriftWorld) -> Iterator[None]:
    host("ip", "address", "add", "10.9.9.8/32", "dev", _bridge(it))
    yield
    host("ip", "address", "delete", "10.9.9.8/32", "dev", _bridge(it))


@found_as(("nftables", ""))
@contextmanager
def rule_added(it: DriftWorld) -> Iterator[None]:
    host("nft", "insert", "rule", "ip", f"bennu_{it.world.settings.key}", "forward", "accept")
    yield
    it.fleet.containers.networks.reconcile()


@found_as(("nftables", ""))
@contextmanager
def rules_flushed(it: DriftWorld) -> Iterator[None]:
    host("nft", "flush", "chain", "ip", f"bennu_{it.world.settings.key}", "postrouting")
    yield
    it.fleet.containers.networks.reconcile()


@found_as(("nftables", ""))
@contextmanager
def table_of_datagrams_deleted(it: DriftWorld) -> Iterator[None]:
    switch = it.fleet.engine._traffic.switch(PROJECT)
    host("nft", "delete", "table", "ip", switch.datagram_table()[0])
    yield
    switch.reconcile()


@found_as(("forwarding", ""))
@contextmanager
def forwarding_switched_off(it: DriftWorld) -> Iterator[None]:
    path = Path(f"/proc/sys/net/ipv4/conf/{_bridge(it)}/route_localnet")
    path.write_text("0")
    yield
    path.write_text("1")


@found_as(("volume", "tiny_data"))
@contextmanager
def volume_with_other_labels(it: DriftWorld) -> Iterator[None]:
    with it.altered("volumes", "labels", "name = 'tiny_data'", lambda _text: '{"bennu.project": "tiny"}'):
        yield


@found_as(("volume", "tiny_data"))
@contextmanager
def volume_with_other_options(it: DriftWorld) -> Iterator[None]:
    with it.altered("volumes", "options", "name = 'tiny_data'", lambda _text: '{"type": "tmpfs", "device": "x"}'):
        yield


@found_as(("volume", "tiny_data"))
@contextmanager
def volume_gone(it: DriftWorld) -> Iterator[None]:
    path = it.world.settings.volumes / "tiny_data"
    path.rename(path.with_name("elsewhere"))
    yield
    path.with_name("elsewhere").rename(path)


# the switch


def _control(it: DriftWorld):
    (generation, *_) = it.fleet.engine._traffic.switch(PROJECT)._processes.alive()
    return generation


@found_as(("switch-process", ""), ("published", ""))
@contextmanager
def switch_killed(it: DriftWorld) -> Iterator[None]:
    switch = it.fleet.engine._traffic.switch(PROJECT)
    for pid in switch.pids():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not switch.pids())
    yield
    switch.tend()


@found_as(("switch-config", ""))
@contextmanager
def configuration_on_the_disk_altered(it: DriftWorld) -> Iterator[None]:
    generation = _control(it)
    path = generation.directory / f"{generation.number}.cfg"
    before = path.read_text()
    path.write_text(before.replace("timeout client 1h", "timeout client 1s"))
    yield
    path.write_text(before)


@found_as(("switch-map", ""))
@contextmanager
def map_altered(it: DriftWorld) -> Iterator[None]:
    generation = _control(it)
    generation.control.execute([f"set map {generation.map_file} web web.3"])
    yield
    it.fleet.engine._traffic.switch(PROJECT).reconcile()


@found_as(("switch-server", ""))
@contextmanager
def server_in_maintenance(it: DriftWorld) -> Iterator[None]:
    generation = _control(it)
    backend, name = next(iter(generation.control.observe(generation.map_file)[1])).backend, ""
    name = next(one.name for one in generation.observe().servers if one.backend == backend)
    generation.control.execute([f"set server {backend}/{name} state maint"])
    yield
    it.fleet.engine._traffic.switch(PROJECT).reconcile()


@found_as(("switch-server", ""))
@contextmanager
def weight_changed(it: DriftWorld) -> Iterator[None]:
    generation = _control(it)
    server = generation.observe().servers[0]
    generation.control.ask(f"set server {server.backend}/{server.name} weight 0%")
    yield
    generation.control.ask(f"set server {server.backend}/{server.name} weight 100%")


@found_as(("switch-frontend", ""))
@contextmanager
def frontend_paused(it: DriftWorld) -> Iterator[None]:
    generation = _control(it)
    generation.control.execute(["disable frontend web.80"])
    yield
    generation.control.execute(["enable frontend web.80"])


@found_as(("switch-active", ""), ("switch-map", ""))
@contextmanager
def committed_switch_altered(it: DriftWorld) -> Iterator[None]:
    path = it.world.settings.projects / PROJECT / "switch/state.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "active": {}}))
    yield
    path.write_text(before)


@found_as(("published", ""))
@contextmanager
def published_port_shared_by_another(it: DriftWorld) -> Iterator[None]:
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        thief.bind(("127.0.0.1", it.world.port))  # HAProxy has bound it as root, too
        thief.listen()
        yield


# what it is made from


def _layer(it: DriftWorld) -> Path:
    return it.world.settings.snapshots / it.container("web.1").record.snapshot / "fs"


@found_as(("layer", "web:v1"))
@contextmanager
def file_of_a_layer_altered(it: DriftWorld) -> Iterator[None]:
    path = _layer(it) / "srv/index.html"
    status = path.stat()
    path.write_text("v9")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # it looks as it did: as long, as old
    yield
    path.write_text("v1")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@found_as(("layer", "web:v1"))
@contextmanager
def file_of_a_layer_removed_and_one_added(it: DriftWorld) -> Iterator[None]:
    path = _layer(it) / "etc/group"
    status = path.parent.stat()
    path.rename(_layer(it) / "etc/evil")
    yield
    (_layer(it) / "etc/evil").rename(path)
    os.utime(path.parent, ns=(status.st_atime_ns, status.st_mtime_ns))


@found_as(("layer", "web:v1"), deep=True)
@contextmanager
def file_of_a_layer_altered_before_the_first_look(it: DriftWorld) -> Iterator[None]:
    path = _layer(it) / "srv/index.html"
    status = path.stat()
    path.write_text("v9")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    it.execute("DELETE FROM layer_inventories")
    assert it.look() == ()  # nothing to compare with
    yield
    path.write_text("v1")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _blob(it: DriftWorld, digest: str) -> Path:
    algorithm, _, digits = digest.partition(":")
    return it.world.settings.blobs / algorithm / digits


@found_as(("blob", "web:v1"))
@contextmanager
def blob_altered(it: DriftWorld) -> Iterator[None]:
    path = _blob(it, it.fleet.images.resolve("web:v1").id)
    before = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(before.replace(b"amd64", b"amd65"))
    yield
    path.write_bytes(before)


@found_as(("blob", "web:v1"))
@contextmanager
def blob_missing(it: DriftWorld) -> Iterator[None]:
    path = _blob(it, it.fleet.images.resolve("web:v1").manifest)
    path.rename(path.with_name("away"))
    yield
    path.with_name("away").rename(path)


@found_as(("tag", ""))
@contextmanager
def name_of_the_image_moved(it: DriftWorld) -> Iterator[None]:
    before = it.fleet.images.resolve("web:v1").manifest
    it.fleet.images.tag(it.fleet.images.resolve("web:v2").manifest, parse_reference("web:v1"))
    yield
    it.fleet.images.tag(before, parse_reference("web:v1"))


# the host


@found_as(("host-sysctl", ""))
@contextmanager
def setting_of_the_host_changed(_it: DriftWorld) -> Iterator[None]:
    path = Path("/proc/sys/vm/swappiness")
    before = path.read_text()
    path.write_text(str(int(before) + 1))
    yield
    path.write_text(before)


def _another_host(kind: str) -> None:
    """The host as it is, and another one recorded: nobody exchanges a kernel for a test."""

    @contextmanager
    def inject(it: DriftWorld) -> Iterator[None]:
        def change(text: str) -> str:
            body = json.loads(text)
            name = min(body["host"][kind])
            body["host"][kind][name] = "what it was"
            return json.dumps(body)

        with it.altered("drift_baselines", "body", "project = 'tiny'", change):
            yield

    inject.__name__ = f"another_{kind.replace('-', '_')}"
    found_as((kind, ""))(inject)


for kind in ("host-kernel", "host-package", "host-program", "host-zone"):
    _another_host(kind)


NOT_INJECTED = {"switch-program", "agent", "upstream"}
"""The host's HAProxy cannot be exchanged while others use it; that nobody tends is the state of this whole fleet; and
names that move upstream are moved where there is a registry.
"""


@pytest.mark.parametrize("name", CASES)
def test_drift_is_found_by_its_name(drifting, name):
    inject, wanted, deep = CASES[name]
    before = drifting.look(deep=deep)
    assert before == (), [sentence(drift) for drift in before]
    with inject(drifting):
        found = drifting.look(deep=deep)
    kinds = {(drift.kind, drift.subject) for drift in found}
    assert set(wanted) <= kinds, [f"{drift.kind} {drift.subject}: {sentence(drift)}" for drift in found]
    assert all(command(drift) for drift in found)
    after = drifting.look(deep=deep)
    assert after == (), [sentence(drift) for drift in after]


def test_how_many_processes_a_look_starts_does_not_depend_on_the_replicas(drifting, monkeypatch):
    started = []
    original = subprocess.Popen.__init__

    def counting(self, args, *more, **options):
        started.append(args)
        original(self, args, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", counting)
    with Fleet(drifting.world.settings) as fresh:
        fresh.drifts.look(PROJECT)
        assert len(started) <= 5, started  # the rules as they are, and once what each script makes of them
        started.clear()
        fresh.drifts.look(PROJECT)
        assert len(started) == 1, started


def test_drift_is_mended_by_replacing(drifting):
    it = drifting
    it.world.succeed("exec", "-d", "web.2", "sleep", "1000")
    (it.root("free.1") / "srv/tool").write_text("#!/bin/sh\n")
    (it.root("free.1") / "srv/tool").chmod(0o755)
    generation = _control(it)
    generation.control.execute([f"set map {generation.map_file} web web.3"])
    host("ip", "address", "add", "10.9.9.8/32", "dev", _bridge(it))
    image = it.fleet.engine._replicas.image(next(iter(it.fleet.engine.observe(PROJECT).sets.values())).spec)
    stray = it.fleet.containers.create(image, ContainerOptions(labels={labels.PROJECT: PROJECT}, network="none"))
    before = {name: it.container(name).id for name in ("web.1", "web.2", "free.1", "free.2")}
    eventually(lambda: len({drift.kind for drift in it.look()}) >= 5)
    done = it.world.bennu("drift", "--detailed-exitcode", "--format", "json")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert {one["kind"] for one in found["drifts"]} == {
        "process", "program", "switch-map", "stable-address", "container", "agent",
    }  # fmt: skip
    assert {one["mend"] for one in found["drifts"]} == {
        "bennu apply --replace web.2", "bennu apply --replace free.1", "bennu drift --fix",
        f"bennu rm --force {stray.name}",
    }  # fmt: skip
    refused = it.world.bennu("drift", "--fix")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    done = it.world.succeed("drift", "--fix", "--yes", "--detailed-exitcode")
    assert done.stdout == f"No drift: {PROJECT} is as it was made.\n"
    after = {name: it.container(name).id for name in before}
    assert {name for name in before if before[name] != after[name]} == {"web.2", "free.1"}
    assert it.world.get() == "v1"
    it.world.stop_agent()


def test_held_replicas_may_drift(drifting):
    it = drifting
    it.do(HoldReplica(project=PROJECT, service="web", index=2))
    held = next(one for one in it.fleet.containers.list() if labels.HELD in one.record.labels)
    (Path(f"/proc/{held.status.pid}/root") / "srv/notes").write_text("x")
    it.world.succeed("exec", "-d", held.name, "sleep", "1000")
    it.settle()
    look, _ = it.fleet.drifts.look(PROJECT)
    assert [drift.kind for drift in look.own] == ["agent"]
    assert {"process", "root"} <= {drift.kind for drift in look.drifts if drift.held}
    done = it.world.bennu("drift", "--format", "json")
    assert {one["subject"] for one in json.loads(done.stdout)["held"]} == {"web.2"}
    it.do(EndHold(project=PROJECT, service="web", index=2, drain_seconds=0))
    assert it.look() == ()


def test_every_kind_is_injected():
    injected = {kind for _, wanted, _ in CASES.values() for kind, _ in wanted}
    assert injected | NOT_INJECTED == set(KINDS)
    assert len(injected) >= 40


def test_nobody_tends(drifting):
    look, _ = drifting.fleet.drifts.look(PROJECT)
    assert [drift.kind for drift in look.drifts] == ["agent"]
