"""A root, a project of two small services, and the command line: what the tests of whole fleets do their work with."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bennu.config import Settings
from bennu.deploy import agent
from bennu.engine.sets import Observation
from bennu.host import mounts
from bennu.host.files import remove_tree
from bennu.host.network import free_port
from bennu.wiring import Fleet
from tests.integration import run_world
from tests.integration.run_world import World, assert_nothing_left, eventually, processes_of

PROJECT = "tiny"
FILE = """\
name: tiny
services:
  web:
    image: web:{version}
    command: {command}
    deploy: {{replicas: {replicas}}}
    ports:
      - {{target: 80, published: {port}, host_ip: 127.0.0.1, app_protocol: http}}
    healthcheck:
      test: [CMD, wget, -qO, /dev/null, "http://127.0.0.1/"]
      interval: 1s
      timeout: 2s
      retries: 2
      start_period: {patience}
      start_interval: 100ms
    stop_signal: SIGKILL
{web}
{extra}
x-bennu: {{keep: 2, keep_warm: {warm}{top}}}
"""
SERVE = '[httpd, -f, -p, "80", -h, /srv]'
DB = """\
  db:
    image: web:v1
    command:
      - sh
      - -c
      - |
        test ! -e /data/lock || exit 9
        touch /data/lock
        trap 'rm /data/lock; exit 0' TERM
        while :; do sleep 0.05; done
    environment: {{TUNE: "{tune}"}}
    volumes: [data:/data]
    healthcheck: {{test: [CMD, test, -e, /data/lock], interval: 1s, start_period: 30s, start_interval: 50ms}}
