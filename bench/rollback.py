"""How long a rollback takes: from the start of ``bennu rollback`` until the old version is served, under load.

    python bench/rollback.py [--rounds N] [--kinds warm,frozen,stopped,reboot] [--replicas N]

A service of busybox with a health check and two versions; every round goes back from one to the other. *warm*: the
kept set runs; *frozen*: it is held by the freezer; *stopped*: its containers have ended; *reboot*: everything that a
reboot takes away is taken away, the agent has brought the active set back, and the kept one is as a reboot leaves it.
Meanwhile clients that never retry ask over kept and new connections and check every body. Printed are the median, the
99th percentile and the worst, until the old version was served (``live``) and until the command had ended (``done``),
its start included, beside the requests and how many of them failed. The bars are for the percentile of ``live``.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bennu.config import Settings
from bennu.deploy.agent import running
from bennu.engine.actions import Action, FreezeSet, StopSet
from bennu.engine.sets import SetId
from bennu.host.network import free_port
from bennu.wiring import Fleet
from tests.integration.fleet_world import lose_the_host
from tests.integration.switch_load import Load

PORT = free_port("127.0.0.1")
PROJECT = "back"
COMPOSE = """\
name: {project}
services:
  web:
    build: .
    deploy: {{replicas: {replicas}}}
    ports: [{{target: 8080, published: {port}, host_ip: 127.0.0.1, app_protocol: http}}]
    healthcheck: {{test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/"]}}
    stop_grace_period: 1s
    stop_signal: SIGKILL
x-bennu: {{keep_warm: 1d}}
"""
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/site"]
COPY index.html /site/index.html
"""
BARS = {"warm": 0.3, "frozen": 0.5, "stopped": 1.5, "reboot": 3.0}


class Bench:
    """One root with the project in it. Versions are v1 and v2, of revisions 1 and 2."""

    def __init__(self, base: Path, replicas: int) -> None:
        self.directory = base / "project"
        self.environ = os.environ | {"BENNU_ROOT": f"{base}/root", "PYTHONPYCACHEPREFIX": f"{base}/bytecode"}
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed bennu has its bytecode
        self.settings = Settings.from_environ(self.environ)
        self.directory.mkdir()
        busybox = shutil.which("busybox")
        if busybox is None:
            raise SystemExit("busybox is not installed: apt-get install busybox-static")
        shutil.copy(busybox, self.directory / "busybox")
        (self.directory / "Dockerfile").write_text(DOCKERFILE)
        text = COMPOSE.format(project=PROJECT, replicas=replicas, port=PORT)
        (self.directory / "compose.yaml").write_text(text)

    def bennu(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bennu", *words]

    def run(self, *words: str) -> None:
        done = subprocess.run(
            self.bennu(*words), cwd=self.directory, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr}")

    def deploy(self, version: str) -> None:
        (self.directory / "index.html").write_text(version)
        self.run("apply", "--yes")

    def kept(self) -> SetId:
        with Fleet(self.settings) as fleet:
            seen = fleet.engine.observe(PROJECT)
            return next(name for name in seen.sets if name != seen.active["web"])

    def do(self, make: Callable[[SetId], Action]) -> None:
        action = make(self.kept())
        with Fleet(self.settings) as fleet:
            fleet.engine.execute(action, lambda _line: None, threading.Event())

    def prepare(self, kind: str) -> None:
        """Bring the kept set to the temperature that is measured."""
        if kind == "frozen":
            self.do(lambda name: FreezeSet(set=name))
        elif kind == "stopped":
            self.do(lambda name: StopSet(set=name))
        elif kind == "reboot":
            self.kill_agent()
            lose_the_host(self.settings)
            agent = self.bennu("agent", "run", "--until-idle")
            subprocess.Popen(agent, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(lambda: get() is not None)

    def kill_agent(self) -> None:
        who = running(self.settings)
        if who is not None:
            os.kill(int(who.split()[-1]), signal.SIGKILL)
            until(lambda: running(self.settings) is None)

    def back(self, version: str, load: Load) -> tuple[float, float]:
        """Roll back to a version; seconds until a client is served by it, and until the command has ended."""
        words = self.bennu("rollback", "--yes", version.removeprefix("v"))
        started = time.monotonic()
        with subprocess.Popen(
            words, cwd=self.directory, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as child:
            before = load.answers[version]
            until(lambda: load.answers[version] > before or child.poll() not in {None, 0})
            live = time.monotonic() - started
            _, said = child.communicate()
        if child.returncode:
            raise SystemExit(said)
        return live, time.monotonic() - started


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it has taken more than a minute")
        time.sleep(0.002)


def get() -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def measure(bench: Bench, kind: str, rounds: int) -> None:
    lives: list[float] = []
    dones: list[float] = []
    requests, problems = 0, []
    for _ in range(rounds):
        bench.prepare(kind)
        wanted = "v1" if get() == "v2" else "v2"
        with Load(PORT, threads=4, posts=False, pause_seconds=0.005) as load:
            load.await_requests(20)
            live, done = bench.back(wanted, load)
            load.await_requests(20)
        lives.append(live)
        dones.append(done)
        requests += load.requests
        problems += load.problems
    shown = "  ".join(
        f"{name} {percentile(found, 0.5):.3f} / {percentile(found, 0.99):.3f} / {max(found):.3f} s"
        for name, found in (("live", lives), ("done", dones))
    )
    ratio = percentile(lives, 0.99) / BARS[kind]
    failed = f"{len(problems)} of {requests} requests failed"
    print(f"{kind:<8} {shown}  n={rounds}  p99 is {ratio:.2f} of the bar; {failed}", flush=True)
    for problem in problems[:5]:
        print(f"         {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default=",".join(BARS))
    parser.add_argument("--replicas", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bennu-bench-") as base:
        bench = Bench(Path(base), args.replicas)
        try:
            for version in ("v1", "v2"):
                bench.deploy(version)
            print("median / 99th percentile / worst")
            for kind in args.kinds.split(","):
                measure(bench, kind, args.rounds)
        finally:
            subprocess.run(bench.bennu("system", "reset", "--yes"), env=bench.environ, capture_output=True, check=False)


if __name__ == "__main__":
    main()
