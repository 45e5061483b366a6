"""How servers get into HAProxy, measured: 50 replicas a set, one switch after the other, under load.

Three ways, each with the requests per second that wrk sees, the failures that a client which never retries sees, and
how long a new set takes to come in and a switch to happen:

- ``dynamic``: bennu's own switch (``add server`` into backends that are there, one map entry)
- ``slots``: disabled servers that the file holds, given addresses by ``set server``, and the same map
- ``reload``: a new file and a new process for each set, and the same map

Replicas are one more HAProxy that answers by itself, so that the machine's two cores go to the switch. Needs root,
haproxy and wrk; listens on loopback only. ``python bench/switch.py [SECONDS]``.
"""

from __future__ import annotations

import http.client
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bennu.config import Settings
from bennu.host.files import remove_tree
from bennu.switch import model
from bennu.switch.config import Places, config_text, map_text
from bennu.switch.control import Control
from bennu.switch.model import Bind, Frontend, Server, SwitchState
from bennu.switch.switch import Switch

REPLICAS = 50
ROUNDS = 3
PORT, INNER = 18400, 18401
WEB = Frontend("web", INNER, "http", (Bind("127.0.0.1", PORT),))
SETS = {name: [Server(str(n), f"127.6.{net}.{n}") for n in range(1, REPLICAS + 1)] for net, name in enumerate("ab", 1)}
BODY = b"0123456789" * 50


class Dynamic:
    """The project's own way."""

    def __init__(self, settings: Settings) -> None:
        self._switch = Switch(settings, "bench")
        self._switch.ensure([WEB])

    def put(self, name: str) -> None:
        self._switch.put_set("web", name, SETS[name])

    def activate(self, name: str) -> None:
        self._switch.activate({"web": name})

    def remove(self, name: str) -> None:
        self._switch.drain("web", name, 2)
        self._switch.remove_set("web", name)

    def end(self) -> None:
        self._switch.remove()


class Plain:
    """What the other two ways share: the same configuration text, without the switch's own bookkeeping."""

    def __init__(self, settings: Settings) -> None:
        self.directory = settings.run
        self.directory.mkdir(parents=True)
        self.state = model.with_frontends(SwitchState(), [WEB])
        self.state = msgspec.structs.replace(self.state, active={"web": "a"})
        for name in SETS:  # in the slots that SLOT says
            self.state = model.with_set(self.state, "web", name, ())
        self.number = 0
        self.start()

    def text(self, places: Places) -> str:
        return config_text(self.state, places)

    def start(self) -> None:
        previous = [] if self.number == 0 else ["-x", f"{self.directory}/{self.number}.sock", "-sf", str(self.pid)]
        self.number += 1
        self.places = Places(f"{self.directory}/{self.number}.sock", f"{self.directory}/{self.number}.map")
        file = self.directory / f"{self.number}.cfg"
        text = self.text(self.places).replace("defaults\n", "defaults\n    option idle-close-on-response\n")
        file.write_text(text, encoding="utf-8")
        Path(self.places.map).write_text(map_text(self.state), encoding="utf-8")
        pid_file = self.directory / f"{self.number}.pid"
        subprocess.run(["haproxy", "-c", "-q", "-f", file], check=True)
        subprocess.run(["haproxy", "-D", "-f", file, "-p", pid_file, *previous], check=True)
        self.pid = int(pid_file.read_text(encoding="ascii"))
        self.control = Control(Path(self.places.socket))

    def activate(self, name: str) -> None:
        self.state = model.with_active(self.state, {"web": name})
        Path(self.places.map).write_text(map_text(self.state), encoding="utf-8")
        self.control.execute([f"set map {self.places.map} web web.{SLOT[name]}"])

    def end(self) -> None:
        subprocess.run(["kill", str(self.pid)], check=True)
        time.sleep(0.1)
        remove_tree(self.directory)


SLOT = {"a": 0, "b": 1}


class Slots(Plain):
    def text(self, places: Places) -> str:
        lines = []
        for line in super().text(places).splitlines():
            lines.append(line)
            if line.startswith("backend web."):
                lines += [f"    server {n} 127.0.0.1:1 disabled" for n in range(1, REPLICAS + 1)]
        return "\n".join(lines) + "\n"

    def put(self, name: str) -> None:
        for twin in ("", ".fresh"):
            base = f"web.{SLOT[name]}.{INNER}{twin}"
            self.control.execute(
                f"set server {base}/{one.name} {what}"
                for one in SETS[name]
                for what in (f"addr {one.address} port {INNER}", "state ready")
            )

    def remove(self, name: str) -> None:
        time.sleep(0.05)
        for twin in ("", ".fresh"):
            base = f"web.{SLOT[name]}.{INNER}{twin}"
            self.control.execute(f"set server {base}/{one.name} state maint" for one in SETS[name])


