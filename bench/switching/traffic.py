"""The traffic of bench/switches.py: never retries, checks every body. A process of its own; SIGTERM ends it.

    python bench/switching/traffic.py --port 8080 --rate 1200 [--slow SECONDS]

Quick traffic, so many requests a second: on connections that are kept, on a new connection each, POSTs, and pages for
which the service asks another one through the switch. With ``--slow`` also responses and uploads that take so long,
and websockets that say something twice a second. Prints one JSON object at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import struct
import sys
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("VERSION", "")
from replica import CLOSE, GOING_AWAY, PAGE, frame, receive

HOST = "127.0.0.1"
PATIENCE_SECONDS = 30.0
SHARES = {"kept": 0.5, "new": 0.2, "post": 0.15, "chain": 0.15}
CLIENTS = {"kept": 12, "new": 6, "post": 6, "chain": 6}
SLOW_CLIENTS = {"slow": 6, "upload": 4, "websocket": 6}
UPLOAD_PARTS = 40
MESSAGE_SECONDS = 0.5


class Tally:
    """What was seen. ``closed``: of each websocket that a close frame ended, its set's version and when."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.seconds: Counter[int] = Counter()
        self.versions: dict[str, list[float]] = {}
        self.failures: list[tuple[float, str]] = []
        self.latencies: list[float] = []
        self.closed: list[tuple[str, float]] = []
        self.open = 0

    def answered(self, kind: str, version: bytes, started: float) -> None:
        now = time.time()
        self.requests[kind] += 1
        self.seconds[int(now)] += 1
        seen = self.versions.setdefault(version.decode(), [now, now])
        seen[1] = now
        if kind in SHARES:
            self.latencies.append(time.monotonic() - started)

    def failed(self, kind: str, what: object) -> None:
        self.requests[kind] += 1
        self.failures.append((time.time(), f"{kind}: {what!r}" if isinstance(what, Exception) else f"{kind}: {what}"))