"""
"""It says so, by ending with 9, when two of it are on one volume."""
VOLUMES = "volumes:\n  data:\n"


@dataclass
class FleetWorld:
    """``write`` makes the fleet file, ``bennu`` runs a verb on it, ``observe`` looks past the command line."""

    world: World
    directory: Path
    port: int

    @property
    def settings(self) -> Settings:
        return self.world.settings

    def image(self, version: str) -> None:
        self.world.image(f"web:{version}", files={"srv/index.html": version})

    def write(
        self,
        version: str,
        *,
        replicas: int = 3,
        web: str = "",
        extra: str = "",
        command: str = SERVE,
        patience: str = "30s",
        warm: str = "10m",
        top: str = "",
    ) -> None:
        """``web``: more lines of that service; ``extra``: more services and what follows; ``top``: more x-bennu."""
        filled = FILE.format(
            version=version,
            replicas=replicas,
            port=self.port,
            web=web,
            extra=extra,
            command=command,
            patience=patience,
            warm=warm,
            top=top,
        )
        (self.directory / "compose.yaml").write_text(filled)

    def write_with_db(
        self,
        version: str,
        *,
        tune: str = "1",
        replicas: int = 1,
        command: str = SERVE,
        web: str = "",
        patience: str = "30s",
        top: str = "",
    ) -> None:
        """With a second service that writes a volume and comes first."""
        extra = DB.format(tune=tune) + VOLUMES
        lines = f"    depends_on: [db]\n{web}"
        self.write(version, replicas=replicas, web=lines, extra=extra, command=command, patience=patience, top=top)

    def bennu(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.world.argv(*words), capture_output=True, text=True, env=self.world.environ, cwd=self.directory,
            timeout=timeout, check=False,
        )  # fmt: skip

    def succeed(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.bennu(*words)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def apply(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.succeed("apply", "--yes", *words)

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.world.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self.world.environ, cwd=self.directory,
        )  # fmt: skip

    def observe(self, project: str = PROJECT) -> Observation:
        with Fleet(self.settings) as fleet:
            return fleet.engine.observe(project)

    def history(self) -> list[tuple[int, str]]:
        """The revisions with their states, oldest first."""
        with Fleet(self.settings) as fleet:
            return [(each.number, each.state) for each in reversed(fleet.history.revisions(PROJECT))]

    def assert_whole(self, **active: int) -> None:
        """Each service has exactly one active set with so many ready replicas, and no container is nobody's."""
        seen = self.observe()
        assert {name: len(seen.sets[found].replicas) for name, found in seen.active.items()} == active
        for found in seen.active.values():
            assert seen.sets[found].is_ready, seen.sets[found]
        known = {replica.container for each in seen.sets.values() for replica in each.replicas}
        with Fleet(self.settings) as fleet:
            assert {each.id for each in fleet.containers.list()} == known
            assert fleet.history.rolling(PROJECT) is None
            assert fleet.history.active(PROJECT) is not None
            kept = fleet.history.kept_sets(PROJECT, 2)
        assert set(seen.sets) <= kept | set(seen.active.values())

    def get(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            return answer.read().decode()
        finally:
            connection.close()

    def serves(self, wanted: str) -> bool:
        with suppress(OSError, AssertionError, http.client.HTTPException):
            return self.get() == wanted
        return False

    def inspect(self, name: str) -> dict[str, object]:
        return json.loads(self.succeed("inspect", name).stdout)[0]

    def agent_pid(self) -> int | None:
        who = agent.running(self.settings)
        return int(who.split()[-1]) if who else None

    def kill_agent(self) -> None:
        pid = self.agent_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.agent_pid() is None)

    def pids(self, word: str) -> list[int]:
        """The processes of this root whose command line begins with a program of that name."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                key = self.settings.key.encode()
                if os.path.basename(words[0]) == word.encode() and any(key in each for each in words):
                    found.append(int(pid))
        return found

    def lose_the_host(self) -> None:
        """As a reboot does; the lock of the database's tests was that boot's."""
        with Fleet(self.settings) as fleet:
            volumes = [volume.path for volume in fleet.containers.volumes.walk()]
        lose_the_host(self.settings)
        for path in volumes:
            (path / "lock").unlink(missing_ok=True)

    @contextmanager
    def running_agent(self) -> Iterator[None]:
        """The agent as the service manager runs it."""
        agent = self.spawn("agent", "run")
        try:
            yield
        finally:
            agent.terminate()
            agent.communicate(timeout=20)

    def stop_agent(self) -> None:
        pid = self.agent_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            eventually(lambda: self.agent_pid() is None)


def lose_the_host(settings: Settings) -> None:
    """What a power cut does: processes, control groups, mounts, links and all of /run are gone; the disk is not."""
    key = settings.key
    groups = [place for place, _, _ in os.walk("/sys/fs/cgroup", topdown=False) if f"bennu-{key}" in place]
    for place in groups:
        with suppress(OSError):  # what is frozen cannot be killed
            Path(place, "freezer.state").write_text("THAWED")
    for pid in (int(pid) for place in groups for pid in Path(place, "cgroup.procs").read_text().split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(Path(place, "cgroup.procs").read_text() for place in groups))
    for place in groups:
        with suppress(OSError):  # of controllers that are mounted together, the other name is gone already
            os.rmdir(place)
    for place in (*mounts.mounted_below(settings.root), *mounts.mounted_below(settings.run)):
        subprocess.run(["umount", "--lazy", place], check=True, timeout=10)
    with Fleet(settings) as fleet:
        bridges = [each.bridge for each in fleet.containers.networks.walk()]
    for bridge in bridges:
        subprocess.run(["ip", "link", "delete", bridge], check=True, timeout=10)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True, timeout=10).stdout
    for line in tables.splitlines():
        if key in line:
            subprocess.run(["nft", "delete", *line.split()], check=True, timeout=10)
    remove_tree(settings.run)


@contextmanager
def fleet_world(
    settings: Settings, directory: Path, versions: Sequence[str] = ("v1", "v2", "v3")
) -> Iterator[FleetWorld]:
    """A root with an image for each version; at the end the fleet is taken down and nothing may be left."""
    directory.mkdir()
    run_world.APPLETS += [each for each in ("httpd", "test", "wget") if each not in run_world.APPLETS]
    with Fleet(settings) as fleet:
        made = FleetWorld(World(settings, fleet), directory, free_port("127.0.0.1"))
        for version in versions:
            made.image(version)
        try:
            yield made
        finally:
            done = made.bennu("down", "--yes", "--volumes", "-p", PROJECT)
            assert done.returncode == 0, done.stderr
            made.stop_agent()
            eventually(lambda: made.agent_pid() is None)
            assert fleet.containers.list() == ()
            assert fleet.containers.networks.walk() == ()
            assert fleet.containers.volumes.walk() == ()
    assert_nothing_left(settings)
    assert processes_of(settings) == []
    remove_tree(settings.run)


def wait_for(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str]:
    """The exit status and standard error of a verb that was spawned."""
    deadline = time.monotonic() + seconds
    _, errors = process.communicate(timeout=deadline - time.monotonic())
    return process.returncode, errors