class Reload(Plain):
    def put(self, name: str) -> None:
        self.state = model.with_set(self.state, "web", name, SETS[name])
        self.start()

    def remove(self, name: str) -> None:
        time.sleep(0.05)
        self.state = model.with_set(self.state, "web", name, ())


@contextmanager
def answering(directory: Path) -> Iterator[None]:
    """The replicas of both sets: they say their set, the method and the body."""
    lines = ["global", "    nbthread 1", "    fd-hard-limit 16384", "defaults", "    mode http"]
    lines += [f"    timeout {what} 60s" for what in ("client", "server", "connect")] + [
        "    option http-buffer-request"
    ]
    for name, servers in SETS.items():
        lines.append(f"frontend {name}")
        lines += [f"    bind {one.address}:{INNER}" for one in servers]
        lines.append(f'    http-request return status 200 content-type text/plain lf-string "{name}:%[req.body]"')
    file = directory / "replicas.cfg"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    child = subprocess.Popen(["haproxy", "-db", "-f", file], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


class Client(threading.Thread):
    """Asks until told to stop; never retries, checks every body."""

    def __init__(self, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.chance, self.keeps, self.stop = random.Random(number), number % 2 == 0, stop
        self.done = 0
        self.failed: list[str] = []

    def run(self) -> None:
        connection = None
        while not self.stop.is_set():
            body = BODY if self.chance.random() < 0.3 else None
            self.done += 1
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
                connection.request("POST" if body else "GET", "/", body=body)
                response = connection.getresponse()
                name, _, rest = response.read().partition(b":")
                if response.status != 200 or name not in {b"a", b"b"} or (body and rest != body):
                    self.failed.append(f"{response.status} {rest[:40]!r}")
                if not self.keeps or response.getheader("connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection = None


def under_wrk(way: Dynamic | Slots | Reload, seconds: float, headers: list[str]) -> float:
    command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", *headers, f"http://127.0.0.1:{PORT}/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        switching(way, seconds - 0.5)
        text = load.communicate()[0]
    wrong = re.search(r"(Socket errors|Non-2xx).*", text)
    if wrong:
        print(f"    wrk: {wrong[0]}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found is not None
    return float(found[1])


def switching(way: Dynamic | Slots | Reload, seconds: float) -> tuple[list[float], list[float]]:
    """Switch to and fro; how long each put and each activation took, in seconds."""
    puts, switches = [], []
    end = time.monotonic() + seconds
    old, new = "a", "b"
    while time.monotonic() < end:
        puts.append(timed(lambda: way.put(new)))  # noqa: B023 - called at once
        switches.append(timed(lambda: way.activate(new)))  # noqa: B023 - called at once
        way.remove(old)
        old, new = new, old
        time.sleep(0.15)
    if old != "a":
        way.put("a")
        way.activate("a")
    return puts, switches


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def measure(kind: type[Dynamic | Slots | Reload], root: Path, seconds: float) -> None:
    settings = Settings.from_environ({"BENNU_ROOT": str(root / kind.__name__)})
    way = kind(settings)
    try:
        way.put("a")
        way.activate("a")
        kept = under_wrk(way, seconds, [])
        new = under_wrk(way, seconds, ["-H", "Connection: close"])
        stop = threading.Event()
        clients = [Client(number, stop) for number in range(8)]
        for client in clients:
            client.start()
        puts, switches = switching(way, seconds)
        stop.set()
        for client in clients:
            client.join()
        failed = [problem for client in clients for problem in client.failed]
        print(
            f"{kind.__name__.lower():<8} {kept:8.0f} {new:8.0f} {len(puts):9d} {median(puts) * 1e3:9.1f}"
            f" {max(puts) * 1e3:8.1f} {median(switches) * 1e3:8.1f} {max(switches) * 1e3:8.1f}"
            f" {len(failed):7d} of {sum(client.done for client in clients)}"
        )
        for problem in failed[:3]:
            print(f"    {problem}")
    finally:
        way.end()
        remove_tree(settings.run)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bennu-bench-")))
        stack.enter_context(answering(root))
        print(f"{REPLICAS} replicas a set; requests/s by wrk with 16 connections, kept and new; times in ms")
        print("way          kept      new  switches       put     (max)   switch    (max)  failed")
        for turn in range(ROUNDS):  # in turn, since a machine's speed drifts
            for kind in (Dynamic, Slots, Reload)[turn:] + (Dynamic, Slots, Reload)[:turn]:
                measure(kind, root, seconds)


if __name__ == "__main__":
    main()
