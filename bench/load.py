"""A load of real HTTP requests that never retries and checks every body. Run as a process of its own.

    python bench/load.py --port 8080 --site DIR [--watch css/theme.css --versions DIR] [--rate 1500]

Threads of three kinds ask for pages: on one connection for ever (keep-alive), on a new connection each time, and with
POST. ``--site`` is what the pages must be equal to, byte for byte; ``--watch`` is one page of it that may also be any
of the files in ``--versions``: when each was first seen, on the wall clock, is reported. Ends on SIGTERM or when its
time is up, and prints one JSON object: requests and failures by kind, rate, latency, first sightings.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 15.0
PAGES = 40


@dataclass
class Tally:
    """What one thread has seen."""

    requests: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[float, str]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    seconds: Counter[int] = field(default_factory=Counter)


class Site:
    """What the pages must be: by path, the bodies that are right."""

    def __init__(self, directory: Path, watched: str | None, versions: Path | None) -> None:
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        chosen = random.Random(1).sample(files, min(PAGES, len(files)))
        self.pages = {str(path.relative_to(directory)): path.read_bytes() for path in chosen}
        self.watched = watched
        self.first: dict[str, float] = {}
        self._directory = directory
        self._versions = versions
        self._known: dict[bytes, str] = {}
        self._lock = threading.Lock()
        if watched:
            self.pages[watched] = (directory / watched).read_bytes()
            self._learn()
        self.paths = [*self.pages, *([watched] * 10 if watched else [])]

    def _learn(self) -> None:
        for path in sorted(self._versions.iterdir()) if self._versions else []:
            self._known[path.read_bytes()] = path.name

    def check(self, path: str, body: bytes) -> str | None:
        """None if the body is right, else what is wrong."""
        if path != self.watched:
            return None if body == self.pages[path] else f"{path}: a body of {len(body)} bytes is not the page"
        with self._lock:
            if body not in self._known:
                self._learn()
            name = self._known.get(body)
            if name is None:
                return f"{path}: a body of {len(body)} bytes is no known version"
            self.first.setdefault(name, time.time())
        return None


class Client(threading.Thread):
    """One thread. ``kind``: ``keep-alive``, ``connection each`` or ``post``."""

    def __init__(self, port: int, kind: str, site: Site, interval_seconds: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.tally = Tally()
        self.kind = kind
        self._port = port
        self._site = site
        self._interval = interval_seconds
        self._stop_asked = stop
        self._random = random.Random(id(self))
        self._socket: socket.socket | None = None
        self._number = 0

    def run(self) -> None:
        due = time.monotonic() + self._random.uniform(0, self._interval)
        while not self._stop_asked.is_set():
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, 0.2))
                continue
            due = max(due + self._interval, time.monotonic() - 1)  # after a stall, catch up one second and no more
            self._once()
        self._close()

    def _once(self) -> None:
        started = time.monotonic()
        try:
            problem = self._post() if self.kind == "post" else self._get()
        except (OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        took = time.monotonic() - started
        self.tally.requests[self.kind] += 1
        self.tally.seconds[int(time.time())] += 1
        self.tally.latencies.append(took)
        if problem:
            self.tally.failures.append((time.time(), f"{self.kind}: {problem} (after {took:.3f} s)"))
            self._close()

    def _get(self) -> str | None:
        path = self._random.choice(self._site.paths)
        closing = "close" if self.kind == "connection each" else "keep-alive"
        status, body = self._exchange(f"GET /{path} HTTP/1.1\r\nHost: shop\r\nConnection: {closing}\r\n\r\n".encode())
        if self.kind == "connection each":
            self._close()
        return f"{path}: status {status}" if status != 200 else self._site.check(path, body)

    def _post(self) -> str | None:
        self._number += 1
        sent = {"name": f"load {self.ident}", "message": f"entry {self._number}"}
        data = json.dumps(sent).encode()
        head = "POST /api/guestbook HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        status, body = self._exchange(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        if status != 201:
            return f"status {status}: {body[:80]!r}"
        answer = json.loads(body)
        entry = answer.get("entry", answer)
        return None if {key: entry.get(key) for key in sent} == sent else f"another entry came back: {body[:80]!r}"

    def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            raise ValueError("a chunked answer was not expected")
        length = int(headers["content-length"])
        while len(body) < length:
            body += self._receive()
        if headers.get("connection", "").lower() == "close":
            self._close()
        return int(lines[0].split(" ")[1]), body

    def _receive(self) -> bytes:
        assert self._socket is not None
        chunk = self._socket.recv(65536)
        if not chunk:
            raise ConnectionError("the connection was closed before the answer was whole")
        return chunk

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def report(clients: list[Client], site: Site, seconds: float) -> dict[str, object]:
    requests: Counter[str] = Counter()
    per_second: Counter[int] = Counter()
    for client in clients:
        requests += client.tally.requests
        per_second += client.tally.seconds
    failures = sorted(failure for client in clients for failure in client.tally.failures)
    latencies = sorted(value for client in clients for value in client.tally.latencies) or [0.0]
    whole = sorted(per_second.items())[1:-1]  # the first and the last second are not whole
    return {
        "requests": dict(requests),
        "total": sum(requests.values()),
        "failed": len(failures),
        "failures": failures[:50],
        "seconds": round(seconds, 3),
        "rate": round(sum(requests.values()) / seconds, 1),
        "slowest_second": min((count for _, count in whole), default=0),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 2),
        "max_ms": round(latencies[-1] * 1000, 1),
        "first_seen": site.first,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--watch")
    parser.add_argument("--versions", type=Path)
    parser.add_argument("--rate", type=float, default=1500.0, help="requests a second, over all threads")
    parser.add_argument("--seconds", type=float, default=600.0)
    args = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    site = Site(args.site, args.watch, args.versions)
    shares = {"keep-alive": (6, 0.70), "connection each": (6, 0.25), "post": (2, 0.05)}
    clients = [
        Client(args.port, kind, site, count / (args.rate * share), stop)
        for kind, (count, share) in shares.items()
        for _ in range(count)
    ]
    started = time.monotonic()
    for client in clients:
        client.start()
    stop.wait(args.seconds)
    stop.set()
    for client in clients:
        client.join(TIMEOUT_SECONDS + 1)
    json.dump(report(clients, site, time.monotonic() - started), sys.stdout)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
