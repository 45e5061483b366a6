"""A load on one address that never retries and checks every body: keep-alive, one connection each, GET and POST."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

BODY = b"0123456789" * 40


class Load:
    """Threads that ask ``address`` until the block is left. ``problems`` are what went wrong, ``answers`` by label."""

    def __init__(self, port: int, *, threads: int = 6, posts: bool = True, pause_seconds: float = 0) -> None:
        self.answers: Counter[str] = Counter()
        self.problems: list[str] = []
        self._stop = threading.Event()
        self._port = port
        self._posts = posts
        self._pause_seconds = pause_seconds
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def requests(self) -> int:
        return sum(self.answers.values()) + len(self.problems)

    def await_requests(self, count: int) -> None:
        """Wait until so many more have been answered (or 20 s have passed)."""
        wanted = self.requests + count
        self.await_that(lambda: self.requests >= wanted)

    def await_that(self, condition: Callable[[], bool]) -> None:
        for _ in range(4000):
            if condition():
                return
            threading.Event().wait(0.005)

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        keeps = number % 2 == 0
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(chance.uniform(0, 2 * self._pause_seconds)):
            posts = self._posts and chance.random() < 0.3
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
                connection.request("POST" if posts else "GET", "/", body=BODY if posts else None)
                response = connection.getresponse()
                label, _, rest = response.read().partition(b" ")
                if response.status != 200 or rest != (BODY if posts else b""):
                    raise ValueError(f"{response.status} {label[:60]!r}")
                self.answers[label.decode()] += 1
                if not keeps or response.getheader("connection") == "close":
                    connection.close()
                    connection = None
            except Exception as error:
                self.problems.append(f"{'POST' if posts else 'GET'} {'kept' if keeps else 'new'}: {error!r}")
                connection = None
        if connection is not None:
            connection.close()