class Client:
    """One after the other, on one connection unless ``kind`` is ``new``."""

    def __init__(self, port: int, kind: str, tally: Tally, interval: float, slow: float) -> None:
        self.port, self.kind, self.tally, self.interval, self.slow = port, kind, tally, interval, slow
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.body = os.urandom(300).hex().encode()

    async def run(self, stop: asyncio.Event) -> None:
        due = time.monotonic() + random.uniform(0, self.interval)
        while not stop.is_set():
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(min(wait, 0.2))
                continue
            due = max(due + self.interval, time.monotonic() - 0.5)
            started = time.monotonic()
            try:
                # a websocket stays; each of its messages has a time of its own
                limit = None if self.kind == "websocket" else PATIENCE_SECONDS + self.slow
                version = await asyncio.wait_for(self.once(stop), limit)
                if version is not None:
                    self.tally.answered(self.kind, version, started)
            except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.tally.failed(self.kind, error)
                self.close()
        self.close()

    async def once(self, stop: asyncio.Event) -> bytes | None:
        match self.kind:
            case "kept" | "new":
                return self.right(await self.exchange(b"GET / HTTP/1.1\r\n"), PAGE)
            case "post":
                return self.right(await self.exchange(b"POST /echo HTTP/1.1\r\n", self.body), self.body)
            case "chain":
                version, _, rest = (await self.exchange(b"GET /chain HTTP/1.1\r\n")).partition(b" ")
                self.right(rest, PAGE)
                return version
            case "slow":
                return self.right(await self.exchange(b"GET /slow?%g HTTP/1.1\r\n" % self.slow), PAGE)
            case "upload":
                body = os.urandom(200_000)
                answer = await self.exchange(b"POST /upload HTTP/1.1\r\n", body, over_seconds=self.slow)
                return self.right(answer, hashlib.sha256(body).hexdigest().encode())
        await self.websocket(stop)
        return None

    def right(self, answer: bytes, wanted: bytes) -> bytes:
        version, _, rest = answer.partition(b" ")
        if rest != wanted:
            raise ValueError(f"another body: {answer[:80]!r} of {len(answer)}")
        return version

    async def exchange(self, line: bytes, body: bytes = b"", over_seconds: float = 0) -> bytes:
        await self.connect()
        assert self.reader is not None
        assert self.writer is not None
        last = b"Connection: close\r\n" if self.kind == "new" else b""
        head = line + b"Host: web\r\nContent-Length: %d\r\n%s\r\n" % (len(body), last)
        if over_seconds:
            self.writer.write(head)
            for number in range(UPLOAD_PARTS):
                size = len(body) // UPLOAD_PARTS
                self.writer.write(body[number * size : (number + 1) * size])
                await self.writer.drain()
                await asyncio.sleep(over_seconds / UPLOAD_PARTS)
        else:
            self.writer.write(head + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, *fields = head.lower().split(b"\r\n")
        length = next(int(each.partition(b":")[2]) for each in fields if each.startswith(b"content-length"))
        answer = await self.reader.readexactly(length)
        if self.kind == "new" or b"connection: close" in fields:
            self.close()
        if status.split(b" ")[1] != b"200":
            raise ValueError(f"{status.decode()}: {answer[:120]!r}")
        return answer

    async def websocket(self, stop: asyncio.Event) -> None:
        """Say something and hear it again, until a close frame comes or all ends."""
        await self.connect()
        assert self.reader is not None
        assert self.writer is not None
        self.writer.write(
            b"GET /socket HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ValueError(f"not upgraded: {head[:80]!r}")
        self.tally.open += 1
        version = b""
        try:
            while not stop.is_set():
                said = os.urandom(8).hex().encode()
                started = time.monotonic()
                self.writer.write(frame(1, said, os.urandom(4)))
                kind, data = await asyncio.wait_for(receive(self.reader), PATIENCE_SECONDS)
                if kind == CLOSE:
                    if struct.unpack("!H", data[:2]) != (GOING_AWAY,):
                        raise ValueError(f"closed with {data!r}")
                    self.tally.closed.append((version.decode(), time.time()))
                    break
                version = self.right(data, said)
                self.tally.answered("websocket", version, started)
                await asyncio.sleep(MESSAGE_SECONDS)
        finally:
            self.tally.open -= 1
            self.close()

    async def connect(self) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(HOST, self.port)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def report(tally: Tally, seconds: float) -> dict[str, object]:
    latencies = sorted(tally.latencies) or [0.0]
    whole = [count for _, count in sorted(tally.seconds.items())][1:-1]
    quick = sum(tally.requests[kind] for kind in SHARES) + tally.requests["chain"]  # each of those is two
    return {
        "requests": dict(tally.requests),
        "total": sum(tally.requests.values()),
        "failed": len(tally.failures),
        "failures": tally.failures[:50],
        "seconds": round(seconds, 1),
        "rate": round(quick / seconds, 1),
        "slowest_second": min(whole, default=0),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 2),
        "max_ms": round(latencies[-1] * 1000, 1),
        "closed_websockets": tally.closed,
        "versions": tally.versions,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1200.0, help="requests a second; a chained one counts as two")
    parser.add_argument("--slow", type=float, default=0.0, metavar="SECONDS")
    args = parser.parse_args()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tally = Tally()
    real = args.rate / (1 + SHARES["chain"])
    clients = [
        Client(args.port, kind, tally, count / (real * SHARES[kind]), args.slow)
        for kind, count in CLIENTS.items()
        for _ in range(count)
    ]
    if args.slow:
        clients += [
            Client(args.port, kind, tally, 0.0, args.slow) for kind, count in SLOW_CLIENTS.items() for _ in range(count)
        ]
    started = time.monotonic()
    await asyncio.gather(*(client.run(stop) for client in clients))
    json.dump(report(tally, time.monotonic() - started), sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
